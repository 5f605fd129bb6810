"""How long a container must run before dockmend believes "running".

A container that ends by itself after 15 s looks well for the first 15 s of its next run. If that
counted as healed, one crash loop would open and close one incident after the other. So it must
run for longer than it did before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dockmend.decide import span_text
from dockmend.model import Container

STEADY = 2.0
"""Seconds a container must run before "running" is believed: one that ends at once was not
healed."""
LOOP = 60.0
"""Seconds: what ran longer than that before it ended is no loop. To wait for as long after days of
running would delay the heal for nothing, and what a minute does not show, the limit of attempts
does."""
AT_ONCE = 1.0
"""Seconds: a shorter run is not counted for a person."""
BEYOND = 1.5
"""How many times as long as before it must run: the length of runs varies with how busy the host
is."""


def is_loop(lasted: float) -> bool:
    """Whether a run that ended by itself after so many seconds (0.0: none did) may do the same
    again at once."""
    return 0.0 < lasted <= LOOP


def seconds_of(lasted: float) -> float:
    """Seconds a container must run whose last run ended by itself after `lasted` seconds."""
    return BEYOND * lasted + STEADY if is_loop(lasted) else STEADY


@dataclass(slots=True)
class RunStability:
    """Of the containers of one verification. Times are by the clock of dockmend, because the
    engine's may be another: a run counts from when it was first seen, at the earliest from `begun`.
    `seconds`: how long each must run."""

    begun: float
    seconds: float
    # by id: its start, and since when it is seen
    _runs: dict[str, tuple[float, float]] = field(default_factory=dict)

    def reached(self, container: Container, now: float) -> bool:
        """Whether it has run for long enough without a break. A restart, whoever's it is, begins
        anew."""
        started_at, since = self._runs.get(container.id, (container.started_at, self.begun))
        if started_at != container.started_at:
            started_at, since = container.started_at, now
        self._runs[container.id] = (started_at, since)
        return now >= since + self.seconds

    def due(self, now: float) -> float | None:
        """When one of them may have run for long enough that had not by now."""
        return min(
            (at for _, since in self._runs.values() if (at := since + self.seconds) > now),
            default=None,
        )


def longer_text(lasted: float, seconds: float) -> str:
    """What is said of one that has run longer than before; "" where that took no longer than it
    always does."""
    longer = is_loop(lasted) and lasted >= AT_ONCE
    return (
        f"for {span_text(seconds)}, longer than the run that ended ({span_text(lasted)})"
        if longer
        else ""
    )


def after_text(lasted: float) -> str:
    """How long a run lasted that ended by itself: ", after 15 s"; "" where that is not known."""
    if not lasted:
        return ""
    return ", at once" if lasted < AT_ONCE else f", after {span_text(lasted)}"
