"""The names of the labels that an owner may set, and what one with a slip in it was to be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from dockmend.rules.language_error import did_you_mean

PREFIX: Final = "dockmend."


class Function(StrEnum):
    """What a label belongs to; a wrong label switches one of these off."""

    HEAL = "heal"
    REJOIN = "rejoin"
    IGNORE = "ignore"
    NOTIFY = "notify"
    DEPENDS = "depends-on"


OF_OTHERS: Final = ("autoheal", "deunhealth.restart.on.unhealthy", "autoheal.stop.timeout")
"""Labels of other healers that dockmend understands."""
LONGEST_NEAR: Final = 100
"""Characters of a label beyond which nobody looks for what it is near to."""

KEYS: Final[Mapping[str, Function]] = {
    "heal": Function.HEAL,
    "heal.on": Function.HEAL,
    "heal.action": Function.HEAL,
    "heal.after": Function.HEAL,
    "heal.attempts": Function.HEAL,
    "heal.stop.timeout": Function.HEAL,
    "rejoin": Function.REJOIN,
    "ignore": Function.IGNORE,
    "notify": Function.NOTIFY,
    "depends.on": Function.DEPENDS,
}
"""What each label belongs to. The keys are the labels without their prefix and with one separator:
`heal.stop-timeout` is `heal.stop.timeout`."""

SHOWN: Final[Mapping[str, str]] = {
    "heal.stop.timeout": "dockmend.heal.stop-timeout",
    "depends.on": "dockmend.depends-on",
}
"""How a label is written if not as its key."""

OF_SHIPPED_RULES: Final = {
    "dockmend.keep-crashed": "20-keep-crashed.yaml",
    "dockmend.reconnect": "30-reconnect-network.yaml",
    "dockmend.restart-unhealthy": "10-restart-unhealthy.yaml",
    "dockmend.rejoin-network": "60-rejoin-network.yaml",
    "dockmend.snapshot": "40-nightly-snapshots.yaml",
    "dockmend.raise-memory": "50-raise-memory.yaml",
}  # fmt: skip
"""Labels that a rule of the shipped rules.d reads, and its file: nothing else reads them, and none
is a slip."""

ELSEWHERE: Final = frozenset({"helper", "image", "incident", "rule", "source", "reference",
        "committed.at",
                               "restored.from", "restored.by"})  # fmt: skip
"""Labels that dockmend writes on what it makes: `ownership` decides what they mean, and no owner
sets them."""


ALL_LABELS: Final = (*(SHOWN.get(key, PREFIX + key) for key in KEYS), *OF_OTHERS)
"""Every label that an owner may set, as it is documented."""


def canonical(label: str) -> str | None:
    """The key of a label of dockmend's, in which hyphens, underscores and dots are the same; None
    for another label."""
    if not label.startswith(PREFIX):
        return None
    return label[len(PREFIX) :].replace("-", ".").replace("_", ".")


def label_of(key: str) -> str:
    """The label of a key, as it is documented."""
    return SHOWN.get(key, PREFIX + key)


def means_something(label: str) -> bool:
    """Whether a label is one that dockmend reads, its own or another healer's; however it is
    written."""
    key = canonical(label)
    return label in OF_OTHERS if key is None else key in KEYS or key in ELSEWHERE


def is_ours(label: str) -> bool:
    """Whether a label begins with dockmend's prefix, in any case: what is written another way is a
    slip."""
    first = label[:1]
    if first not in "dD" and not first.isspace():
        return False  # most labels of most containers, for each change
    return label[:9] == PREFIX or label.strip()[:9].lower() == PREFIX


def function_of(label: str) -> Function | None:
    """What a label that begins with dockmend's prefix belongs to, also one with a slip in it; None
    for a rule's own."""
    if len(label) <= LONGEST_NEAR:
        return _near(label)
    key = canonical(label)
    return _by_head(key) if key is not None else None


