"""The faults of a run, drawn from its seed alone, so that the first N faults of a seed are the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

WEIGHTS = {
    # troubles that a rule covers
    "unhealthy": 14,
    "crash": 12,
    "disconnect": 7,
    "stubborn": 3,  # unhealthy, and again after the next starts
    "crash_loop": 3,  # ends by itself, and again right after the next starts
    # people
    "person_stop": 7,
    "person_kill": 3,
    "person_restart": 4,
    "person_pause": 4,
    "person_unpause": 3,
    "person_start": 3,
    "person_rename": 2,
    "person_recreate": 2,
    "person_connect": 2,
    "person_stop_acting": 2,
    # dockmend itself
    "dockmend_kill": 8,
    "dockmend_freeze": 4,
    "dockmend_stop": 2,
    "dockmend_kill_acting": 6,  # while a call of its is under way
    "cut": 3,  # every connection between it and the engine
    "cut_acting": 4,
    # the engine
    "engine_kill": 3,
    "engine_stop": 2,
    "engine_freeze": 2,
    "engine_kill_acting": 2,
    # noise
    "burst": 3,
}
TROUBLES = ("unhealthy", "crash", "disconnect", "stubborn", "crash_loop")
ACTING_AFTER = (0.0, 0.002, 0.01, 0.05, 0.2, 0.6)
"""Seconds after dockmend's call at which faults that meet it acting come."""


@dataclass(frozen=True)
class Fault:
    """One fault. `pick` chooses among the containers it can happen to; `victims` crash while the engine is down."""

    number: int
    kind: str
    pick: float
    delay: float  # seconds before it
    duration: float  # of what has one
    victims: tuple[float, ...] = ()
    signal: str = "KILL"


@dataclass(frozen=True)
class Round:
    """Faults in quick succession; after them everything is left alone until it is quiet. `restore`: a person then
    starts, unpauses and connects what people had stopped, paused and disconnected."""

    faults: tuple[Fault, ...] = field(default_factory=tuple)
    restore: bool = True


def rounds(seed: int, faults: int) -> Iterator[Round]:
    """At most `faults` faults, in rounds."""
    dice = random.Random(seed)
    number = 0
    while number < faults:
        size = dice.randint(2, 7)
        drawn = [_fault(dice, number + index + 1, index == 0) for index in range(size)]
        restore = dice.random() < 0.7
        yield Round(tuple(drawn[: faults - number]), restore)
        number += size


def _fault(dice: random.Random, number: int, first: bool) -> Fault:
    kind = dice.choice(TROUBLES[:3]) if first else dice.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
    return Fault(
        number=number,
        kind=kind,
        pick=dice.random(),
        delay=dice.choice((0.0, 0.02, 0.1, 0.3, 0.8, 1.5)) * dice.random(),
        duration=dice.choice((0.05, 0.5, 2.0, 4.0)) * (0.5 + dice.random()),
        victims=tuple(dice.random() for _ in range(dice.randint(0, 3))),
        signal=dice.choice(("KILL", "KILL", "TERM", "QUIT")),
    )
