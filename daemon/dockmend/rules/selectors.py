"""`match` and `exclude`: a mapping of patterns compiled to one test over an object of the mirror.

Every key must hold. A label's "" is the empty value, as any pattern holds for the whole text; `"*"`
is any value. Labels of a container are those that its owner set; its image's do not count. A
Compose one-off is selected only if `oneoff: true` asks for those. The image is compared as the
container's owner wrote it, and with `:latest` if no tag was written.

Breadth says how much a selection takes in: 1000 for all, less for each key. The weights follow what
a person means by "narrower": a name is narrower than a name's pattern, that than a Compose service,
a label, an image, a host or driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast

from dockmend.model import Container, Network, Object, Volume, without_aside
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted
from dockmend.rules.patterns import Pattern, Test, any_of, parse_name, parse_pattern
from dockmend.rules.rule import Selector

Kind = Literal["container", "network", "volume", "image", "service", "node"]
ObjectTest = Callable[[Object], bool]
MakeTest = Callable[[Test], ObjectTest]

EVERYTHING: Final = 1000
"""The breadth of `match: all`."""

_CLASSES: Final[Mapping[str, type[Object]]] = {
    "container": Container,
    "network": Network,
    "volume": Volume,
}
_WEIGHTS: Final = {
    "name": (400, 200), "compose": (60, 30), "label": (50, 25), "image": (50, 25),
    "driver": (10, 5), "host": (10, 5), "oneoff": (10, 10),
}  # fmt: skip
"""What a key takes off the breadth: (one literal, anything else)."""

# Selector.needs, for the index and for finding overlaps: ("name" | "label:KEY" | "image" |
# "driver", literal texts, one of which the object has), or with "~" before it the texts of
# patterns, one of which holds; and derived from these ("prefix" | "suffix", what its name begins or
# ends with) and ("has", label keys).

KEYS: Final[Mapping[str, frozenset[str]]] = {
    "container": frozenset({"kind", "name", "labels", "image", "compose", "oneoff", "host"}),
    "network": frozenset({"kind", "name", "labels", "driver", "host"}),
    "volume": frozenset({"kind", "name", "labels", "driver", "host"}),
    "image": frozenset({"kind", "name", "labels", "host"}),
    "service": frozenset({"kind", "name", "labels", "image", "host"}),
    "node": frozenset({"kind", "name", "labels", "host"}),
}
"""The keys that each kind of object can be selected by."""


class _Builder:
    """Collects the tests of one selection, what every match has, how narrow it is, and the words
    for it."""

    def __init__(self) -> None:
        self.tests: list[ObjectTest] = []
        self.needs: list[tuple[str, frozenset[str]]] = []
        self.words: list[str] = []
        self.narrowed = 0
        self.never = False
        self.one_off: bool | None = None  # of containers: only one-offs, only others; None: either

    def add(
        self, weight: str, said: str, patterns: Sequence[Pattern], aspect: str, make: MakeTest
    ) -> None:
        literals = self.say(weight, said, patterns)
        self.tests.append(make(any_of(patterns)))
        if len(literals) == len(patterns):
            self.needs.append((aspect, frozenset(literals)))
            return
        self.needs.append(("~" + aspect, frozenset(pattern.text for pattern in patterns)))
        if aspect == "name":
            self.needs += _ends(patterns)

    def say(self, weight: str, said: str, patterns: Sequence[Pattern]) -> list[str]:
        """Count a key into the breadth and the words; the texts of its literal patterns."""
        single, other = _WEIGHTS[weight]
        literals = [pattern.literal for pattern in patterns if pattern.literal is not None]
        self.narrowed += single if len(patterns) == len(literals) == 1 else other
        self.words.append(
            f"{said} {' or '.join(pattern.text or '(empty)' for pattern in patterns)}"
        )
        return literals

    def only_one_offs(self, wanted: bool) -> None:
        self.one_off = wanted
        if wanted:
            self.narrowed += _WEIGHTS["oneoff"][0]
            self.words.append("a Compose one-off")

    def selector(self, kind: Kind) -> Selector:
        if self.never:
            self.needs, self.tests = [("name", frozenset())], [lambda _: False]
        exact = next((values for aspect, values in self.needs if aspect == "name"), None)
        return Selector(
            kind=kind,
            test=_all_of(kind, self.tests, self.one_off),
            breadth=max(0, EVERYTHING - self.narrowed),
            everything=not self.tests and not self.one_off,
            one_off=bool(self.one_off),
            text=", ".join(self.words)
            if self.words
            else "all"
            if kind == "container"
            else f"all {kind}s",
            exact_names=exact,
            needs=tuple(self.needs),
        )


def compile_selector(
    mapping: Mapping[str, Any] | str, host: str = "", *, matching: bool = False
) -> Selector:
    """A selection from a mapping whose shape was checked: `kind`, and `name`, `image`, `host`,
    `driver` (a text or a list of them), `labels` (texts or lists by key), `compose` (`project`,
    `service`), `oneoff` (a flag); or "all".

    `matching`: it is a `match`, which selects no Compose one-off unless it says `oneoff: true`; an
    `exclude` has no such key, and selects both. `host` is this host's name: a selection for another
    one never holds. Raises LanguageError for a wrong pattern.
    """
    if isinstance(mapping, str):
        if mapping != "all":
            raise LanguageError(f'expected a mapping or "all"{did_you_mean(mapping, ["all"])}', 0)
        mapping = {}
    kind = cast("Kind", mapping.get("kind", "container"))
    if kind not in KEYS:
        raise LanguageError(
            f"unknown kind{did_you_mean(str(kind), KEYS)}: expected one of {', '.join(KEYS)}"
        )
    if wrong := [str(key) for key in mapping if key not in KEYS[kind]]:
        hint = did_you_mean(wrong[0], KEYS[kind])
        raise LanguageError(
            f"a {kind} is not selected by {wrong[0]}{hint}: expected "
            f"{', '.join(sorted(KEYS[kind]))}"
        )
    built = _Builder()
    if kind == "container" and matching:
        built.only_one_offs(bool(mapping.get("oneoff")))
    if "name" in mapping:
        built.add(
            "name",
            "name",
            _patterns(mapping["name"], parse_name),
            "name",
            _by_name if matching else _by_either,
        )
    if "image" in mapping:
        built.add("image", "image", _patterns(mapping["image"], parse_name), "image", _by_image)
    for part, value in _items(mapping, "compose"):
        label = "com.docker.compose." + part
        built.add("compose", part, _patterns(value, parse_name), f"label:{label}", _by_label(label))
    for key, value in _labels(mapping):
        patterns = _patterns(value)
        built.add("label", f"label {key} =", patterns, f"label:{key}", _by_label(key))
        built.needs.append(("has", frozenset({key})))
    if "driver" in mapping:
        built.add(
            "driver", "driver", _patterns(mapping["driver"], parse_name), "driver", _by_driver
        )
    if "host" in mapping:
        patterns = _patterns(mapping["host"], parse_name)
        built.say("host", "host", patterns)
        built.never = not any_of(patterns)(host)
    return built.selector(kind)


def _items(mapping: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    value = mapping.get(key) or {}
    return sorted(value.items())


def _labels(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = _items(mapping, "labels")
    for key, _ in found:
        if re.search(r"[*?]|^/.*/$", key):
            raise LanguageError(
                f"label {quoted(key)}: a label's key is no pattern: expected the whole key"
            )
    return found


def _patterns(value: object, parse: Callable[[str], Pattern] = parse_pattern) -> list[Pattern]:
    texts = (
        [value]
        if isinstance(value, str)
        else list(value)
        if isinstance(value, (list, tuple))
        else []
    )
    if not texts or not all(isinstance(text, str) for text in texts):
        raise LanguageError("expected a text or a list of texts")
    return [parse(text) for text in texts]


def _ends(patterns: Sequence[Pattern]) -> list[tuple[str, frozenset[str]]]:
    """What names begin or end with, where each of the patterns says so."""
    ends = []
    if all(pattern.prefix for pattern in patterns):
        ends.append(("prefix", frozenset(pattern.prefix for pattern in patterns)))
    if all(pattern.suffix for pattern in patterns):
        ends.append(("suffix", frozenset(pattern.suffix for pattern in patterns)))
    return ends


def _all_of(kind: str, tests: Sequence[ObjectTest], one_off: bool | None) -> ObjectTest:
    """One test over all; of the object's class first, so that the others need not look."""
    wanted = _CLASSES.get(kind)
    if wanted is None:
        return lambda _: False  # images, services and nodes are not mirrored in this version
    if one_off is not None:
        tests = [_is_one_off if one_off else _is_no_one_off, *tests]
    if not tests:
        return lambda subject: isinstance(subject, wanted)
    if len(tests) == 1:
        only = tests[0]
        return lambda subject: isinstance(subject, wanted) and only(subject)
    every = tuple(tests)
    return lambda subject: isinstance(subject, wanted) and all(test(subject) for test in every)


