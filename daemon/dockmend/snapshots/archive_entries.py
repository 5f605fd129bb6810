"""Reads an archive down to what tells one file from another, in memory that its content has no part
in.

Where a snapshot is taken the headers are enough; a comparison also needs owners, devices and a hash
of each file.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from dockmend.snapshots.tar_headers import TarEntry, TarError, TarScanner, number

KINDS = {
    b"0": "file", b"1": "hard link", b"2": "symbolic link", b"3": "character device",
    b"4": "block device", b"5": "directory", b"6": "fifo",
}  # fmt: skip


class Detail(Struct, frozen=True):
    """One member of an archive. `size` is bytes of content, `sha256` theirs (b"" where it is no
    file), `link` what a symbolic or hard link names, `device` major and minor, `capability` the
    attribute security.capability, raw."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    sha256: bytes = b""
    link: bytes = b""
    device: tuple[int, int] | None = None
    capability: bytes = b""


# a path relative to the archive's top folder (b"." for that itself), and what is there
Item = tuple[bytes, Detail]


class DetailScanner(TarScanner):
    """Feed it an archive whose top folder is `root`; `taken` gives what has been read since it was
    last called."""

    def __init__(self, root: str) -> None:
        super().__init__(self._entry)
        self._on_content = self._content
        self._root = root.encode()
        self._block = b""
        self._done: list[Item] = []
        self._file: TarEntry | None = None  # the one whose content goes by
        self._detail: Detail | None = None
        self._hash = hashlib.sha256()
        self._left = 0  # bytes of its content still to come; what follows is padding

    def taken(self) -> list[Item]:
        done, self._done = self._done, []
        return done

    def finish(self) -> None:
        super().finish()
        self._close()

    def _member(self, block: bytes, kind: bytes, size: int) -> None:
        self._close()
        self._block = block
        super()._member(block, kind, size)

    def _entry(self, entry: TarEntry) -> None:
        block, records = self._block, self._records
        link = entry.link if entry.symlink else self._inside(entry.link) if entry.hard_link else b""
        self._detail = Detail(
            kind=KINDS.get(entry.kind, "file"),
            mode=entry.mode,
            uid=_decimal(records[b"uid"]) if b"uid" in records else number(block[108:116]),
            gid=_decimal(records[b"gid"]) if b"gid" in records else number(block[116:124]),
            size=entry.size,
            link=link,
            device=(number(block[329:337]), number(block[337:345])) if entry.device else None,
            capability=records.get(b"SCHILY.xattr.security.capability", b""),
        )
        self._file = entry
        self._left = entry.size
        self._hash = hashlib.sha256()

    def _content(self, data: bytes) -> None:
        if self._left:
            self._hash.update(data if len(data) <= self._left else data[: self._left])
            self._left -= min(self._left, len(data))

    def _close(self) -> None:
        """The latest member is over."""
        entry, detail = self._file, self._detail
        if entry is None or detail is None:
            return
        self._file = self._detail = None
        if detail.kind == "file":
            detail = Detail(detail.kind, detail.mode, detail.uid, detail.gid, detail.size,
                self._hash.digest(),
                            capability=detail.capability)  # fmt: skip
        self._done.append((self._inside(entry.name), detail))

    def _inside(self, name: bytes) -> bytes:
        name = name.rstrip(b"/")
        return b"." if name == self._root else name.removeprefix(self._root + b"/")


def _decimal(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise TarError(f"not an owner in a pax header: {text[:40]!r}") from None
