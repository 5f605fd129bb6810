"""Where snapshots lie: `STATE/snapshots/VOLUME/TIME.tar.zst` and, beside it, `TIME.json`, its
manifest.

A snapshot exists if and only if its manifest does. Both are written under temporary names and
fsynced; the archive is renamed first, the manifest last, so that whatever dies in between leaves
something that `clean` knows for a leftover. A lock on the archive's file (it follows the file
through the rename) tells a leftover from work in progress, also when that is another process's: the
command line works beside the daemon. All methods block: call them in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from dockmend.disk_reserve import DiskReserve
from dockmend.snapshots.manifest import (
    STEM,
    VOLUME_NAME,
    Manifest,
    SnapshotError,
    decode,
    parse_id,
    stem_of,
)

ARCHIVE = ".tar.zst"
MANIFEST = ".json"
PARTIAL = ".partial"
_SAME_SECOND = 1000  # snapshots of one volume in one second before something is badly wrong


class Draft:
    """A snapshot being written. Ends with `commit` or `discard`; leaving the context without either
    discards it."""

    def __init__(
        self, folder: Path, volume: str, stem: str, file: BinaryIO, reserve: DiskReserve
    ) -> None:
        self.id = f"{volume}@{stem}"
        self.volume = volume
        self.file = file
        self.reserve = reserve
        self._archive = folder / (stem + ARCHIVE)
        self._manifest = folder / (stem + MANIFEST)
        self.folder = folder
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.discard()

    def sync(self) -> int:
        """Everything written is on disk when this returns; the archive's size in bytes."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def commit(self, manifest: Manifest) -> None:
        """Makes it a snapshot; it is one, on disk, when this returns. Raises OSError, and then it
        is none."""
        self.sync()
        partial = _partial(self._manifest)
        with _create(partial) as file:
            file.write(manifest.encode())
            file.flush()
            os.fsync(file.fileno())
        _partial(self._archive).rename(self._archive)
        _sync_folder(self.folder)
        partial.rename(self._manifest)
        _sync_folder(self.folder)
        self._close()

    def discard(self) -> None:
        """Removes what was written. Does nothing after `commit`."""
        if not self._open:
            return
        for path in (
            _partial(self._manifest),
            self._manifest,
            self._archive,
            _partial(self._archive),
        ):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):  # others are in it
            self.folder.rmdir()
        self._close()

    def _close(self) -> None:
        self._open = False
        # what matters was flushed; a full disk complains a second time here
        with contextlib.suppress(OSError):
            self.file.close()  # and with it goes the lock


