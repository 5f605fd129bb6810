"""The faults of a run, drawn from its seed alone, so that the first N faults of a seed are the same
in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

WEIGHTS: dict[str, float] = {
    # troubles that a rule covers
    "unhealthy": 14,
    "crash": 13,
    "oom": 4,
    "disconnect": 7,
    "stubborn": 3,  # unhealthy, and again after the next starts
    "crash_loop": 3,  # ends by itself, and again right after the next starts
    # what hangs on another's network namespace
    "owner_crash": 1.5,
    "owner_restart": 1.5,  # by a person
    "owner_recreate": 1.5,
    "owner_rename": 1,
    "owner_replace_twice": 1,  # within a second
    "owner_replace_down": 1,  # while dockmend is down
    "owner_replace_acting": 1,  # again, as dockmend is killed over the first time
    "owner_stop": 1,  # by a person
    "owner_start": 1,
    "owner_unhealthy": 1,
    # what dockmend makes anew
    "remake": 1.5,
    "remake_disconnected": 1.5,  # with incidents of two rules
    "tie_remake": 2,  # of what is linked, or lives in another's process or IPC namespace
    "tie_recreate": 1,  # by a person
    # a Compose project
    "compose_up": 0.6,
    "compose_up_acting": 1,
    # what nobody asked dockmend to care for
    "one_off": 1.5,  # of a Compose service, and it fails
    "mass_removal": 0.4,
    "mass_removal_running": 0.6,
    # people
    "person_stop": 7,
    "person_kill": 4,
    "person_restart": 4,
    "person_pause": 4,
    "person_unpause": 3,
    "person_start": 4,
    "person_rename": 2,
    "person_recreate": 3,
    "person_connect": 2,
    "person_update": 2,
    "person_stop_acting": 2,
    # dockmend itself
    "dockmend_kill": 6,
    "dockmend_freeze": 4,
    "dockmend_stop": 2,
    "dockmend_kill_acting": 5,  # while a call of its is under way
    "second_beside": 1,  # another dockmend on the same engine looks on
    "second_takes_over": 1,  # and acts, as the first one has died
    # the engine
    "engine_kill": 1.0,
    "engine_stop": 0.8,
    "engine_freeze": 1.5,
    "engine_kill_acting": 0.6,
    # the socket between the two
    "cut": 2,  # every connection between it and the engine
    "cut_acting": 3,
    "wire_delay": 2,
    "wire_duplicate": 2,
    "wire_swap": 2,
    "wire_corrupt": 2,
    "wire_truncate": 2,
    "wire_refuse": 2,
    "wire_silent": 1,
    # what is around it
    "broker_kill": 1,
    "broker_freeze": 1,
    "disk_full_journal": 1.2,
    "disk_full_snapshots": 1,
    # more events than the engine remembers (256), and than it holds for a reader that is late
    # (1,024)
    "burst": 2,
    "flood": 0.6,
}
TROUBLES = (
    "unhealthy", "crash", "oom", "disconnect", "stubborn", "crash_loop", "owner_unhealthy",
    "remake", "remake_disconnected", "tie_remake",
)  # fmt: skip
FIRST = ("unhealthy", "crash", "disconnect")
ACTING_AFTER = (0.0, 0.002, 0.01, 0.05, 0.2, 0.6)
"""Seconds after dockmend's call at which faults that meet it acting come."""
SIZES = (3, 12)
"""Faults of a round."""


@dataclass(frozen=True)
class Fault:
    """One fault. `pick` chooses among the containers it can happen to; `victims` crash while the
    engine is down."""

    number: int
    kind: str
    pick: float
    delay: float  # seconds before it
    duration: float  # of what has one
    victims: tuple[float, ...] = ()
    signal: str = "KILL"


@dataclass(frozen=True)
class Round:
    """Faults in quick succession; after them everything is left alone until it is quiet. `restore`:
    a person then starts, unpauses and connects what people had stopped, paused and disconnected."""

    faults: tuple[Fault, ...] = field(default_factory=tuple)
    restore: bool = True


def rounds(seed: int, faults: int, only: tuple[str, ...] = ()) -> Iterator[Round]:
    """At most `faults` faults, in rounds; of some kinds alone where they are named."""
    weights = {kind: weight for kind, weight in WEIGHTS.items() if not only or kind in only}
    dice = random.Random(seed)
    number = 0
    while number < faults:
        size = dice.randint(*SIZES)
        drawn = [
            _fault(dice, weights, number + index + 1, first=index == 0 and not only)
            for index in range(size)
        ]
        restore = dice.random() < 0.7
        yield Round(tuple(drawn[: faults - number]), restore)
        number += size


def _fault(dice: random.Random, weights: dict[str, float], number: int, *, first: bool) -> Fault:
    kind = dice.choice(FIRST) if first else dice.choices([*weights], [*weights.values()])[0]
    return Fault(
        number=number,
        kind=kind,
        pick=dice.random(),
        delay=dice.choice((0.0, 0.0, 0.02, 0.1, 0.3, 1.0)) * dice.random(),
        duration=dice.choice((0.05, 0.5, 1.5, 3.0)) * (0.5 + dice.random()),
        victims=tuple(dice.random() for _ in range(dice.randint(0, 3))),
        signal=dice.choice(("KILL", "KILL", "TERM", "QUIT")),
    )
