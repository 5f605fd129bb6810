"""exec: a command in a container, to its end or to the end of its time.

The engine has no call that ends a command, and leaving its output does not. So each carries a mark
in its environment, which its children inherit, and what bears the mark is killed: from the host
where dockmend sees the processes there, else by a shell in the container itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    register,
)
from dockmend.actions.arguments import filled
from dockmend.actions.command_output import CommandOutput
from dockmend.actions.containers import expect_container
from dockmend.actions.engine_refusals import failed
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object

MARK = "DOCKMEND_EXEC"
"""The environment variable that a command and its children carry."""
BEGINS = 3.0
"""Seconds after its intent within which a command that was asked for has begun."""
POLL = 0.2
ENDING = 10.0
"""Seconds that the ending of a command may take before it is given up."""
KILLER = (
    'for p in /proc/[0-9]*; do grep -qs "$0" "$p/environ" 2>/dev/null && kill -9 '
    '"${p#/proc/}" 2>/dev/null; done; :'
)
"""A shell's program; what it looks for comes as an argument, never as a part of it."""


async def exec_(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Run a command in a container that runs. Its output is kept, cut short; any exit code but the
    expected fails."""
    container = expect_container(subject, "exec")
    command = filled(ctx, params.command)
    what = f"exec {command[0]} in {container.name}"
    mark = f"{ctx.incident.id}-{os.urandom(6).hex()}"
    env = {key: ctx.render(value) for key, value in params.env.items()} | {MARK: mark}
    undo = {
        "id": "", "mark": mark, "user": params.user, "until": ctx.clock() + ctx.timeout,
        "expected": params.exit_code
    }  # fmt: skip
    await ctx.remember({"exec": undo})
    try:
        execution = await ctx.engine.exec_create(
            container.id, command, env, params.user, params.workdir
        )
    except EngineError as error:
        raise failed(error, what, container) from error
    await ctx.remember({"exec": undo | {"id": execution}})
    output = CommandOutput()
    over = False
    try:
        async with ctx.engine.exec_start(execution) as pieces:
            async for piece in pieces:
                output.add(piece)
        code = await _exit_code(ctx, execution)
        over = True
    except EngineError as error:
        raise failed(error, what, container) from error
    finally:
        if not over:
            await _end_it(ctx, container, execution, mark, params.user)
    if code not in params.exit_code:
        raise ActionFailed(f"{what}: exit code {code}{output.told()}")
    return ActionResult(f"exit code {code}{output.told()}", {"exit_code": code})


async def _exit_code(ctx: ActionContext, execution: str) -> int | None:
    """Of a command whose output has ended; it may take a moment, or close its output long
    before."""
    while True:
        seen = await ctx.engine.exec_inspect(execution)
        if not seen.running:
            return seen.exit_code
        await asyncio.sleep(POLL)


async def _end_it(
    ctx: ActionContext, container: Container, execution: str, mark: str, user: str | None
) -> None:
    """Whatever cut it short, a command is not left behind; where the engine is away, settling ends
    it."""
    try:
        async with asyncio.timeout(ENDING):
            await end(ctx, container.id, execution, mark, user)
    except (EngineError, TimeoutError):
        return


async def end(
    ctx: ActionContext, container: str, execution: str, mark: str, user: str | None
) -> bool:
    """Kill a command and what it began; True once it does not run any more."""
    seen = await ctx.engine.exec_inspect(execution)
    if not seen.running:
        return True
    if ctx.engine.url.startswith("unix:"):
        await asyncio.to_thread(kill_marked, container, mark)
        if not (await ctx.engine.exec_inspect(execution)).running:
            return True
    try:
        killer = await ctx.engine.exec_create(container, ["sh", "-c", KILLER, mark], user=user)
        async with ctx.engine.exec_start(killer) as pieces:
            async for _ in pieces:
                pass
    except EngineAway:
        raise
    except EngineError:
        return False  # it is paused, or has ended with all that ran in it
    for _ in range(10):
        if not (await ctx.engine.exec_inspect(execution)).running:
            return True
        await asyncio.sleep(POLL)
    return False


def kill_marked(container: str, mark: str, proc: Path = Path("/proc")) -> int:
    """Kill the processes of this host that are in a container and carry a mark; how many there
    were.

    A process is held by a file descriptor before it is looked at: its number cannot become
    another's meanwhile.
    """
    wanted, killed = f"{MARK}={mark}".encode(), 0
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            held = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        try:
            ours = container in (entry / "cgroup").read_text()
            if ours and wanted in (entry / "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(held, signal.SIGKILL)
                killed += 1
        except OSError:
            continue
        finally:
            os.close(held)
    return killed


async def settle_exec(ctx: ActionContext, record: ActionRecord) -> Settled:
    """A command is not run twice: one under way has the time it was given, and is ended after
    that."""
    before = record.undo.get("exec")
    if not isinstance(before, dict) or not before["id"]:
        return NOT_BEGUN
    execution, until = str(before["id"]), float(before["until"])
    while True:
        try:
            seen = await ctx.engine.exec_inspect(execution)
        except NotFound:
            return Settled(
                done=True,
                detail="the command may have run (the engine does not know); it is not run again",
            )
        if not seen.running and seen.exit_code is not None:
            done = seen.exit_code in before["expected"]
            return Settled(done, f"the command had ended with exit code {seen.exit_code}")
        if not seen.running and ctx.clock() >= record.began_at + BEGINS:
            return Settled(done=False, detail="the command had not begun")
        if seen.running and ctx.clock() >= until:
            ended = await end(ctx, record.object_id, execution, str(before["mark"]), before["user"])
            said = (
                "and was ended"
                if ended
                else "and could not be ended: it may still run in the container"
            )
            return Settled(done=False, detail=f"the command had run for longer than it may, {said}")
        await asyncio.sleep(POLL)


def register_all() -> None:
    """Put exec into the registry."""
    register(Action("exec", exec_, settle_exec))
