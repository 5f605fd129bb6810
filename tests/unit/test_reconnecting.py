"""A stream that ended and is taken again: what the engine replays is taken once, and what it
stamped late is taken."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.app.daemon import Daemon
from dockmend.errors import EngineAway
from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import COMING_UP
from dockmend.model import Container
from dockmend.observer import Observer
from dockmend.pipeline.list_watch import ListWatch
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings, until
from tests.unit.test_metrics import page


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


def taken(one: Daemon, action: str) -> float:
    return page(one.metrics)["dockmend_events_total"].get((action, "container"), 0.0)


def connects(one: Daemon) -> float:
    return page(one.metrics)["dockmend_engine_connects_total"][()]


async def test_what_was_read_before_the_stream_ended_is_not_taken_again(
    fake: FakeEngine, tmp_path: Path
):
    web = fake.container(fake.add_container("web"))
    async with running(fake, settings(tmp_path)) as one:
        fake.emit(web, "update")
        await until(lambda: taken(one, "update") == 1, "it is taken")
        fake.log.end_streams()
        await until(lambda: connects(one) == 2, "the stream is taken again")
        replayed = fake.log.past(int(float(fake.log.since_asked[-1] or 0) * 1e9), None, {})
        assert "update" in [each["Action"] for each in replayed]
        fake.emit(web, "rename")
        await until(lambda: taken(one, "rename") == 1, "the next one is taken")
        assert taken(one, "update") == 1


async def test_an_event_that_was_stamped_before_the_last_one_read_is_taken(
    fake: FakeEngine, tmp_path: Path
):
    """Stamps of two events can be out of order, and the stream can end between them."""
    web = fake.container(fake.add_container("web"))
    async with running(fake, settings(tmp_path)) as one:
        fake.emit(web, "update")
        await until(lambda: taken(one, "update") == 1, "it is taken")
        fake.log.end_streams()
        await until(lambda: not one.watch.up, "the stream is lost")
        fake.log.emit(
            "container",
            "resize",
            web["Id"],
            {"name": "web"},
            one.watch.cursor.time_ns - 500_000_000,
        )
        await until(lambda: taken(one, "resize") == 1, "it is taken")


async def test_a_ring_without_the_last_event_read_is_a_gap_and_one_with_it_is_none(
    fake: FakeEngine, tmp_path: Path
):
    web = fake.container(fake.add_container("web"))

    def gaps() -> float:
        return page(one.metrics)["dockmend_event_gaps_total"]["marker",]

    async with running(fake, settings(tmp_path)) as one:
        fake.emit(web, "update")
        await until(lambda: taken(one, "update") == 1, "it is taken")
        fake.log.end_streams()
        await until(lambda: connects(one) == 2, "the stream is taken again")
        assert gaps() == 0
        fake.log.forget()
        await until(lambda: connects(one) == 3, "the stream is taken a third time")
        assert gaps() == 1


async def test_nothing_is_learnt_by_a_look_while_there_is_no_stream():
    """What the engine stopped as it went down would be taken for a person's doing (campaign, seed
    2026)."""
    engine: Any = None
    mirror = Mirror()
    asked = mirror.heard("c" * 64)
    watch = ListWatch(engine, mirror, lambda changes: None, Observer(), time.time, random.Random(1))
    with pytest.raises(EngineAway, match="not known yet"):
        watch.learn_from(Container("c" * 64, "web"), asked)
    assert mirror.container("c" * 64) is None
    watch.up = True
    watch.learn_from(Container("c" * 64, "web"), asked)
    assert mirror.container("c" * 64) is not None


async def test_an_engine_that_was_gone_again_before_it_answered_is_remembered(
    fake: FakeEngine, tmp_path: Path
):
    """It stopped what it found, and the next one does not show that it was there."""
    runtimes = tmp_path / "data" / "runtimes"
    runtimes.mkdir(parents=True)
    os.utime(runtimes, (1000.0, 1000.0))
    given = settings(tmp_path).model_copy(update={"engine_root": tmp_path / "data"})
    async with running(fake, given) as one:
        first = one.mirror.engine_start
        assert first.began_at == 1000.0
        await fake.stop()
        await until(lambda: not one.watch.up, "the engine is lost")
        os.utime(runtimes, (2000.0, 2000.0))
        await until(
            lambda: 2000.0 in one.watch.starts.unwatched, "one is noticed that does not answer"
        )
        os.utime(runtimes, (3000.0, 3000.0))
        await fake.start()
        await until(lambda: one.watch.up, "the next one is watched")
        assert one.mirror.engine_start.began_at == 3000.0
        assert one.mirror.engine_start.earlier == (
            (1000.0, first.ready_at),
            (2000.0, 2000.0 + COMING_UP),
        )


async def test_an_engine_that_is_away_is_asked_less_and_less_often_at_moments_that_differ(
    monkeypatch,
):
    waits: list[float] = []

    class Away:
        async def connect(self) -> None:
            if len(waits) == 12:
                raise asyncio.CancelledError
            waits.append(0.0)
            raise EngineAway("nobody")

        async def started_at(self) -> float:
            return 0.0

    async def sleep(seconds: float) -> None:
        waits[-1] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    engine: Any = Away()
    watch = ListWatch(
        engine, Mirror(), lambda changes: None, Observer(), time.time, random.Random(1)
    )
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    low, high = watch.pace.backoff
    longest = [min(high, low * 2**number) for number in range(12)]
    shares = [wait / most for wait, most in zip(waits, longest, strict=True)]
    assert all(0.5 <= share <= 1.0 for share in shares)
    assert max(shares) - min(shares) > 0.25
    assert longest[-1] == high
