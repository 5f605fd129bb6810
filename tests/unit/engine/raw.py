"""Servers that answer what no engine would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path


def served(path: Path, body: bytes) -> AbstractAsyncContextManager[str]:
    """Answers every request with this body as JSON."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: "
        b"close\r\nContent-Length: %d\r\n\r\n"
    )
    return raw(path, head % len(body) + body)


@asynccontextmanager
async def raw(path: Path, answer: bytes) -> AsyncIterator[str]:
    """Says its version to who asks for it, writes these bytes to everybody else, and closes; yields
    its address."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        version = (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
            b'21\r\n\r\n{"ApiVersion":"1.45"}'
        )
        writer.write(version if b"/version" in request else answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(one, path):
        yield f"unix://{path}"
