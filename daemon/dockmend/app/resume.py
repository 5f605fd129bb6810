"""Resume: reads from the journal what was known, open and half done when the last dockmend
ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
from msgspec.structs import replace

from dockmend.action_traits import STARTING
from dockmend.decide import History
from dockmend.errors import EngineError, JournalError
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import ActionRecord, Incident, Pause
from dockmend.mirror import Mirror
from dockmend.pipeline import expected_ends, successors
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.incidents import ANSWERED_KEPT, Incidents
from dockmend.pipeline.reconciler import Reconciler
from dockmend.pipeline.step_runner import WITHIN
from dockmend.rules.action_catalogue import changes_something
from dockmend.timekeeping import Clock, Stamp

log = structlog.get_logger("dockmend")

HISTORY = 7 * 86400.0
"""Seconds for which it is kept what limits count, and for which a start knows what was answered:
more than any window a rule is likely to name."""
DAY = 86400.0
"""Seconds of it that a start brings back to memory, or more where a rule in force looks further
back."""
UNHEARD = 60.0
"""Seconds before the last event that was read within which an action's events may not have been
read."""
CONTAINER, NETWORK, CURSOR, SCHEDULE, STAMP = (
    "container/",
    "network/",
    "cursor",
    "schedule/",
    "stamp",
)
IDENTITY = "identity/"


async def nothing_more(incident_id: str) -> None:
    """Where nobody waits for what was settled."""


@dataclass(slots=True)
class Known:
    """What the journal says was last known. `moved`: seconds to add to its times, to compare them
    with this run's."""

    cursor: EventCursor = field(default_factory=EventCursor)
    fired: dict[str, float] = field(default_factory=dict)
    moved: float = 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """Brings times of the journal to those of this run: none of what was lies ahead."""

    moved: float
    now: float

    def past(self, at: float) -> float:
        return min(at + self.moved, self.now)

    def incident(self, incident: Incident) -> Incident:
        """What it waits for comes after as long as was left, also where the clock went back
        unseen."""
        back = self.moved + min(0.0, self.now - incident.updated_at - self.moved)
        due_at = incident.due_at + back if incident.due_at is not None else None
        return replace(
            incident,
            opened_at=self.past(incident.opened_at),
            updated_at=incident.updated_at + back,
            due_at=due_at,
        )

    def pause(self, pause: Pause) -> Pause:
        back = self.moved + min(0.0, self.now - pause.at - self.moved)
        return replace(
            pause, at=pause.at + back, until=pause.until + back if pause.until is not None else None
        )


async def history_of(journal: Journal, times: Times, looks_back: float = HISTORY) -> History:
    """What the limits ask about, from the journal. `looks_back`: how far, in seconds."""
    history, since = History(), times.now - max(DAY, looks_back) - abs(times.moved)
    async for rule, target, began_at in journal.recent_attempts(since):
        history.attempted(rule, target, times.past(began_at), actions=0)
    async for began_at, action in journal.recent_steps(since):
        if changes_something(action):
            history.acted(times.past(began_at))
    async for target, object_id in journal.treated(since):
        history.tried[target] = object_id
    async for rule, target, ended_at in journal.cooldowns(since):
        history.of(rule, target).ended_at = times.past(ended_at)
    for breaker in await journal.breakers():
        mine = history.of(breaker.rule, breaker.target)
        mine.breaker_at, mine.breaker_reason = times.past(breaker.opened_at), breaker.reason
        mine.healed_at = times.past(breaker.healed_at) if breaker.healed_at is not None else None
    return history


async def known_state(journal: Journal, mirror: Mirror, clock: Clock) -> Known:
    """Fills the mirror with the last known state; returns the rest."""
    told = Known()
    for key, value in (await journal.known()).items():
        try:
            if key.startswith(CONTAINER):
                mirror.restore(value)
            elif key.startswith(NETWORK):
                mirror.defined.restore(key.removeprefix(NETWORK), value)
            elif key.startswith(IDENTITY):
                mirror.identities.restore(key.removeprefix(IDENTITY), value)
            elif key == CURSOR:
                told.cursor = msgspec.msgpack.decode(value, type=EventCursor)
            elif key == STAMP:
                told.moved = clock.moved_since(msgspec.msgpack.decode(value, type=Stamp))
            elif key.startswith(SCHEDULE):
                told.fired[key.removeprefix(SCHEDULE)] = msgspec.msgpack.decode(value, type=float)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            log.warning(
                "a piece of last known state is of another version and is left out",
                id="state_of_other_version",
                key=key,
            )
    if told.moved:
        log.warning(
            "the clock was set since dockmend last ran: what waits goes by what elapsed",
            id="clock_set_between_runs",
            seconds=told.moved,
        )
        mirror.clock_set(told.moved)
    return told


