"""`dockmend snapshots …`: volumes, with or without the daemon."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from dockmend.cli.options import engine_of, options, paths, settings
from dockmend.cli.text import emit, say, show, size
from dockmend.errors import UsageError

ROW = ("ID", "VOLUME", "TIME", "BYTES", "FILES", "RULE", "INCIDENT")


@click.group()
def snapshots() -> None:
    """Snapshots of volumes: list, create, verify, restore, prune."""


@snapshots.command("list")
@click.argument("volume", required=False)
@options("state", "json")
def list_(volume: str | None, as_json: bool, **flags: Any) -> int:
    """The snapshots in the state folder, or those of VOLUME; the oldest first."""
    from dockmend.snapshots import commands

    found = asyncio.run(commands.list_(commands.store_of(paths(flags).state), volume))
    rows = [manifest.row() for manifest in found]
    if as_json:
        emit(rows)
    else:
        show(
            ROW,
            [[row[key.lower()] if key != "BYTES" else size(float(row["bytes"] or 0)) for key in ROW] for row in rows],
            "no snapshots",
        )
    return 0


@snapshots.command()
@click.argument("volume")
@options("config", "state", "engine", "json")
def create(volume: str, as_json: bool, **flags: Any) -> int:
    """Takes a snapshot of VOLUME as it is now: what writes to it is not held still."""
    from dockmend.snapshots import commands

    found = settings(flags)

    async def work() -> Any:
        engine = engine_of(found)
        try:
            return await commands.create(engine, commands.store_of(found.paths.state), volume, time.time)
        finally:
            await engine.close()

    manifest = asyncio.run(work())
    if as_json:
        emit(manifest.row())
        return 0
    say(f"{manifest.id}: {manifest.files} files, {size(manifest.bytes)}, {size(manifest.compressed_bytes)} on disk")
    for kind, findings in (("not kept", manifest.not_kept), ("caution", manifest.cautions)):
        for finding in findings:
            names = ", ".join(finding.names[:3]) + (", …" if finding.count > 3 else "")
            say(f"  {kind}: {finding.what} ({finding.count}){f': {names}' if finding.names else ''}")
    return 0


@snapshots.command()
@click.argument("id")
@options("state", "json")
def verify(id: str, as_json: bool, **flags: Any) -> int:
    """Reads a snapshot back and compares it with its manifest; exit 1 where it is damaged."""
    from dockmend.snapshots import commands

    found = asyncio.run(commands.verify(commands.store_of(paths(flags).state), id))
    if as_json:
        emit({**found.manifest.row(), "problems": found.problems})
    elif not found.problems:
        say(
            f"{id} is whole: {found.manifest.files} files, {size(found.manifest.bytes)}, sha256 {found.manifest.sha256}"
        )
    else:
        for problem in found.problems:
            say(f"{id}: {problem}")
    return 1 if found.problems else 0


@snapshots.command()
@click.argument("id")
@click.option("--to", metavar="VOLUME", help="The fresh volume's name [VOLUME-restored-TIME].")
@click.option("--in-place", is_flag=True, help="Not yet in this version.")
@options("config", "state", "engine", "json")
def restore(id: str, to: str | None, in_place: bool, as_json: bool, **flags: Any) -> int:
    """Restores a snapshot into a fresh volume; one that exists is never written to."""
    from dockmend.snapshots import commands

    if in_place:
        raise UsageError("not yet in this version: --in-place; restore into a fresh volume with --to")
    found = settings(flags)

    async def work() -> Any:
        engine = engine_of(found)
        try:
            return await commands.restore(engine, commands.store_of(found.paths.state), id, to)
        finally:
            await engine.close()

    restored = asyncio.run(work())
    if as_json:
        emit({**restored.manifest.row(), "restored_to": restored.volume, "notes": restored.notes})
        return 0
    say(f"{id} is restored into the volume {restored.volume}")
    for note in restored.notes:
        say(f"  {note}")
    return 0


@snapshots.command()
@click.option("--volume", metavar="NAME", help="Only this volume's.")
@click.option("--keep", type=click.IntRange(1), required=True, metavar="N", help="The newest of each volume that stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options("state", "json")
def prune(volume: str | None, keep: int, dry_run: bool, as_json: bool, **flags: Any) -> int:
    """Removes all but the newest snapshots of each volume, whatever made them."""
    from dockmend.snapshots import commands

    async def work() -> list[str]:
        store = commands.store_of(paths(flags).state)
        by_volume: dict[str, list[str]] = {}
        for manifest in await commands.list_(store, volume):
            by_volume.setdefault(manifest.volume, []).append(manifest.id)
        surplus = [each for ids in by_volume.values() for each in ids[:-keep]]
        for each in surplus if not dry_run else ():
            await commands.remove(store, each)
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
@options("state")
def diff(id: str, other: str | None, **_: Any) -> int:
    """Compares a snapshot with another, or with the volume: not yet in this version."""
    raise UsageError("not yet in this version: snapshots diff")
