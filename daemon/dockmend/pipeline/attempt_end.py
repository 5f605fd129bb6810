"""What follows an attempt: its incident is parked or closed, its breaker opens or closes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dockmend.decide import History, WaitUntil, backoff, exhausted, span_text
from dockmend.journal.records import Incident, Outcome
from dockmend.observer import Observer
from dockmend.pipeline.action_budget import ActionBudget
from dockmend.pipeline.attempt_state import AttemptStates
from dockmend.pipeline.breakers import Breakers
from dockmend.pipeline.decide_next import AwaitUnpause, Close, GiveWay, GuestsOut
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.live_state import LiveState
from dockmend.pipeline.timers import Timers
from dockmend.rules.rule import Rule

NOTHING_TRIED_RETRY = 30.0
"""Seconds between two verifications of one that has no trouble any more and is not well either:
such as one whose health check has no verdict yet."""
FROZEN_RETRY = 60.0
"""Seconds after which an incident whose container somebody paused looks anyway: mostly the
unpausing wakes it."""


@dataclass(slots=True)
class AttemptEnds:
    """`closed` is called after each closing, for what came up meanwhile. `clock`: dockmend's."""

    incidents: Incidents
    breakers: Breakers
    action_budget: ActionBudget
    history: History
    live_state: LiveState
    observer: Observer
    timers: Timers
    clock: Callable[[], float]
    dice: random.Random
    closed: Callable[[Incident], None]
    states: AttemptStates = field(default_factory=AttemptStates)
    # targets of which something waits for its rule's hours
    put_off: set[str] = field(default_factory=set)

    def is_open(self, incident_id: str) -> bool:
        return incident_id in self.incidents.open

    def until_it_goes_on(self) -> WaitUntil:
        """What is done about a container that somebody paused."""
        return WaitUntil(
            self.clock() + FROZEN_RETRY,
            "paused",
            "somebody paused it: it is looked at when it goes on",
        )

    def park(self, incident_id: str, wait: WaitUntil) -> None:
        """It waits, with a timer that brings it back."""
        incident = self.incidents.open.get(incident_id)
        if incident is None:
            return
        self.observer.decision(incident.rule, "wait", wait.code)
        # why it is escalated outlives a wait
        self.wait(incident_id, wait, wait.reason if incident.rung is None else incident.reason)

    def wait(self, incident_id: str, wait: WaitUntil, reason: str) -> None:
        incident = self.incidents.update(
            incident_id, state="waiting", due_at=wait.until, waiting_for=wait.code, reason=reason,
            **self.states.get(incident_id).stored,
        )  # fmt: skip
        if wait.code == "window":
            self.put_off.add(incident.target)
        if incident_id not in self.action_budget:  # which brings it back itself
            self.action_budget.release(incident_id)
            self.timers.set(incident_id, wait.until)

    def close(self, incident_id: str, outcome: Outcome, reason: str, code: str = "") -> None:
        incident = self.drop(incident_id, outcome, reason, code)
        if incident is not None:
            self.closed(incident)

    def drop(
        self, incident_id: str, outcome: Outcome, reason: str, code: str = ""
    ) -> Incident | None:
        """Closes without looking at what came up meanwhile: for one whose place is taken at
        once."""
        if incident_id not in self.incidents.open:
            return None
        self.timers.drop(incident_id)
        self.states.drop(incident_id)
        self.live_state.kept.pop(incident_id, None)
        self.action_budget.release(incident_id)
        return self.incidents.close(incident_id, outcome, reason, code)

    def succeeded(self, incident: Incident, rule: Rule, outcome: Outcome, reason: str) -> None:
        mine = self.history.of(rule.name, incident.target)
        mine.ended_at = self.clock()
        self.breakers.worked(rule, incident.target)
        self.close(incident.id, outcome, reason)

    def verified(
        self, incident: Incident, rule: Rule, end: GuestsOut | Close | AwaitUnpause | GiveWay
    ) -> None:
        """A verification ended neither well nor badly."""
        match end:
            case GuestsOut(reason):
                self.guests_are_out(incident, rule, reason)
            case Close(outcome, reason, code):
                self.close(incident.id, outcome, reason, code)
            case AwaitUnpause():
                self.park(incident.id, self.until_it_goes_on())
            case GiveWay():
                self.gave_way(incident.id)

    def guests_are_out(self, incident: Incident, rule: Rule, reason: str) -> None:
        """It is well itself, and what is to come back with it is not: to try it again would only
        cut them off again. Their own troubles are offered to the rules."""
        self.history.of(rule.name, incident.target).ended_at = self.clock()
        self.breakers.worked(rule, incident.target)
        why = f"it is well again, but not all that is to come back with it: {reason}"
        self.close(incident.id, "failed", why, "guests")

    def failed(self, incident: Incident, rule: Rule, reason: str, *, again: bool) -> bool:
        """One attempt failed: the next one waits. True where there is none: the breaker
        opened, and it is to be escalated."""
        now = self.clock()
        mine = self.history.of(rule.name, incident.target)
        # The trouble went after an attempt, and it did not become well: nothing new was tried
        # since.
        only_verified = mine.ended_at > max(mine.attempts, default=0.0)
        mine.ended_at = now
        self.states.get(incident.id).forget_steps()
        self.live_state.persists(incident)
        if self.gave_way(incident.id):
            return False
        if not again or exhausted(rule.limits, mine, incident.attempts, now):
            return self.give_up(incident, rule, reason)
        waits = backoff(rule.limits, mine, now, self.dice) or _without_backoff(now, only_verified)
        self.park(incident.id, WaitUntil(waits.until, "backoff", f"{reason}; {waits.reason}"))
        return False

    def gave_way(self, incident_id: str) -> bool:
        """Closes an incident whose rule was triggered again (mode: restart); False where it was
        not."""
        reason = self.states.get(incident_id).superseded_by
        if not reason:
            return False
        self.close(incident_id, "interrupted", reason)
        return True

    def give_up(self, incident: Incident, rule: Rule, reason: str) -> bool:
        """Opens the breaker. False where it was open already: it was escalated then, and is not
        again."""
        if self.breakers.open(rule, incident.target, reason):
            return True
        self.close(
            incident.id,
            "failed",
            f"{reason}; tried once more, and its breaker stays open",
            "exhausted",
        )
        return False


def _without_backoff(now: float, only_verified: bool) -> WaitUntil:
    """What comes after a failure if the rule's backoff asks for no wait. `only_verified`: nothing
    was tried again."""
    if only_verified:
        return WaitUntil(
            now + NOTHING_TRIED_RETRY,
            "backoff",
            f"verified again in {span_text(NOTHING_TRIED_RETRY)}",
        )
    return WaitUntil(now, "backoff", "now it is tried again")
