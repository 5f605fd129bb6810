"""Schedules with a clock that is set: when each fires, over what, and what a reload or a restart makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from dockmend.mirror import Mirror
from dockmend.model import Change, Container, Volume
from dockmend.rules.loader import load_texts
from dockmend.rules.model import Rule, RuleSet
from dockmend.triggers.schedule import Schedules

NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC


def rules(when: str, name: str = "tidy", match: str = "all") -> RuleSet:
    text = f"version: 1\nrules:\n  - {{name: {name}, when: {when}, match: {match}, then: restart}}\n"
    return load_texts({"rules.yaml": text}, host="host")


@dataclass
class Plan:
    now: float = NOON
    fired: list[tuple[float, str, Change]] = field(default_factory=list)
    remembered: dict[str, float] = field(default_factory=dict)
    mirror: Mirror = field(default_factory=Mirror)
    schedules: Schedules = field(init=False)

    def __post_init__(self) -> None:
        self.mirror.relist([Container("a" * 64, "web"), Container("b" * 64, "db")], [], [Volume("data")], self.now)
        self.schedules = Schedules(self.mirror, self._fire, lambda: self.now, self.remembered.__setitem__)

    def _fire(self, rule: Rule, change: Change) -> None:
        self.fired.append((self.now - NOON, rule.name, change))

    async def passes(self, seconds: float) -> None:
        self.now += seconds
        self.schedules._changed.set()
        for _ in range(5):
            await asyncio.sleep(0)

    def times(self) -> list[float]:
        return sorted({at for at, _, _ in self.fired})


@asynccontextmanager
async def running(plan: Plan, given: RuleSet) -> AsyncIterator[Schedules]:
    plan.schedules.use(given)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(plan.schedules.run())
        await plan.passes(0)
        yield plan.schedules
        task.cancel()


async def test_every_fires_for_each_selected_object_first_after_its_interval():
    plan = Plan()
    async with running(plan, rules("{every: 5m}")):
        assert plan.fired == []
        await plan.passes(300)
        assert [change.target for _, _, change in plan.fired] == ["container:web", "container:db"]
        await plan.passes(299)
        await plan.passes(1)
        assert plan.times() == [300.0, 600.0]
        assert plan.remembered == {"tidy/0": NOON + 600}
        assert len({change.trouble for _, _, change in plan.fired}) == 4


async def test_only_what_is_matched_is_treated():
    plan = Plan()
    async with running(plan, rules("{every: 5m}", match="{name: d*}")):
        await plan.passes(300)
        assert [change.target for _, _, change in plan.fired] == ["container:db"]


async def test_a_cron_schedule_fires_at_its_time():
    plan = Plan()
    async with running(plan, rules('{schedule: "*/15 * * * *", timezone: UTC}', match="{name: web}")):
        for _ in range(4):
            await plan.passes(600)
        assert plan.times() == [1200.0, 1800.0]  # looked at every ten minutes: as soon as it was looked


@pytest.mark.parametrize(("catch_up", "expected"), [("none", []), ("once", [0.0])])
async def test_a_run_that_was_missed_while_dockmend_was_down(catch_up: str, expected: list[float]):
    plan = Plan()
    plan.schedules.fired = {"tidy/0/0 * * * * UTC": NOON - 7200}
    when = f'{{schedule: "0 * * * *", timezone: UTC, catch_up: {catch_up}}}'
    plan.now += 60
    async with running(plan, rules(when, match="{name: web}")):
        assert [at - 60 for at in plan.times()] == expected
        await plan.passes(60)
        assert len(plan.times()) == len(expected)


async def test_a_restart_within_the_interval_keeps_the_rhythm_and_a_late_one_fires_at_once():
    plan = Plan()
    plan.schedules.fired = {"tidy/0": NOON - 100}
    async with running(plan, rules("{every: 5m}", match="{name: web}")):
        await plan.passes(199)
        assert plan.fired == []
        await plan.passes(1)
        assert plan.times() == [200.0]
    late = Plan()
    late.schedules.fired = {"tidy/0": NOON - 1000}
    async with running(late, rules("{every: 5m}", match="{name: web}")):
        assert late.times() == [0.0]


async def test_startup_fires_once_and_not_for_rules_that_come_later():
    plan = Plan()
    async with running(plan, rules("startup", match="{name: web}")) as schedules:
        assert plan.times() == [0.0]
        schedules.use(rules("startup", name="late", match="{name: web}"))
        await plan.passes(1000)
        assert [name for _, name, _ in plan.fired] == ["tidy"]


async def test_a_reload_keeps_the_place_of_a_schedule_that_stays_and_drops_one_that_goes():
    plan = Plan()
    async with running(plan, rules("{every: 5m}", match="{name: web}")) as schedules:
        await plan.passes(200)
        schedules.use(rules("{every: 5m}", match="{name: db}"))
        await plan.passes(100)
        assert [(at, change.target) for at, _, change in plan.fired] == [(300.0, "container:db")]
        schedules.use(RuleSet())
        await plan.passes(1000)
        assert len(plan.fired) == 1


async def test_a_reload_with_another_interval_begins_from_the_last_run():
    plan = Plan()
    async with running(plan, rules("{every: 5m}", match="{name: web}")) as schedules:
        await plan.passes(300)
        schedules.use(rules("{every: 1m}", match="{name: web}"))
        await plan.passes(59)
        assert plan.times() == [300.0]
        await plan.passes(1)
        assert plan.times() == [300.0, 360.0]


async def test_a_fault_in_one_rules_firing_does_not_lose_the_schedule():
    plan = Plan()
    given = rules("{every: 5m}", match="{name: web}")
    plan.schedules.use(given)

    def fails(rule: Rule, change: Change) -> None:
        raise ValueError("no")

    plan.schedules._fire = fails
    plan.now += 300
    with pytest.raises(ValueError, match="no"):
        await plan.schedules.run()
    plan.schedules._fire = plan._fire
    async with asyncio.TaskGroup() as group:
        task = group.create_task(plan.schedules.run())  # as the daemon does: again, with what it was given
        await plan.passes(300)
        task.cancel()
    assert plan.times() == [600.0]
