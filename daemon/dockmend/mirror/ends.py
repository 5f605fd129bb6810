"""Why a container ended: the one cause of each end (rules.md, "Each end has exactly one cause").

The evidence is collected per run (from one start to the next), since a signal or a stop of an earlier run excuses
nothing in a later one.
"""

from __future__ import annotations

import signal
from typing import Literal

from msgspec import Struct, field

from dockmend.model import Cause, Container, Origin

STOP_WAIT = 0.2
"""Seconds to wait after a `die` for the `stop` that may follow it without any `kill` (rules.md)."""
UNHEARD_WAIT = 1.0
"""Seconds to wait for the `die` itself, and for who did it, where a look was ahead of the stream."""
KILL_SLACK = 5.0
"""Seconds beyond the stop timeout within which an end is still the work of a signal that asks for one (rules.md)."""
OOM_SLACK = 5.0
"""Seconds between an `oom` event and the end it explains: a child that was killed long ago explains nothing."""
HISTORY = "history"
"""What an end counts as that was over before dockmend knew the container."""

_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class Run(Struct, omit_defaults=True):
    """One run of a container and what was seen of it. Mutable: the mirror's own bookkeeping.

    All times are the engine's own, so that they compare however far its clock is from ours.
    """

    started_at: float = 0.0  # as inspect tells it; 0.0 until it was asked
    announced_at: float = 0.0  # of its `start` event; 0.0 while none was seen
    asked_at: float = 0.0  # when dockmend asked for it; 0.0 where it did not
    kills: list[tuple[float, int]] = field(default_factory=list)  # (wall seconds, signal; 0 where labels hide it)
    stopped: bool = False  # a `stop` or `restart` event
    oom_at: float = 0.0  # the last `oom` event
    died_at: float = 0.0  # 0.0 while it runs
    code: int | None = None  # exit code, from inspect or an event no label could have forged
    by: Literal["", "engine", "dockmend"] = ""  # whose doing its end is known to be
    told: str = ""  # what its end was told as, once it was

    @property
    def begun(self) -> float:
        """Since when it runs; 0.0 where it never did."""
        return self.started_at or self.announced_at

    @property
    def over(self) -> bool:
        return self.died_at > 0.0

    def part(self, at: float) -> Run:
        """Takes out what was heard since `at`, when another run had begun of which nobody heard: it is that run's."""
        later = Run(started_at=at, kills=[each for each in self.kills if each[0] >= at])
        self.kills = [each for each in self.kills if each[0] < at]
        if self.oom_at >= at:
            later.oom_at, self.oom_at = self.oom_at, 0.0
        if self.died_at >= at:
            later.died_at, later.code, later.by, later.told = self.died_at, self.code, self.by, self.told
            later.stopped, self.stopped = self.stopped, False
            self.died_at, self.code, self.by, self.told = 0.0, None, "", ""
        return later


class End(Struct, eq=False):
    """An end whose cause is not settled yet."""

    run: Run
    at: float
    due: float
    origin: Origin
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
    if run.by == "engine":
        return "left_down"
    if run.by:
        return run.by
    if run.stopped or any(_asked_for(run, container, at, number) for at, number in run.kills):
        return "stopped"
    if run.oom_at and run.code == 128 + signal.SIGKILL and abs(run.died_at - run.oom_at) <= OOM_SLACK:
        return "oom_killed"
    if run.code == 0:
        return "completed"
    if blind or run.code is None:
        return "unknown"
    return "crashed"


def _asked_for(run: Run, container: Container, at: float, number: int) -> bool:
    ending = _ENDING | {signal_number(container.stop_signal)}
    soon = run.died_at - at <= container.stop_timeout + KILL_SLACK
    if run.code is not None and number and run.code == 128 + number:
        # A program may take its time over TERM; but one that took a HUP for "reload" long ago was not ended by it.
        return number in ending or soon
    if not number:  # a label hides which signal it was: the exit code may tell
        return soon and run.code is not None and run.code - 128 in ending
    return number in ending and soon
