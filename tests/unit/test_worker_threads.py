"""Blocking work on a host that has no thread left: it is refused, and not done later behind
everybody's back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dockmend.app.worker_threads import WorkerThreads
from dockmend.snapshots.stage_threads import StagePump


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_what_was_refused_is_never_done(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    loop = asyncio.get_running_loop()
    with WorkerThreads(2) as pool:
        with monkeypatch.context() as none_left:
            none_left.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await loop.run_in_executor(pool, done.append, "refused")
        await loop.run_in_executor(pool, done.append, "taken")
    assert done == ["taken"]


async def test_what_raises_is_told_and_what_waits_can_be_cancelled():
    loop, going = asyncio.get_running_loop(), threading.Event()
    with WorkerThreads(1) as pool:
        first = loop.run_in_executor(pool, going.wait, 30)
        second = loop.run_in_executor(pool, int, "no number")
        third = loop.run_in_executor(pool, int, "3")
        third.cancel()
        going.set()
        assert await first
        with pytest.raises(ValueError, match="no number"):
            await second


class Stage:
    def process(self, data: bytes) -> None: ...
    def finish(self) -> None: ...


async def test_a_pump_that_gets_one_thread_of_two_leaves_none(monkeypatch: pytest.MonkeyPatch):
    start, before = threading.Thread.start, threading.active_count()
    started: list[threading.Thread] = []

    def once(thread: threading.Thread) -> None:
        if started:
            refuse()
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", once)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        async with StagePump(Stage(), Stage()):
            pytest.fail("it has but one thread")
    started[0].join(30)
    assert threading.active_count() == before
