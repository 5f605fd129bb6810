"""One attempt: runs the steps of a rule on an object and tells whether they worked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from dockmend.action_traits import HEALS
from dockmend.actions.restart_dependents import Rejoin
from dockmend.decide import Suppress, WaitUntil, makes_again, would_start
from dockmend.errors import EngineAway, EngineError, JournalError, NotFound
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, Object
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.attempt_state import AttemptState
from dockmend.pipeline.live_state import LiveState
from dockmend.pipeline.step_runner import (
    RESTART_TOLD,
    STOP_RETRY,
    STOPS,
    Part,
    StepFailed,
    StepRunner,
)
from dockmend.pipeline.verification import Verification, VerifyResult
from dockmend.rules.rule import Rule, Step, changing

log = structlog.get_logger("dockmend.treatment")

REJOINS, REJOIN_RETRY = 3, 2.0
"""How often guests of what an attempt restarted are brought back, where that fails, and seconds in
between."""

HEARD_WITHIN = 1.0
"""Seconds within which the stream has told whose doing an end was that a look found."""


@dataclass(frozen=True, slots=True)
class PastAttempts:
    """How far an attempt came. `done`: steps of `then` and, after those, of `finally` that were
    run; `failure`: of `then`, which is over with it."""

    done: int
    failure: StepFailed | None = None


def past_of(rule: Rule, attempt: int, records: Iterable[ActionRecord]) -> PastAttempts:
    """What the journal tells of an attempt: a step whose outcome is known is not run again, failed
    or not."""
    mine = [record for record in records if record.attempt == attempt]
    begun, ran = (
        {
            part: [
                record for record in mine if record.part == part and record.outcome not in without
            ]
            for part in ("then", "finally")
        }
        for without in ((), (None, "interrupted"))
    )
    done = min(len(ran["then"]), len(rule.then))
    failure = None
    if done and ran["then"][-1].outcome == "failed" and not _passes(rule.then[done - 1]):
        failure = StepFailed(ran["then"][-1].detail)
    if failure is not None or begun["finally"]:
        done = len(rule.then)
    return PastAttempts(done + len(ran["finally"]), failure)


def _passes(step: Step) -> bool:
    """Whether an attempt goes on after a step that failed."""
    return step.tells or step.on_error == "continue"


def _pauses_itself(rule: Rule) -> bool:
    """Whether a pause in the middle of an attempt is the rule's own matter."""
    return any(step.action in ("pause", "unpause") for step in rule.then)


