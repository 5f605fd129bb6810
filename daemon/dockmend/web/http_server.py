"""The HTTP server: metrics, health, and dockmend's own record as JSON. It shows; nothing here
changes anything.

`/metrics`, `/healthz` and `/readyz` are open. Everything else needs a bearer token, on loopback
too: other users of this host and containers in its network share the loopback address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import structlog
from aiohttp import web

from dockmend.errors import UsageError, lacking
from dockmend.rules import durations
from dockmend.settings.parsed_values import Address
from dockmend.settings.sections import HttpSettings
from dockmend.tell.metrics import CONTENT_TYPE
from dockmend.web.connections import Connections
from dockmend.web.http_exchange import (
    CONNECTIONS,
    HttpExchanges,
    add_headers,
    of_bytes,
    of_value,
    sentence,
)
from dockmend.web.http_source import HttpSource
from dockmend.web.paging import MOST_ROWS, Page, cursor_of, encode, limit_of, page
from dockmend.web.response_budget import ResponseBudget
from dockmend.web.tokens import Tokens

log = structlog.get_logger("dockmend.http")

# aiohttp writes a traceback for every malformed request: strangers could fill the log. Our own
# faults are logged where they are caught.
_strangers = logging.getLogger("dockmend.http.malformed")
_strangers.setLevel(logging.CRITICAL)

MOST_CONNECTIONS = 100  # to each address; who comes beyond takes the place of another
FEWEST_CONNECTIONS = 4
# file descriptors: 64 connections to the engine, 32 command clients, journal, log, snapshots
RESERVED = 160
BACKLOG = 32  # connections that may be accepted before those that are too many are hung up on
# connections that the kernel queues meanwhile: it drops others, whose clients try again after 1 s
LISTEN_QUEUE = 512
IDLE = 15.0  # seconds a connection may stay without a whole request
SWEEP = 1.0  # seconds between looks at the deadlines
LARGEST_BODY = 1024  # bytes: nothing here takes a body
SEND_BUFFER = 128 * 1024  # bytes that the kernel keeps for each connection (Linux doubles them)
INCIDENTS = 100  # rows, if no limit is asked for

API_BUDGET = (8, 8 * 1024 * 1024)
"""Answers of the API at once, and their bytes."""
METRICS_BUDGET = (32, 8 * 1024 * 1024)
"""The same for `/metrics`; those who ask together share one page."""


class SharedPage:
    """A page that is made once for all who asked before its making began; one is made at a time."""

    def __init__(self, make: Callable[[], Awaitable[bytes]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._begun = 0
        self._page = (0, b"")  # which making it is of, and the page
        self._askers = 0

    async def get(self) -> bytes:
        asked = self._begun
        self._askers += 1
        try:
            async with self._making:
                if self._page[0] <= asked:
                    self._begun += 1
                    self._page = (self._begun, await self._make())
                return self._page[1]
        finally:
            self._askers -= 1
            if not self._askers:
                self._page = (0, b"")


class WebServer:
    """Serves what `source` tells."""

    def __init__(self, http: HttpSettings, source: HttpSource, tokens: Tokens) -> None:
        self.addresses: list[Address] = []  # where it listens, in the order listen, metrics_listen
        self.connections: list[Connections] = []  # of each address
        self._http = http
        self._tokens = tokens
        self._source = source
        self._budgets = {
            "/api/": ResponseBudget(*API_BUDGET),
            "/metrics": ResponseBudget(*METRICS_BUDGET),
        }
        self._page = SharedPage(self._render)

    async def run(self) -> None:
        """Serves until cancelled. Raises UsageError where it cannot listen."""
        async with contextlib.AsyncExitStack() as stack:
            addresses = []
            for address, everything in (
                (self._http.listen, True),
                (self._http.metrics_listen, False),
            ):
                if address is not None:
                    listening = _listening(address, self._app(address, everything))
                    where, connections = await stack.enter_async_context(listening)
                    addresses.append(where)
                    self.connections.append(connections)
            self.addresses = addresses
            while True:
                await asyncio.sleep(SWEEP)
                for connections in self.connections:
                    connections.sweep()

    # ----------------------------------------------------------------------------------- the routes

    def _app(self, address: Address, everything: bool) -> web.Application:
        # Off loopback no name is asked about: a Prometheus elsewhere uses whatever name it knows
        # this host by, and a page that came by rebinding has no token.
        names = (*self._http.names, address.host) if address.loopback else None
        exchanges = HttpExchanges(names, self._tokens if everything else None, self._budgets)
        app = web.Application(middlewares=[exchanges.middleware], client_max_size=LARGEST_BODY)
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        if not everything:
            return app
        app.router.add_get("/", self._root)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/api/rules", self._rules)
        app.router.add_get("/api/containers", self._containers)
        app.router.add_get("/api/incidents", self._incidents)
        app.router.add_get("/api/incidents/{id}", self._incident)
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._page.get(), headers={"Content-Type": CONTENT_TYPE})

    async def _render(self) -> bytes:
        write = self._source.metrics()
        try:
            return await asyncio.to_thread(write)
        except RuntimeError as error:
            if lacking(error) is None:
                raise
            return write()  # a host without a thread left: what is wrong is to be told all the same

    async def _healthz(self, request: web.Request) -> web.Response:
        why_not = dict(self._source.not_acting())
        return of_value({"alive": True, "acting": not why_not, "not_acting": why_not})

    async def _readyz(self, request: web.Request) -> web.Response:
        parts = dict(self._source.ready())
        missing = {part: why for part, why in parts.items() if why is not None}
        if missing:
            return of_value({"ready": False, "not_ready": missing}, 503)
        return of_value({"ready": True, "parts": sorted(parts)})

    async def _root(self, request: web.Request) -> web.Response:
        return sentence(
            404,
            "there is no page in this version: see /api/status, /api/incidents, /metrics "
            "and /readyz",
        )

    async def _status(self, request: web.Request) -> web.Response:
        return of_value(_bounded(await self._source.status()))

    async def _rules(self, request: web.Request) -> web.Response:
        after, limit = _page_asked(request, MOST_ROWS)
        rest, rows = await self._source.rules(after)
        found = await page(rows, limit)
        body = encode({"rules": msgspec.Raw(found.rows), **_bounded(rest)})
        return of_bytes(body, headers=_link(request, found))

    async def _containers(self, request: web.Request) -> web.Response:
        after, limit = _page_asked(request, MOST_ROWS)
        found = await page(self._source.containers(after), limit)
        return of_bytes(found.rows, headers=_link(request, found))

    async def _incidents(self, request: web.Request) -> web.Response:
        after, limit = _page_asked(request, INCIDENTS, "container", "since")
        container, since = request.query.get("container"), _since(request.query.get("since"))
        # One row more than is shown tells whether there is another page.
        found = await page(await self._source.incidents(container, since, after, limit + 1), limit)
        return of_bytes(found.rows, headers=_link(request, found))

    async def _incident(self, request: web.Request) -> web.Response:
        after, limit = _page_asked(request, MOST_ROWS)
        try:
            incident, rows = await self._source.incident(request.match_info["id"], after, limit + 1)
        except UsageError as error:
            return sentence(404, str(error))
        found = await page(rows, limit)
        body = encode({"incident": incident, "actions": msgspec.Raw(found.rows)})
        return of_bytes(body, headers=_link(request, found))


@contextlib.asynccontextmanager
async def _listening(
    address: Address, app: web.Application
) -> AsyncIterator[tuple[Address, Connections]]:
    """Serves `app`; gives where it really listens, and its connections."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_strangers,
        keepalive_timeout=IDLE,
        lingering_time=1.0,
        shutdown_timeout=2.0,
    )
    app[CONNECTIONS] = connections = Connections(runner, _most_connections, loop.time)
    await runner.setup()
    try:
        try:
            server = await loop.create_server(
                connections.accept, address.host, address.port, backlog=BACKLOG, start_serving=False
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(
                f"cannot listen at {address}: {why}: see `http` in the settings"
            ) from None
        try:
            # accepted connections take it over: what strangers leave lying is bounded
            for each in server.sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            await server.start_serving()
            # asyncio takes `backlog` for the length of the kernel's queue, and also for how many it
            # accepts in one turn of the loop. Only the queue may be longer.
            for each in server.sockets:
                with socket.fromfd(each.fileno(), each.family, each.type) as same:
                    same.listen(LISTEN_QUEUE)
            bound = Address(*server.sockets[0].getsockname()[:2])
            log.info("listening", id="http_listening", address=str(bound))
            yield bound, connections
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _most_connections() -> int:
    """Fewer where file descriptors are few: strangers must not take those that the engine and the
    journal need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, max(FEWEST_CONNECTIONS, soft - RESERVED))


def _page_asked(request: web.Request, default: int, *others: str) -> tuple[str | None, int]:
    """Which page of a list is asked for: the cursor, and the number of rows. Raises UsageError."""
    known = (*others, "limit", "cursor")
    if unknown := set(request.query) - set(known):
        raise UsageError(f"unknown parameter {min(unknown)!r}: {', '.join(known)} are known")
    return cursor_of(request.query.get("cursor")), limit_of(request.query.get("limit"), default)


def _link(request: web.Request, found: Page) -> dict[str, str]:
    """Where the next page is (RFC 8288)."""
    if found.after is None:
        return {}
    query = urlencode({**request.query, "cursor": found.after})
    return {"Link": f'<{request.rel_url.raw_path}?{query}>; rel="next"'}


def _bounded(value: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of more than MOST_ROWS are cut, and it is said how much was left out of which."""
    bounded = {
        key: each[:MOST_ROWS] if isinstance(each, list) else each for key, each in value.items()
    }
    left_out = {
        key: len(each) - MOST_ROWS
        for key, each in value.items()
        if isinstance(each, list) and len(each) > MOST_ROWS
    }
    return {**bounded, "left_out": left_out} if left_out else bounded


def _since(text: str | None) -> float | None:
    """Wall seconds of `1700000000` (seconds since the epoch) or `1d` (that long ago)."""
    if text is None:
        return None
    try:
        at = float(text)
    except ValueError:
        try:
            return time.time() - durations.duration(text)
        except ValueError:
            raise UsageError(
                "since is seconds since the epoch, or how long ago, such as 1d or 30m"
            ) from None
    if not math.isfinite(at):
        raise UsageError("since is seconds since the epoch, or how long ago, such as 1d or 30m")
    return at
