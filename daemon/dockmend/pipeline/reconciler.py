"""The reconciler: takes one incident from a fresh look at its object to its end.

It runs in the worker of the incident's target, so one target never has two attempts at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from dockmend.decide import ACT, Act, History, Host, Suppress, Verdict, WaitUntil
from dockmend.errors import EngineAway, EngineError, JournalError
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord, AttemptStage, Incident, Outcome
from dockmend.mirror import Mirror
from dockmend.model import Change, Container, Object, target_of
from dockmend.observer import Observer
from dockmend.pipeline.action_budget import ActionBudget
from dockmend.pipeline.attempt import AttemptRunner
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.attempt_gate import AttemptGate
from dockmend.pipeline.breakers import Breakers
from dockmend.pipeline.decide_next import (
    AwaitVerification,
    Close,
    Escalate,
    Failed,
    GiveUp,
    GiveWay,
    Look,
    Park,
    RunFinally,
    RunSteps,
    Situation,
    Succeeded,
    after_gate,
    after_verification,
    decide_next,
)
from dockmend.pipeline.escalation import Escalation
from dockmend.pipeline.groups import Groups
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import KeyedWorkers, WorkerCaps
from dockmend.pipeline.limit_renewal import LimitRenewal
from dockmend.pipeline.live_state import LiveState, Observation
from dockmend.pipeline.manual_trigger import in_the_way
from dockmend.pipeline.preconditions import Preconditions
from dockmend.pipeline.recovery import Recovery
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.pipeline.step_runner import StepFailed, StepRunner
from dockmend.pipeline.timers import Timers
from dockmend.pipeline.verification import Verification
from dockmend.rules.rule import Rule
from dockmend.timekeeping import Clock

ENGINE_RETRY = 10.0
"""Seconds after which an incident that waits for the engine looks anyway."""
JOURNAL_RETRY = 5.0
PATIENT = frozenset({"for", "backoff", "cooldown"})
"""What an incident waits for that is only time."""


class ReconcilerHub(Protocol):
    """What the reconciler tells the rest of the pipeline."""

    def learn(self, container: Container, asked: int) -> None:
        """An inspect answer goes to the mirror, and what follows from it is offered."""

    def closed(self, incident: Incident) -> None:
        """An incident is closed, and no other one of its rule takes its place at once."""

    def offer_to(self, rule: str, target: str) -> None:
        """Standing troubles of a target are offered to a rule again."""

    @property
    def dependents(self) -> Callable[[Incident], int]:
        """Counts the containers that depend on an incident's object."""


