"""The one resolver: which container a reference in a definition means today.

By id first, so that an owner that was renamed is still the owner; then by the memory (who took its
place, or who bears what it was called by); then by name. A reference is what `network_mode`,
`pid_mode`, `ipc_mode`, links, `volumes-from` and `dockmend.depends-on` name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from dockmend.mirror.identities import Identities, is_digits, is_id
from dockmend.model import Container, target_of

_BY_NAME = "container:"


class PresentContainers(Protocol):
    """The containers that are there."""

    def container(self, container_id: str) -> Container | None: ...
    def container_named(self, name: str) -> Container | None: ...
    def of_target(self, target: str) -> Container | None: ...
    def beginning_with(self, digits: str) -> Container | None:
        """The one whose id begins so; None where it is none, or several."""


class Snapshot:
    """Some containers, to be asked for often while they do not change."""

    def __init__(self, containers: Iterable[Container]) -> None:
        self.nodes = {each.id: each for each in containers}
        self._sorted: list[str] = []  # ids, once the beginning of one is asked for
        self._names = {each.name: each for each in self.nodes.values()}
        self._targets: dict[str, Container] = {}
        for each in self.nodes.values():  # a running one where several bear the name
            target = target_of(each)
            if each.running or target not in self._targets:
                self._targets[target] = each

    def container(self, container_id: str) -> Container | None:
        return self.nodes.get(container_id)

    def container_named(self, name: str) -> Container | None:
        return self._names.get(name)

    def of_target(self, target: str) -> Container | None:
        return self._targets.get(target)

    def beginning_with(self, digits: str) -> Container | None:
        if not self._sorted:
            self._sorted = sorted(self.nodes)
        at = bisect_left(self._sorted, digits)
        return self.nodes.get(only_beginning_with(self._sorted[at : at + 2], digits) or "")


@dataclass(frozen=True, slots=True)
class Resolver:
    present: PresentContainers
    identities: Identities

    def container(self, reference: str) -> Container | None:
        """Who is meant; None where nobody that is there is."""
        for candidate in self.candidates(reference):
            found = self.present.container(candidate)
            if found is None and not is_id(candidate):  # a name may be the id of one that is gone
                found = self.present.container_named(candidate)
            if found is not None:
                return found
        return None

    def candidates(self, reference: str) -> Iterator[str]:
        """Ids and names to look for, the best first: for one who asks the engine, which may be
        ahead of the mirror."""
        yield reference
        yield from self.identities.in_its_place(reference)
        for key in self.identities.keys(reference):
            if (found := self.present.of_target(key)) is not None:
                yield found.id
            elif key.startswith(_BY_NAME):
                yield key.removeprefix(_BY_NAME)
        if is_digits(reference) and not is_id(reference):
            if (found := self.present.beginning_with(reference)) is not None:
                yield found.id
            else:
                known = only_beginning_with(self.identities.known, reference)
                if known is not None:
                    yield from self.candidates(known)

    def key(self, reference: str) -> str:
        """The target of who is meant or, where nobody is there, of who was; "" where nothing
        tells."""
        found = self.container(reference)
        if found is not None:
            return target_of(found)
        keys = self.identities.keys(reference)
        return keys[0] if keys else "" if is_id(reference) else f"{_BY_NAME}{reference}"


def only_beginning_with(ids: Iterable[str], digits: str) -> str | None:
    """The id that begins so; None where none does, or several."""
    found = [each for each in ids if each.startswith(digits)]
    return found[0] if len(found) == 1 else None
