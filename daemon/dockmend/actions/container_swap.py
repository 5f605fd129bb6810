"""Swaps a container for its successor. A death of dockmend at any instant must not harm it.

The order: the new one is made under a name of its own and is not started. The old one is stopped,
then renamed (set aside). The new one takes the name and is started. Once it has proven well, the
old one is removed. Ports and addresses belong to the old one until it is stopped. Each step is on
disk before it is taken. Until the last step, the way leads back: the new one is removed, the old
one takes its name again and runs if it ran before.

The new one uses the anonymous volumes by name, so the old one is removed without its volumes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from dockmend.actions.action import (
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    succeed,
)
from dockmend.actions.containers_recovery import MARGIN, POLL, await_until, look
from dockmend.actions.definition import Definition
from dockmend.actions.definition_references import joined
from dockmend.actions.engine_refusals import failed, unfinished
from dockmend.engine.engine_queries import short
from dockmend.errors import EngineAway, EngineError, JournalError, NotFound, Temporary
from dockmend.model import aside_name
from dockmend.owned import OwnedObject, Purpose

STEADY = 2.0
"""Seconds a container without a health check must run before it is believed. It decides which of
the two stays: one that is in a crash loop has to run for longer before its incident is closed,
which the verification after it sees to."""
BEYOND_CHECK = 30.0
"""Seconds a health check is given beyond its own verdict (rules.md, `verify`)."""
MAKING = 10.0
"""Seconds within which the engine has made a container that it was asked for, though nobody waits
for its answer."""
BACK_WITHIN = 5.0
"""Seconds after its own start in which an engine starts what it means to."""
NO_RESTART = "no"
HEARD_WITHIN = 1.0
"""Seconds within which the stream has told whether an end was somebody's doing."""

Stage = Literal["make", "stop", "aside", "name", "start", "verify", "remove"]


class Undo(msgspec.Struct, omit_defaults=True):
    """What is written down before each step: enough to go back or, at "remove", on to the end."""

    step: Stage
    name: str
    old: str
    aside: str  # the old one's name while it is set aside
    temporary: str  # the new one's name until it takes its place
    was_running: bool
    start: bool  # the new one is to run
    stop_timeout: float
    began_at: float  # of the exchange, wall seconds
    at: float  # of the step
    started_at: float = 0.0  # the old one's, as it was asked for
    new: str = ""  # its id, once it was made
    within: float = 0.0  # seconds it has to prove well
    healthy: bool = False  # well is healthy, else running
    # the old one's, which it does not have while it is set aside
    restart_policy: dict[str, Any] = {}
    stopped: bool = False  # a person stopped the new one while it was to prove well
    back: bool = False  # the new one is being stopped, and the old one put back


class NotWell(Exception):
    """The new one did not prove well; the text says how."""


