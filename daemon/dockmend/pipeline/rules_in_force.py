"""The rules in force, and what each of them is for one object: the one place where the parts of the pipeline ask."""

from __future__ import annotations

from typing import Protocol

from dockmend.journal.records import Incident
from dockmend.model import Container
from dockmend.rules.model import Rule, RuleSet


class Present(Protocol):
    """The containers that are there."""

    def container(self, container_id: str) -> Container | None: ...
    def of_target(self, target: str) -> Container | None: ...


class RulesInForce:
    """A rule of labels differs from object to object, so an incident's rule is looked up together with its object."""

    def __init__(self, present: Present, rules: RuleSet | None = None) -> None:
        self._present = present
        self.all = rules or RuleSet()

    def use(self, rules: RuleSet) -> None:
        self.all = rules

    def named(self, name: str) -> Rule | None:
        """A rule as it is for no object in particular."""
        return self.all.by_name(name)

    def of(self, incident: Incident) -> Rule | None:
        """An incident's rule; None if it is gone, or if its object no longer asks for it."""
        rule = self.all.by_name(incident.rule)
        if rule is None or rule.tailor is None:
            return rule
        subject = self._present.container(incident.object_id) or self._present.of_target(incident.target)
        return rule.tailored(subject, incident.trigger)

    def about(self, name: str, target: str) -> Rule | None:
        """A rule as it is for what bears a target now: its limits, whatever the trouble."""
        rule = self.all.by_name(name)
        if rule is None or rule.tailor is None:
            return rule
        return rule.tailored(self._present.of_target(target))
