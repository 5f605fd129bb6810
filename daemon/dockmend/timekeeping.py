"""Time that cannot be set: what `for`, limits, pauses and timers are measured by.

Within a run "now" is the wall clock at the start and what has elapsed since, suspension included.
So a clock that is set by an hour, by a person or by NTP, neither fires nor blocks anything. The
wall clock itself is asked for what people mean by it (schedules, windows, texts) and for comparison
with the engine's stamps, which follow it. Across runs the journal holds times of this clock, with a
`Stamp` that tells how far the wall clock was set in between. See
docs/decisions/0006-a-clock-that-cannot-be-set.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

STEP = 1.0
"""Seconds by which the wall clock leaps at once where it was set; less is NTP at work."""
SINCE_BOOT: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Asked several times for each change: no function of Python's own."""
BOOT_VARIABLE = "DOCKMEND_BOOT"
"""The boot's id where the unit's sandbox hides the kernel's file: systemd knows it (specifier
%b)."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Stamp(msgspec.Struct, frozen=True):
    """One moment by both clocks, for the next run. `elapsed`: seconds since the boot named
    `boot`."""

    boot: str
    elapsed: float
    now: float


class Clock:
    """Called, it is "now" in seconds since the epoch. `wall` and `elapsed` are the machine's own
    clocks."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = SINCE_BOOT,
        boot: str | None = None,
    ) -> None:
        self.wall = wall
        self._elapsed = elapsed
        self._boot = _boot() if boot is None else boot
        self._begin = wall() - elapsed()
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._begin + self._elapsed()

    def at(self, wall: float) -> float:
        """A time by the wall clock as it goes at present, as a time of this one."""
        return wall - (self.wall() - self())

    def wall_at(self, at: float) -> float:
        """A time of this clock as the wall clock shows it at present: to compare with the engine's
        stamps."""
        return at + (self.wall() - self())

    def from_here(self) -> Callable[[], float]:
        """A clock that shows the wall's time now and goes on by what elapses: for what compares
        with the engine's stamps and must not wait an hour because somebody set the clock."""
        ahead = self.wall() - self()
        return lambda: self() + ahead

    def set_by(self) -> float:
        """By how many seconds the wall clock was set since this was last asked; 0.0 where it only
        drifted."""
        before, self._ahead = self._ahead, self.wall() - self()
        leap = self._ahead - before
        return leap if abs(leap) >= STEP else 0.0

    def stamp(self) -> Stamp:
        return Stamp(self._boot, self._elapsed(), self())

    def moved_since(self, stamp: Stamp) -> float:
        """What to add to times of the run that left the stamp, to compare them with this run's.

        Exact within one boot of the machine. After another boot only a clock that went back is
        known as such: then no time has passed, as far as anybody can say.
        """
        now, elapsed = self(), self._elapsed()
        if stamp.boot == self._boot != "" and elapsed >= stamp.elapsed:
            moved = now - (stamp.now + elapsed - stamp.elapsed)
            return moved if abs(moved) >= STEP else 0.0
        return min(0.0, now - stamp.now)


def _boot() -> str:
    """What tells one boot of the machine from another; "" where nobody says. systemd writes it
    without hyphens."""
    try:
        told = os.environ.get(BOOT_VARIABLE) or _BOOT_ID.read_text()
    except OSError:
        return ""
    return told.strip().replace("-", "")
