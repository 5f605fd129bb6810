"""What a start costs more with many incidents in the journal: memory, time, and the size of the
file.

The daemon runs as a process on a host of canned answers, with a journal that was written before.
The incidents are of the last seven days, of names that never repeat, one in ten with an attempt;
six rules made them. Floor: the same with an empty journal. `python bench/history.py [INCIDENTS]`
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.footprint import rules
from dockmend.journal.records import ActionRecord, Incident
from dockmend.journal.sqlite import SqliteJournal
from tests.lab import Daemon

HERE = Path(__file__).parent
WEEK = 7 * 86400.0
CONTAINERS, RULES = 100, 6


async def write(path: Path, incidents: int) -> None:
    """A journal with so many closed incidents."""
    journal = SqliteJournal(path, time.time)
    await journal.open()
    begin = time.time() - WEEK + 60
    for number in range(incidents):
        at, acted, rule = (
            begin + number * (WEEK - 120) / incidents,
            number % 10 == 0,
            f"r{number % RULES}",
        )
        container = f"{number:012x}" + "d" * 52
        journal.put_incident(Incident(
            id=f"i{number:015}", rule=rule, trigger="container.crashed",
            target=f"container:job-{number}", kind="container", object_id=container,
            object_name=f"job-{number}", trouble=f"{container[:12]}/{at:.3f}/end", opened_at=at,
            state="closed", closed_at=at + 1, outcome="healed" if acted else "suppressed",
            reason="it ended by itself with exit code 3", attempts=int(acted), updated_at=at + 1,
        ))  # fmt: skip
        if acted:
            journal.put_action(ActionRecord(
                id=f"a{number:015}", incident=f"i{number:015}", rule=rule,
                target=f"container:job-{number}", attempt=1, action="start", object_id=container,
                object_name=f"job-{number}", params={}, began_at=at, ended_at=at + 1,
                outcome="done",
            ))  # fmt: skip
        if number % 1000 == 0:
            await journal.committed()
    await journal.close()


def peak(pid: int) -> tuple[float, float]:
    """Resident MiB now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {
        line.split(":")[0]: int(line.split()[1]) / 1024
        for line in lines
        if line.startswith(("VmRSS", "VmHWM"))
    }
    return found["VmRSS"], found["VmHWM"]


def start(incidents: int) -> tuple[float, float, float, float]:
    """(seconds until /readyz says 200, MiB then, MiB at most, MiB of the journal)."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        host = subprocess.Popen(
            [sys.executable, str(HERE / "fake_host.py"), socket, str(CONTAINERS), "0"],
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        host.stdout.readline()
        one = Daemon(f"unix://{socket}", rules={"bench.yaml": rules(RULES)})
        try:
            one.state.mkdir(mode=0o700, exist_ok=True)
            path = one.state / "journal.sqlite3"
            if incidents:
                asyncio.run(write(path, incidents))
            begun = time.perf_counter()
            one.start(ready=False)
            while one.status("/readyz") != 200:
                time.sleep(0.01)
            ready = time.perf_counter() - begun
            time.sleep(3.0)
            return ready, *peak(one.pid), path.stat().st_size / 1024**2
        finally:
            one.close()
            host.kill()
            host.wait()


def main() -> None:
    incidents = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    none, many = start(0), start(incidents)
    print(f"| a start with | 0 incidents | {incidents:,} | more |\n| --- | --- | --- | --- |")
    for what, unit, before, after in zip(
        ("ready after", "resident then", "resident at most", "journal"), ("s", "MiB", "MiB", "MiB"),
        none, many, strict=True,
    ):  # fmt: skip
        print(
            f"| {what} | {before:.1f} {unit} | {after:.1f} {unit} | {after - before:.1f} {unit} |"
        )


if __name__ == "__main__":
    main()
