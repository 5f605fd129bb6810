"""Looks into the volume itself for what the engine's archive leaves out, so that nothing is lost in silence.

The archive is made by the engine and cannot show what it lacks. Where dockmend runs on the engine's own host and may
read the volume's folder, it walks it and names the losses; elsewhere the manifest states what is lost as a matter of
course (`LIMITS`). Measured against Docker Engine 26.1.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockmend.snapshots.contents import Collected
from dockmend.snapshots.manifest import Finding, shown

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
# SELinux labels are on every file of a host that has them, and are given anew when a volume is mounted.
_NOT_NAMED = frozenset({"security.capability", "security.selinux"})
_HOLE_BLOCK = 512  # st_blocks counts these, whatever the file system's own blocks are


@dataclass(frozen=True, slots=True)
class Losses:
    """`entries` counts what the walk saw and an archive has: everything but sockets, the top folder included."""

    entries: int
    not_kept: list[Finding]


def same_host(helper: Mapping[str, Any], mountpoint: str) -> bool:
    """True if the engine that made the container `helper` (raw inspect) keeps its files on this very host.

    A path that exists is no proof: every host has the same paths. The folder of a container made a moment ago is one.
    """
    data = (helper.get("GraphDriver") or {}).get("Data") or {}
    paths = [str(data[key]) for key in ("UpperDir", "WorkDir") if data.get(key)]
    container = str(helper.get("Id") or "")
    if container and len(Path(mountpoint).parents) > 2:  # ROOT/volumes/NAME/_data of the local driver
        paths.append(str(Path(mountpoint).parents[2] / "containers" / container))
    return any(_exists(path) for path in paths)


def readable_root(mountpoint: str, mounted: bool) -> Path | None:
    """The volume's folder, if this process may read it. `mounted`: its content is there only while it is mounted."""
    path = Path(mountpoint)
    if not mountpoint or not path.is_absolute() or not os.access(path, os.R_OK | os.X_OK) or not path.is_dir():
        return None
    return None if mounted and not path.is_mount() else path


def walk(root: Path) -> Losses:
    """Walks the folder (own file system boundaries included, links not followed); never opens anything but files that
    look sparse. What vanishes in the meantime is left out. Raises OSError if the folder itself cannot be read."""
    sockets = Collected("unix sockets")
    attributes = Collected("extended attributes")
    sparse = Collected(SPARSE)
    fractions = Collected(TIMES)
    unreadable = Collected("folders that could not be looked into")
    entries = 0
    for path, name, status in _walk(os.fsencode(root), unreadable):
        if stat.S_ISSOCK(status.st_mode):
            sockets.add(shown(name))
            continue
        entries += 1
        for attribute in _lost_attributes(path):
            attributes.add(f"{shown(name)}: {attribute}")
        if status.st_mtime_ns % 1_000_000_000:
            fractions.add()
        if stat.S_ISREG(status.st_mode) and status.st_blocks * _HOLE_BLOCK < status.st_size and _has_hole(path, status):
            sparse.add(shown(name))
    found = (sockets, attributes, sparse, fractions, unreadable)
    return Losses(entries, [each.finding() for each in found if each.count])


def _walk(root: bytes, unreadable: Collected) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """Path, name relative to the root, and status of the root and all below it."""
    yield root, b".", os.lstat(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            listing = os.scandir(folder)
        except OSError:
            if folder == root:
                raise
            unreadable.add(shown(folder[len(root) + 1 :]))
            continue
        with listing:
            for entry in listing:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone since the folder was read
                yield entry.path, entry.path[len(root) + 1 :], status
                if stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)


def _lost_attributes(path: bytes) -> list[str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []  # a file system without them, or the file is gone
    return [name for name in names if name not in _NOT_NAMED]


def _has_hole(path: bytes, status: os.stat_result) -> bool:
    """Fewer blocks than bytes is also what a compressing file system shows: ask for a real hole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
