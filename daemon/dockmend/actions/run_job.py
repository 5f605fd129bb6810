"""run: a one-off job in a container of its own, to its end; or, without an image, a missing
container made again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dockmend import redaction
from dockmend.actions import recreate_missing
from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Settled,
    register,
)
from dockmend.actions.arguments import filled
from dockmend.actions.command_output import CommandOutput
from dockmend.actions.engine_refusals import failed_call
from dockmend.actions.volume_selection import below_roots
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object
from dockmend.snapshots.manifest import VOLUME_NAME

CLEARING = 60.0
"""Seconds that the removal of a job's container may take before it is left to the next start."""


async def run(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """A job, or with no image the missing container itself."""
    if params.image is None:
        return await recreate_missing.make_again(ctx, subject)
    image = ctx.render(params.image)
    name = f"dockmend-run-{ctx.incident.id}"
    body = definition(ctx, params, image)
    until = ctx.clock() + ctx.timeout
    await ctx.remember({"run": {"job": name, "until": until, "expected": params.exit_code}})
    try:
        await _cleared(ctx)  # of an earlier attempt
        # once it is gone, the engine would take another whose id begins so
        await ctx.engine.inspect_image(image)
        job = (await ctx.own.create(name, body, ctx.incident.id, "job")).object_id
        _check_unbent(ctx, body)
        await ctx.engine.start(job)
        _check_unbent(ctx, body)
        code = await ctx.engine.wait(job, ctx.timeout + 1.0)
        output = await _written(ctx, job)
    except EngineError as error:
        raise failed_call(error, f"run {image}") from error
    finally:
        await clear(ctx)
    if code not in params.exit_code:
        raise ActionFailed(f"{image} ended with exit code {code}{output.told()}")
    return ActionResult(f"{image}: exit code {code}{output.told()}", {"exit_code": code})


def definition(ctx: ActionContext, params: Any, image: str) -> dict[str, Any]:
    """The create body of a job. Raises ActionFailed for a volume that it may not have."""
    host: dict[str, Any] = {"Mounts": [_mount(ctx, text) for text in params.volumes]}
    if params.network is not None:
        host["NetworkMode"] = params.network
    body: dict[str, Any] = {
        "Image": image, "HostConfig": host, "User": params.user or "",
        "Env": [f"{key}={ctx.render(value)}" for key, value in params.env.items()],
    }  # fmt: skip
    if params.command is not None:
        body["Cmd"] = filled(ctx, params.command)
    return body


def _mount(ctx: ActionContext, text: str) -> Mapping[str, Any]:
    source, target, *mode = text.split(":")
    mount = {"Target": target, "ReadOnly": mode == ["ro"]}
    if source.startswith("/"):
        return {"Type": "bind", "Source": below_roots(ctx, source), **mount}
    if not VOLUME_NAME.match(source):
        raise ActionFailed(f"{source[:100]!r} is no name of a volume", again=False)
    return {"Type": "volume", "Source": source, **mount}


def _check_unbent(ctx: ActionContext, body: Mapping[str, Any]) -> None:
    """The engine mounts a host's path by its name, and whoever may write above it may have bent
    that since.

    Raises ActionFailed; the job's container then goes. Between the last look before a start and the
    mount there is a moment that nobody can close from outside the engine, so it is looked at after
    the start as well.
    """
    for mount in body["HostConfig"]["Mounts"]:
        if mount["Type"] == "bind" and below_roots(ctx, mount["Source"]) != mount["Source"]:
            raise ActionFailed(f"{mount['Source']} was replaced by a link meanwhile", again=False)


async def _written(ctx: ActionContext, name: str) -> CommandOutput:
    output = CommandOutput()
    async with ctx.engine.logs(name) as pieces:
        async for piece in pieces:
            output.add(piece)
    return output


async def clear(ctx: ActionContext) -> None:
    """Whatever cut it short, a job's container is removed; what cannot be is looked for again
    (app/leftovers.py)."""
    try:
        async with asyncio.timeout(CLEARING):
            await _cleared(ctx)
    except (EngineError, TimeoutError):
        return


async def _cleared(ctx: ActionContext) -> None:
    for row in ctx.own.of_incident(ctx.incident.id, "job"):
        await ctx.own.remove(row, volumes=True)


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """A job is not run twice: one under way has the time it was given. Its container goes in any
    case."""
    before = record.undo.get("run")
    if not isinstance(before, dict):
        return NOT_BEGUN
    if "job" not in before:
        return await recreate_missing.settle(ctx, record, before)
    try:
        found = [await ctx.own.find(row) for row in ctx.own.of_incident(record.incident, "job")]
        seen = next((each for each in reversed(found) if each is not None), None)
        if seen is None or not seen.started_at:
            return Settled(done=False, detail="the job had not begun, or is gone")
        secrets = await _secrets(ctx, seen.id)
        code = await ctx.engine.wait(seen.id, max(1.0, float(before["until"]) - ctx.clock()))
        output = await _written(ctx, seen.id)
    except NotFound:
        return Settled(done=False, detail="the job had not begun, or is gone")
    except EngineAway:
        raise
    except EngineError as error:
        if ctx.clock() < float(before["until"]):
            return Settled(done=False, detail=f"what became of the job is not known: {error}")
        return Settled(done=False, detail="the job had run for longer than it may, and was ended")
    finally:
        await clear(ctx)
    told = redaction.text(output.told(), secrets)
    return Settled(code in before["expected"], f"the job had ended with exit code {code}{told}")


async def _secrets(ctx: ActionContext, job: str) -> tuple[str, ...]:
    """What the job was given as environment and arguments, from itself: the rule may be another by
    now."""
    config = (await ctx.engine.inspect_raw(job)).get("Config") or {}
    env = dict(str(each).partition("=")[::2] for each in config.get("Env") or ())
    return redaction.known_in({"env": env, "command": config.get("Cmd") or ()})


def register_all() -> None:
    """Put run into the registry."""
    register(Action("run", run, settle))
