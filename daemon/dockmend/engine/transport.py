"""The connection to one engine: the only place that touches aiodocker, and its private `_query`.

aiodocker has no time-outs of its own, asks for gzip (which costs archives nine tenths of their
speed), and neither closes a response nor negotiates the API version down: all of that is settled
here once, for every call. tests/contract/test_aiodocker.py pins what is relied on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiodocker
import aiohttp
import msgspec

from dockmend.errors import EngineAway, EngineError, NotFound, Permanent, Temporary

from .api_versions import ApiVersion, settled
from .discover import TLS
from .error_mapping import tidy, translated
from .wire import WireVersion, ids_decoder, version_decoder

LARGEST_ANSWER = 128 << 20  # bytes: a list of 10,000 containers with many labels is some 30 MiB
# bytes of an answer about one container, beyond which only one is in memory at a time
LARGE = 1 << 20
SCANNED = 32 << 20  # bytes of a list beyond which it is not kept whole
# bytes: an archive or a burst of events is taken from the socket in big pieces
READ_BUFFER = 1 << 20

# in a text the quotes would have a backslash before them
_ID = re.compile(rb'"Id":"([0-9a-f]{64})"')
_ID_LENGTH = 71

T = TypeVar("T")
Query = Mapping[str, str] | list[tuple[str, str]]


def segment(name: str, what: str) -> str:
    """A name as one part of a URL's path; whatever it holds, it cannot lead anywhere else."""
    if not name or "\x00" in name or not {".", ".."}.isdisjoint(name.split("/")):
        raise NotFound(f"{what}: there is nothing named {tidy(name)!r}", 404)
    return quote(name, safe="")


def path(*parts: str, query: Query | None = None) -> str:
    """A path of parts that are safe already, with its query encoded."""
    joined = "/".join(parts)
    return f"{joined}?{urlencode(query, quote_via=quote)}" if query else joined


def flag(value: bool) -> str:
    return "1" if value else "0"