@dataclass(slots=True)
class AttemptRunner:
    """`cut(incident_id)`: whether its attempt or its verification is to end before its time.
    `left_out`, by incident: why guests of what it restarted could not be brought back."""

    steps: StepRunner
    live_state: LiveState
    attempt_ends: AttemptEnds
    verification: Verification
    mirror: Mirror
    cut: Callable[[str], bool]
    left_out: dict[str, str] = field(default_factory=dict)

    def take_up(self, incident: Incident, rule: Rule, records: Iterable[ActionRecord]) -> None:
        """How far the attempt came that the dockmend before this one was at."""
        told = past_of(rule, incident.attempts, records)
        state = self.attempt_ends.states.of(incident.id)
        state.at_step(told.done)
        state.failure = told.failure or state.failure

    async def attempt(
        self, incident: Incident, rule: Rule, subject: Object | None, began_at: float | None = None
    ) -> StepFailed | None:
        """`then` from where it was left, `finally`, and guests of what they ended. EngineAway and
        JournalError leave behind how far it came.

        `began_at`: when it was counted, which is when its first step begins; None where it goes on.
        """
        state = self.attempt_ends.states.of(incident.id)
        made, done = state.made, state.steps_done
        state.forget_steps()
        if made:
            return None
        failure = state.take_failure()
        for index, step in enumerate(rule.then):
            if index < done:
                continue
            state.at_step(index)
            if self.cut(incident.id):
                if state.superseded_by:
                    break
                return None  # dockmend ends: the next start goes on here
            if index > 0 and await self._overtaken(incident, rule, step):
                if self.attempt_ends.is_open(incident.id) and not state.superseded_by:
                    return None  # it waits, and goes on here
                break
            failure = await self.step(
                incident, rule, step, subject, began_at=began_at if index == 0 else None
            )
            incident, subject = await self._followed(incident, subject, index + 1)
            if failure is not None or not self.attempt_ends.is_open(incident.id):
                break
        if failure is not None:
            state.failure = failure  # for as long as `finally` may have to wait
        await self._finally(incident, rule, subject, state, max(0, done - len(rule.then)))
        return failure

    def left(self, incident: Incident, rule: Rule, since: int = 0) -> int:
        """Actions that are still to be done of an attempt that was cut short, from the step of that
        number on."""
        done = max(since, self.attempt_ends.states.get(incident.id).behind)
        return changing((*rule.then, *rule.finally_)[done:])

    async def run_finally(self, incident: Incident, rule: Rule, subject: Object | None) -> None:
        """What is left of `finally`, of an attempt that was cut short and is not gone on with."""
        state = self.attempt_ends.states.of(incident.id)
        made, done = state.made, state.steps_done
        state.forget_steps()
        if made:
            state.failure = None
        else:
            await self._finally(incident, rule, subject, state, max(0, done - len(rule.then)))

    async def _followed(
        self, incident: Incident, subject: Object | None, done: int
    ) -> tuple[Incident, Object | None]:
        """A step may have made the container anew: those after it are done to the successor."""
        now = self.live_state.incidents.open.get(incident.id, incident)
        if now.object_id == incident.object_id:
            return incident, subject
        self.attempt_ends.states.of(incident.id).at_step(done)
        return now, (await self.live_state.look(now)).subject

    def frozen(self, incident: Incident, rule: Rule, subject: Object | None) -> bool:
        """Whether a person paused it in the middle of an attempt of which the next step would end
        that."""
        left = rule.then[self.attempt_ends.states.get(incident.id).behind :][:1]
        return not _pauses_itself(rule) and self.live_state.frozen(incident, left, subject)

    async def _overtaken(self, incident: Incident, rule: Rule, step: Step) -> bool:
        """Steps take their time: who stopped or paused the container during those before is heard
        before one that starts it. What somebody paused waits in the middle, else the incident is
        over."""
        forbidden = await self._forbidden_start(incident, rule, step)
        if isinstance(forbidden, Suppress):
            self.attempt_ends.close(incident.id, "suppressed", forbidden.reason, forbidden.code)
        elif forbidden is not None:
            self.attempt_ends.park(incident.id, forbidden)
        return forbidden is not None

    async def _forbidden_start(
        self, incident: Incident, rule: Rule, step: Step
    ) -> Suppress | WaitUntil | None:
        if step.target is not None or incident.kind != "container" or not would_start((step,)):
            return None
        seen = await self.live_state.look(incident)
        if seen.gone:
            return None
        if isinstance(seen.subject, Container) and not self.mirror.settled(seen.subject.id):
            await self.hear_out(incident, seen.subject.id)
        if not _pauses_itself(rule) and self.live_state.frozen(incident, (step,), seen.subject):
            return self.attempt_ends.until_it_goes_on()
        return self.live_state.forbidden(incident, (step,), seen.subject)

    async def hear_out(self, incident: Incident, container_id: str) -> None:
        """A look is ahead of the stream: it has just ended, and whose doing that was is still to be
        told."""
        await self._wait(incident, HEARD_WITHIN, lambda: self.mirror.stopped(container_id))

    async def _wait(
        self, incident: Incident, seconds: float, over: Callable[[], bool] = lambda: False
    ) -> None:
        clock = self.verification.clock
        until = clock() + seconds
        while (left := until - clock()) > 0 and not over():
            await self.verification.wakeups.wait(incident.target, left)

    async def step(
        self,
        incident: Incident,
        rule: Rule,
        step: Step,
        subject: Object | None,
        part: Part = "then",
        began_at: float | None = None,
    ) -> StepFailed | None:
        try:
            record, _ = await self.steps.run(incident, rule, step, subject, part, began_at)
        except StepFailed as error:
            return None if _passes(step) else error
        if record.object_id in self.steps.owed:
            if part == "then":
                self.attempt_ends.states.of(incident.id).one_more()
            elif part == "escalate":
                self.attempt_ends.states.of(incident.id).all_done()
                self.live_state.incidents.update(incident.id, rung=(incident.rung or 0) + 1)
            await self._obey(incident, rule, record.object_id)
        return None

    async def _finally(
        self, incident: Incident, rule: Rule, subject: Object | None, state: AttemptState, done: int
    ) -> None:
        """It always runs, without those of its steps that are done; its failure changes nothing
        about the attempt's.

        EngineAway, JournalError: it is gone on with where it is, unless the incident is over.
        """
        for index, step in enumerate(rule.finally_[done:], done):
            state.at_step(len(rule.then) + index)
            try:
                if forbidden := await self._forbidden_start(incident, rule, step):
                    log.warning(
                        "a step of `finally` is left out",
                        id="finally_step_left_out",
                        rule=rule.name,
                        action=step.action,
                        why=forbidden.reason,
                    )
                    continue
                record, _ = await self.steps.run(incident, rule, step, subject, "finally")
                if record.object_id in self.steps.owed:
                    state.one_more()
                    await self._obey(incident, rule, record.object_id)
            except StepFailed as error:
                log.warning(
                    "a step of `finally` failed",
                    id="finally_step_failed",
                    rule=rule.name,
                    error=str(error),
                )
            except (EngineAway, JournalError) as error:
                if self.attempt_ends.is_open(incident.id):
                    raise
                log.warning(
                    "`finally` was cut short",
                    id="finally_cut_short",
                    rule=rule.name,
                    error=str(error),
                )
                break
        if self.attempt_ends.is_open(incident.id):
            state.at_step(len(rule.then) + len(rule.finally_))
            await self.bring_guests_back(incident, rule)
        state.forget_steps()
        state.failure = None

    async def bring_guests_back(self, incident: Incident, rule: Rule) -> None:
        """What lives in the namespaces of what this attempt restarted, started or made anew, as a
        step of its own. Whoever is there already is left alone, so it bears repetition. Raises
        EngineAway, JournalError."""
        living = self.steps.living
        self.left_out.pop(incident.id, None)
        # else it may be down because its start failed
        if self.attempt_ends.states.get(incident.id).failure is None:
            for container_id in living.touched.get(incident.id, ()):
                self.mirror.put_down(container_id)
        for container_id in living.to_bring_back(incident.id):
            if why := await self._rejoin(incident, rule, container_id):
                self.left_out[incident.id] = why
        living.over(incident.id)

    async def _rejoin(self, incident: Incident, rule: Rule, container_id: str) -> str | None:
        """None, or why not all came back. It is of the guests of its subject alone, and of those
        that link to one whose place that took."""
        owner_id = self.mirror.identities.heir_of(container_id)
        step = Step("restart_dependents", params=Rejoin(replaced=owner_id != container_id))
        for left in reversed(range(REJOINS)):
            owner = self.mirror.container(owner_id) or Container(
                id=owner_id, name=incident.object_name
            )
            try:
                await self.steps.carry_out(incident, rule, step, owner, "guests")
            except StepFailed as error:
                if not left or not error.again or self.cut(incident.id):
                    return str(error)
            else:
                return None
            await self._wait(incident, REJOIN_RETRY)
        return None

    async def _obey(self, incident: Incident, rule: Rule, container_id: str) -> None:
        """A step undid a person's stop. With that of its own container the incident is over."""
        closes = self.is_its_own(incident, container_id)
        await self.stop_what_was_stopped(incident, rule, container_id, closes=closes)

    def is_its_own(self, incident: Incident, container_id: str) -> bool:
        """Whether an incident is about this container, and not about another that a step of its
        names as `target`."""
        return container_id in (
            incident.object_id,
            self.mirror.identities.heir_of(incident.object_id),
        )

    async def stop_what_was_stopped(
        self, incident: Incident, rule: Rule | None, container_id: str, *, closes: bool = True
    ) -> None:
        """A stop that arrived during dockmend's own restart wins: the engine lost it, so it is done
        again."""
        try:
            asked = self.mirror.heard(container_id)
            container = await self.steps.engine.inspect(container_id)
            self.live_state.learn(container, asked)
        except NotFound:  # it was removed meanwhile, which the verification tells
            self.steps.owes_no_more(container_id)
            return
        except EngineError:
            self.steps.leave_unsettled(self.steps.owed.pop(container_id))
            raise
        # A person's restart may have overlapped: that is no stop, and is told of once it is over.
        await self._wait(incident, RESTART_TOLD, lambda: not self.mirror.owes_a_stop(container_id))
        if not self.mirror.owes_a_stop(container_id):
            self.steps.owes_no_more(container_id)
            return
        await self.stop_for_person(incident, rule, container, closes=closes)

    async def stop_for_person(
        self, incident: Incident, rule: Rule | None, container: Container, *, closes: bool = True
    ) -> None:
        """The run of `container` is ended for the person whose stop was lost; one that somebody
        began since is not.

        `closes`: the incident is over with it, which that of a group is not.
        """
        began_at = container.started_at
        for left in reversed(range(STOPS)):
            try:
                await self.steps.carry_out(
                    incident, rule, Step("stop", params=None), container, "after"
                )
                break
            except StepFailed as error:
                if not left or not error.again:
                    self.steps.owes_no_more(container.id)
                    why = (
                        "a person's stop during its restart was lost, and could not be done "
                        f"again: {error}"
                    )
                    log.warning(
                        "a stop was lost",
                        id="person_stop_lost",
                        container=container.name,
                        why=str(error),
                    )
                    if closes:
                        self.attempt_ends.close(incident.id, "failed", why, "stopped")
                    return
            await self._wait(incident, STOP_RETRY)
            container = await self.steps.engine.inspect(container.id)
            if container.started_at != began_at:
                if closes:
                    self.attempt_ends.close(
                        incident.id,
                        "on_purpose",
                        "a person stopped it, and started it again",
                        "stopped",
                    )
                return
        self.stopped_for_person(incident, container.id, closes=closes)

    def stopped_for_person(
        self, incident: Incident, container_id: str, *, closes: bool = True
    ) -> None:
        self.mirror.stopped_by_person(container_id)
        if closes:
            self.attempt_ends.close(incident.id, "on_purpose", "stopped by a person", "stopped")

    def verifiable(self, incident: Incident, rule: Rule, steps: Iterable[Step]) -> bool:
        """Whether there is anything to verify after these steps."""
        mended = any(
            (step.action in HEALS or makes_again(step)) and step.target is None for step in steps
        )
        return mended and incident.kind == "container" and rule.verify.state != "none"

    async def outcome(self, incident: Incident, rule: Rule, began_at: float) -> VerifyResult:
        """Whether what was done worked. `began_at`: by dockmend's clock."""
        if incident.network is not None and self.live_state.reconnected_while_down(incident):
            return VerifyResult("healed", f"in network {incident.network} again")
        return await self.verification.wait(incident, rule, began_at, lambda: self.cut(incident.id))
