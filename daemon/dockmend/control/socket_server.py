"""Serves the command socket: bounded, timed, and each request carries the uid the kernel vouches
for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import structlog

from dockmend import folders
from dockmend.control.control_api import (
    ARGUMENTS,
    CHANGING,
    LONGEST_TEXT,
    ControlApi,
    answered_within,
)
from dockmend.errors import DockmendError, UsageError
from dockmend.file_trust import Untrusted

LONGEST_LINE = 64 * 1024  # bytes of a request
LONGEST_PATH = 107  # bytes: sockaddr_un
MOST_CLIENTS = 32
IDLE = 30.0  # seconds a client may take over a request, or over reading its answer
LARGEST_NUMBER = 2**53  # beyond it a float is no whole number, and SQLite takes none

log = structlog.get_logger("dockmend.control")


class SocketServer:
    """`async with SocketServer(path, commands):` answers until it is left; the socket is removed
    then."""

    def __init__(
        self,
        path: Path,
        commands: ControlApi,
        idle: float = IDLE,
        answered: Callable[[str], float] = answered_within,
    ) -> None:
        self.path = path
        self.commands = commands
        self._idle = idle
        self._answered_within = answered
        self._clients: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._inode: int | None = None

    async def __aenter__(self) -> Self:
        listener = listen(self.path)
        try:
            self._server = await asyncio.start_unix_server(
                self._client, sock=listener, limit=LONGEST_LINE
            )
        except BaseException:
            listener.close()
            raise
        self._inode = self.path.lstat().st_ino
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:  # never a successor's
                self.path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MOST_CLIENTS:
                # a client that has not asked yet would find a closed socket, no answer
                async with asyncio.timeout(1):
                    await reader.readline()
                await self._write(
                    writer, _refusal(f"more than {MOST_CLIENTS} clients at once: try again", 3)
                )
                return
            actor = actor_of(writer)
            async for line in self._lines(reader):
                await self._write(writer, await self._answer(line, actor))
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The client went away, dawdled, or the daemon stops: there is nobody to tell. What is
            # unsent is dropped: a goodbye would wait until the client had read it, and keep the
            # client's place until then.
            writer.transport.abort()
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _lines(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes | None]:
        """Requests one by one; None, and the end, for a line that is too long."""
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    line = await reader.readline()
            except ValueError:
                yield None
                return
            if not line.endswith(b"\n"):
                return
            yield line

    async def _write(self, writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        writer.write(json.dumps(answer, ensure_ascii=True).encode() + b"\n")
        async with asyncio.timeout(self._idle):
            await writer.drain()

    async def _answer(self, line: bytes | None, actor: str) -> dict[str, Any]:
        within = 0.0
        try:
            command, arguments = parse(line)
            if command in CHANGING:
                log.info(
                    "command",
                    id="command",
                    command=command,
                    actor=actor,
                    **{f"arg_{key}": value for key, value in arguments.items()},
                )
                arguments = {"actor": actor, **arguments}
            within = self._answered_within(command)
            async with asyncio.timeout(within):
                return {"ok": True, "result": await getattr(self.commands, command)(**arguments)}
        except DockmendError as error:
            return _refusal(str(error), error.exit_code)
        except TimeoutError:
            return _refusal(f"no answer within {within:g} s: the daemon is busy, see its log", 1)
        except Exception:
            log.exception("command failed", id="command_failed")
            return _refusal("internal error in the daemon: its log says more, please report it", 1)


def _refusal(text: str, exit_code: int) -> dict[str, Any]:
    return {"ok": False, "error": text, "exit_code": exit_code}


def parse(line: bytes | None) -> tuple[str, dict[str, Any]]:
    """A request's command and checked arguments; UsageError says what is wrong. None: a line too
    long to read."""
    if line is None:
        raise UsageError(f"the request is longer than {LONGEST_LINE} bytes")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("the request is no JSON") from None
    if not isinstance(request, dict) or not isinstance(command := request.get("command"), str):
        raise UsageError('the request is not of the form {"command": NAME, "arguments": {…}}')
    if command not in ARGUMENTS:
        raise UsageError(
            f"unknown command {command[:40]!r}: this dockmend knows {', '.join(ARGUMENTS)}"
        )
    return command, _arguments(command, request.get("arguments") or {})


def _arguments(command: str, given: Any) -> dict[str, Any]:
    known = ARGUMENTS[command]
    if not isinstance(given, dict):
        raise UsageError("`arguments` is not a mapping")
    arguments = {key: value for key, value in given.items() if value is not None}
    for key, value in arguments.items():
        if key not in known:
            raise UsageError(f"{command}: unknown argument {key[:40]!r}")
        if not isinstance(value, known[key][0]) or isinstance(value, bool) is not (
            known[key][0] is bool
        ):
            raise UsageError(f"{command}: argument {key} has the wrong type")
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise UsageError(f"{command}: argument {key} is longer than {LONGEST_TEXT} characters")
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise UsageError(f"{command}: argument {key} is no text")
        if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
            raise UsageError(f"{command}: argument {key} is no number")
    for key, (_, needed) in known.items():
        if needed and key not in arguments:
            raise UsageError(f"{command}: argument {key} is missing")
    return arguments


def actor_of(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end, as the kernel knows it: "uid 1000 (ada)"."""
    raw = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    uid = struct.unpack("3i", raw)[1]
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0660; one that a dead daemon left behind is replaced.
    Raises UsageError."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(
            f"the command socket's path has more than {LONGEST_PATH} bytes: {path}: name a "
            "shorter one with --socket"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folders.made(path.parent, 0o755, shared=True)
        _clear(path)
        listener.bind(str(path))
        path.chmod(0o660)  # before listening: nobody can connect while the mode is the umask's
        listener.listen(MOST_CLIENTS)
        listener.setblocking(False)  # noqa: FBT003 - socket's own signature
    except Untrusted as error:
        listener.close()
        raise UsageError(
            f"the command socket {path} cannot be made: {error.place} {error}; or move it with "
            "--state or --socket"
        ) from None
    except OSError as error:
        listener.close()
        raise UsageError(
            f"the command socket {path} cannot be made: {error.strerror or error}: --state or "
            "--socket moves it"
        ) from None
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Removes a socket nobody answers at; UsageError where somebody does, or where it is something
    else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(
            f"{path} is there already and is no socket: name another place with --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise UsageError(
        f"another dockmend answers at {path}: stop it first, or use another --state or --socket"
    )
