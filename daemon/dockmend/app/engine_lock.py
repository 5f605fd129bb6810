"""One dockmend acts on each engine: two would heal everything twice, and take each other's doing for a person's.

The lock is a file named after the engine in the runtime folder of this host (/run/dockmend), or in the state folder if
that cannot be written. It is the kernel's (flock), so it ends with its process, however that ends.

Whoever can open a file can lock it, also one that they may only read. So the lock is 0600, and who holds it stands in a
file beside it that everybody may read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from dockmend import folders
from dockmend.control.pidfiles import DEFAULT_RUNTIME, RUNTIME_VARIABLE
from dockmend.errors import UsageError
from dockmend.processes import started

log = structlog.get_logger("dockmend")

ENGINES = "engines"
LARGEST = 4096
"""Bytes of a holder's file that are read."""


class Holder(msgspec.Struct, frozen=True):
    """The dockmend that acts. `started`: as in control.pidfiles.PidFile."""

    pid: int
    started: str
    state: str

    @property
    def told(self) -> str:
        return f"process {self.pid}, state folder {self.state}" if self.pid else "a process that does not say which"


UNKNOWN = Holder(0, "", "")


def lock_path(engine_id: str, folder: Path) -> Path:
    """The lock of an engine in a runtime (or state) folder."""
    return folder / ENGINES / f"{re.sub('[^A-Za-z0-9-]', '_', engine_id)[:100]}.lock"


def holder_path(engine_id: str, folder: Path) -> Path:
    """The file that says who holds it."""
    return lock_path(engine_id, folder).with_suffix(".json")


def runtime_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(RUNTIME_VARIABLE) or DEFAULT_RUNTIME)


class EngineLock:
    """The lock of at most one engine. `runtime`, `state`: the folders; see the module."""

    def __init__(self, runtime: Path, state: Path) -> None:
        self.engine_id = ""  # of which the lock is held
        self._folders = (runtime, state)
        self._state = state
        self._path = Path()
        self._file = -1

    @property
    def held(self) -> bool:
        """False also if the file was removed under its holder: another one can be made and locked then."""
        if self._file < 0:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def take(self, engine_id: str) -> Holder | None:
        """Takes the lock of an engine, and gives up that of another one. None: it is held; else who holds it.

        Raises UsageError if neither folder can be written.
        """
        if self.held and self.engine_id == engine_id:
            return None
        self.release()
        while True:
            self._path, self._file = self._opened(engine_id)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = _read(self._path.with_suffix(".json"))
                self.release()
                return holder
            if self.held:  # else its holder's folder was removed in between
                break
            self.release()
        self.engine_id = engine_id
        mine = Holder(os.getpid(), started(os.getpid()), str(self._state.absolute()))
        _write(self._path.with_suffix(".json"), mine)
        return None

    def release(self) -> None:
        """Another dockmend may act from now on. The file stays: who waits for it has it open."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.engine_id = -1, ""

    def _opened(self, engine_id: str) -> tuple[Path, int]:
        problem = ""
        for folder in self._folders:
            path = lock_path(engine_id, folder)
            try:
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with contextlib.suppress(OSError):  # an earlier version's, which others may have been let lock
                    os.fchmod(file, 0o600)
            except OSError as error:
                problem = f"{path}: {error.strerror}"
            else:
                return path, file
        raise UsageError(f"the lock of the engine cannot be made: {problem}")


def holder_of(engine_id: str, folders: tuple[Path, ...]) -> Holder | None:
    """Who acts on an engine, by the locks in these folders; for a look from another process. None: nobody does."""
    for folder in folders:
        found = _read(holder_path(engine_id, folder))
        if found.pid and started(found.pid) == found.started:
            return found
    return None


def _write(path: Path, mine: Holder) -> None:
    with contextlib.suppress(OSError):  # the lock is held all the same
        folders.replace(path, msgspec.json.encode(mine), 0o644)  # `doctor` names it to whoever asks


def _read(path: Path) -> Holder:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return msgspec.json.decode(os.pread(file, LARGEST, 0), type=Holder)
        finally:
            os.close(file)
    except (OSError, msgspec.MsgspecError, ValueError):
        return UNKNOWN
