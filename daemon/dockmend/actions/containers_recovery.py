"""How a container action ended whose dockmend died: asks the engine and puts right what is half
done.

The engine goes on with a call whose client is gone (measured: a restart completes, a commit
unpauses). So an action may still be under way when the next dockmend asks. It takes at most the
stop timeout, and dockmend waits that long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from dockmend.actions.action import NOT_BEGUN, ActionContext, Container, Settled
from dockmend.errors import EngineAway, EngineError, NotFound, Temporary
from dockmend.journal.records import ActionRecord

T = TypeVar("T")

POLL = 0.2
"""Seconds between two looks at an action that the engine may still be doing."""
LOOK_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of a look that the engine refused."""
MARGIN = 3.0
"""Seconds that a stop or a start takes beyond the stop timeout."""
REMOVAL = 60.0
"""Seconds that a removal may take: the engine waits for the process to end and deletes its
files."""
LOST_EXIT_CODE = 255
"""What the engine reports of a container that ended while the engine itself was down."""

GONE = Settled(done=False, detail="the container is gone")


async def look(ctx: ActionContext, container: str) -> Container | None:
    """The container as it is; None where it does not exist any more. Raises EngineError."""
    try:
        return await patiently(lambda: ctx.engine.inspect(container))
    except NotFound:
        return None


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What only looks is asked again if the engine refuses: what was done before it is done, and
    must not count as failed because nobody could see it at once. Raises EngineError if it goes on,
    or if nobody answers at all."""
    for wait in LOOK_WAITS:
        try:
            return await ask()
        except EngineAway:
            raise
        except Temporary:
            await asyncio.sleep(wait)
    return await ask()


async def await_until(
    ctx: ActionContext, container: str, deadline: float, over: Callable[[Container], bool]
) -> Container | None:
    """Look until `over` holds or the deadline (wall seconds) has passed; the last look, None where
    it is gone."""
    while True:
        seen = await look(ctx, container)
        if seen is None or over(seen) or ctx.clock() >= deadline:
            return seen
        await asyncio.sleep(POLL)


async def restart(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Done if it runs anew; a container that was stopped and not started again is started."""
    before = _before(record, "restart")
    if before is None:
        return NOT_BEGUN
    deadline = _deadline(record, before)
    begun = float(before.get("started_at", 0.0))

    def over(each: Container) -> bool:
        """It runs anew, or was stopped so long ago that the engine is not about to start it."""
        return each.started_at > begun or (
            not each.running and ctx.clock() - each.finished_at > MARGIN
        )

    seen = await await_until(ctx, record.object_id, deadline, over)
    if seen is None:
        return GONE
    if seen.started_at > begun:
        if seen.running:
            return Settled(done=True, detail="the restart had gone through")
        return Settled(
            done=True,
            detail="the restart had gone through; it ended again since (exit code "
            f"{seen.exit_code})",
        )
    if seen.running:
        return Settled(done=False, detail="the restart had not begun")
    if seen.state in ("removing", "dead"):
        return GONE
    return await _start_again(ctx, record, before, seen)


async def _start_again(
    ctx: ActionContext, record: ActionRecord, before: dict[str, Any], seen: Container
) -> Settled:
    """What does not run is started if it was the restart that ended it."""
    if not before.get("was_running", False):
        return Settled(done=False, detail="it did not run before, and was not started yet")
    if not _ours(seen, _deadline(record, before)):
        return Settled(
            done=False, detail="the restart had not begun; it ended later, for another reason"
        )
    if seen.signalled and not seen.error and ctx.view.engine_was_there(record.began_at):
        # An engine that is asked for a restart goes on to the start, or says why it could not.
        detail = "the restart had not begun: somebody stopped it before the engine was asked"
        return Settled(done=False, detail=detail, facts={"stopped_by_person": True})
    return await _start(ctx, seen, "it had been stopped for a restart")