def _is_one_off(subject: Object) -> bool:
    """Its owner says so: a label of which nobody knows who set it holds back, and selects
    nothing."""
    return isinstance(subject, Container) and subject.one_off and not subject.image_unknown


def _is_no_one_off(subject: Object) -> bool:
    return isinstance(subject, Container) and not subject.one_off


def _by_name(test: Test) -> ObjectTest:
    return lambda subject: test(subject.name)


def _by_either(test: Test) -> ObjectTest:
    """Of an `exclude`, which holds back: also what has only the set-aside name of what is meant, as
    of a recreation whose journal was lost, or another dockmend's. That a person gave that name does
    no harm here."""
    return lambda subject: (
        test(subject.name) or (isinstance(subject, Container) and test(without_aside(subject.name)))
    )


def image_test(test: Test) -> Test:
    """The test of an image's reference, which is `:latest` if no tag was written."""
    return lambda image: test(image) or (_untagged(image) and test(image + ":latest"))


def _by_image(test: Test) -> ObjectTest:
    of_image = image_test(test)
    return lambda subject: of_image(subject.image if isinstance(subject, Container) else "")


def _untagged(image: str) -> bool:
    return bool(image) and "@" not in image and ":" not in image.rpartition("/")[2]


def _by_label(key: str) -> Callable[[Test], ObjectTest]:
    def make(test: Test) -> ObjectTest:
        def by_label(subject: Object) -> bool:
            value = subject.labels.get(key)
            return value is not None and test(value)

        return by_label

    return make


def _by_driver(test: Test) -> ObjectTest:
    return lambda subject: not isinstance(subject, Container) and test(subject.driver)
