"""One exchange, from a request whose head was read to the last byte of its answer.

It checks who asks, bounds the time for making the answer and the time for taking it, and turns
every error into a sentence in JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web

from dockmend.errors import DockmendError, UsageError
from dockmend.web.connections import Connections
from dockmend.web.host_guard import host_allowed
from dockmend.web.paging import encode
from dockmend.web.response_budget import ResponseBudget, ResponseBudgetFull
from dockmend.web.tokens import Right, Tokens

log = structlog.get_logger("dockmend.http")

PATIENCE = 20.0  # seconds the making of an answer may take
TOLD_WITHIN = 5.0  # seconds beyond PATIENCE in which it is told that an answer was given up
TAKEN_WITHIN = 10.0  # seconds in which the client is to take its answer
SLICE = 128 * 1024  # bytes of an answer that are handed to the connection at once
RETRY_AFTER = 5  # seconds after which a client that was refused may come again
OPEN = ("/metrics", "/healthz", "/readyz")

CONNECTIONS = web.AppKey("connections", Connections)
"""Of the address that an application serves."""

_HEADERS = {
    "Server": "dockmend",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SENTENCES = {
    404: "there is nothing at this path",
    405: "nothing can be changed here: only GET and HEAD are answered",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpExchanges:
    """The middleware of one address.

    `names`: the names under which it may be asked for, None if any will do; `tokens`: whom it lets
    in beyond what is open, None if there is nothing more; `budgets`: by the beginning of a path,
    what such answers may take.
    """

    def __init__(
        self,
        names: tuple[str, ...] | None,
        tokens: Tokens | None,
        budgets: Mapping[str, ResponseBudget],
    ) -> None:
        self._names = names
        self._tokens = tokens
        self._budgets = budgets

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        connections, connection = request.app[CONNECTIONS], request.protocol
        connections.began(connection, PATIENCE + TOLD_WITHIN)
        try:
            refusal = self._refused(request)
            budget = self._budget(request.path)
            if refusal is not None or budget is None:
                answer = refusal or await _answered(request, handler)
                connections.began(connection, TAKEN_WITHIN)
                return await _send(request, answer)
            with budget.answer() as held:
                answer = await _answered(request, handler)
                held.hold(len(_body(answer)))
                connections.began(connection, TAKEN_WITHIN)
                return await _send(request, answer)
        except ResponseBudgetFull:
            connections.began(connection, TAKEN_WITHIN)
            return await _send(request, _busy())
        finally:
            connections.ended(connection)

    def _budget(self, path: str) -> ResponseBudget | None:
        return next((each for start, each in self._budgets.items() if path.startswith(start)), None)

    def _refused(self, request: web.Request) -> web.Response | None:
        """Why the request is not answered; None: it is."""
        if self._names is not None and not host_allowed(request.headers.get("Host"), self._names):
            return sentence(
                421,
                "this server is not asked for under that name (Host header): the setting "
                "http.names adds one",
            )
        if self._tokens is None or request.path in OPEN:
            return None
        needed = Right.READ if request.method in ("GET", "HEAD") else Right.FULL
        given = self._tokens.right_of(request.headers.get("Authorization"))
        if given is not None and given >= needed:
            return None
        places = self._tokens.places(needed)
        if not places:
            why = "; ".join(self._tokens.problems) or "no token is configured"
            return sentence(503, f"nobody can be let in: {why}")
        if given is not None:
            return sentence(
                403, f"this token may only read: the one that may change things is in {places}"
            )
        text = (
            f"a token is needed (Authorization: Bearer TOKEN): it is in {places} on dockmend's host"
        )
        return sentence(401, text, {"WWW-Authenticate": "Bearer"})


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, or what went wrong with it as a sentence."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await handler(request)
    except web.HTTPException as error:
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return sentence(error.status, _SENTENCES.get(error.status, error.reason), allowed)
    except UsageError as error:
        return sentence(400, str(error))
    except DockmendError as error:
        return sentence(503, str(error))
    except TimeoutError:
        return sentence(503, f"no answer within {PATIENCE:g} s")
    except Exception:
        log.exception("a request failed", id="http_request_failed", path=request.path)
        return sentence(500, "a fault of dockmend's own: see its log")


async def _send(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """The whole answer, until the kernel has all of it. Raises ConnectionError if the client left.

    A large one goes out in slices: handed over at once, aiohttp and the transport would each keep
    a copy of it for every client.
    """
    body = _body(answer)
    if request.method == "HEAD" or len(body) <= SLICE:
        await answer.prepare(request)
        await answer.write_eof()
        return answer
    sliced = web.StreamResponse(status=answer.status, headers=answer.headers)
    sliced.content_length = len(body)
    await sliced.prepare(request)
    view = memoryview(body)
    for start in range(0, len(body), SLICE):
        await sliced.write(view[start : start + SLICE])
    await sliced.write_eof()
    return sliced


def _body(answer: web.StreamResponse) -> bytes:
    body = answer.body if isinstance(answer, web.Response) else None
    return body if isinstance(body, bytes) else b""


def _busy() -> web.Response:
    text = "too many answers are under way: come again a little later"
    answer = sentence(503, text, {"Retry-After": str(RETRY_AFTER)})
    answer.force_close()
    return answer


def of_bytes(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer of JSON that is encoded already."""
    return web.Response(
        body=body + b"\n", status=status, headers=headers, content_type="application/json"
    )


def of_value(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer of JSON."""
    return of_bytes(encode(value), status, headers)


def sentence(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error, for a person."""
    return of_value({"error": text}, status, headers)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries: for `on_response_prepare`."""
    response.headers.update(_HEADERS)
