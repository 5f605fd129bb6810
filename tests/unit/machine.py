"""A machine whose time passes, and whose clock is set, when a test says so."""

from __future__ import annotations

import time

from dockmend.timekeeping import Clock


class Machine:
    """Real clocks, brought forward: `passes` is time that passes, `set` is a person at the
    clock."""

    def __init__(self) -> None:
        self.passed = self.set_by = 0.0
        self.boot = "b1"

    def passes(self, seconds: float) -> None:
        self.passed += seconds

    def set(self, seconds: float) -> None:
        self.set_by += seconds

    def clock(self) -> Clock:
        return Clock(
            lambda: time.time() + self.passed + self.set_by,
            lambda: time.monotonic() + self.passed,
            self.boot,
        )
