from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.engine.client import DockerEngine
from dockmend.engine.error_mapping import LONGEST, away, only_for, refused, tidy, translated
from dockmend.errors import EngineAway, NotFound, Permanent, Temporary


async def reason(url: str) -> str:
    engine = DockerEngine(url, timeout=5.0)
    try:
        with pytest.raises(EngineAway) as caught:
            await engine.ping()
    finally:
        await engine.close()
    assert caught.value.exit_code == 3
    return str(caught.value)


async def test_no_socket(tmp_path: Path) -> None:
    said = await reason(f"unix://{tmp_path}/none.sock")
    assert (
        said == f"cannot reach the engine at {tmp_path}/none.sock: no such socket: is the engine "
        "running?"
    )


async def test_a_socket_that_nobody_listens_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    assert (await reason(f"unix://{tmp_path}/left.sock")).endswith(
        "connection refused: is the engine running?"
    )


async def test_a_port_that_nobody_listens_at() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = await reason(f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert said.endswith("connection refused: is the engine running?")


async def test_a_line_that_is_closed_at_once(tmp_path: Path) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(close, tmp_path / "s"):
        assert "connection lost (" in await reason(f"unix://{tmp_path}/s")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "permission denied: run as root or as a member",
        ),
        (OSError(errno.EPERM, "x"), "permission denied"),
        (
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            "connection lost (Connection reset by peer)",
        ),
        (
            ssl.SSLError(1, "[SSL: WRONG] wrong version number (_ssl.c:1000)"),
            "TLS failed (wrong version number): check",
        ),
        (
            aiohttp.ClientOSError(1, "[SSL: ALERT] alert (_ssl.c:9)"),
            "TLS failed (alert): check the certificates",
        ),
        (aiohttp.ServerDisconnectedError(), "connection lost (Server disconnected)"),
        (aiohttp.ClientPayloadError(), "connection lost (ClientPayloadError)"),
    ],
)
def test_every_absence_has_its_sentence(error: Exception, said: str) -> None:
    assert said in str(away("tcp://far:2375", error))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (TimeoutError(), Temporary),
        (ConnectionResetError(), EngineAway),
        (aiohttp.ClientPayloadError("cut"), EngineAway),
        (aiohttp.InvalidURL("x"), Temporary),
        (KeyError("message"), Temporary),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Temporary),
        (LookupError("a fault of ours"), LookupError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
def test_what_a_call_may_raise(raised: BaseException, expected: type[BaseException]) -> None:
    with pytest.raises(expected) as caught, translated("inspect web", "unix:///a.sock"):
        raise raised
    assert type(caught.value) is expected


@given(st.text(max_size=1000))
def test_what_the_engine_says_becomes_one_printable_line(text: str) -> None:
    line = tidy(text)
    assert len(line) <= LONGEST
    assert line == line.strip()
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)
    assert str(refused("restart web", 500, text)).startswith("restart web: ")


def test_only_a_missing_container_is_not_found() -> None:
    missing = only_for(NotFound("start web: No such container: web", 404), "container")
    assert type(missing) is NotFound
    other = only_for(NotFound("start web: network abc not found", 404), "container")
    assert (type(other), other.status, str(other)) == (
        Permanent,
        404,
        "start web: network abc not found",
    )
