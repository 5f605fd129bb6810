"""The seeds that the table lacks, four at once, each in a process of its own with an engine of its
own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .results import TOP, Results, Row, UnusableError, missing

EACH = 600
"""Faults of a seed: some fifteen minutes, so that a run that is broken off loses no more than
that."""
AT_ONCE = 4
LOOK_EVERY = 1.0
"""Seconds between two looks whether a seed is done."""


class Running(Protocol):
    """A process that runs one seed, as subprocess.Popen has it."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def wait(self) -> int: ...


@dataclass
class Series:
    """`start` runs one seed; `commit` says what is checked out now, and raises UnusableError if
    that is no commit."""

    results: Results
    start: Callable[[int], Running]
    commit: Callable[[], str]
    say: Callable[[str], None] = print
    sleep: Callable[[float], None] = time.sleep
    _running: dict[int, Running] = field(default_factory=dict)
    _broken: list[int] = field(default_factory=list)

    def run(self, wanted: int, *, each: int = EACH, at_once: int = AT_ONCE) -> bool:
        """Until the table holds `wanted` faults; True if it does, with 0 in every column.

        A seed without a row in the end (its process died) is not run again here, and the next
        series begins with it.
        """
        waiting = missing(self.results.rows(), wanted, each)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < at_once:
                    self._begin(waiting.pop(0))
                self.sleep(LOOK_EVERY)
                for seed in [
                    seed for seed, process in self._running.items() if process.poll() is not None
                ]:
                    del self._running[seed]
                    self._ended(seed)
        finally:
            self._end_all()
        rows = self.results.rows()
        found = sum(sum(row.columns.values()) for row in rows)
        return not self._broken and sum(row.faults for row in rows) >= wanted and not found

    def _begin(self, seed: int) -> None:
        if (now := self.commit()) != self.results.commit:
            raise UnusableError(
                f"the series is of {self.results.commit}, and {now} is checked out: begin it anew"
            )
        self._running[seed] = self.start(seed)

    def _ended(self, seed: int) -> None:
        row = next((row for row in self.results.rows() if row.seed == seed), None)
        if row is None:
            self._broken.append(seed)
            self.say(f"seed {seed} did not finish: {self.results.log_of(seed)}")
        else:
            self.say(told(row))

    def _end_all(self) -> None:
        """What still runs is asked to end: it takes its engine away, and writes no row."""
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._running.values():
            process.wait()


def told(row: Row) -> str:
    found = ", ".join(f"{kind} {count}" for kind, count in row.columns.items() if count)
    return (
        f"seed {row.seed}: {row.faults} faults, {row.heals} heals, {row.seconds} s: "
        f"{found or '0 in every column'}"
    )


def starter(results: Results, each: int) -> Callable[[int], Running]:
    """Starts `python -m tests.campaign --record` for a seed; what Python itself says goes beside
    the log."""

    def start(seed: int) -> Running:
        results.folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "tests.campaign",
            "--record",
            "--seed",
            str(seed),
            "--faults",
            str(each),
        ]
        with Path(results.folder, f"seed-{seed}.err").open("w") as errors:
            return subprocess.Popen(
                command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                start_new_session=True
            )  # fmt: skip

    return start
