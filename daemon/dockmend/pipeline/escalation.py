"""Escalation: what a rule does, step by step, once its attempts are used up.

The incident's record holds how far it came (`rung`). So no lost engine and no restart of dockmend
runs the same step twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.decide import History, Host, Suppress, WaitUntil, held_by_person
from dockmend.journal.records import AttemptStage, Incident
from dockmend.model import Object, target_of
from dockmend.observer import Observer
from dockmend.pipeline.action_budget import ActionBudget
from dockmend.pipeline.attempt import AttemptRunner
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.decide_next import Failed, Succeeded, after_verification
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import WorkerCaps
from dockmend.pipeline.live_state import LiveState, Observation, outside
from dockmend.pipeline.preconditions import Preconditions
from dockmend.pipeline.verification import pauses
from dockmend.rules.rule import Rule, Step
from dockmend.timekeeping import Clock


@dataclass(slots=True)
class Escalation:
    attempt_runner: AttemptRunner
    live_state: LiveState
    attempt_ends: AttemptEnds
    incidents: Incidents
    history: History
    host: Host
    observer: Observer
    clock: Clock
    caps: WorkerCaps
    action_budget: ActionBudget
    preconditions: Preconditions

    async def climb(self, incident: Incident, rule: Rule, reason: str) -> None:
        """From the rung where the incident is: the first remedy that heals ends it, the last rung
        closes it."""
        verifying = incident.stage is AttemptStage.MADE and incident.rung
        self.attempt_ends.states.get(incident.id).forget_steps()
        incident = self.incidents.update(
            incident.id, state="acting", rung=incident.rung or 0, reason=reason, waiting_for="",
            due_at=None, stage=AttemptStage.STEPS,
        )  # fmt: skip
        if verifying:
            await self.attempt_runner.bring_guests_back(incident, rule)
            if await self._worked(incident, rule, rule.escalate[verifying - 1], incident.opened_at):
                return
        while (rung := self.incidents.open[incident.id].rung or 0) < len(rule.escalate):
            if self.attempt_runner.cut(incident.id):
                self.attempt_ends.gave_way(incident.id)
                return
            incident = self.incidents.open[incident.id]
            if not await self._one(incident, rule, rule.escalate[rung], rung):
                return
        if close := await self.preconditions.no_failure(incident, rule):
            self.attempt_ends.close(incident.id, close.outcome, close.reason, close.code)
            return
        self.live_state.persists(self.incidents.open[incident.id])
        tried = f"; given up after {incident.attempts} attempts" if incident.attempts else ""
        self.attempt_ends.close(incident.id, "failed", f"{reason}{tried}", "exhausted")

    async def _one(self, incident: Incident, rule: Rule, step: Step, rung: int) -> bool:
        """True where the next rung is to be climbed."""
        if not step.available:
            self.incidents.update(incident.id, rung=rung + 1)
            return True
        if (seen := await self._allowed(incident, rule, step, rung)) is None:
            return self._climbs_on(incident.id)
        async with self.caps.of(changes=not step.tells).taken(
            self.action_budget.rank(incident)
        ) as waited:
            if waited and (seen := await self._allowed(incident, rule, step, rung)) is None:
                return self._climbs_on(incident.id)
            if wait := self._wait(incident, rule, step, seen.subject):
                self.attempt_ends.park(incident.id, wait)
                return False
            began_at = self.clock()
            if not step.tells:
                self.history.acted(began_at)
            failure = await self.attempt_runner.step(
                incident, rule, step, seen.subject, "escalate", began_at
            )
            if self.attempt_ends.is_open(
                incident.id
            ) and self.attempt_runner.steps.living.to_bring_back(incident.id):
                self.attempt_ends.states.of(incident.id).all_done()
                self.incidents.update(
                    incident.id, rung=rung + 1, state="verifying", stage=AttemptStage.MADE
                )
                await self.attempt_runner.bring_guests_back(incident, rule)
            self.attempt_ends.states.get(incident.id).forget_steps()
        if not self.attempt_ends.is_open(incident.id):
            return False
        self.incidents.update(incident.id, rung=rung + 1, state="acting", stage=AttemptStage.STEPS)
        if failure is not None or step.tells:
            return True
        return not await self._worked(incident, rule, step, began_at)

    async def _allowed(
        self, incident: Incident, rule: Rule, step: Step, rung: int
    ) -> Observation | None:
        """The live state; None where the step may not be taken on it: the next rung comes, it
        waits, or all is over."""
        seen = await self.live_state.look(incident)
        if not self.attempt_ends.is_open(incident.id):
            return None
        living = self.attempt_runner.steps.living
        forbidden = self.live_state.forbidden(incident, (step,), seen.subject)
        if forbidden := forbidden or living.cut_off(rule, (step,), seen.subject):
            self._skip(incident, rule, forbidden, rung)
            return None
        if not pauses(rule) and self.live_state.frozen(incident, (step,), seen.subject):
            self.attempt_ends.park(incident.id, self.attempt_ends.until_it_goes_on())
            return None
        return seen

    def _climbs_on(self, incident_id: str) -> bool:
        incident = self.incidents.open.get(incident_id)
        return incident is not None and incident.state != "waiting"

    async def _worked(self, incident: Incident, rule: Rule, step: Step, began_at: float) -> bool:
        """True where the incident is over, or is to be left as it is."""
        if not self.attempt_runner.verifiable(incident, rule, (step,)):
            return False
        # whatever interrupts this, it is not made again
        self.attempt_ends.states.of(incident.id).all_done()
        self.incidents.update(incident.id, state="verifying", stage=AttemptStage.MADE)
        await self.live_state.look(incident)
        verified = await self.attempt_runner.outcome(incident, rule, began_at)
        left_out = self.attempt_runner.left_out.pop(incident.id, "")
        match after_verification(verified, left_out):
            case Failed():
                self.attempt_ends.states.get(incident.id).forget_steps()
                self.live_state.persists(incident)
                return False
            case Succeeded(reason):
                self.attempt_ends.succeeded(
                    incident, rule, "healed", f"{reason}, by {step.action} of its escalation"
                )
            case end:
                self.attempt_ends.verified(incident, rule, end)
        return True

    def _wait(
        self, incident: Incident, rule: Rule, step: Step, subject: Object | None
    ) -> WaitUntil | None:
        """Person and host come before escalation too."""
        if step.tells:
            return None
        now = self.clock()
        shut = None if incident.actor else outside(rule, self.clock)
        if isinstance(shut, WaitUntil):
            return shut
        # it may have been renamed
        for target in dict.fromkeys((incident.target, target_of(subject))):
            if held := held_by_person(rule, target, self.host, now):
                return held
        return self.action_budget.ask(incident, rule, spends=1, rated=False)

    def _skip(self, incident: Incident, rule: Rule, forbidden: Suppress, rung: int) -> None:
        self.observer.decision(rule.name, "suppress", forbidden.code)
        self.incidents.update(incident.id, rung=rung + 1)
