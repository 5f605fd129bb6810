"""Preconditions: after the look at an incident's object, is there still anything to do? If not,
how does it end?
"""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.action_traits import ENDS_RUN, STARTING, UNDOES_STOP
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, Object, owner_in
from dockmend.observer import Observer
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.live_state import MISSING, LiveState, Observation
from dockmend.pipeline.verification import left_on_purpose
from dockmend.rules.rule import Rule

CHANGES_RUN = ENDS_RUN | UNDOES_STOP | STARTING
"""Actions that may end or begin a run of the container that they are done to."""
HALF_DONE = frozenset({"exec", "run", "copy", "connect_network", "disconnect_network"})
"""Actions that a later step may be there to take back, such as a network that it is to have again."""


@dataclass(slots=True)
class Preconditions:
    live_state: LiveState
    attempt_ends: AttemptEnds
    mirror: Mirror
    observer: Observer

    def may_go_on(self, incident: Incident, rule: Rule, seen: Observation, resumed: bool) -> bool:
        """Whether an attempt that was cut short can be gone on with, or made anew: asked, and nothing is closed."""
        must_stand = self._must_stand(incident, rule)
        gone = seen.gone and must_stand and incident.trigger != MISSING
        over = must_stand and not resumed and not incident.actor and not self.live_state.stands(incident, seen.subject)
        return not gone and not over and self.live_state.forbidden(incident, rule.then, seen.subject) is None

    def is_over(self, incident: Incident, rule: Rule, seen: Observation, since: float) -> bool:
        """Whether an attempt that was cut short need not go on: its container is well in a run that began since then,
        and none of the steps that were done begins a run, or may have to be taken back. `since`: when the attempt
        began, wall seconds."""
        done = rule.then[: self.attempt_ends.states.get(incident.id).behind]
        subject = seen.subject
        if not isinstance(subject, Container) or not subject.running:
            return False
        if len(done) == len(rule.then) or any(step.action in CHANGES_RUN | HALF_DONE for step in done):
            return False
        return subject.started_at > since and not self.live_state.stands(incident, subject)

    def _must_stand(self, incident: Incident, rule: Rule) -> bool:
        """What only tells, tells of what was: it may well be over by the remedy that came before it in this lane."""
        return rule.remedies or rule.hold > 0 or incident.waiting_for == "window"

    async def is_leaving(self, incident: Incident, rule: Rule) -> bool:
        """Whether the container of an attempt that cannot succeed was removed meanwhile, or is being: that is nobody's
        failure, and no reason to give up on what takes its place. Raises EngineError where that cannot be known."""
        if (
            incident.kind != "container"
            or incident.trigger == MISSING
            or owner_in(incident.target) is not None
            or not self._must_stand(incident, rule)
        ):
            return False
        seen = await self.live_state.look(incident)
        return seen.gone or (isinstance(seen.subject, Container) and seen.subject.state == "removing")

    def of(self, incident: Incident, rule: Rule, seen: Observation, *, resumed: bool, cut: bool = False) -> bool:
        """False where there is nothing to do any more: then it is closed, or still open where it is to be verified."""
        close = self.attempt_ends.close
        must_stand = self._must_stand(incident, rule)
        if seen.gone and must_stand and incident.trigger != MISSING:
            if resumed or cut or incident.actor:
                close(incident.id, "interrupted", "it is gone")
            else:
                close(incident.id, "recovered", "recovered on its own: it is gone")
        elif must_stand and not resumed and not incident.actor and not self.live_state.stands(incident, seen.subject):
            self._no_more(incident, seen.subject)
            return False
        elif forbidden := self.live_state.forbidden(incident, rule.then, seen.subject):
            close(incident.id, "suppressed", forbidden.reason, forbidden.code)
            self.observer.decision(rule.name, "suppress", forbidden.code)
        return self.attempt_ends.is_open(incident.id)

    def _no_more(self, incident: Incident, subject: Object | None) -> None:
        """The trouble does not stand any more. Left open: one that was treated and may be well."""
        if incident.network and self.mirror.left_network(incident.object_id, incident.network):
            self.attempt_ends.close(incident.id, "on_purpose", left_on_purpose(incident.network), "on_purpose")
        elif not incident.attempts:
            by = "with what was treated beside it" if incident.waiting_for == "owner" else "on its own"
            self.attempt_ends.close(incident.id, "recovered", f"recovered {by}")
        elif isinstance(subject, Container) and not subject.running:
            if self.mirror.stopped(subject.id):
                self.attempt_ends.close(incident.id, "on_purpose", "stopped by a person", "stopped")
            else:
                self.attempt_ends.close(incident.id, "interrupted", "it ended again, and that is a trouble of its own")
