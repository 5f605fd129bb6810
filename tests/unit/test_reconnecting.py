"""A stream that ended and is taken again: what the engine replays is taken once, and what it stamped late is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app.daemon import Daemon
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


async def test_what_was_read_before_the_stream_ended_is_not_taken_again(fake: FakeEngine, tmp_path: Path):
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


async def test_an_event_that_was_stamped_before_the_last_one_read_is_taken(fake: FakeEngine, tmp_path: Path):
    """Stamps of two events can be out of order, and the stream can end between them."""
    web = fake.container(fake.add_container("web"))
    async with running(fake, settings(tmp_path)) as one:
        fake.emit(web, "update")
        await until(lambda: taken(one, "update") == 1, "it is taken")
        fake.log.end_streams()
        await until(lambda: not one.watch.up, "the stream is lost")
        fake.log.emit("container", "resize", web["Id"], {"name": "web"}, one.watch.cursor.time_ns - 500_000_000)
        await until(lambda: taken(one, "resize") == 1, "it is taken")


async def test_a_ring_without_the_last_event_read_is_a_gap_and_one_with_it_is_none(fake: FakeEngine, tmp_path: Path):
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
