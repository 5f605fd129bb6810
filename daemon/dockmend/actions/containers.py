"""The container actions: restart, start, stop, kill, pause, unpause, remove.

The runner inspected the container right before the attempt, so restart does not look again: between
a trouble and its remedy there is one inspect and one journalled row. The others do, as a step
before them may have stopped or paused it. What the engine answers to an action that is already so
(304, "is not running") counts as done.
"""

from __future__ import annotations

from typing import Any

from dockmend.actions import containers_recovery as settle
from dockmend.actions.action import (
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    register,
)
from dockmend.actions.definition_references import joined
from dockmend.actions.engine_refusals import failed, owner_gone
from dockmend.errors import EngineError, NotFound
from dockmend.model import Object


def expect_container(subject: Object, action: str) -> Container:
    """`subject`, which rules were checked to be a container for this action."""
    if not isinstance(subject, Container):
        raise ActionFailed(f"{action} is for containers, and {subject.name} is none", again=False)
    return subject


async def restart(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Restart a container; a paused one runs afterwards, one that does not run is started."""
    container = _usable(subject, "restart")
    await _owner_runs(ctx, "restart", container)
    timeout: float | None = getattr(params, "timeout", None)
    patience = container.stop_timeout if timeout is None else timeout
    await _remember(ctx, "restart", container, stop_timeout=patience)
    try:
        await ctx.engine.restart(container.id, timeout, getattr(params, "signal", None))
    except EngineError as error:
        raise failed(error, f"restart {container.name}", container) from error
    return ActionResult(
        "restarted" if container.state == "running" else f"restarted (it was {container.state})"
    )


async def start(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Start a container that does not run."""
    container = _usable(await _seen(ctx, subject, "start"), "start")
    if container.state == "running":
        return ActionResult("it ran already")
    if container.state == "paused":
        raise ActionFailed(
            f"cannot start {container.name}: it is paused, not stopped: unpause it instead",
            again=False,
        )
    await _owner_runs(ctx, "start", container)
    await _remember(ctx, "start", container)
    try:
        await ctx.engine.start(container.id)
    except EngineError as error:
        raise failed(error, f"start {container.name}", container) from error
    return ActionResult("started")


async def stop(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Stop a container: its stop signal, and after the timeout SIGKILL."""
    container = await _seen(ctx, subject, "stop")
    if not container.running:
        return ActionResult(f"it did not run (it was {container.state})")
    timeout: float | None = getattr(params, "timeout", None)
    await _remember(
        ctx, "stop", container, stop_timeout=container.stop_timeout if timeout is None else timeout
    )
    try:
        ended = await ctx.engine.stop(container.id, timeout, getattr(params, "signal", None))
    except EngineError as error:
        raise failed(error, f"stop {container.name}", container) from error
    if not ended:
        ctx.found_down(container.id)
        return ActionResult("it had ended just before")
    return ActionResult("stopped")


async def kill(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Send a signal (SIGKILL where none is named) to a container's main process."""
    container = await _seen(ctx, subject, "kill")
    if not container.running:
        return ActionResult(f"it did not run (it was {container.state})")
    signal: str = getattr(params, "signal", None) or "SIGKILL"
    await _remember(ctx, "kill", container, signal=signal)
    try:
        await ctx.engine.kill(container.id, signal)
    except EngineError as error:
        if "is not running" in str(error):
            return ActionResult("it had ended just before")
        raise failed(error, f"kill {container.name}", container) from error
    return ActionResult(f"sent {signal}")


async def pause(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Freeze a container's processes."""
    container = await _seen(ctx, subject, "pause")
    if container.state == "paused":
        return ActionResult("it was paused already")
    if not container.running:
        raise ActionFailed(
            f"cannot pause {container.name}: it does not run (it is {container.state})", again=False
        )
    await _remember(ctx, "pause", container)
    try:
        await ctx.engine.pause(container.id)
    except EngineError as error:
        if "already paused" in str(error):
            return ActionResult("it was paused already")
        raise failed(error, f"pause {container.name}", container) from error
    return ActionResult("paused")


async def unpause(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Let a paused container go on."""
    container = await _seen(ctx, subject, "unpause")
    if container.state != "paused":
        return ActionResult(f"it was not paused (it was {container.state})")
    await _remember(ctx, "unpause", container)
    try:
        await ctx.engine.unpause(container.id)
    except EngineError as error:
        if "is not paused" in str(error) or "is not running" in str(error):
            return ActionResult("it was not paused any more")
        raise failed(error, f"unpause {container.name}", container) from error
    return ActionResult("unpaused")


async def remove(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Remove a container; one that runs only with `force`, its anonymous volumes only with
    `volumes`."""
    container = expect_container(subject, "remove")
    try:
        container = await ctx.engine.inspect(container.id)
    except NotFound:
        return ActionResult("it was gone already")
    if container.running and not params.force:
        raise ActionFailed(
            f"cannot remove {container.name}: it runs (it is {container.state}); put `stop` before "
            "it, or say `force: true`",
            again=False,
        )
    await _remember(ctx, "remove", container, volumes=params.volumes)
    try:
        await ctx.engine.remove(container.id, force=params.force, volumes=params.volumes)
    except NotFound:
        return ActionResult("it was gone already")
    except EngineError as error:
        if "is already in progress" not in str(error):
            raise failed(error, f"remove {container.name}", container) from error
        if await settle.gone_within(ctx, container.id, ctx.clock() + settle.REMOVAL) is not None:
            raise ActionFailed(
                f"cannot remove {container.name}: another removal of it does not end"
            ) from error
        return ActionResult("somebody else was removing it, and it is gone")
    return ActionResult("removed with its anonymous volumes" if params.volumes else "removed")


async def _seen(ctx: ActionContext, subject: Object, action: str) -> Container:
    """The container as it is now."""
    container = expect_container(subject, action)
    try:
        return await ctx.engine.inspect(container.id)
    except EngineError as error:
        raise failed(error, f"{action} {container.name}", container) from error


def _usable(subject: Object, action: str) -> Container:
    container = expect_container(subject, action)
    if container.state in ("removing", "dead"):
        raise ActionFailed(
            f"cannot {action} {container.name}: it is being removed (its state is "
            f"{container.state})",
            again=False,
        )
    return container


async def _owner_runs(ctx: ActionContext, what: str, container: Container) -> None:
    """Refuse before anything is stopped where the start could only fail.

    The engine stops a container first and only then finds that it cannot join its owner's
    namespace: what limped would lie still.
    """
    for reference, shared in joined(container):
        try:
            owner = await ctx.engine.inspect(reference)
        except NotFound as error:
            raise owner_gone(f"{what} {container.name}", container, shared) from error
        except EngineError as error:
            raise failed(error, f"{what} {container.name}", container) from error
        if not owner.running:
            raise ActionFailed(
                f"cannot {what} {container.name}: it shares the {shared} of {owner.name}, which "
                "does not run; start that one first"
            )


async def _remember(ctx: ActionContext, action: str, container: Container, **more: Any) -> None:
    await ctx.remember({
        action: {"was_running": container.running, "state": container.state,
            "started_at": container.started_at, **more}
    })  # fmt: skip


def register_all() -> None:
    """Put the container actions into the registry."""
    register(Action("restart", restart, settle.restart))
    register(Action("start", start, settle.start))
    register(Action("stop", stop, settle.stop))
    register(Action("kill", kill, settle.kill))
    register(Action("pause", pause, settle.pause))
    register(Action("remove", remove, settle.remove))
    register(Action("unpause", unpause, settle.unpause))
