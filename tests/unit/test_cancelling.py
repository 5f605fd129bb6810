"""Who is asked to end, ends: also where something else fails at the same moment, and the word is
lost."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from dockmend.app.supervision import forever
from dockmend.cancelling import end_all
from dockmend.engine.client import DockerEngine
from dockmend.errors import EngineAway
from dockmend.mirror import Mirror
from dockmend.observer import Observer
from dockmend.pipeline.keyed_workers import KeyedWorkers
from dockmend.pipeline.list_watch import ListWatch
from tests.fakes.engine import FakeEngine
from tests.lab.waiting import eventually_async


class Fails:
    """Fails as it is cancelled, the first time."""

    def __init__(self) -> None:
        self.cancelled = 0

    async def __call__(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.cancelled > 1:
                raise
            raise EngineAway("the connection was cut") from None


async def test_a_part_of_the_daemon_that_fails_as_it_is_cancelled_ends_all_the_same():
    part = Fails()
    task = asyncio.get_running_loop().create_task(forever("part", part, time.monotonic))
    await asyncio.sleep(0)
    await end_all([task], again=0.01)
    assert task.cancelled()
    assert part.cancelled >= 1


async def test_the_watch_ends_although_its_engine_goes_at_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = await FakeEngine(tmp_path).start()
    engine = DockerEngine(fake.url)
    try:
        watch = ListWatch(
            engine, Mirror(), lambda changes: None, Observer(), time.time, random.Random(1)
        )
        monkeypatch.setattr(watch, "_probe", Fails())
        task = asyncio.get_running_loop().create_task(watch.run())
        await eventually_async(lambda: watch.up, what="it watches")
        await asyncio.sleep(0)
        await end_all([task], again=0.01)
        assert task.cancelled()
    finally:
        await engine.close()
        await fake.stop()


async def test_a_lane_whose_job_fails_as_it_is_cancelled_begins_no_other():
    begun: list[str] = []
    errors: list[Exception] = []

    async def next_job() -> None:
        begun.append("next")

    async with KeyedWorkers(lambda lane, error: errors.append(error)) as lanes:
        job = Fails()
        lanes.submit("web", job)
        lanes.submit("web", next_job)
        await asyncio.sleep(0)
    assert (begun, [str(error) for error in errors]) == ([], ["the connection was cut"])
