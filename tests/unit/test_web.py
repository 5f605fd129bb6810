"""HTTP: what is open where, who is refused, and that nobody ever reads a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dockmend.errors import JournalError, UsageError
from dockmend.settings.parsed_values import Address
from dockmend.settings.secrets import Secret
from dockmend.settings.sections import HttpSettings
from dockmend.web import connections as connections_module
from dockmend.web import http_exchange as exchange_module
from dockmend.web import http_server as server_module
from dockmend.web.host_guard import host_allowed
from dockmend.web.http_server import SharedPage, WebServer
from dockmend.web.paging import Row
from dockmend.web.response_budget import ResponseBudget, ResponseBudgetFull
from dockmend.web.tokens import Right, Token, Tokens
from tests.lab.waiting import eventually_async

LOOPBACK = Address("127.0.0.1", 0)
EVERYWHERE = Address("0.0.0.0", 0)
OPEN = ("/metrics", "/healthz", "/readyz")
API = ("/api/status", "/api/rules", "/api/containers", "/api/incidents", "/api/incidents/i1")


class Fake:
    """A daemon that answers, or fails as it is told to."""

    def __init__(self) -> None:
        self.parts: dict[str, str | None] = {"engine": None, "journal": None}
        self.reasons: dict[str, str] = {}
        self.asked: list[Any] = []
        self.lists: dict[str, Any] = {}
        self.rows: list[Row] = [("a", {"name": "<script>"})]
        self.made = 0  # rows of containers that were asked for
        self.fault: Exception | None = None

    def metrics(self) -> Callable[[], bytes]:
        return lambda: b"dockmend_engine_up 1.0\n"

    def ready(self) -> dict[str, str | None]:
        return self.parts

    def not_acting(self) -> dict[str, str]:
        return self.reasons

    async def status(self) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        return {"version": "0.1.0", **self.lists}

    async def rules(self, after: str | None) -> tuple[dict[str, Any], list[Row]]:
        self.asked.append(after)
        return {"problems": []}, self.rows

    def containers(self, after: str | None) -> Iterator[Row]:
        for cursor, row in self.rows:
            if after is None or cursor > after:
                self.made += 1
                yield cursor, row

    async def incidents(
        self, container: str | None, since: float | None, after: str | None, limit: int
    ) -> list[Row]:
        self.asked.append((container, since, after, limit))
        return []

    async def incident(self, id: str, after: str | None, limit: int) -> tuple[Any, list[Row]]:
        if id != "i1":
            raise UsageError(f"there is no incident {id!r}")
        return {"id": id}, self.rows[:limit]


READ, FULL = "may-look", "may-change"
TOKENS = Tokens((
    Token(Secret(READ, Path("/state/http.read.token")), Right.READ),
    Token(Secret(FULL, Path("/state/http.token")), Right.FULL),
))  # fmt: skip


@contextlib.asynccontextmanager
async def serving(
    source: Fake | None = None, tokens: Tokens = TOKENS, **http: Any
) -> AsyncIterator[WebServer]:
    settings = HttpSettings.model_construct(**{"listen": None, "metrics_listen": None, **http})
    server = WebServer(settings, source or Fake(), tokens)
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
    server: WebServer,
    path: str,
    *,
    method: str = "GET",
    at: int = 0,
    token: str | None = READ,
    **options: Any,
) -> tuple[int, Any, Any]:
    """(status, body: JSON where it is, headers)."""
    url = f"http://127.0.0.1:{server.addresses[at].port}{path}"
    if token is not None:
        options["headers"] = {"Authorization": f"Bearer {token}", **options.get("headers", {})}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as answer,
    ):
        body = await answer.text()
        if "json" in answer.headers.get("Content-Type", "") and body:
            return answer.status, json.loads(body), answer.headers
        return answer.status, body, answer.headers


@pytest.mark.parametrize("address", [LOOPBACK, EVERYWHERE], ids=["loopback", "everywhere"])
async def test_three_are_open_and_everything_else_needs_a_token(address):
    async with serving(listen=address) as server:
        for path in OPEN:
            assert (path, (await ask(server, path, token=None))[0]) == (path, 200)
        for path in (*API, "/", "/api/nothing"):
            status, body, headers = await ask(server, path, token=None)
            assert (path, status) == (path, 401)
            assert headers["WWW-Authenticate"] == "Bearer"
            assert "/state/http.read.token" in body["error"]  # where it is …
            assert READ not in body["error"]  # … and not what it is
        for given in (
            "Bearer wrong",
            "Bearer may-loo",
            "Bearer may-lookk",
            "Bearer ",
            "Basic may-look",
            "may-look",
        ):
            assert (await ask(server, "/api/status", token=None, headers={"Authorization": given}))[
                0
            ] == 401
        for token in (READ, FULL):
            for path in API:
                assert (path, (await ask(server, path, token=token))[0]) == (path, 200)


async def test_what_changes_something_needs_the_full_token():
    async with serving(listen=LOOPBACK) as server:
        status, body, _ = await ask(server, "/api/status", method="POST", token=READ)
        assert status == 403
        assert "/state/http.token" in body["error"]
        assert "http.read.token" not in body["error"]
        assert (await ask(server, "/api/status", method="POST", token=FULL))[0] == 405
        assert (await ask(server, "/api/status", method="POST", token=None))[0] == 401


async def test_without_any_token_nobody_is_let_in():
    missing = Tokens(problems=("the token /state/http.token cannot be made: the disk is full",))
    async with serving(listen=LOOPBACK, tokens=missing) as server:
        status, body, _ = await ask(server, "/api/status")
        assert status == 503
        assert "the disk is full" in body["error"]
        assert (await ask(server, "/healthz"))[0] == 200


async def test_answers_tell_a_browser_to_keep_its_hands_off():
    async with serving(listen=LOOPBACK) as server:
        for path in (*OPEN, *API):
            status, body, headers = await ask(server, path)
            assert (path, status) == (path, 200)
            assert body != ""
            assert headers["Server"] == "dockmend"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        status, body, headers = await ask(server, "/healthz", method="HEAD")
        assert (status, body) == (200, "")
        status, body, headers = await ask(server, "/metrics")
        assert body == "dockmend_engine_up 1.0\n"
        assert headers["Content-Type"].startswith("text/plain; version=")


async def test_nothing_can_be_changed_and_other_paths_are_sentences():
    async with serving(listen=LOOPBACK) as server:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            status, body, headers = await ask(server, "/api/status", method=method, token=FULL)
            assert status == 405
            assert "nothing can be changed" in body["error"]
            assert headers["Allow"] == "GET,HEAD"
        for path in (
            "/",
            "/api",
            "/api/nothing",
            "/metrics/",
            "/../etc/passwd",
            "/api/incidents/i1/x",
        ):
            status, body, _ = await ask(server, path)
            assert status == 404
            assert body["error"]


async def test_not_ready_names_each_part_and_why():
    source = Fake()
    source.parts = {"engine": "connection refused", "journal": "the disk is full", "rules": None}
    async with serving(source, listen=LOOPBACK) as server:
        status, body, _ = await ask(server, "/readyz")
        assert status == 503
        assert body == {
            "ready": False,
            "not_ready": {"engine": "connection refused", "journal": "the disk is full"},
        }
        assert (await ask(server, "/healthz"))[0] == 200
        source.parts = {"engine": None}
        assert (await ask(server, "/readyz"))[:2] == (200, {"ready": True, "parts": ["engine"]})


async def test_one_that_only_watches_is_alive_and_says_why_it_does_not_act():
    source = Fake()
    async with serving(source, listen=LOOPBACK) as server:
        assert (await ask(server, "/healthz"))[:2] == (
            200,
            {"alive": True, "acting": True, "not_acting": {}},
        )
        source.reasons = {"dry_run": "this is a dry run"}
        assert (await ask(server, "/healthz"))[:2] == (
            200,
            {"alive": True, "acting": False, "not_acting": {"dry_run": "this is a dry run"}},
        )


async def test_the_metrics_address_serves_the_three_only():
    async with serving(listen=LOOPBACK, metrics_listen=EVERYWHERE) as server:
        assert (await ask(server, "/api/status"))[0] == 200
        for path in OPEN:
            assert (await ask(server, path, at=1))[0] == 200
        for path in (*API, "/"):
            assert (await ask(server, path, at=1))[0] == 404


async def test_names_of_strangers_are_refused():
    async with serving(listen=LOOPBACK, names=("proxy.example",)) as server:
        for host in (
            "localhost",
            "LOCALHOST:9468",
            "127.0.0.1:1",
            "[::1]:9468",
            "proxy.example:443",
            "Proxy.Example.",
        ):
            assert (host, (await ask(server, "/api/status", headers={"Host": host}))[0]) == (
                host,
                200,
            )
        for host in (
            "evil.example",
            "evil.example:9468",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ):
            for path in ("/api/status", "/metrics", "/"):
                assert (host, (await ask(server, path, headers={"Host": host}))[0]) == (host, 421)
    async with serving(listen=LOOPBACK) as server:
        assert (await ask(server, "/api/status", headers={"Host": "proxy.example"}))[0] == 421
    async with serving(listen=EVERYWHERE) as server:
        # A Prometheus elsewhere uses whatever name it knows this host by.
        assert (await ask(server, "/metrics", headers={"Host": "docker1.lan:9468"}))[0] == 200


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, False), ("", False), ("localhost", True), ("localhost:", True),
        ("localhost:x", False), ("localhost:1:2", False), ("[::1]", True), ("[::1]:80", True),
        ("[::1", False), ("[evil]:80", False), ("::1", False), ("10.0.0.1:80", True),
        ("host1", True), ("host1.", True), ("xhost1", False), ("host1.evil", False),
    ],
)  # fmt: skip
def test_hosts(header, allowed):
    assert host_allowed(header, ["Host1"]) is allowed


def test_rights():
    tokens = Tokens((Token(Secret("one"), Right.READ), Token(Secret("two"), Right.FULL)))
    assert tokens.right_of("Bearer one") is Right.READ
    assert tokens.right_of("bearer  two ") is Right.FULL
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer onetwo",
        "one",
        "Basic one",
        "Bearer \udcff",
    ):
        assert tokens.right_of(wrong) is None
    assert Tokens().right_of("Bearer ") is None
    same = Tokens((Token(Secret("one"), Right.FULL), Token(Secret("one"), Right.READ)))
    assert same.right_of("Bearer one") is Right.FULL


async def test_questions_are_checked():
    source = Fake()
    async with serving(source, listen=LOOPBACK) as server:
        assert (await ask(server, "/api/incidents?container=web&since=17.5&limit=5"))[:2] == (
            200,
            [],
        )
        assert (await ask(server, "/api/incidents?since=1d"))[0] == 200
        assert source.asked[0] == ("web", 17.5, None, 6)
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
            "cursor=",
            f"cursor={'x' * 1001}",
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
        assert (await ask(server, "/api/status"))[:2] == (
            503,
            {"error": "the journal cannot be read"},
        )


async def test_an_answer_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(exchange_module, "PATIENCE", 0.05)
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
        endless = (
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n"
        )
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
        # hung up on when its time is over
        assert await raw(server, b"GET /metrics HTTP/1.1\r\nHost: loc") == b""
        assert (await ask(server, "/metrics"))[0] == 200


async def test_a_newcomer_gets_the_place_of_a_silent_connection(monkeypatch):
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 3)
    async with serving(listen=LOOPBACK) as server, contextlib.AsyncExitStack() as stack:
        silent = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
            stack.callback(writer.close)
            silent.append(reader)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert (await ask(server, "/healthz"))[0] == 200
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                while await silent[0].readline():  # it was there first, and is hung up on
                    pass


class Deaf(asyncio.Protocol):
    """A client that asks and never reads an answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self.transport = transport


