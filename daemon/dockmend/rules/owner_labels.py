"""What the owner of a container asks of dockmend by labels: read once, with an error for every wrong one.

The labels are those of operator documentation (`docs/labels.md`); those of autoheal and deunhealth are understood too.
A function one of whose labels is wrong is off for that container. Nobody can know what the wrong label meant, and to
do nothing, and say so, is what its owner can find out about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, Literal, TypeVar, cast

from msgspec import Struct

from dockmend.rules.durations import duration, per
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted

T = TypeVar("T")

PREFIX: Final = "dockmend."


class Function(StrEnum):
    """What a label belongs to; a wrong label switches one of these off."""

    HEAL = "heal"
    REJOIN = "rejoin"
    IGNORE = "ignore"
    NOTIFY = "notify"
    DEPENDS = "depends-on"


class Cause(StrEnum):
    """A trouble that `dockmend.heal.on` names."""

    UNHEALTHY = "unhealthy"
    CRASHED = "crashed"
    OOM = "oom"
    REBOOT = "reboot"
    NETWORK = "network"


TRANSITION: Final[Mapping[Cause, str]] = {
    Cause.UNHEALTHY: "container.unhealthy",
    Cause.CRASHED: "container.crashed",
    Cause.OOM: "container.oom_killed",
    Cause.REBOOT: "container.left_down",
    Cause.NETWORK: "container.network_lost",
}

ALL_CAUSES: Final = frozenset(Cause)

HealAction = Literal["restart", "start", "recreate", "stop"]
ACTIONS: Final = ("restart", "start", "recreate", "stop")


class LabelError(Struct, frozen=True):
    """A label that is wrong. `text` says what was expected; `function` is off for this container."""

    label: str
    value: str
    text: str
    function: Function

    def __str__(self) -> str:
        return f"label {self.label}={self.value[:60]}: {self.text}"


class Heal(Struct, frozen=True):
    """Which troubles are healed, and how. Durations are seconds; None leaves it to the default."""

    causes: frozenset[Cause] = ALL_CAUSES
    action: HealAction | None = None
    after: float = 0.0
    attempts: tuple[int, float] | None = None
    stop_timeout: float | None = None


class Wishes(Struct, frozen=True):
    """What one container's owner asks for.

    `heal`: None if nothing is said, False if the owner opts out (or a label of it is wrong).
    `notify`: names of channels; None if nothing is said, empty for `none`. `stop_timeout`: seconds, of autoheal's
    label; it counts also if `heal` says nothing, for those whom a setting heals.
    """

    heal: Heal | Literal[False] | None = None
    rejoin: bool = False
    ignore: bool = False
    notify: tuple[str, ...] | None = None
    stop_timeout: float | None = None
    errors: tuple[LabelError, ...] = ()


OF_OTHERS: Final = ("autoheal", "deunhealth.restart.on.unhealthy", "autoheal.stop.timeout")
"""Labels of other healers that dockmend understands."""
LONGEST_STOP: Final = 3600.0
"""Seconds that a label may ask for between the stop signal and the kill."""
LONGEST_WINDOW: Final = 86400.0
"""Seconds in which a label may limit the attempts: so far back attempts are remembered."""
TREATS: Final[Mapping[str, frozenset[Cause]]] = {
    "restart": frozenset(Cause),
    "recreate": frozenset(Cause),
    "start": frozenset(Cause) - {Cause.UNHEALTHY},
    "stop": frozenset({Cause.UNHEALTHY, Cause.NETWORK}),
}
"""The troubles that each action can treat. Of a lost network the remedy is to connect it again, whatever the action."""

_TRUE: Final = frozenset({"true", "yes", "1", "on"})
_FALSE: Final = frozenset({"false", "no", "0", "off"})

_OF: Final[Mapping[str, Function]] = {
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
"""The labels, without their prefix and with one separator: `heal.stop-timeout` is `heal.stop.timeout`."""

SHOWN: Final[Mapping[str, str]] = {
    "heal.stop.timeout": "dockmend.heal.stop-timeout",
    "depends.on": "dockmend.depends-on",
}
"""How a label is written if not as its key."""

_ELSEWHERE: Final = frozenset({"helper", "image", "incident", "rule", "source", "reference", "committed.at",
                               "restored.from", "restored.by"})  # fmt: skip
"""Labels that dockmend writes on what it makes: `ownership` decides what they mean, and no owner sets them."""


ALL_LABELS: Final = (*(SHOWN.get(key, PREFIX + key) for key in _OF), *OF_OTHERS)
"""Every label that an owner may set, as it is documented."""


def canonical(label: str) -> str | None:
    """The key of a label of dockmend's, in which hyphens, underscores and dots are the same; None for another label."""
    if not label.startswith(PREFIX):
        return None
    return label[len(PREFIX) :].replace("-", ".").replace("_", ".")


