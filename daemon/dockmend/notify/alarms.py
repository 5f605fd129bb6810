"""What is told of a trouble that stands: once when it has stood for its grace, once when it is
over.

    (none)  → PENDING  it was seen
    PENDING → OVER     it was over before anybody was told: nothing is told
    PENDING → TOLD     it stood for its grace
    TOLD    → TOLD     what was tried is used up: told once more, since now nothing will be done
    TOLD    → OVER     it is well again, was stopped by a person, or is gone: `resolved`
    OVER    → PENDING  it is seen again
    OVER    → (none)   no alarm about it was told in the last hour

What comes and goes is told three times within an hour. From then on its end is told once it has
been well for ten minutes, and nothing in between: whoever gets a message every minute reads none.

Pure: time and what is seen are passed in. What was told, and how often, is kept by the caller, so
that a dockmend that begins anew tells nothing twice, and tells the end of what the one before it
told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from dockmend.notify.message import Kind, Severity


class Phase(StrEnum):
    """Where an alarm is. One that is over is kept for as long as its alarms count."""

    PENDING = "pending"
    TOLD = "told"
    OVER = "over"


class AlarmSeen(StrEnum):
    """What a look says of an alarm's trouble."""

    # it stands, and is of a person's own making for now: a pause, a container that they stopped
    HELD = "held"
    EARLY = "early"  # it stands, not for its grace yet
    DUE = "due"  # it has stood for its grace
    WORSE = "worse"  # the same, and what was told of it before was less
    # it does not stand, and nothing says that it stays so: a container that is starting
    UNSURE = "unsure"
    OVER = "over"


class Say(StrEnum):
    """What is to be told."""

    NOTHING = "nothing"
    ALARM = "alarm"
    RESOLVED = "resolved"


TRANSITIONS: Final[Mapping[tuple[Phase, AlarmSeen], tuple[Phase, Say]]] = MappingProxyType({
    (Phase.PENDING, AlarmSeen.HELD): (Phase.PENDING, Say.NOTHING),
    (Phase.PENDING, AlarmSeen.EARLY): (Phase.PENDING, Say.NOTHING),
    (Phase.PENDING, AlarmSeen.DUE): (Phase.TOLD, Say.ALARM),
    (Phase.PENDING, AlarmSeen.WORSE): (Phase.TOLD, Say.ALARM),
    (Phase.PENDING, AlarmSeen.UNSURE): (Phase.OVER, Say.NOTHING),
    (Phase.PENDING, AlarmSeen.OVER): (Phase.OVER, Say.NOTHING),
    (Phase.TOLD, AlarmSeen.HELD): (Phase.TOLD, Say.NOTHING),
    (Phase.TOLD, AlarmSeen.EARLY): (Phase.TOLD, Say.NOTHING),
    (Phase.TOLD, AlarmSeen.DUE): (Phase.TOLD, Say.NOTHING),
    (Phase.TOLD, AlarmSeen.WORSE): (Phase.TOLD, Say.ALARM),
    (Phase.TOLD, AlarmSeen.UNSURE): (Phase.TOLD, Say.NOTHING),
    (Phase.TOLD, AlarmSeen.OVER): (Phase.OVER, Say.RESOLVED),
    (Phase.OVER, AlarmSeen.HELD): (Phase.PENDING, Say.NOTHING),
    (Phase.OVER, AlarmSeen.EARLY): (Phase.PENDING, Say.NOTHING),
    (Phase.OVER, AlarmSeen.DUE): (Phase.TOLD, Say.ALARM),
    (Phase.OVER, AlarmSeen.WORSE): (Phase.TOLD, Say.ALARM),
    (Phase.OVER, AlarmSeen.UNSURE): (Phase.OVER, Say.NOTHING),
    (Phase.OVER, AlarmSeen.OVER): (Phase.OVER, Say.NOTHING),
})  # fmt: skip
"""From a phase, by what is seen, to the next one, and what is told on the way."""


class AlarmEnding(StrEnum):
    """How a trouble ended that was told."""

    WELL = "well"
    STOPPED = "stopped"  # by a person
    REMOVED = "removed"
    COMPLETED = "completed"  # it ended by itself with exit code 0


class AlarmTrouble(Struct, frozen=True):
    """A trouble as it stands now. `since`: wall seconds; `step`: a command line that puts it right;
    `grace`: seconds that it has to stand before it is told; `held`: it is a person's own doing for
    as long as this is so."""

    key: str
    kind: Kind
    target: str
    object_name: str
    since: float
    severity: Severity = Severity.WARNING
    object_id: str = ""
    cause: str = ""
    note: str = ""
    step: str = ""
    rule: str = ""
    grace: float = 0.0
    held: bool = False


