"""Treatment: an incident's way through its lane, from the look at the live state to its closing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from dockmend.decide import ACT, History, Host, Suppress, Verdict, Wait, backoff, exhausted, limits, would_start
from dockmend.errors import EngineAway, EngineError, JournalError, NotFound
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord, Breaker, Incident
from dockmend.mirror import Mirror
from dockmend.model import Change, Container, Object
from dockmend.observer import Observer
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.lanes import Lanes
from dockmend.pipeline.steps import StepFailed, Steps
from dockmend.pipeline.timers import Timers
from dockmend.pipeline.verification import MENDING, Verification, Verified, left_on_purpose
from dockmend.rules.model import Rule, RuleSet, Step

ENGINE_RETRY = 60.0
"""Seconds after which an incident that waits for the engine looks anyway."""
JOURNAL_RETRY = 5.0
TROUBLES = frozenset({
    "container.unhealthy", "container.crashed", "container.oom_killed", "container.left_down", "container.exited",
    "container.network_lost", "container.orphaned", "container.stuck",
})  # fmt: skip
"""Transitions that leave a trouble standing; the others are moments, and there is nothing to look for again."""
_DOWN = ("health", "end")
LASTING = {
    "container.unhealthy": _DOWN, "container.crashed": _DOWN, "container.oom_killed": _DOWN, "container.left_down": _DOWN,
    "container.exited": _DOWN, "container.orphaned": ("orphaned", *_DOWN), "container.stuck": ("stuck",),
}  # fmt: skip
"""What may stand after an attempt that failed: one that was unhealthy and now ends at once is not well."""


@dataclass(slots=True)
class Treatment:
    """`learn` takes an inspect answer to the mirror and offers what follows; `changes` are offered by `offer`."""

    steps: Steps
    incidents: Incidents
    mirror: Mirror
    lanes: Lanes
    history: History
    guards: Guards
    observer: Observer
    verification: Verification
    host: Host
    clock: Callable[[], float]
    dice: random.Random
    parallel: int
    learn: Callable[[Container], None]
    closed: Callable[[Incident], None]
    rules: RuleSet = field(default_factory=RuleSet)
    progress: dict[str, int] = field(default_factory=dict)  # steps of the present attempt that are done
    subjects: dict[str, Object] = field(default_factory=dict)  # of incidents whose object is not to be inspected
    timers: Timers = field(init=False)
    cap: asyncio.Semaphore = field(init=False)
    _superseded: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock, self.submit)
        self.cap = asyncio.Semaphore(self.parallel)

    # --- what intake and the app call ---------------------------------------------------------------------------

    def submit(self, incident_id: str) -> None:
        incident = self.incidents.open.get(incident_id)
        if incident is not None:
            self.timers.drop(incident_id)
            self.lanes.submit(incident.target, lambda: self.run(incident_id))

    def hold(self, incident: Incident, until: float) -> None:
        self.incidents.update(incident.id, due_at=until, waiting_for="for")
        self.timers.set(incident.id, until)

    def supersede(self, incident_id: str, reason: str) -> None:
        incident = self.incidents.open.get(incident_id)
        if incident is None:
            return
        if incident.state == "waiting":
            self._close(incident_id, "interrupted" if incident.attempts else "recovered", reason)
        else:
            self._superseded[incident_id] = reason

    def engine_back(self) -> None:
        for incident in list(self.incidents.open.values()):
            if incident.state == "waiting" and incident.waiting_for == "engine":
                self.submit(incident.id)

    def look_again(self, reason: str) -> None:
        """A pause was lifted or a limit reset: what waited for it is looked at now."""
        for incident in list(self.incidents.open.values()):
            if incident.state == "waiting" and incident.waiting_for == reason:
                self.submit(incident.id)

    # --- the way through the lane -------------------------------------------------------------------------------

    async def run(self, incident_id: str) -> None:
        with structlog.contextvars.bound_contextvars(incident=incident_id):
            await self._run(incident_id)

    async def _run(self, incident_id: str) -> None:
        incident = self.incidents.open.get(incident_id)
        if incident is None:
            return
        rule = self.rules.by_name(incident.rule)
        try:
            if (record := self.steps.unsettled.get(incident_id)) is not None:
                await self._settle(incident, rule, record)
                incident = self.incidents.open[incident_id]
            if rule is None or not rule.enabled:
                self._close(incident_id, "interrupted", "its rule is no longer in force")
            elif incident.state == "verifying":
                await self._verify(incident, rule, incident.updated_at)
            else:
                await self._treat(incident, rule)
        except EngineAway as error:
            self._park(incident_id, Wait(self.clock() + ENGINE_RETRY, "engine", f"the engine does not answer: {error}"))
        except JournalError as error:
            self._park(incident_id, Wait(self.clock() + JOURNAL_RETRY, "journal", f"nothing is done unwritten: {error}"))
        except EngineError as error:
            self._park(incident_id, Wait(self.clock() + JOURNAL_RETRY, "engine", str(error)))

    async def _settle(self, incident: Incident, rule: Rule | None, record: ActionRecord) -> None:
        settled = await self.steps.settle(record, incident, rule)
        del self.steps.unsettled[incident.id]
        if settled.done:
            self.progress[incident.id] = self.progress.get(incident.id, 0) + 1

    async def _treat(self, incident: Incident, rule: Rule) -> None:
        subject = await self._look(incident)
        resumed = incident.id in self.progress
        if not resumed:
            if subject is None:
                self._close(incident.id, "recovered", "recovered on its own: it is gone")
                return
            if not incident.actor and not self._stands(incident, subject):
                self._no_more(incident, rule)
                return
        if subject is None:
            self._close(incident.id, "interrupted", "it is gone")
            return
        if forbidden := self._forbidden(incident, rule, subject):
            self._close(incident.id, "suppressed", forbidden.reason, forbidden.code)
            self.observer.decision(rule.name, "suppress", forbidden.code)
            return
        async with self.cap:
            verdict = ACT if resumed else self._verdict(incident, rule)
            if verdict is ACT:
                began_at = self.clock()
                if not resumed:
                    self.history.attempted(rule.name, incident.target, began_at)
                    incident = self.incidents.update(
                        incident.id, state="acting", attempts=incident.attempts + 1, due_at=None, waiting_for=""
                    )
                failure = await self._attempt(incident, rule, rule.then, subject)
        if verdict is not ACT:
            await self._hold_back(incident, rule, verdict, subject)
        elif incident.id not in self.incidents.open:
            return
        elif failure is not None:
            self._failed(incident, rule, str(failure), failure.again)
            await self._escalate_if_exhausted(incident, rule, str(failure), subject)
        else:
            await self._verify(incident, rule, began_at)

    def _no_more(self, incident: Incident, rule: Rule) -> None:
        """The trouble does not stand any more."""
        if incident.network and self.mirror.left_network(incident.object_id, incident.network):
            self._close(incident.id, "on_purpose", left_on_purpose(incident.network), "on_purpose")
        elif incident.attempts:
            self._succeeded(incident, rule, "healed", "well again, later than its verification waited")
        else:
            self._close(incident.id, "recovered", "recovered on its own")

    async def _look(self, incident: Incident) -> Object | None:
        """The live state, immediately before each attempt. None: it is gone."""
        if incident.id in self.subjects:
            return self.subjects[incident.id]
        if incident.kind == "container":
            try:
                container = await self.steps.engine.inspect(incident.object_id)
            except NotFound:
                return None
            self.learn(container)
            return self.mirror.container(incident.object_id) or container
        if incident.kind == "volume":
            try:
                return await self.steps.engine.inspect_volume(incident.object_name)
            except NotFound:
                return None
        if incident.kind == "network":
            try:
                return await self.steps.engine.inspect_network(incident.object_name)
            except NotFound:
                return None
        return None

    def _stands(self, incident: Incident, subject: Object) -> bool:
        if incident.trigger not in TROUBLES or incident.cause == "stopped" or not isinstance(subject, Container):
            return True
        if incident.attempts and self._persists(incident):
            return True
        return self.mirror.stands(subject.id, incident.trouble)

    def _persists(self, incident: Incident) -> bool:
        """After an attempt the trouble may stand under another name, as the run is another: it is the same trouble."""
        kinds = (f"network/{incident.network}",) if incident.network else LASTING.get(incident.trigger, ())
        standing = self.mirror.standing_of(incident.object_id, kinds)
        for change in standing:
            self.incidents.remember_answered(incident.rule, change.trouble)
        return bool(standing)

    def _forbidden(self, incident: Incident, rule: Rule, subject: Object) -> Suppress | None:
        if rule.remedies and (forbidden := self.guards.forbids(subject)):
            return forbidden
        if isinstance(subject, Container) and subject.state == "exited" and would_start(rule) and not incident.actor:
            if self.mirror.stopped(subject.id):
                return Suppress("stopped", "somebody stopped it: what a person stopped is not started")
        return None

    def _verdict(self, incident: Incident, rule: Rule) -> Verdict:
        """Asks the limits at the last moment, with no await between the answer and the attempt being counted."""
        now = self.clock()
        verdict = limits(rule, incident.target, self.history, self.host, now, failures=incident.attempts)
        if verdict is not ACT:
            return verdict
        # The wait after a failed attempt was drawn when it failed; here it only holds back a new incident.
        if not incident.actor and incident.waiting_for != "backoff":
            mine = self.history.targets.get((rule.name, incident.target))
            if (wait := backoff(rule.limits, mine, now, self.dice)) is not None:
                return wait
        if incident.dry_run:
            would = ", ".join(step.action for step in rule.then)
            return Suppress("dry_run", f"shadow mode: would have done {would}")
        self.observer.decision(rule.name, "act", "")
        return ACT

    async def _hold_back(self, incident: Incident, rule: Rule, verdict: Verdict, subject: Object) -> None:
        if isinstance(verdict, Wait):
            self._park(incident.id, verdict)
        elif isinstance(verdict, Suppress):
            self.observer.decision(rule.name, "suppress", verdict.code)
            if verdict.code == "attempts":
                self._open_breaker(incident, rule, verdict.reason)
                await self._escalate_if_exhausted(incident, rule, verdict.reason, subject)
            else:
                outcome = "dry_run" if verdict.code == "dry_run" else "suppressed"
                self._close(incident.id, outcome, verdict.reason, verdict.code)

    async def _attempt(self, incident: Incident, rule: Rule, steps: Iterable[Step], subject: Object) -> StepFailed | None:
        done = self.progress.pop(incident.id, 0)
        failure: StepFailed | None = None
        index = 0
        for step in steps:
            index += 1
            if index <= done:
                continue
            failure = await self._step(incident, rule, step, subject, index - 1)
            if failure is not None or incident.id not in self.incidents.open:
                break
        for step in rule.finally_:
            try:
                await self.steps.run(incident, rule, step, subject)
            except StepFailed as error:
                self.observer.degraded("finally", str(error))
        return failure

    async def _step(self, incident: Incident, rule: Rule, step: Step, subject: Object, done: int) -> StepFailed | None:
        try:
            record, echo = await self.steps.run(incident, rule, step, subject)
        except StepFailed as error:
            return None if step.tells or step.on_error == "continue" else error
        except EngineAway:
            self.progress[incident.id] = done
            raise
        if echo is not None and echo.action == "restart" and isinstance(subject, Container):
            await self._settle_echo(incident, rule, record, subject, echo)
        return None

    async def _settle_echo(self, incident: Incident, rule: Rule, record: ActionRecord, subject: Container, echo: Any) -> None:
        """A stop that arrived during dockmend's own restart wins: the engine lost it, so it is done again."""
        container = await self.steps.engine.inspect(subject.id)
        self.learn(container)
        if echo.stops < 2:
            return
        stop = Step("stop", params=None)
        await self.steps.run(incident, rule, stop, container)
        self.mirror.stopped_by_person(subject.id)
        self._close(incident.id, "on_purpose", "stopped by a person", "stopped")

    # --- what came of it ----------------------------------------------------------------------------------------

    async def _verify(self, incident: Incident, rule: Rule, began_at: float) -> None:
        await self._look(incident)  # the stream may be behind what was just done
        verified = await self._outcome(incident, rule, rule.then, began_at)
        if verified is None:
            self._succeeded(incident, rule, "done", "done")
        elif verified.result == "healed":
            self._succeeded(incident, rule, "healed", verified.reason)
        elif verified.result in ("stopped", "on_purpose"):
            self._close(incident.id, "on_purpose", verified.reason, verified.result)
        else:
            self._failed(incident, rule, verified.reason, again=True)
            subject = await self._look(incident)
            await self._escalate_if_exhausted(incident, rule, verified.reason, subject)

    async def _outcome(self, incident: Incident, rule: Rule, steps: Iterable[Step], began_at: float) -> Verified | None:
        """None where there is nothing to verify."""
        if incident.kind != "container" or rule.verify.state == "none" or incident.id in self.subjects:
            return None
        if not any(step.action in MENDING and step.target is None for step in steps):
            return None
        if incident.network is not None and self._not_running(incident):
            return Verified("healed", f"in network {incident.network} again")
        self.incidents.update(incident.id, state="verifying")
        return await self.verification.wait(incident, rule, began_at)

    def _not_running(self, incident: Incident) -> bool:
        container = self.mirror.container(incident.object_id)
        return container is not None and not container.running and incident.network in container.networks

    def _succeeded(self, incident: Incident, rule: Rule, outcome: Any, reason: str) -> None:
        mine = self.history.of(rule.name, incident.target)
        mine.ended_at = self.clock()
        if mine.breaker_at is not None:
            mine.breaker_at = None
            self.steps.journal.put_breaker(None, rule.name, incident.target)
            self.observer.breaker(rule.name, incident.target, opened=False)
        self._close(incident.id, outcome, reason)

    def _failed(self, incident: Incident, rule: Rule, reason: str, again: bool) -> None:
        """One attempt failed: the next one waits, or the breaker opens."""
        now = self.clock()
        mine = self.history.of(rule.name, incident.target)
        mine.ended_at = now
        self._persists(incident)
        if incident.id in self._superseded:
            self._close(incident.id, "interrupted", self._superseded.pop(incident.id))
        elif not again or exhausted(rule.limits, mine, incident.attempts, now):
            self._open_breaker(incident, rule, reason)
        else:
            waits = backoff(rule.limits, mine, now, self.dice) or Wait(now, "backoff", "tried again at once")
            self._park(incident.id, Wait(waits.until, "backoff", f"{reason}; {waits.reason}"))

    def _open_breaker(self, incident: Incident, rule: Rule, reason: str) -> None:
        mine = self.history.of(rule.name, incident.target)
        mine.breaker_at, mine.breaker_reason = self.clock(), reason
        self.steps.journal.put_breaker(Breaker(rule.name, incident.target, mine.breaker_at, reason), rule.name, incident.target)
        self.observer.breaker(rule.name, incident.target, opened=True)

    async def _escalate_if_exhausted(self, incident: Incident, rule: Rule, reason: str, subject: Object | None) -> None:
        """Runs the ladder, unless the incident was parked for another attempt or is closed."""
        present = self.incidents.open.get(incident.id)
        if present is None or present.waiting_for == "backoff":
            return
        incident = self.incidents.update(incident.id, state="acting", reason=f"escalating: {reason}")
        for step in rule.escalate if subject is not None else ():
            if not step.available:
                continue
            began_at = self.clock()
            assert subject is not None
            failure = await self._step(incident, rule, step, subject, 0)
            if failure is not None or step.tells or incident.id not in self.incidents.open:
                continue
            verified = await self._outcome(incident, rule, (step,), began_at)
            if verified is not None and verified.result == "healed":
                self._succeeded(incident, rule, "healed", f"{verified.reason}, by {step.action} of its escalation")
                return
        if incident.id in self.incidents.open:
            tried = f"; given up after {incident.attempts} attempts" if incident.attempts else ""
            self._close(incident.id, "failed", f"{reason}{tried}", "exhausted")

    # --- parking and closing ------------------------------------------------------------------------------------

    def _park(self, incident_id: str, wait: Wait) -> None:
        incident = self.incidents.open.get(incident_id)
        if incident is None:
            return
        self.observer.decision(incident.rule, "wait", wait.code)
        self.incidents.update(
            incident_id, state="waiting", due_at=wait.until, waiting_for=wait.code, reason=wait.reason
        )
        self.timers.set(incident_id, wait.until)

    def _close(self, incident_id: str, outcome: Any, reason: str, code: str = "") -> None:
        if incident_id not in self.incidents.open:
            return
        self.timers.drop(incident_id)
        self.progress.pop(incident_id, None)
        self.subjects.pop(incident_id, None)
        self._superseded.pop(incident_id, None)
        self.closed(self.incidents.close(incident_id, outcome, reason, code))

    def failed_inside(self, incident_target: str, error: Exception) -> None:
        """A fault of dockmend's own in a lane: the incident is not left open for ever."""
        for incident in list(self.incidents.open.values()):
            if incident.target == incident_target and incident.state != "waiting":
                self._close(incident.id, "failed", f"internal error: {type(error).__name__}: {error}", "internal")


Learned = Callable[[Iterable[Change]], None]
