"""The pump: everything to every stage, bounded, and every thread ended whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.snapshots import stage_threads
from dockmend.snapshots.stage_threads import StagePump


class Keeps:
    """A stage that keeps what it was given; `gate` holds it up, `fails_at` makes it fail at that
    call."""

    def __init__(self, gate: threading.Event | None = None, fails_at: int = -1) -> None:
        self.pieces: list[bytes] = []
        self.finished = 0
        self.calls = 0
        self.entered = threading.Event()
        self._gate = gate
        self._fails_at = fails_at

    def process(self, data: bytes) -> None:
        self.entered.set()
        if self._gate is not None:
            assert self._gate.wait(30)
        if self.calls == self._fails_at:
            raise OSError(28, "No space left on device")
        self.calls += 1
        self.pieces.append(data)

    def finish(self) -> None:
        if self._fails_at == -2:
            raise ValueError("cut short")
        self.finished += 1


async def stream(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("snapshot-")]


@given(st.lists(st.binary(max_size=300_000), max_size=20))
async def test_every_stage_gets_everything_in_order(chunks):
    one, two = Keeps(), Keeps()
    async with StagePump(one, two) as carrying:
        await carrying.carry(stream(chunks))
    assert b"".join(one.pieces) == b"".join(two.pieces) == b"".join(chunks)
    assert one.finished == two.finished == 1
    assert threads() == []


async def test_a_slow_stage_holds_up_the_reader():
    """What is read ahead is bounded, however large the stream."""
    gate = threading.Event()
    batches = stage_threads.AHEAD // stage_threads.BATCH
    taken = 0
    stalled = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            if taken == batches + 1:
                stalled.set()
            yield bytes(stage_threads.BATCH)

    slow = Keeps(gate)
    async with StagePump(slow) as carrying, asyncio.TaskGroup() as group:
        group.create_task(carrying.carry(endless()))
        await stalled.wait()
        for _ in range(100):
            await asyncio.sleep(0)  # every chance to read on
        assert taken == batches + 1
        gate.set()
    assert slow.calls == 1000


async def test_a_stage_that_fails_ends_the_stream():
    fails, other = Keeps(fails_at=3), Keeps()
    with pytest.raises(OSError, match="No space left"):
        async with StagePump(fails, other) as carrying:
            await carrying.carry(stream([bytes(stage_threads.BATCH)] * 1000))
    assert other.calls < 100
    assert fails.finished == other.finished == 0
    assert threads() == []


async def test_a_stage_that_fails_at_the_end_is_heard():
    with pytest.raises(ValueError, match="cut short"):
        async with StagePump(Keeps(fails_at=-2), Keeps()) as carrying:
            await carrying.carry(stream([b"x"]))
    assert threads() == []


async def test_a_stream_that_fails_finishes_nothing():
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(stage_threads.BATCH)
        raise ConnectionResetError

    stage = Keeps()
    with pytest.raises(ConnectionResetError):
        async with StagePump(stage) as carrying:
            await carrying.carry(broken())
    assert stage.finished == 0
    assert threads() == []


async def test_cancelled_twice_it_still_waits_for_its_threads():
    """The file below them is closed next."""
    gate = threading.Event()
    stage = Keeps(gate)
    reached = asyncio.Event()

    async def waits() -> AsyncIterator[bytes]:
        yield bytes(stage_threads.BATCH)
        reached.set()
        await asyncio.Event().wait()

    async def work() -> None:
        async with StagePump(stage) as carrying:
            await carrying.carry(waits())

    task = asyncio.get_running_loop().create_task(work())
    await reached.wait()
    assert await asyncio.to_thread(stage.entered.wait, 30)
    for _ in range(3):
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.finished == 0
    assert threads() == []
