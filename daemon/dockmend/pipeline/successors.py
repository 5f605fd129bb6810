"""A container that takes another one's place: one operation, whoever does it.

`recreate`, a missing container that is made again, and `compose up` that brings a missing one
back all call it. By then the journal holds it together with the intent. The next start replays it
before it applies any event. What belongs to the target (limits, breakers, pauses) needs no hand-
over: a successor has the target of its predecessor.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.journal.records import ActionRecord
from dockmend.mirror import Mirror
from dockmend.pipeline.incidents import Incidents

HEIR = "heir"
"""Key of an intent's undo: {"old": id, "new": id}."""


@dataclass(frozen=True, slots=True)
class Successors:
    mirror: Mirror
    incidents: Incidents

    def succeed(self, old: str, new: str) -> None:
        """`new` has taken the place of `old`: it has what was known of that one, and the open
        incidents of every rule. Bears repetition."""
        self.mirror.succeeded(old, new)
        self.follow()

    def follow(self) -> None:
        """Open incidents go on with the heirs of what they are about."""
        for incident in list(self.incidents.open.values()):
            heir = self.mirror.identities.heir_of(incident.object_id)
            if incident.kind == "container" and heir != incident.object_id:
                self.incidents.update(incident.id, object_id=heir)


def replay(mirror: Mirror, record: ActionRecord) -> None:
    """What a step of the journal says took another's place: told to the mirror before it hears of
    anything."""
    heir = record.undo.get(HEIR)
    if isinstance(heir, dict):
        mirror.succeeded(str(heir["old"]), str(heir["new"]))
