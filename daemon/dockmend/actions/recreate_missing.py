"""Makes a missing container again from its last known definition.

Its named volumes are still there. Anonymous volumes are used by their names; if they were removed
with the container, the engine makes them anew and empty.

The container is made under a name of its own and gets the missing one's name once its id is
known. A container that has that name without dockmend's doing is a person's: dockmend neither
starts nor removes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dockmend.actions.action import (
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    succeed,
)
from dockmend.actions.containers import expect_container
from dockmend.actions.containers_recovery import MARGIN, POLL
from dockmend.actions.definition import (
    OWNER_LABELS,
    Definition,
    define,
    image_reference,
    labels_of,
    none_known,
)
from dockmend.actions.definition_references import resolve
from dockmend.actions.engine_refusals import failed
from dockmend.actions.recreate import known_macs
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.label_owner import divide
from dockmend.model import Object, aside_name
from dockmend.owned import OwnedObject


async def make_again(ctx: ActionContext, subject: Object) -> ActionResult:
    """Create and start it under its name. One that could not be started is removed again."""
    container = expect_container(subject, "run")
    what = f"make {container.name} again"
    raw = await ctx.definition(container.id)
    if raw is None:
        raise ActionFailed(
            f"cannot {what}: its definition is not kept (it was made and removed too soon)",
            again=False,
        )
    incident = ctx.incident.id
    try:
        mine = await _image(ctx, str(raw.get("Image")))
        _may(ctx, what, raw, mine)
        made = await _definition(ctx, what, raw, mine)
        await _name_is_free(ctx, what, made.name)
        undo = {"old": container.id, "name": made.name, "leave": list(made.leave)}
        await ctx.remember({"run": undo})
        row = await ctx.own.create(
            aside_name(made.name, "new", incident), made.body, incident, "successor"
        )
        # Its id is on disk before it gets another name: without it, the row proves it by the first
        # name only.
        await ctx.remember({"run": undo | {"new": row.object_id}})
    except EngineError as error:
        raise failed(error, what, container) from error
    ctx.expectations.open(row.object_id)
    try:
        await _finish(ctx, row, made.name, made.leave)
    except EngineError as error:
        refusal = failed(error, what, container)  # not if the engine is away: it is settled then
        await ctx.own.remove(row)
        raise refusal from error
    await succeed(ctx, container.id, row.object_id)
    ctx.own.forget(row)
    said = [f"made again from its last known definition as {row.object_id[:12]}", made.losses]
    return ActionResult("; ".join(each for each in said if each), {"new": row.object_id})


async def _finish(ctx: ActionContext, row: OwnedObject, name: str, leave: Iterable[str]) -> None:
    """What was made leaves the networks that it had left before, gets its name, and is started.

    Bears repetition. Raises EngineError.
    """
    made = await ctx.engine.inspect(row.object_id)
    for network in leave:
        if network in made.networks:
            await ctx.engine.disconnect_network(network, made.id, force=True)
    if made.name != name:
        await ctx.engine.rename(made.id, name)
    if not made.started_at:
        await ctx.engine.start(made.id)


def _may(
    ctx: ActionContext, what: str, raw: Mapping[str, Any], mine: Mapping[str, Any] | None
) -> None:
    """What is protected is known by its labels, which an incident does not keep."""
    written = (raw.get("Config") or {}).get("Labels") or {}
    labels, image_labels = divide(written, labels_of(mine))
    if mine is None:
        keys = _owner_labels(what, raw)
        labels = {key: value for key, value in written.items() if key in keys}
        image_labels = {key: value for key, value in written.items() if key not in keys}
    last = Container(
        id=str(raw.get("Id")), name=str(raw.get("Name", "")).removeprefix("/"),
        image=image_reference(raw, mine), labels=labels, image_labels=image_labels,
    )  # fmt: skip
    if ctx.forbids is not None and (why := ctx.forbids(last)):
        raise ActionFailed(f"cannot {what}: {why}", again=False)


def _owner_labels(what: str, raw: Mapping[str, Any]) -> Collection[str]:
    """The keys of the labels that its owner set, as they were judged while its image was there.
    Raises ActionFailed."""
    kept = raw.get(OWNER_LABELS)
    return [str(each) for each in kept] if isinstance(kept, list) else none_known(what, raw)


async def _definition(
    ctx: ActionContext, what: str, raw: Mapping[str, Any], mine: Mapping[str, Any] | None
) -> Definition:
    """From the image it had, also where the name is another image's now; else from what bears the
    name."""
    had, reference = str(raw.get("Image")), image_reference(raw, mine)
    named = await _image(ctx, reference)
    if mine is None and named is None:
        raise ActionFailed(f"cannot {what}: its image {reference} is gone", again=False)
    names = await resolve(ctx, what, raw, start=True)
    macs = known_macs(ctx, str(raw.get("Id")))
    if mine is None:
        new_id = str((named or {}).get("Id"))
        return define(
            raw, None, reference=reference, new_image_id=new_id, references=names, macs=macs,
            owner_labels=_owner_labels(what, raw),
        )  # fmt: skip
    same = reference if named and named.get("Id") == had else had
    return define(raw, mine, reference=same, references=names, macs=macs)


async def _image(ctx: ActionContext, reference: str) -> dict[str, Any] | None:
    try:
        return await ctx.engine.inspect_image_raw(reference)
    except NotFound:
        return None


async def _name_is_free(ctx: ActionContext, what: str, name: str) -> None:
    try:
        other = await ctx.engine.inspect(name)
    except NotFound:
        return
    raise ActionFailed(f"cannot {what}: {other.id[:12]} has its name", again=False)


async def settle(ctx: ActionContext, record: ActionRecord, before: Mapping[str, Any]) -> Settled:
    """What was made is finished; a second one is not made. What no row proves dockmend's is left as
    it is."""
    name = str(before["name"])
    row, found = await _made(ctx, record)
    if row is None or found is None:
        return Settled(done=False, detail="nothing had been made yet")
    ctx.expectations.open(found.id)
    try:
        await _finish(ctx, row, name, [str(network) for network in before["leave"]])
    except EngineError as error:
        refusal = failed(error, f"make {name} again", found)
        await ctx.own.remove(row)
        return Settled(done=False, detail=str(refusal))
    await succeed(ctx, str(before.get("old") or record.object_id), found.id)
    ctx.own.forget(row)
    return Settled(done=True, detail=f"it had been made again as {found.id[:12]}, and runs")


async def _made(
    ctx: ActionContext, record: ActionRecord
) -> tuple[OwnedObject | None, Container | None]:
    """The row of what was being made, and the container. The engine may still be making it."""
    deadline = record.began_at + MARGIN
    while rows := ctx.own.of_incident(record.incident, "successor"):
        for row in rows:
            if (found := await ctx.own.find(row)) is not None:
                return ctx.own.objects.rows[row.id], found
        if ctx.clock() >= deadline:
            break
        await asyncio.sleep(POLL)
    return None, None
