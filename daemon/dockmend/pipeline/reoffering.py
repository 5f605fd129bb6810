"""Offers troubles that still stand to rules that may answer them now, in slices: nothing else
waits long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dockmend.mirror import Mirror
from dockmend.model import Change

AT_ONCE = 50
"""Containers, or changes, that are offered before other tasks get their turn: each may begin an
incident."""


async def in_slices(changes: list[Change], offer: Callable[[Iterable[Change]], None]) -> None:
    """Offers changes in order; other tasks run between the slices."""
    for begin in range(0, len(changes), AT_ONCE):
        offer(changes[begin : begin + AT_ONCE])
        await asyncio.sleep(0)


async def offer_standing(mirror: Mirror, again: Callable[[Iterable[Change]], None]) -> None:
    """Offers each trouble that still stands when its turn comes."""
    ids = list(mirror.entries)
    for begin in range(0, len(ids), AT_ONCE):
        again(mirror.standing(ids[begin : begin + AT_ONCE]))
        await asyncio.sleep(0)


@dataclass(slots=True)
class Reoffering:
    """Whoever has a reason to offer all that stands calls `ask`; several reasons at once are one
    round."""

    mirror: Mirror
    again: Callable[[Iterable[Change]], None]
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await offer_standing(self.mirror, self.again)
