"""The volume actions: snapshot_volume.

A container that is held still for it (`consistency: pause`) is journalled before it is paused, goes
on as soon as the volume is read, and is let go by `settle` should dockmend die in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from dockmend.actions.action import (
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Settled,
    register,
)
from dockmend.actions.engine_refusals import unfinished
from dockmend.actions.volume_selection import VolumeSelection, select, still_inside
from dockmend.errors import EngineError, NotFound, Permanent, Temporary
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord
from dockmend.model import Container, Object
from dockmend.snapshots.archive import Read, Why, begin, read, seal
from dockmend.snapshots.helper_container import remove_helpers
from dockmend.snapshots.joined_threads import to_end
from dockmend.snapshots.manifest import Manifest, SnapshotError
from dockmend.snapshots.snapshot_store import SnapshotStore

# seconds for which the engine may still be doing what a dead dockmend asked for: it is looked at
# twice
UNDER_WAY = 1.5
UNPAUSE_TRIES = 8
UNPAUSE_WAIT = 0.25  # seconds after the first try, doubled after each: half a minute in all


async def snapshot_volume(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Snapshots of the subject's volumes; all of them or none. `facts` has their ids and sizes
    (bytes)."""
    store = SnapshotStore(ctx.state / "snapshots", ctx.reserve)
    selection = await select(ctx, params.volumes, subject)
    try:
        made = await _take_all(ctx, store, selection, params.consistency)
        removed = await _keep(store, params.keep, ctx.incident.rule, made)
    except SnapshotError as error:
        raise ActionFailed(str(error), again=error.again) from error
    except OSError as error:
        raise ActionFailed(
            f"cannot write the snapshot below {store.root}: {error.strerror or error}"
        ) from error
    facts = {"snapshots": [_fact(manifest) for manifest in made], "removed": removed}
    told = ", ".join(
        f"{manifest.id} ({manifest.files} files, {manifest.bytes} bytes)" for manifest in made
    )
    return ActionResult(f"snapshot {told}", facts)


def _fact(manifest: Manifest) -> dict[str, Any]:
    lost = sum(finding.count for finding in manifest.not_kept)
    return {**manifest.row(), "compressed_bytes": manifest.compressed_bytes, "not_kept": lost}


async def _take_all(
    ctx: ActionContext, store: SnapshotStore, selection: VolumeSelection, consistency: str
) -> list[Manifest]:
    users, left = await _users(ctx, selection) if consistency == "pause" else ((), ())
    names = [source.name for source in selection.sources]
    await ctx.remember(
        {"snapshot_volume": {"volumes": names, "pause": [container.id for container in users]}}
    )
    info = await ctx.engine.connect()
    why = Why(
        owner=ctx.incident.id,
        rule=ctx.incident.rule,
        incident=ctx.incident.id,
        consistency=consistency,
        paused=tuple(container.name for container in users),
        unpaused=left,
    )
    with ExitStack() as stack:
        done: list[Read] = []
        drafts = [
            stack.enter_context(await begin(store, source, ctx.clock))
            for source in selection.sources
        ]
        async with _still(ctx, users):
            for draft, source in zip(drafts, selection.sources, strict=True):
                done += [await read(ctx.own, draft, source, why, ctx.clock)]
                still_inside(ctx, source)
        made: list[Manifest] = []
        try:
            for draft, each in zip(drafts, done, strict=True):
                made += [await seal(draft, each, why, info)]
        except BaseException:
            await to_end(_withdraw, store, made)
            raise
        return made


def _withdraw(store: SnapshotStore, made: Sequence[Manifest]) -> None:
    """Of several volumes all are kept or none: the next attempt makes them all again."""
    for manifest in made:
        with contextlib.suppress(OSError, SnapshotError):
            store.remove(manifest.id)


async def _keep(store: SnapshotStore, keep: Any, rule: str, made: Sequence[Manifest]) -> list[str]:
    last = getattr(keep, "last", None)
    if last is None:
        return []
    removed: list[str] = []
    for manifest in made:
        removed += await asyncio.to_thread(store.keep, rule, manifest.volume, last)
    return removed


