"""What happens in the daemon, told to whoever projects it: metrics, MQTT, the log.

The pipeline calls these in its own task, so an observer returns at once: it counts, or puts into a
bounded outbox, and never raises. One class of no-ops, so that an observer implements only what it
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from dockmend.journal.records import ActionRecord, Incident
from dockmend.model import Change, Container, Event


class NotActing(StrEnum):
    """Why a dockmend does not act: on nothing, or not by `label:heal`."""

    DRY_RUN = "dry_run"
    OTHER = "another_dockmend"
    RULES = "rules"
    JOURNAL = "journal"
    PAUSED = "paused"
    HEALER = "another_healer"  # the rules but `label:heal` act


class Observer:
    """Times are wall seconds, durations seconds."""

    def events_read(self, events: Sequence[Event], now: float) -> None:
        """Events were read, each for the first time; `now`: when, by the clock that the engine's
        stamps follow."""

    def connected(self, up: bool) -> None:
        """The stream was connected (True) or lost (False)."""

    def gap(self, cause: str) -> None:
        """Events may have been lost; `cause` is one of: marker, restart, overflow, stalled,
        malformed; self_check: they were."""

    def container(self, before: Container | None, after: Container | None) -> None:
        """A container as the mirror now holds it; None where it did not exist or is gone."""

    def change(self, change: Change) -> None:
        """A transition fired."""

    def matched(self, rule: str) -> None: ...

    def decision(self, rule: str, decision: str, reason: str) -> None:
        """`decision`: act, wait, suppress; `reason`: a code of a bounded set, "" for act."""

    def incident(self, incident: Incident) -> None:
        """An incident was opened, changed or closed."""

    def action(self, record: ActionRecord) -> None:
        """An action began (no outcome) or ended."""

    def breaker(self, rule: str, target: str, opened: bool) -> None: ...
    def breaker_known(self, rule: str, target: str) -> None:
        """A breaker that was open already when dockmend began: told once at each start, and no
        news."""

    def paused(self, pauses: int) -> None:
        """How many pauses are in force."""

    def rules(self, enabled: int, disabled: int, shadow: int, errors: int) -> None:
        """Rules in force by state; `errors`: of the last load."""

    def reloaded(self, ok: bool, at: float) -> None: ...
    def degraded(self, part: str, why: str | None) -> None:
        """`part` (engine, rules, journal, record, mqtt, acting) does not work, and why; None: it
        works again."""

    def journal_lost(self) -> None:
        """The journal was damaged: it was set aside, and a new one begun."""

    def snapshot(self, volume: str, size: int, at: float) -> None:
        """A snapshot was completed; bytes of its content."""


class Observers(Observer):
    """Several as one. Each call goes only to those that implement it: most are made for every event
    of a busy host."""

    def __init__(self, *parts: Observer) -> None:
        for name in HOOKS:
            calls = tuple(getattr(part, name) for part in parts if _implements(part, name))
            setattr(self, name, calls[0] if len(calls) == 1 else _each(calls))


HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_"))


def _implements(part: Observer, name: str) -> bool:
    return name in vars(part) or getattr(type(part), name) is not getattr(Observer, name)


def _each(calls: tuple[Callable[..., None], ...]) -> Callable[..., None]:
    def tell(*args: Any, **named: Any) -> None:
        for call in calls:
            call(*args, **named)

    return tell
