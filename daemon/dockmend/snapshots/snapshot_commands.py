"""What `dockmend snapshots …` does, without the command line: plain arguments in, values out.

Each works beside a running daemon as well as without one, and raises SnapshotError and EngineError:
sentences both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from dockmend.errors import NotFound
from dockmend.ownership import Ownership
from dockmend.snapshots import in_place_restore, restore_marker
from dockmend.snapshots.archive import Why, take
from dockmend.snapshots.diff import Difference, compare, of_snapshot, of_volume
from dockmend.snapshots.helper_container import HelperSource, remove_helpers
from dockmend.snapshots.helper_owner import command_owner
from dockmend.snapshots.in_place_restore import InPlaceRestore
from dockmend.snapshots.manifest import Manifest, SnapshotError, parse_id
from dockmend.snapshots.restore import Restored, VerifiedSnapshot, clear_restores
from dockmend.snapshots.restore import restore as restore_snapshot
from dockmend.snapshots.restore import verify as verify_snapshot
from dockmend.snapshots.snapshot_store import SnapshotStore

log = structlog.get_logger("dockmend.snapshots")


def store_of(state: Path, reserve: int | None = None) -> SnapshotStore:
    """The snapshots of a state folder. `reserve`: the setting `snapshots.reserve`, for what writes
    one."""
    return SnapshotStore(state / "snapshots", reserve)


async def list_(store: SnapshotStore, volume: str | None = None) -> list[Manifest]:
    """By volume, the oldest first; `Manifest.row()` is the row to show."""
    return await asyncio.to_thread(store.snapshots, volume)


async def create(
    own: Ownership, store: SnapshotStore, volume: str, clock: Callable[[], float]
) -> Manifest:
    """Takes a snapshot of a volume as it is (`consistency: live`: a command has no journal to
    unpause from)."""
    info = await own.connect()
    await tidy(own, store)
    try:
        found = await own.engine.inspect_volume(volume)
    except NotFound:
        raise SnapshotError(f"there is no volume {volume} on this engine", again=False) from None
    users = [
        each
        for each in await in_place_restore.references(own.engine, found)
        if each.state in ("running", "restarting")
    ]
    why = Why(command_owner(), unpaused=tuple(sorted(each.name for each in users)))
    try:
        return await take(own, store, HelperSource("volume", volume), why, clock, info)
    except OSError as error:
        raise unwritable(store, error) from error


async def verify(store: SnapshotStore, id: str) -> VerifiedSnapshot:
    """Reads the whole archive back; `problems` empty means it is whole."""
    return await asyncio.to_thread(verify_snapshot, store, id)


async def restore(own: Ownership, store: SnapshotStore, id: str, to: str | None = None) -> Restored:
    """Restores into a fresh volume; see snapshots/restore.py."""
    await own.connect()
    await tidy(own, store)
    try:
        return await restore_snapshot(own, store, id, to)
    except OSError as error:
        raise unreadable(store, id, error) from error


async def restore_in_place(
    own: Ownership, store: SnapshotStore, id: str, clock: Callable[[], float]
) -> Restored:
    """Gives the volume itself the snapshot's content; see snapshots/in_place_restore.py. Ask the
    person first."""
    info = await own.connect()
    volume, _ = parse_id(id)
    await tidy(own, store, but=volume)
    try:
        return await in_place_restore.restore_in_place(
            InPlaceRestore(own, store, command_owner(), info), id, clock
        )
    except OSError as error:
        raise SnapshotError(
            f"{id} cannot be restored: {error.strerror or error}. Nothing was touched"
        ) from error


async def diff(
    store: SnapshotStore, before: str, after: str | None, own: Ownership | None
) -> list[Difference]:
    """What turned the snapshot `before` into the snapshot `after`, or (None) into its volume as it
    is now."""
    first = await asyncio.to_thread(store.load, before)
    try:
        if after is not None:
            second = await asyncio.to_thread(store.load, after)
            return await compare(of_snapshot(store, first), of_snapshot(store, second))
        if first.source != "volume":
            raise SnapshotError(
                f"{before} is of the folder {first.path}: compare it with another snapshot",
                again=False,
            )
        assert own is not None
        await own.connect()
        return await compare(
            of_snapshot(store, first), of_volume(own, first.volume, command_owner())
        )
    except OSError as error:
        raise unreadable(store, before, error) from error


async def remove(store: SnapshotStore, id: str) -> None:
    """Raises SnapshotError also for one that an interrupted restore still needs."""
    await asyncio.to_thread(_remove, store, id)


def _remove(store: SnapshotStore, id: str) -> None:
    if volume := restore_marker.needed(store).get(id):
        raise SnapshotError(
            f"{id} stays: it is what {volume} held before a restore that was interrupted or is "
            "under way",
            again=False,
        )
    store.remove(id)


async def tidy(own: Ownership, store: SnapshotStore, but: str | None = None) -> list[str]:
    """What dead commands left: half-written files, helpers, half-filled volumes, half-restored ones
    (but `but`). Returns what was done about it."""
    files = await asyncio.to_thread(store.clean)
    restores = await clear_restores(own, store)
    helpers = await remove_helpers(own)
    settled = await in_place_restore.settle(InPlaceRestore(own, store, command_owner()), but)
    for told in settled:
        log.warning(told, id="snapshot_warning")
    return [*files, *restores, *helpers, *settled]


def unwritable(store: SnapshotStore, error: OSError) -> SnapshotError:
    return SnapshotError(f"cannot write the snapshot below {store.root}: {error.strerror or error}")


def unreadable(store: SnapshotStore, id: str, error: OSError) -> SnapshotError:
    return SnapshotError(f"cannot read {id} below {store.root}: {error.strerror or error}")