@dataclass(slots=True)
class Reconciler:
    """Drives incidents: see the module. `parallel`: attempts at once."""

    steps: StepRunner
    incidents: Incidents
    mirror: Mirror
    lanes: KeyedWorkers
    history: History
    guards: Guards
    observer: Observer
    verification: Verification
    host: Host
    clock: Clock
    dice: random.Random
    parallel: int
    hub: ReconcilerHub
    rules: RulesInForce
    stopping: bool = False
    timers: Timers = field(init=False)
    breakers: Breakers = field(init=False)
    limit_renewal: LimitRenewal = field(init=False)
    caps: WorkerCaps = field(init=False)
    groups: Groups = field(init=False)
    action_budget: ActionBudget = field(init=False)
    live_state: LiveState = field(init=False)
    attempt_ends: AttemptEnds = field(init=False)
    preconditions: Preconditions = field(init=False)
    attempt_gate: AttemptGate = field(init=False)
    attempt_runner: AttemptRunner = field(init=False)
    recovery: Recovery = field(init=False)
    escalation: Escalation = field(init=False)

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock, self.submit)
        self.caps = WorkerCaps(self.parallel)
        self.groups = self.verification.groups
        self.groups.asks = self.rules.asks
        self.action_budget = ActionBudget(
            self.history, self.host, self.clock, self.submit, self.hub.dependents
        )
        self.live_state = LiveState(
            self.steps.engine, self.mirror, self.incidents, self.guards, self.hub.learn, self.groups
        )
        self.breakers = Breakers(
            self.history,
            self.incidents,
            self.steps.journal,
            self.observer,
            self.clock,
            self.rules,
            self.hub.offer_to,
        )
        self.limit_renewal = LimitRenewal(
            self.history,
            self.breakers,
            self.incidents,
            self.steps.journal,
            self.mirror,
            self.clock,
            self.rules,
        )
        self.attempt_ends = AttemptEnds(
            self.incidents, self.breakers, self.action_budget, self.history, self.live_state,
            self.observer, self.timers, self.clock, self.dice, self.hub.closed,
        )  # fmt: skip
        self.attempt_gate = AttemptGate(
            self.live_state, self.attempt_ends, self.groups, self.steps.living, self.action_budget,
            self.history, self.host, self.observer, self.clock, self.dice, self.limit_renewal,
        )  # fmt: skip
        self.attempt_runner = AttemptRunner(
            self.steps,
            self.live_state,
            self.attempt_ends,
            self.verification,
            self.mirror,
            self._cut,
        )
        self.preconditions = Preconditions(
            self.live_state, self.attempt_ends, self.attempt_runner, self.mirror
        )
        self.recovery = Recovery(
            self.steps, self.attempt_runner, self.attempt_ends, self.incidents, self.history,
            self.mirror, self.clock
        )  # fmt: skip
        self.escalation = Escalation(
            self.attempt_runner, self.live_state, self.attempt_ends, self.incidents, self.history,
            self.host, self.observer, self.clock, self.caps, self.action_budget, self.preconditions,
        )  # fmt: skip

    # --- what the dispatcher and the app call -----------------------------------------------------

    def submit(self, incident_id: str) -> None:
        incident = self.incidents.open.get(incident_id)
        if incident is not None and not self.stopping:
            self.timers.drop(incident_id)
            self.lanes.submit(self._lane(incident), lambda: self.run(incident_id))

    def _lane(self, incident: Incident) -> str:
        """What changes nothing does not wait behind a remedy: it would tell of a trouble when that
        is over."""
        rule = self.rules.of(incident)
        aside = rule is not None and (incident.dry_run or not rule.remedies)
        return f"{incident.target} aside" if aside else incident.target

    def hold(self, incident: Incident, wait: WaitUntil) -> None:
        """A new incident waits: for its rule's hours, or for as long as its trouble is to hold.

        `wait.until`: by the wall clock, which stamped the change that is held for; never longer
        than the rule asks.
        """
        until = self.clock.at(wait.until)
        if wait.code == "for":
            rule = self.rules.of(incident)
            until = min(until, self.clock() + (rule.hold if rule is not None else 0.0))
        self.attempt_ends.wait(incident.id, WaitUntil(until, wait.code, wait.reason), wait.reason)

    def keep(self, incident: Incident, subject: Object | None) -> None:
        """The object as it was when its incident began: it may be gone when it is treated."""
        self.live_state.keep(incident, subject)

    def renew(self, subject: Object | None) -> None:
        """A trouble of it is about to be answered: one that somebody made another way begins with
        fresh limits."""
        self.limit_renewal.of(subject)

    def refuses(self, rule: Rule, target: str) -> Suppress | None:
        """Why a new trouble is not even looked at."""
        return self.breakers.refuses(rule, target)

    def in_the_way(
        self, rule: Rule, subject: Object | None, *, even_if_stopped: bool
    ) -> Suppress | None:
        """Why a person who asks for a rule is refused."""
        return in_the_way(self.mirror, rule.then, subject, even_if_stopped=even_if_stopped)

    def follows_from(self, change: Change) -> str | None:
        """The target of an incident whose attempt under way a change is a consequence of."""
        origin = self.steps.living.origin(change)
        incident = self.incidents.open.get(origin) if origin is not None else None
        return incident.target if incident is not None else None

    def removed(self, target: str) -> None:
        """An object is gone, and nothing took its place."""
        self.breakers.removed(target)

    def forgotten(self) -> list[str]:
        """Open incidents that nothing will wake: there must be none."""
        return [
            incident.id for incident in self.incidents.open.values()
            if incident.id not in self.timers and incident.id not in self.action_budget
            and not self.lanes.busy(self._lane(incident)) and not self.stopping
        ]  # fmt: skip

    def at_work(self, container_id: str) -> bool:
        """Whether something is being done to a container."""
        open_ = self.incidents.open.values()
        return any(each.object_id == container_id and each.state != "waiting" for each in open_)

    def supersede(self, incident_id: str, reason: str, untried: Outcome = "recovered") -> None:
        """No further attempt of an incident is made: another one takes its place, or its rule is
        gone.

        At once if it waits between two attempts, else as soon as its step has ended, or is settled,
        and `finally` was run. `untried`: the outcome of one that had no attempt.
        """
        incident = self.incidents.open.get(incident_id)
        if incident is None:
            return
        if incident.state == "waiting" and not self._in_an_attempt(incident_id):
            self.attempt_ends.drop(
                incident_id, "interrupted" if incident.attempts else untried, reason
            )
            self._guests_are_free(incident_id)
        else:
            state = self.attempt_ends.states.of(incident_id)
            state.superseded_by = reason
            self.incidents.update(incident_id, **state.stored)
            if incident.state == "waiting":
                self.submit(incident_id)
            self.verification.wakeups.wake(incident.target)

    def rules_changed(self) -> None:
        """What is open of a rule that is not in force any more ends."""
        for incident in list(self.incidents.open.values()):
            rule = self.rules.of(incident)
            if rule is None or not rule.enabled:
                self.supersede(incident.id, self.rules.why_none(incident), "interrupted")

    def needed_no_more(self, container: Container) -> None:
        """It is well again, or somebody stopped it: what waits to treat it looks at once, and not
        when its time is up.

        Else an incident stands open for the rest of its wait, though nothing will be done.
        """
        for incident in list(self.incidents.open.values()):
            waits = (
                incident.state == "waiting"
                and incident.waiting_for in PATIENT
                and incident.id in self.timers
            )
            if waits and incident.object_id == container.id:
                self.submit(incident.id)

    def _in_an_attempt(self, incident_id: str) -> bool:
        """Whether an attempt was begun and cut short: a step of it is to be settled, or `finally`
        is still owed."""
        state = self.attempt_ends.states.get(incident_id)
        return state.midway or state.finally_owed or bool(self.steps.unsettled.get(incident_id))

    def stop(self) -> None:
        """Nothing new is begun; what is being verified is left as it is, for the next start."""
        self.stopping = True
        for incident in self.incidents.open.values():
            self.verification.wakeups.wake(incident.target)

    def engine_back(self) -> None:
        self.look_again("engine")

    def owner_changed(self, after: Container) -> bool:
        """An owner may be back: what waits for it goes on. True where one is back that had been
        given up, so that what stands is to be offered again."""
        if self.groups.wakes(after):
            self.look_again("owner")
        return self.groups.returns(after)

    def look_again(self, reason: str) -> None:
        """What incidents waited for is over: a pause was lifted, a limit reset, the engine is
        back."""
        for incident in list(self.incidents.open.values()):
            if (
                incident.state == "waiting"
                and incident.waiting_for == reason
                and incident.id in self.timers
            ):
                self.submit(incident.id)

    def changed(self, container: Container) -> None:
        """Whether a trouble still stands of which nothing is done before its rule's hours begin, is
        looked at anew."""
        target = target_of(container)
        if target in self.attempt_ends.put_off:
            self.attempt_ends.put_off.discard(target)
            for incident in list(self.incidents.open.values()):
                if (
                    incident.target == target
                    and incident.waiting_for == "window"
                    and incident.id in self.timers
                ):
                    self.submit(incident.id)

    def take_up(
        self, incident: Incident, records: Iterable[ActionRecord], past: Iterable[ActionRecord] = ()
    ) -> None:
        """One that was open when dockmend ended. `records`: its intents without an outcome; `past`:
        its steps."""
        records, past = tuple(records), tuple(past)
        for record in records:
            self.steps.leave_unsettled(record)
        if times := [each.began_at for each in past if _is_of_attempt(each, incident)]:
            self.attempt_ends.states.of(incident.id).began_at = min(times)
        self.attempt_ends.states.of(incident.id).load(incident)
        in_finally = any(
            each.attempt == incident.attempts and each.part == "finally" for each in past
        )
        if (
            incident.stage is AttemptStage.STEPS
            or records
            or (incident.finally_owed and in_finally)
        ):
            self.steps.living.take_up(incident.id, incident.attempts, past)
            rule = self.rules.of(incident)
            if incident.rung is None and rule is not None:
                self.attempt_runner.take_up(incident, rule, past)
        if records or incident.state != "waiting" or incident.waiting_for == "window":
            self.submit(incident.id)  # the hours may be others now
        elif not self.action_budget.rejoin(incident, self.rules.of(incident)):
            self.timers.set(incident.id, incident.due_at or self.clock())

    # --- the way through the lane -----------------------------------------------------------------

    async def run(self, incident_id: str) -> None:
        with structlog.contextvars.bound_contextvars(incident=incident_id):
            # With a timer it was parked after it had been submitted: that timer brings it back.
            parked = incident_id in self.timers or incident_id in self.action_budget
            if incident_id in self.incidents.open and not parked and not self.stopping:
                await self._run_or_park(incident_id)
            if incident_id not in self.incidents.open:
                self._guests_are_free(incident_id)

    def _guests_are_free(self, incident_id: str) -> None:
        """Its attempts are over: what else waits to treat what lives in its target's namespaces may
        go on."""
        self.attempt_runner.left_out.pop(incident_id, None)
        self.steps.living.over(incident_id)
        self.look_again("owner")

    async def _run_or_park(self, incident_id: str) -> None:
        now = self.clock
        try:
            await self._run(incident_id)
        except EngineAway as error:
            wait = WaitUntil(now() + ENGINE_RETRY, "engine", f"the engine is waited for: {error}")
            self.attempt_ends.park(incident_id, wait)
        except JournalError as error:
            self.attempt_ends.park(
                incident_id,
                WaitUntil(now() + JOURNAL_RETRY, "journal", f"nothing is done unwritten: {error}"),
            )
        except EngineError as error:
            self.attempt_ends.park(
                incident_id, WaitUntil(now() + JOURNAL_RETRY, "engine", str(error))
            )
        except Exception as error:
            # A fault of dockmend's own must not leave the incident open for ever.
            self.attempt_ends.close(
                incident_id,
                "failed",
                f"internal error: {type(error).__name__}: {error}",
                "internal",
            )
            raise

    async def _run(self, incident_id: str) -> None:
        """Settles what was cut short; then decides and acts until the incident is closed or
        waits."""
        incident = self.incidents.open[incident_id]
        await self.recovery.all_of(incident, self.rules.of(incident))
        seen: Observation | None = None
        cut = False
        while self.attempt_ends.is_open(incident_id):
            incident = self.incidents.open[incident_id]
            rule = self.rules.of(incident)
            now = self._situation(incident, rule, seen, cut)
            match decide_next(now):
                case Close() as close:
                    self._close(incident, close)
                case Look():
                    seen = await self.live_state.look(incident)
                    if self.stopping:
                        return  # the next start looks at it
                case RunFinally():
                    subject = (seen or await self.live_state.look(incident)).subject
                    await self._run_finally(incident, _known(rule), subject)
                    seen, cut = None, True  # that took its time
                case RunSteps(resumed):
                    if self.stopping or not await self._treat(
                        incident, _known(rule), _looked(seen), resumed
                    ):
                        return
                    seen, cut = None, False
                case AwaitVerification():
                    await self._verify(incident, _known(rule))
                    return
                case Escalate(reason):
                    await self.escalation.climb(incident, _known(rule), reason)
                    return
                case GiveWay():
                    self.attempt_ends.gave_way(incident_id)

    def _situation(
        self, incident: Incident, rule: Rule | None, seen: Observation | None, cut: bool
    ) -> Situation:
        attempt = self.attempt_ends.states.get(incident.id)
        if rule is None or not rule.enabled:
            return Situation(incident, attempt, self.rules.why_none(incident))
        live = None
        if seen is not None:
            began_at = self.clock() if attempt.began_at is None else attempt.began_at
            live = self.preconditions.facts(incident, rule, seen, self.clock.wall_at(began_at))
        return Situation(incident, attempt, live=live, cut=cut)

    def _close(self, incident: Incident, close: Close) -> None:
        if close.decided:
            self.observer.decision(incident.rule, "suppress", close.code)
        # a person's will is no trouble, whatever the rule calls its own
        if close.code == "owner_stopped":
            self.incidents.update(incident.id, severity="info")
        self.attempt_ends.close(incident.id, close.outcome, close.reason, close.code)

    async def _treat(
        self, incident: Incident, rule: Rule, seen: Observation, resumed: bool
    ) -> bool:
        """One attempt. One that was cut short goes on or, if nothing of it was done, is made anew;
        if neither can be, its `finally` is still owed. True if the incident has to be looked at
        again."""
        async with self.caps.of(changes=rule.remedies).taken(
            self.action_budget.rank(incident)
        ) as waited:
            if waited:  # what was seen may be seconds old: a person may have stopped it since
                seen = await self.live_state.look(incident)
                now = self._situation(incident, rule, seen, cut=False)
                if now.live is not None and now.live.blocked:
                    return True
            verdict = self._verdict(incident, rule, seen.subject, resumed=resumed)
            if not self._goes_on(incident.id):
                return False
            if verdict is ACT:
                began_at = self.clock()
                incident = self._begin(incident, rule, began_at, resumed=resumed)
                self.steps.living.begins(incident.id, rule.then, seen.subject)
                failure = await self._attempt(
                    incident, rule, seen.subject, None if resumed else began_at
                )
        if not isinstance(verdict, Act):
            await self._hold_back(incident, rule, seen.subject, verdict, resumed=resumed)
        elif self.attempt_ends.gave_way(incident.id) or not self.attempt_ends.is_open(incident.id):
            pass
        elif self.attempt_ends.states.get(incident.id).begun:
            pass  # between two steps: it goes on there after the next start, or a person's pause
        elif failure is None:
            await self._verify(incident, rule)
        else:
            await self._failed(incident, rule, failure)
        return False

    def _verdict(
        self, incident: Incident, rule: Rule, subject: Object | None, *, resumed: bool
    ) -> Verdict:
        if not resumed:
            return self.attempt_gate.on(incident, rule, subject)
        superseded = self.attempt_ends.states.get(incident.id).superseded_by
        waits = self.attempt_runner.frozen(incident, rule, subject) and not superseded
        return self.attempt_ends.until_it_goes_on() if waits else ACT

    async def _failed(self, incident: Incident, rule: Rule, failure: StepFailed) -> None:
        if close := await self.preconditions.no_failure(incident, rule):
            self._close(incident, close)
        elif self.attempt_ends.failed(incident, rule, str(failure), again=failure.again):
            await self.escalation.climb(self.incidents.open[incident.id], rule, str(failure))

    async def _run_finally(self, incident: Incident, rule: Rule, subject: Object | None) -> None:
        """What is left of `finally` of an attempt that was cut short and does not go on."""
        self.attempt_ends.states.of(incident.id).finally_owed = False
        async with self.caps.of(changes=rule.remedies).taken(self.action_budget.rank(incident)):
            self.history.acted(
                self.clock(), self.attempt_runner.left(incident, rule, len(rule.then))
            )
            await self.attempt_runner.run_finally(incident, rule, subject)

    def _goes_on(self, incident_id: str) -> bool:
        return self.attempt_ends.is_open(incident_id) and not self.stopping

    def _cut(self, incident_id: str) -> bool:
        return self.stopping or bool(self.attempt_ends.states.get(incident_id).superseded_by)

    async def _hold_back(
        self,
        incident: Incident,
        rule: Rule,
        subject: Object | None,
        verdict: WaitUntil | Suppress,
        *,
        resumed: bool,
    ) -> None:
        """The gate lets no attempt begin now."""
        if self.attempt_ends.states.get(incident.id).finally_owed and not resumed:
            await self._run_finally(incident, rule, subject)
        match after_gate(incident, verdict):
            case Park(wait):
                self.attempt_ends.park(incident.id, wait)
            case GiveUp(reason):
                self.observer.decision(rule.name, "suppress", "attempts")
                if self.attempt_ends.give_up(incident, rule, reason):
                    await self.escalation.climb(self.incidents.open[incident.id], rule, reason)
            case Close() as close:
                self._close(incident, close)

    def _begin(self, incident: Incident, rule: Rule, began_at: float, *, resumed: bool) -> Incident:
        attempts = incident.attempts
        state = self.attempt_ends.states.of(incident.id)
        state.finally_owed = False
        if not resumed:
            state.began_at = began_at
            self.history.attempted(rule.name, incident.target, began_at, rule.costs)
            self.history.tried[incident.target] = incident.object_id
            attempts += 1
        else:
            self.history.acted(self.clock(), self.attempt_runner.left(incident, rule))
        if rule.grouped:
            self.groups.answer(incident, rule)
        return self.incidents.update(
            incident.id,
            state="acting",
            attempts=attempts,
            due_at=None,
            waiting_for="",
            stage=AttemptStage.STEPS,
            finally_owed=False,
        )

    async def _attempt(
        self, incident: Incident, rule: Rule, subject: Object | None, counted_at: float | None
    ) -> StepFailed | None:
        """`counted_at`: when it was counted as an attempt. It was none where nothing at all was
        done."""
        try:
            return await self.attempt_runner.attempt(incident, rule, subject, counted_at)
        except (JournalError, EngineAway):
            untouched = not self.attempt_ends.states.get(
                incident.id
            ).goes_on and not self.steps.unsettled.get(incident.id)
            if untouched and counted_at is not None and self.attempt_ends.is_open(incident.id):
                self.recovery.take_back(incident, rule, counted_at)
            raise

    async def _verify(self, incident: Incident, rule: Rule) -> None:
        if not self.attempt_runner.verifiable(incident, rule, rule.then):
            if left_out := self.attempt_runner.left_out.pop(incident.id, None):
                self.attempt_ends.guests_are_out(incident, rule, left_out)
            else:
                self.attempt_ends.succeeded(incident, rule, "done", "done")
            return
        # whatever interrupts this, it is not made again
        self.attempt_ends.states.of(incident.id).all_done()
        self.incidents.update(incident.id, state="verifying", stage=AttemptStage.MADE)
        await self.live_state.look(incident)  # the stream may be behind what was just done
        began_at = self.attempt_ends.states.get(incident.id).began_at
        began_at = incident.updated_at if began_at is None else began_at
        verified = await self.attempt_runner.outcome(incident, rule, began_at)
        left_out = self.attempt_runner.left_out.pop(incident.id, "")
        match after_verification(verified, left_out):
            case Failed(reason):
                await self._failed(incident, rule, StepFailed(reason))
            case Succeeded(reason):
                self.attempt_ends.succeeded(incident, rule, "healed", reason)
            case end:
                self.attempt_ends.verified(incident, rule, end)


def _known(rule: Rule | None) -> Rule:
    """The rule of an incident: of one whose rule is not in force, nothing but its closing is
    decided."""
    assert rule is not None
    return rule


def _looked(seen: Observation | None) -> Observation:
    """What was seen: steps are decided on after a look only."""
    assert seen is not None
    return seen


def _is_of_attempt(record: ActionRecord, incident: Incident) -> bool:
    """Whether a step was one of an incident's last attempt; one of which nothing was asked of the
    engine is none."""
    return record.attempt == incident.attempts and record.part == "then" and not record.untouched
