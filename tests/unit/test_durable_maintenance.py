"""Pauses and hours over restarts and a clock that is set: what waits is looked at when they end,
not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app import pauses
from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.app.pauses import Pauses
from dockmend.journal.records import Pause
from tests.fakes.engine import FakeEngine
from tests.unit.machine import Machine
from tests.unit.test_daemon import RULES, running, settings, until

HOUR, NOON = 3600.0, 1_767_268_800.0


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


def restarts(fake: FakeEngine) -> int:
    return sum("/restart" in each for each in fake.requests)


async def waits(one: Daemon, why: str) -> None:
    await until(
        lambda: [each.waiting_for for each in one.incidents.open.values()] == [why],
        f"it waits: {why}",
    )


async def healed(one: Daemon, fake: FakeEngine, web: str) -> None:
    await until(lambda: restarts(fake) == 1, "it was restarted")
    fake.set_health(web, "healthy")
    await until(lambda: not one.incidents.open, "the incident is closed")


def later(one: Daemon) -> None:
    """The timers are looked at, as they are every half minute."""
    one.look_at_the_clock()
    one.reconciler.timers._changed.set()
    one.pauses._changed.set()


def paused(one: Daemon) -> float:
    page = one.metrics.render().decode()
    return float(
        next(line for line in page.splitlines() if line.startswith("dockmend_paused ")).split()[1]
    )


@pytest.mark.parametrize(
    "what", [{}, {"rule": "heal"}, {"container": "web"}], ids=["all", "rule", "target"]
)
async def test_a_pause_with_an_end_holds_over_a_restart_and_ends_by_itself(
    fake: FakeEngine, tmp_path: Path, what: dict[str, str]
):
    web, machine, told = fake.add_container("web", health=True), Machine(), settings(tmp_path)
    async with running(fake, told, clock=machine.clock()) as one:
        await DaemonCommands(one).pause("uid 0", for_=HOUR, **what)
        fake.set_health(web, "unhealthy")
        await waits(one, "paused")
    machine.set(-2 * HOUR)  # the clock is no way around it
    machine.passes(HOUR / 2)
    async with running(fake, told, clock=machine.clock()) as two:
        await until(lambda: paused(two) == 1.0, "the metric says so")
        later(two)
        await waits(two, "paused")
        assert restarts(fake) == 0
        machine.passes(HOUR / 2 + 1)
        later(two)
        await healed(two, fake, web)
        await until(lambda: paused(two) == 0.0, "the metric follows")


async def test_a_pause_that_ended_while_the_machine_slept_is_told_though_the_loops_clock_stood(
    monkeypatch,
):
    monkeypatch.setattr(pauses, "LONGEST_SLEEP", 0.01)
    now, told = [NOON], list[int]()
    one = Pauses(lambda: now[0], told.append, [Pause(None, None, NOON + HOUR, "uid 0", NOON)])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.run())
        await until(lambda: told == [1], "it is in force")
        now[0] += HOUR
        await until(lambda: told == [1, 0], "and over")
        task.cancel()


def hours(begin: float) -> str:
    """An hour that begins at this time, as a rule has it."""
    first, last = (time.strftime("%H:%M", time.gmtime(at)) for at in (begin, begin + HOUR))
    return RULES.replace(
        "    then: restart\n", f'    during: "{first}-{last} UTC"\n    then: restart\n'
    )


@pytest.mark.parametrize("how", ["it passes", "it is set"])
async def test_a_trouble_outside_the_hours_waits_for_them_over_a_restart(
    fake: FakeEngine, tmp_path: Path, how: str
):
    web, machine = fake.add_container("web", health=True), Machine()
    told = settings(tmp_path, hours(time.time() + 2 * HOUR))
    async with running(fake, told, clock=machine.clock()) as one:
        fake.set_health(web, "unhealthy")
        await waits(one, "window")
    async with running(fake, told, clock=machine.clock()) as two:
        await waits(two, "window")
        machine.passes(HOUR)
        later(two)
        await waits(two, "window")
        assert restarts(fake) == 0
        if how == "it is set":
            machine.set(1.5 * HOUR)
        else:
            machine.passes(1.5 * HOUR)
        later(two)
        await healed(two, fake, web)


async def test_hours_that_came_while_it_was_down_are_used_at_once(fake: FakeEngine, tmp_path: Path):
    web, machine = fake.add_container("web", health=True), Machine()
    told = settings(tmp_path, hours(time.time() + 2 * HOUR))
    async with running(fake, told, clock=machine.clock()) as one:
        fake.set_health(web, "unhealthy")
        await waits(one, "window")
    machine.passes(2.5 * HOUR)
    async with running(fake, told, clock=machine.clock()) as two:
        await healed(two, fake, web)