@dataclass(slots=True)
class ContainerSwap:
    """One exchange. `key`: under which its undo is remembered; `image`: the id the new one is to be
    made from; `start`: whether it is to run."""

    ctx: ActionContext
    key: str
    container: Container
    definition: Definition
    image: str
    start: bool
    undo: Undo = field(init=False)

    def __post_init__(self) -> None:
        container, ctx = self.container, self.ctx
        check = container.check if ctx.verify.state != "running" else None
        within = ctx.verify.within or BEYOND_CHECK + (check.verdict_within if check else 0.0)
        self.undo = Undo(
            step="make", name=container.name, old=container.id,
            aside=aside_name(container.name, "old", ctx.incident.id),
            temporary=aside_name(container.name, "new", ctx.incident.id),
            was_running=container.running, start=self.start,
            started_at=container.started_at, stop_timeout=container.stop_timeout,
            began_at=ctx.clock(), at=ctx.clock(), within=within, healthy=check is not None,
            restart_policy=dict(self.definition.body["HostConfig"].get("RestartPolicy") or {}),
        )  # fmt: skip

    async def carry_out(self) -> ActionResult:
        """Raises ActionFailed, after the old one was put back; EngineAway where that is to be
        settled later."""
        what = f"recreate {self.undo.name}"
        await self._step("make")
        try:
            made = await self._make()
            if self.undo.was_running:
                await self._still_runs()
                await self._step("stop")
                await self._stop()
            await self._step("aside")
            await self._set_aside()
            await self._step("name")
            await self.ctx.engine.rename(self.undo.new, self.undo.name)
            # it is the user's from now on, under the name that the old one had
            self.ctx.own.forget(made)
            self.undo.stopped = await self._run() if self.undo.start else False
            # if two stops come at once, the engine tells late of the second
            self._nobody_stopped_the_old_one()
        except EngineAway:
            raise
        except NotWell as error:
            raise await self._back(
                f"cannot {what}: the new one was not well: {error}", again=True
            ) from None
        except EngineError as error:
            refused = failed(error, what, self.container)
            raise await self._back(str(refused), again=refused.again) from error
        except ActionFailed as error:
            raise await self._back(str(error), again=error.again) from error
        except (
            Exception,
            asyncio.CancelledError,
        ):
            # The journal is full, the time is up, dockmend ends.
            await put_back(self.ctx, self.key, self.undo)
            raise
        await hand_over(self.ctx, self.key, self.undo)
        await remove_old(self.ctx, self.undo)
        return ActionResult(_told(self.undo), facts_of(self.undo))

    async def _step(self, step: Stage) -> None:
        """On disk before it is taken."""
        self.undo.step, self.undo.at = step, self.ctx.clock()
        await self.ctx.remember({self.key: msgspec.to_builtins(self.undo)})

    async def _make(self) -> OwnedObject:
        incident = self.ctx.incident.id
        row = await self.ctx.own.create(
            self.undo.temporary, self.definition.body, incident, "successor"
        )
        self.undo.new = row.object_id
        self.ctx.expectations.open(self.undo.new, on_trial=True)
        made = await self.ctx.engine.inspect(self.undo.new)
        if made.image_id != self.image:
            raise ActionFailed(
                f"cannot recreate {self.undo.name}: {made.image} became another image meanwhile"
            )
        for network in self.definition.leave:
            if network in made.networks:
                await self.ctx.engine.disconnect_network(network, made.id)
        return row

    async def _still_runs(self) -> None:
        """Making the new one takes its time: who stopped the old one meanwhile is heard."""
        if not (await self.ctx.engine.inspect(self.undo.old)).running:
            raise ActionFailed(
                f"cannot recreate {self.undo.name}: it ended while its successor was made"
            )

    async def _stop(self) -> None:
        """What a person stopped at the same moment, or just before, is not started under another
        id."""
        old = self.undo.old
        ended = await self.ctx.engine.stop(old)
        until = self.ctx.clock()
        if not ended:
            self.ctx.found_down(old)
            until += HEARD_WITHIN

        def told(_: Container) -> bool:
            return self.ctx.view.stopped(old)

        # once it has answered, the stream has told of what came before
        await await_until(self.ctx, old, until, told)
        self._nobody_stopped_the_old_one()

    def _nobody_stopped_the_old_one(self) -> None:
        if self.undo.was_running and self.ctx.view.stopped(self.undo.old):
            raise ActionFailed(f"cannot recreate {self.undo.name}: a person stopped it meanwhile")

    async def _set_aside(self) -> None:
        """An engine that comes back would start it beside its successor: it is not to,
        meanwhile."""
        if self.container.restart_policy != NO_RESTART:
            await self.ctx.engine.update(self.undo.old, {"RestartPolicy": {"Name": NO_RESTART}})
        await self.ctx.own.claim(
            "container", self.undo.aside, self.ctx.incident.id, "aside", self.undo.old
        )
        await self.ctx.engine.rename(self.undo.old, self.undo.aside)

    async def _run(self) -> bool:
        """Start it and wait until it is well; True where a person stopped it meanwhile, who is
        obeyed."""
        await self._step("start")
        await self.ctx.engine.start(self.undo.new)
        await self._step("verify")
        return await prove_well(self.ctx, self.undo)

    async def _back(self, why: str, again: bool) -> ActionFailed:
        return ActionFailed(f"{why}; {await put_back(self.ctx, self.key, self.undo)}", again)


async def hand_over(ctx: ActionContext, key: str, undo: Undo) -> None:
    """The new one is the old one's heir: from here on the way leads to the end only."""
    undo.step, undo.at = "remove", ctx.clock()
    await succeed(ctx, undo.old, undo.new, {key: msgspec.to_builtins(undo)})


