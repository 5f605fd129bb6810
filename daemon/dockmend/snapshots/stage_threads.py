"""Carries a stream from the event loop to worker threads with constant memory.

Hashing, compressing and writing each run in a thread of their own (all three let go of the
interpreter's lock for the bulk of their work), so that a snapshot uses more than one core and never
holds up the event loop. Between the loop and each thread at most `AHEAD` bytes wait; a full queue
makes the reader wait, and so the engine.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Protocol, Self

# bytes handed over at once, at least: what the engine's client gives is mostly passed on as it is
BATCH = 1 << 17
AHEAD = 8 << 20  # bytes that may wait for a thread; one batch always may, however large


class Stage(Protocol):
    """Work on a stream in a thread of its own. An exception ends the stream and is raised from
    `StagePump.carry`."""

    def process(self, data: bytes) -> None: ...
    def finish(self) -> None:
        """The stream is over and was whole."""


class _Worker:
    """One stage, its thread and its bounded inbox."""

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._stage = stage
        self._loop = loop
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0  # bytes in the inbox or being worked on
        self._less = asyncio.Event()
        self._abandoned = False
        self.ended: asyncio.Future[None] = loop.create_future()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def put(self, data: bytes) -> None:
        while self._waiting and self._waiting + len(data) > AHEAD:
            self._less.clear()
            await self._less.wait()
        if self.error is not None:
            raise self.error
        self._waiting += len(data)
        self._inbox.put(data)

    def end(self, whole: bool) -> None:
        self._abandoned = not whole
        self._inbox.put(None)

    def join(self) -> None:
        """After `ended` there is only the thread's own return to wait for."""
        self._thread.join()

    def _run(self) -> None:
        while (data := self._inbox.get()) is not None:
            if self.error is None and not self._abandoned:
                try:
                    self._stage.process(data)
                except BaseException as error:  # noqa: BLE001 - raised again where the stream is fed
                    self.error = error
            size = len(data)
            del data
            self._loop.call_soon_threadsafe(self._done, size)
        if self.error is None and not self._abandoned:
            try:
                self._stage.finish()
            except BaseException as error:  # noqa: BLE001 - raised again where the stream is fed
                self.error = error
        self._loop.call_soon_threadsafe(self._over)

    def _done(self, size: int) -> None:
        self._waiting -= size
        self._less.set()

    def _over(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class StagePump:
    """`async with StagePump(hash, file) as pump: await pump.carry(stream)`; all threads have ended
    on leaving."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages
        self._workers: list[_Worker] = []
        self._whole = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            for number, stage in enumerate(self._stages):
                self._workers.append(_Worker(stage, loop, f"snapshot-{number}"))
        except BaseException as error:  # the host has no thread left: those that were begun end
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end(whole=self._whole and kind is None)
        await _all(self._workers)
        if kind is None:
            for worker in self._workers:
                if worker.error is not None:
                    raise worker.error

    async def carry(self, stream: AsyncIterator[bytes]) -> None:
        """The whole stream through every stage. Raises what a stage raised (OSError where the disk
        is full)."""
        held: list[bytes] = []
        size = 0
        async for chunk in stream:
            held.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                await self._feed(held)
                held, size = [], 0
        if held:
            await self._feed(held)
        self._whole = True

    async def _feed(self, chunks: Sequence[bytes]) -> None:
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        for worker in self._workers:
            await worker.put(data)


async def _all(workers: Sequence[_Worker]) -> None:
    """Waits for every thread, even while being cancelled: the file below them is about to be
    closed."""
    cancelled: asyncio.CancelledError | None = None
    for worker in workers:
        while not worker.ended.done():
            try:
                await asyncio.shield(worker.ended)
            except asyncio.CancelledError as error:
                cancelled = error
        worker.join()
    if cancelled is not None:
        raise cancelled
