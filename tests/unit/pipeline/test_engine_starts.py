"""Engines that are there and gone before they were watched are noticed all the same."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.engine.engine_api import EngineInfo, Listing
from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import EARLIER, EngineStart
from dockmend.model import Container
from dockmend.observer import Observer
from dockmend.pipeline.engine_starts import LOOKS_EVERY, EngineStarts
from dockmend.pipeline.list_watch import ListWatch

FIRST = EngineStart(100.0, 103.0)


class Away:
    """An engine of which a look at its files tells the start; another one begins with each second
    look."""

    def __init__(self, *began_at: float) -> None:
        self.began_at = [each for each in began_at for _ in range(2)]

    async def started_at(self) -> float:
        return self.began_at.pop(0) if self.began_at else 0.0


def info(started_at: float, live_restore: bool = False) -> EngineInfo:
    return EngineInfo(
        "ID", "host", "26.1.5", "1.45", live_restore=live_restore, started_at=started_at
    )


def starts(*began_at: float) -> EngineStarts:
    engine: Any = Away(*began_at)
    return EngineStarts(engine)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return taken


async def test_one_that_ends_within_a_long_pause_is_noticed(waits: list[float]) -> None:
    one = starts(100.0, 110.0, 120.0)
    await one.pause(5.2 * LOOKS_EVERY)
    assert sum(waits) == pytest.approx(5.2 * LOOKS_EVERY)
    start = one.watched(info(120.0), 122.0, FIRST)
    assert start == EngineStart(120.0, 122.0, earlier=((100.0, 103.0), (110.0, 120.0)))


async def test_one_that_answered_but_was_not_listed_is_noticed(waits: list[float]) -> None:
    one = starts()
    one.saw(110.0)
    await one.pause(0.1)
    assert one.watched(info(120.0), 122.0, FIRST).earlier == ((100.0, 103.0), (110.0, 120.0))
    assert one.watched(info(130.0), 132.0, FIRST).earlier == ((100.0, 103.0),), "each is told once"


async def test_of_one_that_keeps_its_containers_nothing_is_doubted(waits: list[float]) -> None:
    one = starts(110.0)
    await one.pause(0.1)
    assert one.watched(info(120.0, live_restore=True), 50.0, EngineStart(100.0, 100.0)).earlier == (
        (100.0, 100.0),
    )


async def test_without_the_engines_files_nothing_is_known_of_those_between(
    waits: list[float],
) -> None:
    one = starts()
    await one.pause(3.0)
    assert one.watched(info(0.0), 0.0, EngineStart()) == EngineStart()


async def test_of_an_engine_that_ends_at_once_for_days_the_last_starts_are_remembered(
    waits: list[float],
) -> None:
    one = starts()
    for at in range(200, 3000):
        one.saw(float(at))
    assert len(one.unwatched) == EARLIER
    assert one.watched(info(3000.0), 3002.0, FIRST).earlier[-1] == (2999.0, 3000.0)


@pytest.mark.parametrize(("live_restore", "went_down_at"), [(False, 90.0), (True, 0.0)])
async def test_what_it_started_again_tells_when_the_one_before_went_down(
    waits: list[float], live_restore: bool, went_down_at: float
) -> None:
    again = Container(
        id="a",
        name="web",
        state="running",
        restart_policy="always",
        started_at=101.0,
        finished_at=90.0,
    )
    start = starts().watched(info(100.0, live_restore=live_restore), 102.0, EngineStart(), [again])
    assert start.went_down_at == went_down_at


def test_the_watch_asks_the_list_when_the_engine_before_went_down() -> None:
    """And the end that a list shows then, of a container that nothing starts again, is the engine's
    doing."""
    again = Container(
        id="a",
        name="db",
        state="running",
        restart_policy="always",
        started_at=101.0,
        finished_at=90.0,
    )
    engine: Any = SimpleNamespace(url="unix:///nowhere")
    watch = ListWatch(
        engine, Mirror(), lambda changes: None, Observer(), lambda: 105.0, random.Random(1)
    )
    watch.info = info(100.0)
    watch._another_engine(Listing((again,), (), (), 104.0, 105.0), gap=True)
    assert watch.mirror.engine_start.went_down_at == 90.0
    assert watch.mirror.engine_start.took_down(95.0)
