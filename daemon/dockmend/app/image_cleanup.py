"""Removes images of an incident that a later image of the same incident has replaced.

A commit goes on in the engine when its client is gone. If it ends after it was given up, and
after another attempt made its image, there are two images instead of one, and nobody waits for
the first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from dockmend.actions.image_retention import by_incident, leave_one
from dockmend.errors import EngineError
from dockmend.journal.records import Incident
from dockmend.model import Image
from dockmend.owned import INCIDENT
from dockmend.ownership import Ownership
from dockmend.pipeline.incidents import Incidents
from dockmend.rules.rule import RuleSet

log = structlog.get_logger("dockmend")

EVERY = 600.0
"""Seconds between two looks: as long as the call of a commit may take."""
COMMIT_ENDS = 3600.0
"""Seconds after which no commit is still going on: six times what its call may take."""


class ImageCleanup:
    """`shadow`: nothing is done. `due`: they are looked for soon."""

    def __init__(self, own: Ownership, incidents: Incidents, shadow: bool) -> None:
        self._own = own
        self._incidents = incidents
        self._shadow = shadow
        self._committing: frozenset[str] = frozenset()
        self.due = asyncio.Event()
        self.due.set()  # what the dockmend before this one left

    def use(self, rules: RuleSet) -> None:
        """Which rules commit: theirs are the incidents that leave images."""
        steps = {rule.name: (*rule.then, *rule.finally_, *rule.escalate) for rule in rules.rules}
        self._committing = frozenset(
            name
            for name, mine in steps.items()
            if any(step.action == "commit_image" for step in mine)
        )

    def closed(self, incident: Incident) -> None:
        """An incident came to its end: what it left is looked at."""
        if incident.rule in self._committing:
            self.due.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self.due.wait()
            self.due.clear()
            if not self._shadow:
                await self.once()

    async def once(self) -> None:
        """One look. Those of incidents in hand are left alone: one may just be about to get its
        name."""
        try:
            images = await self._own.engine.images({INCIDENT: ""})
            for (incident, reference), mine in by_incident(self._own, images).items():
                if len(mine) > 1 and not self._incidents.in_hand(incident):
                    told = await leave_one(self._own, mine)
                    log.info(
                        "an incident left more than one image",
                        id="spare_images_found",
                        incident=incident,
                        image=reference,
                        left=told,
                    )
            self._forget_gone(images)
        except EngineError as error:
            log.info(
                "spare images are looked for later: the engine does not answer",
                id="image_cleanup_postponed",
                error=str(error),
            )

    def _forget_gone(self, images: Iterable[Image]) -> None:
        """Rows of images that a person removed, and of commits that never ended."""
        there = {row.id for image in images if (row := self._own.objects.image(image)) is not None}
        for row in self._own.objects.here("image"):
            if row.id not in there and self._own.clock() >= row.made_at + COMMIT_ENDS:
                self._own.forget(row)
