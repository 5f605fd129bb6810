"""HTTP: what is open where, who is refused, and that nobody ever reads a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from dockmend.errors import JournalError, UsageError
from dockmend.settings.model import Http, Settings
from dockmend.settings.secrets import Secret
from dockmend.settings.values import Address
from dockmend.web import server as server_module
from dockmend.web.guard import host_allowed, token_allowed
from dockmend.web.server import WebServer
from tests.lab.waiting import eventually_async

LOOPBACK = Address("127.0.0.1", 0)
EVERYWHERE = Address("0.0.0.0", 0)
OPEN = ("/metrics", "/healthz", "/readyz")
API = ("/api/status", "/api/rules", "/api/containers", "/api/incidents", "/api/incidents/i1")


class Fake:
    """A daemon that answers, or fails as it is told to."""

    def __init__(self) -> None:
        self.parts: dict[str, str | None] = {"engine": None, "journal": None}
        self.asked: list[Any] = []
        self.fault: Exception | None = None

    def metrics(self) -> bytes:
        return b"dockmend_engine_up 1.0\n"

    def ready(self) -> dict[str, str | None]:
        return self.parts

    async def status(self) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        return {"version": "0.1.0"}

    async def rules(self) -> dict[str, Any]:
        return {"rules": []}

    async def containers(self) -> list[dict[str, Any]]:
        return [{"name": "<script>"}]

    async def incidents(self, container: str | None = None, since: float | None = None, limit: int = 100) -> list[Any]:
        self.asked.append((container, since, limit))
        return []

    async def incident(self, id: str) -> dict[str, Any]:
        if id != "i1":
            raise UsageError(f"there is no incident {id!r}")
        return {"incident": {"id": id}, "actions": []}


@contextlib.asynccontextmanager
async def serving(
    source: Fake | None = None, tokens: dict[str, str] | None = None, **http: Any
) -> AsyncIterator[WebServer]:
    settings = Settings(http=Http.model_construct(**{"listen": None, "metrics_listen": None, **http}))
    settings._secrets = {key: Secret(value) for key, value in (tokens or {}).items()}
    server = WebServer(settings, source or Fake(), names=("proxy.example",))
    task = asyncio.Task(server.run())
    try:
        await eventually_async(lambda: server.addresses or task.done())
        if task.done():
            task.result()
        yield server
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, UsageError):
            await task


async def ask(
    server: WebServer, path: str, *, method: str = "GET", at: int = 0, **options: Any
) -> tuple[int, Any, Any]:
    """(status, body: JSON where it is, headers)."""
    url = f"http://127.0.0.1:{server.addresses[at].port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
        body = await answer.text()
        if "json" in answer.headers.get("Content-Type", "") and body:
            return answer.status, json.loads(body), answer.headers
        return answer.status, body, answer.headers


async def test_on_loopback_everything_is_open():
    async with serving(listen=LOOPBACK) as server:
        for path in (*OPEN, *API):
            status, body, headers = await ask(server, path)
            assert (path, status) == (path, 200)
            assert body != ""
            assert headers["Server"] == "dockmend"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert await ask(server, "/healthz", method="HEAD")
        status, body, headers = await ask(server, "/metrics")
        assert body == "dockmend_engine_up 1.0\n"
        assert headers["Content-Type"].startswith("text/plain; version=")


async def test_nothing_can_be_changed_and_other_paths_are_sentences():
    async with serving(listen=LOOPBACK) as server:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            status, body, headers = await ask(server, "/api/status", method=method)
            assert status == 405
            assert "nothing can be changed" in body["error"]
            assert headers["Allow"] == "GET,HEAD"
        for path in ("/", "/api", "/api/nothing", "/metrics/", "/../etc/passwd", "/api/incidents/i1/x"):
            status, body, _ = await ask(server, path)
            assert status == 404
            assert body["error"]


async def test_not_ready_names_each_part_and_why():
    source = Fake()
    source.parts = {"engine": "connection refused", "journal": "the disk is full", "rules": None}
    async with serving(source, listen=LOOPBACK) as server:
        status, body, _ = await ask(server, "/readyz")
        assert status == 503
        assert body == {"ready": False, "not_ready": {"engine": "connection refused", "journal": "the disk is full"}}
        assert (await ask(server, "/healthz"))[0] == 200
        source.parts = {"engine": None}
        assert (await ask(server, "/readyz"))[:2] == (200, {"ready": True, "parts": ["engine"]})


async def test_off_loopback_all_but_three_need_a_token():
    tokens = {"http.token": "may-change", "http.read_token": "may-look"}
    async with serving(listen=EVERYWHERE, tokens=tokens) as server:
        for path in OPEN:
            assert (await ask(server, path))[0] == 200
        for path in (*API, "/", "/api/nothing"):
            status, _, headers = await ask(server, path)
            assert (path, status) == (path, 401)
            assert headers["WWW-Authenticate"] == "Bearer"
        for given in ("Bearer wrong", "Bearer may-loo", "Bearer may-lookk", "Bearer ", "Basic may-look", "may-look"):
            assert (await ask(server, "/api/status", headers={"Authorization": given}))[0] == 401
        for token in ("may-look", "may-change"):
            assert (await ask(server, "/api/status", headers={"Authorization": f"Bearer {token}"}))[0] == 200


async def test_off_loopback_without_a_token_there_is_no_api():
    async with serving(listen=EVERYWHERE) as server:
        for path in API:
            assert (path, (await ask(server, path))[0]) == (path, 404)
        for path in OPEN:
            assert (await ask(server, path))[0] == 200


async def test_the_metrics_address_serves_the_three_only():
    async with serving(listen=LOOPBACK, metrics_listen=EVERYWHERE, tokens={"http.read_token": "t"}) as server:
        assert (await ask(server, "/api/status"))[0] == 200
        for path in OPEN:
            assert (await ask(server, path, at=1))[0] == 200
        for path in (*API, "/"):
            assert (await ask(server, path, at=1, headers={"Authorization": "Bearer t"}))[0] == 404


async def test_names_of_strangers_are_refused():
    async with serving(listen=LOOPBACK) as server:
        for host in ("localhost", "LOCALHOST:9468", "127.0.0.1:1", "[::1]:9468", "proxy.example:443", "Proxy.Example."):
            assert (host, (await ask(server, "/api/status", headers={"Host": host}))[0]) == (host, 200)
        for host in ("evil.example", "evil.example:9468", "localhost.evil.example", "127.0.0.1.evil.example", ""):
            for path in ("/api/status", "/metrics", "/"):
                assert (host, (await ask(server, path, headers={"Host": host}))[0]) == (host, 421)
    async with serving(listen=EVERYWHERE, tokens={"http.read_token": "t"}) as server:
        # A Prometheus elsewhere uses whatever name it knows this host by.
        assert (await ask(server, "/metrics", headers={"Host": "docker1.lan:9468"}))[0] == 200


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, False), ("", False), ("localhost", True), ("localhost:", True), ("localhost:x", False),
        ("localhost:1:2", False), ("[::1]", True), ("[::1]:80", True), ("[::1", False), ("[evil]:80", False),
        ("::1", False), ("10.0.0.1:80", True), ("host1", True), ("host1.", True), ("xhost1", False),
        ("host1.evil", False),
    ],
)  # fmt: skip
def test_hosts(header, allowed):
    assert host_allowed(header, ["Host1"]) is allowed


def test_tokens():
    tokens = [Secret("one"), Secret("two")]
    assert token_allowed("Bearer one", tokens)
    assert token_allowed("bearer  two ", tokens)
    for wrong in (None, "", "Bearer", "Bearer ", "Bearer onetwo", "one", "Basic one", "Bearer \udcff"):
        assert not token_allowed(wrong, tokens)
    assert not token_allowed("Bearer ", [])


async def test_questions_are_checked():
    source = Fake()
    async with serving(source, listen=LOOPBACK) as server:
        assert (await ask(server, "/api/incidents?container=web&since=17.5&limit=5"))[:2] == (200, [])
        assert (await ask(server, "/api/incidents?since=1d"))[0] == 200
        assert source.asked[0] == ("web", 17.5, 5)
        assert source.asked[1][1] > 1_700_000_000
        wrong = (
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=-1",
            f"limit={'9' * 50}",
            "since=soon",
            "since=nan",
            "size=1",
        )
        for query in wrong:
            status, body, _ = await ask(server, f"/api/incidents?{query}")
            assert (query, status) == (query, 400)
            assert body["error"]
        status, body, _ = await ask(server, "/api/incidents/none%0d%0aX:y")
        assert status == 404
        assert "there is no incident" in body["error"]


async def test_a_fault_is_a_sentence_never_a_traceback():
    source = Fake()
    async with serving(source, listen=LOOPBACK) as server:
        source.fault = RuntimeError("secret inside")
        status, body, headers = await ask(server, "/api/status")
        assert (status, body) == (500, {"error": "a fault of dockmend's own: see its log"})
        assert headers["X-Content-Type-Options"] == "nosniff"
        source.fault = JournalError("the journal cannot be read")
        assert (await ask(server, "/api/status"))[:2] == (503, {"error": "the journal cannot be read"})


async def test_an_answer_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(server_module, "PATIENCE", 0.05)
    source = Fake()

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    source.status = never  # type: ignore[method-assign]
    async with serving(source, listen=LOOPBACK) as server:
        status, body, _ = await ask(server, "/api/status")
        assert status == 503
        assert "no answer" in body["error"]


async def raw(server: WebServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
    answer = b""
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):  # hung up on with bytes of ours unread
                while chunk := await reader.read(1000):
                    answer += chunk
    finally:
        writer.close()
    return answer


async def test_nonsense_and_endless_requests_are_cut_short(monkeypatch, caplog):
    monkeypatch.setattr(server_module, "IDLE", 0.2)
    async with serving(listen=LOOPBACK) as server:
        endless = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n"
        for request in (
            b"\x16\x03\x01 no http\r\n\r\n",
            b"GET /metrics HTTP/9\r\n\r\n",
            b"GET /" + b"x" * 100_000,
            endless,
        ):
            answer = await raw(server, request)
            assert b" 400 " in answer[:20] or not answer
            assert b"Traceback" not in answer
    assert not caplog.records  # strangers do not fill the log
    async with serving(listen=LOOPBACK) as server:
        assert await raw(server, b"GET /metrics HTTP/1.1\r\nHost: loc") == b""  # hung up on when its time is over
        assert (await ask(server, "/metrics"))[0] == 200


async def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 3)
    async with serving(listen=LOOPBACK) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
            stack.callback(writer.close)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        with pytest.raises(aiohttp.ClientError):
            await ask(server, "/healthz")
    async with serving(listen=LOOPBACK) as server:
        assert (await ask(server, "/healthz"))[0] == 200


async def test_an_address_in_use_is_said():
    async with serving(listen=LOOPBACK) as server:
        taken = server.addresses[0]
        with pytest.raises(UsageError, match=f"cannot listen at {taken}.*in use"):
            async with serving(listen=taken):
                pass
