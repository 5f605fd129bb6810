"""What the owner of a container asks of dockmend by labels: read once, with an error for every
wrong one.

The labels are those of operator documentation (`docs/labels.md`); those of autoheal and deunhealth
are understood too. A function one of whose labels is wrong is off for that container. Nobody can
know what the wrong label meant, and to do nothing, and say so, is what its owner can find out
about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, Literal, TypeVar, cast

from msgspec import Struct
from msgspec.structs import force_setattr

from dockmend import redaction
from dockmend.rules.durations import duration, per
from dockmend.rules.label_names import (
    ELSEWHERE,
    KEYS,
    OF_OTHERS,
    Function,
    canonical,
    function_of,
    hint,
    is_ours,
    label_of,
)
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted

T = TypeVar("T")


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

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
CONDITIONS: Final[tuple[Condition, ...]] = (
    "service_started",
    "service_healthy",
    "service_completed_successfully",
)
"""What a container may wait for of one that it depends on."""

HealAction = Literal["restart", "start", "recreate", "stop"]
ACTIONS: Final = ("restart", "start", "recreate", "stop")


class LabelError(Struct, frozen=True):
    """A label that is wrong. `text` says what was expected; `function` is off for this container.
    What looks like a secret is taken out of `value` and `text`: an address with a key in it stands
    where a channel's name was meant."""

    label: str
    value: str
    text: str
    function: Function

    def __post_init__(self) -> None:
        force_setattr(self, "value", redaction.addresses(redaction.label(self.label, self.value)))
        force_setattr(self, "text", redaction.addresses(redaction.text(self.text)))

    def __str__(self) -> str:
        return f"label {_cut(self.label)}={_cut(self.value)}: {self.text}"


class Heal(Struct, frozen=True):
    """Which troubles are healed, and how. Durations are seconds; None leaves it to the default."""

    causes: frozenset[Cause] = ALL_CAUSES
    action: HealAction | None = None
    after: float = 0.0
    attempts: tuple[int, float] | None = None
    stop_timeout: float | None = None


class Wishes(Struct, frozen=True):
    """What one container's owner asks for.

    `heal`: None if nothing is said, False if the owner opts out (or a label of it is wrong);
    `rejoin` the same. `depends`: (name of a container, condition). `notify`: names of channels;
    None if nothing is said or the label is wrong, empty for `none`. `stop_timeout`: seconds, of
    autoheal's label; it counts also if `heal` says nothing, for those whom a setting heals.
    `errors`: MOST_ERRORS of them at most.
    """

    heal: Heal | Literal[False] | None = None
    rejoin: bool | None = None
    ignore: bool = False
    depends: tuple[tuple[str, Condition], ...] = ()
    notify: tuple[str, ...] | None = None
    stop_timeout: float | None = None
    errors: tuple[LabelError, ...] = ()


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
"""The troubles that each action can treat. Of a lost network the remedy is to connect it again,
whatever the action."""

MOST_ERRORS: Final = 20
"""Errors of one container that are told: its owner may write thousands of labels."""
_TRUE: Final = frozenset({"true", "yes", "1", "on"})
_FALSE: Final = frozenset({"false", "no", "0", "off"})


def truth(value: str) -> bool:
    """A boolean as people write it. Raises LanguageError."""
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise LanguageError("expected true or false (or yes, no, on, off, 1, 0)")


def ignores(labels: Mapping[str, str]) -> bool:
    """Whether these labels ask to be left alone: also in a way that nobody understands, which is
    the safe reading."""
    return (
        any(is_ours(label) and function_of(label) is Function.IGNORE for label in labels)
        and wishes(labels).ignore
    )


def depends_on(labels: Mapping[str, str]) -> tuple[tuple[str, Condition], ...]:
    """(name of a container, condition) of each that these labels say theirs depends on."""
    if not any(is_ours(label) and function_of(label) is Function.DEPENDS for label in labels):
        return ()
    return wishes(labels).depends


