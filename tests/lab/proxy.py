"""A man in the middle: a socket before the engine's that holds one request, or its answer, or
spoils what is said.

What dies while dockmend waits there dies between two well-known points, and not wherever a sleep
happens to end.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .waiting import LIMIT

When = Literal["before", "during", "after"]


class Hold:
    """One request that will be caught: `reached` is set once it was."""

    def __init__(self, pattern: str, when: When) -> None:
        self.pattern = re.compile(pattern.encode())
        self.when = when
        self.reached = threading.Event()

    def wait(self, timeout: float = LIMIT) -> None:
        assert self.reached.wait(timeout), (
            f"no request matched {self.pattern.pattern!r} within {timeout:g} s"
        )


@dataclass
class Spoil:
    """Answers that are changed: each piece that the engine writes goes through `change`; b""
    swallows it, None cuts the connection. A whole other answer is a Refusal: of an answer in two
    pieces it would be given twice, and the second one would answer the next request of the
    connection. `taken`: how many requests it was applied to."""

    pattern: re.Pattern[bytes]
    change: Callable[[bytes], bytes | None]
    times: int | None = None  # requests it is applied to; None: all
    taken: int = 0

    def takes(self, request: bytes) -> bool:
        if (self.times is not None and self.taken >= self.times) or not self.pattern.search(
            request
        ):
            return False
        self.taken += 1
        return True


@dataclass
class Refusal:
    """Requests without a body that the engine never sees: they get `answer`. `taken`: how many
    there were."""

    pattern: re.Pattern[bytes]
    times: int | None  # None: all
    answer: bytes
    taken: int = 0

    def takes(self, request: bytes) -> bool:
        if (self.times is not None and self.taken >= self.times) or not self.pattern.search(
            request
        ):
            return False
        self.taken += 1
        return True


_WORD = b'{"message":"the proxy refuses"}\n'
REFUSAL = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: "
b"application/json\r\nContent-Length: %d\r\n\r\n%s") % (
    len(_WORD), _WORD,
)  # fmt: skip


@dataclass
class Deed:
    """What is done as a request comes, once, before the engine sees it."""

    pattern: re.Pattern[bytes]
    act: Callable[[], object]
    done: threading.Event = field(default_factory=threading.Event)


class HoldingProxy:
    """Passes everything on to the engine's socket until a request line matches a hold.

    `before`: the engine never sees the request. `during`: it does, at this moment. `after`: it has
    answered, and its answer is never passed on.
    """

    def __init__(self, engine: Path, folder: Path) -> None:
        self.engine = engine
        self.path = folder / "held.sock"
        self.url = f"unix://{self.path}"
        self._holds: list[Hold] = []
        self._spoils: list[Spoil] = []
        self._refusals: list[Refusal] = []
        self._deeds: list[Deed] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self, pattern: str, when: When) -> Hold:
        """Catch the next request whose "METHOD /path" matches."""
        one = Hold(pattern, when)
        with self._lock:
            self._holds.append(one)
        return one

    def meanwhile(self, pattern: str, act: Callable[[], object]) -> Deed:
        """Do something as the next request comes whose "METHOD /path" matches; the engine sees it
        afterwards."""
        one = Deed(re.compile(pattern.encode()), act)
        with self._lock:
            self._deeds.append(one)
        return one

    def spoil(
        self, pattern: str, change: Callable[[bytes], bytes | None], times: int | None = None
    ) -> Spoil:
        """Change the answers to requests whose "METHOD /path" matches, from now on; an open stream
        stays as it is."""
        one = Spoil(re.compile(pattern.encode()), change, times)
        with self._lock:
            self._spoils.append(one)
        return one

    def refuse(self, pattern: str, times: int | None = None, answer: bytes = REFUSAL) -> Refusal:
        """Answer the next requests whose "METHOD /path" matches in the engine's place."""
        one = Refusal(re.compile(pattern.encode()), times, answer)
        with self._lock:
            self._refusals.append(one)
        return one

    def release(self) -> None:
        """No request is caught or refused and no answer is spoilt from now on."""
        with self._lock:
            self._refusals.clear()
            self._holds.clear()
            self._spoils.clear()

    def cut(self) -> None:
        """Every connection ends, streams too."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._sockets):
            _end(one)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                engine.connect(str(self.engine))
            except OSError:
                client.close()
                engine.close()
                continue
            self._sockets |= {client, engine}
            line = _Line(client, engine)
            for target in (self._requests, self._answers):
                thread = threading.Thread(target=target, args=(line,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _requests(self, line: _Line) -> None:
        while data := _received(line.client):
            self._do(data)
            caught = self._caught(data)
            if caught is not None and caught.when == "before":
                caught.reached.set()
                continue
            if caught is not None and caught.when == "after":
                line.answered = caught
            if (refusal := self._refused(data)) is not None:
                if not _sent(line.client, refusal.answer):
                    break
                continue
            line.spoil = self._spoiling(data)
            if not _sent(line.engine, data):
                break
            if caught is not None and caught.when == "during":
                caught.reached.set()
        _end(line.engine)

    def _do(self, data: bytes) -> None:
        with self._lock:
            meant = [each for each in self._deeds if each.pattern.search(data)]
            self._deeds = [each for each in self._deeds if each not in meant]
        for each in meant:
            each.act()
            each.done.set()

    def _answers(self, line: _Line) -> None:
        while data := _received(line.engine):
            if line.answered is not None:
                line.answered.reached.set()
                continue  # the engine may go on writing: what it says is lost
            spoilt = line.spoil.change(data) if line.spoil is not None else data
            if spoilt is None or not _sent(line.client, spoilt):
                break
        _end(line.client)

    def _spoiling(self, data: bytes) -> Spoil | None:
        request = data.split(b"\r\n", 1)[0]
        with self._lock:
            return next((one for one in self._spoils if one.takes(request)), None)

    def _refused(self, data: bytes) -> Refusal | None:
        request = data.split(b"\r\n", 1)[0]
        with self._lock:
            return next((one for one in self._refusals if one.takes(request)), None)

    def _caught(self, data: bytes) -> Hold | None:
        request = data.split(b"\r\n", 1)[0]
        with self._lock:
            for one in self._holds:
                if one.pattern.search(request):
                    self._holds.remove(one)
                    return one
        return None


class _Line:
    """One connection and its other half."""

    def __init__(self, client: socket.socket, engine: socket.socket) -> None:
        self.client = client
        self.engine = engine
        self.answered: Hold | None = None  # whose answer is kept back
        self.spoil: Spoil | None = None  # what becomes of the present answer


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(1 << 18)
    except OSError:
        return b""


def _sent(one: socket.socket, data: bytes) -> bool:
    try:
        one.sendall(data)
    except OSError:
        return False
    return True


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
