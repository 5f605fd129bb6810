"""Leftovers: helpers, jobs and half-written files that nobody is at work with any more.

Only what the journal proves to be dockmend's own is removed, and only once its incident is closed
(or the command that made it has ended). Where dockmend may not act nothing of this runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog

from dockmend.errors import EngineAway, EngineError
from dockmend.journal.records import Incident
from dockmend.owned import COMMAND, HIDDEN, OwnedObject
from dockmend.ownership import Ownership
from dockmend.pipeline.incidents import Incidents
from dockmend.snapshots.helper_owner import gone
from dockmend.snapshots.snapshot_store import SnapshotStore

log = structlog.get_logger("dockmend")

EVERY = 600.0
"""Seconds between two looks if nothing is known to be left, and at the most."""
SOON = 2.0
"""Seconds until the next look at what an engine did not remove, twice as long after each: it may
only have refused once, and until then nobody can remove the volume that is mounted there."""


class Leftovers:
    """`snapshots`: the folder of the snapshots."""

    def __init__(self, own: Ownership, incidents: Incidents, snapshots: Path) -> None:
        self._own = own
        self._incidents = incidents
        self._snapshots = snapshots
        self._wait = 0.0  # seconds until the next look: grows while something is left
        self.due = asyncio.Event()

    async def run(self) -> None:
        """Looks now and then, and when `due` is set. Runs until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await self.due.wait()
                self._wait = 0.0
            self.due.clear()
            await self.remove()

    def closed(self, incident: Incident) -> None:
        """Whatever is there still that was made for it is nobody's from now on."""
        if any(row.incident == incident.id for row in self._own.objects.here(*HIDDEN)):
            self.due.set()

    async def at_start(self) -> None:
        """What the dockmend before this one left, half-written files as well: nothing is being
        written yet."""
        await self.remove()
        SnapshotStore(self._snapshots).clean()

    async def remove(self) -> None:
        """One look."""
        for row in self._own.objects.here(*HIDDEN):
            if not self._abandoned(row):
                continue
            try:
                if await self._own.remove(row, volumes=row.purpose == "job"):
                    log.info(
                        "removed a helper that was left behind",
                        id="helper_removed",
                        container=row.name,
                        incident=row.incident,
                    )
            except EngineError as error:
                log.warning(
                    "a helper that was left behind could not be removed yet",
                    id="helper_not_removed", container=row.name, incident=row.incident,
                    error=str(error),
                )  # fmt: skip
                if isinstance(error, EngineAway):
                    break  # nor would it answer for the others
        # Also one that is not there, but that the engine may still be making.
        left = any(self._abandoned(row) for row in self._own.objects.here(*HIDDEN))
        self._wait = min(EVERY, max(SOON, self._wait * 2)) if left else EVERY

    def _abandoned(self, row: OwnedObject) -> bool:
        if row.incident.startswith(COMMAND):
            return gone(row.incident)
        return not self._incidents.in_hand(row.incident)
