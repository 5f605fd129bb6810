"""Archives of a path in a container, in and out, in constant memory and with every response closed.

An archive that is open and not drained holds the container's lock: inspect, exec, restart and kill
of it hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from .engine_queries import EngineQueries, short
from .error_mapping import translated
from .transport import path, segment

IDLE = 60.0  # seconds without a byte after which an archive is given up


class Archives(EngineQueries):
    """The part of the engine that moves archives."""

    @asynccontextmanager
    async def get_archive(self, container: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See engine_api.py. If the engine cuts it short, the tar lacks its two zero blocks at the
        end."""
        what = f"read {path} of {short(container)}"
        async with self._transport.stream(what, _request(container, path, what)) as response:
            chunks = self._chunks(response, what)
            try:
                yield chunks
            finally:
                await chunks.aclose()

    async def put_archive(
        self, container: str, path: str, body: AsyncIterator[bytes], encoding: str = "identity"
    ) -> None:
        what = f"write {path} of {short(container)}"
        headers = {"Content-Type": "application/x-tar"}
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        await self._transport.send(what, _request(container, path, what), body, headers, IDLE)

    async def _chunks(
        self, response: aiohttp.ClientResponse, what: str
    ) -> AsyncGenerator[bytes, None]:
        while True:
            with translated(what, self._transport.url):
                async with asyncio.timeout(IDLE):
                    chunk = await response.content.readany()
            if not chunk:
                return
            yield chunk


def _request(container: str, where: str, what: str) -> str:
    return path("containers", segment(container, what), "archive", query={"path": where})