class Alarm(Struct, frozen=True):
    """What is known of one trouble, in seconds of the caller's clock. `seen_at`: since when it
    stands without a pause; `channels`: who was told; `trouble`: as it was when it was told, or last
    seen; `alarms`: when it was told within the last hour; `well_since`: of one that is told and
    comes and goes, since when it is well."""

    trouble: AlarmTrouble
    phase: Phase
    seen_at: float
    told_at: float = 0.0
    channels: tuple[str, ...] = ()
    # a person let the rule try again since: if it gives up once more, that is told
    reset: bool = False
    alarms: tuple[float, ...] = ()
    well_since: float | None = None

    @property
    def unsteady(self) -> bool:
        """It came and went too often for its end to be told at once."""
        return len(self.alarms) >= OFTEN


class Word(Struct, frozen=True):
    """One thing to tell. `ending`: how it ended, of one that is resolved; `channels`: who was told
    of it before; `nth`: of an alarm, the how manyth about this trouble within an hour."""

    say: Say
    trouble: AlarmTrouble
    ending: AlarmEnding | None = None
    channels: tuple[str, ...] = ()
    told_at: float = 0.0
    nth: int = 1


OFTEN, WITHIN = 3, 3600.0
"""So many alarms about one trouble within so many seconds: it comes and goes."""
CALM: Final = 600.0
"""Seconds for which such a one has to be well before that is told."""
_BY_ITSELF: Final = frozenset({AlarmEnding.WELL, AlarmEnding.COMPLETED})
_RANK: Final[Mapping[Kind, int]] = MappingProxyType({Kind.DOWN: 1, Kind.GAVE_UP: 2})
"""What is told of one container: the higher replaces the lower."""


class Alarms:
    """`changed` holds the keys of alarms that differ from what the caller kept: it keeps them and
    clears it.

    Only what was told is kept: what is pending is seen again.
    """

    def __init__(self, told: Iterable[Alarm] = ()) -> None:
        self.known: dict[str, Alarm] = {each.trouble.key: each for each in told}
        self.changed: set[str] = set()

    def step(
        self,
        now: float,
        troubles: Iterable[AlarmTrouble],
        ending: Callable[[AlarmTrouble], AlarmEnding | None],
    ) -> list[Word]:
        """What is to be told, the oldest trouble first. `now`: seconds that only grow;
        `ending(trouble)`: how one ended that does not stand any more; None if nothing is sure
        yet."""
        words: list[Word] = []
        standing = _worst(troubles)
        self._follow_renamed(standing)
        for key, alarm in list(self.known.items()):
            if key not in standing:
                words += self._look(now, alarm, None, ending)
        for trouble in sorted(standing.values(), key=lambda each: (each.since, each.key)):
            found = self.known.get(trouble.key)
            words += self._look(now, found or Alarm(trouble, Phase.PENDING, now), trouble, ending)
        self._forget(now)
        return words

    def next_due(self) -> float | None:
        """When the next pending alarm has stood for its grace, by the same clock; None: nothing
        waits."""
        waiting = [
            each.seen_at + each.trouble.grace for each in self.known.values()
            if each.phase is Phase.PENDING and not each.trouble.held
        ]  # fmt: skip
        return min(waiting, default=None)

    def told(self, key: str, channels: Iterable[str]) -> None:
        """Who was told of it."""
        if (alarm := self.known.get(key)) is not None:
            self.known[key] = replace(
                alarm, channels=tuple(dict.fromkeys((*alarm.channels, *channels)))
            )
            self.changed.add(key)

    def reset(self, key: str) -> None:
        """A person let the rule try again: if it gives up once more, that is news."""
        alarm = self.known.get(key)
        if alarm is not None and alarm.phase is Phase.TOLD and alarm.trouble.kind is Kind.GAVE_UP:
            self.known[key] = replace(alarm, reset=True)
            self.changed.add(key)

    def _follow_renamed(self, standing: Mapping[str, AlarmTrouble]) -> None:
        """A container that a person gave another name is the same trouble under another key."""
        ids = {
            each.object_id: each
            for each in standing.values()
            if each.object_id and each.kind in _RANK
        }
        for key, alarm in list(self.known.items()):
            trouble = ids.get(alarm.trouble.object_id)
            if (
                key in standing
                or trouble is None
                or alarm.trouble.kind not in _RANK
                or trouble.key in self.known
            ):
                continue
            del self.known[key]
            renamed = replace(
                alarm.trouble,
                key=trouble.key,
                target=trouble.target,
                object_name=trouble.object_name,
            )
            self.known[trouble.key] = replace(alarm, trouble=renamed)
            if alarm.phase is not Phase.PENDING:
                self.changed.update((key, trouble.key))

    def _look(
        self,
        now: float,
        alarm: Alarm,
        trouble: AlarmTrouble | None,
        ending: Callable[[AlarmTrouble], AlarmEnding | None],
    ) -> Iterator[Word]:
        key = alarm.trouble.key
        ended = ending(alarm.trouble) if trouble is None else None
        if alarm.phase is Phase.TOLD and alarm.unsteady:
            alarm, ended = _calmed(now, alarm, ended)
        seen = _seen(now, alarm, trouble, ended)
        phase, say = TRANSITIONS[alarm.phase, seen]
        after = _after(now, alarm, trouble, seen, phase, say)
        if phase is not Phase.PENDING and after != self.known.get(key):
            self.changed.add(key)
        self.known[key] = after
        if say is not Say.NOTHING:
            nth = max(1, len(after.alarms)) if say is Say.ALARM else 1
            yield Word(say, trouble or alarm.trouble, ended, alarm.channels, alarm.told_at, nth)

    def _forget(self, now: float) -> None:
        """What is over, and was not told in the last hour."""
        for key, alarm in list(self.known.items()):
            if alarm.phase is Phase.OVER and not _lately(now, alarm.alarms):
                del self.known[key]
                self.changed.add(key)


