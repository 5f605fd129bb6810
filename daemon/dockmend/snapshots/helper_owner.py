"""Whose a helper container is: an incident's, or a command's that may have died.

The row of it in the journal says so. An incident's is settled with its action; a command's name
holds its process, so that any later dockmend in the same process namespace can tell that it is
gone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from dockmend.owned import COMMAND
from dockmend.processes import ended, started

_PREFIX = COMMAND.removesuffix(".")


def command_owner() -> str:
    """The owner of what this process makes on behalf of a command."""
    return f"{_PREFIX}.{_here()}.{os.getpid()}.{started(os.getpid())}"


def gone(owner: str) -> bool:
    """True if `owner` is a command of this host whose process is no more; False where that cannot
    be known."""
    parts = owner.split(".")
    if len(parts) != 4 or parts[0] != _PREFIX or parts[1] != _here() or not parts[2].isdecimal():
        return False
    return ended(int(parts[2]), parts[3])


def _here() -> str:
    """The host and the process namespace: ids of processes mean nothing outside of it."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname().replace('.', '-')}-{namespace}"
