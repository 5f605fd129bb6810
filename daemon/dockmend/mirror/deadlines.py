"""Deadlines: what the mirror looks at later, because something that should happen by then may not
happen.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from dockmend.model import Change

Then = Callable[[float], Iterable[Change]]
"""Called with the time (wall seconds); returns what follows."""


def raises(what: str, error: Exception) -> Iterable[Change]:
    """What becomes of a fault where nobody says otherwise."""
    raise error


class Deadlines:
    """In order of time, and of asking where that is the same. `on_fault(container's id, error)` is
    told of an error of dockmend's own: "" where it is not known whose it is."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Then]] = []
        self._sequence = 0
        self.on_fault: Callable[[str, Exception], Iterable[Change]] = raises

    def next_due(self) -> float | None:
        """When `tick` has something to do: wall seconds."""
        return self._due[0][0] if self._due else None

    def tick(self, now: float, at_most: int | None = None) -> list[Change]:
        """Does what is due; `at_most` so many things, the others are left for the next call."""
        changes: list[Change] = []
        done = 0
        while self._due and self._due[0][0] <= now and done != at_most:
            then = heapq.heappop(self._due)[2]
            try:
                changes += then(now)
            except Exception as error:  # noqa: BLE001 - whatever it is, what else is due comes on time
                changes += self.on_fault("", error)
            done += 1
        return changes

    def later(self, when: float, then: Then) -> None:
        self._sequence += 1
        heapq.heappush(self._due, (when, self._sequence, then))

    def put_off(self, by: float) -> None:
        """The wall clock was set by that many seconds: what is due, is due after as long as
        before."""
        self._due = [(when + by, sequence, then) for when, sequence, then in self._due]
