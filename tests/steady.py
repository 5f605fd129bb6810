"""`make steady`: is `make test` green every time? Ten runs at one commit, three of them beside a
load of two cores.

Each finished run is a row of bench/out/steady.jsonl; a run that was interrupted is made again. Ends
with 0 if all ten were green. A test that fails here is a bug in the test or in dockmend: nothing is
tried again.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
ROWS = TOP / "bench" / "out" / "steady.jsonl"
RUNS, LOADED = 10, frozenset({3, 6, 9})
"""How many runs, and which of them (counted from 1) have stress-ng beside them."""


def main() -> int:
    # so that the load beside a run ends with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    commit = _commit()
    if commit is None:
        print("steady: commit first: a row names the commit that it is of", file=sys.stderr)
        return 2
    rows = [row for row in _rows() if row["commit"] == commit]
    for number in range(len(rows) + 1, RUNS + 1):
        row = {"commit": commit, "run": number, **_run(loaded=number in LOADED)}
        if _commit() != commit:
            print(
                f"steady: the tree changed during run {number}: it does not count", file=sys.stderr
            )
            return 2
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(_line(row), flush=True)
    green = sum(1 for row in rows if row["green"])
    print(f"\nsteady at {commit}: {green} of {len(rows)} green")
    for row in rows:
        print(_line(row))
    return 0 if green == len(rows) else 1


def _run(*, loaded: bool) -> dict[str, Any]:
    """One `make test`; its seconds, its last line, and the tests that failed."""
    load = (
        subprocess.Popen(["stress-ng", "--cpu", "2", "--timeout", "3600", "--quiet"])
        if loaded
        else None
    )
    began = time.monotonic()
    try:
        done = subprocess.run(
            ["make", "test"], cwd=TOP, check=False, capture_output=True, text=True
        )
    finally:
        if load is not None:
            load.terminate()
            load.wait()
    told = [
        line.strip("= ")
        for line in done.stdout.splitlines()
        if re.search(r"\d+ (passed|failed).* in ", line)
    ]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return {
        "loaded": loaded, "green": done.returncode == 0, "seconds": round(time.monotonic() - began),
        "told": told[-1] if told else done.stdout[-200:], "failed": failed,
    }  # fmt: skip


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def _line(row: dict[str, Any]) -> str:
    """A row of the table: the run, what ran beside it, its seconds, and how it ended."""
    verdict = "green" if row["green"] else f"RED: {', '.join(row['failed']) or row['told']}"
    return (
        f"{row['run']:>3}  {'stress-ng' if row['loaded'] else 'idle':<9}  {row['seconds']:>5} "
        f"s  {verdict}"
    )


def _commit() -> str | None:
    """The commit that the tree is of; None if it holds more than that."""
    return None if _git("status", "--porcelain") else _git("rev-parse", "--short", "HEAD")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
