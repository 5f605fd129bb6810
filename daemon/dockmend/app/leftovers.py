"""Leftovers: helpers, jobs and half-written files that nobody is at work with any more.

Only what the journal proves to be dockmend's own is removed, and only once its incident is closed (or the command that
made it has ended). Where dockmend may not act nothing of this runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog

from dockmend.errors import EngineError
from dockmend.owned import COMMAND, OwnedObject
from dockmend.ownership import Ownership
from dockmend.pipeline.incidents import Incidents
from dockmend.snapshots.owner import gone
from dockmend.snapshots.store import Store

log = structlog.get_logger("dockmend")

EVERY = 600.0
"""Seconds between two looks: what could not be removed at once is rare, and harms nobody meanwhile."""


class Leftovers:
    """`snapshots`: the folder of the snapshots."""

    def __init__(self, own: Ownership, incidents: Incidents, snapshots: Path) -> None:
        self._own = own
        self._incidents = incidents
        self._snapshots = snapshots
        self.due = asyncio.Event()

    async def run(self) -> None:
        """Looks now and then, and when `due` is set. Runs until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self.due.wait()
            self.due.clear()
            await self.remove()

    async def at_start(self) -> None:
        """What the dockmend before this one left, half-written files as well: nothing is being written yet."""
        await self.remove()
        Store(self._snapshots).clean()

    async def remove(self) -> None:
        """One look."""
        try:
            for row in self._own.objects.here("helper", "job"):
                if self._abandoned(row) and await self._own.remove(row, volumes=row.purpose == "job"):
                    log.info("removed a helper that was left behind", container=row.name, incident=row.incident)
        except EngineError as error:
            log.warning("helpers that were left behind could not be removed yet", error=str(error))

    def _abandoned(self, row: OwnedObject) -> bool:
        if row.incident.startswith(COMMAND):
            return gone(row.incident)
        return row.incident not in self._incidents.open
