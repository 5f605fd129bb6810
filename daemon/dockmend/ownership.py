"""Makes, finds and removes what is dockmend's own on an engine, with the journal as the only proof
of it.

`claim` is on disk before the engine is asked. Who dies in between leaves a row from which a later
dockmend knows what it may remove; who finds no row removes nothing.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from dockmend.engine.engine_api import Engine, EngineInfo
from dockmend.errors import EngineError, JournalError, NotFound
from dockmend.journal.journal_api import OwnedRows
from dockmend.model import HELPER_LABEL, Container
from dockmend.owned import HIDDEN, ObjectKind, OwnedObject, OwnedObjects, Purpose, identified

log = structlog.get_logger("dockmend")

STILL_MAKING = 60.0
"""Seconds after a claim within which the engine may still be making what nobody waits for any
more."""


def _new_row_id() -> str:
    return f"o{secrets.token_hex(8)}"


@dataclass(slots=True)
class Ownership:
    """`clock`: wall seconds, as the engine's own times; `new_row_id`: ids of rows, different from
    each other."""

    engine: Engine
    journal: OwnedRows
    clock: Callable[[], float]
    objects: OwnedObjects = field(default_factory=OwnedObjects)
    new_row_id: Callable[[], str] = _new_row_id

    async def connect(self) -> EngineInfo:
        """Who answers; what was made on that engine is looked at from now on. Raises
        EngineError."""
        info = await self.engine.connect()
        self.objects.engine_id = info.identity
        return info

    async def claim(
        self,
        kind: ObjectKind,
        name: str,
        incident: str,
        purpose: Purpose,
        object_id: str = "",
        mark: str = "",
    ) -> OwnedObject:
        """Writes down that the engine is about to be asked for an object; it is on disk when this
        returns.

        `object_id`: where it is there already and is taken in hand; `mark`: see OwnedObject. Raises
        JournalError.
        """
        row = OwnedObject(
            self.new_row_id(),
            kind,
            name,
            self.objects.engine_id,
            incident,
            purpose,
            self.clock(),
            object_id,
            mark,
        )
        self.journal.put_owned(row)
        await self.journal.committed()
        self.objects.put(row)
        return row

    def identified(self, row: OwnedObject, object_id: str) -> OwnedObject:
        """The engine said which id the object has."""
        known = identified(row, object_id)
        self.objects.put(known)
        # Were this row not written, the one without the id still proves the object, by its name and
        # label.
        with contextlib.suppress(JournalError):
            self.journal.put_owned(known)
        return known

    def forget(self, row: OwnedObject) -> None:
        """The object is known to be gone, or to be its user's alone."""
        self.objects.drop(row)
        # the row stays, and the next look finds the object gone
        with contextlib.suppress(JournalError):
            self.journal.remove_owned(row.id)

    # ----------------------------------------------------------------------------------- containers

    async def create(
        self, name: str, body: Mapping[str, Any], incident: str, purpose: Purpose
    ) -> OwnedObject:
        """Makes a container. Raises EngineError, and then nothing was made unless the engine did
        not answer; JournalError, and then the engine was not asked."""
        row = await self.claim("container", name, incident, purpose)
        if purpose in HIDDEN:
            body = {
                **body,
                "Labels": {
                    **(body.get("Labels") or {}),
                    HELPER_LABEL: self.objects.label(incident),
                },
            }
        try:
            return self.identified(row, await self.engine.create(name, body))
        except EngineError as error:
            if not error.unanswered:  # the engine said that it did not make it
                self.forget(row)
            raise

    async def find(self, row: OwnedObject) -> Container | None:
        """The container that a row proves to be dockmend's, as it is now; None if it is not there,
        or if what bears its name is somebody else's. The row of one that is not there goes, once
        the engine cannot be making it any more. Raises EngineError."""
        try:
            found = await self.engine.inspect(row.object_id or row.name)
        except NotFound:
            if row.object_id or self.clock() >= row.made_at + STILL_MAKING:
                self.forget(row)
            return None
        if row.object_id:
            return found if found.id == row.object_id else None
        proven = self.objects.of(found)
        if proven is None or proven.id != row.id:
            return None
        self.identified(row, found.id)
        return found

    async def remove(self, row: OwnedObject, volumes: bool = False) -> bool:
        """Removes the container of a row by force, also a running one; False if there was none.

        `volumes`: its anonymous ones as well. Raises EngineError.
        """
        found = await self.find(row)  # once it is gone, its id may be another's name
        if found is None:
            return False
        removed = True
        try:
            await self.engine.remove(found.id, force=True, volumes=volumes)
        except NotFound:
            removed = False
        self.forget(row)
        return removed

    def of_incident(self, incident: str, *purposes: Purpose) -> list[OwnedObject]:
        """What was made on this engine for an incident (or a command)."""
        return [row for row in self.objects.here(*purposes) if row.incident == incident]
