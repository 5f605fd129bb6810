"""Takes a snapshot: a volume's tar from the engine, hashed, looked through, compressed and written
as it comes.

Two steps, so that a container held still for it goes on as soon as everything is read: `read` fills
a draft, `seal` looks for what was lost, syncs, and writes the manifest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

import dockmend
from dockmend.disk_reserve import DiskReserve
from dockmend.engine.engine_api import Engine, EngineInfo
from dockmend.errors import NotFound
from dockmend.model import Volume
from dockmend.ownership import Ownership
from dockmend.snapshots import restore_marker
from dockmend.snapshots.archive_contents import Contents
from dockmend.snapshots.helper_container import ROOT, HelperSource, helper
from dockmend.snapshots.joined_threads import acquire, to_end
from dockmend.snapshots.manifest import NAMES, ArchiveFinding, Manifest, SnapshotError
from dockmend.snapshots.omissions import FLAGS, LIMITS, readable_root, same_host, walk
from dockmend.snapshots.snapshot_store import Draft, SnapshotStore
from dockmend.snapshots.stage_threads import StagePump
from dockmend.snapshots.tar_headers import TarError, TarScanner

ZSTD = zstandard.ZstdCompressionParameters.from_level(
    3,  # zstd's own default
    threads=2,
    # By default a thread is given 8 MiB at a time, and all of it takes 115 MiB. With 1 MiB, and the
    # MiB before it to refer back to, it takes 30, is as fast, and the archive is no larger.
    job_size=1 << 20,
    overlap_log=8,
    write_checksum=True,
)


@dataclass(frozen=True, slots=True)
class Why:
    """Who asked for a snapshot: goes into its manifest. `owner`: whom the helper container is made
    for."""

    owner: str
    rule: str = ""
    incident: str = ""
    consistency: str = "live"
    paused: tuple[str, ...] = ()
    unpaused: tuple[str, ...] = ()  # could write all the while, and why they were left alone


@dataclass(frozen=True, slots=True)
class Read:
    """A volume's archive, read to its end into a draft; not yet a snapshot. Sizes are bytes."""

    source: HelperSource
    volume: Volume | None
    taken_at: float
    sha256: str
    bytes: int
    contents: Contents
    folder: Path | None  # the volume itself, where this process may look into it


