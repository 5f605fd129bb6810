"""Who comes back with whom, for commands that say what rules would do: guests with their owner,
what links to one that is made anew with that, and all that `restart_dependents` is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dockmend.action_traits import ENDS_RUN
from dockmend.mirror.dependency_graph import Edge, build, reachable
from dockmend.mirror.identities import Identities
from dockmend.model import Container
from dockmend.rules.rule import Rule, RuleSet

LIVES_IN = ("network", "pid", "ipc")
BEGINS = ENDS_RUN | {"start"}


class DependentsView:
    """Of the containers of one listing. `identities`: what is known of those that are gone, as a
    guest names the owner of its network by an id that outlives that one."""

    def __init__(
        self, containers: Iterable[Container] = (), identities: Identities | None = None
    ) -> None:
        self._graph = build(containers, identities)
        self._lives = self._above(_lives_in)
        self._follows = self._above(_lives_in_or_links)
        self._felt = self._above(lambda edge: edge.restart)

    def guests(self, owner: Container, rule: Rule | None = None) -> list[Container]:
        """Those that live in the namespaces of a container, or of one that does; by name. Where
        `rule` makes it anew, those too that link to it, or to one that is made anew with it."""
        which = _lives_in_or_links if rule is not None and makes_anew(rule) else _lives_in
        found = self._graph.dependents([owner.id], which)
        return sorted((self._graph.nodes[each] for each in found), key=lambda each: each.name)

    def owners(self, guest: Container) -> list[Container]:
        """Those in whose namespaces a container lives, directly; by name."""
        return self._named(self._lives.get(guest.id, ()))

    def owner(self, guest: Container) -> Container | None:
        """The one whose network a container shares, if that is there."""
        edges = (
            each
            for each in self._graph.edges
            if each.kind == "network" and each.dependent == guest.id
        )
        return next(
            (found for each in edges if (found := self._graph.nodes.get(each.dependency))), None
        )

    def comes_with(
        self, guest: Container, acting: Mapping[str, tuple[str, ...]], rules: RuleSet
    ) -> list[str]:
        """By which rules a container comes back though they are not about it: "heal, with vpn".
        `acting`: by id, the rules that would act on a container."""

        def of(owner: Container, which: Callable[[Rule], bool]) -> Iterator[str]:
            for name in acting.get(owner.id, ()):
                rule = rules.by_name(name)
                rule = rule.tailored(owner) if rule is not None else None
                if rule is not None and which(rule) and takes(rule, guest):
                    yield f"{name}, with {owner.name}"

        found: list[str] = []
        for owner in self._behind(guest, self._lives):
            found += of(owner, begins)
        for owner in self._behind(guest, self._follows):
            found += of(owner, makes_anew)
        for owner in self._behind(guest, self._felt):
            found += of(owner, follows)
            found += [
                f"{name}, with {owner.name}'s dependents"
                for name in self._groups(guest, owner, acting, rules)
            ]
        return list(dict.fromkeys(found))

    def in_group_of(self, guest: Container, rule: Rule) -> tuple[Container, Container] | None:
        """The owner with whose dependents a rule would bring a container back, and the one of them
        that it matches."""
        for owner in self.owners(guest) if rule.grouped else ():
            if not rule.wanted_with(guest, (owner,)):
                continue  # by labels only those that ask are brought back
            for each in self.sharing(owner):
                if each.id != guest.id and _matches(rule, each) and rule.wanted(each, owner):
                    return owner, each
        return None

    def _groups(
        self,
        guest: Container,
        owner: Container,
        acting: Mapping[str, tuple[str, ...]],
        rules: RuleSet,
    ) -> list[str]:
        """Rules that treat the group of an owner's network, which a container feels, for the sake
        of another."""
        mine = acting.get(guest.id, ()) if guest in self.sharing(owner) else ()
        names = dict.fromkeys(
            name for each in self.sharing(owner) for name in acting.get(each.id, ())
        )
        known = [rule for name in names if (rule := rules.by_name(name)) is not None]
        return [
            each.name for each in known
            if each.grouped and each.name not in mine and takes(each, guest)
            and each.wanted_with(guest, (owner,))
        ]  # fmt: skip

    def sharing(self, owner: Container) -> list[Container]:
        """Those whose network is that of an owner: one group. A one-off is nobody's fellow."""
        edges = (
            each
            for each in self._graph.edges
            if each.kind == "network" and each.dependency == owner.id
        )
        return [each for each in self._named(edge.dependent for edge in edges) if not each.one_off]

    def _above(self, which: Callable[[Edge], bool]) -> dict[str, list[str]]:
        """For each container those that are there and that it hangs on directly."""
        found: dict[str, list[str]] = {}
        for edge in self._graph.edges:
            if edge.dependency in self._graph.nodes and which(edge):
                found.setdefault(edge.dependent, []).append(edge.dependency)
        return found

    def _behind(self, guest: Container, above: Mapping[str, Iterable[str]]) -> list[Container]:
        """Those that a container hangs on, directly or through others; by name."""
        return self._named(reachable((guest.id,), above))

    def _named(self, ids: Iterable[str]) -> list[Container]:
        return sorted((self._graph.nodes[each] for each in set(ids)), key=lambda each: each.name)


def begins(rule: Rule) -> bool:
    """Whether an attempt of a rule ends or begins the run of its target, so that its guests are
    brought back."""
    return _does(rule, BEGINS)


def makes_anew(rule: Rule) -> bool:
    """Whether an attempt may put another container in the place of its target, so that links to
    that one break."""
    return _does(rule, frozenset({"recreate"}))


def follows(rule: Rule) -> bool:
    """Whether an attempt brings back what hangs on its target."""
    return not rule.grouped and _does(rule, frozenset({"restart_dependents"}))


def _does(rule: Rule, actions: frozenset[str]) -> bool:
    steps = (*rule.then, *rule.finally_, *rule.escalate)
    return any(step.action in actions and step.target is None for step in steps)


def takes(rule: Rule, container: Container) -> bool:
    """Whether a step of a rule that is about others may be done to a container: to a one-off only
    if the rule says."""
    return not container.one_off or rule.match.one_off


def _lives_in(edge: Edge) -> bool:
    return edge.kind in LIVES_IN


def _lives_in_or_links(edge: Edge) -> bool:
    return edge.kind in LIVES_IN or (edge.kind == "link" and edge.bound)


def _matches(rule: Rule, container: Container) -> bool:
    excluded = rule.exclude is not None and rule.exclude.test(container)
    return (
        rule.enabled
        and rule.match.kind == "container"
        and rule.match.test(container)
        and not excluded
    )