def causes(value: str) -> frozenset[Cause]:
    """A list of causes, or `all`; the transitions' own names are understood too. Raises
    LanguageError."""
    words = [word.strip().lower() for word in value.split(",") if word.strip()]
    if not words:
        raise LanguageError(f"names nothing: expected {_listed(Cause)}, or all")
    if words == ["all"]:
        return ALL_CAUSES
    return frozenset(_cause(word) for word in words)


def wishes(labels: Mapping[str, str], channels: Collection[str] | None = None) -> Wishes:
    """What the labels of a container's owner ask for. Never raises: what is wrong is among the
    `errors`.

    `channels`: the names of the channels that there are; None: they are not known here, so any name
    may be right.
    """
    return _Reader(labels, channels).read()


class _Reader:
    def __init__(self, labels: Mapping[str, str], channels: Collection[str] | None) -> None:
        self.labels = labels
        self.channels = channels
        self.values: dict[str, tuple[str, str]] = {}  # key: the label as it was written, its value
        self.errors: list[LabelError] = []

    def read(self) -> Wishes:
        self._sort_out()
        heal = self._heal()
        rejoin = self._one("rejoin", truth)
        # What says `ignore` in a way that nobody understands asks to be left alone: that is the
        # safe reading.
        ignore = self._one("ignore", truth)
        notify = self._one("notify", self._known_channels)
        depends = self._one("depends.on", _depends)
        stop_timeout = self._stop_timeout_of_autoheal()
        wrong = {each.function for each in self.errors}
        return Wishes(
            heal=False if Function.HEAL in wrong else heal,
            rejoin=False if Function.REJOIN in wrong else rejoin,
            ignore=bool(ignore) or Function.IGNORE in wrong,
            depends=() if Function.DEPENDS in wrong else depends or (),
            notify=None if Function.NOTIFY in wrong else notify,
            stop_timeout=None if Function.HEAL in wrong else stop_timeout,
            errors=tuple(self.errors[:MOST_ERRORS]),
        )

    def _sort_out(self) -> None:
        """Fills `values`; a label of dockmend's that there is not, or that is there twice, is an
        error."""
        for label in sorted(self.labels):
            if not is_ours(label) or (key := canonical(label)) in ELSEWHERE:
                continue
            if key is None or key not in KEYS:
                self._unknown(label)
            elif key in self.values and self.values[key][1] != self.labels[label]:
                text = (
                    f"says something else than {self.values[key][0]}, which is the same "
                    "label: keep one of them"
                )
                self.errors.append(LabelError(label, self.labels[label], text, KEYS[key]))
            else:
                self.values.setdefault(key, (label, self.labels[label]))

    def _unknown(self, label: str) -> None:
        """A slip in a label switches off the function that it is near to; other labels may be a
        rule's own."""
        function = function_of(label)
        if function is not None:
            near = hint(label) if len(self.errors) < MOST_ERRORS else ""
            text = (
                f"there is no such label{near}: known are "
                f"{', '.join(label_of(each) for each in KEYS)}"
            )
            self.errors.append(LabelError(label, self.labels[label], text, function))

    def _one(self, key: str, parse: Callable[[str], T]) -> T | None:
        if key not in self.values:
            return None
        label, value = self.values[key]
        try:
            return parse(value)
        except LanguageError as error:
            self.errors.append(LabelError(label, value, error.message, KEYS[key]))
            return None

    def _known_channels(self, value: str) -> tuple[str, ...]:
        names = _channels(value)
        if self.channels is not None and (
            unknown := [each for each in names if each not in self.channels]
        ):
            there = ", ".join(sorted(self.channels))
            rest = (
                f"expected {there}, or none; its messages go to all of them"
                if there
                else "none is configured"
            )
            raise LanguageError(
                "there is no channel "
                f"{quoted(unknown[0])}{did_you_mean(unknown[0], self.channels)}: {rest}"
            )
        return names

    def _heal(self) -> Heal | Literal[False] | None:
        said, theirs = self._one("heal", truth), self._of_others()
        named, action = self._one("heal.on", causes), self._one("heal.action", _action)
        if named is None and said is None and theirs is True:
            named = frozenset({Cause.UNHEALTHY})  # those healers know one trouble
        treated = TREATS[action or "restart"]
        if named is not None and named - treated:
            others = ", ".join(sorted(named - treated))
            text = (
                f"{action} does nothing about {others}: leave that out of dockmend.heal.on, "
                "or use restart"
            )
            self.errors.append(LabelError(*self.values["heal.action"], text, Function.HEAL))
        found = Heal(
            causes=(named or ALL_CAUSES) & treated,
            action=action,
            after=self._one("heal.after", duration) or 0.0,
            attempts=self._one("heal.attempts", _attempts),
            stop_timeout=self._stop_timeout(action),
        )
        wanted = theirs if said is None else said
        if wanted is None:
            self._alone()
            return None
        return found if wanted else False

    def _stop_timeout(self, action: HealAction | None) -> float | None:
        """The label's own; else autoheal's, of which the errors are told elsewhere."""
        timeout = self._one("heal.stop.timeout", _stop_timeout)
        if timeout is None:
            with suppress(LanguageError):
                return _seconds(self.labels.get(OF_OTHERS[2]))
        elif action in ("start", "recreate"):
            why = (
                "stops nothing"
                if action == "start"
                else "goes by the container's own (docker run --stop-timeout)"
            )
            text = f"is for restart and stop: dockmend.heal.action={action} {why}"
            self.errors.append(LabelError(*self.values["heal.stop.timeout"], text, Function.HEAL))
        return timeout

    def _alone(self) -> None:
        """A parameter alone asks for nothing, and whoever wrote it believes that it does."""
        for label, value in (self.values[key] for key in self.values if key.startswith("heal.")):
            text = "is read only beside dockmend.heal=true, which is not there"
            self.errors.append(LabelError(label, value, text, Function.HEAL))

    def _of_others(self) -> bool | None:
        """What the labels of other healers say; one that opts out wins. A value that they would not
        understand is no error of dockmend's: the labels are another program's."""
        told = []
        for label in OF_OTHERS[:2]:
            with suppress(LanguageError):
                if label in self.labels:
                    told.append(truth(self.labels[label]))
        return all(told) if told else None

    def _stop_timeout_of_autoheal(self) -> float | None:
        label = OF_OTHERS[2]
        try:
            return _seconds(self.labels.get(label))
        except LanguageError as error:
            self.errors.append(LabelError(label, self.labels[label], error.message, Function.HEAL))
            return None