class Inspect:
    """Stage: the content's hash and size, and what its headers say."""

    def __init__(self) -> None:
        self.contents = Contents(ROOT)
        self.size = 0
        self._hash = hashlib.sha256()
        self._scanner = TarScanner(self.contents.add)

    def process(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        self._scanner.feed(data)

    def finish(self) -> None:
        self._scanner.finish()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Compress:
    """Stage: zstd into a file, as long as the disk's reserve is left."""

    def __init__(self, file: BinaryIO, reserve: DiskReserve) -> None:
        self._file = file
        self._reserve = reserve
        self._stream = zstandard.ZstdCompressor(compression_params=ZSTD).compressobj()

    def process(self, data: bytes) -> None:
        self._write(self._stream.compress(data))

    def finish(self) -> None:
        self._write(self._stream.flush())

    def _write(self, data: bytes) -> None:
        if data:
            self._reserve.require(len(data))
            self._file.write(data)


async def read(
    own: Ownership, draft: Draft, source: HelperSource, why: Why, clock: Callable[[], float]
) -> Read:
    """Reads all of `source` into `draft` with constant memory.

    Raises SnapshotError (the archive was cut: a file shrank while it was read; no such volume),
    EngineError, OSError.
    """
    engine = own.engine
    volume = await _volume(engine, source)
    inspect = Inspect()
    taken_at = clock()
    async with helper(own, source, why.owner, read_only=True) as container:
        raw = await engine.inspect_raw(container)
        try:
            async with (
                engine.get_archive(container, f"/{ROOT}") as chunks,
                StagePump(inspect, Compress(draft.file, draft.reserve)) as pump,
            ):
                await pump.carry(chunks)
        except TarError as error:
            # The engine stops in mid-archive, without an error, when a file is shorter than it was
            # a moment before.
            raise SnapshotError(
                f"{source.path or source.name}: {error}. A file that shrinks while it is read does "
                "that: try again, or use `consistency: pause`"
            ) from error
        # While the helper stands: a volume of a network driver has no content unless it is mounted.
        folder = await asyncio.to_thread(_folder, raw, source, volume)
    return Read(source, volume, taken_at, inspect.sha256, inspect.size, inspect.contents, folder)


async def seal(draft: Draft, done: Read, why: Why, info: EngineInfo | None) -> Manifest:
    """Makes the draft a snapshot, with all that is known about it. Raises OSError."""
    try:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(to_end(_losses, done))
            syncing = group.create_task(to_end(draft.sync))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    not_kept, limits, missing = looking.result()
    size = syncing.result()
    volume = done.volume or Volume(name=done.source.name)
    manifest = Manifest(
        id=draft.id,
        volume=draft.volume,
        taken_at=done.taken_at,
        sha256=done.sha256,
        bytes=done.bytes,
        compressed_bytes=size,
        files=done.contents.files,
        directories=done.contents.directories,
        source=done.source.kind,
        path=done.source.path,
        driver=volume.driver,
        options=dict(volume.options),
        labels=dict(volume.labels),
        engine_id=info.id if info else "",
        engine_version=info.version if info else "",
        consistency=why.consistency,
        paused=list(why.paused),
        rule=why.rule,
        incident=why.incident,
        dockmend=dockmend.__version__,
        root=ROOT,
        not_kept=not_kept,
        cautions=done.contents.cautions() + missing + _unpaused(why),
        limits=limits,
    )
    await to_end(draft.commit, manifest)
    return manifest


async def begin(store: SnapshotStore, source: HelperSource, clock: Callable[[], float]) -> Draft:
    """An empty draft; to be used as a context. Raises SnapshotError (also for a volume being
    restored), OSError (also where less than the disk's reserve is free): before anything is held
    still for it."""
    if (
        source.kind == "volume"
        and await asyncio.to_thread(restore_marker.read, store, source.name) is not None
    ):
        raise SnapshotError(
            f"{source.name} is being restored, or a restore of it was interrupted: it is not what "
            "a snapshot should keep. `dockmend snapshots restore ID --in-place` ends that"
        )
    return await acquire(Draft.discard, partial(store.begin, source.name, clock()))


async def take(
    own: Ownership,
    store: SnapshotStore,
    source: HelperSource,
    why: Why,
    clock: Callable[[], float],
    info: EngineInfo | None = None,
) -> Manifest:
    """`read` and `seal`: one snapshot of one volume, or nothing at all."""
    with await begin(store, source, clock) as draft:
        return await seal(draft, await read(own, draft, source, why, clock), why, info)


async def _volume(engine: Engine, source: HelperSource) -> Volume | None:
    """Looked at first: an engine asked to mount a volume that does not exist makes an empty one."""
    if source.kind == "bind":
        return None
    try:
        return await engine.inspect_volume(source.name)
    except NotFound:
        raise SnapshotError(
            f"there is no volume {source.name} on this engine", again=False
        ) from None


def _folder(helper: Mapping[str, Any], source: HelperSource, volume: Volume | None) -> Path | None:
    path = source.path if volume is None else volume.mountpoint
    if not same_host(helper, volume.mountpoint if volume else ""):
        return None
    # The local driver mounts a device (nfs, cifs, another folder) only for as long as a container
    # uses it.
    mounted = (
        volume is not None
        and volume.driver == "local"
        and bool({"type", "device"} & volume.options.keys())
    )
    return readable_root(path, mounted)


def _unpaused(why: Why) -> list[ArchiveFinding]:
    if not why.unpaused:
        return []
    return [
        ArchiveFinding(
            "containers that could write while it was read",
            len(why.unpaused),
            list(why.unpaused[:NAMES]),
        )
    ]


def _losses(done: Read) -> tuple[list[ArchiveFinding], list[str], list[ArchiveFinding]]:
    """What is not kept, what is never kept, and cautions from comparing the volume with the
    archive."""
    if done.folder is None:
        return [], [*LIMITS, FLAGS], []
    try:
        losses = walk(done.folder)
    except OSError:
        return [], [*LIMITS, FLAGS], []  # the volume was removed or unmounted meanwhile
    difference = losses.entries - done.contents.entries
    missing = ArchiveFinding(
        f"the volume had {losses.entries} entries when it was looked through right after, the "
        f"archive has {done.contents.entries}: it was being written to, or the engine could not "
        "read some (its log says which)",
        abs(difference),
    )
    return losses.not_kept, [FLAGS], [missing] if difference else []
