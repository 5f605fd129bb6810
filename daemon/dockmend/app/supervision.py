"""Supervises tasks that must run for ever. One that returns or raises is reported by name and
started again.

If it fails again and again, dockmend ends, and systemd starts it afresh.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from dockmend.errors import UsageError

TOO_OFTEN, WITHIN = 5, 60.0

log = structlog.get_logger("dockmend")


class PartFailed(Exception):
    """A part of the daemon cannot be kept running."""


async def forever(
    name: str, part: Callable[[], Awaitable[None]], clock: Callable[[], float]
) -> None:
    """Runs `part` again whenever it ends. Raises PartFailed after TOO_OFTEN ends within WITHIN
    seconds."""
    ends: deque[float] = deque(maxlen=TOO_OFTEN)
    while True:
        try:
            await part()
            why = "it returned"
        except UsageError:  # a wrong address or path: trying again cannot help
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            log.exception(
                "a part of dockmend failed and is begun anew",
                id="part_failed",
                part=name,
                error=why,
            )
        ends.append(clock())
        if len(ends) == TOO_OFTEN and ends[-1] - ends[0] < WITHIN:
            raise PartFailed(f"{name} failed {TOO_OFTEN} times within {WITHIN:.0f} s: {why}")
        await asyncio.sleep(min(5.0, 0.1 * 2 ** len(ends)))


async def every(seconds: float, do: Callable[[], None]) -> None:
    """Runs until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        do()
