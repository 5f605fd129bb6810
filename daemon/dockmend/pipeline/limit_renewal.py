"""Fresh limits for a container that a person made in another way than the one before it.

Limits belong to a target, and a target outlives its containers. Somebody who only makes the same
container again, such as `docker compose up --force-recreate` in a loop, must not get endless
attempts. But a changed image, command, environment, mount or limit is a new try of that person's,
and dockmend knows nothing about it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from dockmend.decide import History, TargetHistory, rest_of
from dockmend.journal.journal_api import Journal
from dockmend.mirror import Mirror
from dockmend.model import Container, Object, target_of
from dockmend.pipeline.breakers import Breakers, reset_line
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.rules_in_force import RulesInForce

OFTEN = 5
"""How often a target begins anew within the rest of its breaker, where its rule has no number of
attempts to say so: an orchestrator that stamps the time into each environment makes another
container each time."""

log = structlog.get_logger("dockmend.breakers")


@dataclass(slots=True)
class LimitRenewal:
    history: History
    breakers: Breakers
    incidents: Incidents
    journal: Journal
    mirror: Mirror
    clock: Callable[[], float]
    rules: RulesInForce

    def of(self, subject: Object | None) -> None:
        """To be asked before the limits are: what is about to be answered is a trouble of
        `subject`."""
        if not isinstance(subject, Container):
            return
        target = target_of(subject)
        tried = self.history.tried.get(target, subject.id)
        if tried == subject.id or self._has_it_in_hand(target) or self._is_there(tried, target):
            return
        if not self.mirror.identities.made_another_way(tried, subject.id):
            return
        rules = [rule for rule, of in self.history.targets if of == target]
        begun_anew = [self._begin_anew(rule, target, subject) for rule in rules]
        if all(begun_anew):
            self.history.tried[target] = subject.id

    def kept(self, rule: str, subject: Object | None) -> str:
        """What is to be said of limits that a container before this one used up; else ""."""
        if not isinstance(subject, Container):
            return ""
        target = target_of(subject)
        tried = self.history.tried.get(target, subject.id)
        if subject.id in (tried, self.mirror.identities.heir_of(tried)):
            return ""
        return (
            "that was the container before this one; to let this one have its own: "
            f"{reset_line(rule, target)}"
        )

    def _has_it_in_hand(self, target: str) -> bool:
        """Whether something is done to it, which may be to make it anew: who is whose heir is known
        at its end."""
        return any(each.target == target for each in self.incidents.open.values())

    def _is_there(self, tried: str, target: str) -> bool:
        """Whether what was tried is still there, and is still called so."""
        found = self.mirror.container(self.mirror.identities.heir_of(tried))
        return found is not None and target_of(found) == target

    def _begin_anew(self, name: str, target: str, subject: Container) -> bool:
        """False where it did so too often."""
        rule, now = self.rules.about(name, target), self.clock()
        before = self.history.of(name, target)
        window = rest_of(rule.limits) if rule is not None else 0.0
        most = rule.limits.attempts[0] if rule is not None and rule.limits.attempts else OFTEN
        renewed = [at for at in before.renewed if at + window > now]
        if len(renewed) >= most:
            return False
        if before.breaker_at is not None:
            self.breakers.close(name, target)
        self.history.targets[name, target] = TargetHistory(renewed=[*renewed, now])
        key = ("reset", name, target)
        self.incidents.backlog.write(key, self.journal.put_reset, name, target, now)
        log.info(
            "begins anew: it was made another way",
            id="limits_renewed",
            rule=name,
            target=target,
            container=subject.id[:12],
        )
        return True