class SnapshotStore:
    """All snapshots below one folder (`STATE/snapshots`); it is made, 0700, when the first one is.

    `reserve`: bytes of its disk that stay free, if the settings say so; see disk_reserve.py.
    """

    def __init__(self, root: Path, reserve: int | None = None) -> None:
        self.root = root
        self._reserve = reserve

    # -------------------------------------------------------------------------------------- writing

    def begin(self, volume: str, at: float) -> Draft:
        """Opens a new archive for `volume`, taken at `at` (wall seconds). Raises SnapshotError for
        a name that is no volume's, OSError where the disk says no or has not more free than the
        reserve."""
        folder = self._folder(volume)
        base = stem_of(at)
        for number in range(1, _SAME_SECOND):
            stem = base if number == 1 else f"{base}-{number}"
            self._make(folder)
            path = folder / (stem + ARCHIVE + PARTIAL)
            try:
                file = _create(path)
            except FileExistsError:
                continue
            except FileNotFoundError:
                continue  # another process removed the empty folder just now
            fcntl.flock(file, fcntl.LOCK_EX)
            if _same(path, file) and not any(
                (folder / (stem + end)).exists() for end in (ARCHIVE, MANIFEST)
            ):
                return self._with_room(
                    Draft(folder, volume, stem, file, DiskReserve(folder, self._reserve))
                )
            # Taken for a leftover before it was locked, or another one of this name was finished
            # before it was made.
            if _same(path, file):
                path.unlink()
            file.close()
        raise SnapshotError(f"{_SAME_SECOND} snapshots of {volume} within one second")

    @staticmethod
    def _with_room(draft: Draft) -> Draft:
        try:
            draft.reserve.require()
        except OSError:
            draft.discard()
            raise
        return draft

    def remove(self, id: str) -> None:
        """Removes a snapshot. Raises SnapshotError where there is none."""
        volume, stem = parse_id(id)
        folder = self._folder(volume)
        try:
            (folder / (stem + MANIFEST)).unlink()
        except FileNotFoundError:
            raise self._none(id) from None
        _sync_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            (folder / (stem + ARCHIVE)).unlink()
        with contextlib.suppress(OSError):  # others are in it
            folder.rmdir()

    def keep(self, rule: str, volume: str, last: int) -> list[str]:
        """Removes what `rule` made of `volume` but for the `last` newest; returns the removed ids,
        oldest first."""
        mine = [manifest for manifest in self.snapshots(volume) if manifest.rule == rule]
        surplus = [manifest.id for manifest in mine[: max(0, len(mine) - max(last, 1))]]
        for each in surplus:
            self.remove(each)
        return surplus

    def clean(self) -> list[str]:
        """Removes what writers that died left behind; returns the names of the removed files, below
        the root."""
        removed: list[str] = []
        for folder in self._folders():
            names = [path.name for path in folder.iterdir()]
            whole = {name.removesuffix(MANIFEST) for name in names if name.endswith(MANIFEST)}
            for stem in sorted({_stem(name) for name in names} - whole - {""}):
                removed += self._clean_one(folder, stem)
            with contextlib.suppress(OSError):
                folder.rmdir()
        return removed

    # -------------------------------------------------------------------------------------- reading

    def snapshots(self, volume: str | None = None) -> list[Manifest]:
        """All snapshots, or those of one volume: by volume, the oldest first. Raises SnapshotError
        for a manifest that cannot be read."""
        folders = self._folders() if volume is None else [self._folder(volume)]
        found: list[Manifest] = []
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                paths = [
                    path
                    for path in folder.iterdir()
                    if path.name.endswith(MANIFEST) and _stem(path.name)
                ]
                found += [manifest for path in paths if (manifest := _read(path)) is not None]
        return sorted(found, key=lambda each: (each.volume, each.taken_at, len(each.id), each.id))

    def _none(self, id: str) -> SnapshotError:
        where = (
            "`dockmend snapshots list` shows them, with --state DIR those of another state folder"
        )
        return SnapshotError(f"there is no snapshot {id} in {self.root}: {where}", again=False)

    def load(self, id: str) -> Manifest:
        """Raises SnapshotError where there is no such snapshot."""
        volume, stem = parse_id(id)
        manifest = _read(self._folder(volume) / (stem + MANIFEST))
        if manifest is None:
            raise self._none(id)
        if manifest.id != id:
            raise SnapshotError(
                f"the manifest of {id} says it is {manifest.id}: files were moved", again=False
            )
        return manifest

    def open(self, id: str) -> BinaryIO:
        """The compressed archive. Raises SnapshotError where it is missing."""
        volume, stem = parse_id(id)
        path = self._folder(volume) / (stem + ARCHIVE)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise SnapshotError(f"the archive of {id} is missing: {path}", again=False) from None

    def of_incident(self, incident: str, since: float) -> list[Manifest]:
        """Snapshots an incident made at or after `since` (wall seconds)."""
        return [
            each
            for each in self.snapshots()
            if each.incident == incident and each.taken_at >= since
        ]

    # --------------------------------------------------------------------------------------- inside

    def _folder(self, volume: str) -> Path:
        if not VOLUME_NAME.match(volume):
            raise SnapshotError(
                f"{volume[:100]!r} cannot be a volume's name: letters, digits, _ . - only",
                again=False,
            )
        return self.root / volume

    def _make(self, folder: Path) -> None:
        for each in (self.root, folder):
            if not each.is_dir():
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync_folder(each.parent)

    def _folders(self) -> list[Path]:
        try:
            return sorted(
                path
                for path in self.root.iterdir()
                if VOLUME_NAME.match(path.name) and path.is_dir()
            )
        except FileNotFoundError:
            return []

    def _clean_one(self, folder: Path, stem: str) -> Iterator[str]:
        archives = [folder / (stem + ARCHIVE), folder / (stem + ARCHIVE + PARTIAL)]
        with contextlib.ExitStack() as locks:
            for path in archives:
                with contextlib.suppress(FileNotFoundError):
                    file = locks.enter_context(path.open("rb"))
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        return  # somebody is writing it
            if (folder / (stem + MANIFEST)).exists():
                return  # it was finished while we looked
            for path in [folder / (stem + MANIFEST + PARTIAL), *archives]:
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue
                yield f"{folder.name}/{path.name}"


def _stem(name: str) -> str:
    """The time in a file's name, "" for a file that is none of ours."""
    bare = name.removesuffix(PARTIAL)
    for ending in (ARCHIVE, MANIFEST):
        if bare.endswith(ending) and STEM.match(stem := bare.removesuffix(ending)):
            return stem
    return ""


def _same(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    return os.fdopen(descriptor, "wb")


def _read(path: Path) -> Manifest | None:
    try:
        return decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
