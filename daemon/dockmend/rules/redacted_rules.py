"""Rule files as others than their owner may read them: without the secrets of their steps, and
without comments.

Who may use the command socket asks for the rules in force, to be told what they would do; the files
may be root's only. What stands outside of steps stays as it is, as it decides which rule fires.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import yaml

from dockmend import redaction

STEPS = frozenset({"then", "finally", "escalate"})
_COMMENT = re.compile(r"(?:(?<=\s)|^)#[^\r\n]*", re.MULTILINE)
_ENVIRONMENT = frozenset({"env", "environment", "args", "headers"})


class Within(Enum):
    """What a value is part of."""

    RULE = 0
    STEP = 1
    ENVIRONMENT = 2


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `name`: the key that it stands under; `key`: whose value
    comes next."""

    mapping: bool
    within: Within
    name: str
    key: str | None = None
    items: list[_Scalar] | None = None  # of a list of words, such as a command


@dataclass(slots=True)
class _Scalar:
    start: int
    end: int
    text: str
    shown: str
    within: Within


@dataclass(slots=True)
class _Reading:
    """`anchored`: what aliases made the values of an anchor part of."""

    anchored: dict[str, Within] = field(default_factory=dict)
    scalars: list[_Scalar] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    again: bool = False

    def read(self, text: str) -> None:
        stack = [_Open(mapping=False, within=Within.RULE, name="")]
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            top = stack[-1]
            if isinstance(event, yaml.ScalarEvent) and top.mapping and top.key is None:
                top.key = event.value
                self.scalars.append(_at(event, event.value, Within.RULE))
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                self._close(stack.pop())
                continue
            if not isinstance(event, yaml.NodeEvent):
                continue
            name, within = self._place(top, event)
            if isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor or "", within)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(top, event, name, within)
            else:
                mapping = isinstance(event, yaml.MappingStartEvent)
                stack.append(_Open(mapping, within, name, items=None if mapping else []))
            top.key = None

    def _place(self, top: _Open, event: Any) -> tuple[str, Within]:
        name = top.name if top.key is None else top.key
        within = top.within
        if within is Within.RULE and top.key in STEPS:
            within = Within.STEP
        if within is Within.STEP and (top.key or "").lower() in _ENVIRONMENT:
            within = Within.ENVIRONMENT
        if not isinstance(event, yaml.AliasEvent):
            within = max(
                within,
                self.anchored.get(event.anchor or "", Within.RULE),
                key=lambda each: each.value,
            )
        return name, within

    def _alias(self, anchor: str, within: Within) -> None:
        if within.value > self.anchored.get(anchor, Within.RULE).value:
            self.anchored[anchor] = within
            self.again = True

    def _scalar(self, top: _Open, event: Any, name: str, within: Within) -> None:
        found = _at(event, event.value, within)
        self.scalars.append(found)
        if within is Within.ENVIRONMENT:
            found.shown = redaction.MARK
            value = event.value if top.mapping else event.value.partition("=")[2]
            self.known += redaction.known_values({name: value})
        elif within is Within.STEP:
            found.shown = str(redaction.parameters({name: event.value})[name])
            if top.items is not None:
                top.items.append(found)

    def _close(self, closed: _Open) -> None:
        if closed.items:
            words = [each.text for each in closed.items]
            for each, shown in zip(closed.items, redaction.arguments(words), strict=True):
                each.shown = shown


def _at(event: Any, text: str, within: Within) -> _Scalar:
    return _Scalar(event.start_mark.index, event.end_mark.index, text, text, within)


def without_secrets(content: bytes) -> bytes:
    """The text of a rule file that was loaded; its lines keep their numbers."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    reading = _Reading()
    reading.read(text)
    while reading.again:
        reading = _Reading(reading.anchored)
        reading.read(text)
    return "".join(_pieces(text, reading)).encode("utf-8", "surrogateescape")


def _pieces(text: str, reading: _Reading) -> Iterator[str]:
    place = 0
    for each in reading.scalars:
        yield _COMMENT.sub("", text[place : each.start])
        shown = (
            each.shown if each.within is Within.RULE else redaction.text(each.shown, reading.known)
        )
        written = text[each.start : each.end]
        yield written if shown == each.text else json.dumps(shown) + "\n" * written.count("\n")
        place = each.end
    yield _COMMENT.sub("", text[place:])
