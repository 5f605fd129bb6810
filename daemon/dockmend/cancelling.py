"""Ending tasks, also those that lose the first word of it.

A TaskGroup of which a task fails as it is cancelled raises that failure, and the cancellation is
forgotten (CPython's `TaskGroup.__aexit__`): who handles the failure and goes on would never end. So
the word is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

SAID_AGAIN = 5.0
"""Seconds after which a task that has not ended is cancelled once more: time to take leave in."""


async def end_all(tasks: Iterable[asyncio.Task[Any]], again: float = SAID_AGAIN) -> None:
    """Cancels tasks, again and again until each is over; what they raise is for those that await
    them."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
