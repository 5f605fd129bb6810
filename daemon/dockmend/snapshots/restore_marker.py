"""The mark of a volume whose content is being exchanged: `snapshots/.in-place/VOLUME`, there until
that is over.

It is on disk before anything is touched and names the snapshot of what the volume held, so that
whoever finds it can put that back. A lock beside it, which dies with its process, tells a leftover
from work in progress.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from dockmend.snapshots.manifest import VOLUME_NAME, SnapshotError
from dockmend.snapshots.snapshot_store import SnapshotStore

_FOLDER = ".in-place"  # a name that no volume can have
_LOCK = ".lock-"  # as those below: before the volume's name
_DRAFT = ".draft-"


class RestoreRunning(SnapshotError):
    """Another process exchanges the content of that volume just now."""


class RestoreMarker(Struct, frozen=True):
    """The content of `volume` is being replaced by that of `snapshot`. `safety` is the snapshot of
    what it held; "": there was no volume, and one is made, which a row of the journal proves
    (new_volume.py)."""

    volume: str
    snapshot: str
    safety: str = ""


def place(store: SnapshotStore, volume: str) -> Path:
    return store.root / _FOLDER / volume


@contextlib.contextmanager
def held(store: SnapshotStore, volume: str) -> Iterator[None]:
    """Nobody else exchanges the content of `volume` meanwhile. Raises RestoreRunning where somebody
    does, OSError."""
    path = place(store, _LOCK + volume)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RestoreRunning(
                    f"{volume} is being restored by another dockmend: wait until it is done"
                ) from None
            with contextlib.suppress(FileNotFoundError):  # its holder removed it just now
                if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    break
        try:
            yield
        finally:
            path.unlink()


def put(store: SnapshotStore, mark: RestoreMarker) -> None:
    """On disk when this returns, all of it or nothing. Raises OSError."""
    draft = place(store, _DRAFT + mark.volume)
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(mark))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(place(store, mark.volume))
    _sync(draft.parent)


def end(store: SnapshotStore, volume: str) -> None:
    """The exchange is over, or nothing of it is left."""
    path = place(store, volume)
    path.unlink(missing_ok=True)
    _sync(path.parent)


def read(store: SnapshotStore, volume: str) -> RestoreMarker | None:
    """The mark of a volume, None where there is none. Raises SnapshotError where it cannot be
    read."""
    path = place(store, volume)
    try:
        return msgspec.json.decode(path.read_bytes(), type=RestoreMarker)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SnapshotError(
            f"{path}: {error}. Look at the volume before you remove that file", again=False
        ) from error


def marked(store: SnapshotStore) -> list[str]:
    """The volumes that have a mark, or whose lock is there, held or left behind (`held` removes
    it)."""
    folder = store.root / _FOLDER
    if not folder.is_dir():
        return []
    names = {path.name.removeprefix(_LOCK) for path in folder.iterdir()}
    return sorted(name for name in names if VOLUME_NAME.match(name))


def needed(store: SnapshotStore) -> dict[str, str]:
    """The snapshots that must stay until an exchange is over: id → volume."""
    marks = [read(store, volume) for volume in marked(store)]
    return {mark.safety: mark.volume for mark in marks if mark is not None and mark.safety}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
