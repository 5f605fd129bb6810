"""Schedules: `schedule`, `every` and `startup` triggers over what a rule's `match` selects.

When each last fired is journalled, so that a restart neither repeats a run nor forgets one that was missed
(`catch_up: once`).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dockmend.mirror import Mirror
from dockmend.model import Change, Object, target_of
from dockmend.rules.model import Rule, RuleSet, Trigger
from dockmend.rules.schedules import last_fire, next_fire

LONGEST_SLEEP = 30.0
"""Seconds after which the wall clock is looked at again: it may have been set."""


@dataclass(slots=True)
class _Due:
    rule: Rule
    trigger: Trigger
    key: str


def _key(rule: Rule, index: int, trigger: Trigger) -> str:
    """Under which its last time is journalled: a rule whose times were changed has missed none of the new ones."""
    times = f"/{trigger.cron} {trigger.timezone or ''}".rstrip() if trigger.kind == "schedule" else ""
    return f"{rule.name}/{index}{times}"


def selected(rule: Rule, mirror: Mirror) -> Iterable[Object]:
    """What a rule's match selects on this host now."""
    pools: dict[str, Iterable[Object]] = {
        "container": mirror.containers(), "network": mirror.networks.values(), "volume": mirror.volumes.values(),
    }  # fmt: skip
    for subject in list(pools.get(rule.match.kind, ())):
        if rule.match.test(subject) and not (rule.exclude is not None and rule.exclude.test(subject)):
            yield subject


class Schedules:
    """`fire(rule, change)` is called for each object; `remember(key, at)` journals; times are wall seconds."""

    def __init__(
        self,
        mirror: Mirror,
        fire: Callable[[Rule, Change], None],
        clock: Callable[[], float],
        remember: Callable[[str, float], None],
    ) -> None:
        self._mirror = mirror
        self._fire = fire
        self._clock = clock
        self._remember = remember
        self.fired: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, tuple[float, _Due]] = {}
        self._changed = asyncio.Event()
        self._started = False

    def use(self, rules: RuleSet) -> None:
        """Takes the rules in force; a schedule that was there already keeps its place."""
        now = self._clock()
        self._heap, before = [], self._due
        self._due = {}
        for rule in rules.rules:
            for index, trigger in enumerate(rule.triggers):
                if rule.enabled and trigger.kind in ("schedule", "every", "startup"):
                    key = _key(rule, index, trigger)
                    known = before.get(key)
                    same = known is not None and known[1].trigger == trigger
                    at = known[0] if known is not None and same else self._first(key, trigger, now)
                    if at is not None:
                        self._due[key] = (at, _Due(rule, trigger, key))
                        heapq.heappush(self._heap, (at, key))
        self._changed.set()

    def _first(self, key: str, trigger: Trigger, now: float) -> float | None:
        last = self.fired.get(key)
        if trigger.kind == "startup":
            return None if self._started else now
        if trigger.kind == "every":
            assert trigger.interval is not None
            return max(now, last + trigger.interval) if last is not None else now + trigger.interval
        assert trigger.cron is not None
        if trigger.catch_up == "once" and last is None:
            self.fired[key] = now  # what it is to catch up with begins here, whether it ever fired or not
            self._remember(key, now)
        elif trigger.catch_up == "once" and last is not None and last_fire(trigger.cron, trigger.timezone, now) > last:
            return now
        return next_fire(trigger.cron, trigger.timezone, now)

    async def run(self) -> None:
        """Runs until cancelled; begin once the mirror was listed."""
        while True:
            now = self._clock()
            while self._heap and self._heap[0][0] <= now:
                at, key = heapq.heappop(self._heap)
                if key in self._due and self._due[key][0] == at:
                    self._fire_one(self._due[key][1], now)
            self._started = True
            self._changed.clear()
            rest = min(LONGEST_SLEEP, max(0.0, self._heap[0][0] - now)) if self._heap else None
            try:
                async with asyncio.timeout(rest):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _fire_one(self, due: _Due, now: float) -> None:
        trigger, key = due.trigger, due.key
        self.fired[key] = now
        self._remember(key, now)
        self._plan_next(due, now)  # before anything that may fail
        for subject in selected(due.rule, self._mirror):
            target = target_of(subject)
            self._fire(due.rule, Change(
                triggers=(trigger.name,), kind=due.rule.match.kind, subject=subject, target=target,
                trouble=f"{key}/{now:.3f}/{target}", at=now, origin="timer", note=f"its {trigger.kind} came",
            ))  # fmt: skip

    def _plan_next(self, due: _Due, now: float) -> None:
        trigger, key = due.trigger, due.key
        if trigger.kind == "startup":
            del self._due[key]
            return
        if trigger.kind == "every":
            assert trigger.interval is not None
            at = now + trigger.interval
        else:
            assert trigger.cron is not None
            at = next_fire(trigger.cron, trigger.timezone, now)
        self._due[key] = (at, due)
        heapq.heappush(self._heap, (at, key))
