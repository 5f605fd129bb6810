"""The last check before an attempt: do the limits, the hours, a person and the host's budget
allow it now?
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from dockmend.decide import (
    ACT,
    History,
    Host,
    Suppress,
    Verdict,
    WaitUntil,
    backoff,
    held_by_person,
    of_target,
)
from dockmend.journal.records import Incident
from dockmend.model import ASKED, Object, target_of
from dockmend.observer import Observer
from dockmend.pipeline.action_budget import ActionBudget
from dockmend.pipeline.attempt_end import AttemptEnds
from dockmend.pipeline.groups import OWNER_RETRY, Groups
from dockmend.pipeline.guests import CONSEQUENCES, Guests
from dockmend.pipeline.limit_renewal import LimitRenewal
from dockmend.pipeline.live_state import LiveState, outside
from dockmend.rules.rule import Rule
from dockmend.timekeeping import Clock


@dataclass(slots=True)
class AttemptGate:
    live_state: LiveState
    attempt_ends: AttemptEnds
    groups: Groups
    living: Guests
    action_budget: ActionBudget
    history: History
    host: Host
    observer: Observer
    clock: Clock
    dice: random.Random
    limit_renewal: LimitRenewal

    def _by_its_ties(
        self, incident: Incident, rule: Rule, subject: Object | None, now: float
    ) -> Suppress | WaitUntil | None:
        """What those have to say in whose namespaces it lives, and those that live in its own."""
        if rule.remedies and (why := self._comes_back_anyway(incident, subject)):
            return WaitUntil(now + OWNER_RETRY, "owner", why)
        return self.groups.hold(incident, rule, subject, now) or self.living.cut_off(
            rule, rule.then, subject
        )

    def _comes_back_anyway(self, incident: Incident, subject: Object | None) -> str:
        """Which attempt is under way that is to bring it back; "" if there is none. Its closing
        wakes this one."""
        if incident.trigger not in (*CONSEQUENCES, ASKED) or incident.cause == "stopped":
            return ""
        if self.living.treated_with(subject) not in (None, incident.id):
            return "it comes back with its owner, which is being treated"
        if self.living.restarted_with(subject) not in (None, incident.id):
            return "it comes back with its Compose project, which is being treated"
        if self.living.links_to_treated(subject) not in (None, incident.id):
            return "what it links to is being treated, and the engine does not start it meanwhile"
        return ""

    def _of_target(
        self, incident: Incident, rule: Rule, subject: Object | None, now: float
    ) -> Verdict:
        verdict = of_target(
            rule, incident.target, self.history, self.host, now, failures=incident.attempts
        )
        if isinstance(verdict, Suppress) and (kept := self.limit_renewal.kept(rule.name, subject)):
            return Suppress(verdict.code, f"{verdict.reason}; {kept}")
        return verdict

    def on(self, incident: Incident, rule: Rule, subject: Object | None) -> Verdict:
        """Asks the limits at the last moment, with no await between the answer and the attempt
        being counted."""
        now = self.clock()
        if self.live_state.frozen(incident, rule.then, subject):
            return self.attempt_ends.until_it_goes_on()
        if (held := self._by_its_ties(incident, rule, subject, now)) is not None:
            return held
        if not incident.actor and (shut := outside(rule, self.clock)) is not None:
            return shut
        renamed = target_of(subject)
        if (
            renamed != incident.target
            and (held := held_by_person(rule, renamed, self.host, now)) is not None
        ):
            return held
        verdict = self._of_target(incident, rule, subject, now)
        if verdict is not ACT:
            return verdict
        # The wait after a failed attempt was drawn when it failed; here it only holds back a new
        # incident.
        if not incident.actor and incident.waiting_for != "backoff":
            mine = self.history.targets.get((rule.name, incident.target))
            if (wait := backoff(rule.limits, mine, now, self.dice)) is not None:
                return wait
        if incident.dry_run or rule.dry_run:
            would = ", ".join(step.action for step in rule.then)
            return Suppress("dry_run", f"dry run: would have done {would}")
        if (wait := self.action_budget.ask(incident, rule, spends=rule.costs)) is not None:
            return wait
        self.observer.decision(rule.name, "act", "")
        return ACT
