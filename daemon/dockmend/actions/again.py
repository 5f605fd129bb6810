"""A container that is missing, made again from its last known definition.

Its named volumes are still there, and the anonymous ones are taken by their names (the engine makes them anew, empty,
where they were removed with it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dockmend.actions.base import Container, Context, Done, Failed, Settled, succeed
from dockmend.actions.containers import expect_container
from dockmend.actions.containers_settle import MARGIN, POLL, look
from dockmend.actions.definition import Definition, define, image_reference
from dockmend.actions.recreate import known_macs
from dockmend.actions.refusals import failed
from dockmend.actions.resolving import resolve
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object


async def make_again(ctx: Context, subject: Object) -> Done:
    """Create and start it under its name. One that could not be started is removed again."""
    container = expect_container(subject, "run")
    what = f"make {container.name} again"
    raw = await ctx.definition(container.id)
    if raw is None:
        raise Failed(f"cannot {what}: its definition is not kept (it was made and removed too soon)", again=False)
    try:
        mine = await _image(ctx, str(raw.get("Image")))
        _may(ctx, what, raw, mine)
        made = await _definition(ctx, what, raw, mine)
        await _name_is_free(ctx, what, made.name)
        undo = {"old": container.id, "name": made.name, "leave": list(made.leave), "at": ctx.clock()}
        await ctx.remember({"run": undo})
        new = await ctx.engine.create(made.name, made.body)
        await ctx.remember({"run": undo | {"new": new}})
    except EngineError as error:
        raise failed(error, what, container) from error
    ctx.expect(new)
    try:
        await _start(ctx, new, made.leave)
    except EngineError as error:
        refusal = failed(error, what, container)  # not where the engine is away: it is settled then
        await ctx.engine.remove(new, force=True)
        raise refusal from error
    await succeed(ctx, container.id, new)
    said = [f"made again from its last known definition as {new[:12]}", made.losses]
    return Done("; ".join(each for each in said if each), {"new": new})


def _may(ctx: Context, what: str, raw: Mapping[str, Any], mine: Mapping[str, Any] | None) -> None:
    """What is protected is known by its labels, which an incident does not keep."""
    config = raw.get("Config") or {}
    last = Container(
        id=str(raw.get("Id")), name=str(raw.get("Name", "")).removeprefix("/"), image=image_reference(raw, mine),
        labels=config.get("Labels") or {},
    )  # fmt: skip
    if ctx.forbids is not None and (why := ctx.forbids(last)):
        raise Failed(f"cannot {what}: {why}", again=False)


async def _definition(ctx: Context, what: str, raw: Mapping[str, Any], mine: Mapping[str, Any] | None) -> Definition:
    """From the image it had, also where the name is another image's now; else from what bears the name."""
    had, reference = str(raw.get("Image")), image_reference(raw, mine)
    named = await _image(ctx, reference)
    if mine is None and named is None:
        raise Failed(f"cannot {what}: its image {reference} is gone", again=False)
    names = await resolve(ctx, what, raw, start=True)
    macs = known_macs(ctx, str(raw.get("Id")))
    if mine is None:
        new_id = str((named or {}).get("Id"))
        return define(raw, None, reference=reference, new_image_id=new_id, references=names, macs=macs)
    same = reference if named and named.get("Id") == had else had
    return define(raw, mine, reference=same, references=names, macs=macs)


async def _image(ctx: Context, reference: str) -> dict[str, Any] | None:
    try:
        return await ctx.engine.inspect_image_raw(reference)
    except NotFound:
        return None


async def _name_is_free(ctx: Context, what: str, name: str) -> None:
    try:
        other = await ctx.engine.inspect(name)
    except NotFound:
        return
    raise Failed(f"cannot {what}: {other.id[:12]} has its name", again=False)


async def _start(ctx: Context, new: str, leave: tuple[str, ...]) -> None:
    for network in leave:
        await ctx.engine.disconnect_network(network, new, force=True)
    await ctx.engine.start(new)


async def settle(ctx: Context, record: ActionRecord, before: Mapping[str, Any]) -> Settled:
    """What was made is started; a second one is not made."""
    since = float(before["at"]) - 1.0
    name = str(before.get("new") or before["name"])
    found = await _appeared(ctx, name, record.began_at + MARGIN)
    if found is None or found.created_at < since:
        return Settled(done=False, detail="nothing had been made yet")
    if not found.started_at:
        ctx.expect(found.id)
        try:
            await _start(ctx, found.id, tuple(before["leave"]))
        except EngineError as error:
            refusal = failed(error, f"make {name} again", found)
            await ctx.engine.remove(found.id, force=True)
            return Settled(done=False, detail=str(refusal))
    await succeed(ctx, str(before.get("old") or record.object_id), found.id)
    return Settled(done=True, detail=f"it had been made again as {found.id[:12]}, and runs")


async def _appeared(ctx: Context, name: str, deadline: float) -> Container | None:
    """The engine may still be making it."""
    while True:
        found = await look(ctx, name)
        if found is not None or ctx.clock() >= deadline:
            return found
        await asyncio.sleep(POLL)
