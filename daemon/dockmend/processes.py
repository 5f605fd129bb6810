"""Processes of this host by their ids, which the kernel gives to others once they are free."""

from __future__ import annotations

import os
from pathlib import Path


def started(pid: int) -> str:
    """The start of a process in clock ticks since boot (proc(5), stat, field 22); "" if it does not
    run, or is hidden.

    `ProtectProc=invisible` of a service hides the processes of other users, but none from the group
    root.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def pid_namespace() -> str:
    """Names the set of processes whose ids are known here: a container has its own, with ids of its
    own; "" if the kernel does not tell."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def ended(pid: int, begun: str) -> bool:
    """Whether the process of that start is no more; False where that cannot be known: it, or
    another that has its id now, is hidden."""
    now = started(pid)
    return now != begun if now else not _is_there(pid)


def _is_there(pid: int) -> bool:
    """Also of a process that is hidden."""
    try:
        os.kill(pid, 0)  # no signal is sent
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True
