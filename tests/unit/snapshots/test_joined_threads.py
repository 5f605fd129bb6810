"""Work in a thread is never left behind by a cancellation."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dockmend.snapshots.joined_threads import acquire, to_end


async def cancelled_thrice(task: asyncio.Task[Any], gate: threading.Event) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_waits_for_the_end():
    gate = threading.Event()
    ended: list[bool] = []
    task = asyncio.get_running_loop().create_task(to_end(lambda: ended.append(gate.wait(30))))
    await cancelled_thrice(task, gate)
    assert ended == [True]


async def test_what_nobody_gets_is_given_back():
    gate = threading.Event()
    given: list[str] = []

    def make() -> str:
        gate.wait(30)
        return "draft"

    await cancelled_thrice(
        asyncio.get_running_loop().create_task(acquire(given.append, make)), gate
    )
    assert given == ["draft"]


async def test_results_and_errors_pass():
    assert await to_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await to_end(divmod, 7, 0)
    kept: list[str] = []

    def make() -> str:
        return "draft"

    assert await acquire(kept.append, make) == "draft"
    assert kept == []
