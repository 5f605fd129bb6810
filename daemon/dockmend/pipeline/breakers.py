"""Breakers: a rule that tried a target too often leaves it alone, tries once after a while, goes on
if that holds.

closed → (attempts used up) open: it is escalated once; from then on silence, with a metric and a
log line. open → (its rest is over) half-open: a trouble that still stands is offered again, and
tried once. half-open → (that failed) open again, with no further escalation; (it worked, or nothing
was wrong) closed, once it stayed well for a stable while. All of it is journalled: see
docs/decisions/0007-breakers.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from dockmend.decide import History, Suppress, TargetHistory, breaker, rest_of, stable_while
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import Breaker
from dockmend.observer import Observer
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.pipeline.timers import Timers
from dockmend.rules.rule import Rule

MISSING = "container.missing"

log = structlog.get_logger("dockmend.breakers")


@dataclass(slots=True)
class Breakers:
    """`offer(rule, target)`: what stands of a target is offered to a rule again."""

    history: History
    incidents: Incidents
    journal: Journal
    observer: Observer
    clock: Callable[[], float]
    rules: RulesInForce
    offer: Callable[[str, str], None]
    timers: Timers = field(init=False)
    _names: dict[str, tuple[str, str]] = field(default_factory=dict)
    # half-open ones of which what stood was offered
    _offered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock, self._due)

    def refuses(self, rule: Rule, target: str) -> Suppress | None:
        """Why a new trouble is not even looked at: the breaker is open, or what was done last did
        not last."""
        mine = self.history.targets.get((rule.name, target))
        if mine is None or mine.breaker_at is None:
            return None
        refused = breaker(rule.limits, mine, self.clock(), reset_line(rule.name, target))
        if isinstance(refused, Suppress) and mine.healed_at is not None:
            self.open(rule, target, refused.reason)
        return refused if isinstance(refused, Suppress) else None

    def open(self, rule: Rule, target: str, reason: str) -> bool:
        """True where it was closed until now: only then is it escalated, and told."""
        mine = self.history.of(rule.name, target)
        first = mine.breaker_at is None
        mine.breaker_at, mine.breaker_reason, mine.healed_at = self.clock(), reason, None
        self._offered.discard(_key(rule.name, target))
        self._write(rule.name, target, mine)
        self._plan(rule, target, mine)
        if first:
            self.observer.breaker(rule.name, target, opened=True)
        else:
            log.info(
                "a breaker stays open",
                id="breaker_stays_open",
                rule=rule.name,
                target=target,
                why=reason,
            )
        return first

    def worked(self, rule: Rule, target: str) -> None:
        """It was healed: the breaker closes if that holds."""
        mine = self.history.of(rule.name, target)
        if mine.breaker_at is not None:
            mine.healed_at = self.clock()
            self._write(rule.name, target, mine)
            self._plan(rule, target, mine)

    def plan(self) -> None:
        """After a start or a reload: each open breaker is looked at when its state changes."""
        for (name, target), mine in self.history.targets.items():
            if mine.breaker_at is not None and (rule := self.rules.about(name, target)) is not None:
                self._plan(rule, target, mine)

    def removed(self, target: str) -> None:
        """Nothing bears this target any more: nobody is to be told of its breakers for ever.

        Those of a rule that makes a missing container again stay: it would go on without end.
        """
        for name, of in [
            key for key, mine in self.history.targets.items() if mine.breaker_at is not None
        ]:
            rule = self.rules.named(name)
            if of == target and (rule is None or MISSING not in rule.named):
                self.close(name, target)

    def drop(self, rule: str, target: str) -> None:
        """A person reset it."""
        key = _key(rule, target)
        self.timers.drop(key)
        self._offered.discard(key)
        self._names.pop(key, None)

    def _plan(self, rule: Rule, target: str, mine: TargetHistory) -> None:
        assert mine.breaker_at is not None
        key = _key(rule.name, target)
        self._names[key] = (rule.name, target)
        if mine.healed_at is not None:
            self.timers.set(key, mine.healed_at + stable_while(rule.limits))
        else:
            self.timers.set(key, mine.breaker_at + rest_of(rule.limits))

    def _due(self, key: str) -> None:
        name, target = self._names[key]
        rule, mine = self.rules.about(name, target), self.history.targets.get((name, target))
        if mine is None or mine.breaker_at is None:
            self.drop(name, target)
            return
        if rule is None:
            if self.rules.named(name) is not None:  # what is there now asks for nothing of the kind
                self.close(name, target)
            self.drop(name, target)
            return
        if mine.healed_at is None and key not in self._offered:
            self._offered.add(key)
            self.timers.set(key, self.clock() + stable_while(rule.limits))
            log.info(
                "a breaker is half-open: what still stands is tried once",
                id="breaker_half_open",
                rule=name,
                target=target,
            )
            self.offer(name, target)
        elif self.incidents.of(name, target) is not None:
            self.timers.set(key, self.clock() + stable_while(rule.limits))
        else:
            self.close(name, target)

    def close(self, rule: str, target: str) -> None:
        """Its target is treated again."""
        mine = self.history.targets[rule, target]
        mine.breaker_at, mine.healed_at, mine.breaker_reason = None, None, ""
        self.drop(rule, target)
        self._write(rule, target, mine)
        self.observer.breaker(rule, target, opened=False)

    def _write(self, rule: str, target: str, mine: TargetHistory) -> None:
        record = None
        if mine.breaker_at is not None:
            record = Breaker(rule, target, mine.breaker_at, mine.breaker_reason, mine.healed_at)
        key = ("breaker", rule, target)
        self.incidents.backlog.write(key, self.journal.put_breaker, record, rule, target)


def reset_line(rule: str, target: str) -> str:
    """The command that forgets attempts and closes a breaker, to be pasted."""
    return f"dockmend reset {shlex.quote(rule)} {shlex.quote(target)}"


def _key(rule: str, target: str) -> str:
    return f"{rule}\n{target}"
