"""Indexes over the mirror's containers, so that no question has to look at all of them.

The mirror adds a record to the index when it learns of a container, files it again when the
container changes, and drops it when the container is gone.
"""

from __future__ import annotations

from dockmend.mirror.container_record import ContainerRecord
from dockmend.model import target_of

Keys = tuple[str, str]


class ContainerIndex:
    """Entries by target and by name.

    A key holds its entries in the order in which they were filed under it.
    """

    def __init__(self) -> None:
        self._filed: dict[str, Keys] = {}  # by id: the keys under which an entry is found
        self._by: tuple[dict[str, tuple[ContainerRecord, ...]], ...] = ({}, {})

    def file(self, entry: ContainerRecord) -> None:
        """Files an entry under its present keys; to be called whenever one of them may be
        another."""
        container = entry.kept.container
        keys = (target_of(container), container.name)
        before = self._filed.get(container.id)
        if keys == before:
            return
        if before is not None:
            self._take_out(container.id, before)
        self._filed[container.id] = keys
        for by, key in zip(self._by, keys, strict=True):
            if key:
                by[key] = (*by.get(key, ()), entry)

    def drop(self, container_id: str) -> None:
        keys = self._filed.pop(container_id, None)
        if keys is not None:
            self._take_out(container_id, keys)

    def of_target(self, target: str) -> tuple[ContainerRecord, ...]:
        return self._by[0].get(target, ())

    def named(self, name: str) -> tuple[ContainerRecord, ...]:
        return self._by[1].get(name, ())

    def filed(self) -> set[tuple[str, str, str]]:
        """(id, target, name) of each entry, as it is found here."""
        return {(container_id, *keys) for container_id, keys in self._filed.items()}

    def _take_out(self, container_id: str, keys: Keys) -> None:
        for by, key in zip(self._by, keys, strict=True):
            if not key:
                continue
            left = tuple(each for each in by[key] if each.container.id != container_id)
            if left:
                by[key] = left
            else:
                del by[key]