# --------------------------------------------------------------------------------------- held still
async def _users(
    ctx: ActionContext, selection: VolumeSelection
) -> tuple[tuple[Container, ...], tuple[str, ...]]:
    """The running containers that can write to what is read, and what must not be held still:
    "NAME: why".

    One that a person paused is left as it is.
    """
    users: list[Container] = []
    left: list[str] = []
    for container in (await ctx.engine.listing()).whole():
        if (
            container.state != "running"
            or not selection.touches(container)
            or not await _writes(ctx, container, selection)
        ):
            continue
        if reason := _forbidden(ctx, container):
            left.append(f"{container.name}: {reason}")
        else:
            users.append(container)
    return tuple(users), tuple(left)


def _forbidden(ctx: ActionContext, container: Container) -> str | None:
    if ctx.forbids is not None:
        return ctx.forbids(container)
    verdict = Guards().forbids(container)
    return verdict.reason if verdict else None


async def _writes(ctx: ActionContext, container: Container, selection: VolumeSelection) -> bool:
    try:
        raw = await ctx.engine.inspect_raw(container.id)
    except NotFound:
        return False
    return any(
        mount.get("RW", True)
        and selection.covers(str(mount.get("Name") or ""), str(mount.get("Source") or ""))
        for mount in raw.get("Mounts") or ()
    )


@asynccontextmanager
async def _still(ctx: ActionContext, users: Sequence[Container]) -> AsyncIterator[None]:
    paused: list[Container] = []
    try:
        for container in users:
            # before the call: cancelled in mid-call, it may be paused all the same
            paused.append(container)
            try:
                await ctx.engine.pause(container.id)
            except EngineError as error:
                state = await _state(ctx, container)
                if state == "paused" and error.unanswered:
                    continue  # the engine did it, and its answer was lost
                if state != "running":
                    # it ended, or a person paused it in the same moment: theirs, not ours
                    paused.pop()
                    continue
                raise ActionFailed(f"cannot hold {container.name} still: {error}") from error
        yield
    finally:
        for container in paused:
            await _let_go(ctx, container)


async def _state(ctx: ActionContext, container: Container) -> str:
    try:
        return (await ctx.engine.inspect(container.id)).state
    except NotFound:
        return "gone"


async def _let_go(ctx: ActionContext, container: Container) -> None:
    """Unpauses, again and again: nobody else will. Raises EngineAway once that is hopeless."""
    wait = UNPAUSE_WAIT
    for attempt in range(UNPAUSE_TRIES):
        try:
            await _unpause(ctx, container.id)
        except Temporary as error:
            if attempt == UNPAUSE_TRIES - 1:
                raise unfinished(f"{container.name} is still paused", error) from error
            await asyncio.sleep(wait)
            wait *= 2
        else:
            return


async def _unpause(ctx: ActionContext, container: str) -> bool:
    """True if it was paused. One that was stopped, removed or unpaused by somebody else needs
    nothing more."""
    try:
        if (await ctx.engine.inspect(container)).state != "paused":
            return False
        await ctx.engine.unpause(container)
    except Permanent:
        return False
    return True


# ------------------------------------------------------------------------------------------- settle
async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Lets go what a dead dockmend held still, removes what it left, and finds out whether it was
    done."""
    undo = record.undo.get("snapshot_volume") or {}
    held = [str(each) for each in undo.get("pause", ())]
    released = await _clear(ctx, record.incident, held)
    store = SnapshotStore(ctx.state / "snapshots")
    with contextlib.suppress(OSError):  # an unreadable disk shows in the next snapshot
        await asyncio.to_thread(store.clean)
    wanted = set(undo.get("volumes", ()))
    try:
        made = await asyncio.to_thread(store.of_incident, record.incident, record.began_at)
    except (OSError, SnapshotError) as error:
        return Settled(done=False, detail=f"interrupted; the snapshots cannot be read: {error}")
    if wanted and wanted <= {manifest.volume for manifest in made}:
        return Settled(done=True, detail=f"snapshot {', '.join(manifest.id for manifest in made)}")
    await to_end(_withdraw, store, made)
    if undo:
        await asyncio.sleep(UNDER_WAY)
        released |= await _clear(ctx, record.incident, held)
    told = f"; {len(released)} containers unpaused" if released else ""
    return Settled(done=False, detail=f"interrupted before the snapshot was whole{told}")


async def _clear(ctx: ActionContext, incident: str, held: Sequence[str]) -> set[str]:
    released = {each for each in held if await _unpause(ctx, each)}
    await remove_helpers(ctx.own, incident)
    return released


def register_all() -> None:
    """Put the volume actions into the registry."""
    register(Action("snapshot_volume", snapshot_volume, settle))
