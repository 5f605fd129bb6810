"""Why a container ended: the one cause of each end (rules.md, "Each end has exactly one cause").

The evidence is collected per run (from one start to the next), since a signal or a stop of an earlier run excuses
nothing in a later one.
"""

from __future__ import annotations

import signal
from typing import Literal

from msgspec import Struct, field

from dockmend.model import Cause, Container

STOP_WAIT = 0.2
"""Seconds to wait after a `die` for the `stop` that may follow it without any `kill` (rules.md)."""
KILL_SLACK = 5.0
"""Seconds beyond the stop timeout within which an end is still the work of a signal that asks for one (rules.md)."""

_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Run(Struct):
    """One run of a container and what was seen of it. Mutable: the mirror's own bookkeeping."""

    started_at: float = 0.0  # as inspect tells it; 0.0 until it was asked
    announced: bool = False  # its `start` event was seen
    kills: list[tuple[float, int]] = field(default_factory=list)  # (wall seconds, signal; 0 where labels hide it)
    stopped: bool = False  # a `stop` or `restart` event
    oom: bool = False
    died_at: float = 0.0  # 0.0 while it runs
    code: int | None = None  # exit code, from inspect or an event no label could have forged
    by: Literal["", "engine", "dockmend"] = ""  # whose doing its end is known to be

    @property
    def over(self) -> bool:
        return self.died_at > 0.0


class End(Struct):
    """An end whose cause is not settled yet."""

    run: Run
    at: float
    due: float
    origin: str
    blind: bool = False  # events of this run may have been lost: without evidence the cause is unknown
    looked: bool = False  # inspect answered after it
    held: bool = False  # the engine is restarting it by its own policy


def signal_number(text: str) -> int:
    """The number of a signal as the engine writes it ("15", "SIGTERM", "TERM"); 0 where it is none."""
    if text.isdecimal():
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else "SIG" + name
    try:
        return signal.Signals[name].value
    except KeyError:
        return 0


def forged(container: Container, attribute: str) -> bool:
    """True where a label of the container would have overwritten the engine's own attribute in its events."""
    return attribute in container.labels


def cause_of(run: Run, container: Container, blind: bool) -> Cause:
    """The one cause of a run's end. `blind`: events may have been lost, so no evidence proves nothing."""
    if run.by:
        return run.by
    if run.stopped or any(_asked_for(run, container, at, number) for at, number in run.kills):
        return "stopped"
    if run.oom and run.code == 128 + signal.SIGKILL:
        return "oom_killed"
    if run.code == 0:
        return "completed"
    if blind or run.code is None:
        return "unknown"
    return "crashed"


def _asked_for(run: Run, container: Container, at: float, number: int) -> bool:
    ends_it = number in _ENDING or number == signal_number(container.stop_signal)
    soon = run.died_at - at <= container.stop_timeout + KILL_SLACK
    if run.code is not None and number and run.code == 128 + number:
        # A program may take its time over TERM; but one that took a HUP for "reload" long ago was not ended by it.
        return ends_it or soon
    return ends_it and soon
