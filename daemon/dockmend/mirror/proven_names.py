"""Which names like those that a recreation gives are dockmend's doing: anybody may choose such a
name."""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.mirror.identities import Identities
from dockmend.model import Container, without_aside
from dockmend.owned import OwnedObjects


@dataclass(frozen=True, slots=True)
class ProvenNames:
    """By the journal: `owned` tells of what is in hand, `identities` of what was: links go on to
    name what is gone.

    It passes engine.engine_api.OwnNames.
    """

    owned: OwnedObjects
    identities: Identities

    def judged(self, container: Container) -> Container:
        return self.owned.judged(container)

    def plain_name(self, name: str) -> str:
        plain = self.owned.plain_name(name)
        return (
            without_aside(name) if plain == name and self.identities.was_set_aside(name) else plain
        )
