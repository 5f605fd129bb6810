"""Recovery: what becomes of an incident after dockmend found out how a step ended that was cut
short.
"""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.actions.action import Settled
from dockmend.decide import History
from dockmend.errors import NotFound
from dockmend.journal.records import ActionRecord, AttemptStage, Incident
from dockmend.mirror import Mirror
from dockmend.pipeline.attempt import AttemptRunner
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.step_runner import WITHIN, StepRunner
from dockmend.rules.rule import Rule
from dockmend.timekeeping import Clock


@dataclass(slots=True)
class Recovery:
    steps: StepRunner
    attempt_runner: AttemptRunner
    attempt_ends: AttemptEnds
    incidents: Incidents
    history: History
    mirror: Mirror
    clock: Clock

    async def all_of(self, incident: Incident, rule: Rule | None) -> None:
        """Settles what is unsettled. Raises EngineError, JournalError."""
        while unsettled := self.steps.unsettled.get(incident.id):
            # The members of a group come before the group, which goes on from what became of them.
            record = min(unsettled, key=lambda each: each.part not in WITHIN)
            settled = await self.steps.settle(record, incident, rule)
            unsettled.remove(record)
            if self.attempt_ends.is_open(incident.id):
                incident = self.incidents.open[incident.id]
                await self._one(incident, rule, record, settled)
        self.steps.unsettled.pop(incident.id, None)

    async def _one(
        self, incident: Incident, rule: Rule | None, record: ActionRecord, settled: Settled
    ) -> None:
        """What a settled step means for its incident. Where nothing of an attempt was done, it is
        made anew."""
        state = self.attempt_ends.states.of(incident.id)
        if record.part == "then":
            state.finally_owed = True
        if record.part == "escalate" and settled.done:
            self.incidents.update(
                incident.id,
                rung=(incident.rung or 0) + 1,
                state="verifying",
                stage=AttemptStage.MADE,
            )
        if record.part == "finally" and settled.done and state.stage is AttemptStage.STEPS:
            state.one_more()
        if record.part == "after":
            await self._stop_again(incident, rule, record, done=settled.done)
        if record.part == "then":
            self._of_then(incident, rule, record, settled)
        if record.object_id in self.steps.owed:
            closes = record.part != "member" and self.attempt_runner.is_its_own(
                incident, record.object_id
            )
            await self.attempt_runner.stop_what_was_stopped(
                incident, rule, record.object_id, closes=closes
            )

    def _of_then(
        self, incident: Incident, rule: Rule | None, record: ActionRecord, settled: Settled
    ) -> None:
        state, mine = (
            self.attempt_ends.states.of(incident.id),
            self.history.of(incident.rule, incident.target),
        )
        if settled.done:
            state.one_more()
        elif not state.goes_on:
            state.forget_steps()
            if settled.untouched:
                self.take_back(incident, rule, record.began_at)
        else:
            # It counts: a step that takes the engine down each time must not be repeated for ever.
            self.history.attempted(incident.rule, incident.target, self.clock(), actions=0)
            if (
                rule
                and (limit := rule.limits.attempts)
                and mine.in_window(self.clock(), limit[1]) > limit[0]
            ):
                state.forget_steps()

    async def _stop_again(
        self, incident: Incident, rule: Rule | None, record: ActionRecord, *, done: bool
    ) -> None:
        """A person's stop that a restart had swallowed: what dockmend began for that person is
        finished. The incident is over with it, unless it goes on: it is about another container, or
        a group of them is treated."""
        whole = not self.steps.unsettled.get(incident.id) and self.attempt_runner.is_its_own(
            incident, record.object_id
        )
        if done:
            self.attempt_runner.stopped_for_person(incident, record.object_id, closes=whole)
            return
        try:
            container = await self.steps.engine.inspect(record.object_id)
        except NotFound:
            return
        before = record.undo.get("stop")
        if isinstance(before, dict):
            same = before.get("started_at") == container.started_at
        else:  # it was cut off before it was written down which run it was
            same = container.started_at <= self.clock.wall_at(record.began_at)
        if same:
            await self.attempt_runner.stop_for_person(incident, rule, container, closes=whole)

    def take_back(self, incident: Incident, rule: Rule | None, counted_at: float) -> None:
        """An attempt in which nothing was asked of the engine was none."""
        self.history.take_back(
            incident.rule, incident.target, counted_at, rule.costs if rule is not None else 1
        )
        self.attempt_ends.states.of(incident.id).began_at = None
        # If it is down now, it died while we waited for its restart. We had attributed that exit to
        # ourselves, so it must still be treated.
        if not self.mirror.taken_down(incident.object_id):
            self.incidents.update(incident.id, attempts=incident.attempts - 1)