async def deaf(server: WebServer, path: str, times: int = 1) -> asyncio.Transport:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.addresses[0].port))
    transport, _ = await asyncio.get_running_loop().create_connection(Deaf, sock=sock)
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {READ}\r\n\r\n"
    transport.write(request.encode() * times)
    return transport


def large(source: Fake, size: int = 900_000) -> Fake:
    source.rows = [("a", {"name": "x" * size})]
    return source


async def test_those_who_come_while_the_loop_is_busy_are_queued_not_dropped():
    """A client whose packet the kernel drops tries again after a second."""
    async with serving(listen=LOOPBACK) as server:
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(("127.0.0.1", server.addresses[0].port))
                client.getpeername()  # over loopback it is connected at once, or was dropped


async def test_answers_that_nobody_takes_are_few_and_are_given_up():
    async with serving(large(Fake()), listen=LOOPBACK) as server:
        budget = server._budgets["/api/"]
        clients = [await deaf(server, "/api/containers") for _ in range(8)]
        await eventually_async(lambda: budget.answers == 8)
        status, body, headers = await ask(server, "/api/containers")
        assert status == 503
        assert "come again" in body["error"]
        assert headers["Retry-After"] == "5"
        for path in OPEN:  # their places are their own
            assert (await ask(server, path))[0] == 200
        (connections,) = server.connections
        connections._now = lambda: asyncio.get_running_loop().time() + exchange_module.TAKEN_WITHIN
        await eventually_async(lambda: budget.answers == 0, what="the unread answers are given up")
        assert budget.bytes == 0
        assert (await ask(server, "/api/containers"))[0] == 200
        for client in clients:
            client.abort()


