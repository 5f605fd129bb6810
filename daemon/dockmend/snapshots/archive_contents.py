"""Counts what an archive holds and notes what a restore elsewhere may trip over, from its headers
alone."""

from __future__ import annotations

import posixpath

from dockmend.snapshots.manifest import NAMES, ArchiveFinding, shown
from dockmend.snapshots.tar_headers import TarEntry


class Collected:
    """A kind of finding being collected: every one counts, the first `NAMES` are named."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.count = 0
        self.names: list[str] = []

    def add(self, name: str | None = None) -> None:
        self.count += 1
        if name is not None and len(self.names) < NAMES:
            self.names.append(name)

    def finding(self) -> ArchiveFinding:
        return ArchiveFinding(self.what, self.count, self.names)


class Contents:
    """Give it every entry of an archive whose top folder is `root`."""

    def __init__(self, root: str = "v") -> None:
        self.entries = 0
        self.directories = 0
        self.top: TarEntry | None = None
        self._root = root.encode()
        self._leaving = Collected(
            "relative symbolic links that leave the volume: kept, but some programs refuse them"
        )
        self._devices = Collected(
            "device nodes: kept, but an engine without real root cannot make them"
        )
        self._hard_links = Collected("hard links: kept as links within this archive")
        self._strange = Collected(
            "names that are not UTF-8: kept byte for byte, shown here with \\xNN"
        )

    @property
    def files(self) -> int:
        """Members that are not directories."""
        return self.entries - self.directories

    def add(self, entry: TarEntry) -> None:
        self.entries += 1
        if entry.directory:
            self.directories += 1
            if self.top is None:
                self.top = entry
        elif entry.symlink:
            if self._leaves(entry):
                self._leaving.add(f"{self._inside(entry.name)} -> {shown(entry.link)}")
        elif entry.device:
            self._devices.add(self._inside(entry.name))
        elif entry.hard_link:
            self._hard_links.add(self._inside(entry.name))
        if not entry.name.isascii() and not _utf8(entry.name):
            self._strange.add(self._inside(entry.name))

    def cautions(self) -> list[ArchiveFinding]:
        found = (self._leaving, self._devices, self._hard_links, self._strange)
        return [each.finding() for each in found if each.count]

    def _inside(self, name: bytes) -> str:
        return shown(name.removeprefix(self._root + b"/"))

    def _leaves(self, entry: TarEntry) -> bool:
        if entry.link.startswith(b"/"):
            # absolute: it points into whatever container mounts the volume, and every program keeps
            # it
            return False
        target = posixpath.normpath(posixpath.join(posixpath.dirname(entry.name), entry.link))
        return target != self._root and not target.startswith(self._root + b"/")


def _utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
