"""Timers: parked incidents that come back to their lanes when they are due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

LONGEST_SLEEP = 30.0


class Timers:
    """`due(key)` is called when a key's time has come; setting a key again moves it."""

    def __init__(self, clock: Callable[[], float], due: Callable[[str], None]) -> None:
        self._clock = clock
        self._due = due
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._changed = asyncio.Event()

    def set(self, key: str, at: float) -> None:
        """`at`: by the clock; a time that has passed is due at once."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._at) + 64:  # mostly what was moved or dropped
            self._heap = [(when, each) for each, when in self._at.items()]
            heapq.heapify(self._heap)
        self._changed.set()

    def drop(self, key: str) -> None:
        self._at.pop(key, None)

    def __contains__(self, key: str) -> bool:
        return key in self._at

    async def run(self) -> None:
        """Runs until cancelled. Never waits long: the loop's own clock stands while the machine
        sleeps."""
        while True:
            now = self._clock()
            while self._heap and self._heap[0][0] <= now:
                at, key = heapq.heappop(self._heap)
                if self._at.get(key) == at:
                    del self._at[key]
                    self._due(key)
            self._changed.clear()
            rest = min(LONGEST_SLEEP, self._heap[0][0] - now) if self._heap else None
            try:
                async with asyncio.timeout(rest):
                    await self._changed.wait()
            except TimeoutError:
                continue
