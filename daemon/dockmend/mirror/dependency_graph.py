"""The dependency graph of a host: which container depends on which, and how. Pure: built from
inspect answers.

A restart of one container affects others that share its namespaces, link to it, or are declared
to depend on it. The graph says which they are. dockmend.mirror.restart_order says in which order
to take them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from dockmend.mirror.identities import Identities, is_id, short
from dockmend.mirror.resolver import Resolver, Snapshot
from dockmend.model import COMPOSE_PROJECT, Container
from dockmend.rules.owner_labels import CONDITIONS, Condition, depends_on

COMPOSE_DEPENDS = "com.docker.compose.depends_on"
ENGINES_OWN = frozenset({"bridge", "host", "none", "default", "ingress", "docker_gwbridge"})
"""Networks in which containers do not find each other by alias."""

EdgeKind = Literal["network", "pid", "ipc", "link", "volumes", "compose", "label"]


class Edge(Struct, frozen=True):
    """`dependent` (an id) depends on another container: its id, or a key of
    `DependencyGraph.missing`."""

    dependent: str
    dependency: str
    kind: EdgeKind
    condition: Condition = "service_started"
    restart: bool = True  # a restart of the dependency asks for one of the dependent
    # to that one container: where another takes its place, the dependent must be made anew
    bound: bool = False
    stale: bool = False  # the one it is bound to is gone, and the dependency took its place


class Shared(Struct, frozen=True):
    """A user's network in which containers find each other by alias: a weak tie that is shown and
    never treated."""

    network: str
    members: tuple[tuple[str, tuple[str, ...]], ...]  # (container's id, its aliases there)


class DependencyGraph(Struct, frozen=True):
    nodes: dict[str, Container]
    edges: tuple[Edge, ...]
    missing: dict[str, str]  # key -> what is named but not there, for a person
    shared: tuple[Shared, ...] = ()
    lost: dict[str, str] = {}  # key -> by what the memory knows it; see Identities.was_taken

    def needs(self, which: Callable[[Edge], bool] = lambda edge: True) -> dict[str, set[str]]:
        """For each container those that it hangs on, as far as they are there: what the planner
        asks for."""
        found: dict[str, set[str]] = {node: set() for node in self.nodes}
        for edge in self.edges:
            if edge.dependency in self.nodes and which(edge):
                found[edge.dependent].add(edge.dependency)
        return found

    def dependents(
        self, roots: Iterable[str], which: Callable[[Edge], bool] = lambda edge: edge.restart
    ) -> set[str]:
        """Those that feel a restart of `roots`, directly or through others; the roots themselves
        left out."""
        return reachable(roots, self.behind(which))

    def behind(
        self, which: Callable[[Edge], bool] = lambda edge: edge.restart
    ) -> dict[str, list[str]]:
        """For each container those that hang directly on it; who asks about many makes this once
        (`reachable`)."""
        found: dict[str, list[str]] = {}
        for edge in self.edges:
            if which(edge):
                found.setdefault(edge.dependency, []).append(edge.dependent)
        return found

    def lacks(self, dependent: str) -> str:
        """What a container is bound to and nobody took the place of, for a person; "" where there
        is nothing."""
        bound = (each.dependency for each in self.edges_of(dependent) if each.bound)
        return next((self.missing[each] for each in bound if each in self.missing), "")

    def cut_off(self, taken: Callable[[str], bool]) -> set[str]:
        """Those that hang directly on something that is not there any more, if that was `taken`
        (see `lost`). Volumes outlive the container that they came from, and what waited for a job
        has it behind it."""
        return {
            edge.dependent for edge in self.edges
            if edge.kind != "volumes" and edge.condition != "service_completed_successfully"
            if edge.dependency in self.lost and taken(self.lost[edge.dependency])
        }  # fmt: skip

    def edges_of(self, dependent: str) -> list[Edge]:
        return [edge for edge in self.edges if edge.dependent == dependent]


def reachable(roots: Iterable[str], behind: Mapping[str, Iterable[str]]) -> set[str]:
    """All that hang on `roots`, directly or through others; the roots themselves left out."""
    todo = list(roots)
    left_out, found = set(todo), set[str]()
    while todo:
        for dependent in behind.get(todo.pop(), ()):
            if dependent not in found and dependent not in left_out:
                found.add(dependent)
                todo.append(dependent)
    return found


def build(containers: Iterable[Container], identities: Identities | None = None) -> DependencyGraph:
    """The graph of these containers. `identities`: what is known of those that are gone."""
    present = Snapshot(containers)
    nodes = present.nodes
    names = _Names(Resolver(present, identities or Identities()), nodes)
    edges: dict[tuple[str, str, EdgeKind], Edge] = {}
    for container in nodes.values():
        for edge in _edges(container, names):
            if edge.dependency != edge.dependent:
                edges.setdefault((edge.dependent, edge.dependency, edge.kind), edge)
    return DependencyGraph(nodes, tuple(edges.values()), names.missing, _shared(nodes), names.lost)


class _Names:
    """Who is meant by a reference or a service, and what nobody is meant by."""

    def __init__(self, resolver: Resolver, nodes: Mapping[str, Container]) -> None:
        self.resolver = resolver
        self.nodes = nodes
        self.services: dict[tuple[str, str], list[str]] = {}
        self.missing: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        for each in nodes.values():
            if (made := each.compose_service) is not None:
                self.services.setdefault((made.project, made.service), []).append(each.id)

    def tie(self, dependent: Container, reference: str, kind: EdgeKind, **more: Any) -> Edge:
        found = self.resolver.container(reference)
        if found is not None:
            return Edge(dependent.id, found.id, kind, **more)
        by = reference if is_id(reference) else f"container:{reference}"
        return Edge(dependent.id, self._gone(f"container {short(reference)}", by), kind, **more)

    def namespace(self, dependent: Container, reference: str, kind: EdgeKind) -> Edge:
        """A tie by the id of an owner, which its definition names."""
        edge = self.tie(dependent, reference, kind, bound=True)
        return replace(
            edge,
            stale=is_id(reference)
            and edge.dependency in self.nodes
            and edge.dependency != reference,
        )

    def link(self, dependent: Container, name: str) -> Edge:
        """A link of the engine's bridge: the engine holds it by the container that bore the name as
        it was made, until the engine itself is started again, and until then refuses to start or to
        enter one whose link is dead."""
        edge = self.tie(dependent, name, "link", bound=True)
        linked = self.nodes.get(edge.dependency)
        return replace(
            edge, stale=linked is not None and 0.0 < dependent.created_at < linked.created_at
        )

    def service(self, project: str, service: str) -> list[str]:
        return self.services.get((project, service)) or [
            self._gone(f"service {service} of project {project}", f"compose:{project}/{service}/")
        ]

    def _gone(self, what: str, by: str) -> str:
        self.missing[f"?{what}"] = what
        self.lost[f"?{what}"] = by
        return f"?{what}"


def _edges(container: Container, names: _Names) -> Iterator[Edge]:
    me = container.id
    modes: tuple[tuple[EdgeKind, str], ...] = (
        ("network", container.network_mode), ("pid", container.pid_mode),
        ("ipc", container.ipc_mode),
    )  # fmt: skip
    for kind, mode in modes:
        if mode.startswith("container:"):
            yield names.namespace(container, mode.removeprefix("container:"), kind)
    for link in sorted(container.linked):
        yield names.link(container, link)
    for link in (link for endpoint in container.networks.values() for link in endpoint.links):
        # in a network of one's own it is but a name
        yield names.tie(container, link.partition(":")[0], "link")
    for source in container.volumes_from:
        yield names.tie(container, source.partition(":")[0], "volumes", restart=False)
    project = container.labels.get(COMPOSE_PROJECT, "")
    for service, condition, restart in _said(container.labels.get(COMPOSE_DEPENDS, "")):
        for dependency in names.service(project, service):
            # A one-off has what its service depends on for as long as it runs, and is never begun
            # anew for it.
            yield Edge(
                me, dependency, "compose", condition, restart == "true" and not container.one_off
            )
    for name, condition in depends_on(container.labels):
        yield names.tie(container, name, "label", condition=condition)


def _said(label: str) -> Iterator[tuple[str, Condition, str]]:
    """(name, condition, restart) of "name:condition:restart,…"; a label is a stranger's text, and
    may be anything."""
    for part in label.split(","):
        name, _, rest = part.strip().partition(":")
        said, _, restart = rest.partition(":")
        if name:
            yield (
                name,
                next((each for each in CONDITIONS if each == said), "service_started"),
                restart,
            )


def _shared(nodes: Mapping[str, Container]) -> tuple[Shared, ...]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for container in nodes.values():
        for name, endpoint in container.networks.items():
            if name not in ENGINES_OWN:
                found.setdefault(name, []).append((container.id, endpoint.aliases))
    return tuple(
        Shared(name, tuple(members)) for name, members in sorted(found.items()) if len(members) > 1
    )
