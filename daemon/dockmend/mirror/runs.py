"""Runs of a container: how one begins, how it ends, and when the cause of its end is settled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dockmend.mirror import change_factory, conditions
from dockmend.mirror.exit_cause import (
    STOP_WAIT,
    UNHEARD_WAIT,
    ContainerRun,
    RunEnd,
    asked_by_another,
    judge,
)
from dockmend.model import Change, Container, Origin

if TYPE_CHECKING:
    from dockmend.mirror.container_record import ContainerRecord
    from dockmend.mirror.mirror import Mirror

LEFT_DOWN_WAIT = 2.0
"""Seconds after the engine is back in which it may still start what it means to start."""
LOOP_QUIET = 120.0
"""Seconds after the last of them in which it is in the loop still: the engine waits for a minute at
most in between."""
SHORT_RUN = 10.0
"""Seconds: for the engine too, what ran longer is no loop, and it restarts it without delay (moby,
restartmanager)."""
LOOP_COUNT, LOOP_WITHIN = 5, 600.0
"""`restart_loop`: that many restarts by the engine's own policy within that many seconds."""


def begin(
    mirror: Mirror, found: ContainerRecord, now: float, origin: Origin, run: ContainerRun
) -> list[Change]:
    """A new run: announced by an event, or inferred from inspect, which tells `started_at`."""
    kept, at = found.kept, run.begun
    run.asked_at = mirror.asked_at(found, run, now)
    echoed = mirror.echoed(found, "start", now)
    found.began_another(run)
    run.own = echoed or (found.previous is not None and bool(found.previous.renewals))
    owe(mirror, found)
    kept.unhealthy, kept.unjudged_at = 0, 0.0
    for what in ("health", "end", "stuck", "orphaned"):
        kept.standing.pop(what, None)
    found.stuck_at, found.ahead = None, ()
    health = "starting" if found.container.check else ""
    mirror.put(
        found,
        replace(found.container, state="running", exit_code=None, health=health, started_at=at),
    )
    changes: list[Change] = []
    for end in list(found.ends):
        # Events come in order: with the start, all was said about the runs before. Inspect may be
        # ahead of them.
        if run.announced_at or end.held:
            changes += settle(mirror, found, end)
    if not echoed:
        changes.append(change_factory.of_container(found, "container.started", at, origin))
    changes += mirror.orphan_dependents(found.container, at, origin, "it was started again")
    return changes


def owe(mirror: Mirror, found: ContainerRecord) -> None:
    """Notes whether the run in hand undid a person's stop of the one before. Bears repetition: more
    is told later.

    What was asked for beyond dockmend's own calls is a person's, and the engine went on all the
    same. So it does if a person was quicker than dockmend's call, and dockmend heard of it too
    late.
    """
    run, before = found.kept.run, found.previous
    # what a person began, a person wants to run
    if before is None or not before.over or not run.own:
        return
    owed = run.owed
    if before.by == "dockmend":
        owed = asked_by_another(before, found.container, followed=run.announced_at > 0.0)
    elif before.forestalled:
        owed = judge(before, found.container, mirror.engine_start, blind=True)[0] == "stopped"
    if owed is not run.owed:
        run.owed = owed
        mirror.changed.add(found.container.id)


def called(mirror: Mirror, found: ContainerRecord, took: float) -> None:
    """dockmend's own restart was answered `took` seconds after its call had left: what was asked of
    the run before earlier than that is a person's.

    By the engine's clock alone, which may be another than ours: it began the next run before it
    answered.
    """
    run, before = found.kept.run, found.previous
    if before is None or not before.over or before.by != "dockmend":
        return
    before.called_at = run.begun - took
    owe(mirror, found)


def over(
    mirror: Mirror,
    found: ContainerRecord,
    run: ContainerRun,
    at: float,
    now: float,
    origin: Origin,
    blind: bool,
    patience: float = STOP_WAIT,
) -> list[Change]:
    """A run is over; its cause is settled a little later, when a `stop` has had its time
    (`patience`) and inspect was asked."""
    run.died_at = at
    run.handled = mirror.handled(found.container.id, run)
    run.forestalled = found.echo is not None and not found.echo.asked
    mirror.changed.add(found.container.id)
    if mirror.engine_was_away_at(at):
        run.by = "engine"
    elif run.told == "stopped":
        # done for the person whose stop was lost: it is that person's
        mirror.echoed(found, "die", now)
    elif mirror.echoed(found, "die", now) or mirror.ended_by_dockmend(found.container.id, run, at):
        run.by = "dockmend"
    if run is found.kept.run:
        mirror.put(found, replace(found.container, state="exited", exit_code=run.code, health=""))
        found.kept.standing.pop("health", None)
    wait = LEFT_DOWN_WAIT if run.by == "engine" or mirror.engine_start.took_down(at) else patience
    await_cause(mirror, found, RunEnd(run=run, at=at, due=now + wait, origin=origin, blind=blind))
    return list(mirror.orphan_dependents(found.container, at, origin, "it ended"))


