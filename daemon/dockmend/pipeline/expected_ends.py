"""Ends that dockmend expects, because it was ending a container when it was cut short.

An expectation lasts as long as its call and one second more. The engine goes on without either of
them. A container that ends after the connection was lost, or after dockmend died, was still ended
by dockmend and not by a person.
"""

from __future__ import annotations

import math

from dockmend.action_traits import ENDING, SIGNALLING, STOPPING
from dockmend.journal.records import ActionRecord
from dockmend.mirror import Mirror
from dockmend.mirror.expectations import GRACE, MAKES

LATEST = 5.0
"""Seconds beyond the stop timeout within which the engine has ended it."""


def tell(mirror: Mirror, record: ActionRecord, moved: float = 0.0) -> None:
    """`record`: a step with times of the wall clock; `moved`: by how many seconds that was set
    since.

    What was done for a person whose stop was lost (`after`) is that person's.
    """
    before = record.undo.get(record.action)
    undo = before if isinstance(before, dict) else {}
    if undo.get("step") == MAKES:
        return  # of a recreation that had not asked for any end yet
    if record.action in STOPPING and undo:
        began, patience = (
            float(undo.get("started_at") or 0.0),
            float(undo.get("stop_timeout") or 0.0),
        )
        again = record.action == "restart"
        mirror.asks_to_stop(record.object_id, record.id, began, again=again, patience=patience)
    if record.action in SIGNALLING:
        mirror.signals(record.object_id)
    if record.action not in ENDING or record.part == "after":
        return
    begun = float(undo.get("started_at") or math.inf)
    stopped_at = float(undo.get("at", record.began_at))
    until = record.ended_at or stopped_at + float(undo.get("stop_timeout", 0.0)) + LATEST
    # only to put the old one back is it stopped
    successor = str(undo.get("new") or "") if undo.get("back") else ""
    for container_id in filter(None, {record.object_id, successor}):
        of = begun if container_id == record.object_id else math.inf
        mirror.acted(container_id, record.began_at, until + GRACE, of)
        if moved:  # it may have been done before or after the clock was set
            mirror.acted(container_id, record.began_at + moved, until + moved + GRACE, of)
