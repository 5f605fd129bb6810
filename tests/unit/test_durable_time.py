"""The daemon whole, on a machine whose clock is set: nothing fires for it, nothing waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app.daemon import Daemon
from dockmend.journal.records import Incident
from tests.fakes.engine import FakeEngine
from tests.unit.machine import Machine
from tests.unit.test_daemon import RULES, running, settings, until

HOUR = 3600.0
HOLD = RULES.replace("    then: restart\n", "    for: 1h\n    then: restart\n")


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


async def waits(one: Daemon) -> Incident:
    await until(
        lambda: any(each.waiting_for for each in one.incidents.open.values()), "an incident waits"
    )
    return next(iter(one.incidents.open.values()))


async def looks(one: Daemon) -> None:
    """The clock and the timers are looked at, as they are every few seconds."""
    one.look_at_the_clock()
    one.reconciler.timers._changed.set()
    await until(lambda: not one.reconciler.timers._changed.is_set(), "the timers were looked at")


def restarted(fake: FakeEngine, web: str) -> bool:
    return bool(fake.container(web)["State"]["Health"]["Status"] == "starting")


async def healed(one: Daemon, fake: FakeEngine, web: str) -> None:
    await until(lambda: restarted(fake, web), "it was restarted")
    fake.set_health(web, "healthy")
    await until(lambda: not one.incidents.open, "the incident is closed")


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_clock_set_by_an_hour_neither_fires_nor_blocks(
    fake: FakeEngine, tmp_path: Path, by: float
):
    web, machine = fake.add_container("web", health=True), Machine()
    async with running(fake, settings(tmp_path, HOLD), clock=machine.clock()) as one:
        fake.set_health(web, "unhealthy")
        due_at = (await waits(one)).due_at
        machine.set(by)
        await looks(one)
        machine.passes(HOUR - 60)
        await looks(one)
        assert [each.due_at for each in one.incidents.open.values()] == [due_at]
        assert not any("/restart" in each for each in fake.requests)
        machine.passes(61)
        await looks(one)
        await healed(one, fake, web)


@pytest.mark.parametrize(
    ("set_by", "boot"), [(0.0, "b1"), (HOUR, "b1"), (-HOUR, "b1"), (-HOUR, "b2")]
)
async def test_what_waits_goes_on_waiting_over_a_restart_for_as_long_as_was_left(
    fake: FakeEngine, tmp_path: Path, set_by: float, boot: str
):
    web, machine = fake.add_container("web", health=True), Machine()
    told = settings(tmp_path, HOLD)
    async with running(fake, told, clock=machine.clock()) as one:
        fake.set_health(web, "unhealthy")
        await waits(one)
    machine.set(set_by)
    machine.passes(HOUR / 2)
    machine.boot = boot
    async with running(fake, told, clock=machine.clock()) as two:
        incident = await waits(two)
        assert incident.due_at is not None
        # another boot, and the clock went back: as if no time had passed
        left = HOUR / 2 if boot == "b1" else HOUR
        assert incident.due_at - two.clock() == pytest.approx(left, abs=60)
        assert incident.opened_at <= two.clock()
        machine.passes(left + 60)
        await looks(two)
        await healed(two, fake, web)


@pytest.mark.parametrize("set_by", [0.0, -HOUR])
async def test_a_timer_that_came_due_while_it_was_down_is_looked_at_at_once(
    fake: FakeEngine, tmp_path: Path, set_by: float
):
    web, machine = fake.add_container("web", health=True), Machine()
    api = fake.add_container("api", health=True)
    told = settings(tmp_path, HOLD)
    async with running(fake, told, clock=machine.clock()) as one:
        for each in (web, api):
            fake.set_health(each, "unhealthy")
        await until(lambda: len(one.incidents.open) == 2, "both wait")
    fake.set_health(api, "healthy")  # nobody sees it: the live state tells
    machine.set(set_by)
    machine.passes(HOUR + 1)
    async with running(fake, told, clock=machine.clock()) as two:
        await healed(two, fake, web)
        outcomes = {row.object_name: row.outcome for row in await two.journal.incidents()}
        assert outcomes == {"web": "healed", "api": "recovered"}


async def test_limits_count_what_elapsed(fake: FakeEngine, tmp_path: Path):
    """A cooldown of an hour, a clock set forward by two: the next trouble waits all the same."""
    web, machine = fake.add_container("web", health=True), Machine()
    rules = RULES.replace("{backoff: 10ms to 20ms}", "{cooldown: 1h, backoff: none}")
    told = settings(tmp_path, rules)
    async with running(fake, told, clock=machine.clock()) as one:
        fake.set_health(web, "unhealthy")
        await healed(one, fake, web)
        machine.set(2 * HOUR)
    async with running(fake, told, clock=machine.clock()) as two:
        fake.set_health(web, "unhealthy")
        incident = await waits(two)
        assert incident.waiting_for == "cooldown"
        assert incident.due_at is not None
        assert incident.due_at - two.clock() == pytest.approx(HOUR, abs=60)