def label_of(key: str) -> str:
    """The label of a key, as it is documented."""
    return SHOWN.get(key, PREFIX + key)


def truth(value: str) -> bool:
    """A boolean as people write it. Raises LanguageError."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise LanguageError("expected true or false (or yes, no, on, off, 1, 0)")


def ignores(labels: Mapping[str, str]) -> bool:
    """Whether these labels ask to be left alone: also in a way that nobody understands, which is the safe reading."""
    return any(_begins_ignore(label) for label in labels) and wishes(labels).ignore


def _begins_ignore(label: str) -> bool:
    return label.startswith(PREFIX + Function.IGNORE.value)


def means_something(label: str) -> bool:
    """Whether a label is one that dockmend reads, its own or another healer's; however it is written."""
    key = canonical(label)
    return label in OF_OTHERS if key is None else key in _OF or key in _ELSEWHERE


def causes(value: str) -> frozenset[Cause]:
    """A list of causes, or `all`; the transitions' own names are understood too. Raises LanguageError."""
    words = [word.strip().lower() for word in value.split(",") if word.strip()]
    if not words:
        raise LanguageError(f"names nothing: expected {_listed(Cause)}, or all")
    if words == ["all"]:
        return ALL_CAUSES
    return frozenset(_cause(word) for word in words)


def wishes(labels: Mapping[str, str]) -> Wishes:
    """What the labels of a container's owner ask for. Never raises: what is wrong is among the `errors`."""
    return _Reader(labels).read()


