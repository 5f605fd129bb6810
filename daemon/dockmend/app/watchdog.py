"""systemd's watchdog, fed by progress of the watch and not by a timer that would go on while
nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dockmend.tell.notify_systemd import Notifier
from dockmend.timekeeping import Clock

STALLED = 90.0
"""Seconds without progress of the watch after which the watchdog is not fed any more."""


async def feed(notifier: Notifier, progress: Callable[[], int], clock: Clock) -> None:
    """Runs until cancelled. `progress` is another number whenever the watch has come on."""
    assert notifier.watchdog is not None
    seen, since = -1, clock()
    while True:
        if progress() != seen:
            seen, since = progress(), clock()
        if clock() - since < STALLED:
            notifier.alive()
        await asyncio.sleep(notifier.watchdog / 2)
