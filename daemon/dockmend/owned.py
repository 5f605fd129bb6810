"""What is dockmend's own on an engine: only what its journal says it made, never what a label or a
name says.

A row is written before the engine is asked to make something, and the engine's id is added once it
is known. The row goes when the object is gone, or when it is nobody's but its user's any more (a
recreated container that has its name).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from dockmend.model import HELPER_LABEL, Container, Image, read_aside, without_aside

ObjectKind = Literal["container", "image", "volume"]
Purpose = Literal[
    "helper",  # reads or writes a volume; never started
    "job",  # of the action `run`
    "successor",  # of a container that is recreated or made again, until it has its name
    "aside",  # a user's container that is set aside while its successor proves well
    "image",  # of commit_image
    "demo",  # all that `dockmend demo` makes
    "restored",  # a volume that is being filled from a snapshot
]
INCIDENT, REFERENCE, COMMITTED_AT = (
    "dockmend.incident",
    "dockmend.reference",
    "dockmend.committed_at",
)
"""Labels of an image that commit_image made: whom it is for, under which reference, and when (to
the microsecond)."""

HIDDEN: frozenset[Purpose] = frozenset({"helper", "job"})
"""What no rule is about and no list shows: dockmend's own tools."""

COMMAND = "command."
"""How the owner begins that is no incident but a command of dockmend's; see
snapshots/helper_owner.py."""
CLOCKS_DIFFER = 1.0
"""Seconds by which the engine's time of making may lie before the row's. Both are of one clock on
one host."""
GONE_KEPT = 1024
"""Engine ids remembered of what is gone: its last events may be read after its removal was
answered."""


class OwnedObject(Struct, frozen=True):
    """A row of the table `owned`. `incident`: the incident (or the command) that it was made
    for."""

    id: str  # of the row
    kind: ObjectKind
    name: str  # under which the engine was asked for it; an image's reference
    engine_id: str  # EngineInfo.identity of the engine that it was asked of
    incident: str
    purpose: Purpose
    made_at: float  # wall seconds, right before the engine was asked
    object_id: str = ""  # the engine's id of it; "" until that is known
    mark: str = ""  # of an image: what its label COMMITTED_AT says, which no other commit's does


class OwnedObjects:
    """The rows in memory. `instance`: the id of the state folder; `engine_id`: of the engine that
    is looked at."""

    def __init__(
        self, instance: str = "", rows: Iterable[OwnedObject] = (), engine_id: str = ""
    ) -> None:
        self.instance = instance
        self.engine_id = engine_id
        self.rows: dict[str, OwnedObject] = {}
        self._by_object: dict[str, str] = {}
        # containers whose id the engine has not told (yet)
        self._awaited: dict[str, OwnedObject] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()  # engine ids of tools that are gone
        self.load(instance, rows)

    def load(self, instance: str, rows: Iterable[OwnedObject]) -> None:
        """What the journal holds."""
        self.instance = instance
        for row in rows:
            self.put(row)

    def put(self, row: OwnedObject) -> None:
        self.rows[row.id] = row
        if row.object_id:
            self._by_object[row.object_id] = row.id
            self._awaited.pop(row.id, None)
        elif row.kind == "container":
            self._awaited[row.id] = row

    def drop(self, row: OwnedObject) -> None:
        """It is gone, or its user's alone."""
        self._awaited.pop(row.id, None)
        if (known := self.rows.pop(row.id, None)) is None or not known.object_id:
            return
        self._by_object.pop(known.object_id, None)
        if known.purpose in HIDDEN:
            self._gone[known.object_id] = None
            while len(self._gone) > GONE_KEPT:
                self._gone.popitem(last=False)

    def label(self, incident: str) -> str:
        """The value of HELPER_LABEL on what is made for an incident. It helps people, and proves
        nothing alone."""
        return f"{self.instance}/{incident}"

    def here(self, *purposes: Purpose) -> list[OwnedObject]:
        """Rows of this engine with one of these purposes."""
        return [
            row
            for row in self.rows.values()
            if row.engine_id == self.engine_id and row.purpose in purposes
        ]

    def of(self, container: Container) -> OwnedObject | None:
        """The row that proves a container dockmend's own, or None: then it is an ordinary
        container.

        By its id. While that is not known (dockmend waits for the answer, or died before it) by its
        name and by a time of making that is not before the row's; a tool also bears its label,
        which its image must not have.
        """
        if (row_id := self._by_object.get(container.id)) is not None:
            return self.rows[row_id]
        for row in self._awaited.values():
            if (
                row.name == container.name
                and row.engine_id == self.engine_id
                and container.created_at >= row.made_at - CLOCKS_DIFFER
                and (
                    row.purpose not in HIDDEN
                    or container.labels.get(HELPER_LABEL) == self.label(row.incident)
                )
            ):
                return row
        return None

    def aside(self, container_id: str) -> OwnedObject | None:
        """The row of a container that is set aside."""
        row = self.rows.get(self._by_object.get(container_id, ""))
        return row if row is not None and row.purpose == "aside" else None

    def judged(self, container: Container) -> Container:
        """With the proof of what its name says: anybody may choose one like those that a recreation
        gives."""
        own = read_aside(container.name) is not None and self.of(container) is None
        return container if own == container.name_is_own else replace(container, name_is_own=own)

    def plain_name(self, name: str, container_id: str = "") -> str:
        """What a container of this name is called, of which no more is known than, perhaps, its
        id."""
        plain = without_aside(name)
        if plain == name:
            return name
        proven = any(
            row.name == name and (not container_id or row.object_id in ("", container_id))
            for row in self.rows.values()
        )
        return plain if proven else name

    def image(self, image: Image) -> OwnedObject | None:
        """The row that proves an image one that dockmend committed: by its id or, while that is not
        known (the engine goes on with a commit whose client is gone), by the labels that this very
        commit gave it.

        What is built from an image inherits its labels: of several without an id the first that was
        made is meant.
        """
        if (row_id := self._by_object.get(image.id)) is not None:
            return self.rows[row_id]
        labels = image.labels
        said = labels.get(INCIDENT), labels.get(REFERENCE), labels.get(COMMITTED_AT)
        return next(
            (
                row
                for row in self.here("image")
                if not row.object_id and (row.incident, row.name, row.mark) == said
            ),
            None,
        )

    def hides(self, container: Container) -> bool:
        """Whether a container is one of dockmend's tools: nothing that happens to it is anybody's
        trouble.

        A command (`dockmend snapshots …`) makes its helpers in a process of its own, so the daemon
        has no row of it. Their label names this state folder, and is the container's own: whoever
        made it wants it left alone.
        """
        if container.id in self._gone:
            return True
        if (row := self.of(container)) is not None:
            return row.purpose in HIDDEN
        return bool(self.instance) and container.labels.get(HELPER_LABEL, "").startswith(
            self.label(COMMAND)
        )

    def hides_event(self, container_id: str, attributes: Mapping[str, str]) -> bool:
        """The same, of what an event tells before anything was inspected: it has an image's labels
        as well."""
        if container_id in self._gone:
            return True
        if (row_id := self._by_object.get(container_id)) is not None:
            return self.rows[row_id].purpose in HIDDEN
        label = attributes.get(HELPER_LABEL)
        if label is None or not self.instance:
            return False
        if label.startswith(self.label(COMMAND)):
            return True
        name = attributes.get("name")
        return any(
            row.purpose in HIDDEN and row.name == name and self.label(row.incident) == label
            for row in self._awaited.values()
        )


def identified(row: OwnedObject, object_id: str) -> OwnedObject:
    """The same row with the engine's id."""
    return replace(row, object_id=object_id)
