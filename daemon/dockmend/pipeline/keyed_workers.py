"""One worker per target: jobs of one target run in order, targets run in parallel.

A worker without jobs ends. A job never sleeps in its worker because of a limit: it parks its
incident with a timer, and the timer submits the job again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

from dockmend.cancelling import end_all

Job = Callable[[], Awaitable[None]]


TELLING_AT_ONCE = 32
"""Attempts and steps at a time that only tell or collect evidence."""


class WorkerSlots:
    """A semaphore of which the waiter with the lowest rank is the next."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = 0

    @asynccontextmanager
    async def taken(self, rank: float) -> AsyncIterator[bool]:
        """True where the place had to be waited for: what was looked at before may be otherwise by
        now."""
        waited = self._free <= 0
        await self._take(rank)
        try:
            yield waited
        finally:
            self._give()

    async def _take(self, rank: float) -> None:
        if self._free > 0:
            self._free -= 1
            return
        self._sequence += 1
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, self._sequence, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it was given to one that is not there any more
            raise

    def _give(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class WorkerCaps:
    """How many may be at work at a time over all targets. What only tells has a cap of its own: a
    wait, a broker or a collection that hangs must not keep anything from being healed."""

    def __init__(self, parallel: int) -> None:
        self._changing = WorkerSlots(parallel)
        self._telling = WorkerSlots(TELLING_AT_ONCE)

    def of(self, *, changes: bool) -> WorkerSlots:
        return self._changing if changes else self._telling


class KeyedWorkers:
    """Use as an async context manager; leaving it cancels what still runs.

    `on_error(lane, error)` is told of a job that raised: the lane goes on. It must not raise
    itself.
    """

    def __init__(self, on_error: Callable[[str, Exception], None]) -> None:
        self._on_error = on_error
        self._queues: dict[str, deque[Job]] = {}
        self._group = asyncio.TaskGroup()
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *args: object) -> None:
        for queue in self._queues.values():
            queue.clear()
        await end_all(list(self._workers.values()))
        await self._group.__aexit__(None, None, None)

    def submit(self, lane: str, job: Job) -> None:
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(job)
            return
        self._queues[lane] = deque((job,))
        self._idle.clear()
        self._workers[lane] = self._group.create_task(self._work(lane), name=f"lane {lane}")

    async def _work(self, lane: str) -> None:
        queue = self._queues[lane]
        try:
            while queue:
                job = queue.popleft()
                try:
                    await job()
                except Exception as error:  # noqa: BLE001 - whatever a job does, the lane's other jobs go on
                    self._on_error(lane, error)
        finally:
            del self._queues[lane]
            del self._workers[lane]
            if not self._queues:
                self._idle.set()

    def busy(self, lane: str) -> bool:
        return lane in self._queues

    async def drained(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for running jobs; False where some are still at work."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
