"""Runs one step: the intent goes to disk, then the action runs, then its outcome is on its way to
disk.

Between intent and outcome the mirror expects the events of the action, so they trigger nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec.structs import replace

from dockmend import redaction
from dockmend.action_traits import LONG, SIGNALLING, STARTING, STOPPING
from dockmend.actions.action import (
    REGISTRY,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Messenger,
    Nobody,
    Notice,
    Settled,
    Teller,
)
from dockmend.actions.containers_recovery import patiently
from dockmend.actions.notify_publish_wait import TOLD
from dockmend.decide import begins_a_task
from dockmend.engine.engine_api import Engine
from dockmend.errors import (
    EngineAway,
    EngineError,
    JournalError,
    NotFound,
    Permanent,
    Temporary,
    lacking,
)
from dockmend.guards import Guards
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror import Mirror
from dockmend.mirror.expectations import MAKES, Expectation
from dockmend.model import Container, Object
from dockmend.observer import Observer
from dockmend.ownership import Ownership
from dockmend.pipeline import expected_ends
from dockmend.pipeline.guests import Guests
from dockmend.pipeline.incidents import Incidents, change_of, new_id
from dockmend.pipeline.successors import Successors
from dockmend.rules.fields import field_values
from dockmend.rules.rule import Rule, Step, Verify
from dockmend.rules.templates import compile_template
from dockmend.timekeeping import Clock

log = structlog.get_logger("dockmend.treatment")

TIMEOUT = 300.0
"""Seconds a step may take where the rule says nothing."""
LONG_TIMEOUT = 3600.0
"""The same for those that copy what may be large, or wait for a health check."""


TOLD_WITHIN, TOLD_LOOKS = 1.0, 50
"""Seconds within which the stream has told of a run that inspect shows, and how often that is asked
meanwhile."""
STOPS, STOP_RETRY = 5, 2.0
"""How often a person's stop that a restart swallowed is asked for again, and seconds in between."""
RESTART_TOLD = 0.5
"""Seconds within which the stream has told that what looked like a person's stop was a restart."""

Part = Literal["then", "finally", "escalate", "after", "member", "guests"]


_OF_RULE: tuple[Part, ...] = ("then", "finally", "escalate")
WITHIN: tuple[Part, ...] = ("member", "after")
"""Parts that belong to another step, which goes on from what became of them."""


@dataclass(slots=True)
class Intent:
    """An intent and what was remembered of it so far: what it takes to put right what is left
    half-done. `written`: some of it is on disk, and the engine was asked for something since;
    `echoes`: what is expected to be heard of its target and of containers that its action made or
    set right, by id; `asked_at`: when the engine was last to be asked for something, by the clock
    that cannot be set and by the wall's."""

    record: ActionRecord
    written: bool = False
    echoes: dict[str, Expectation] = field(default_factory=dict)
    asked_at: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class StepExpectations:
    """Opens what a step expects of other containers than its target; they close with the step."""

    mirror: Mirror
    clock: Clock
    intent: Intent

    def open(self, container_id: str, *, on_trial: bool = False) -> None:
        self.intent.echoes[container_id] = self.mirror.expect_made(
            container_id, self.intent.record.action, on_trial=on_trial
        )
        self.mirror.asks(container_id, self.clock.wall())

    def take_away(self, container_id: str) -> None:
        self.intent.echoes[container_id] = self.mirror.expect_taken_away(
            container_id, self.intent.record.action
        )


class StepFailed(Exception):
    """`again` False: another attempt cannot help; `may_come`: the engine may still do it. The text
    is for a person."""

    def __init__(self, detail: str, again: bool = True, may_come: bool = False) -> None:
        super().__init__(detail)
        self.again = again
        self.may_come = may_come


async def nothing_kept(container_id: str) -> Mapping[str, Any] | None:
    """Where no definitions are kept."""
    return None


