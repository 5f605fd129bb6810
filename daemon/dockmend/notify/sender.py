"""Hands messages to the process that holds apprise (apprise_process.py), and ends that process in
time.

The process is started with the first message and ends when it had none for a minute. What is not
answered by its deadline makes it unfit: it gets nothing new, another one is started for what
follows, and it is killed, with all that it started, as soon as its other requests are answered or
have reached their own deadline. So a receiver that hangs holds up no other, and never more than two
processes are at work for long.

A URL goes through standard input only: it is on no command line and in no environment. What the
library said of it is told without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import structlog

from dockmend.notify.apprise_process import LARGEST_ANSWER, SendAnswer, SendRequest
from dockmend.notify.message import Kind, Message, Severity
from dockmend.notify.url_redaction import wiped
from dockmend.settings.secrets import Secret

log = structlog.get_logger("dockmend.notify")

PATIENCE: Final = 30.0
"""Seconds for one message, once the process has loaded the library."""
START: Final = 300.0
"""Seconds for that. On a host that is short of processor or memory, when there is something to
tell, it takes longer than a message may: one that is killed meanwhile begins anew each time, and
nothing is ever sent."""
IDLE: Final = 60.0
"""Seconds without a message after which the process ends."""
LOOK: Final = 0.5
"""Seconds between looks at the clock while something is under way."""
PIPE_ENDS: Final = 2.0
"""Seconds for the pipes of a process that was killed to end: one that it started may hold them."""
COMMAND: Final = (sys.executable, "-I", "-B", "-m", "dockmend.notify.apprise_process")
"""-I: nothing of the environment or the current folder says which code runs."""
_PASSED_ON = frozenset({
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TZ",
})  # fmt: skip
"""What the process gets of dockmend's environment, which may hold URLs."""


class Verdict(NamedTuple):
    """`said`: what the library, or dockmend, has to say about it; nothing of the URL is in it."""

    accepted: bool
    said: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class _Child:
    process: asyncio.subprocess.Process
    started_at: float
    used_at: float
    ready_at: float | None = None
    fit: bool = True
    pending: dict[int, asyncio.Future[SendAnswer]] = field(default_factory=dict)


class Sender:
    """Used as an async context manager; at its end no process is left. `clock`: seconds; `environ`:
    dockmend's."""

    def __init__(
        self,
        clock: Callable[[], float],
        environ: Mapping[str, str],
        *,
        command: Sequence[str] = COMMAND,
        patience: float = PATIENCE,
        idle: float = IDLE,
    ) -> None:
        self._clock = clock
        self._environ = {name: value for name, value in environ.items() if name in _PASSED_ON}
        self._command = command
        self._patience = patience
        self._idle = idle
        self._children: set[_Child] = set()
        self._fit: _Child | None = None
        self._starting = asyncio.Lock()
        self._number = 0
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            _kill(child)
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def processes(self) -> list[int]:
        """The ids of those that run."""
        return [child.process.pid for child in self._children]

    async def send(self, url: Secret, message: Message, logs: int) -> Verdict:
        """One message to one URL; returns when it was accepted or refused, or the time is over.
        Raises nothing."""
        return await self._ask(
            SendRequest(
                id=0,
                url=url.reveal(),
                title=message.title,
                body=message.text(logs),
                type=type_of(message),
            )
        )

    async def look(self, url: Secret) -> Verdict:
        """Whether the library can be loaded and understands a URL; nothing is sent. As `send`."""
        return await self._ask(SendRequest(id=0, url=url.reveal(), only_look=True))

    async def _ask(self, request: SendRequest) -> Verdict:
        self._number += 1
        request = msgspec.structs.replace(request, id=self._number)
        asked_at = self._clock()
        try:
            child = await self._started()
        except OSError as error:
            return Verdict(
                accepted=False,
                said=(f"the process for messages cannot be started: {error.strerror}",),
            )
        future: asyncio.Future[SendAnswer] = asyncio.get_running_loop().create_future()
        child.pending[request.id] = future
        try:
            assert child.process.stdin is not None
            child.process.stdin.write(msgspec.json.encode(request) + b"\n")
            while not future.done() and self._clock() < self._deadline(child, asked_at):
                await asyncio.wait([future], timeout=LOOK)
            if future.done():
                answer = future.result()
                return Verdict(answer.accepted, wiped(answer.said, request.url))
            self._unfit(child)
            if child.ready_at is None:
                return Verdict(
                    accepted=False,
                    said=(f"the process for messages did not start within {START:.0f} s",),
                )
            return Verdict(accepted=False, said=(f"no answer within {self._patience:.0f} s",))
        finally:
            del child.pending[request.id]
            child.used_at = self._clock()
            if not child.fit and not child.pending:
                _kill(child)

    def _deadline(self, child: _Child, asked_at: float) -> float:
        if child.ready_at is None:
            return child.started_at + START
        return max(asked_at, child.ready_at) + self._patience

    async def _started(self) -> _Child:
        async with self._starting:
            if self._fit is not None:
                return self._fit
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL, cwd="/", start_new_session=True,
                limit=2 * LARGEST_ANSWER,
                # A home that is not there: the library's libraries look for settings and passwords
                # in it.
                env={**self._environ, "HOME": "/dev/null", "LANG": "C.UTF-8"},
            )  # fmt: skip
            self._fit = child = _Child(process, now := self._clock(), now)
            self._children.add(child)
            self._tasks.create_task(self._follow(child), name="messages")
            return child

    async def _follow(self, child: _Child) -> None:
        """Takes its answers until it ends, or has nothing to do for too long."""
        assert child.process.stdout is not None
        try:
            while True:
                try:
                    async with asyncio.timeout(LOOK):
                        line = await child.process.stdout.readline()
                except TimeoutError:
                    if not child.pending and self._clock() - child.used_at >= self._idle:
                        break
                    continue
                if not line:
                    break
                answer = msgspec.json.decode(line, type=SendAnswer)
                if child.ready_at is None:
                    child.ready_at = self._clock()
                if (future := child.pending.get(answer.id)) is not None and not future.done():
                    future.set_result(answer)
        except (ValueError, msgspec.MsgspecError):
            log.warning(
                "the process for messages said something that is no answer: it is ended",
                id="message_process_misbehaved",
            )
        finally:
            self._unfit(child)
            _kill(child)
            for number, future in child.pending.items():
                if not future.done():
                    future.set_result(
                        SendAnswer(
                            id=number, accepted=False, said=("the process for messages ended",)
                        )
                    )
            await _closed(child.process)
            self._children.discard(child)

    def _unfit(self, child: _Child) -> None:
        child.fit = False
        if self._fit is child:
            self._fit = None


async def _closed(process: asyncio.subprocess.Process) -> None:
    """Waits for the end of a process that was killed, and for that of its pipes: each holds a file
    descriptor."""
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(TimeoutError):  # another process may hold the pipe
        async with asyncio.timeout(PIPE_ENDS):
            await process.communicate()
    await process.wait()


def type_of(message: Message) -> str:
    """The library's word for what a message is: services show a colour or a sign by it."""
    if message.kind in (Kind.RESOLVED, Kind.HEALED):
        return "success"
    return {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}[
        message.severity
    ]


def _kill(child: _Child) -> None:
    """With everything that it started: it is the first of a session of its own."""
    if child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
