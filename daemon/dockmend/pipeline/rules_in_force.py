"""The rules in force, and what each of them is for one object: the one place where the parts of the
pipeline ask."""

from __future__ import annotations

from typing import Protocol

from dockmend.journal.records import Incident
from dockmend.model import Container, owner_in
from dockmend.rules.rule import Rule, RuleSet


class PresentObjects(Protocol):
    """The containers that are there."""

    def container(self, container_id: str) -> Container | None: ...
    def of_target(self, target: str) -> Container | None: ...
    def owners(self, container: Container) -> list[Container]: ...
    def guests(self, owner: str) -> list[Container]: ...


class RulesInForce:
    """A rule of labels differs from object to object, so an incident's rule is looked up together
    with its object."""

    def __init__(self, present: PresentObjects, rules: RuleSet | None = None) -> None:
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
        if rule is not None and rule.asks is not None and not incident.attempts:
            # What was begun is finished: it may have stopped some of them.
            return rule if self._somebody_asks(rule, incident.target) else None
        if rule is None or rule.tailor is None:
            return rule
        subject = self._present.container(incident.object_id) or self._present.of_target(
            incident.target
        )
        return rule.tailored(subject, incident.trigger)

    def asks(self, incident: Incident, guest: Container) -> bool:
        """Whether one may be treated with others of its group: it asks for the incident's rule as
        well, if that is a rule of labels."""
        rule = self.all.by_name(incident.rule)
        return rule is None or self._may_ask(rule, guest)

    def why_none(self, incident: Incident) -> str:
        """Why `of` found no rule."""
        rule = self.all.by_name(incident.rule)
        gone = rule is None or not rule.enabled
        return "its rule is no longer in force" if gone else "the labels that asked for it are gone"

    def about(self, name: str, target: str) -> Rule | None:
        """A rule as it is for what bears a target now: its limits, whatever the trouble. None if it
        is gone, or if what is there asks for nothing of the kind."""
        rule = self.all.by_name(name)
        if rule is None or not self._somebody_asks(rule, target):
            return None
        return rule if rule.tailor is None else rule.tailored(self._present.of_target(target))

    def _somebody_asks(self, rule: Rule, target: str) -> bool:
        """False if a rule is for those that ask by labels, and of a group that is there nobody
        does."""
        if rule.asks is None:
            return True
        guests = self._present.guests(owner_in(target) or "")
        return not guests or any(self._may_ask(rule, each) for each in guests)

    def _may_ask(self, rule: Rule, guest: Container) -> bool:
        """Also if one of its owners is gone, or was made again and not looked at yet: the label may
        be that one's, and its group waits for it."""
        owners = self._present.owners(guest)
        return len(owners) < len(guest.owners) or rule.wanted_with(guest, owners)
