"""What really happened: every call dockmend makes, seen at a socket between it and the engine, and every engine event.

The engine's events do not say who asked. A relay that notes each request does; it changes nothing but one header
(`Connection: close`), so that one connection is one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import PrivateEngine

CHANGING = frozenset({"restart", "start", "stop", "kill", "pause", "unpause", "connect", "disconnect", "remove"})


@dataclass
class Request:
    """One call of dockmend's. Times are wall seconds; `status` None: no answer came (one of the two died)."""

    method: str
    path: str
    sent: float
    body: bytes = b""
    status: int | None = None
    answered: float | None = None
    closed: float | None = None

    @property
    def operation(self) -> str:
        """restart, start, connect, … for what changes a container; else ""."""
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.method == "POST" and len(parts) == 3 and parts[0] in {"containers", "networks"}:
            return parts[2] if parts[2] in CHANGING else ""
        return "remove" if self.method == "DELETE" and parts[0] == "containers" else ""

    @property
    def container(self) -> str:
        """The container's id as dockmend wrote it."""
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "networks":
            with contextlib.suppress(ValueError):
                return str(json.loads(self.body or b"{}").get("Container", ""))
            return ""
        return urllib.parse.unquote(parts[1]) if len(parts) > 1 else ""

    @property
    def stream(self) -> bool:
        """A subscription to events that goes on (questions about the past name an end)."""
        return self.path.startswith("/events") and "until=" not in self.path

    def overlaps(self, begin: float, end: float) -> bool:
        return self.sent <= end and (self.answered or self.closed or self.sent + 20.0) >= begin


class Relay:
    """Listens at `path` and passes on to the engine's socket, from a thread of its own; `requests` grows."""

    def __init__(self, engine: PrivateEngine) -> None:
        self.path = Path(engine.folder, "seen.sock")
        self.url = f"unix://{self.path}"
        self.requests: list[Request] = []
        self._engine_socket = str(engine.socket)
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._deaf_until = 0.0
        self._changed = threading.Event()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def start(self) -> Relay:
        self._thread.start()
        assert self._ready.wait(10), "the relay listens"
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def await_change(self, timeout: float) -> bool:
        """Waits until dockmend's next call that changes something has been passed on to the engine."""
        self._changed.clear()
        return self._changed.wait(timeout)

    def cut(self, deaf: float) -> None:
        """Cuts every connection of dockmend's, what it has asked being under way, and takes none for `deaf` seconds."""
        self._loop.call_soon_threadsafe(self._cut, deaf)

    def _cut(self, deaf: float) -> None:
        self._deaf_until = time.monotonic() + deaf
        for writer in list(self._open):
            writer.transport.abort()

    def changes(self, container: str | None = None) -> list[Request]:
        """Calls that change containers, oldest first."""
        return [
            each for each in list(self.requests)
            if each.operation and (container is None or each.container == container)
        ]  # fmt: skip

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._client, self.path)
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
            head = await reader.readuntil(b"\r\n\r\n")
            answers, engine = await asyncio.open_unix_connection(self._engine_socket)
            line, _, rest = head.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ", 2)
            body = await _body(reader, rest)
            path = target.partition("/v1.")[2].partition("/")[2] if target.startswith("/v1.") else target[1:]
            request = Request(method, f"/{path}", time.time(), body[:4096])
            self.requests.append(request)
            engine.write(line + b"\r\nConnection: close\r\n" + _without_connection(rest) + body)
            await engine.drain()
            self._open.add(writer)
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

    async def _answer(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        line = await answers.readuntil(b"\r\n")
        request.status = int(line.split(b" ", 2)[1])
        request.answered = time.time()
        writer.write(line)
        await _pump(answers, writer)


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


async def _both(*ways: Any) -> None:
    """Until either way has ended: the connection is over then."""
    tasks = [asyncio.tasks.Task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class Seen:
    """One event of the engine. `at`: wall seconds; `container`: its id, of network events too."""

    at: float
    kind: str
    action: str
    container: str
    network: str = ""


class EventLog:
    """Everything the engine says, over all its lives; `exec_*` events are counted by time only."""

    def __init__(self, engine: PrivateEngine) -> None:
        self.events: list[Seen] = []
        self.all_times: list[float] = []  # of every event, health checks' execs included: what the engine's ring held
        self._engine = engine
        self._keys: set[tuple[Any, ...]] = set()
        self._last = time.time()
        self._stop = threading.Event()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> EventLog:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def of(self, container: str, *actions: str, since: float = 0.0, until: float = float("inf")) -> Iterator[Seen]:
        for each in list(self.events):
            if each.container == container and since <= each.at <= until and (not actions or each.action in actions):
                yield each

    def _run(self) -> None:
        while not self._stop.is_set():
            # Where the engine is down, its next life is read from where this one ended.
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
                self._read()
            self._stop.wait(0.02)

    def _read(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(connection):
            connection.connect(str(self._engine.socket))
            self._connection = connection
            asked = http.client.HTTPConnection("docker")
            asked.sock = connection
            asked.request("GET", f"/events?since={self._last - 1.0:.9f}")
            response = asked.getresponse()
            while line := response.readline():
                self._note(json.loads(line))

    def _note(self, row: dict[str, Any]) -> None:
        actor, action = row["Actor"], row["Action"]
        key = (row["timeNano"], row["Type"], action, actor["ID"])
        if key in self._keys:
            return
        self._keys.add(key)
        at = row["timeNano"] / 1e9
        self._last = max(self._last, at)
        self.all_times.append(at)
        if not action.startswith("exec_"):
            of_network = row["Type"] == "network"
            container = actor["Attributes"].get("container", "") if of_network else actor["ID"]
            network = actor["Attributes"].get("name", "") if of_network else ""
            self.events.append(Seen(at, row["Type"], action, container, network))