class Transport:
    """Calls and streams over one pool of connections. Made at once, connects at the first call.

    `timeout`: seconds for a call that names none.
    """

    def __init__(self, url: str, tls: TLS | None, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._tls = tls
        self._large = asyncio.Lock()
        self._docker: aiodocker.Docker | None = None
        self._session: aiohttp.ClientSession | None = None
        self.api_version: ApiVersion | None = None

    # ----------------------------------------------------------------------------------- connection

    def _client(self) -> aiodocker.Docker:
        """The client; made within the running loop, as aiohttp asks."""
        if self._docker is None:
            connector: aiohttp.BaseConnector
            if self.url.startswith("unix://"):
                connector, base = (
                    aiohttp.UnixConnector(self.url.removeprefix("unix://"), limit=64),
                    "unix://localhost",
                )
            else:
                context = self._tls.context() if self._tls else True
                connector = aiohttp.TCPConnector(ssl=context, limit=64)
                scheme = "https" if self._tls or self.url.startswith("https://") else "http"
                base = f"{scheme}://{self.url.partition('://')[2]}"
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(),
                headers={"Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BUFFER,
            )
            # A version is given, so aiodocker never asks for one; `negotiate` replaces it.
            self._docker = aiodocker.Docker(
                url=base, session=self._session, connector=connector, api_version="v1.40"
            )
        return self._docker

    async def close(self) -> None:
        docker, session = self._docker, self._session
        self._docker = self._session = self.api_version = None
        try:
            if docker is not None:
                await docker.close()
        finally:
            if session is not None:
                await session.close()

    async def negotiate(self) -> WireVersion:
        """Settles the API version with the engine: the newest that both know. Unreachable where
        there is none."""
        try:
            answer = await self.call("version", "version", versioned=False)
        except Permanent as error:
            if "HTTPS server" not in str(error):
                raise
            said = (
                f"cannot reach the engine at {self.url}: it asks for TLS: set "
                "DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
            )
            raise EngineAway(f"{said}, or use a docker context") from None
        version = self.decoded(version_decoder, answer, "version")
        self.api_version = settled(self.url, version.ApiVersion, version.MinAPIVersion)
        self._client().api_version = f"v{self.api_version}"
        return version

    async def _settle(self) -> None:
        if self.api_version is None:
            await self.negotiate()

    # ---------------------------------------------------------------------------------------- calls

    async def call(
        self,
        what: str,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        timeout: float | None = None,
        versioned: bool = True,
    ) -> bytes:
        """One call; the whole answer. `what` begins its errors' text; `body` is sent as JSON
        (bytes: as they are)."""
        return (
            await self.answer(what, path, method, body=body, timeout=timeout, versioned=versioned)
        )[1]

    @asynccontextmanager
    async def one_large(
        self, what: str, path: str, timeout: float | None = None
    ) -> AsyncIterator[bytes]:
        """The whole answer of a GET. Of several that are larger than LARGE, one is in hand at a
        time: until the context is left, the others wait, with what they have read of theirs. Not to
        be entered within another one."""
        await self._settle()
        async with AsyncExitStack() as held:
            with translated(what, self.url):
                async with (
                    asyncio.timeout(self.timeout if timeout is None else timeout),
                    self._client()._query(path) as response,
                ):
                    try:
                        answer = await _bounded(
                            response, what, lambda: held.enter_async_context(self._large)
                        )
                    finally:
                        response.close()
            yield answer

    async def ids(self, what: str, path: str) -> list[str]:
        """The ids of the objects in a list, however long it is: it holds all labels of all of them.

        Of one beyond SCANNED whatever is written as an id counts, also where a label is called
        `Id`.
        """
        await self._settle()
        with translated(what, self.url):
            async with asyncio.timeout(self.timeout), self._client()._query(path) as response:
                try:
                    return await _ids(response, what)
                finally:
                    response.close()

    async def answer(
        self,
        what: str,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        timeout: float | None = None,
        versioned: bool = True,
    ) -> tuple[int, bytes]:
        """The same, with the status before it, which is none of an error."""
        if versioned:
            await self._settle()
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        with translated(what, self.url):
            async with (
                asyncio.timeout(self.timeout if timeout is None else timeout),
                self._client()._query(path, method, data=data, versioned_api=versioned) as response,
            ):
                try:
                    return response.status, await _bounded(response, what)
                finally:
                    response.close()  # after a full read the connection is back in the pool already

    @asynccontextmanager
    async def stream(
        self, what: str, path: str, method: str = "GET", *, body: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body is read bit by bit, without an end in time; always closed.

        Only the opening is timed and translated: what the caller raises while reading is the
        caller's.
        """
        await self._settle()
        data = None if body is None else msgspec.json.encode(body)
        async with AsyncExitStack() as stack:
            with translated(what, self.url):
                async with asyncio.timeout(self.timeout):
                    response = await stack.enter_async_context(
                        self._client()._query(path, method, data=data)
                    )
            stack.callback(response.close)
            yield response

    async def send(
        self,
        what: str,
        path: str,
        body: AsyncIterator[bytes],
        headers: Mapping[str, str],
        idle: float,
    ) -> None:
        """PUTs a body of unknown length; Temporary after `idle` seconds without progress; its own
        error comes out."""
        await self._settle()
        own: list[Exception] = []
        try:
            with translated(what, self.url):
                async with asyncio.timeout(idle) as limit:

                    async def watched() -> AsyncIterator[bytes]:
                        try:
                            async for chunk in body:
                                limit.reschedule(asyncio.get_running_loop().time() + idle)
                                yield chunk
                        except Exception as error:
                            own.append(error)
                            raise

                    async with self._client()._query(
                        path, "PUT", data=watched(), headers=headers
                    ) as response:
                        response.close()
        except EngineError:
            if own:
                raise own[0] from None
            raise

    def decoded(self, decoder: msgspec.json.Decoder[T], answer: bytes, what: str) -> T:
        """The answer's structs; Temporary where it is not what the Engine API promises."""
        try:
            return decoder.decode(answer)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Temporary(
                f"{what}: the engine's answer was not understood: {tidy(str(error))}"
            ) from None


async def _bounded(
    response: aiohttp.ClientResponse,
    what: str,
    before_large: Callable[[], Awaitable[None]] | None = None,
) -> bytes:
    """The whole body. Temporary beyond LARGEST_ANSWER: one that never ends must not fill the
    memory.

    `before_large` is awaited once, when more than LARGE was read.
    """
    pieces, size = [], 0
    while piece := await response.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise Temporary(
                f"{what}: the engine's answer is longer than {LARGEST_ANSWER >> 20} MiB"
            )
        if size > LARGE and before_large is not None:
            await before_large()
            before_large = None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _ids(response: aiohttp.ClientResponse, what: str) -> list[str]:
    """See `Transport.ids`. Temporary if the answer is none."""
    pieces, size = [], 0
    while size <= SCANNED and (piece := await response.content.readany()):
        pieces.append(piece)
        size += len(piece)
    body = b"".join(pieces)
    if size <= SCANNED:
        try:
            return [each.Id for each in ids_decoder.decode(body)]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Temporary(
                f"{what}: the engine's answer was not understood: {tidy(str(error))}"
            ) from None
    found: dict[str, None] = {}
    while body:
        found.update((match[1].decode(), None) for match in _ID.finditer(body))
        rest = body[-_ID_LENGTH:]  # an id may be cut in two
        piece = await response.content.readany()
        body = rest + piece if piece else b""
    if not rest.rstrip().endswith(b"]"):
        raise Temporary(f"{what}: the engine's answer was cut")
    return list(found)
