"""The incidents that are open, and the one place where any is opened, changed or closed.

Every change of an incident goes to the journal and to the observers from here, so that log,
metrics, MQTT and the record cannot disagree.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from dockmend import redaction
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import ClosedIncident, Incident, Outcome
from dockmend.model import Change, Container, owner_in
from dockmend.observer import Observer
from dockmend.pipeline.write_retry import WriteRetry
from dockmend.rules.rule import Rule

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TWO = [first + second for first in _ALPHABET for second in _ALPHABET]
ANSWERED_KEPT = 20_000
"""Troubles remembered as answered, the newest; also how many (rule, target) pairs' last outcomes
are. One that is forgotten is mostly of a run that is over; if it still stands, it is answered
anew."""
FOLDED_FOR = 3600.0
"""Seconds for which suppressions with the same reason are folded into one record."""


def new_id(prefix: str, now: float, dice: random.Random) -> str:
    """Sortable by time: nine characters of milliseconds and six of chance."""
    bits = dice.getrandbits(30)
    two = _TWO
    chance = f"{two[bits >> 20]}{two[bits >> 10 & 1023]}{two[bits & 1023]}"
    return f"{prefix}{_when(int(now * 1000))}{chance}"


@lru_cache(maxsize=1)  # a burst brings many within a millisecond
def _when(milliseconds: int) -> str:
    return "".join(_ALPHABET[milliseconds >> place & 31] for place in range(40, -5, -5))


def trigger_of(rule: Rule, change: Change) -> str:
    """Which of a change's triggers the rule answers: what its incident is called after."""
    for name in change.triggers:
        if name in rule.named:
            return name
    return change.triggers[0]


