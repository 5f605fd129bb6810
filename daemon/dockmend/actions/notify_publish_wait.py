"""notify, publish and wait: steps that change nothing on the engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from dockmend.actions.action import (
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Settled,
    register,
)
from dockmend.actions.engine_refusals import gone
from dockmend.errors import EngineError, Temporary
from dockmend.journal.records import ActionRecord
from dockmend.model import Container, Object

LOOK_EVERY = 0.5
"""Seconds between two looks at a container that is waited for."""
LONGEST_TOPIC = 1024
LONGEST_PAYLOAD = 64 * 1024
"""Bytes; a label can be of any length, and what waits for a broker that is away is bounded."""

_NOT_IN_A_LEVEL = re.compile(r"[+#/\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LEVEL_ENDS = re.compile(r"/(?![^{}]*\})")


TOLD = "told"
"""What is remembered of a step whose message is in the outbox: to which channels it goes."""


async def notify(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Put a message to people into the outbox; from there it is sent until each URL took it."""
    return ctx.tell(params.message, params.title, params.to)


async def publish(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Hand a message to MQTT; that it was handed over is all that is promised."""
    wanted = topic(ctx, params.topic)
    payload: str = ctx.render(params.payload or "")
    if len(payload.encode(errors="replace")) > LONGEST_PAYLOAD:
        raise ActionFailed(
            f"the payload for {wanted} is longer than {LONGEST_PAYLOAD // 1024} KiB", again=False
        )
    ctx.teller.publish(wanted, payload, params.retain)
    return ActionResult(f"published to {wanted}", {"topic": wanted})


def topic(ctx: ActionContext, template: str) -> str:
    """The topic a template names. A field fills part of one level only: a stranger's text must not
    choose another."""
    levels = [_NOT_IN_A_LEVEL.sub("_", ctx.render(level)) for level in _LEVEL_ENDS.split(template)]
    filled = "/".join(levels)
    if not filled or filled.startswith("$"):
        raise ActionFailed(
            f"{filled!r} is not a topic to publish to (from {template!r})", again=False
        )
    if len(filled.encode()) > LONGEST_TOPIC:
        raise ActionFailed(
            f"the topic {filled[:40]}… is longer than {LONGEST_TOPIC} bytes", again=False
        )
    return filled


async def wait(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Wait for a time, or until a container is in a state and no longer than `within`."""
    if params.until is None:
        await asyncio.sleep(params.time)
        return ActionResult(f"waited {params.time:g} s")
    if not isinstance(subject, Container):
        name = getattr(subject, "name", "the engine")
        raise ActionFailed(
            f"wait until {params.until} is for containers, and {name} is none", again=False
        )
    if params.until == "healthy" and subject.check is None:
        raise ActionFailed(
            f"{subject.name} has no health check: it can never become healthy", again=False
        )
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        remaining = began + params.within - loop.time()
        seen = await _look(ctx, subject, max(remaining, LOOK_EVERY))
        if (
            seen is not None
            and seen.state == "running"
            and (params.until == "running" or seen.health == "healthy")
        ):
            return ActionResult(f"it is {params.until} after {loop.time() - began:.1f} s")
        if remaining <= 0:
            now = "the engine does not answer" if seen is None else f"it is {_condition(seen)}"
            raise ActionFailed(
                f"{subject.name} is not {params.until} after {params.within:g} s: {now}"
            )
        await asyncio.sleep(min(LOOK_EVERY, remaining))


async def _look(ctx: ActionContext, container: Container, timeout: float) -> Container | None:
    """How it is now; None where the engine does not answer just then."""
    try:
        return await ctx.engine.inspect(container.id, timeout)
    except Temporary:
        return None
    except EngineError as error:
        if gone(error, container.id):
            raise ActionFailed(
                f"{container.name} is gone: it is not waited for any longer", again=False
            ) from error
        raise ActionFailed(f"cannot look at {container.name}: {error}") from error


def _condition(container: Container) -> str:
    return f"{container.state} and {container.health}" if container.health else container.state


async def settle_notify(ctx: ActionContext, record: ActionRecord) -> Settled:
    """That it was put is on disk together with the message."""
    told = record.undo.get(TOLD)
    if not isinstance(told, list):
        return Settled(done=False, detail="nobody had been told yet", untouched=True)
    return Settled(done=True, detail=told_to(told))


def told_to(channels: Sequence[str]) -> str:
    """What a step of `notify` says that it did."""
    return f"told {', '.join(channels)}" if channels else "told nobody: no channel takes it"


async def settle_publish(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Whether a message went out cannot be known; twice is worse than never."""
    return Settled(done=True, detail="the message may have been published; it is not sent again")


async def settle_wait(ctx: ActionContext, record: ActionRecord) -> Settled:
    """There is nothing to put right."""
    return Settled(done=False, detail="the waiting was cut short")


def register_all() -> None:
    """Put the telling actions into the registry."""
    register(Action("notify", notify, settle_notify))
    register(Action("publish", publish, settle_publish))
    register(Action("wait", wait, settle_wait))