async def prove_well(ctx: ActionContext, undo: Undo) -> bool:
    """True if a person stopped the new one, False if it is well; raises NotWell."""
    begun = ctx.clock()

    def over(each: Container) -> bool:
        if not each.running or each.restart_count or each.health == "unhealthy":
            return True
        return (
            each.health == "healthy"
            if undo.healthy
            else ctx.clock() >= begun + min(STEADY, undo.within)
        )

    while True:
        seen = await await_until(ctx, undo.new, begun + undo.within, over)
        if seen is None:
            raise NotWell("it was removed")
        if seen.running:
            break
        if not await _stopped_by_person(ctx, undo.new):
            raise NotWell(f"it ended with exit code {seen.exit_code}")
        again = await look(ctx, undo.new)
        if again is None or not again.running:
            return True
        # That was a person's restart: the run that it began is looked at.
    if seen.restart_count:
        raise NotWell("it ended, and the engine restarted it")
    if undo.healthy and seen.health != "healthy":
        raise NotWell(
            seen.health if seen.health == "unhealthy" else f"not healthy within {undo.within:g} s"
        )
    await _shares_what_it_names(ctx, seen)
    return False


async def _shares_what_it_names(ctx: ActionContext, new: Container) -> None:
    """Raises NotWell where an owner of its namespaces went meanwhile, or began anew: it runs, in
    what is gone."""
    for reference, shared in joined(new):
        owner = await look(ctx, reference)
        if owner is None:
            raise NotWell(f"the container whose {shared} it shares was removed meanwhile")
        if not owner.running or owner.started_at > ctx.view.joined_at(new):
            raise NotWell(f"{owner.name}, whose {shared} it shares, ended or began anew meanwhile")


async def _stopped_by_person(ctx: ActionContext, container_id: str) -> bool:
    """Whether the stream tells, soon enough, that somebody asked for its end; a signal that asks
    for something else, such as HUP, is no stop."""
    until = ctx.clock() + HEARD_WITHIN
    while True:
        if ctx.view.stopped(container_id):
            return True
        if ctx.clock() >= until:
            return False
        await asyncio.sleep(POLL)


async def put_back(ctx: ActionContext, key: str, undo: Undo) -> str:
    """The new one goes, the old one has its name and runs if it ran; returns a sentence. Bears
    repetition.

    Raises EngineAway where the engine did not do it now, and may later; what it never will is said.
    """
    try:
        if (new := await _new_one(ctx, undo)) is not None:
            ctx.expectations.take_away(new.id)
            if new.running:
                # else a later dockmend takes this stop for a person's, or a person's for this one
                undo.back = True
                # what is half-done is put right all the same
                with contextlib.suppress(JournalError):
                    await ctx.remember({key: msgspec.to_builtins(undo)})
                await ctx.engine.stop(new.id)
            # those it shares by name with the old one stay
            await ctx.engine.remove(new.id, force=True, volumes=True)
        _forget(ctx, "successor", undo.temporary)
        old = await _old_at_rest(ctx, undo)
        if old is None:
            _forget(ctx, "aside", undo.aside)
            return "the old one is gone"
        if old.name == undo.aside:
            await ctx.engine.rename(old.id, undo.name)
        if old.restart_policy != (undo.restart_policy.get("Name") or NO_RESTART):
            await ctx.engine.update(old.id, {"RestartPolicy": undo.restart_policy})
        _forget(ctx, "aside", undo.aside)  # it is the user's again, and nobody else's
    except Temporary as error:
        raise unfinished(f"{undo.name} could not be put back yet", error) from error
    except EngineError as error:
        return f"the old one, {short(undo.old)}, could not be put back: {error}"
    if old.running:
        return "the old one runs"
    if not undo.was_running or not _stopped_by_us(undo, old) or ctx.view.stopped(old.id):
        return "the old one was left as it was"
    try:
        await ctx.engine.start(old.id)
    except EngineAway:
        raise
    except EngineError as error:
        # What it hangs on may be gone for good: the next attempt finds it under its name.
        return f"the old one, {short(undo.old)}, was put back, but could not be started: {error}"
    return "the old one was put back and started"


def _forget(ctx: ActionContext, purpose: Purpose, name: str) -> None:
    """The row of what this exchange had in hand under a name; the incident may exchange others at
    the same time."""
    for row in ctx.own.of_incident(ctx.incident.id, purpose):
        if row.name == name:
            ctx.own.forget(row)


def _stopped_by_us(undo: Undo, old: Container) -> bool:
    """An end from before the stop, or long after it, was not the exchange's."""
    if undo.step == "make":
        return False
    return undo.step != "stop" or old.finished_at <= undo.at + undo.stop_timeout + MARGIN


