"""A Docker Engine that is not one: real HTTP over a real socket, objects in memory, faults on
demand.

For tests of what the real engine cannot be brought to do at will, and for speed. It passes the same
contract tests as the real one (tests/contract), so what it shows is what the engine does, as far as
those tests reach.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aiohttp import web

from . import shapes
from .refusal import Refusal
from .routes import application
from .world import World

API, OLDEST_API = "1.45", "1.24"


@dataclass
class Fault:
    """What happens to requests whose "METHOD /path" matches: a refusal, a cut line, a delay, no
    answer at all.

    One that is held is answered as usual once the test sets `released`.
    """

    pattern: str
    kind: Literal["status", "cut", "delay", "hang", "hold"] = "status"
    status: int = 500
    message: str = "fault"
    seconds: float = 0.0
    times: int = 1  # how often; -1: always
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, request: str) -> bool:
        if not self.times or not re.search(self.pattern, request):
            return False
        self.times -= self.times > 0
        return True


class FakeEngine(World):
    """`await start()`, `await stop()`; its socket is in `folder`. See World for what a test can
    make happen."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.socket = folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.versions = (API, OLDEST_API)
        self.identity = "FAKE-" + shapes.new_id()[:8]
        self.answering = asyncio.Event()
        self.answering.set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> FakeEngine:
        self._runner = web.AppRunner(
            application(self), access_log=None, shutdown_timeout=0.5, handler_cancellation=True
        )
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()
        return self

    async def stop(self) -> None:
        """Ends every stream cleanly and closes the socket; the ring is forgotten, containers stay
        as they are."""
        self.log.forget()
        self.answering.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self.socket.unlink(missing_ok=True)

    def hang(self) -> None:
        """From now on nothing is answered, as an engine under SIGSTOP; `resume` ends it."""
        self.answering.clear()

    def resume(self) -> None:
        self.answering.set()


__all__ = ["FakeEngine", "Fault", "Refusal"]
