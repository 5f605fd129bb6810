"""What `dockmend snapshots …` does, without the command line: plain arguments in, values out.

Each works beside a running daemon as well as without one, and raises SnapshotError and EngineError: sentences both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from dockmend.engine.api import Engine
from dockmend.snapshots.archive import Why, take
from dockmend.snapshots.helper import Source, remove_helpers
from dockmend.snapshots.manifest import Manifest, SnapshotError
from dockmend.snapshots.owner import command_owner
from dockmend.snapshots.restore import Restored, Verified, clear_restores
from dockmend.snapshots.restore import restore as restore_snapshot
from dockmend.snapshots.restore import verify as verify_snapshot
from dockmend.snapshots.store import Store


def store_of(state: Path) -> Store:
    """The snapshots of a state folder."""
    return Store(state / "snapshots")


async def list_(store: Store, volume: str | None = None) -> list[Manifest]:
    """By volume, the oldest first; `Manifest.row()` is the row to show."""
    return await asyncio.to_thread(store.snapshots, volume)


async def create(engine: Engine, store: Store, volume: str, clock: Callable[[], float]) -> Manifest:
    """Takes a snapshot of a volume as it is (`consistency: live`: a command has no journal to unpause from)."""
    info = await engine.connect()
    await tidy(engine, store)
    try:
        return await take(engine, store, Source("volume", volume), Why(command_owner()), clock, info)
    except OSError as error:
        raise unwritable(store, error) from error


async def verify(store: Store, id: str) -> Verified:
    """Reads the whole archive back; `problems` empty means it is whole."""
    return await asyncio.to_thread(verify_snapshot, store, id)


async def restore(engine: Engine, store: Store, id: str, to: str | None = None, in_place: bool = False) -> Restored:
    """Restores into a fresh volume; see snapshots/restore.py."""
    if in_place:
        raise SnapshotError("not yet in this version: --in-place; restore into a fresh volume with --to", again=False)
    await engine.connect()
    await tidy(engine, store)
    try:
        return await restore_snapshot(engine, store, id, to)
    except OSError as error:
        raise SnapshotError(f"cannot read {id} below {store.root}: {error.strerror or error}") from error


async def remove(store: Store, id: str) -> None:
    await asyncio.to_thread(store.remove, id)


async def tidy(engine: Engine, store: Store) -> list[str]:
    """What dead commands left: half-written files, helpers, half-filled volumes. Returns what was removed."""
    files = await asyncio.to_thread(store.clean)
    return [*files, *await clear_restores(engine, store), *await remove_helpers(engine)]


def unwritable(store: Store, error: OSError) -> SnapshotError:
    return SnapshotError(f"cannot write the snapshot below {store.root}: {error.strerror or error}")