@lru_cache(maxsize=4096)
def _near(label: str) -> Function | None:
    """Of a label that is not too long. A slip counts also beyond its first word: `healon`,
    `Heal.on`, `ingore`."""
    key = canonical(label)
    if label in OF_SHIPPED_RULES or key in ELSEWHERE:
        return None
    if key is not None and (found := KEYS.get(key) or _by_head(key)) is not None:
        return found
    letters = _letters(label.strip()[len(PREFIX) :])
    near = get_close_matches(letters, _LETTERS, 1, 0.82) or [
        each for each in _LETTERS if _swapped(letters, each)
    ]
    return _LETTERS[near[0]] if near else None


def _swapped(one: str, other: str) -> bool:
    """Whether two neighbours changed places, the commonest slip: in a word as short as `hael` no
    ratio tells it."""
    if len(one) != len(other):
        return False
    unlike = [at for at, letter in enumerate(one) if letter != other[at]]
    return len(unlike) == 2 and unlike[1] == unlike[0] + 1 and sorted(one) == sorted(other)


def _by_head(key: str) -> Function | None:
    head = key.split(".", maxsplit=1)[0]
    return next((each for each in Function if head == each.value.split("-")[0]), None)


def _letters(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


_LETTERS: Final = {_letters(key): function for key, function in KEYS.items()}


def hint(label: str) -> str:
    """The label that one with a slip in it may have been meant to be, as a remark; else ""."""
    return _hint(label) if len(label) <= LONGEST_NEAR else ""


@lru_cache(maxsize=4096)
def _hint(label: str) -> str:
    return did_you_mean(label, [label_of(each) for each in KEYS])


_IN_RULES: Final = re.compile(r"dockmend\.[A-Za-z0-9_.-]*[A-Za-z0-9]")
_OTHERS_LETTERS: Final = ("autoheal", "autohealing", "deunhealthrestartonunhealthy")
LONGEST_SEEMING: Final = 60
"""Characters of a label beyond which nobody looks whether it has a slip before its first dot."""


class Vain(NamedTuple):
    """A label that nothing reads: what to say behind it, and what to do."""

    text: str
    todo: str


def labels_in(texts: Iterable[str]) -> set[str]:
    """The labels of dockmend's prefix that the texts of rules name."""
    return {found for text in texts for found in _IN_RULES.findall(text)}


def in_vain(label: str, texts: Iterable[str]) -> Vain | None:
    """Of a label that looks as if dockmend should read it, and that no function of dockmend and no
    rule does. `texts`: of the rules in force, in which it may be named."""
    if means_something(label) or not seems_ours(label):
        return None
    texts = list(texts)
    if any(label in text for text in texts):
        return None
    if label in OF_SHIPPED_RULES:
        todo = f"put {OF_SHIPPED_RULES[label]} of dockmend's rules.d into the folder of your rules"
        return Vain("does nothing: no rule in force names it", todo)
    near = get_close_matches(
        label[:LONGEST_NEAR].lower(), {*labels_in(texts), *ALL_LABELS, *OF_SHIPPED_RULES}, 1, 0.6
    )
    hint = (
        f"did you mean {near[0]}?"
        if near
        else f"known are {', '.join(ALL_LABELS)} and those your rules name"
    )
    return Vain("means nothing to dockmend or its rules", hint)


@lru_cache(maxsize=4096)
def seems_ours(label: str) -> bool:
    """One that begins with `dockmend.`, or has a slip in that or in one of the other healers'
    labels: dockmnd.heal, auto-heal, Autoheal."""
    if label[: len(PREFIX)].lower() == PREFIX:
        return True
    if len(label) > LONGEST_SEEMING:
        return False
    head = re.split(r"[._/-]", label.lower(), maxsplit=1)[0]
    bare = re.sub(r"[^a-z]", "", label.lower())
    return bool(
        get_close_matches(head, ("dockmend",), 1, 0.85)
        or get_close_matches(bare, _OTHERS_LETTERS, 1, 0.88)
    )
