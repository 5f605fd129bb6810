"""Looks into the volume itself for what the engine's archive leaves out, so that nothing is lost in
silence.

The archive is made by the engine and cannot show what it lacks. Where dockmend runs on the engine's
own host and may read the volume's folder, it walks it and names the losses; elsewhere the manifest
states what is lost as a matter of course (`LIMITS`). Measured against Docker Engine 26.1.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockmend.snapshots.archive_contents import Collected
from dockmend.snapshots.manifest import ArchiveFinding, shown

LIMITS = (
    "unix sockets are left out (the program that listens makes them again)",
    "extended attributes other than security.capability are lost: user.*, trusted.*, POSIX ACLs",
    "holes of sparse files are filled with zeros",
    "times of modification are cut to seconds",
)
SPARSE = "sparse files: their holes were filled with zeros"
TIMES = "times of modification, cut to the second"
INEXACT = frozenset({SPARSE, TIMES})
"""Findings of what is kept, but not exactly: nothing is gone."""
FLAGS = "file flags (chattr), SELinux labels, and the times of access and of change are not kept"
# SELinux labels are on every file of a host that has them, and are given anew when a volume is
# mounted.
_NOT_NAMED = frozenset({"security.capability", "security.selinux"})
LONGEST = 4096
"""Bytes of a path below the root: what lies deeper is not looked into, as it takes ever longer to
get there."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLE_BLOCK = 512  # st_blocks counts these, whatever the file system's own blocks are


@dataclass(frozen=True, slots=True)
class Losses:
    """`entries` counts what the walk saw and an archive has: everything but sockets, the top folder
    included."""

    entries: int
    not_kept: list[ArchiveFinding]


def same_host(helper: Mapping[str, Any], mountpoint: str) -> bool:
    """True if the engine that made the container `helper` (raw inspect) keeps its files on this
    very host.

    A path that exists is no proof: every host has the same paths. The folder of a container made a
    moment ago is one.
    """
    data = (helper.get("GraphDriver") or {}).get("Data") or {}
    paths = [str(data[key]) for key in ("UpperDir", "WorkDir") if data.get(key)]
    container = str(helper.get("Id") or "")
    # ROOT/volumes/NAME/_data of the local driver
    if container and len(Path(mountpoint).parents) > 2:
        paths.append(str(Path(mountpoint).parents[2] / "containers" / container))
    return any(_exists(path) for path in paths)


def readable_root(mountpoint: str, mounted: bool) -> Path | None:
    """The volume's folder, if this process may read it. `mounted`: its content is there only while
    it is mounted."""
    path = Path(mountpoint)
    if (
        not mountpoint
        or not path.is_absolute()
        or not os.access(path, os.R_OK | os.X_OK)
        or not path.is_dir()
    ):
        return None
    return None if mounted and not path.is_mount() else path


def walk(root: Path) -> Losses:
    """Walks the folder (own file system boundaries included, links not followed); never opens
    anything but files that look sparse. What vanishes in the meantime is left out. Raises OSError
    if the folder itself cannot be read."""
    sockets = Collected("unix sockets")
    attributes = Collected("extended attributes")
    sparse = Collected(SPARSE)
    fractions = Collected(TIMES)
    unreadable = Collected("folders that could not be looked into")
    entries = 0
    for folder, own, name, status in _walk(root, unreadable):
        if stat.S_ISSOCK(status.st_mode):
            sockets.add(shown(name))
            continue
        entries += 1
        for attribute in _lost_attributes(folder, own):
            attributes.add(f"{shown(name)}: {attribute}")
        if status.st_mtime_ns % 1_000_000_000:
            fractions.add()
        looks_sparse = (
            stat.S_ISREG(status.st_mode) and status.st_blocks * _HOLE_BLOCK < status.st_size
        )
        if looks_sparse and _has_hole(folder, own, status):
            sparse.add(shown(name))
    found = (sockets, attributes, sparse, fractions, unreadable)
    return Losses(entries, [each.finding() for each in found if each.count])


def _walk(root: Path, unreadable: Collected) -> Iterator[tuple[int, bytes, bytes, os.stat_result]]:
    """The folder held open and the name in it, the name relative to the root, and status of the
    root and all below it.

    Containers may write there meanwhile, and put a link in the place of a folder: each is opened
    name by name, from the root on, and through no link.
    """
    top = os.open(root.resolve(), _FOLDER)
    try:
        yield top, b".", b".", os.fstat(top)
        folders = [b""]
        while folders:
            inside = folders.pop()
            if len(inside) > LONGEST:
                unreadable.add(shown(inside))
                continue
            try:
                folder = _opened(top, inside)
            except OSError:
                if not inside:
                    raise
                unreadable.add(shown(inside))
                continue
            try:
                with os.scandir(folder) as listing:
                    for entry in listing:
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except OSError:
                            continue  # gone since the folder was read
                        own = os.fsencode(entry.name)
                        name = inside + b"/" + own if inside else own
                        yield folder, own, name, status
                        if stat.S_ISDIR(status.st_mode):
                            folders.append(name)
            finally:
                os.close(folder)
    finally:
        os.close(top)


def _opened(top: int, inside: bytes) -> int:
    """A folder below one that is held open. Raises OSError, also if there is a link on the way."""
    here = os.open(".", _FOLDER, dir_fd=top)
    for part in filter(None, inside.split(b"/")):
        try:
            inner = os.open(part, _FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = inner
    return here


def _lost_attributes(folder: int, own: bytes) -> list[str]:
    try:
        names = os.listxattr(b"/proc/self/fd/%d/%s" % (folder, own), follow_symlinks=False)
    except OSError:
        return []  # a file system without them, or the file is gone
    return [name for name in names if name not in _NOT_NAMED]


def _has_hole(folder: int, own: bytes, status: os.stat_result) -> bool:
    """Fewer blocks than bytes is also what a compressing file system shows: ask for a real hole."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(own, flags, dir_fd=folder)
    except OSError:
        return False
    try:
        with contextlib.suppress(OSError):
            return os.lseek(descriptor, 0, os.SEEK_HOLE) < status.st_size
        return False
    finally:
        os.close(descriptor)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False
