"""Puts a snapshot back, into a new volume: what exists is never written to, except by
in_place_restore.py on demand.

The archive is read twice: once to prove that it is what the manifest says, once to send it. A
restore that fails leaves no volume behind, since the engine keeps what came before the failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import structlog
import zstandard

from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.ownership import Ownership
from dockmend.snapshots import new_volume, restore_marker
from dockmend.snapshots.archive_contents import Contents
from dockmend.snapshots.helper_container import HelperSource, helper, remove_helpers
from dockmend.snapshots.helper_owner import command_owner, gone
from dockmend.snapshots.manifest import VOLUME_NAME, Manifest, SnapshotError
from dockmend.snapshots.snapshot_store import SnapshotStore
from dockmend.snapshots.tar_headers import TarError, TarScanner

log = structlog.get_logger("dockmend.snapshots")

CHUNK = 1 << 20  # bytes
_KEPT_OPTIONS = frozenset({"size"})


@dataclass(frozen=True, slots=True)
class VerifiedSnapshot:
    """The outcome of reading a snapshot back. `problems` is empty where it is whole."""

    manifest: Manifest
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """`notes` are for a person: what is different about the volume."""

    manifest: Manifest
    volume: str
    notes: tuple[str, ...]
    safety: str = ""  # in place: the snapshot of what the volume held before


def verify(store: SnapshotStore, id: str) -> VerifiedSnapshot:
    """Reads the whole archive and compares it with its manifest; blocks. Raises SnapshotError where
    there is none."""
    manifest = store.load(id)
    contents = Contents(manifest.root)
    scanner = TarScanner(contents.add)
    digest, size = hashlib.sha256(), 0
    with store.open(id) as file:
        file.seek(0, 2)
        compressed = file.tell()
        file.seek(0)
        try:
            for data in decompressed(file):
                digest.update(data)
                size += len(data)
                scanner.feed(data)
            scanner.finish()
        except (zstandard.ZstdError, TarError) as error:
            return VerifiedSnapshot(manifest, (f"the archive is damaged: {error}",))
    compared = (
        ("bytes compressed", compressed, manifest.compressed_bytes),
        ("bytes", size, manifest.bytes),
        ("files", contents.files, manifest.files),
        ("directories", contents.directories, manifest.directories),
        ("sha256", digest.hexdigest(), manifest.sha256),
    )
    wrong = (
        f"{what}: {found}, the manifest says {said}"
        for what, found, said in compared
        if found != said
    )
    return VerifiedSnapshot(manifest, tuple(wrong))


async def restore(
    own: Ownership, store: SnapshotStore, id: str, to: str | None = None, owner: str | None = None
) -> Restored:
    """Restores into the fresh volume `to` (VOLUME-restored-TIME where None); `owner`: whom it is
    made for.

    Raises SnapshotError where the volume exists, the archive is damaged or the engine cannot take
    it; EngineError. The volume is there afterwards only if all of it is.
    """
    manifest = await asyncio.to_thread(store.load, id)
    name = to if to is not None else f"{manifest.volume}-restored-{manifest.stem}"
    if not VOLUME_NAME.match(name):
        raise SnapshotError(
            f"{name[:100]!r} cannot be a volume's name: letters, digits, _ . - only", again=False
        )
    engine = own.engine
    await _refuse_existing(engine, name)
    verified = await asyncio.to_thread(verify, store, id)
    if verified.problems:
        raise SnapshotError(f"{id} is not restored: {'; '.join(verified.problems)}", again=False)
    kept = _KEPT_OPTIONS if manifest.driver == "local" else frozenset()
    options = {key: value for key, value in manifest.options.items() if key in kept}
    owner = owner or command_owner()
    try:
        row = await new_volume.make(own, name, "local", options, manifest.labels, id, owner)
        async with helper(own, HelperSource("volume", name), owner, read_only=False) as container:
            await engine.put_archive(container, "/", body(store, manifest))
        await new_volume.hand_over(own, row)
    except BaseException as error:
        await _undo(own, name, owner)
        if (
            isinstance(error, EngineError)
            and not isinstance(error, NotFound)
            and error.status == 500
        ):
            raise SnapshotError(
                f"the engine could not unpack {id}: {error}", again=False
            ) from error
        raise
    return Restored(manifest, name, tuple(_notes(manifest, options)))


def decompressed(file: BinaryIO) -> Iterator[bytes]:
    """The content in chunks of 1 MiB. Raises zstandard.ZstdError where it is damaged or cut."""
    with zstandard.ZstdDecompressor().stream_reader(file, read_size=CHUNK, closefd=False) as reader:
        while data := reader.read(CHUNK):
            yield data


async def body(store: SnapshotStore, manifest: Manifest) -> AsyncIterator[bytes]:
    """The archive, and a failure in place of its end should it be another one than was verified a
    moment ago."""
    digest = hashlib.sha256()
    with await asyncio.to_thread(store.open, manifest.id) as file:
        chunks = decompressed(file)
        while data := await asyncio.to_thread(next, chunks, b""):
            digest.update(data)
            yield data
    if digest.hexdigest() != manifest.sha256:
        raise SnapshotError(f"{manifest.id} changed while it was restored", again=False)


async def _refuse_existing(engine: Engine, name: str) -> None:
    try:
        await engine.inspect_volume(name)
    except NotFound:
        return
    raise SnapshotError(
        f"there is a volume {name} already: give another name with --to, or remove it", again=False
    )


async def clear_restores(own: Ownership, store: SnapshotStore) -> list[str]:
    """Removes the half-filled volumes of restores whose process is no more; returns their names.
    One that a container refers to meanwhile stays for the next time, and so does one that is
    restored in place (see in_place_restore.py).

    Raises EngineAway.
    """
    in_place = set(await asyncio.to_thread(restore_marker.marked, store))
    removed = []
    for row in own.objects.here("restored"):
        if row.name in in_place or not gone(row.incident):
            continue
        await remove_helpers(own, row.incident)
        try:
            removed += [row.name] if await new_volume.remove(own, row) else []
        except EngineAway:
            raise
        except EngineError as error:
            log.warning(
                "a half-restored volume is left behind",
                id="half_restored_volume_left",
                volume=row.name,
                error=str(error),
            )
    return removed


async def _undo(own: Ownership, name: str, owner: str) -> None:
    """Best effort: the failure that led here is the one to tell of, and the row stays for a later
    try."""
    for row in new_volume.rows_of(own, name):
        if row.incident == owner:
            with contextlib.suppress(EngineError):
                await new_volume.remove(own, row)


def _notes(manifest: Manifest, options: dict[str, str]) -> Iterator[str]:
    """Driver options name where a volume's content lies (a share, a device): a volume made with the
    same ones would be the same content, and the restore would write over it. So the fresh volume is
    a plain local one."""
    left_out = sorted(manifest.options.keys() - options.keys())
    if manifest.driver != "local" or left_out:
        told = f" with {', '.join(left_out)}" if left_out else ""
        yield (
            f"{manifest.volume} was made by driver {manifest.driver}{told}; this one is a plain "
            "local volume, so that the original's storage is not written over"
        )
    for finding in manifest.not_kept:
        yield f"not in the snapshot: {finding.count} {finding.what}"
