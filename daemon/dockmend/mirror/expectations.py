"""Expectations: the events that dockmend's own actions cause. They must trigger nothing.

An expectation is open from when dockmend asks the engine until the last event of the action was
seen. If that never comes, it closes one second after the outcome. An event from before that,
while the intent is on its way to disk, is somebody else's. What happens to other containers
meanwhile is a consequence and triggers as always.

An action ends the run that it finds, never the one that it begins. What it made and may take away
again is on trial: if that ends, nothing is told before the action has decided. If it stays, the end
has its own cause. If it is taken away, the action opens an expectation of that, and the end is its
doing.
"""

from __future__ import annotations

from msgspec import Struct, field

from dockmend.action_traits import ENDING, REMOVES, TRAITS

GRACE = 1.0
"""Seconds after the outcome for which an action's events may still be on their way."""

MAKES = "make"
"""The stage of a recreation in which nothing is asked of the old one yet."""


class Expectation(Struct):
    action: str
    leaves: set[str] = field(default_factory=set)  # networks that it takes the container out of
    seen: set[str] = field(default_factory=set)
    asked: bool = True  # whether the engine may have been asked for anything yet
    until: float | None = None  # set with the outcome: wall seconds
    on_trial: bool = False  # of a container that the action made and may take away again
    earlier: Expectation | None = None  # of the step before: its events may still be on their way

    def covers(self, now: float) -> bool:
        if not self.asked or (self.until is not None and now >= self.until):
            return False
        return not self.spent

    @property
    def spent(self) -> bool:
        row = TRAITS.get(self.action)
        return row is not None and bool(row.last_events) and row.last_events <= self.seen

    def tries(self, now: float) -> bool:
        """Whether its container is on trial."""
        return self.on_trial and self.covers(now)

    @property
    def ends_a_run(self) -> bool:
        return self.action in ENDING

    def takes(self, action: str) -> bool:
        """Whether such an event can be its doing at all."""
        if action == "die":
            return self.ends_a_run and not self.on_trial and "start" not in self.seen
        if action in ("kill", "stop"):
            return self.ends_a_run and not self.on_trial
        return action != "destroy" or self.action in REMOVES

    def note(self, action: str) -> None:
        self.seen.add(action)
