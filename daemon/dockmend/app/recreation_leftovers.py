"""Containers that a recreation left although its incident is closed: put right if possible.

They are old ones that were set aside and new ones that never took their place, for example
because the engine refused to rename one back. The journal says which container gets what. A
container that only has such a name is left alone, and the log names the commands that put it
right.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from dockmend.actions.container_swap import Undo
from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineError, JournalError, NotFound
from dockmend.guards import Guards
from dockmend.journal.journal_api import Journal
from dockmend.mirror import Mirror
from dockmend.model import Container
from dockmend.owned import OwnedObject
from dockmend.ownership import Ownership
from dockmend.pipeline.incidents import Incidents
from dockmend.set_aside import stranded

log = structlog.get_logger("dockmend")

BEGUN = "aside/"
"""Key of what is begun here: the id of a container that takes its name again and is to be started.
The value: when its last run until then began; b"" in what an earlier version wrote."""


@dataclass(slots=True)
class RecreationLeftovers:
    engine: Engine
    own: Ownership
    journal: Journal
    mirror: Mirror
    incidents: Incidents
    guards: Guards

    async def put_right(self) -> None:
        """Gives each its name back if that is free, and starts it if it ran. Successors that were
        never used go."""
        await self._go_on()
        for row in self.own.objects.here("aside", "successor"):
            if not self.incidents.in_hand(row.incident):
                await self._look_after(row)

    async def settled(self, incident_id: str) -> None:
        """The steps of a closed incident were looked after since the start."""
        for row in self.own.objects.here("aside", "successor"):
            if row.incident == incident_id and not self.incidents.in_hand(incident_id):
                await self._look_after(row)

    async def _look_after(self, row: OwnedObject) -> None:
        try:
            undo, unsettled = await self._journalled(row)
            if not unsettled and (container := await self.own.find(row)) is not None:
                await self._one(row, container, undo)
        except (EngineError, JournalError) as error:
            log.warning(
                "left aside, and could not be put right",
                id="aside_failed",
                container=row.name,
                error=str(error),
            )

    def tell(self) -> None:
        """Says of each container that only has such a name what a person may do."""
        for each in stranded(self.mirror.containers(), self.own.objects):
            log.warning(
                "a container has a name that a recreation gives, and the journal does not know "
                "it: it is left as it is",
                id="aside_unknown", container=each.container.name, why=each.why,
                commands=each.commands,
            )  # fmt: skip

    async def _go_on(self) -> None:
        """What the dockmend before this one had begun here."""
        for key in await self.journal.known_keys(BEGUN):
            try:
                container = await self.engine.inspect(key.removeprefix(BEGUN))
                # Its row may still be there: dockmend can have died before that was gone from the
                # disk.
                row = self.own.objects.of(container)
                named = row is None or container.name != row.name
                if named and not container.running and await self._is_owed_a_start(key, container):
                    await self.engine.start(container.id)
            except NotFound:
                pass
            except (EngineError, JournalError, msgspec.MsgspecError) as error:
                log.warning(
                    "what was set aside could not be started",
                    id="aside_not_started",
                    error=str(error),
                )
                continue
            with contextlib.suppress(JournalError):  # the next start finds it running
                self.journal.put_known(key, None)

    async def _is_owed_a_start(self, key: str, container: Container) -> bool:
        """False if it has run since: then it was started, and what ended it is no business of
        this."""
        began = await self.journal.known_value(key)
        same_run = not began or container.started_at <= msgspec.msgpack.decode(began, type=float)
        return same_run and not self.mirror.stopped(container.id)

    async def _journalled(self, row: OwnedObject) -> tuple[Undo | None, bool]:
        """What the journal remembers of the exchange, and whether that is still to be settled."""
        story = await self.journal.story(row.incident)
        records = story[1] if story is not None else []
        undo = next((found for record in records if (found := _undo_of(row, record.undo))), None)
        return undo, any(record.outcome is None for record in records)

    async def _one(self, row: OwnedObject, container: Container, undo: Undo | None) -> None:
        if container.name != row.name:
            self.own.forget(row)  # it has its place, or a person gave it another name
        elif row.purpose == "successor":
            await self.own.remove(row, volumes=True)
            log.info(
                "removed a container that was made for a recreation and never used",
                id="successor_removed",
                container=row.name,
            )
        elif undo is not None:
            await self._back(row, container, undo)

    async def _back(self, row: OwnedObject, container: Container, undo: Undo) -> None:
        other = self.mirror.container_named(undo.name)
        forbidden = self.guards.protects(replace(container, name=undo.name))
        if other is not None or forbidden:
            why = f"{undo.name} is there" if other else forbidden.reason if forbidden else ""
            log.warning(
                "set aside by a recreation and left as it is: look at both",
                id="aside_left", container=container.name, why=why,
                commands=f"docker rm {container.name}",
            )  # fmt: skip
            return
        start = (
            undo.was_running and not container.running and container.finished_at >= undo.began_at
        )
        if start := start and not self.mirror.stopped(container.id):
            self.journal.put_known(
                BEGUN + container.id, msgspec.msgpack.encode(container.started_at)
            )
            await self.journal.committed()
        # Before it has its name: from then on it counts as put right, but for its start.
        if container.restart_policy != (undo.restart_policy.get("Name") or "no"):
            await self.engine.update(container.id, {"RestartPolicy": undo.restart_policy})
        await self.engine.rename(container.id, undo.name)
        self.own.forget(row)
        if start:
            await self.engine.start(container.id)
            self.journal.put_known(BEGUN + container.id, None)
        log.warning(
            "a container was left aside by a recreation that could not be undone: it has its "
            "name again",
            id="aside_put_right", container=undo.name, started=start,
        )  # fmt: skip


def _undo_of(row: OwnedObject, remembered: dict[str, Any]) -> Undo | None:
    """The memory of the exchange that gave the name of a row."""
    for value in remembered.values():
        if isinstance(value, dict) and value.get("aside") == row.name:
            try:
                return msgspec.convert(value, Undo)
            except msgspec.ValidationError:  # of another version
                return None
    return None
