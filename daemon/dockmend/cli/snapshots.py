"""`dockmend snapshots …`: volumes, with or without the daemon."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli.command_context import existing, in_force, state_folder
from dockmend.cli.options import options, owning
from dockmend.cli.terminal_text import emit, say, show, size
from dockmend.errors import DockmendError, UsageError

if TYPE_CHECKING:
    from dockmend.snapshots.diff import Difference
    from dockmend.snapshots.manifest import Manifest

ROW = ("ID", "VOLUME", "TIME", "BYTES", "FILES", "RULE", "INCIDENT")


@click.group()
def snapshots() -> None:
    """Snapshots of volumes: list, create, verify, diff, restore, prune."""


@snapshots.command("list")
@click.argument("volume", required=False)
@options("config", "state", "engine", "json")
def list_(volume: str | None, as_json: bool, **flags: Any) -> int:
    """The snapshots in the state folder, or those of VOLUME; the oldest first."""
    from dockmend.snapshots import snapshot_commands

    folder = state_folder(flags)
    found = asyncio.run(snapshot_commands.list_(snapshot_commands.store_of(folder), volume))
    rows = [manifest.row() for manifest in found]
    if as_json:
        emit(rows)
    else:
        show(
            ROW,
            [
                [
                    row[key.lower()] if key != "BYTES" else size(float(row["bytes"] or 0))
                    for key in ROW
                ]
                for row in rows
            ],
            f"no snapshots in {folder}",
        )
    return 0


@snapshots.command()
@click.argument("volume")
@options("config", "state", "engine", "json")
def create(volume: str, as_json: bool, **flags: Any) -> int:
    """Takes a snapshot of VOLUME as it is now: what writes to it is not held still."""
    from dockmend.snapshots import snapshot_commands

    found = in_force(flags, changes=True).settings
    store = snapshot_commands.store_of(found.paths.state, found.snapshots.reserve)

    async def work() -> Any:
        async with owning(found) as own:
            return await snapshot_commands.create(own, store, volume, time.time)

    manifest = asyncio.run(work())
    if as_json:
        emit(manifest.row())
        return 0
    say(
        f"{manifest.id}: {manifest.files} files, {size(manifest.bytes)}, "
        f"{size(manifest.compressed_bytes)} on disk"
    )
    for kind, findings in (("not kept", manifest.not_kept), ("caution", manifest.cautions)):
        for finding in findings:
            names = ", ".join(finding.names[:3]) + (", …" if finding.count > 3 else "")
            say(
                f"  {kind}: {finding.what} ({finding.count}){f': {names}' if finding.names else ''}"
            )
    return 0


@snapshots.command()
@click.argument("id")
@options("config", "state", "engine", "json")
def verify(id: str, as_json: bool, **flags: Any) -> int:
    """Reads a snapshot back and compares it with its manifest; exit 1 if it is damaged."""
    from dockmend.snapshots import snapshot_commands

    found = asyncio.run(
        snapshot_commands.verify(snapshot_commands.store_of(state_folder(flags)), id)
    )
    if as_json:
        emit({**found.manifest.row(), "problems": found.problems})
    elif not found.problems:
        say(
            f"{id} is whole: {found.manifest.files} files, {size(found.manifest.bytes)}, sha256 "
            f"{found.manifest.sha256}"
        )
    else:
        for problem in found.problems:
            say(f"{id}: {problem}")
    return 1 if found.problems else 0


@snapshots.command()
@click.argument("id")
@click.option("--to", metavar="VOLUME", help="The fresh volume's name [VOLUME-restored-TIME].")
@click.option(
    "--in-place",
    is_flag=True,
    help="Into the volume itself: what it holds now is replaced (and kept).",
)
@click.option("--yes", is_flag=True, help="With --in-place: do not ask.")
@options("config", "state", "engine", "json")
def restore(id: str, to: str | None, in_place: bool, yes: bool, as_json: bool, **flags: Any) -> int:
    """Restores a snapshot into a fresh volume; one that exists is never written to, but for
    --in-place.

    In place: refused while a container runs with the volume. What the volume holds is kept as a
    snapshot first, what is not in the snapshot does not stay, the result is compared, and put back
    as it was should anything go wrong.
    """
    from dockmend.snapshots import snapshot_commands

    if in_place and to is not None:
        raise UsageError("--to and --in-place: one of them")
    found = in_force(flags, changes=True).settings
    store = snapshot_commands.store_of(existing(found.paths.state), found.snapshots.reserve)
    manifest = store.load(id)  # before a journal is made or the engine asked
    if in_place and not yes and not _agreed(manifest):
        say("nothing was done")
        return 1

    async def work() -> Any:
        async with owning(found) as own:
            if in_place:
                return await snapshot_commands.restore_in_place(own, store, id, time.time)
            return await snapshot_commands.restore(own, store, id, to)

    restored = asyncio.run(work())
    if as_json:
        told = {
            "restored_to": restored.volume,
            "safety": restored.safety or None,
            "notes": restored.notes,
        }
        emit({**restored.manifest.row(), **told})
        return 0
    say(f"{id} is restored into the volume {restored.volume}{' itself' if in_place else ''}")
    for note in restored.notes:
        say(f"  {note}")
    return 0


def _agreed(manifest: Manifest) -> bool:
    """Asks the person at the terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(
            "--in-place replaces what the volume holds: without a terminal to ask on, it "
            "needs --yes"
        )
    what = f"{manifest.files} files, {size(manifest.bytes)}, of {manifest.time}"
    say(f"What the volume {manifest.volume} holds now is replaced by {manifest.id} ({what}).")
    return click.confirm("It is kept as a snapshot first. Go on?")


