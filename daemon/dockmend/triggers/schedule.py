"""Schedules: `schedule`, `every` and `startup` triggers over what a rule's `match` selects.

When each last fired is journalled, so that a restart neither repeats a run nor forgets one that was
missed (`catch_up: once`). `every` goes by what has elapsed; `schedule` by the clock on the wall,
and where that is set: what was leapt over is missed like anything that came while dockmend was
down, and what comes again is not done again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dockmend.mirror import Mirror
from dockmend.model import Change, Object, target_of
from dockmend.rules.rule import Rule, RuleSet, Trigger
from dockmend.rules.schedules import follows_the_clock, last_fire, next_fire
from dockmend.timekeeping import STEP, Clock

LONGEST_SLEEP = 30.0
"""Seconds after which the wall clock is looked at again: it may have been set."""
REPEATED = 3 * 3600.0
"""Seconds by which a clock is set back and what it repeats is not done again; beyond them it was
wrong before (the same bounds as Debian's cron, cron(8))."""


@dataclass(slots=True)
class _Due:
    """`wall`: the time it is planned for where it goes by the clock on the wall."""

    rule: Rule
    trigger: Trigger
    key: str
    wall: float = 0.0


def _key(rule: Rule, index: int, trigger: Trigger) -> str:
    """Under which its last time is journalled: a rule whose times were changed has missed none of
    the new ones."""
    times = (
        f"/{trigger.cron} {trigger.timezone or ''}".rstrip() if trigger.kind == "schedule" else ""
    )
    return f"{rule.name}/{index}{times}"


def selected(rule: Rule, mirror: Mirror) -> Iterable[Object]:
    """What a rule's match selects on this host now."""
    pools: dict[str, Iterable[Object]] = {
        "container": mirror.containers(), "network": mirror.networks.values(),
        "volume": mirror.volumes.values(),
    }  # fmt: skip
    for subject in list(pools.get(rule.match.kind, ())):
        if rule.match.test(subject) and not (
            rule.exclude is not None and rule.exclude.test(subject)
        ):
            yield subject


class Schedules:
    """`fire(rule, change)` is called for each object; `remember(key, at)` journals: `every` by the
    clock, `schedule` by the clock on the wall."""

    def __init__(
        self,
        mirror: Mirror,
        fire: Callable[[Rule, Change], None],
        clock: Clock,
        remember: Callable[[str, float], None],
    ) -> None:
        self._mirror = mirror
        self._fire = fire
        self._clock = clock
        self._remember = remember
        # how far the wall clock was ahead when the present plan was made
        self._ahead = clock.wall() - clock()
        self.fired: dict[str, float] = {}
        self._before: set[str] = set()  # of `fired`: what the run before this one did
        self._moved = 0.0
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, tuple[float, _Due]] = {}
        self._changed = asyncio.Event()
        self._started = False

    def take_up(self, fired: Mapping[str, float], moved: float) -> None:
        """When each last fired, from the journal. `moved`: what to add to times of the run before
        this one."""
        self.fired, self._before, self._moved = dict(fired), set(fired), moved

    def use(self, rules: RuleSet) -> None:
        """Takes the rules in force; a schedule that was there already keeps its place."""
        before, self._due = self._due, {}
        for rule in rules.rules:
            for index, trigger in enumerate(rule.triggers):
                if rule.enabled and trigger.kind in ("schedule", "every", "startup"):
                    due = _Due(rule, trigger, _key(rule, index, trigger))
                    known = before.get(due.key)
                    if known is not None and known[1].trigger == trigger:
                        due.wall = known[1].wall
                        self._due[due.key] = (known[0], due)
                    elif (at := self._first(due)) is not None:
                        self._due[due.key] = (at, due)
        self._heap = [(at, key) for key, (at, _) in self._due.items()]
        heapq.heapify(self._heap)
        self._changed.set()

    def _first(self, due: _Due) -> float | None:
        """When it fires first, by the clock; None: never."""
        key, trigger, now = due.key, due.trigger, self._clock()
        last = self.fired.get(key)
        if trigger.kind == "startup":
            return None if self._started else now
        if trigger.kind == "every":
            assert trigger.interval is not None
            if last is not None and key in self._before:
                last = min(now, last + self._moved)
            return max(now, last + trigger.interval) if last is not None else now + trigger.interval
        assert trigger.cron is not None
        wall = self._clock.wall()
        if trigger.catch_up == "once" and last is None:
            # what it is to catch up with begins here, whether it ever fired or not
            self.fired[key] = wall
            self._remember(key, wall)
        elif (
            trigger.catch_up == "once"
            and last is not None
            and last_fire(trigger.cron, trigger.timezone, wall) > last
        ):
            due.wall = wall
            return now
        return self._next_by_the_wall(due, wall)

    def _next_by_the_wall(self, due: _Due, after: float) -> float:
        """The next time later than `after` that was not done already, by the clock."""
        trigger = due.trigger
        assert trigger.cron is not None
        last = self.fired.get(due.key)
        if (
            last is not None
            and after < last < after + REPEATED
            and not follows_the_clock(trigger.cron)
        ):
            after = last
        due.wall = next_fire(trigger.cron, trigger.timezone, after)
        return self._clock.at(due.wall)

    async def run(self) -> None:
        """Runs until cancelled; begin once the mirror was listed."""
        while True:
            self._plan_anew_where_the_clock_was_set()
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

    def _plan_anew_where_the_clock_was_set(self) -> None:
        ahead = self._clock.wall() - self._clock()
        if abs(ahead - self._ahead) < STEP:
            return
        self._ahead = ahead
        for key, (at, due) in list(self._due.items()):
            if due.trigger.kind == "schedule" and at > self._clock():
                planned = self._first(due)
                assert planned is not None
                self._due[key] = (planned, due)
        self._heap = [(at, key) for key, (at, _) in self._due.items()]
        heapq.heapify(self._heap)

    def _fire_one(self, due: _Due, now: float) -> None:
        trigger, key = due.trigger, due.key
        # By the wall clock it can be a trifle early: what it was planned for is done all the same.
        done_at = max(self._clock.wall(), due.wall) if trigger.kind == "schedule" else now
        self.fired[key] = done_at
        self._before.discard(key)
        self._remember(key, done_at)
        self._plan_next(due, now, done_at)  # before anything that may fail
        for subject in selected(due.rule, self._mirror):
            target = target_of(subject)
            self._fire(due.rule, Change(
                triggers=(trigger.name,), kind=due.rule.match.kind, subject=subject, target=target,
                trouble=f"{key}/{now:.3f}/{target}", at=self._clock.wall(), origin="timer",
                note=f"its {trigger.kind} came",
            ))  # fmt: skip

    def _plan_next(self, due: _Due, now: float, done_at: float) -> None:
        trigger, key = due.trigger, due.key
        if trigger.kind == "startup":
            del self._due[key]
            return
        at = (
            now + trigger.interval
            if trigger.interval is not None
            else self._next_by_the_wall(due, done_at)
        )
        self._due[key] = (at, due)
        heapq.heappush(self._heap, (at, key))