async def test_small_answers_that_nobody_takes_are_given_up_too(monkeypatch):
    monkeypatch.setattr(exchange_module, "TAKEN_WITHIN", 0.2)
    monkeypatch.setattr(connections_module, "UNSENT_FOR", 0.2)
    monkeypatch.setattr(server_module, "SWEEP", 0.05)
    async with serving(listen=LOOPBACK) as server:
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client = await deaf(server, "/healthz")
        # It asks on until the answers have filled what the kernel holds; then it is hung up on.

        def hung_up_on() -> bool:
            client.write(request * 100)
            return client.is_closing()

        await eventually_async(hung_up_on)
        client.abort()


async def test_bytes_are_bounded_however_few_the_answers_are():
    budget = ResponseBudget(most_answers=5, most_bytes=100)
    with budget.answer() as one, budget.answer() as other:
        one.hold(500)  # alone, it is let through
        with pytest.raises(ResponseBudgetFull):
            other.hold(1)
    with budget.answer() as one, budget.answer() as other:
        one.hold(60)
        other.hold(40)
        assert budget.bytes == 100
    assert (budget.answers, budget.bytes) == (0, 0)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(budget.answer())
        with pytest.raises(ResponseBudgetFull), budget.answer():
            pass


async def test_who_asks_while_a_page_is_made_shares_the_next_one():
    made = 0
    go_on = asyncio.Event()

    async def make() -> bytes:
        nonlocal made
        made += 1
        page = b"page %d" % made
        await go_on.wait()
        return page

    shared = SharedPage(make)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shared.get())
        await eventually_async(lambda: made == 1)
        later = [group.create_task(shared.get()) for _ in range(50)]
        await asyncio.sleep(0)
        go_on.set()
    assert first.result() == b"page 1"
    # what happened before they asked is in it
    assert {each.result() for each in later} == {b"page 2"}
    assert shared._page == (0, b"")  # and nothing is kept
    assert await shared.get() == b"page 3"