class _Reader:
    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.values: dict[str, tuple[str, str]] = {}  # key: the label as it was written, its value
        self.errors: list[LabelError] = []

    def read(self) -> Wishes:
        self._sort_out()
        heal = self._heal()
        rejoin = bool(self._one("rejoin", truth))
        # What says `ignore` in a way that nobody understands asks to be left alone: that is the safe reading.
        ignore = self._one("ignore", truth)
        notify = self._one("notify", _channels)
        wrong = {each.function for each in self.errors}
        return Wishes(
            heal=False if Function.HEAL in wrong else heal,
            rejoin=rejoin and Function.REJOIN not in wrong,
            ignore=bool(ignore) or Function.IGNORE in wrong,
            notify=None if Function.NOTIFY in wrong else notify,
            stop_timeout=self._stop_timeout_of_autoheal() if Function.HEAL not in wrong else None,
            errors=tuple(self.errors),
        )

    def _sort_out(self) -> None:
        """Fills `values`; a label of dockmend's that there is not, or that is there twice, is an error."""
        for label in sorted(self.labels):
            key = canonical(label)
            if key is None or key in _ELSEWHERE:
                continue
            if key not in _OF:
                self._unknown(label, key)
            elif key in self.values and self.values[key][1] != self.labels[label]:
                text = f"says something else than {self.values[key][0]}, which is the same label: keep one of them"
                self.errors.append(LabelError(label, self.labels[label], text, _OF[key]))
            else:
                self.values.setdefault(key, (label, self.labels[label]))

    def _unknown(self, label: str, key: str) -> None:
        """A slip in a label switches the function off that it begins with; other labels may be a rule's own."""
        function = next((each for each in Function if key.split(".", maxsplit=1)[0] == each.value.split("-")[0]), None)
        if function is not None:
            hint = did_you_mean(label, [label_of(each) for each in _OF])
            text = f"there is no such label{hint}: known are {', '.join(label_of(each) for each in _OF)}"
            self.errors.append(LabelError(label, self.labels[label], text, function))

    def _one(self, key: str, parse: Callable[[str], T]) -> T | None:
        if key not in self.values:
            return None
        label, value = self.values[key]
        try:
            return parse(value)
        except LanguageError as error:
            self.errors.append(LabelError(label, value, error.message, _OF[key]))
            return None

    def _heal(self) -> Heal | Literal[False] | None:
        said, theirs = self._one("heal", truth), self._of_others()
        # Those healers know one trouble, and a stop timeout of their own.
        alike = said is None and theirs is True
        named = self._one("heal.on", causes)
        action = self._one("heal.action", _action)
        timeout = self._one("heal.stop.timeout", _stop_timeout)
        treated = TREATS[action or "restart"]
        if named is not None and named - treated:
            others = ", ".join(sorted(named - treated))
            text = f"{action} does nothing about {others}: leave that out of dockmend.heal.on, or use restart"
            self.errors.append(LabelError(*self.values["heal.action"], text, Function.HEAL))
        found = Heal(
            causes=(named or (frozenset({Cause.UNHEALTHY}) if alike else ALL_CAUSES)) & treated,
            action=action,
            after=self._one("heal.after", duration) or 0.0,
            attempts=self._one("heal.attempts", _attempts),
            stop_timeout=self._stop_timeout_of_autoheal() if timeout is None else timeout,
        )
        wanted = theirs if said is None else said
        if wanted is None:
            self._alone()
            return None
        return found if wanted else False

    def _alone(self) -> None:
        """A parameter alone asks for nothing, and whoever wrote it believes that it does."""
        for label, value in (self.values[key] for key in self.values if key.startswith("heal.")):
            text = "is read only beside dockmend.heal=true, which is not there"
            self.errors.append(LabelError(label, value, text, Function.HEAL))

    def _of_others(self) -> bool | None:
        """What the labels of other healers say; one that opts out wins. A value that they would not understand is no
        error of dockmend's: the labels are another program's."""
        told = []
        for label in OF_OTHERS[:2]:
            with suppress(LanguageError):
                if label in self.labels:
                    told.append(truth(self.labels[label]))
        return all(told) if told else None

    def _stop_timeout_of_autoheal(self) -> float | None:
        """Whole seconds, as autoheal reads them."""
        label = OF_OTHERS[2]
        if label not in self.labels:
            return None
        value = self.labels[label]
        if value.isascii() and value.isdigit() and len(value) <= 9 and int(value) <= LONGEST_STOP:
            return float(value)
        text = "expected a number of seconds such as 30, an hour at most"
        self.errors.append(LabelError(label, value, text, Function.HEAL))
        return None


def _cause(word: str) -> Cause:
    for cause, transition in TRANSITION.items():
        if word in (cause.value, transition, transition.removeprefix("container.")):
            return cause
    known = [each.value for each in Cause]
    raise LanguageError(f"unknown {quoted(word)}{did_you_mean(word, known)}: expected {_listed(Cause)}, or all")


def _action(value: str) -> HealAction:
    word = value.strip().lower()
    if word not in ACTIONS:
        raise LanguageError(f"unknown action{did_you_mean(word, ACTIONS)}: expected one of {', '.join(ACTIONS)}")
    return cast("HealAction", word)


def _attempts(value: str) -> tuple[int, float]:
    count, within = per(value)
    if within > LONGEST_WINDOW:
        raise LanguageError("expected a day at most")
    return count, within


def _stop_timeout(value: str) -> float:
    seconds = duration(value)
    if seconds > LONGEST_STOP:
        raise LanguageError("expected an hour at most")
    return seconds


def _channels(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
    if not names:
        raise LanguageError("names no channel: expected names of channels, or none")
    if "none" in names:
        if len(names) > 1:
            raise LanguageError("none stands alone: expected names of channels, or none")
        return ()
    return names


def _listed(values: type[Cause]) -> str:
    return ", ".join(each.value for each in values)
