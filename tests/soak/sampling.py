"""What a soak looks at every ten seconds, and what it makes of it: memory, files, tasks and threads
must stay flat."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import Daemon

MOST_GROWTH = 5.0
"""MiB of resident memory after the first ten minutes (docs/reliability.md, "The soak")."""
MOST_MORE = 3.0
"""Files or tasks more in the median of the last samples than of the first: calls under way come and
go."""
EDGE = 12
"""Samples whose median stands for the beginning, and for the end: two minutes of one every ten
seconds."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """`at`: seconds since the soak began; `resident`: MiB; `cpu`: seconds used by the daemon so
    far."""

    at: float
    resident: float
    files: int
    tasks: int
    threads: int
    cpu: float
    events: int
    heals: int

    def line(self) -> str:
        return (
            f"{self.at:7.0f} s {self.resident:7.2f} MiB {self.files:4} files {self.tasks:4} tasks "
            f"{self.threads:3} threads {self.cpu:8.2f} s CPU {self.events:9} events "
            f"{self.heals:6} heals"
        )


def sample(daemon: Daemon, since: float) -> Sample:
    """One look at a running daemon; `since`: the monotonic time at which the soak began."""
    process = Path(f"/proc/{daemon.pid}")
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    metrics = daemon.metrics()
    return Sample(
        at=time.monotonic() - since,
        resident=int(status["VmRSS"].split()[0]) / 1024,
        files=len(list((process / "fd").iterdir())),
        tasks=int(_sum(metrics, "dockmend_tasks")),
        threads=int(status["Threads"]),
        cpu=cpu(daemon.pid),
        events=int(_sum(metrics, "dockmend_events_total")),
        heals=int(_sum(metrics, "dockmend_heals_total", 'outcome="healed"')),
    )


def cpu(pid: int) -> float:
    """Seconds of CPU a process used so far."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / TICKS


def _sum(page: str, name: str, having: str = "") -> float:
    """Of the samples of one name: the page is read without a parser, which would be load of the
    soak's own."""
    wanted = (f"{name} ", f"{name}{{")
    lines = (line for line in page.splitlines() if line.startswith(wanted) and having in line)
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@dataclass(frozen=True)
class Verdict:
    """`growth`: MiB from the median of the first two minutes after the warm-up to that of the last
    two; `peak`: to the highest sample."""

    growth: float
    peak: float
    files: float
    tasks: float
    threads: float
    slope: float  # MiB an hour, least squares

    @property
    def passed(self) -> bool:
        flat = max(self.files, self.tasks, self.threads) <= MOST_MORE
        return self.growth < MOST_GROWTH and self.peak < MOST_GROWTH and flat

    def __str__(self) -> str:
        return (
            f"after the warm-up: memory {self.growth:+.2f} MiB (highest {self.peak:+.2f}, "
            f"{self.slope:+.2f} an hour), files {self.files:+.0f}, tasks {self.tasks:+.0f}, "
            f"threads {self.threads:+.0f}"
        )


def judge(samples: Sequence[Sample], warm_up: float) -> Verdict:
    """Compares what came after `warm_up` seconds with itself. Raises ValueError where that is too
    little."""
    rest = [each for each in samples if each.at >= warm_up]
    if len(rest) < 2:
        raise ValueError(f"{len(rest)} samples after {warm_up:.0f} s say nothing")
    edge = min(EDGE, len(rest) // 2)
    first, last = rest[:edge], rest[-edge:]
    begin = statistics.median(each.resident for each in first)
    return Verdict(
        growth=statistics.median(each.resident for each in last) - begin,
        peak=max(each.resident for each in rest) - begin,
        files=_more((each.files for each in first), (each.files for each in last)),
        tasks=_more((each.tasks for each in first), (each.tasks for each in last)),
        threads=_more((each.threads for each in first), (each.threads for each in last)),
        slope=statistics.linear_regression(
            [each.at for each in rest], [each.resident for each in rest]
        ).slope
        * 3600,
    )


def _more(first: Iterable[int], last: Iterable[int]) -> float:
    return statistics.median(last) - statistics.median(first)
