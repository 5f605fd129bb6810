"""The engine's event stream, drained by a task that never waits for anything but the socket.

A subscriber that stops reading costs the whole engine 100 ms an event and then silently loses it
(docs: moby's `daemon/events`), so the drain only appends raw bytes to a bounded buffer; decoding is
paid for by whoever asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Annotated, Protocol

import msgspec

from dockmend.model import Actor, Event, Int64

from .engine_api import Batch

BUFFER_BYTES = 64 << 20  # about 90,000 events
LONGEST_LINE = 16 << 20  # an event carries all labels of its container
# decoded at a time: some milliseconds, so that nothing else on the loop waits
BATCH_BYTES = 2 << 20

_decoder = msgspec.json.Decoder(Event)
_GARBAGE = (msgspec.MsgspecError, ValueError, RecursionError)  # ValueError: text that is not UTF-8


class _LooseActor(msgspec.Struct):
    ID: str | None = None
    Attributes: dict[str, object] | None = None


class _LooseEvent(msgspec.Struct):
    """An event as other engines may write it: fields that are null, attributes that are no
    strings."""

    Type: str
    Action: str
    Actor: _LooseActor | None = None
    timeNano: Int64 = 0  # noqa: N815 - the engine's name
    time: Annotated[int, msgspec.Meta(ge=0, le=2**33)] = 0
    scope: str | None = None


_loose_decoder = msgspec.json.Decoder(_LooseEvent)


class EventSource(Protocol):
    """What the drain reads from: aiohttp's StreamReader."""

    async def readany(self) -> bytes: ...


class Drain:
    """One subscription's buffer: `drain` fills it, `batch` empties it.

    `overflowed` becomes True when the consumer fell behind by more than `limit` bytes and what was
    buffered was dropped; it stays True until the consumer sets it back. `translate`: applied to
    every event.
    """

    def __init__(
        self, limit: int = BUFFER_BYTES, translate: Callable[[Event], Event] | None = None
    ) -> None:
        self.overflowed = False
        self._translate = translate  # of an engine that calls things otherwise
        self._limit = limit
        self._chunks: deque[bytes] = deque()  # whole lines each
        self._size = 0
        self._partial: list[bytes] = []  # the beginning of a line whose end has not come
        self._partial_size = 0
        self._skipping = False  # within a line that is too long
        self._malformed = 0
        self._ended = False
        self._news = asyncio.Event()

    async def drain(self, source: EventSource) -> None:
        """Reads until the stream ends, for whatever reason: every end is a disconnection, told by
        `batch` as None."""
        try:
            while chunk := await source.readany():
                self.feed(chunk)
        except Exception:  # noqa: BLE001, S110 - the connection broke: the end of the stream says so
            pass
        finally:
            self._ended = True
            self._news.set()

    def feed(self, chunk: bytes) -> None:
        """Takes bytes as they come; keeps whole lines, and the beginning of an unfinished one."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep_partial(chunk)
            return
        head, tail = chunk[:end], chunk[end:]
        if self._skipping:
            self._skipping = False
            head = head[head.index(b"\n") + 1 :]
        elif self._partial:
            head = b"".join((*self._partial, head))
        self._partial, self._partial_size = [], 0
        if tail:
            self._keep_partial(tail)
        if head:
            self._keep(head)

    def _keep(self, lines: bytes) -> None:
        if self._size + len(lines) > self._limit:
            self._chunks.clear()
            self._size = 0
            self.overflowed = True
        self._chunks.append(lines)
        self._size += len(lines)
        self._news.set()

    def _keep_partial(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._partial.append(piece)
        self._partial_size += len(piece)
        if self._partial_size > LONGEST_LINE:
            self._partial, self._partial_size = [], 0
            self._skipping = True
            self._malformed += 1

    async def batch(self) -> Batch | None:
        """What has come since the last call, at most about BATCH_BYTES of it; waits for something;
        None at the end."""
        while True:
            await self._news.wait()
            if self._chunks:
                events, malformed = self._decoded(self._take())
                malformed, self._malformed = malformed + self._malformed, 0
                if not self._chunks and not self._ended:
                    self._news.clear()
                if events or malformed:
                    return Batch(events, malformed)
            elif self._ended:
                return None
            else:
                self._news.clear()

    def rest(self) -> Batch:
        """Everything that was fed, at once: of an answer that has ended. An unfinished line is a
        malformed one."""
        events, malformed = self._decoded(b"".join(self._chunks))
        lost = self._malformed + bool(self._partial) + self.overflowed
        return Batch(events, malformed + lost)

    def _decoded(self, lines: bytes) -> tuple[list[Event], int]:
        events, malformed = decode_lines(lines)
        if self._translate is not None:
            events = [self._translate(event) for event in events]
        return events, malformed

    def _take(self) -> bytes:
        taken = [self._chunks.popleft()]
        size = len(taken[0])
        while self._chunks and size + len(self._chunks[0]) <= BATCH_BYTES:
            size += len(self._chunks[0])
            taken.append(self._chunks.popleft())
        self._size -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)


def decode_lines(lines: bytes) -> tuple[list[Event], int]:
    """The events of newline-delimited JSON, and the number of lines that were none."""
    try:
        return _decoder.decode_lines(lines), 0
    except _GARBAGE:
        pass  # at least one bad line: now one by one
    events, malformed = [], 0
    for line in lines.splitlines():
        if not line.strip():
            continue
        event = decode_event(line)
        if event is None:
            malformed += 1
        else:
            events.append(event)
    return events, malformed


def decode_event(line: bytes | str) -> Event | None:
    """One line of the stream; None where it is no event."""
    try:
        return _decoder.decode(line)
    except _GARBAGE:
        pass
    try:
        loose = _loose_decoder.decode(line)
    except _GARBAGE:
        return None
    actor = loose.Actor or _LooseActor()
    attributes = {
        key: str(value) for key, value in (actor.Attributes or {}).items() if value is not None
    }
    return Event(
        type=loose.Type,
        action=loose.Action,
        actor=Actor(ID=actor.ID or "", Attributes=attributes),
        time_ns=loose.timeNano or loose.time * 1_000_000_000,
        scope=loose.scope or "local",
    )