def await_cause(mirror: Mirror, found: ContainerRecord, end: RunEnd) -> None:
    if end not in found.ends:
        found.ends.append(end)
    mirror.later(end.due, lambda when: settle_due(mirror, found, end, when))


def heard_of(mirror: Mirror, found: ContainerRecord, run: ContainerRun, now: float) -> None:
    """The `die` of a run of whose end a look had told: the stream has caught up."""
    for end in found.ends:
        if end.run is run and run.by != "engine" and end.due > now + STOP_WAIT:
            end.due = now + STOP_WAIT
            await_cause(mirror, found, end)


def settle_due(mirror: Mirror, found: ContainerRecord, end: RunEnd, now: float) -> list[Change]:
    if end not in found.ends or end.held or end.due > now:
        return []
    if found.echo is not None and found.echo.tries(now) and found.container.id in mirror.entries:
        # Whether dockmend takes it away again or keeps it decides whose end this is.
        end.due = now + STOP_WAIT
        await_cause(mirror, found, end)
        return []
    # Not looked at yet: the engine does not answer. Either it will, and `observe` settles it, or it
    # is going down.
    return settle(mirror, found, end) if end.looked or end.run is not found.kept.run else []


def settle(mirror: Mirror, found: ContainerRecord, end: RunEnd) -> list[Change]:
    """The cause of an end, told once."""
    found.ends.remove(end)
    container, run = found.container, end.run
    mirror.changed.add(container.id)
    cause, recorded = judge(run, container, mirror.engine_start, blind=end.blind)
    counted = _counted_as(mirror, container) if cause == "unknown" else cause
    run.told = counted
    mirror.on_settled(container)
    runs_again = run is not found.kept.run
    if cause == "dockmend" or (cause == "left_down" and runs_again):
        return []
    recovered = runs_again and counted not in ("stopped", "completed")
    change = change_factory.of_end(
        container,
        end,
        cause,
        counted,
        runs_again=runs_again,
        recovered=recovered,
        recorded=recorded,
    )
    if counted == "left_down" and container.joined is not None:
        found.kept.standing["end"] = change
        why = (
            "it was left down with the engine, as was or may have been the container whose "
            "network it joined"
        )
        return [change, *conditions.orphan(mirror, found, end.at, end.origin, why)]
    if runs_again and _shows_a_loop(container, counted, end):
        return [change, *_restarted_by_engine(found, end, change.lasted)]
    if not runs_again and counted != "stopped":
        found.kept.standing["end"] = change
    return [change]


def _counted_as(mirror: Mirror, container: Container) -> str:
    """What the settings make of a cause that nobody knows."""
    if mirror.unknown_cause == "act":
        return "crashed"
    if mirror.unknown_cause == "leave":
        return "unknown"
    return "stopped" if container.restart_policy in ("always", "unless-stopped") else "crashed"


def _shows_a_loop(container: Container, counted: str, end: RunEnd) -> bool:
    """Whether the engine's own policy restarts what will end again: a failure, or a success that
    came at once."""
    if counted == "completed":
        return (
            container.restart_policy in ("always", "unless-stopped")
            and end.at - end.run.begun < SHORT_RUN
        )
    return counted in ("crashed", "oom_killed")


def _restarted_by_engine(found: ContainerRecord, end: RunEnd, lasted: float) -> list[Change]:
    kept = found.kept
    kept.restarts = [at for at in kept.restarts if end.at - at < LOOP_WITHIN] + [end.at]
    if len(kept.restarts) < LOOP_COUNT:
        kept.looping = False
        return []
    if kept.looping:
        return []
    kept.looping = True
    note = (
        f"the engine restarted it {len(kept.restarts)} times within {LOOP_WITHIN / 60:.0f} minutes"
    )
    return [
        change_factory.of_container(
            found, "container.restart_loop", end.at, "live", note=note, lasted=lasted
        )
    ]


def loops(mirror: Mirror, now: float) -> Iterator[Change]:
    """Of each container that the engine restarts again and again at present, that it does. `now`:
    wall seconds.

    What is told of its ends is over as soon as it runs again, so none of that stands for long.
    """
    for found in mirror.entries.values():
        times = (
            [at for at in found.kept.restarts if now - at < LOOP_WITHIN]
            if found.kept.looping
            else []
        )
        if len(times) >= LOOP_COUNT and now - times[-1] < LOOP_QUIET and found.container.running:
            note = (
                f"the engine restarted it {len(times)} times within {LOOP_WITHIN / 60:.0f} minutes"
            )
            yield change_factory.of_container(
                found, "container.restart_loop", times[0], "live", note=note
            )