class Incidents:
    def __init__(
        self, journal: Journal, observer: Observer, clock: Callable[[], float], dice: random.Random
    ) -> None:
        self._journal = journal
        self.backlog = WriteRetry()
        self._observer = observer
        self.clock = clock
        self.dice = dice
        self.open: dict[str, Incident] = {}
        self.recovery: set[str] = set()
        """Closed ones of which a step was cut short, and is looked after."""
        self._by_key: dict[tuple[str, str], str] = {}
        # rule and id: its name may change meanwhile
        self._by_container: dict[tuple[str, str], str] = {}
        self._answered: dict[tuple[str, str], None] = {}
        # how the latest incident of a rule and target ended
        self._last: dict[tuple[str, str], Outcome] = {}
        self._folded: dict[tuple[str, str, str], Incident] = {}
        self.began: Callable[[Incident], None] = lambda incident: None
        """Told of each new incident before anything is done about it: what it rests on is to be
        kept as well."""

    def of(self, rule: str, target: str) -> Incident | None:
        found = self._by_key.get((rule, target))
        return self.open[found] if found else None

    def in_hand(self, incident_id: str) -> bool:
        """Whether what was made for it may still be needed."""
        return incident_id in self.open or incident_id in self.recovery

    def about(self, rule: str, change: Change) -> Incident | None:
        """The open incident that a change concerns: of its target, or of a container that was
        renamed since."""
        found = self._by_key.get((rule, change.target))
        if found is None and change.kind == "container" and owner_in(change.target) is None:
            found = (
                self._by_container.get((rule, change.subject.id))
                if isinstance(change.subject, Container)
                else None
            )
        return self.open[found] if found else None

    def answered(self, rule: str, trouble: str) -> bool:
        return (rule, trouble) in self._answered

    def last_of(self, rule: str, target: str) -> Outcome | None:
        """How the last incident of a rule and target ended, as far as it is remembered; None where
        none did."""
        return self._last.get((rule, target))

    def remember_outcome(self, incident: Incident | ClosedIncident) -> None:
        if incident.outcome is not None:
            self._last[incident.rule, incident.target] = incident.outcome
            if len(self._last) > ANSWERED_KEPT:
                del self._last[next(iter(self._last))]

    def remember_answered(self, rule: str, trouble: str) -> None:
        self._answered[rule, trouble] = None
        if len(self._answered) > ANSWERED_KEPT:
            del self._answered[next(iter(self._answered))]

    def forget_trouble(self, rule: str, trouble: str) -> None:
        """One trouble may be answered once more."""
        self._answered.pop((rule, trouble), None)

    def forget_answered(self, rule: str) -> None:
        """After a reset: what still stands may be treated again."""
        for key in [key for key in self._answered if key[0] == rule]:
            del self._answered[key]

    def remember(self, incident: Incident | ClosedIncident) -> None:
        """After a restart: its trouble was answered, by its rule and by those that lost to it."""
        for rule in (incident.rule, *incident.over):
            self.remember_answered(rule, incident.trouble)

    def begin(
        self, rule: Rule, change: Change, dry_run: bool, actor: str = "",
        over: tuple[str, ...] = (), *, even_if_stopped: bool = False,
    ) -> Incident:  # fmt: skip
        made = self._make(rule, change, self.clock(), dry_run, actor, over)
        incident = replace(made, even_if_stopped=even_if_stopped)
        self.remember_answered(rule.name, change.trouble)
        self._opened(incident)
        self._tell(incident)
        self.began(incident)
        return incident

    def _make(
        self,
        rule: Rule,
        change: Change,
        now: float,
        dry_run: bool,
        actor: str,
        over: tuple[str, ...],
    ) -> Incident:
        subject = change.subject
        name = subject.name if subject is not None else ""
        return Incident(
            id=new_id("i", now, self.dice),
            rule=rule.name,
            trigger=trigger_of(rule, change),
            target=change.target,
            kind=change.kind,
            object_id=getattr(subject, "id", name),
            object_name=name,
            trouble=change.trouble,
            opened_at=now,
            note=change.note,
            reason=redaction.text(change.note),
            origin=change.origin,
            cause=change.cause,
            network=change.network,
            lasted=change.lasted,
            severity=rule.severity,
            dry_run=dry_run,
            actor=actor,
            updated_at=now,
            over=over,
        )

    def adopt(self, incident: Incident) -> None:
        """Takes up one that was open when dockmend ended."""
        self._opened(incident)
        self.remember(incident)
        self._observer.incident(incident)

    def _opened(self, incident: Incident) -> None:
        self.open[incident.id] = incident
        self._by_key[incident.rule, incident.target] = incident.id
        if _of_one(incident):
            self._by_container[incident.rule, incident.object_id] = incident.id

    def update(self, incident_id: str, **changes: Any) -> Incident:
        before = self.open[incident_id]
        if "reason" in changes:
            changes["reason"] = redaction.text(changes["reason"])
        incident = replace(before, updated_at=self.clock(), **changes)
        self.open[incident_id] = incident
        if incident.object_id != before.object_id and _of_one(incident):
            self._let_go(before)
            self._by_container[incident.rule, incident.object_id] = incident_id
        self._tell(incident)
        return incident

    def renamed(self, incident_id: str, trouble: str) -> None:
        """Its trouble goes by another name now."""
        if self.open[incident_id].trouble != trouble:
            self.update(incident_id, trouble=trouble)

    def close(self, incident_id: str, outcome: Outcome, reason: str, code: str = "") -> Incident:
        now, reason = self.clock(), redaction.text(reason)
        incident = replace(
            self.open.pop(incident_id), state="closed", outcome=outcome, reason=reason,
            reason_code=code, closed_at=now, due_at=None, waiting_for="", updated_at=now,
        )  # fmt: skip
        if self._by_key.get((incident.rule, incident.target)) == incident_id:
            del self._by_key[incident.rule, incident.target]
        self._let_go(incident)
        self.remember_outcome(incident)
        self._tell(incident)
        return incident

    def _let_go(self, incident: Incident) -> None:
        if self._by_container.get((incident.rule, incident.object_id)) == incident.id:
            del self._by_container[incident.rule, incident.object_id]

    def record(self, rule: Rule, change: Change, outcome: Outcome, code: str, reason: str) -> None:
        """A decision not to act, as a closed incident; the same one again within the hour only
        counts."""
        now, reason = self.clock(), redaction.text(reason)
        self.remember_answered(rule.name, change.trouble)
        key = (rule.name, change.target, code)
        known = self._folded.get(key)
        if known is not None and now - known.opened_at < FOLDED_FOR:
            incident = replace(
                known, count=known.count + 1, reason=reason, trouble=change.trouble, updated_at=now
            )
        else:
            incident = replace(
                self._make(rule, change, now, dry_run=False, actor="", over=()),
                state="closed", outcome=outcome, reason=reason, reason_code=code, closed_at=now,
            )  # fmt: skip
            if len(self._folded) > 4096:
                self._folded.clear()
        self._folded[key] = incident
        self.remember_outcome(incident)
        self._tell(incident)

    def _tell(self, incident: Incident) -> None:
        self.backlog.write(("incident", incident.id), self._journal.put_incident, incident)
        self._observer.incident(incident)


def _of_one(incident: Incident) -> bool:
    """Whether it is about one container, and not about a group of them."""
    return incident.kind == "container" and owner_in(incident.target) is None


def change_of(incident: Incident, subject: Any) -> Change:
    """The change an incident came from, put together again from its record."""
    return Change(
        triggers=(incident.trigger,),
        kind=incident.kind,  # type: ignore[arg-type]  # the journal holds plain text
        subject=subject,
        target=incident.target,
        trouble=incident.trouble,
        at=incident.opened_at,
        origin=incident.origin,  # type: ignore[arg-type]
        cause=incident.cause,  # type: ignore[arg-type]
        note=incident.note or incident.reason,
        network=incident.network,
        lasted=incident.lasted,
    )
