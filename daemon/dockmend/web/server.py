"""The HTTP server: metrics, health, and dockmend's own record as JSON. It shows; nothing here changes anything.

On loopback all of it is open to this host. Elsewhere everything but `/metrics`, `/healthz` and `/readyz` needs a bearer
token, and where none is configured those routes do not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from dockmend.errors import DockmendError, UsageError, lacking
from dockmend.rules import durations
from dockmend.settings.model import Settings
from dockmend.settings.secrets import Secret
from dockmend.settings.values import Address
from dockmend.tell.metrics import CONTENT_TYPE
from dockmend.web.guard import host_allowed, token_allowed
from dockmend.web.source import Source

log = structlog.get_logger("dockmend.http")

# aiohttp writes a traceback for every malformed request: strangers could fill the log. Our own faults are logged below.
_strangers = logging.getLogger("dockmend.http.malformed")
_strangers.setLevel(logging.CRITICAL)

MOST_CONNECTIONS = 100  # to each address; who comes beyond is hung up on
FEWEST_CONNECTIONS = 4
RESERVED = 160  # file descriptors: 64 connections to the engine, 32 command clients, journal, log, snapshots
IDLE = 15.0  # seconds a connection may stay without a whole request
PATIENCE = 20.0  # seconds an answer may take
LARGEST_BODY = 1024  # bytes: nothing here takes a body
MOST_INCIDENTS = 1000

_HEADERS = {
    "Server": "dockmend",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """`names`: further names under which this host is asked for (a reverse proxy's), beside its addresses."""

    def __init__(self, settings: Settings, source: Source, names: Iterable[str] = ()) -> None:
        self.addresses: list[Address] = []  # where it listens, in the order listen, metrics_listen
        self._http = settings.http
        self._tokens = [token for token in (settings.http_read_token, settings.http_token) if token is not None]
        self._source = source
        self._names = tuple(names)
        self._rendering = asyncio.Lock()

    async def run(self) -> None:
        """Serves until cancelled. Raises UsageError where it cannot listen."""
        async with contextlib.AsyncExitStack() as stack:
            bound = []
            for address, everything in ((self._http.listen, True), (self._http.metrics_listen, False)):
                if address is not None:
                    app = self._app(address, everything)
                    bound.append(await stack.enter_async_context(_listening(address, app)))
            self.addresses = bound
            await asyncio.Event().wait()

    # ---------------------------------------------------------------------------------------------------- the routes

    def _app(self, address: Address, everything: bool) -> web.Application:
        names = (*self._names, address.host)
        tokens = None if address.loopback else self._tokens
        app = web.Application(middlewares=[_guarded(names, tokens)], client_max_size=LARGEST_BODY)
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        if not everything:
            return app
        app.router.add_get("/", self._root)
        if not address.loopback and not self._tokens:
            log.warning("no token is configured, so there is no /api at this address", listen=str(address))
            return app
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/api/rules", self._rules)
        app.router.add_get("/api/containers", self._containers)
        app.router.add_get("/api/incidents", self._incidents)
        app.router.add_get("/api/incidents/{id}", self._incident)
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        async with self._rendering:
            try:
                page = await asyncio.to_thread(self._source.metrics)
            except RuntimeError as error:
                if lacking(error) is None:
                    raise
                page = self._source.metrics()  # a host without a thread left: what is wrong is to be told all the same
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, request: web.Request) -> web.Response:
        return _json({"alive": True})

    async def _readyz(self, request: web.Request) -> web.Response:
        parts = dict(self._source.ready())
        missing = {part: why for part, why in parts.items() if why is not None}
        if missing:
            return _json({"ready": False, "not_ready": missing}, 503)
        return _json({"ready": True, "parts": sorted(parts)})

    async def _root(self, request: web.Request) -> web.Response:
        return _error(404, "there is no page in this version: see /api/status, /api/incidents, /metrics and /readyz")

    async def _status(self, request: web.Request) -> web.Response:
        return _json(await self._source.status())

    async def _rules(self, request: web.Request) -> web.Response:
        return _json(await self._source.rules())

    async def _containers(self, request: web.Request) -> web.Response:
        return _json(await self._source.containers())

    async def _incidents(self, request: web.Request) -> web.Response:
        query = request.query
        if unknown := set(query) - {"container", "since", "limit"}:
            raise UsageError(f"unknown parameter {min(unknown)!r}: container, since and limit are known")
        limit = _limit(query.get("limit"))
        return _json(await self._source.incidents(query.get("container"), _since(query.get("since")), limit))

    async def _incident(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._source.incident(request.match_info["id"]))
        except UsageError as error:
            return _error(404, str(error))


@contextlib.asynccontextmanager
async def _listening(address: Address, app: web.Application) -> AsyncIterator[Address]:
    """Serves `app`; gives where it really listens."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_strangers,
        keepalive_timeout=IDLE,
        lingering_time=1.0,
        shutdown_timeout=2.0,
    )
    await runner.setup()
    try:
        try:
            accept = _bounded(runner)
            server = await asyncio.get_running_loop().create_server(accept, address.host, address.port)
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"cannot listen at {address}: {why}: see `http` in the settings") from None
        try:
            bound = Address(*server.sockets[0].getsockname()[:2])
            log.info("listening", address=str(bound))
            yield bound
        finally:
            server.close()
    finally:
        await runner.cleanup()


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _most_connections() -> int:
    """Fewer where file descriptors are few: strangers must not take those that the engine and the journal need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, max(FEWEST_CONNECTIONS, soft - RESERVED))


def _bounded(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    def accept() -> asyncio.BaseProtocol:
        server = runner.server
        if server is None or len(server.connections) >= _most_connections():
            return _HangUp()
        return server()

    return accept


def _guarded(names: tuple[str, ...], tokens: list[Secret] | None) -> Any:
    """Checks who asks, and turns every error into a sentence in JSON. `tokens` None: on loopback, open."""

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        is_open = request.path in ("/metrics", "/healthz", "/readyz")
        # Off loopback the three are open to the network as they are, and a token is what no rebinding page has.
        if tokens is None and not host_allowed(request.headers.get("Host"), names):
            return _error(421, "this server is not asked for under that name (Host header)")
        if tokens and not is_open and not token_allowed(request.headers.get("Authorization"), tokens):
            return _error(401, "a bearer token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(PATIENCE):
                return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, _SENTENCES.get(error.status, error.reason), _kept(error))
        except UsageError as error:
            return _error(400, str(error))
        except DockmendError as error:
            return _error(503, str(error))
        except TimeoutError:
            return _error(503, f"no answer within {PATIENCE:.0f} s")
        except Exception:
            log.exception("a request failed", path=request.path)
            return _error(500, "a fault of dockmend's own: see its log")

    return guarded


_SENTENCES = {404: "there is nothing at this path", 405: "nothing can be changed here: only GET and HEAD are answered"}


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(value, enc_hook=str) + b"\n"
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json({"error": sentence}, status, headers)


def _limit(text: str | None) -> int:
    if text is None:
        return 100
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_INCIDENTS):
        raise UsageError(f"limit is a number from 1 to {MOST_INCIDENTS}")
    return int(text)


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
            raise UsageError("since is seconds since the epoch, or how long ago, such as 1d or 30m") from None
    if not math.isfinite(at):
        raise UsageError("since is seconds since the epoch, or how long ago, such as 1d or 30m")
    return at
