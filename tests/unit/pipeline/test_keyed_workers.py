"""Lanes: in order for each target, side by side over targets, and no job takes another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dockmend.pipeline.keyed_workers import KeyedWorkers
from tests.unit.pipeline.clinic import until


def job(
    done: list[str], name: str, gate: asyncio.Event | None = None
) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        done.append(f"{name} begins")
        if gate is not None:
            await gate.wait()
        done.append(f"{name} ends")

    return run


async def test_one_target_in_order_and_targets_side_by_side():
    done: list[str] = []
    gate = asyncio.Event()
    async with KeyedWorkers(lambda lane, error: None) as lanes:
        lanes.submit("a", job(done, "a1", gate))
        lanes.submit("a", job(done, "a2"))
        lanes.submit("b", job(done, "b1"))
        await until(lambda: "b1 ends" in done)
        assert done == ["a1 begins", "b1 begins", "b1 ends"]
        assert lanes.busy("a")
        gate.set()
        assert await lanes.drained(5.0)
        assert done[3:] == ["a1 ends", "a2 begins", "a2 ends"]
        assert not lanes.busy("a")
        assert lanes._queues == lanes._workers == {}


async def test_a_job_that_raises_is_told_of_and_the_lane_goes_on():
    done: list[str] = []
    told: list[tuple[str, str]] = []

    async def fails() -> None:
        raise ValueError("no")

    async with KeyedWorkers(lambda lane, error: told.append((lane, str(error)))) as lanes:
        lanes.submit("a", fails)
        lanes.submit("a", job(done, "a2"))
        assert await lanes.drained(5.0)
    assert told == [("a", "no")]
    assert done == ["a2 begins", "a2 ends"]


async def test_a_job_submitted_by_the_last_job_of_a_lane_is_not_lost():
    done: list[str] = []
    async with KeyedWorkers(lambda lane, error: None) as lanes:

        async def again() -> None:
            lanes.submit("a", job(done, "more"))

        lanes.submit("a", again)
        assert await lanes.drained(5.0)
        lanes.submit("a", job(done, "later"))
        assert await lanes.drained(5.0)
    assert done == ["more begins", "more ends", "later begins", "later ends"]


async def test_draining_says_where_somebody_is_still_at_work_and_leaving_cancels_it():
    cancelled = asyncio.Event()
    begun = asyncio.Event()

    async def stuck() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with KeyedWorkers(lambda lane, error: None) as lanes:
        assert await lanes.drained(5.0)
        lanes.submit("a", stuck)
        await begun.wait()
        assert not await lanes.drained(0.01)
    assert cancelled.is_set()
