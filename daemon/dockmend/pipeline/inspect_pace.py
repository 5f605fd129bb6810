"""How often dockmend asks the engine, and how long it waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InspectPace:
    """How often and how patiently; seconds."""

    relist_every: float = 300.0
    ping_every: float = 20.0
    ping_timeout: float = 10.0
    pings: int = 2  # without an answer, in a row, after which the engine is given up
    backoff: tuple[float, float] = (0.1, 10.0)
    # in which nothing here ran: the engine drops events once 1,024 wait for a reader
    stalled: float = 2.0
