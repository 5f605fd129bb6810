"""Reads the headers of a tar stream as it passes by, so that a snapshot knows what it holds without
unpacking it.

The standard library's reader wants to pull its input and decodes names; here the engine pushes
chunks of any size, names are bytes (they need not be UTF-8), and the only memory is one header.
Formats: ustar, pax (POSIX.1-2001) and GNU.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from msgspec import Struct

BLOCK = 512
META_LIMIT = 8 << 20  # bytes of one pax header or GNU long name: Go's reader takes 1 MiB
_ZEROS = bytes(BLOCK)
# links, devices, directories, fifos: their size field says nothing about what follows
_NO_DATA = b"123456"
_KEPT = frozenset(
    (b"path", b"linkpath", b"size", b"uid", b"gid", b"SCHILY.xattr.security.capability")
)
_META = b"xgXLK"  # pax (own, global, Solaris), GNU long name, GNU long link


class TarError(ValueError):
    """The stream is not a tar archive, or is one that was cut or damaged."""


class TarEntry(Struct, frozen=True):
    """One member. `kind` is its type flag: b"0" file, b"1" hard link, b"2" symbolic link, b"3" and
    b"4" devices, b"5" directory, b"6" fifo; b"7" and others are taken for files. `size` is bytes of
    content."""

    name: bytes
    kind: bytes
    size: int
    link: bytes
    mode: int

    @property
    def directory(self) -> bool:
        return self.kind == b"5"

    @property
    def symlink(self) -> bool:
        return self.kind == b"2"

    @property
    def hard_link(self) -> bool:
        return self.kind == b"1"

    @property
    def device(self) -> bool:
        return self.kind in (b"3", b"4")


class TarScanner:
    """Feed it the stream; it calls `on_entry` for each member as its header goes by."""

    def __init__(self, on_entry: Callable[[TarEntry], None]) -> None:
        self._on_entry = on_entry
        self._on_content: Callable[[bytes], None] | None = (
            None  # content and padding of the latest member (archive_entries.py)
        )
        self._held = bytearray()  # an incomplete header or meta record
        self._wanted = BLOCK  # bytes that complete what is held
        self._skip = 0  # bytes of content and padding still to pass
        self._meta = b""  # type of the meta record being held, b"" for a header
        self._meta_size = 0
        self._extended = False  # the next block continues a GNU sparse map
        self._zeros = 0  # blocks of zeros seen in a row: two end the archive
        self._own: dict[bytes, bytes] = {}  # pax and GNU records for the next member only
        self._records: dict[bytes, bytes] = {}  # those of the latest member, and the global ones
        self._global: dict[bytes, bytes] = {}
        self._after_sparse = 0
        self.last = b""  # name of the latest member: where an archive that was cut ends

    @property
    def complete(self) -> bool:
        """True once the end mark was read. A tar without one was cut short, wherever that was."""
        return self._zeros >= 2

    def feed(self, data: bytes) -> None:
        """Look at the next bytes of the stream, any number of them. Raises TarError."""
        position, end = 0, len(data)
        while position < end:
            if self._skip:
                step = min(self._skip, end - position)
                if self._on_content is not None:
                    self._on_content(data[position : position + step])
                self._skip -= step
                position += step
                continue
            if self.complete:
                return  # archives are padded to a multiple of 10 KiB
            if not self._held and end - position >= self._wanted:
                piece = data[position : position + self._wanted]
                position += self._wanted
            else:
                step = min(self._wanted - len(self._held), end - position)
                self._held += data[position : position + step]
                position += step
                if len(self._held) < self._wanted:
                    return
                piece = bytes(self._held)
                self._held.clear()
            self._piece(piece)

    def finish(self) -> None:
        """Call at the end of the stream: raises TarError where the end mark is missing."""
        if not self.complete:
            where = f" after {self.last.decode(errors='backslashreplace')}" if self.last else ""
            raise TarError(f"the archive was cut short{where}")

    def _piece(self, piece: bytes) -> None:
        if self._extended:
            self._sparse_map(piece)
        elif self._meta:
            self._record(piece[: self._meta_size])
        else:
            self._header(piece)

    def _header(self, block: bytes) -> None:
        if block == _ZEROS:
            self._zeros += 1
            return
        if self._zeros:
            raise TarError("a lone block of zeros in mid-archive")
        _check_sum(block)
        kind = block[156:157]
        size = number(block[124:136])
        if size < 0:  # base 256 has a sign: going back in the stream would never end
            raise TarError(f"a size of {size} in a header: the archive is damaged")
        if kind in _META:
            if size > META_LIMIT:
                raise TarError(f"a header of {size} bytes: no archive of an engine has one")
            self._meta, self._meta_size = kind, size
            self._wanted = _padded(size)
            if not size:
                self._record(b"")
            return
        self._member(block, kind, size)

    def _member(self, block: bytes, kind: bytes, size: int) -> None:
        records = self._records = {**self._global, **self._own} if self._global else self._own
        self._own = {}
        name = records.get(b"path") or _name(block)
        if b"size" in records:
            size = _decimal(records[b"size"])
        if kind == b"\0":  # before POSIX: a folder was told by its name
            kind = b"5" if name.endswith(b"/") else b"0"
        self.last = name
        content = 0 if kind in _NO_DATA else size
        if kind == b"S" and block[482]:
            self._extended, self._after_sparse = True, _padded(content)
        else:
            self._skip = _padded(content)
        link = records.get(b"linkpath") or block[157:257].partition(b"\0")[0]
        self._on_entry(TarEntry(name, kind, content, link, number(block[100:108]) & 0o7777))

    def _sparse_map(self, block: bytes) -> None:
        if not block[504]:
            self._extended, self._skip = False, self._after_sparse

    def _record(self, body: bytes) -> None:
        kind, self._meta, self._wanted = self._meta, b"", BLOCK
        if kind == b"L":
            self._own[b"path"] = body.partition(b"\0")[0]
        elif kind == b"K":
            self._own[b"linkpath"] = body.partition(b"\0")[0]
        elif kind == b"g":
            self._global.update(_pax(body))
        else:
            self._own.update(_pax(body))


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        return block[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _check_sum(block: bytes) -> None:
    """The header's bytes add up to what it says, its own field counting as eight blanks.

    Adler-32's lower half is one more than that sum modulo 65521, twenty times as fast as adding up
    in Python.
    """
    stated = number(block[148:156])
    if (stated + sum(block[148:156]) - 256 + 1) % 65521 == zlib.adler32(block) & 0xFFFF:
        return
    others = block[:148] + block[156:]
    # old writers added signed bytes
    if stated != sum(others) + 256 - 256 * sum(byte > 127 for byte in others):
        raise TarError("a header's checksum is wrong: the archive is damaged")


def number(field: bytes) -> int:
    """A number of a header: octal digits, or base 256 where the first bit is set (GNU)."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - 256 ** (len(field) - 1)
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        raise TarError(f"not a number in a header: {field!r}") from None


def _decimal(text: bytes) -> int:
    try:
        value = int(text)
    except ValueError:
        raise TarError(f"not a size in a pax header: {text[:40]!r}") from None
    if value < 0:
        raise TarError("a negative size in a pax header")
    return value


def _pax(body: bytes) -> dict[bytes, bytes]:
    """The records of a pax header that matter here. Each is "LENGTH KEY=VALUE", line feed; LENGTH
    counts all of it."""
    kept: dict[bytes, bytes] = {}
    position = 0
    while position < len(body) and body[position]:
        blank = body.find(b" ", position, position + 20)
        length = _decimal(body[position:blank]) if blank > position else 0
        record = body[blank + 1 : position + length - 1]
        key, equals, value = record.partition(b"=")
        if not length or not equals or body[position + length - 1 : position + length] != b"\n":
            raise TarError("a pax header that cannot be read: the archive is damaged")
        if key in _KEPT:
            kept[key] = value
        position += length
    return kept