def _lately(now: float, alarms: Iterable[float]) -> tuple[float, ...]:
    return tuple(at for at in alarms if now - at < WITHIN)


def _calmed(
    now: float, alarm: Alarm, ended: AlarmEnding | None
) -> tuple[Alarm, AlarmEnding | None]:
    """One that comes and goes is over once a person ended it, or once it is well for long."""
    if ended is None:
        return replace(alarm, well_since=None), None
    since = now if alarm.well_since is None else alarm.well_since
    if ended in _BY_ITSELF and now - since < CALM:
        ended = None
    return replace(alarm, well_since=since), ended


def _seen(
    now: float, alarm: Alarm, trouble: AlarmTrouble | None, ended: AlarmEnding | None
) -> AlarmSeen:
    if trouble is None:
        return AlarmSeen.UNSURE if ended is None else AlarmSeen.OVER
    if trouble.held:
        return AlarmSeen.HELD
    if alarm.phase is not Phase.TOLD:
        since = alarm.seen_at if alarm.phase is Phase.PENDING else now
        return AlarmSeen.DUE if now >= since + trouble.grace else AlarmSeen.EARLY
    more = _RANK.get(trouble.kind, 0) > _RANK.get(alarm.trouble.kind, 0)
    again = alarm.reset and trouble.kind is Kind.GAVE_UP
    return AlarmSeen.WORSE if more or again else AlarmSeen.DUE


def _after(
    now: float, alarm: Alarm, trouble: AlarmTrouble | None, seen: AlarmSeen, phase: Phase, say: Say
) -> Alarm:
    if say is Say.ALARM:
        assert trouble is not None
        # An alarm that only says more of what was told counts with that one.
        told = alarm.alarms if alarm.phase is Phase.TOLD else (*_lately(now, alarm.alarms), now)
        return replace(
            alarm, trouble=trouble, phase=phase, told_at=now, reset=False, alarms=told,
            well_since=None,
        )  # fmt: skip
    if phase is Phase.TOLD:
        return alarm  # of what was told, the end is told
    if phase is Phase.OVER:
        return (
            alarm
            if alarm.phase is phase
            else Alarm(alarm.trouble, Phase.OVER, now, alarms=_lately(now, alarm.alarms))
        )
    assert trouble is not None
    # Its grace begins as it is seen, and anew once a person does not have it in hand any more.
    begins = seen is AlarmSeen.HELD or alarm.phase is Phase.OVER
    return replace(
        alarm, trouble=trouble, phase=phase, seen_at=now if begins else alarm.seen_at
    )  # fmt: skip


def _worst(troubles: Iterable[AlarmTrouble]) -> dict[str, AlarmTrouble]:
    """One of each key: of two things that are wrong with one container the worse is told."""
    worst: dict[str, AlarmTrouble] = {}
    for each in troubles:
        known = worst.get(each.key)
        if known is None or _RANK.get(each.kind, 0) > _RANK.get(known.kind, 0):
            worst[each.key] = each
    return worst
