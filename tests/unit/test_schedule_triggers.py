"""Schedules with a clock that is set: when each fires, over what, and what a reload or a restart
makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dockmend.mirror import Mirror
from dockmend.model import Change, Container, Volume
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import Rule, RuleSet
from dockmend.timekeeping import Clock
from dockmend.triggers import schedule
from dockmend.triggers.schedule import Schedules
from tests.unit.test_daemon import until

NOON = 1_767_268_800.0  # 2026-01-01 12:00:00 UTC


def rules(when: str, name: str = "tidy", match: str = "all") -> RuleSet:
    text = (
        f"version: 1\nrules:\n  - {{name: {name}, when: {when}, match: {match}, then: restart}}\n"
    )
    return load_texts({"rules.yaml": text}, host="host")


@dataclass
class Plan:
    now: float = NOON
    set_by: float = 0.0
    fired: list[tuple[float, str, Change]] = field(default_factory=list)
    remembered: dict[str, float] = field(default_factory=dict)
    mirror: Mirror = field(default_factory=Mirror)
    schedules: Schedules = field(init=False)

    def __post_init__(self) -> None:
        self.mirror.relist(
            [Container("a" * 64, "web"), Container("b" * 64, "db")], [], [Volume("data")], self.now
        )
        self.schedules = Schedules(
            self.mirror,
            self._fire,
            Clock(lambda: self.now + self.set_by, lambda: self.now),
            self.remembered.__setitem__,
        )

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


async def test_what_came_while_the_machine_slept_is_seen_though_the_loops_clock_stood(monkeypatch):
    monkeypatch.setattr(schedule, "LONGEST_SLEEP", 0.01)
    plan = Plan()
    async with running(plan, rules("{every: 1h}")):
        plan.now += 3600  # and nothing wakes it
        await until(lambda: plan.times() == [3600.0], "it fired")


async def test_only_what_is_matched_is_treated():
    plan = Plan()
    async with running(plan, rules("{every: 5m}", match="{name: d*}")):
        await plan.passes(300)
        assert [change.target for _, _, change in plan.fired] == ["container:db"]


async def test_a_cron_schedule_fires_at_its_time():
    plan = Plan()
    async with running(
        plan, rules('{schedule: "*/15 * * * *", timezone: UTC}', match="{name: web}")
    ):
        for _ in range(4):
            await plan.passes(600)
        # looked at every ten minutes: as soon as it was looked
        assert plan.times() == [1200.0, 1800.0]


@pytest.mark.parametrize(("catch_up", "expected"), [("none", []), ("once", [0.0])])
async def test_a_run_that_was_missed_while_dockmend_was_down(catch_up: str, expected: list[float]):
    plan = Plan()
    plan.schedules.take_up({"tidy/0/0 * * * * UTC": NOON - 7200}, 0.0)
    when = f'{{schedule: "0 * * * *", timezone: UTC, catch_up: {catch_up}}}'
    plan.now += 60
    async with running(plan, rules(when, match="{name: web}")):
        assert [at - 60 for at in plan.times()] == expected
        await plan.passes(60)
        assert len(plan.times()) == len(expected)


async def test_a_restart_within_the_interval_keeps_the_rhythm_and_a_late_one_fires_at_once():
    plan = Plan()
    plan.schedules.take_up({"tidy/0": NOON - 100}, 0.0)
    async with running(plan, rules("{every: 5m}", match="{name: web}")):
        await plan.passes(199)
        assert plan.fired == []
        await plan.passes(1)
        assert plan.times() == [200.0]
    late = Plan()
    late.schedules.take_up({"tidy/0": NOON - 1000}, 0.0)
    async with running(late, rules("{every: 5m}", match="{name: web}")):
        assert late.times() == [0.0]


# --------------------------------------------------------------------- a clock that is set, and DST


@pytest.mark.parametrize("by", [3600.0, -3600.0])
async def test_every_goes_by_what_elapsed_whatever_the_clock_shows(by: float):
    plan = Plan()
    async with running(plan, rules("{every: 5m}", match="{name: web}")):
        plan.set_by = by
        await plan.passes(299)
        assert plan.fired == []
        await plan.passes(1)
        assert plan.times() == [300.0]
    after = Plan(now=NOON + 350 + by)  # and so it does over a restart
    after.schedules.take_up({"tidy/0": NOON + 300}, by)
    async with running(after, rules("{every: 5m}", match="{name: web}")):
        await after.passes(249)
        assert after.fired == []
        await after.passes(1)
        assert len(after.fired) == 1


async def test_a_clock_set_forward_leaps_over_what_is_not_caught_up_with():
    for catch_up, expected in (("none", []), ("once", [60.0])):
        plan = Plan()
        when = f'{{schedule: "30 12 * * *", timezone: UTC, catch_up: {catch_up}}}'
        async with running(plan, rules(when, match="{name: web}")):
            plan.set_by = 3600.0  # 13:00
            await plan.passes(60)
            await plan.passes(60)
            assert plan.times() == expected
            await plan.passes(84_600 - 180)  # 12:29 of the next day, as the wall shows it
            assert len(plan.times()) == len(expected)
            await plan.passes(60)
            assert len(plan.times()) == len(expected) + 1


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("5 12 * * *", [300.0]),  # at a fixed hour: what the clock repeats is not done again
        ("*/30 * * * *", [1800.0, 2700.0, 4500.0]),  # by the passing of time: it goes on
    ],
)
async def test_a_clock_set_back_neither_repeats_nor_blocks(cron: str, expected: list[float]):
    plan = Plan()
    async with running(plan, rules(f'{{schedule: "{cron}", timezone: UTC}}', match="{name: web}")):
        for minute in range(1, 100):
            if minute == 40:
                plan.set_by = -2700.0
            await plan.passes(60)
        assert plan.times() == expected


async def test_a_restart_after_the_clock_was_set_back_does_not_repeat_either():
    plan = Plan()
    # done, and then it was 12:00 again
    plan.schedules.take_up({"tidy/0/30 12 * * * UTC": NOON + 1800}, -3600.0)
    async with running(
        plan, rules('{schedule: "30 12 * * *", timezone: UTC}', match="{name: web}")
    ):
        await plan.passes(1860)
        assert plan.fired == []


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        # 2026-03-29, 02:00 to 03:00 does not exist: what is skipped runs right after the gap
        ("30 2 * * *", "2026-03-28 12:00", ["2026-03-29 03:00", "2026-03-30 02:30"]),
        ("30 4 * * *", "2026-03-28 12:00", ["2026-03-29 04:30", "2026-03-30 04:30"]),
        # 2026-10-25, 02:00 to 03:00 comes twice: a fixed hour runs once
        ("30 2 * * *", "2026-10-24 12:00", ["2026-10-25 02:30", "2026-10-26 02:30"]),
        ("30 4 * * *", "2026-10-24 12:00", ["2026-10-25 04:30", "2026-10-26 04:30"]),
    ],
)
async def test_schedules_over_the_change_of_summer_time(cron: str, begin: str, expected: list[str]):
    plan = Plan(now=wall(begin))
    async with running(
        plan, rules(f'{{schedule: "{cron}", timezone: Europe/Berlin}}', match="{name: web}")
    ):
        for _ in range(48 * 4):
            await plan.passes(900)
        told = [datetime.fromtimestamp(at + NOON, ZoneInfo("Europe/Berlin")) for at in plan.times()]
        assert [f"{at:%Y-%m-%d %H:%M}" for at in told] == expected


async def test_both_of_the_repeated_hours_have_their_quarters():
    plan = Plan(now=wall("2026-10-25 01:50"))
    async with running(
        plan, rules('{schedule: "*/15 * * * *", timezone: Europe/Berlin}', match="{name: web}")
    ):
        for _ in range(3 * 12):
            await plan.passes(300)
        assert len(plan.times()) == 12


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
        # as the daemon does: again, with what it was given
        task = group.create_task(plan.schedules.run())
        await plan.passes(300)
        task.cancel()
    assert plan.times() == [600.0]