@snapshots.command()
@click.option("--volume", metavar="NAME", help="Only this volume's.")
@click.option(
    "--keep",
    type=click.IntRange(1),
    required=True,
    metavar="N",
    help="The newest of each volume that stay.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options("config", "state", "engine", "json")
def prune(volume: str | None, keep: int, dry_run: bool, as_json: bool, **flags: Any) -> int:
    """Removes all but the newest snapshots of each volume, whatever made them."""
    from dockmend.snapshots import restore_marker, snapshot_commands

    folder = state_folder(flags, changes=not dry_run)

    async def work() -> list[str]:
        store = snapshot_commands.store_of(folder)
        by_volume: dict[str, list[str]] = {}
        for manifest in await snapshot_commands.list_(store, volume):
            by_volume.setdefault(manifest.volume, []).append(manifest.id)
        needed = await asyncio.to_thread(restore_marker.needed, store)
        surplus = [each for ids in by_volume.values() for each in ids[:-keep] if each not in needed]
        for each in surplus if not dry_run else ():
            await snapshot_commands.remove(store, each)
        return surplus

    removed = asyncio.run(work())
    if as_json:
        emit(removed)
        return 0
    for each in removed:
        say(f"{'would remove' if dry_run else 'removed'} {each}")
    if not removed:
        say("nothing to remove")
    return 0


@snapshots.command()
@click.argument("id")
@click.argument("other", required=False)
@options("config", "state", "engine", "json")
def diff(id: str, other: str | None, as_json: bool, **flags: Any) -> int:
    """What differs between snapshot ID and its volume as it is now, or snapshot OTHER.

    By path: type, size, content, mode, owner, link, device, capability; times are not compared.
    Exit 0: nothing, 1: something, 2: they cannot be compared.
    """
    from dockmend.snapshots import snapshot_commands

    found = in_force(flags).settings if other is None else None
    store = snapshot_commands.store_of(
        existing(found.paths.state) if found is not None else state_folder(flags)
    )

    async def work() -> list[Difference]:
        store.load(id)  # before a journal is made or the engine asked
        if found is None:
            return await snapshot_commands.diff(store, id, other, None)
        async with owning(found) as own:
            return await snapshot_commands.diff(store, id, None, own)

    try:
        differences = asyncio.run(work())
    except DockmendError as error:
        if error.exit_code != 1:
            raise
        raise UsageError(str(error)) from error  # 1 says that they differ
    if as_json:
        emit([difference.row() for difference in differences])
        return 1 if differences else 0
    for difference in differences:
        say(difference.line())
    kinds = [difference.kind for difference in differences]
    say(", ".join(f"{kinds.count(kind)} {kind}" for kind in ("added", "removed", "changed")))
    return 1 if differences else 0