def _cause(word: str) -> Cause:
    for cause, transition in TRANSITION.items():
        if word in (cause.value, transition, transition.removeprefix("container.")):
            return cause
    known = [each.value for each in Cause]
    raise LanguageError(
        f"unknown {quoted(word)}{did_you_mean(word, known)}: expected {_listed(Cause)}, or all"
    )


def _action(value: str) -> HealAction:
    word = value.strip().lower()
    if word not in ACTIONS:
        raise LanguageError(
            f"unknown action{did_you_mean(word, ACTIONS)}: expected one of {', '.join(ACTIONS)}"
        )
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


def _seconds(value: str | None) -> float | None:
    """Whole seconds, as autoheal reads them."""
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) <= 9 and int(value) <= LONGEST_STOP:
        return float(value)
    raise LanguageError("expected a number of seconds such as 30, an hour at most")


def _depends(value: str) -> tuple[tuple[str, Condition], ...]:
    found: list[tuple[str, Condition]] = []
    for part in filter(None, map(str.strip, value.split(","))):
        name, colon, said = part.partition(":")
        condition = next((each for each in CONDITIONS if each == said), None)
        if not name or (colon and condition is None):
            expected = "expected names such as `cache`, or `db:` and one of " + ", ".join(
                CONDITIONS
            )
            raise LanguageError(
                f"{quoted(part)} is none{did_you_mean(said, CONDITIONS)}: {expected}"
            )
        found.append((name, condition or "service_started"))
    if not found:
        raise LanguageError("names no container")
    return tuple(found)


def _channels(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
    if not names:
        raise LanguageError("names no channel: expected names of channels, or none")
    if "none" in names:
        if len(names) > 1:
            raise LanguageError("none stands alone: expected names of channels, or none")
        return ()
    return names


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _listed(values: type[Cause]) -> str:
    return ", ".join(each.value for each in values)
