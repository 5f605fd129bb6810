"""Every call dockmend makes, seen at a socket between it and the engine; on demand, that socket is
bad weather.

The engine's events do not say who asked. A relay that notes each request does; in good weather it
changes nothing but one header (`Connection: close`), so that one connection is one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.parse
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import PrivateEngine

from .ledger import Span

CHANGING = frozenset(
    {"restart", "start", "stop", "kill", "pause", "unpause", "connect", "disconnect", "remove"}
)
SWAPPED_WITHIN = 0.01
"""Seconds for which a line waits for the next one, to be sent after it."""


@dataclass
class Request:
    """One call of dockmend's. Times are wall seconds; `status` None: no answer came (one of the two
    died)."""

    method: str
    path: str
    sent: float
    body: bytes = b""
    by: str = ""  # which dockmend sent it: "" for the first, else the second
    status: int | None = None
    answered: float | None = None
    closed: float | None = None
    # restart, start, connect, … for what changes a container; else ""
    operation: str = field(init=False)
    container: str = field(init=False)  # the container's id as dockmend wrote it

    def __post_init__(self) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        self.operation = _operation(self.method, parts)
        self.container = urllib.parse.unquote(parts[1]) if len(parts) > 1 else ""
        if parts[0] == "networks":
            self.container = ""
            with contextlib.suppress(ValueError):
                self.container = str(json.loads(self.body or b"{}").get("Container", ""))

    @property
    def stream(self) -> bool:
        """A subscription to events that goes on (questions about the past name an end)."""
        return self.path.startswith("/events") and "until=" not in self.path

    def overlaps(self, begin: float, end: float) -> bool:
        return self.sent <= end and (self.answered or self.closed or self.sent + 20.0) >= begin


def _operation(method: str, parts: list[str]) -> str:
    if method == "POST" and len(parts) == 3 and parts[0] in {"containers", "networks"}:
        return parts[2] if parts[2] in CHANGING else ""
    return "remove" if method == "DELETE" and parts[0] == "containers" else ""


@dataclass
class Weather:
    """What is wrong between the two, and until when (monotonic seconds)."""

    kind: str  # delay, duplicate, swap, corrupt, truncate, refuse, silent
    until: float
    seconds: float = 0.0  # of a delay

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until


@dataclass(frozen=True)
class Spoilt:
    """An event that did not arrive as the engine sent it."""

    at: float
    container: str
    action: str


class Relay:
    """Listens at `path` and passes on to the engine's socket, from a thread of its own."""

    def __init__(self, engine: PrivateEngine, name: str = "", beside: Relay | None = None) -> None:
        """`name`: of the dockmend behind it; `beside`: another one's relay, which keeps the calls
        of both."""
        self.name = name
        self.path = Path(engine.folder, f"seen{name}.sock")
        self.url = f"unix://{self.path}"
        self.streams: list[Request] = []
        self.calls = 0
        self.spoilt: list[Spoilt] = []
        # when connections were cut, also with a call that had not been read yet
        self.cuts: list[Span] = []
        self.late: list[Span] = []  # when what the engine said was held back
        self._changes: list[Request] = beside._changes if beside else []
        self._by_container: dict[str, list[Request]] = beside._by_container if beside else {}
        self._engine_socket = str(engine.socket)
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._deaf_until = 0.0
        self._weather: list[Weather] = []
        self._changed = threading.Event()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )

    def start(self) -> Relay:
        self._thread.start()
        assert self._ready.wait(10), "the relay listens"
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def await_change(self, timeout: float) -> bool:
        """Waits until dockmend's next call that changes something has been passed on to the
        engine."""
        self._changed.clear()
        return self._changed.wait(timeout)

    def changes(self, container: str | None = None) -> list[Request]:
        """Calls that change containers, oldest first."""
        return list(self._changes if container is None else self._by_container.get(container, ()))

    # --- bad weather ------------------------------------------------------------------------------

    def cut(self, deaf: float) -> None:
        """Cuts every connection of dockmend's, what it has asked being under way, and takes none
        for `deaf` seconds."""
        self._loop.call_soon_threadsafe(self._cut, deaf)

    def _cut(self, deaf: float) -> None:
        self._deaf_until = time.monotonic() + deaf
        self.cuts.append(Span(time.time(), time.time() + deaf))
        for writer in list(self._open):
            writer.transport.abort()

    def trouble(self, kind: str, duration: float, seconds: float = 0.0) -> None:
        """From now on, for `duration` seconds, it is like that. `seconds`: how long each piece is
        held back."""
        self._weather = [each for each in self._weather if not each.over]
        self._weather.append(Weather(kind, time.monotonic() + duration, seconds))
        if kind in {"delay", "silent"}:
            now = time.time()
            self.late.append(Span(now - 0.1, now + duration + seconds + 0.1))

    def clear(self) -> None:
        """Good weather again."""
        self._weather = []

    def _now(self, kind: str) -> Weather | None:
        return next((each for each in self._weather if each.kind == kind and not each.over), None)

    # --- passing on -------------------------------------------------------------------------------

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._client, self.path, limit=1 << 20)
        self._ready.set()
        await self._stop.wait()
        server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine: asyncio.StreamWriter | None = None
        request: Request | None = None
        if time.monotonic() < self._deaf_until:
            writer.transport.abort()
            return
        try:
            self._open.add(writer)
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            body = await _body(reader, rest)
            request = self._note(line, body)
            if request.operation and self._now("refuse") is not None:
                request.status, request.answered = 500, time.time()
                await _refuse(writer)
                return
            if (silent := self._now("silent")) is not None:
                await asyncio.sleep(max(0.0, silent.until - time.monotonic()))
            answers, engine = await asyncio.open_unix_connection(self._engine_socket, limit=1 << 16)
            engine.write(line + b"\r\nConnection: close\r\n" + _without_connection(rest) + body)
            await engine.drain()
            if request.operation:
                self._changed.set()
            await _both(_pump(reader, engine), self._answer(answers, writer, request))
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one of the two is gone: the other is told by its connection's end
        finally:
            self._open.discard(writer)
            if request is not None:
                request.closed = time.time()
            for each in (engine, writer):
                if each is not None:
                    each.close()

    def _note(self, line: bytes, body: bytes) -> Request:
        method, target, _ = line.decode("latin-1").split(" ", 2)
        path = (
            target.partition("/v1.")[2].partition("/")[2]
            if target.startswith("/v1.")
            else target[1:]
        )
        request = Request(method, f"/{path}", time.time(), body[:4096], self.name)
        self.calls += 1
        if request.stream:
            self.streams.append(request)
        if request.operation:
            self._by_container.setdefault(request.container, []).append(request)
            self._changes.append(request)
        return request

    async def _answer(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
    ) -> None:
        head = await answers.readuntil(b"\r\n\r\n")
        request.status = int(head.split(b" ", 2)[1])
        request.answered = time.time()
        await self._hold_back()
        writer.write(head)
        if request.stream and request.status == 200 and b"chunked" in head.lower():
            await self._lines(answers, writer)
        elif self._now("truncate") is not None:
            writer.write((await answers.read(65536))[:-7])
            await writer.drain()
            writer.transport.abort()
        else:
            await _pump(answers, writer)

    async def _hold_back(self) -> None:
        if (delay := self._now("delay")) is not None:
            await asyncio.sleep(delay.seconds)

    async def _lines(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The event stream, chunk by chunk: the engine puts each event into one of its own."""
        held = b""
        reading: asyncio.Task[bytes] = asyncio.tasks.Task(_chunk(answers))
        try:
            while True:
                if held:
                    await asyncio.wait([reading], timeout=SWAPPED_WITHIN)
                    if not reading.done():
                        writer.write(held)
                        held = b""
                chunk = await reading
                if not chunk:
                    writer.write(held + b"0\r\n\r\n")
                    return
                reading = asyncio.tasks.Task(_chunk(answers))
                await self._hold_back()
                if self._now("swap") is not None and not held:
                    held = chunk
                    continue
                if self._now("truncate") is not None:
                    writer.write(held + chunk[:-9])
                    await writer.drain()
                    writer.transport.abort()
                    return
                writer.write(self._spoil(chunk) + held)
                held = b""
                await writer.drain()
        finally:
            reading.cancel()

    def _spoil(self, chunk: bytes) -> bytes:
        if self._now("duplicate") is not None:
            return chunk + chunk
        if self._now("corrupt") is None or len(chunk) % 3:
            return chunk
        event = json.loads(chunk.partition(b"\r\n")[2])
        of_network = event["Type"] == "network"
        container = (
            event["Actor"]["Attributes"].get("container", "")
            if of_network
            else event["Actor"]["ID"]
        )
        self.spoilt.append(Spoilt(event["timeNano"] / 1e9, container, event["Action"]))
        return chunk.replace(b'"Type"', b'"Ty\x00e', 1)


async def _chunk(answers: asyncio.StreamReader) -> bytes:
    """One chunk as it stands on the wire; b"" at the end."""
    size = await answers.readuntil(b"\r\n")
    length = int(size.split(b";")[0], 16)
    return size + await answers.readexactly(length + 2) if length else b""


async def _refuse(writer: asyncio.StreamWriter) -> None:
    body = b'{"message":"the relay refuses"}'
    head = (
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: "
        b"close\r\n"
    )
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _body(reader: asyncio.StreamReader, rest: bytes) -> bytes:
    """A body of announced length (dockmend's JSON); one that is streamed is left to the pump."""
    for header in rest.split(b"\r\n"):
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length" and int(value) < 65536:
            return await reader.readexactly(int(value))
    return b""


def _without_connection(headers: bytes) -> bytes:
    kept = [each for each in headers.split(b"\r\n") if not each.lower().startswith(b"connection:")]
    return b"\r\n".join(kept)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


async def _both(*ways: Awaitable[Any]) -> None:
    """Until either way has ended: the connection is over then."""
    tasks: list[asyncio.Task[Any]] = [asyncio.tasks.Task(way) for way in ways]  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
