"""The pauses that people asked for: which are in force, and the moment at which one ends by
itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from dockmend.journal.records import Pause

LONGEST_SLEEP = 30.0
"""Seconds after which the clock is looked at again: the machine may have slept, and the loop's own
clock stood."""


class Pauses:
    """`clock`: dockmend's, as the times of the pauses; `told(count)` is called whenever the
    number of those in force is another than before."""

    def __init__(
        self,
        clock: Callable[[], float],
        told: Callable[[int], None] = lambda count: None,
        pauses: Iterable[Pause] = (),
    ) -> None:
        self._clock = clock
        self._told = told
        self._pauses = list(pauses)
        self._changed = asyncio.Event()
        self._last = 0

    def in_force(self) -> list[Pause]:
        now = self._clock()
        self._pauses = [each for each in self._pauses if each.until is None or each.until > now]
        return list(self._pauses)

    def put(self, pause: Pause) -> None:
        """Takes the place of one of the same rule and target."""
        self._pauses = [*self._without(pause.rule, pause.target), pause]
        self._tell()

    def remove(self, rule: str | None, target: str | None) -> None:
        self._pauses = self._without(rule, target)
        self._tell()

    def _without(self, rule: str | None, target: str | None) -> list[Pause]:
        return [each for each in self.in_force() if (each.rule, each.target) != (rule, target)]

    def until(self, rule: str, target: str) -> float | bool | None:
        """False where nothing holds it; else until when it is held (by dockmend's clock;
        None: until resumed)."""
        held = [
            each.until
            for each in self.in_force()
            if each.rule in (None, rule) and each.target in (None, target)
        ]
        if not held:
            return False
        ends = [at for at in held if at is not None]
        return max(ends) if len(ends) == len(held) else None

    def _tell(self) -> None:
        self._changed.set()
        if (count := len(self.in_force())) != self._last:
            self._last = count
            self._told(count)

    async def run(self) -> None:
        """Runs until cancelled: tells when one ends."""
        while True:
            self._tell()
            self._changed.clear()
            ends = [each.until for each in self._pauses if each.until is not None]
            rest = min(LONGEST_SLEEP, max(0.0, min(ends) - self._clock())) if ends else None
            try:
                async with asyncio.timeout(rest):
                    await self._changed.wait()
            except TimeoutError:
                continue
