"""One pid file for each daemon that runs on this host, so that every command finds it without a
flag.

A pid file says where the daemon's command socket, state folder and rules are. Only files of root or
of the reader's own user count: another user could send a command to a socket of theirs.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from dockmend.file_trust import Untrusted
from dockmend.folders import made, replace
from dockmend.processes import ended, pid_namespace, started

RUNTIME_VARIABLE = "DOCKMEND_RUNTIME"
"""Environment variable: another folder than /run/dockmend for pid files (a container, tests)."""
DEFAULT_RUNTIME = Path("/run/dockmend")
DAEMONS = "daemons"
LARGEST = 16 * 1024  # bytes of a pid file that are read


class PidFile(msgspec.Struct, frozen=True):
    """A running daemon. `started`: clock ticks from boot to its start, so that a later process is
    not taken for it; `engine`: the settings' EngineFound, for commands that the daemon does not
    answer; of another version it is empty.
    """

    pid: int
    started: str
    socket: str
    state: str
    engine: dict[str, str | bool | None] = msgspec.field(default_factory=dict)
    namespace: str = ""  # in which its id is `pid`: containers may share the folder


def folders(environ: Mapping[str, str]) -> list[Path]:
    """Where pid files are: the host's folder, then that of the user's own session."""
    if named := environ.get(RUNTIME_VARIABLE):
        return [Path(named) / DAEMONS]
    session = environ.get("XDG_RUNTIME_DIR")
    return [DEFAULT_RUNTIME / DAEMONS, *([Path(session) / "dockmend" / DAEMONS] if session else [])]


@contextlib.contextmanager
def announced(
    socket: Path,
    state: Path,
    environ: Mapping[str, str],
    engine: Mapping[str, str | bool | None] | None = None,
) -> Iterator[bool]:
    """Keeps this process's pid file while it runs; False if no folder for it can be written.
    `engine`: see PidFile.

    Without one the daemon works all the same: commands then need `--state` or `--socket`.
    """
    for folder in folders(environ):
        _remove_stale(folder)
    mine = PidFile(
        os.getpid(), started(os.getpid()), str(socket.absolute()), str(state.absolute()),
        dict(engine or {}), pid_namespace(),
    )  # fmt: skip
    path = _write(mine, folders(environ))
    try:
        yield path is not None
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                if _read(path) == mine:  # not that of a container with the same process id
                    path.unlink()


def _remove_stale(folder: Path) -> None:
    """Pid files of daemons that were killed."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.json"):
            entry = _read(path)
            if entry is not None and _is_here(entry) and ended(entry.pid, entry.started):
                path.unlink()


def _write(mine: PidFile, candidates: list[Path]) -> Path | None:
    for folder in candidates:
        path = folder / f"{mine.pid}.json"
        try:
            made(folder, 0o755)
            # whoever may use the socket may know where it is
            replace(path, msgspec.json.encode(mine), 0o644)
        except (OSError, Untrusted):
            continue
        return path
    return None


def running(environ: Mapping[str, str]) -> list[PidFile]:
    """The daemons that run now, the oldest first."""
    found: dict[int, PidFile] = {}
    for folder in folders(environ):
        with contextlib.suppress(OSError):
            for path in folder.glob("*.json"):
                entry = _read(path)
                if entry is not None and _is_here(entry) and started(entry.pid) == entry.started:
                    found[entry.pid] = entry
    return sorted(found.values(), key=lambda each: (int(each.started), each.pid))


def _is_here(entry: PidFile) -> bool:
    """Whether its process id means something here; one of another version does not tell."""
    return entry.namespace in ("", pid_namespace())


def _read(path: Path) -> PidFile | None:
    """None for a file that is no pid file, or that another user than root or oneself may have
    written."""
    with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            trusted = facts.st_uid in (0, os.geteuid()) and not facts.st_mode & (
                stat.S_IWGRP | stat.S_IWOTH
            )
            if not trusted or not stat.S_ISREG(facts.st_mode):
                return None
            entry = msgspec.json.decode(file.read(LARGEST), type=PidFile)
            return entry if entry.started.isdigit() else None
    return None
