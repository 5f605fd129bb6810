"""Commands run in containers, and what they write: the engine's exec.

The engine has no call that ends a command: leaving its output early leaves it running (moby issue
9098).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp

from dockmend.errors import NotFound

from .engine_api import Execution
from .engine_queries import EngineQueries, short
from .error_mapping import only_for, translated
from .transport import path, segment
from .wire import WireExecution, WireId, execution_decoder, id_decoder

HEADER = 8
"""Bytes before each piece of output: which of the two it is, three zeros, and its length (Engine
API, attach)."""
LARGEST_TAIL = 64 * 1024
"""Bytes of a log's end that are kept: one line can be of any length."""


class ExecCommands(EngineQueries):
    """The part of the engine that runs commands in containers."""

    @asynccontextmanager
    async def logs(self, container: str) -> AsyncIterator[AsyncIterator[bytes]]:
        what = f"logs of {short(container)}"
        request = path(
            "containers", segment(container, what), "logs", query={"stdout": "1", "stderr": "1"}
        )
        async with self._transport.stream(what, request) as response:
            pieces = self._pieces(response, what)
            try:
                yield pieces
            finally:
                await pieces.aclose()

    async def last_lines(self, container: str, count: int, *, terminal: bool) -> list[str]:
        what = f"logs of {short(container)}"
        query = {"stdout": "1", "stderr": "1", "tail": str(count)}
        request = path("containers", segment(container, what), "logs", query=query)
        kept = bytearray()
        async with self._transport.stream(what, request) as response:
            pieces = self._as_it_comes(response, what) if terminal else self._pieces(response, what)
            try:
                async for piece in pieces:
                    kept += piece
                    del kept[:-LARGEST_TAIL]
            finally:
                await pieces.aclose()
        return bytes(kept).decode(errors="replace").splitlines()[-count:]

    async def exec_create(
        self,
        container: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        workdir: str | None = None,
    ) -> str:
        what = f"exec in {short(container)}"
        body = {
            "AttachStdout": True, "AttachStderr": True, "Cmd": list(command), "User": user or "",
            "WorkingDir": workdir or "",
            "Env": [f"{key}={value}" for key, value in (env or {}).items()],
        }  # fmt: skip
        request = path("containers", segment(container, what), "exec")
        try:
            answer = await self._transport.call(what, request, "POST", body=body)
        except NotFound as error:
            raise only_for(error, "container") from None
        made: WireId = self._transport.decoded(id_decoder, answer, what)
        return made.Id

    @asynccontextmanager
    async def exec_start(self, execution: str) -> AsyncIterator[AsyncIterator[bytes]]:
        what = f"exec {short(execution)}"
        request = path("exec", segment(execution, what), "start")
        async with self._transport.stream(
            what, request, "POST", body={"Detach": False, "Tty": False}
        ) as response:
            pieces = self._pieces(response, what)
            try:
                yield pieces
            finally:
                await pieces.aclose()

    async def exec_inspect(self, execution: str) -> Execution:
        what = f"inspect exec {short(execution)}"
        answer = await self._transport.call(what, path("exec", segment(execution, what), "json"))
        wire: WireExecution = self._transport.decoded(execution_decoder, answer, what)
        return Execution(wire.Running, None if wire.Running else wire.ExitCode, wire.Pid)

    async def _as_it_comes(
        self, response: aiohttp.ClientResponse, what: str
    ) -> AsyncGenerator[bytes, None]:
        """What a terminal was sent: there are no headers between."""
        while True:
            with translated(what, self._transport.url):
                chunk = await response.content.readany()
            if not chunk:
                return
            yield chunk

    async def _pieces(
        self, response: aiohttp.ClientResponse, what: str
    ) -> AsyncGenerator[bytes, None]:
        """What was written, without the headers between; a piece may come in parts."""
        waiting, left = b"", 0
        while True:
            with translated(what, self._transport.url):
                chunk = await response.content.readany()
            if not chunk:
                return
            waiting += chunk
            while waiting:
                if left:
                    yield waiting[:left]
                    left, waiting = max(0, left - len(waiting)), waiting[left:]
                elif len(waiting) >= HEADER:
                    left, waiting = int.from_bytes(waiting[4:HEADER], "big"), waiting[HEADER:]
                else:
                    break
