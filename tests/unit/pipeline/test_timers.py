"""Timers with a clock that is set: what is due comes once, moves when it is set again, and nothing
piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dockmend.pipeline import timers as timers_module
from dockmend.pipeline.timers import Timers
from tests.unit.pipeline.clinic import until
from tests.unit.test_daemon import until as eventually


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Timers, Clock, list[str]]]:
    clock, due = Clock(), list[str]()
    timers = Timers(clock, due.append)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(timers.run())
        yield timers, clock, due
        task.cancel()


async def passes(timers: Timers, clock: Clock, seconds: float) -> None:
    """The clock moves on, and the timers look at it."""
    clock.now += seconds
    timers.set("wake", clock.now)
    await until(lambda: "wake" not in timers)
    await asyncio.sleep(0)


async def test_what_is_due_comes_in_order_and_once():
    async with running() as (timers, clock, due):
        timers.set("later", 120.0)
        timers.set("sooner", 110.0)
        await passes(timers, clock, 5)
        assert due == ["wake"]
        await passes(timers, clock, 20)
        assert due == ["wake", "sooner", "later", "wake"]
        await passes(timers, clock, 100)
        assert due.count("later") == 1


async def test_a_time_that_has_passed_is_due_at_once():
    async with running() as (timers, _, due):
        timers.set("a", 1.0)
        await until(lambda: due)
        assert due == ["a"]
        assert "a" not in timers


async def test_setting_again_moves_and_dropping_ends():
    async with running() as (timers, clock, due):
        timers.set("a", 105.0)
        timers.set("a", 150.0)
        timers.set("b", 105.0)
        timers.drop("b")
        await passes(timers, clock, 10)
        assert due == ["wake"]
        await passes(timers, clock, 40)
        assert due == ["wake", "a", "wake"]


async def test_what_came_due_while_the_machine_slept_is_seen_though_the_loops_clock_stood(
    monkeypatch,
):
    """No test can make the machine sleep: here nothing wakes the timers, and the loop counts no
    hour."""
    monkeypatch.setattr(timers_module, "LONGEST_SLEEP", 0.01)
    async with running() as (timers, clock, due):
        timers.set("a", clock.now + 3600.0)
        # it waits, as long as the loop's clock would have it
        await until(lambda: not timers._changed.is_set())
        clock.now += 3600.0
        await eventually(lambda: due == ["a"], "it is due")


def test_what_is_moved_again_and_again_does_not_pile_up():
    timers = Timers(Clock(), lambda key: None)
    for at in range(10_000):
        timers.set("a", 1000.0 + at)
    assert len(timers._heap) < 200
    assert (10_999.0, "a") in timers._heap
