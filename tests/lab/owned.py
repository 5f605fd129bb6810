"""What the lab starts is written down with its owner, so that a run that was killed leaves nothing
for good.

Each engine has a record in /run/dockmend-lab/. Its owner removes it at the end; where the owner
died first, the next run of the tests does, going by process ids, paths and the namespace's name in
the record, not by program names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDS = Path("/run/dockmend-lab")


@dataclass(frozen=True)
class Record:
    """One engine's belongings, and the process they belong to."""

    name: str  # of the network namespace, too: dm-<random>
    folder: str
    owner_pid: int
    # clock ticks since boot: tells the owner from a later process with the same id
    owner_started: str

    @property
    def path(self) -> Path:
        return RECORDS / f"{self.name}.json"

    def write(self) -> None:
        RECORDS.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.path.write_text(json.dumps(asdict(self)))


def started(pid: int) -> str | None:
    """The start time of process `pid` in clock ticks since boot; None when there is no such
    process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def mine(name: str, folder: Path) -> Record:
    """A record that names this process as the owner."""
    own = started(os.getpid())
    if own is None:
        raise RuntimeError("/proc is not mounted: the lab cannot tell its processes apart")
    return Record(name, str(folder), os.getpid(), own)


def sweep() -> list[str]:
    """Remove what runs that were killed left behind; returns the names of the namespaces
    removed."""
    removed = []
    for path in sorted(RECORDS.glob("dm-*.json")):
        try:
            record = Record(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            continue  # somebody else is writing or removing it just now
        if started(record.owner_pid) != record.owner_started:
            dismantle(record)
            removed.append(record.name)
    return removed


def dismantle(record: Record) -> None:
    """Kill by id what still runs in the record's namespace or under its folder; remove mounts,
    namespace, folder."""
    for _ in range(5):  # a process may have forked between the listing and the signal
        pids = processes_of(record)
        if not pids:
            break
        kill_and_wait(pids)
    unmount_below(Path(record.folder))
    if Path("/run/netns", record.name).exists():
        subprocess.run(["ip", "netns", "delete", record.name], check=False, capture_output=True)
    shutil.rmtree(record.folder, ignore_errors=True)
    record.path.unlink(missing_ok=True)


def processes_of(record: Record) -> set[int]:
    """Processes in the record's namespace, those that name its folder (containerd, shims), and
    their descendants."""
    found = {pid for pid, line in _command_lines() if record.folder.encode() in line}
    if Path("/run/netns", record.name).exists():
        listing = subprocess.run(
            ["ip", "netns", "pids", record.name], check=False, capture_output=True, text=True
        )
        found |= {int(pid) for pid in listing.stdout.split()}
    found = with_descendants(found)
    found -= {os.getpid(), record.owner_pid}
    return {pid for pid in found if started(pid) is not None}


def with_descendants(pids: Iterable[int]) -> set[int]:
    """The processes and all that descend from them: a shim's container outlives its shim."""
    children: dict[int, list[int]] = {}
    for entry in _numbered():
        with contextlib.suppress(OSError):
            stat = Path("/proc", entry, "stat").read_text()
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo.extend(children.get(pid, ()))
    return found


def kill_and_wait(pids: Iterable[int], timeout: float = 10.0) -> None:
    """SIGKILL each process and wait until all are gone."""
    births = {pid: started(pid) for pid in pids}
    for pid in births:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if all(born is None or started(pid) != born for pid, born in births.items()):
            return
        time.sleep(0.02)


def unmount_below(folder: Path) -> None:
    """Lazily unmount everything mounted under `folder`, the deepest first."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(f"{folder}/"):
            points.append(point)
    for point in sorted(points, key=len, reverse=True):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


def _numbered() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_lines() -> Iterable[tuple[int, bytes]]:
    for entry in _numbered():
        with contextlib.suppress(OSError):
            yield int(entry), Path("/proc", entry, "cmdline").read_bytes()
