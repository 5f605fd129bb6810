"""Preconditions: what a look at an incident's object showed, as far as the next step depends on
it."""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.action_traits import ENDS_RUN, STARTING, UNDOES_STOP
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, owner_in
from dockmend.pipeline.attempt import AttemptRunner
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.decide_next import Close, LiveFacts
from dockmend.pipeline.live_state import MISSING, STUCK, LiveState, Observation
from dockmend.rules.rule import Rule

CHANGES_RUN = ENDS_RUN | UNDOES_STOP | STARTING
"""Actions that may end or begin a run of the container that they are done to."""
HALF_DONE = frozenset({"exec", "run", "copy", "connect_network", "disconnect_network"})
"""Actions that a later step may be there to take back, such as a network that it is to have
again."""


@dataclass(slots=True)
class Preconditions:
    live_state: LiveState
    attempt_ends: AttemptEnds
    attempt_runner: AttemptRunner
    mirror: Mirror

    def facts(
        self, incident: Incident, rule: Rule, seen: Observation, began_at: float
    ) -> LiveFacts:
        """`began_at`: when the last attempt began, wall seconds.

        Asking whether the trouble stands also notes under which name it does, so it is asked only
        if that matters.
        """
        resumed = self.attempt_ends.states.get(incident.id).goes_on and not self._need_not_go_on(
            incident, rule, seen, began_at
        )
        must_stand = self._must_stand(incident, rule)
        subject = seen.subject
        container = subject if isinstance(subject, Container) else None
        return LiveFacts(
            resumed=resumed,
            gone=seen.gone and must_stand and incident.trigger != MISSING,
            over=must_stand
            and not resumed
            and not incident.actor
            and not self.live_state.stands(incident, subject),
            disconnected=bool(
                incident.network and self.mirror.left_network(incident.object_id, incident.network)
            ),
            down=container is not None and not container.running,
            stopped=container is not None and self.mirror.stopped(container.id),
            forbidden=self.live_state.forbidden(incident, rule.then, subject),
            regrouped=self._regrouped(incident),
        )

    def _regrouped(self, incident: Incident) -> str:
        """Why the dependents of an incident are another group's now; "" if they are not."""
        if (owner := owner_in(incident.target)) is None:
            return ""
        standing = self.mirror.standing_of(incident.object_id, ("orphaned",))
        if not standing or standing[0].group == incident.target:
            return ""
        now = owner_in(standing[0].group) or ""
        return f"{incident.object_name} hangs on {now} now, and not on {owner} any more"

    def _need_not_go_on(
        self, incident: Incident, rule: Rule, seen: Observation, since: float
    ) -> bool:
        """Whether an attempt that was cut short need not go on: its container is well in a run that
        began since then, and none of the steps that were done begins a run, or may have to be taken
        back. `since`: when the attempt began, wall seconds."""
        done = rule.then[: self.attempt_ends.states.get(incident.id).behind]
        subject = seen.subject
        if not isinstance(subject, Container) or not subject.running:
            return False
        if len(done) == len(rule.then) or any(
            step.action in CHANGES_RUN | HALF_DONE for step in done
        ):
            return False
        return subject.started_at > since and not self.live_state.stands(incident, subject)

    def _must_stand(self, incident: Incident, rule: Rule) -> bool:
        """What only tells, tells of what was: it may well be over by the remedy that came before it
        in this lane."""
        return rule.remedies or rule.hold > 0 or incident.waiting_for == "window"

    async def no_failure(self, incident: Incident, rule: Rule) -> Close | None:
        """How an incident ends whose attempt failed because its container was stopped or removed
        meanwhile: that is nobody's failure, and no reason to give up on what takes its place. None
        if the attempt failed for another reason. Raises EngineError if that cannot be known."""
        if (
            incident.kind != "container"
            or incident.trigger == MISSING
            or owner_in(incident.target) is not None
            or not self._must_stand(incident, rule)
        ):
            return None
        seen = await self.live_state.look(incident)
        container = seen.subject
        if seen.gone:
            return Close("interrupted", "it was removed meanwhile")
        if incident.trigger == STUCK:
            return None
        if isinstance(container, Container) and container.state == "removing":
            return Close("interrupted", "it was removed meanwhile")
        if not isinstance(container, Container) or container.running or incident.cause == "stopped":
            return None
        if not self.mirror.settled(container.id):
            await self.attempt_runner.hear_out(incident, container.id)
        if incident.even_if_stopped or not self.mirror.stopped(container.id):
            return None
        return Close("on_purpose", "stopped by a person", "stopped")
