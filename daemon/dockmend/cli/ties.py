"""Who lives in whose namespaces, for commands that say what rules would do: guests come back with their owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dockmend.decide import ENDS_RUN
from dockmend.mirror.graph import build
from dockmend.model import Container
from dockmend.rules.model import Rule, RuleSet

LIVES_IN = ("network", "pid", "ipc")
BEGINS = ENDS_RUN | {"start"}


class Ties:
    """Of the containers of one listing."""

    def __init__(self, containers: Iterable[Container] = ()) -> None:
        self._graph = build(containers)
        lives = [edge for edge in self._graph.edges if edge.kind in LIVES_IN and edge.dependency in self._graph.nodes]
        self._owners: dict[str, set[str]] = {}
        for edge in lives:
            self._owners.setdefault(edge.dependent, set()).add(edge.dependency)

    def guests(self, owner: Container) -> list[Container]:
        """Those that live in the namespaces of a container, or of one that does; by name."""
        found = self._graph.dependents([owner.id], lambda edge: edge.kind in LIVES_IN)
        return sorted((self._graph.nodes[each] for each in found), key=lambda each: each.name)

    def owners(self, guest: Container) -> list[Container]:
        """Those in whose namespaces a container lives, directly; by name."""
        found = self._owners.get(guest.id, ())
        return sorted((self._graph.nodes[each] for each in found), key=lambda each: each.name)

    def comes_with(self, guest: Container, acting: Mapping[str, tuple[str, ...]], rules: RuleSet) -> list[str]:
        """By which rules a container comes back though they are not about it: "heal, with vpn". `acting`: by id, the
        rules that would act on a container."""
        found: list[str] = []
        for owner in self.owners(guest):
            for name in acting.get(owner.id, ()):
                rule = rules.by_name(name)
                if rule is not None and begins(rule):
                    found.append(f"{name}, with {owner.name}")
            if guest.joined is not None:
                found += [
                    f"{name}, with {owner.name}'s dependents" for name in self._groups(guest, owner, acting, rules)
                ]
        return list(dict.fromkeys(found))

    def in_group_of(self, guest: Container, rule: Rule) -> tuple[Container, Container] | None:
        """The owner with whose dependents a rule would bring a container back, and the one of them that it matches."""
        for owner in self.owners(guest) if rule.grouped else ():
            for each in self.guests(owner):
                if each.id != guest.id and each.joined is not None and _matches(rule, each):
                    return owner, each
        return None

    def _groups(
        self, guest: Container, owner: Container, acting: Mapping[str, tuple[str, ...]], rules: RuleSet
    ) -> list[str]:
        mine = acting.get(guest.id, ())
        siblings = [each for each in self.guests(owner) if each.joined is not None]
        names = dict.fromkeys(name for each in siblings for name in acting.get(each.id, ()) if name not in mine)
        return [name for name in names if (rule := rules.by_name(name)) is not None and rule.grouped]


def begins(rule: Rule) -> bool:
    """Whether an attempt of a rule ends or begins the run of its target, so that its guests are brought back."""
    steps = (*rule.then, *rule.finally_, *rule.escalate)
    return any(step.action in BEGINS and step.target is None for step in steps)


def _matches(rule: Rule, container: Container) -> bool:
    excluded = rule.exclude is not None and rule.exclude.test(container)
    return rule.enabled and rule.match.kind == "container" and rule.match.test(container) and not excluded
