"""One dockmend acts on each engine: two would heal everything twice, and take each other's doing
for a person's.

The lock is a file named after the engine in the runtime folder of this host (/run/dockmend), or in
the state folder if that cannot be written. It is the kernel's (flock), so it ends with its process,
however that ends.

Whoever can open a file can lock it, also one that they may only read. So the lock is 0600, and who
holds it stands in a file beside it that everybody may read. A process id of another container says
nothing here; whether its process still runs is then asked of the lock, by a second one (of the open
file description) that can be asked for without taking it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from dockmend import folders
from dockmend.control.pidfiles import DEFAULT_RUNTIME, RUNTIME_VARIABLE
from dockmend.errors import UsageError
from dockmend.processes import pid_namespace, started

log = structlog.get_logger("dockmend")

ENGINES = "engines"
LARGEST = 4096
"""Bytes of a holder's file that are read."""


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """The dockmend that acts. `started`: as in control.pidfiles.PidFile; `namespace`: in which its
    id is `pid`; `folder`: device and inode of its state folder, which other containers may call
    otherwise; of another version these two are "". `doubtful`: it may have ended since.
    """

    pid: int
    started: str
    state: str
    namespace: str = ""
    folder: str = ""
    doubtful: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether its process id and the path of its state folder are those of another container,
        or of the host."""
        return self.namespace not in ("", pid_namespace())

    @property
    def told(self) -> str:
        if not self.pid:
            return "a process that does not say which"
        where = " in another container, or on its host" if self.elsewhere else ""
        return f"process {self.pid}, state folder {self.state}{where}"

    def works_on(self, state: Path) -> bool:
        """Whether that is its state folder."""
        if self.folder and (here := _folder(state)):
            return self.folder == here
        return Path(self.state) == state.absolute()


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
        """False also if the file was removed under its holder: another one can be made and locked
        then."""
        if self._file < 0:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def take(self, engine_id: str) -> Holder | None:
        """Takes the lock of an engine, and gives up that of another one. None: it is held; else who
        holds it.

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
        with contextlib.suppress(OSError):  # only for who asks from another container
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK))
        state = self._state.absolute()
        mine = Holder(
            os.getpid(), started(os.getpid()), str(state), pid_namespace(), _folder(state)
        )
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
                # an earlier version's, which others may have been let lock
                with contextlib.suppress(OSError):
                    os.fchmod(file, 0o600)
            except OSError as error:
                problem = f"{path}: {error.strerror}"
            else:
                return path, file
        raise UsageError(f"the lock of the engine cannot be made: {problem}")


def holder_of(engine_id: str, folders: tuple[Path, ...]) -> Holder | None:
    """Who acts on an engine, by the locks in these folders; for a look from another process. None:
    nobody does."""
    for folder in folders:
        found = _read(holder_path(engine_id, folder))
        if not found.elsewhere:
            if found.pid and started(found.pid) == found.started:
                return found
        elif (held := _is_held(lock_path(engine_id, folder))) is not False:
            return msgspec.structs.replace(found, doubtful=held is None)
    return None


def _is_held(path: Path) -> bool | None:
    """Whether some process holds a lock; None: this user may not ask."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _range(fcntl.F_WRLCK))
    except OSError:
        return None
    finally:
        os.close(file)
    kind: int = struct.unpack_from("h", answer)[0]
    return kind != fcntl.F_UNLCK


def _range(kind: int) -> bytes:
    """A `struct flock` over the whole file, see fcntl(2)."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def _folder(state: Path) -> str:
    try:
        seen = state.stat()
    except OSError:
        return ""
    return f"{seen.st_dev}:{seen.st_ino}"


def _write(path: Path, mine: Holder) -> None:
    with contextlib.suppress(OSError):  # the lock is held all the same
        folders.replace(path, msgspec.json.encode(mine), 0o644)  # `doctor` names it to whoever asks


def _read(path: Path) -> Holder:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = msgspec.json.decode(os.pread(file, LARGEST, 0), type=Holder)
            return msgspec.structs.replace(found, doubtful=False)
        finally:
            os.close(file)
    except (OSError, msgspec.MsgspecError, ValueError):
        return UNKNOWN