def observed(
    mirror: Mirror, found: ContainerRecord, seen: Container, now: float, origin: Origin, blind: bool
) -> list[Change]:
    """What an inspect answer tells of runs: one that nobody heard of, an end that nobody heard
    of."""
    changes: list[Change] = []
    if not seen.started_at:  # never ran: what died was the attempt to start it
        found.ends.clear()
        found.kept.run.died_at = 0.0
        return changes
    if found.later(seen):
        run = found.kept.run
        later = run.part(seen.started_at)
        if later.over:
            _attribute_again(mirror, found, run, later)
        for end in found.ends:
            if end.run is run and later.over:
                end.run = later
        if run.begun and not run.over:
            # The events are lost, or still on their way: then they find their run by its time.
            changes += over(
                mirror, found, run, max(run.begun, min(now, seen.started_at)), now, origin, blind
            )
        changes += begin(mirror, found, now, origin, later)
    run = found.kept.run
    run.started_at = seen.started_at
    if not seen.running or seen.state == "restarting":
        if not run.over:
            # Where events were lost, none will come.
            patience = STOP_WAIT if blind else UNHEARD_WAIT
            changes += over(
                mirror, found, run, max(run.begun, seen.finished_at), now, origin, blind, patience
            )
        if seen.exit_code is not None:
            run.code = seen.exit_code
        if blind and seen.exit_code == LOST_CODE and mirror.engine_kept_containers:
            run.by = "engine"
    return changes


def _attribute_again(
    mirror: Mirror, found: ContainerRecord, run: ContainerRun, later: ContainerRun
) -> None:
    """An end that was taken for that of `run` is that of `later`, whose start nobody heard.

    What dockmend asked for before its own start ended `run`. It cannot have ended a run that began
    after that: a restart's own, which a person may have stopped since.
    """
    container_id, at = found.container.id, later.died_at
    later.handled = mirror.handled(container_id, later)
    taken = later.by == "dockmend" and mirror.ended_by_dockmend(container_id, run, at)
    if taken and not mirror.ended_by_dockmend(container_id, later, at):
        later.by = ""


def recorded(
    mirror: Mirror, found: ContainerRecord, seen: Container, signalled: bool | None
) -> None:
    """What the engine's own record tells of the run in hand, beside an inspect answer."""
    run = found.kept.run
    if (
        signalled is None
        or not seen.started_at
        or seen.started_at != run.started_at
        or seen.state == "restarting"
    ):
        return
    if seen.running:
        if signalled and not run.outlived:
            run.outlived = True
            mirror.changed.add(found.container.id)
    elif (signalled or not seen.error) and run.signalled is not signalled:
        # A start that failed since clears it.
        run.signalled = signalled
        mirror.changed.add(found.container.id)


LOST_CODE = 255
"""What a new engine says of a container that ended while no engine was there (live-restore)."""


def look_ends(
    mirror: Mirror, found: ContainerRecord, seen: Container, now: float, blind: bool
) -> list[Change]:
    """An inspect answer after ends: those whose time has come are settled."""
    changes: list[Change] = []
    for end in list(found.ends):
        end.looked = True
        end.blind = end.blind or blind
        end.held = end.run is found.kept.run and seen.state == "restarting"
        if not end.held:
            changes += settle_due(mirror, found, end, now)
    return changes


def removed(
    mirror: Mirror, found: ContainerRecord, at: float, now: float, origin: Origin
) -> list[Change]:
    """It is gone: there is nothing to look at any more."""
    changes: list[Change] = []
    run = found.kept.run
    if run.begun and not run.over:
        changes += over(mirror, found, run, at, now, origin, blind=True)
    for end in found.ends:
        end.looked, end.held = True, False
        if end.due <= now:
            await_cause(mirror, found, end)  # held until now: its own timer has passed
    mirror.on_container(found.container, None)
    mine = mirror.echoed(found, "destroy", now) or found.container.id in mirror.taken_away
    if not mine and conditions.is_missed(mirror, found) and not _removed_itself(mirror, found):
        mirror.identities.removed_by_somebody(found.container.id)
    if not found.container.auto_remove and run.by != "dockmend" and not mine:
        found.kept.removed_at = at
        conditions.await_successor(mirror, found, origin)
    return changes


def _removed_itself(mirror: Mirror, found: ContainerRecord) -> bool:
    """Whether the engine removed it since it had ended (`--rm`), and nobody had asked for that."""
    cause, _ = judge(found.kept.run, found.container, mirror.engine_start, blind=False)
    return found.container.auto_remove and cause != "stopped"