async def _new_one(ctx: ActionContext, undo: Undo) -> Container | None:
    """The new container, or None if there is none.

    If dockmend died before the engine told the new id, the one that the journal announced.
    """
    if undo.new:
        return await look(ctx, undo.new)
    while rows := [
        row
        for row in ctx.own.of_incident(ctx.incident.id, "successor")
        if row.name == undo.temporary
    ]:
        for row in rows:
            if (seen := await ctx.own.find(row)) is not None:
                return seen
        if undo.step != "make" or ctx.clock() >= undo.at + MAKING:
            break
        await asyncio.sleep(POLL)
    return None  # without a row the engine was not asked, or has said that it made none


async def _old_at_rest(ctx: ActionContext, undo: Undo) -> Container | None:
    """The engine goes on with a call whose client is gone: it is waited for."""
    if undo.step == "stop":
        deadline = undo.at + undo.stop_timeout + MARGIN
        return await await_until(ctx, undo.old, deadline, lambda each: not each.running)
    if undo.step == "aside":
        return await await_until(
            ctx, undo.old, undo.at + MARGIN, lambda each: each.name == undo.aside
        )
    return await look(ctx, undo.old)


async def remove_old(ctx: ActionContext, undo: Undo) -> None:
    """Without its volumes: they are the new one's. Raises ActionFailed where it cannot be removed;
    EngineAway where it could not be now."""
    try:
        if await look(ctx, undo.old) is not None:  # once it is gone, its id may be another's name
            await ctx.engine.remove(undo.old, force=True)
    except NotFound:
        pass
    except EngineAway:
        raise
    except EngineError as error:
        if await await_until(ctx, undo.old, ctx.clock() + MARGIN, lambda each: False) is None:
            _forget(ctx, "aside", undo.aside)  # the engine was at it already
            return
        if isinstance(error, Temporary):
            raise unfinished(f"{undo.aside} could not be removed yet", error) from error
        raise ActionFailed(
            f"{undo.name} was recreated, but the old one, {undo.aside}, could not be "
            f"removed: {error}",
            again=False,
        ) from error
    _forget(ctx, "aside", undo.aside)


def facts_of(undo: Undo) -> Mapping[str, Any]:
    """`successor`: whose id an incident is about from now on; `stopped`: a person stopped it."""
    return {"successor": undo.new, "stopped": undo.stopped}


def _told(undo: Undo) -> str:
    if undo.stopped:
        return "it was then stopped by a person"
    return (
        ("healthy" if undo.healthy else "running")
        if undo.start
        else "not started, as the old one did not run"
    )


async def settle_exchange(ctx: ActionContext, remembered: Mapping[str, Any], key: str) -> Settled:
    """One survivor, whatever instant dockmend died at: the new one where it proves well, else the
    old one."""
    undo = msgspec.convert(remembered, Undo)
    if undo.new:
        ctx.expectations.open(undo.new, on_trial=True)
    ctx.expectations.open(undo.old)
    if undo.step != "remove":
        why = await _finished(ctx, undo)
        if why is not None:
            return Settled(done=False, detail=f"{why}; {await put_back(ctx, key, undo)}")
    _forget(ctx, "successor", undo.temporary)  # it has its name
    await hand_over(ctx, key, undo)
    try:
        await remove_old(ctx, undo)
    except ActionFailed as failure:
        return Settled(done=True, detail=str(failure), facts=facts_of(undo))
    then = f"; {_told(undo)}" if undo.stopped else ""
    return Settled(done=True, detail=f"the recreation was finished{then}", facts=facts_of(undo))


async def _finished(ctx: ActionContext, undo: Undo) -> str | None:
    """None if the new one has its name and is well, or was stopped by a person; else why the old
    one is to be put back."""
    if undo.back:
        return "the old one was being put back"
    if undo.step not in ("start", "verify"):
        return "the new one had not been started yet"
    if undo.was_running and ctx.view.stopped(undo.old):
        return "a person stopped the old one meanwhile"
    new = await await_until(
        ctx, undo.new, ctx.clock() + BACK_WITHIN, lambda each: each.running or not each.started_at
    )
    if new is None or new.name != undo.name:
        return "the new one is gone"
    if not new.running and not new.started_at:
        return "the new one had not been started"
    try:
        undo.stopped = await prove_well(ctx, undo)
    except NotWell as error:
        return f"the new one was not well: {error}"
    return None
