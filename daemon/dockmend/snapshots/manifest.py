"""What a snapshot says about itself: the file beside the archive that makes it one.

A snapshot exists if and only if its manifest does, so everything a restore or a person needs is in
it: what was kept, by which hash, and by name what could not be kept.
"""

from __future__ import annotations

import re
import time
from typing import Literal

import msgspec
from msgspec import Struct, field

from dockmend.errors import DockmendError

FORMAT = 1
Json = bytes  # Manifest has a field named bytes
NAMES = 1000  # of each kind of finding, at most; the count is always whole

# the engine's grammar, a folder's length
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}\Z", re.ASCII)
STEM = re.compile(r"\d{8}T\d{6}(-\d{1,4})?\Z", re.ASCII)


class SnapshotError(DockmendError):
    """A snapshot could not be made, read or restored. `again` False: the same will fail the same
    way."""

    def __init__(self, message: str, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


class ArchiveFinding(Struct, frozen=True):
    """One kind of thing that was found in a volume: how many, and the first `NAMES` of them,
    relative to its root.

    Bytes of a name that are not UTF-8 are written in hexadecimal.
    """

    what: str
    count: int
    names: list[str] = field(default_factory=list)


class Manifest(Struct, frozen=True):
    """A snapshot. Sizes are bytes; `taken_at` is wall seconds, when reading began."""

    id: str
    volume: str  # for a bind mount: a name made from its path
    taken_at: float
    sha256: str  # of the tar archive, uncompressed
    bytes: int  # of the tar archive, uncompressed
    compressed_bytes: int
    files: int  # members that are not directories
    directories: int
    format: int = FORMAT
    source: Literal["volume", "bind"] = "volume"
    path: str = ""  # bind mounts: the folder on the engine's host
    driver: str = "local"
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    engine_id: str = ""
    engine_version: str = ""
    consistency: str = "live"
    paused: list[str] = field(default_factory=list)  # names of the containers that were held still
    rule: str = ""
    incident: str = ""
    dockmend: str = ""
    root: str = "v"  # the archive's top folder
    # seen in the volume, absent from the archive
    not_kept: list[ArchiveFinding] = field(default_factory=list)
    # kept, but a restore elsewhere may trip over them
    cautions: list[ArchiveFinding] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)  # never kept, and it could not be looked for

    @property
    def time(self) -> str:
        """When it was taken, UTC, to the second (RFC 3339)."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.taken_at))

    @property
    def stem(self) -> str:
        return self.id.rpartition("@")[2]

    def row(self) -> dict[str, str | int | None]:
        """The row the command line shows."""
        return {
            "id": self.id, "volume": self.volume, "time": self.time, "bytes": self.bytes,
            "files": self.files, "rule": self.rule or None, "incident": self.incident or None,
        }  # fmt: skip

    def encode(self) -> Json:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def decode(data: bytes, where: str) -> Manifest:
    """Raises SnapshotError where `data` is no manifest of a known format."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SnapshotError(
            f"{where} is no manifest of a snapshot: {error}", again=False
        ) from error
    if manifest.format > FORMAT:
        raise SnapshotError(
            f"{where} was written by dockmend {manifest.dockmend}: this one is too old", again=False
        )
    return manifest


def parse_id(text: str) -> tuple[str, str]:
    """The volume and the time of "VOLUME@TIME". Raises SnapshotError: an id is a stranger's text
    and becomes a path."""
    volume, _, stem = text.rpartition("@")
    if not VOLUME_NAME.match(volume) or not STEM.match(stem):
        raise SnapshotError(
            f"{text!r} is no snapshot's id: `dockmend snapshots list` shows them", again=False
        )
    return volume, stem


def stem_of(at: float) -> str:
    """The file name, less its ending, of a snapshot taken at `at` (wall seconds): UTC."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(at))


def shown(name: bytes) -> str:
    """A file's name for a manifest: text whatever its bytes are."""
    return name.decode("utf-8", "backslashreplace")