async def start(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Done if it was started since."""
    before = _before(record, "start")
    if before is None:
        return NOT_BEGUN
    begun = float(before.get("started_at", 0.0))
    seen = await await_until(
        ctx, record.object_id, record.began_at + MARGIN, lambda each: each.started_at > begun
    )
    if seen is None:
        return GONE
    done = seen.started_at > begun
    return Settled(done, "it had been started" if done else "it had not been started")


async def stop(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Done if it does not run; nothing is undone, since the rule wanted it stopped."""
    before = _before(record, "stop")
    if before is None:
        return NOT_BEGUN
    seen = await await_until(
        ctx, record.object_id, _deadline(record, before), lambda each: not each.running
    )
    if seen is None:
        return GONE
    return Settled(not seen.running, "it still runs" if seen.running else "it had been stopped")


async def kill(ctx: ActionContext, record: ActionRecord) -> Settled:
    """A signal leaves no trace, so it counts as sent: a second one is worse than none (the
    verification looks)."""
    before = _before(record, "kill")
    if before is None:
        return NOT_BEGUN
    return Settled(
        done=True,
        detail=f"{before.get('signal', 'the signal')} may have been sent; it is not sent again",
    )


async def pause(ctx: ActionContext, record: ActionRecord) -> Settled:
    """What dockmend paused goes on: the steps that would have unpaused it are not coming any
    more."""
    before = _before(record, "pause")
    if before is None:
        return NOT_BEGUN
    return await _unpause(ctx, record.object_id, done=False)


async def unpause(ctx: ActionContext, record: ActionRecord) -> Settled:
    """An unpause is finished: nothing may be left paused."""
    before = _before(record, "unpause")
    if before is None:
        return NOT_BEGUN
    return await _unpause(ctx, record.object_id, done=True)


async def remove(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Done if it is gone. What is left of a removal that the engine never began, or gave up, is
    told."""
    before = _before(record, "remove")
    if before is None:
        return NOT_BEGUN
    seen = await gone_within(ctx, record.object_id, record.began_at + REMOVAL)
    if seen is None:
        return Settled(done=True, detail="it had been removed")
    return Settled(done=False, detail=f"it had not been removed (it is {seen.state})")


async def gone_within(ctx: ActionContext, container: str, deadline: float) -> Container | None:
    """The last look at a container that is being removed: None as soon as it is gone; at the
    deadline what is left."""
    settled = 0

    def over(each: Container) -> bool:
        """Whether nothing is removing it: seen twice, as the engine takes a moment to begin."""
        nonlocal settled
        settled = 0 if each.state == "removing" else settled + 1
        return settled > 1

    return await await_until(ctx, container, deadline, over)


async def _unpause(ctx: ActionContext, container: str, *, done: bool) -> Settled:
    seen = await look(ctx, container)
    if seen is None:
        return GONE
    if seen.state != "paused":
        return Settled(done, "it is not paused")
    try:
        await ctx.engine.unpause(seen.id)
    except Temporary:
        raise  # it is tried again: nobody else will
    except EngineError as error:
        if "is not paused" not in str(error):
            return Settled(done=False, detail=f"it is paused, and could not be unpaused: {error}")
    return Settled(done, "it had been left paused, and was unpaused")


async def _start(ctx: ActionContext, container: Container, why: str) -> Settled:
    ctx.expectations.open(container.id)  # and the mirror knows that it was asked for
    try:
        await ctx.engine.start(container.id)
    except EngineAway:
        raise
    except EngineError as error:
        return Settled(done=False, detail=f"{why}, and could not be started: {error}")
    return Settled(done=True, detail=f"{why}, and was started")


def _ours(seen: Container, deadline: float) -> bool:
    """True where this end can be the action's: in its time, or unseen by an engine that died with
    it."""
    return seen.finished_at <= deadline or seen.exit_code == LOST_EXIT_CODE


def _deadline(record: ActionRecord, before: dict[str, Any]) -> float:
    return record.began_at + float(before.get("stop_timeout", 10.0)) + MARGIN


def _before(record: ActionRecord, action: str) -> dict[str, Any] | None:
    """What was remembered; None where dockmend died before anything was done."""
    before = record.undo.get(action)
    return before if isinstance(before, dict) else None