async def tell_own_doing(journal: Journal, mirror: Mirror, known: Known) -> None:
    """What dockmend itself did before it ended: what it stopped, no person did; what it took out of
    a network is not lost. Of incidents that are still open, and of those that were closed when the
    stream was last read or later.

    To be told before the stream is read, which brings the events of it.
    """
    heard_until = known.cursor.time_ns / 1e9
    closed = await journal.recent_incidents(heard_until - UNHEARD) if heard_until else []
    for incident in [*await journal.open_incidents(), *closed]:
        story = await journal.story(incident.id)
        for record in story[1] if story is not None else ():
            successors.replay(mirror, record)
            if record.action == "remove" and record.undo and record.outcome in (None, "done"):
                mirror.taken_away.add(record.object_id)
            if record.outcome is None and (left := record.undo.get("disconnect")) is not None:
                mirror.left(record.object_id, str(left))
            if record.outcome is None and record.action in STARTING:
                at, seen = record.began_at + known.moved, mirror.container(record.object_id)
                if seen is None or seen.started_at < at:  # else it is known to have begun
                    mirror.asks(record.object_id, at)
            if record.attempt == incident.attempts:
                expected_ends.tell(mirror, record, known.moved)


async def take_up(
    journal: Journal,
    incidents: Incidents,
    reconciler: Reconciler,
    times: Times,
    *,
    shadow: bool = False,
    settled: Callable[[str], Awaitable[None]] = nothing_more,
) -> None:
    """Open incidents come back: half-done ones at once, waiting ones when they are due.

    `shadow`: nothing acts. What a dockmend that acts has left open stays as it is in the journal,
    until one that acts takes it up. `settled` is told of a closed incident of which every step was
    looked after.
    """
    actions: dict[str, list[ActionRecord]] = {}
    for record in await journal.open_actions():
        actions.setdefault(record.incident, []).append(
            replace(record, began_at=times.past(record.began_at))
        )
    left_open = await journal.open_incidents()
    closed_ids = actions.keys() - {each.id for each in left_open}
    # before what is begun in the same lanes
    for incident_id in sorted(closed_ids) if not shadow else ():
        if (story := await journal.story(incident_id)) is not None:
            records = sorted(actions[incident_id], key=lambda each: each.part not in WITHIN)
            _settle_alone(reconciler, story[0], records, settled)
    for told in left_open:
        if shadow and not told.dry_run:
            actions.pop(told.id, None)
            log.info(
                "left open, since this is a dry run",
                id="incident_left_open",
                incident=told.id,
                rule=told.rule,
                object=told.object_name,
            )
            continue
        incident = times.incident(told)
        incidents.adopt(incident)
        records = actions.pop(incident.id, [])
        if records or incident.state != "waiting":
            log.info(
                "taking up what was open",
                id="incident_resumed",
                incident=incident.id,
                rule=incident.rule,
                object=incident.object_name,
            )
        story = await journal.story(incident.id) if incident.attempts else None
        past = [
            replace(each, began_at=times.past(each.began_at))
            for each in (story[1] if story is not None else ())
        ]
        reconciler.take_up(incident, records, past)
    successors.Successors(reconciler.mirror, incidents).follow()
    async for closed in journal.closed_incidents(
        times.now - HISTORY - abs(times.moved), ANSWERED_KEPT
    ):
        rule = reconciler.rules.named(closed.rule)
        if closed.outcome == "dry_run" and not shadow and rule is not None and not rule.dry_run:
            continue  # it was only said what would be done, and now it may be done
        if closed.reason_code in ("owner", "owner_stopped"):
            # an owner that was given up may be back: who is orphaned still, is offered anew
            continue
        # thousands share one text
        known = closed if rule is None else closed._replace(rule=rule.name)
        incidents.remember(known)
        if _may_stand(reconciler.mirror, closed.target):
            incidents.remember_outcome(known)


def _may_stand(mirror: Mirror, target: str) -> bool:
    """Whether a trouble of a target can stand: of a container that is gone none does, and their
    names have no end."""
    of_container = target.partition(":")[0] in ("container", "compose", "service")
    return not of_container or mirror.of_target(target) is not None


def _settle_alone(
    reconciler: Reconciler,
    incident: Incident,
    records: Sequence[ActionRecord],
    settled: Callable[[str], Awaitable[None]],
) -> None:
    """Steps of an incident that is closed, in the lane of its target.

    The engine may be at such a step for a whole stop timeout, and a job of the action `run` for
    hours: that cannot be cut, as what is begun meanwhile would meet it. So the target waits for it,
    and nothing else does.
    """

    async def settle() -> None:
        try:
            for record in records:
                if not reconciler.stopping:
                    await _settle_one(reconciler, incident, record)
        finally:
            reconciler.incidents.recovery.discard(incident.id)
        await settled(incident.id)

    reconciler.incidents.recovery.add(incident.id)
    reconciler.lanes.submit(incident.target, settle)


async def _settle_one(reconciler: Reconciler, incident: Incident, record: ActionRecord) -> None:
    try:
        await reconciler.steps.settle(record, incident, None)
        if record.object_id in reconciler.steps.owed:
            await reconciler.attempt_runner.stop_what_was_stopped(
                incident, None, record.object_id, closes=False
            )
    except (EngineError, JournalError) as error:
        log.warning(
            "an interrupted action could not be settled: the next start tries it again",
            id="action_not_settled", action=record.action,
            error=str(error),
        )  # fmt: skip
