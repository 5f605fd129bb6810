"""Which dockmend may act on the engine. A daemon that gains or loses this is built anew, as at a
start.

So a second dockmend is a dry run from its first moment to its last. One that takes over has read
the journal, the rules and the engine as every start does.
"""

from __future__ import annotations

import asyncio

import structlog

from dockmend.app.engine_lock import EngineLock, Holder

log = structlog.get_logger("dockmend")

EVERY = 5.0
"""Seconds between two looks at the lock: so long nobody acts when the dockmend that did has
ended."""


class Leadership:
    """`lock`: None if this dockmend never waits for another one (a dry run, the demo's); `holder`:
    who acts instead of it. `over` is set when that is to change; then `holder` is who acts from now
    on."""

    def __init__(self, lock: EngineLock | None, holder: Holder | None = None) -> None:
        self._lock = lock
        self._engine_id = ""
        self.holder = holder
        self.over = asyncio.Event()

    @property
    def why_not(self) -> str:
        """Why this dockmend does not act; "" if it does."""
        if self.holder is None:
            return ""
        return (
            f"another dockmend acts on this engine ({self.holder.told}); this one takes over "
            "when that one ends"
        )

    def look(self, engine_id: str) -> bool:
        """Takes the lock of the engine that answers. False: it is another's turn than was thought,
        `over` is set."""
        self._engine_id = engine_id
        if self._lock is None:
            return True
        before, self.holder = self.holder, self._lock.take(engine_id)
        if (before is None) == (self.holder is None):
            return True
        log.warning(
            self.why_not
            or "the dockmend that acted on this engine has ended: this one acts from now on",
            id="leadership_changed",
        )
        self.over.set()
        return False

    async def run(self) -> None:
        """Looks again and again. Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            if self._engine_id and not self.over.is_set():
                self.look(self._engine_id)
