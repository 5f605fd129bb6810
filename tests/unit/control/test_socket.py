"""The command socket with a real socket, a real client and a daemon that only remembers what it was
told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from dockmend.control import socket_server as serving
from dockmend.control.control_api import answered_within
from dockmend.control.socket_client import Refused, SocketClient
from dockmend.control.socket_server import LONGEST_LINE, SocketServer
from dockmend.errors import DockmendError, Unreachable, UsageError
from dockmend.notify import sender
from tests.lab.waiting import eventually_async


class Daemon:
    """Records each call and answers with it; `fault` is raised instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fault: Exception | None = None
        self.called = asyncio.Event()
        self.gate: asyncio.Event | None = None

    def __getattr__(self, name: str) -> Any:
        async def command(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            self.called.set()
            if self.gate is not None:
                await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            return {"text": name}

        return command


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dockmend.sock"


async def ask(path: Path, command: str, **arguments: Any) -> Any:
    return await asyncio.to_thread(SocketClient(path, 10).ask, command, **arguments)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def raw(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        await hang_up(writer)


async def test_an_answer_comes_back_and_the_actor_is_the_kernels_word(path):
    daemon = Daemon()
    async with SocketServer(path, daemon):
        assert await ask(path, "status") == {"text": "status"}
        await ask(path, "pause", rule="r", container=None, for_=60.0)
        await raw(path, b'{"command": "resume", "arguments": {"rule": "r"}}\n')
    me = f"uid {os.getuid()}"
    assert daemon.calls[0] == ("status", {})
    name, arguments = daemon.calls[1]
    assert (name, arguments["rule"], arguments["for_"]) == ("pause", "r", 60.0)
    assert arguments["actor"].split(" (")[0] == me
    assert "container" not in arguments


async def test_a_client_cannot_choose_the_actor(path):
    daemon = Daemon()
    async with SocketServer(path, daemon):
        with pytest.raises(Refused, match="unknown argument 'actor'"):
            await ask(path, "pause", actor="uid 0 (root)")
    assert daemon.calls == []


async def test_the_socket_is_0660_and_gone_at_the_end(path):
    async with SocketServer(path, Daemon()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_a_socket_left_behind_is_replaced(path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with SocketServer(path, Daemon()):
        assert await ask(path, "status") == {"text": "status"}


async def test_a_second_daemon_is_refused_and_the_first_goes_on(path):
    async with SocketServer(path, Daemon()):
        with pytest.raises(UsageError, match="another dockmend answers"):
            await SocketServer(path, Daemon()).__aenter__()
        assert await ask(path, "status") == {"text": "status"}


async def test_a_file_in_the_way_is_never_removed(path):
    path.write_text("mine")
    with pytest.raises(UsageError, match="is no socket"):
        await SocketServer(path, Daemon()).__aenter__()
    assert path.read_text() == "mine"


async def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    with pytest.raises(UsageError, match="--socket"):
        await SocketServer(tmp_path / ("x" * 120), Daemon()).__aenter__()


async def test_the_daemons_own_sentence_and_exit_code_arrive(path):
    daemon = Daemon()
    async with SocketServer(path, daemon):
        for fault, code in (
            (UsageError("no rule x"), 2),
            (Unreachable("engine away"), 3),
            (DockmendError("no"), 1),
        ):
            daemon.fault = fault
            with pytest.raises(Refused, match=str(fault)) as caught:
                await ask(path, "reload")
            assert caught.value.exit_code == code


async def test_a_fault_in_the_daemon_is_a_sentence_not_a_traceback(path):
    daemon = Daemon()
    daemon.fault = ZeroDivisionError("secret detail")
    async with SocketServer(path, daemon):
        with pytest.raises(Refused, match="internal error") as caught:
            await ask(path, "status")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[" * 20_000 + b"\n", "no JSON"),
        (b"[]\n", "not of the form"),
        (b'{"command": 5}\n', "not of the form"),
        (b'{"command": "__class__"}\n', "unknown command"),
        (b'{"command": "pause", "arguments": []}\n', ""),
        (b'{"command": "pause", "arguments": [1]}\n', "not a mapping"),
        (b'{"command": "pause", "arguments": {"for_": "1h"}}\n', "wrong type"),
        (b'{"command": "pause", "arguments": {"for_": true}}\n', "wrong type"),
        (
            (
                b'{"command": "trigger", "arguments": {"rule": "r", "name": "n", '
                b'"even_if_stopped": 1}}\n'
            ),
            "wrong type",
        ),
        (b'{"command": "pause", "arguments": {"for_": NaN}}\n', "no number"),
        (b'{"command": "reset", "arguments": {"rule": "a"}}\n', "target is missing"),
        (
            b'{"command": "reset", "arguments": {"rule": "a", "target": "' + b"x" * 5000 + b'"}}\n',
            "longer than",
        ),
        (b"x" * (LONGEST_LINE + 100) + b"\n", "longer than"),
    ],
)
async def test_requests_that_make_no_sense_are_refused(path, line, expected):
    daemon = Daemon()
    async with SocketServer(path, daemon):
        answer = json.loads(await raw(path, line))
        assert await ask(path, "status") == {"text": "status"}, "the server lives on"
    if expected:
        assert answer["ok"] is False
        assert answer["exit_code"] == 2
        assert expected in answer["error"]
    else:
        assert answer["ok"] is True, "an empty list stands for no arguments"


async def test_a_client_that_says_nothing_is_hung_up_on(path):
    async with SocketServer(path, Daemon(), idle=0.05):
        reader, writer = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        await hang_up(writer)


async def test_a_client_that_does_not_read_its_answer_is_hung_up_on(path):
    class Large(Daemon):
        async def status(self) -> Any:
            return "x" * 10_000_000

    async with SocketServer(path, Large(), idle=0.2) as server:
        _, writer = await asyncio.open_unix_connection(path, limit=1024)
        writer.write(b'{"command": "status"}\n')
        await eventually_async(lambda: server._clients)
        await eventually_async(lambda: not server._clients, what="its place is free again")
        writer.transport.abort()


async def test_a_command_that_never_ends_is_answered(path):
    daemon = Daemon()
    daemon.gate = asyncio.Event()
    async with SocketServer(path, daemon, answered=lambda command: 0.05):
        with pytest.raises(Refused, match="no answer within"):
            await ask(path, "reload")


async def test_a_command_is_given_its_own_time(path):
    within = {"status": 60.0, "reload": 0.05}
    daemon = Daemon()
    daemon.gate = asyncio.Event()
    async with SocketServer(path, daemon, answered=within.__getitem__):
        with pytest.raises(Refused, match=r"no answer within 0\.05 s"):
            await ask(path, "reload")
        daemon.gate.set()
        await ask(path, "status")


def test_a_sample_message_is_given_the_time_that_its_sending_may_take():
    assert answered_within("notify_test") > sender.START + sender.PATIENCE
    assert answered_within("status") == 60.0


async def test_leaving_ends_a_client_that_waits(path):
    daemon = Daemon()
    daemon.gate = asyncio.Event()
    async with SocketServer(path, daemon):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "status"}\n')
        async with asyncio.timeout(10):
            await daemon.called.wait()
    assert await reader.read() == b""
    await hang_up(writer)


async def test_too_many_clients_are_told_so(path, monkeypatch):
    monkeypatch.setattr(serving, "MOST_CLIENTS", 1)
    async with SocketServer(path, Daemon()):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "status"}\n')
        await reader.readline()
        with pytest.raises(Refused, match="clients at once") as caught:
            await ask(path, "status")
        assert caught.value.exit_code == 3
        await hang_up(writer)


async def test_who_is_told_so_has_asked_first(path, monkeypatch):
    monkeypatch.setattr(serving, "MOST_CLIENTS", 0)
    async with SocketServer(path, Daemon()):
        reader, writer = await asyncio.open_unix_connection(path)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readline()
        writer.write(b'{"command": "status"}\n')
        assert b"clients at once" in await reader.readline()
        await hang_up(writer)


def test_where_nobody_answers_the_person_learns_what_to_do(path):
    with pytest.raises(Unreachable, match="is it running") as caught:
        SocketClient(path).ask("status")
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"[]\n", b"{}\n", b'{"ok": false}\n'])
async def test_something_else_at_the_socket_is_no_traceback(path, answer):
    async def other(reader, writer):
        await reader.readline()
        writer.write(answer)
        await hang_up(writer)

    server = await asyncio.start_unix_server(other, path)
    try:
        with pytest.raises(Unreachable):
            await ask(path, "status")
    finally:
        server.close()


@pytest.mark.parametrize(
    "arguments",
    [{"since": 10**400}, {"since": 2**64}, {"since": float("inf")}, {"container": "\ud800"}],
)
def test_what_no_journal_takes_is_refused(arguments: dict[str, object]):
    line = json.dumps({"command": "incidents", "arguments": arguments}).encode()
    with pytest.raises(UsageError, match=r"is no (number|text)"):
        serving.parse(line)