async def test_lists_come_in_pages():
    source = Fake()
    source.rows = [(f"c{number:04}", {"name": number}) for number in range(2500)]
    async with serving(source, listen=LOOPBACK) as server:
        seen: list[int] = []
        path = "/api/containers?limit=900"
        while path:
            status, body, headers = await ask(server, path)
            assert status == 200
            seen += [row["name"] for row in body]
            found = re.fullmatch('<(.*)>; rel="next"', headers.get("Link", ""))
            path = found[1] if found else ""
        assert seen == list(range(2500))
        source.made = 0
        assert len((await ask(server, "/api/containers"))[1]) == 1000
        assert source.made == 1001  # no row is made that is not needed
        assert len((await ask(server, "/api/rules?limit=7"))[1]["rules"]) == 7
        status, body, headers = await ask(server, "/api/incidents/i1?limit=3")
        assert [row["name"] for row in body["actions"]] == [0, 1, 2]
        assert "cursor=c0002" in headers["Link"]


async def test_a_page_is_bounded_in_bytes():
    source = Fake()
    source.rows = [(str(number), "x" * 300_000) for number in range(9)]
    async with serving(source, listen=LOOPBACK) as server:
        status, body, headers = await ask(server, "/api/containers")
        assert (status, len(body)) == (200, 4)
        assert "cursor=3" in headers["Link"]
        assert (await ask(server, "/api/containers", method="HEAD"))[:2] == (200, "")


async def test_long_lists_in_the_status_are_cut_and_it_says_so():
    source = Fake()
    source.lists = {"breakers": list(range(1200)), "pauses": [1]}
    async with serving(source, listen=LOOPBACK) as server:
        _, body, _ = await ask(server, "/api/status")
        assert len(body["breakers"]) == 1000
        assert body["pauses"] == [1]
        assert body["left_out"] == {"breakers": 200}


async def test_an_address_in_use_is_said():
    async with serving(listen=LOOPBACK) as server:
        taken = server.addresses[0]
        with pytest.raises(UsageError, match=f"cannot listen at {taken}.*in use"):
            async with serving(listen=taken):
                pass