@dataclass(slots=True)
class StepRunner:
    """Runs and settles single steps. The mirror, people and the engine's stamps go by the wall
    clock."""

    engine: Engine
    own: Ownership
    mirror: Mirror
    journal: Journal
    incidents: Incidents
    observer: Observer
    guards: Guards
    teller: Teller
    state: Path
    bind_roots: tuple[Path, ...]
    host: str
    clock: Clock
    definition: Callable[[str], Awaitable[Mapping[str, Any] | None]] = nothing_kept
    messenger: Messenger = field(default_factory=Nobody)
    # puts what is known of a container on disk
    keep: Callable[[str], None] = lambda container: None
    put_identities: Callable[[], None] = lambda: None  # puts on disk what was learnt of who is who
    unsettled: dict[str, list[ActionRecord]] = field(default_factory=dict)
    """By incident: intents whose outcome is not known; several where a group was cut short."""
    owed: dict[str, ActionRecord] = field(default_factory=dict)
    """By container: restarts that undid a person's stop. Their records stay open until the stop's
    own is on its way to disk, so that a dockmend that dies in between is followed by one that looks
    again."""
    claims: set[str] = field(default_factory=set)  # references under which an image is being made
    reserve: int | None = None  # the setting `snapshots.reserve`
    living: Guests = field(init=False)  # what lives in the namespaces of what steps are done to

    def __post_init__(self) -> None:
        self.living = Guests(self.mirror, self.guards)

    async def run(
        self,
        incident: Incident,
        rule: Rule,
        step: Step,
        subject: Object | None,
        part: Part = "then",
        began_at: float | None = None,
    ) -> tuple[ActionRecord, Expectation | None]:
        """Raises StepFailed; JournalError where nothing was done, since it could not be written
        down; EngineAway where the engine went away in the middle (the record then stays open until
        it is settled).

        `began_at`: when the limits counted it, if they did. The record says the same: were it
        milliseconds later, who counts in the journal would find one more in a window than the
        limits allow.
        """
        if forbidden := self.guards.forbidden_step((step,)):
            raise StepFailed(f"{step.action}: {forbidden.reason}", again=False)
        return await self.carry_out(
            incident, rule, step, await self._target(step, subject), part, began_at
        )

    async def carry_out(
        self,
        incident: Incident,
        rule: Rule | None,
        step: Step,
        subject: Object | None,
        part: Part,
        began_at: float | None = None,
    ) -> tuple[ActionRecord, Expectation | None]:
        """The same, without asking what the policy allows: for what finishes a person's own
        doing."""
        record, echo, _ = await self._do(incident, rule, step, subject, part, began_at)
        return record, echo

    async def _do(
        self,
        incident: Incident,
        rule: Rule | None,
        step: Step,
        subject: Object | None,
        part: Part,
        began_at: float | None = None,
    ) -> tuple[ActionRecord, Expectation | None, ActionResult]:
        action = self._action(step, subject)
        self.incidents.backlog.catch_up()
        intent = Intent(self._intent(incident, step, subject, part, began_at))
        self._written(intent.record)
        self.observer.action(intent.record)
        # On disk it is once the action has awaited `remember`, which each does before its first
        # change: one commit.
        touched = (
            subject
            if isinstance(subject, Container) and not step.tells and action.touches
            else None
        )
        could_undo = touched is not None and self._could_undo_a_stop(step, touched)
        echo = self._expect(intent, touched) if touched is not None else None
        if part in _OF_RULE:
            self.living.note(incident.id, step, subject)
        try:
            done = await self._call(action.run, intent, incident, rule, step, subject)
            took = self._took(intent)
            if could_undo or (touched is not None and self._undoes_a_stop(step, touched)):
                await self._look_for_a_stop(replace(intent.record, detail=done.detail), took)
        except StepFailed as error:
            self._refused(intent, error)
            raise
        except JournalError as error:
            # in the middle of it: what became of it is found out, as after a death
            if intent.written:
                self._cut_short(intent.record)
            else:
                # The intent is pending all the same, and will be written once the disk takes it:
                # with its true end.
                untouched = replace(intent.record, untouched=True)
                self._end(untouched, "interrupted", f"nothing was done unwritten: {error}")
            raise
        except EngineAway:
            self._cut_short(intent.record)
            raise
        except asyncio.CancelledError:
            # the group's time is up: what became of this one is found out before it goes on
            if part in WITHIN:
                self._cut_short(intent.record)
            raise
        finally:
            if touched is not None:
                self._note_leaving(touched.id, intent.record)
            self._heard_out(intent)
        self._noted(incident, intent.record, done.facts)
        self._note_snapshots(step, done)
        if (owed := self.owed.get(intent.record.object_id)) is not None:
            return owed, echo, done
        return self._end(intent.record, "done", done.detail), echo, done

    def _could_undo_a_stop(self, step: Step, touched: Container) -> bool:
        """Whether a step begins a run after one that a person can stop meanwhile, or could as
        dockmend stopped it: what is told of that may still be on its way. What nobody stopped and
        does not run cannot be stopped: the engine answers that it is so already, and nothing tells
        of it."""
        return step.action in STARTING and (touched.running or self.mirror.was_to_stop(touched.id))

    def _undoes_a_stop(self, step: Step, touched: Container) -> bool:
        """The same, told only since the step began. A stop for that person is no such step, though
        its end may be told of after its answer."""
        return step.action in STARTING and self.mirror.owes_a_stop(touched.id)

    def _action(self, step: Step, subject: Object | None) -> Action:
        """Raises StepFailed if it may not be done to this object."""
        action = REGISTRY.get(step.action)
        if action is None:
            raise StepFailed(f"{step.action}: not yet in this version", again=False)
        if not step.tells and (forbidden := self.guards.forbids(subject)):
            raise StepFailed(f"{step.action}: {forbidden.reason}", again=False)
        if forbidden := begins_a_task((dataclasses.replace(step, target=None),), subject):
            raise StepFailed(f"{step.action}: {forbidden.reason}", again=False)
        if not step.tells and subject is None:
            raise StepFailed(f"{step.action}: there is no object to do it to", again=False)
        return action

    def owes_no_more(self, container_id: str) -> None:
        """A stop that was owed cannot be done again, or need not."""
        owes = self.owed.pop(container_id, None)
        if owes is not None:
            self._end(owes, "done", owes.detail)

    def _written(self, record: ActionRecord) -> None:
        """An intent goes to disk; with that of a stop that was owed, the restart that owed it is
        over."""
        owes = self.owed.pop(record.object_id, None) if record.part == "after" else None
        try:
            self.journal.put_action(record)
        except JournalError:
            if owes is not None:
                self.leave_unsettled(owes)
            raise
        if owes is not None:
            self._end(owes, "done", owes.detail)

    def _took(self, intent: Intent) -> float | None:
        """Seconds from a restart's call to its answer, as the wall's clock or the one that cannot
        be set tells more; None of anything else."""
        if intent.asked_at is None or intent.record.action != "restart":
            return None
        since, wall = intent.asked_at
        return max(self.clock() - since, self.clock.wall() - wall)

    async def _look_for_a_stop(self, record: ActionRecord, took: float | None = None) -> None:
        """A person's stop during a restart is lost: the engine goes on. What became of the run
        before, the stream has told once it tells of the run that inspect shows. Raises EngineAway
        if the engine gives no answer; the record then stays open. `took`: seconds from its call to
        its answer."""
        try:
            seen = await self.engine.inspect(record.object_id)
        except NotFound:
            return
        except EngineAway:
            raise
        except EngineError as error:
            raise EngineAway(str(error)) from error
        await self._told_of(seen)
        if took is not None:
            self.mirror.restart_took(record.object_id, took)
        if self.mirror.owes_a_stop(record.object_id):
            self.owed[record.object_id] = record

    async def _told_of(self, seen: Container) -> None:
        for _ in range(TOLD_LOOKS):
            if self.mirror.announced(seen):
                break
            await asyncio.sleep(TOLD_WITHIN / TOLD_LOOKS)

    async def _owes_still(self, container_id: str) -> bool:
        """A person's restart may have overlapped: that is no stop, and is told of once it is
        over."""
        for _ in range(TOLD_LOOKS):
            if not self.mirror.owes_a_stop(container_id):
                self.owes_no_more(container_id)
                return False
            await asyncio.sleep(RESTART_TOLD / TOLD_LOOKS)
        return True

    def _expect(self, intent: Intent, touched: Container) -> Expectation | None:
        echo = self.mirror.expect(touched.id, intent.record.action)
        if echo is not None:
            echo.asked = False
            intent.echoes[touched.id] = echo
        return echo

    def _refused(self, intent: Intent, error: StepFailed) -> None:
        echo = intent.echoes.get(intent.record.object_id)
        asked = echo is not None and echo.asked
        if (
            asked
            and intent.record.action in STOPPING
            and not self.mirror.stopped(intent.record.object_id)
        ):
            # of a call that failed halfway no `stop` is told
            self.mirror.signals(intent.record.object_id)
        if intent.record.action in STARTING and not error.may_come:
            self.mirror.asks(intent.record.object_id, None)
        self._note_left_down(intent.record)
        self._end(intent.record, "failed", str(error))

    def _asks(self, intent: Intent) -> None:
        """From now on the engine may be asked for a run of its target, and of what it has made."""
        record = intent.record
        before = record.undo.get(record.action)
        undo = before if isinstance(before, dict) else {}
        stage = undo.get("step")
        intent.asked_at = self.clock(), self.clock.wall()
        if stage == MAKES:
            return
        for echo in intent.echoes.values():
            echo.asked = True
        if record.action in STOPPING and stage in (None, "stop"):
            patience = float(undo.get("stop_timeout") or 0.0)
            again = record.action == "restart"
            self.mirror.asks_to_stop(record.object_id, record.id, again=again, patience=patience)
        if record.action in SIGNALLING:
            self.mirror.signals(record.object_id)
        if intent.record.action in STARTING:
            self.mirror.asks(intent.record.object_id, self.clock.wall())
        for container_id in intent.echoes.keys() - {intent.record.object_id}:
            if not self.mirror.ran(container_id):
                self.mirror.asks(container_id, self.clock.wall())

    def _heard_out(self, intent: Intent) -> None:
        for container_id in intent.echoes:
            self.mirror.expected(container_id, self.clock.wall())

    def _noted(self, incident: Incident, record: ActionRecord, facts: Mapping[str, Any]) -> None:
        """What is verified in the end, whose end is a person's, and which networks dockmend gave
        back."""
        if (
            record.action == "restart_dependents"
            and (now := self.incidents.open.get(incident.id)) is not None
        ):
            members = (
                *now.members,
                *(each for each in facts.get("members", ()) if each not in now.members),
            )
            self.incidents.update(incident.id, members=members)
        self._note_left_down(record)
        for container, networks in facts.get("reconnected", {}).items():
            for network in networks:
                self.mirror.reconnected(container, network, self.clock.wall())
        if facts.get("stopped"):
            successor = self.mirror.container(facts["successor"])
            if successor is None or not successor.running:  # else a person has begun it again
                self.mirror.stopped_by_person(facts["successor"])

    def _note_left_down(self, record: ActionRecord) -> None:
        """Who was stopped for a project's restart and does not run after it is this incident's to
        bring back."""
        group, now = record.undo.get("compose"), self.incidents.open.get(record.incident)
        if record.action != "compose_restart" or not isinstance(group, dict) or now is None:
            return
        down = [
            each
            for each in group["began"]
            if each not in now.members and self.mirror.taken_down(each)
        ]
        if down:
            self.incidents.update(now.id, members=(*now.members, *down))

    def _note_leaving(self, container: str, record: ActionRecord) -> None:
        """What a rule takes out of a network is not lost: known on disk before the outcome is."""
        if (network := record.undo.get("disconnect")) is not None:
            self.mirror.left(container, str(network))
            self.keep(container)

    def _note_snapshots(self, step: Step, done: ActionResult) -> None:
        if step.action == "snapshot_volume":
            for each in done.facts.get("snapshots", ()):
                self.observer.snapshot(each["volume"], each["bytes"], self.clock.wall())

    async def _call(
        self,
        run: Any,
        intent: Intent,
        incident: Incident,
        rule: Rule | None,
        step: Step,
        subject: Object | None,
    ) -> ActionResult:
        timeout = step.timeout or (LONG_TIMEOUT if step.action in LONG else TIMEOUT)
        context = self._context(intent, incident, rule, subject, timeout)
        secrets = secrets_of(step.params, context.render, incident)
        try:
            async with asyncio.timeout(timeout):
                result = await run(context, step.params, subject)
        except ActionFailed as error:
            raise StepFailed(
                f"{step.action}: {redaction.text(str(error), secrets)}", error.again
            ) from None
        except EngineAway:
            raise
        except EngineError as error:
            said = redaction.text(str(error), secrets)
            raise StepFailed(f"{step.action}: {said}", not isinstance(error, Permanent)) from None
        except TimeoutError:
            raise StepFailed(
                f"{step.action}: not done within {timeout:g} s", may_come=True
            ) from None
        except (OSError, MemoryError, RuntimeError) as error:
            if (lacks := lacking(error)) is None:
                raise
            raise StepFailed(f"{step.action}: {lacks}") from None
        assert isinstance(result, ActionResult)
        return dataclasses.replace(result, detail=redaction.text(result.detail, secrets))

    def _cut_short(self, record: ActionRecord) -> None:
        self.leave_unsettled(record)
        expected_ends.tell(
            self.mirror, replace(record, began_at=self.clock.wall_at(record.began_at))
        )

    def leave_unsettled(self, record: ActionRecord) -> None:
        mine = self.unsettled.setdefault(record.incident, [])
        if all(each.id != record.id for each in mine):  # a start that was cut short is made again
            mine.append(record)

    async def _part(
        self, incident: Incident, rule: Rule | None, action: str, params: Any, subject: Container
    ) -> ActionResult:
        """A step within a step: done to a member of a group, with an intent and an outcome of its
        own."""
        step = Step(action, params=params)
        if forbidden := self.guards.forbidden_step((step,)):
            raise ActionFailed(f"{subject.name}: {forbidden.reason}", again=False)
        try:
            _, _, done = await self._do(incident, rule, step, subject, "member")
            undone = subject.id in self.owed and await self._owes_still(subject.id)
            if undone and await self._stop_again(incident, rule, subject):
                return ActionResult(
                    f"{done.detail}; stopped by a person meanwhile, and so stopped again"
                )
        except StepFailed as error:
            raise ActionFailed(f"{subject.name}: {error}", error.again) from None
        except asyncio.CancelledError:
            if (owes := self.owed.pop(subject.id, None)) is not None:
                self.leave_unsettled(owes)
            raise
        return done

    async def _stop_again(self, incident: Incident, rule: Rule | None, member: Container) -> bool:
        """Ends a member's run for a person whose stop its restart undid; False if somebody has
        begun another run since. Raises StepFailed if the engine goes on refusing."""
        for left in reversed(range(STOPS)):
            try:
                await self._do(incident, rule, Step("stop", params=None), member, "after")
                break
            except StepFailed as error:
                if not left or not error.again:
                    log.warning(
                        "a stop was lost",
                        id="person_stop_lost",
                        container=member.name,
                        why=str(error),
                    )
                    raise
            await asyncio.sleep(STOP_RETRY)
            if not self.mirror.owes_a_stop(member.id):
                seen = self.mirror.container(member.id)
                if seen is None or seen.running:
                    return False
                break  # refused, and done all the same
        self.mirror.stopped_by_person(member.id)
        return True

    async def _obey(
        self, incident: Incident, rule: Rule | None, member: Container, since: float
    ) -> bool:
        """See ActionContext.obey."""
        try:
            seen = await patiently(lambda: self.engine.inspect(member.id))
        except NotFound:
            return False
        await self._told_of(seen)
        return self.mirror.undoes_a_stop(seen, since) and await self._stop_again(
            incident, rule, seen
        )

    async def settle(self, record: ActionRecord, incident: Incident, rule: Rule | None) -> Settled:
        """What became of an intent without an outcome; puts right what it left half-done, and
        closes its record."""
        action = REGISTRY.get(record.action)
        if action is None:
            settled = Settled(done=False, detail="this version does not know the action")
        else:
            intent = Intent(record)
            told = replace(record, began_at=self.clock.wall_at(record.began_at))
            try:
                settled = await action.settle(self._context(intent, incident, rule, None), told)
                if settled.done and record.action == "restart":
                    await self._look_for_a_stop(replace(intent.record, detail=settled.detail))
            except (OSError, MemoryError, RuntimeError) as error:
                if (lacks := lacking(error)) is None:
                    raise
                raise Temporary(f"{record.action}: {lacks}") from None
            finally:
                self._heard_out(intent)
            self._noted(incident, record, settled.facts)
            if record.action == "remove" and not settled.done:
                self.mirror.taken_away.discard(record.object_id)
            for container_id in {record.object_id, *intent.echoes}:
                # what settling itself began may still come
                if not (settled.done and container_id in intent.echoes):
                    self.mirror.asks(container_id, None)  # what it began before was listed by now
        if settled.facts.get("stopped_by_person"):
            self.mirror.stopped_by_person(record.object_id)
        if record.object_id in self.owed:
            return settled
        ended = replace(record, untouched=settled.untouched)
        self._end(ended, "done" if settled.done else "interrupted", settled.detail)
        return settled

    def _intent(
        self,
        incident: Incident,
        step: Step,
        subject: Object | None,
        part: Part,
        began_at: float | None,
    ) -> ActionRecord:
        return ActionRecord(
            id=new_id("a", self.clock(), self.incidents.dice),
            incident=incident.id,
            rule=incident.rule,
            target=incident.target,
            attempt=incident.attempts,
            action=step.action,
            object_id=getattr(subject, "id", "") or getattr(subject, "name", ""),
            object_name=getattr(subject, "name", ""),
            params=redaction.parameters(parameters(step.params)),
            began_at=self.clock() if began_at is None else began_at,
            part=part,
        )

    def _end(self, record: ActionRecord, outcome: Any, detail: str) -> ActionRecord:
        record = replace(
            record, ended_at=self.clock(), outcome=outcome, detail=redaction.text(detail)
        )
        self.incidents.backlog.write(("action", record.id), self.journal.put_action, record)
        self.observer.action(record)
        return record

    def _context(
        self,
        intent: Intent,
        incident: Incident,
        rule: Rule | None,
        subject: Object | None,
        timeout: float = TIMEOUT,
    ) -> ActionContext:
        async def remember(undo: Mapping[str, Any]) -> None:
            intent.record = replace(intent.record, undo={**intent.record.undo, **undo})
            self.put_identities()
            self.journal.put_action(intent.record)
            await self.journal.committed()
            intent.written = True
            self._asks(intent)

        def mark(channels: tuple[str, ...]) -> None:
            noted = replace(intent.record, undo={**intent.record.undo, TOLD: list(channels)})
            self.journal.put_action(noted)
            intent.record = noted

        def tell(text: str, title: str | None, to: tuple[str, ...] | None) -> ActionResult:
            now = self.incidents.open.get(incident.id, incident)
            return self.messenger.tell(now, Notice(text, title, to, fill, mark))

        def fill(text: str, quoted: Callable[[str], str] = str) -> str:
            values = field_values(
                change_of(incident, subject), rule, incident.id, self.clock.wall(), self.host
            )
            return compile_template(text).render(values, quoted)

        def forbids(other: Object) -> str | None:
            if (verdict := self.guards.forbids(other)) is not None:
                return verdict.reason
            one_off = (
                isinstance(other, Container)
                and other.one_off
                and not (rule is not None and rule.match.one_off)
            )
            return "it is a Compose one-off" if one_off else None

        def asks(guest: Container) -> bool:
            return rule is None or rule.wanted_with(guest, self.mirror.owners(guest))

        def found_down(container_id: str) -> None:
            self.mirror.found_down(container_id, intent.record.id)

        async def obey(member: Container, since: float) -> bool:
            return await self._obey(incident, rule, member, since)

        async def part(action: str, params: Any, member: Container) -> ActionResult:
            return await self._part(incident, rule, action, params, member)

        return ActionContext(
            engine=self.engine, own=self.own, view=self.mirror, teller=self.teller,
            incident=incident, clock=self.clock.from_here(), state=self.state,
            bind_roots=self.bind_roots, reserve=self.reserve, render=fill, remember=remember,
            timeout=timeout, definition=self.definition, forbids=forbids,
            expectations=StepExpectations(self.mirror, self.clock, intent),
            part=part,
            found_down=found_down, asks=asks, obey=obey, tell=tell,
            verify=rule.verify if rule else Verify(), claims=self.claims,
            heir=Successors(self.mirror, self.incidents).succeed,
        )  # fmt: skip

    async def _target(self, step: Step, subject: Object | None) -> Object | None:
        if step.target is None:
            return subject
        for container in self.mirror.containers():
            if step.target.name is not None and container.name == step.target.name:
                return await self.engine.inspect(container.id)
            label = step.target.label
            if (
                label is not None
                and container.labels.get(label[0]) == label[1]
                and not container.one_off
            ):
                return await self.engine.inspect(container.id)
        wanted = step.target.name or "=".join(step.target.label or ())
        raise StepFailed(f"{step.action}: its target {wanted!r} does not exist")


def secrets_of(params: Any, render: Callable[[str], str], incident: Incident) -> tuple[str, ...]:
    """What a step's parameters hold that must not come back in what is told of it."""
    given = getattr(params, "env", None) or {}
    command = getattr(params, "command", None) or ()
    env = {key: render(value) for key, value in given.items()}
    shown = (
        incident.object_name,
        incident.object_id,
        incident.target,
        incident.rule,
        incident.trigger,
    )
    return redaction.known_in({"env": env, "command": [render(each) for each in command]}, shown)


def parameters(params: Any) -> dict[str, Any]:
    """A step's parameters for the record: what was said, not the defaults."""
    if hasattr(params, "model_dump"):
        dumped: dict[str, Any] = params.model_dump(mode="json", exclude_unset=True, warnings=False)
        return dumped
    found = msgspec.to_builtins(params)
    return found if isinstance(found, dict) else {}
