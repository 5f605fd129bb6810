"""The starts of the engine, of those too that ended before they were watched.

An engine that was killed is followed by one that stops what it finds running, and the engine's own
record says of those containers that a call stopped them. If that one is killed as well, the next
one shows neither who did it nor that there was another one between: only who looked meanwhile
knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dockmend.engine.engine_api import Engine, EngineInfo
from dockmend.mirror.exit_cause import EARLIER, EngineStart
from dockmend.model import Container

LOOKS_EVERY = 0.5
"""Seconds between two looks at an engine's start, while none is watched: one that stops anything
lives longer."""


class EngineStarts:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.unwatched: list[float] = []  # when those began that nobody has watched yet

    def saw(self, began_at: float) -> None:
        """An engine began then (wall seconds); 0.0: not known."""
        if began_at and began_at not in self.unwatched:
            # one that ends at once may do so for days
            self.unwatched = [*self.unwatched[1 - EARLIER :], began_at]

    async def pause(self, seconds: float) -> None:
        """Waits for the next try to reach the engine, and notes each one that begins meanwhile."""
        while True:
            self.saw(await self._engine.started_at())
            part = min(seconds, LOOKS_EVERY)
            await asyncio.sleep(part)
            seconds -= part
            if seconds <= 0.0:
                return

    def watched(
        self,
        info: EngineInfo,
        bridge_made_at: float,
        before: EngineStart,
        listed: Iterable[Container] = (),
    ) -> EngineStart:
        """The start of the engine that is watched from now on; `before`: of the one that was
        watched until now; `listed`: its containers."""
        self.saw(info.started_at)
        start = EngineStart.told(info.started_at, bridge_made_at, live_restore=info.live_restore)
        # With live-restore none of them stopped anything.
        start = start.after_others(before, () if info.live_restore else self.unwatched)
        self.unwatched = []
        return start if info.live_restore else start.with_witnesses(listed, before)
