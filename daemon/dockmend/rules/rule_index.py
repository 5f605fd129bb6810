"""The rules of one trigger, found by what their selection needs instead of one after the other.

A rule is filed once: under the exact names, the labels, or the beginning or end of a name that each
object it selects must have. A look-up gathers the few rules filed under what the object has, plus
those that need nothing that could be filed, and tests them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dockmend.model import Object
from dockmend.rules.rule import Rule, Trigger

Entry = tuple[Rule, Trigger]
_Shelf = dict[str, list[Entry]]

_PREFERENCE: Final = ("name", "label", "prefix", "suffix", "has")
"""What a rule is filed under, the most selective first."""


class SelectionIndex:
    """All (rule, trigger) pairs of one trigger's name."""

    def __init__(self) -> None:
        self._names: _Shelf = {}
        self._labels: dict[str, _Shelf] = {}  # key -> value -> entries
        self._has: _Shelf = {}  # a label's key, any value
        self._prefixes: _Shelf = {}
        self._suffixes: _Shelf = {}
        self._prefix_lengths: set[int] = set()
        self._suffix_lengths: set[int] = set()
        self._others: list[Entry] = []

    def add(self, rule: Rule, trigger: Trigger) -> None:
        entry = (rule, trigger)
        if rule.match.exact_names is not None and not rule.match.exact_names:
            return  # meant for another host
        aspect, values = _filed_under(rule)
        if aspect == "":
            self._others.append(entry)
        elif aspect.startswith("label:"):
            _file(self._labels.setdefault(aspect.removeprefix("label:"), {}), values, entry)
        else:
            shelf = {
                "name": self._names,
                "prefix": self._prefixes,
                "suffix": self._suffixes,
                "has": self._has,
            }[aspect]
            _file(shelf, values, entry)
            if aspect in ("prefix", "suffix"):
                lengths = self._prefix_lengths if aspect == "prefix" else self._suffix_lengths
                lengths.update(len(value) for value in values)

    def find(self, subject: Object) -> list[Entry]:
        """The entries whose rule selects the object, in no order; a rule may come twice."""
        return [entry for entry in self._near(subject) if _selects(entry[0], subject)]

    def _near(self, subject: Object) -> Iterator[Entry]:
        name, labels = subject.name, subject.labels
        yield from self._names.get(name, ())
        for length in self._prefix_lengths:
            yield from self._prefixes.get(name[:length], ())
        for length in self._suffix_lengths:
            yield from self._suffixes.get(name[-length:], ())
        if self._labels or self._has:
            for key, value in labels.items():
                yield from self._has.get(key, ())
                if (shelf := self._labels.get(key)) is not None:
                    yield from shelf.get(value, ())
        yield from self._others


def _filed_under(rule: Rule) -> tuple[str, frozenset[str]]:
    needs = sorted(
        (_PREFERENCE.index(kind), aspect, values)
        for aspect, values in rule.match.needs
        if (kind := aspect.partition(":")[0]) in _PREFERENCE
    )
    if rule.match.exact_names is not None:
        return "name", rule.match.exact_names
    return (needs[0][1], needs[0][2]) if needs else ("", frozenset())


def _file(shelf: _Shelf, values: frozenset[str], entry: Entry) -> None:
    for value in values:
        shelf.setdefault(value, []).append(entry)


def _selects(rule: Rule, subject: Object) -> bool:
    return rule.match.test(subject) and not (
        rule.exclude is not None and rule.exclude.test(subject)
    )
