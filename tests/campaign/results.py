"""The table of results that grows over runs: one JSON file for each finished seed, by commit and
kind of engine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, TextIO

from tests.lab import EngineKind

from .report import Tally, percentile
from .verdict import KINDS

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "bench" / "out" / "campaign"
"""Git ignores it: the logs of a series are some 200 KiB a seed."""
TRACE_LOST = "trace lost"
"""The column "started although a person had stopped it, where the trace was lost"."""


class UnusableError(Exception):
    """No row can be made here; the text says why and what to do."""


@dataclass(frozen=True)
class Row:
    """What one finished seed came to. Times are seconds; `columns` holds how often each kind of
    finding was made."""

    seed: int
    commit: str
    engine: str
    live_restore: bool
    faults: int
    rounds: int
    seconds: int
    heals: int
    p50: float
    p99: float
    columns: dict[str, int]
    log_sha256: str


class Results:
    """The rows of one commit and one kind of engine."""

    def __init__(self, commit: str, engine: EngineKind, folder: Path = FOLDER) -> None:
        self.commit = commit
        self.engine = engine
        self.folder = folder / f"{commit}-{engine}"

    def rows(self) -> list[Row]:
        """In the order of the seeds; a file that cannot be read counts as missing, and its seed is
        run again."""
        found = []
        for path in self.folder.glob("seed-*.json"):
            try:
                found.append(Row(**json.loads(path.read_text())))
            except (ValueError, TypeError):
                continue
        return sorted(found, key=lambda row: row.seed)

    def log_of(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}.log"

    def write(self, row: Row) -> None:
        """Whole or not at all: a run that is killed here leaves no row, and its seed is run
        again."""
        part = self.folder / f"seed-{row.seed}.json.part"
        part.write_text(json.dumps(asdict(row)))
        part.replace(part.with_suffix(""))


class Recording:
    """One seed's run on its way into the table: its log, and in the end its row. Use as a context
    manager."""

    def __init__(self, results: Results, seed: int) -> None:
        self._results = results
        self._seed = seed
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """UnusableError if another process runs the same seed."""
        self._results.folder.mkdir(parents=True, exist_ok=True)
        path = self._results.log_of(self._seed)
        self._log: TextIO = self._stack.enter_context(path.open("a"))
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stack.close()
            raise UnusableError(
                f"seed {self._seed} is being run by another process: {path}"
            ) from None
        os.ftruncate(self._log.fileno(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, line: str) -> None:
        print(line, file=self._log, flush=True)

    def finish(self, tally: Tally) -> Row:
        """Writes the row; the log must be complete by now."""
        log = hashlib.sha256(self._results.log_of(self._seed).read_bytes()).hexdigest()
        row = row_of(tally, self._results.commit, self._results.engine, log)
        self._results.write(row)
        return row


def row_of(tally: Tally, commit: str, engine: str, log_sha256: str) -> Row:
    found = {kind: sum(1 for finding in tally.findings if finding.kind == kind) for kind in KINDS}
    return Row(
        seed=tally.seed, commit=commit, engine=str(engine), live_restore=tally.live_restore,
        faults=tally.done, rounds=tally.rounds, seconds=round(tally.seconds),
        heals=len(tally.heal_times), p50=round(percentile(tally.heal_times, 50), 2),
        p99=round(percentile(tally.heal_times, 99), 2),
        columns=found | {TRACE_LOST: tally.excused.total()}, log_sha256=log_sha256,
    )  # fmt: skip


def missing(rows: Sequence[Row], wanted: int, each: int, first: int = 1) -> list[int]:
    """The seeds that are to be run, of `each` faults, until the rows hold `wanted`; the lowest that
    are missing."""
    held = {row.seed for row in rows}
    left = wanted - sum(row.faults for row in rows)
    seeds: list[int] = []
    seed = first
    while left > 0:
        if seed not in held:
            seeds.append(seed)
            left -= each
        seed += 1
    return seeds


def markdown(rows: Sequence[Row]) -> str:
    """The table of docs/reliability.md."""
    columns = [*KINDS, TRACE_LOST]
    head = [
        "seed",
        "engine, live-restore",
        "faults",
        "heals",
        "p50, p99 time to heal",
        *columns,
        "sha256 of the log",
    ]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        live = "on" if row.live_restore else "off"
        counts = [str(row.columns.get(name, 0)) for name in columns]
        times = f"{row.p50:.2f} s, {row.p99:.1f} s"
        told = [str(row.seed), f"{row.engine}, {live}", f"{row.faults:,}", f"{row.heals:,}", times]
        lines.append(_line([*told, *counts, row.log_sha256[:12]]))
    sums = [str(sum(row.columns.get(name, 0) for row in rows)) for name in columns]
    faults, heals = sum(row.faults for row in rows), sum(row.heals for row in rows)
    lines.append(_line(["all", "", f"{faults:,}", f"{heals:,}", "", *sums, ""]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def clean_commit(git: Callable[..., str] | None = None) -> str:
    """The commit that a row is of; UnusableError if the tree differs from it."""
    ask = git or _git
    if ask("status", "--porcelain"):
        raise UnusableError("the tree differs from its commit, which each row names: commit first")
    return ask("rev-parse", "--short=10", "HEAD").strip()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout
