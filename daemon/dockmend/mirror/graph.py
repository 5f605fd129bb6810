"""The dependency graph of a host: which container hangs on which, and how. Pure: built of what inspect tells.

A restart of one container is felt by others that share its namespaces, link to it or were told to depend on it. The
graph says who they are; the order in which to take them is dockmend.mirror.order's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from dockmend.model import Container

DEPENDS_LABEL = "dockmend.depends-on"
"""Containers by name, divided by commas, each with a condition where it is wanted: "db:service_healthy, cache"."""
COMPOSE_DEPENDS, COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_ONEOFF = (
    "com.docker.compose.depends_on", "com.docker.compose.project", "com.docker.compose.service",
    "com.docker.compose.oneoff",
)  # fmt: skip
ENGINES_OWN = frozenset({"bridge", "host", "none", "default", "ingress", "docker_gwbridge"})
"""Networks in which containers do not find each other by alias."""
ID_DIGITS = 12
"""The fewest digits of an id that stand for a container."""

EdgeKind = Literal["network", "pid", "ipc", "link", "volumes", "compose", "label"]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
CONDITIONS: tuple[Condition, ...] = ("service_started", "service_healthy", "service_completed_successfully")


class Edge(Struct, frozen=True):
    """One container (`dependent`, an id) hangs on another: its id, or where there is none, a key of `Graph.missing`."""

    dependent: str
    dependency: str
    kind: EdgeKind
    condition: Condition = "service_started"
    restart: bool = True  # a restart of the dependency asks for one of the dependent

    @property
    def namespace(self) -> bool:
        """Whether the dependent's own definition names the other by id: it must be recreated where that is replaced."""
        return self.kind in ("network", "pid", "ipc")


class Shared(Struct, frozen=True):
    """A user's network in which containers find each other by alias: a weak tie that is shown and never treated."""

    network: str
    members: tuple[tuple[str, tuple[str, ...]], ...]  # (container's id, its aliases there)


class Graph(Struct, frozen=True):
    nodes: dict[str, Container]
    edges: tuple[Edge, ...]
    missing: dict[str, str]  # key -> what is named but not there, for a person
    shared: tuple[Shared, ...] = ()

    def needs(self, which: Callable[[Edge], bool] = lambda edge: True) -> dict[str, set[str]]:
        """For each container those that it hangs on, as far as they are there: what the planner asks for."""
        found: dict[str, set[str]] = {node: set() for node in self.nodes}
        for edge in self.edges:
            if edge.dependency in self.nodes and which(edge):
                found[edge.dependent].add(edge.dependency)
        return found

    def dependents(self, roots: Iterable[str], which: Callable[[Edge], bool] = lambda edge: edge.restart) -> set[str]:
        """Those that feel a restart of `roots`, directly or through others; the roots themselves left out."""
        return reachable(roots, self.behind(which))

    def behind(self, which: Callable[[Edge], bool] = lambda edge: edge.restart) -> dict[str, list[str]]:
        """For each container those that hang directly on it; who asks about many makes this once (`reachable`)."""
        found: dict[str, list[str]] = {}
        for edge in self.edges:
            if which(edge):
                found.setdefault(edge.dependency, []).append(edge.dependent)
        return found

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


def build(containers: Iterable[Container], successors: Mapping[str, str] | None = None) -> Graph:
    """The graph of these containers. `successors`: ids that are gone, and who took their place."""
    nodes = {each.id: each for each in containers}
    names = _Names(nodes, successors or {})
    edges: dict[tuple[str, str, EdgeKind], Edge] = {}
    for container in nodes.values():
        for edge in _edges(container, names):
            if edge.dependency != edge.dependent:
                edges.setdefault((edge.dependent, edge.dependency, edge.kind), edge)
    return Graph(nodes, tuple(edges.values()), names.missing, _shared(nodes))


class _Names:
    """Who is meant by a name, an id, the beginning of one, or a service."""

    def __init__(self, nodes: Mapping[str, Container], successors: Mapping[str, str]) -> None:
        self.nodes = nodes
        self.successors = successors
        self.by_name = {each.name: each.id for each in nodes.values()}
        self.services: dict[tuple[str, str], list[str]] = {}
        self.missing: dict[str, str] = {}
        self._sorted: list[str] = []  # ids, once the beginning of one is asked for
        for each in nodes.values():
            project = each.labels.get(COMPOSE_PROJECT)
            if project is not None and each.labels.get(COMPOSE_ONEOFF, "False") != "True":
                self.services.setdefault((project, each.labels.get(COMPOSE_SERVICE, "")), []).append(each.id)

    def container(self, text: str) -> str:
        if text in self.nodes:
            return text
        if (successor := self.successors.get(text)) in self.nodes:
            return str(successor)
        if (named := self.by_name.get(text)) is not None:
            return named
        if len(text) >= ID_DIGITS and (found := self._begins_with(text)):
            return found
        return self._gone(f"container {text[:ID_DIGITS] if len(text) == 64 else text}")

    def _begins_with(self, digits: str) -> str:
        """The one id that begins so; "" if there is none, or more than one."""
        if not self._sorted:
            self._sorted = sorted(self.nodes)
        at = bisect_left(self._sorted, digits)
        found = [each for each in self._sorted[at : at + 2] if each.startswith(digits)]
        return found[0] if len(found) == 1 else ""

    def service(self, project: str, service: str) -> list[str]:
        return self.services.get((project, service)) or [self._gone(f"service {service} of project {project}")]

    def _gone(self, what: str) -> str:
        self.missing[f"?{what}"] = what
        return f"?{what}"


def _edges(container: Container, names: _Names) -> Iterator[Edge]:
    me = container.id
    modes: tuple[tuple[EdgeKind, str], ...] = (
        ("network", container.network_mode), ("pid", container.pid_mode), ("ipc", container.ipc_mode),
    )  # fmt: skip
    for kind, mode in modes:
        if mode.startswith("container:"):
            yield Edge(me, names.container(mode.removeprefix("container:")), kind)
    links = [*container.links, *(link for endpoint in container.networks.values() for link in endpoint.links)]
    for link in links:
        yield Edge(me, names.container(link.partition(":")[0].removeprefix("/")), "link")
    for source in container.volumes_from:
        yield Edge(me, names.container(source.partition(":")[0]), "volumes", restart=False)
    project = container.labels.get(COMPOSE_PROJECT, "")
    for service, condition, restart in _said(container.labels.get(COMPOSE_DEPENDS, "")):
        for dependency in names.service(project, service):
            yield Edge(me, dependency, "compose", condition, restart == "true")
    for name, condition, _ in _said(container.label(DEPENDS_LABEL) or ""):
        yield Edge(me, names.container(name), "label", condition)


def _said(label: str) -> Iterator[tuple[str, Condition, str]]:
    """(name, condition, restart) of "name:condition:restart,…"; a label is a stranger's text, and may be anything."""
    for part in label.split(","):
        name, _, rest = part.strip().partition(":")
        said, _, restart = rest.partition(":")
        if name:
            yield name, next((each for each in CONDITIONS if each == said), "service_started"), restart


def _shared(nodes: Mapping[str, Container]) -> tuple[Shared, ...]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for container in nodes.values():
        for name, endpoint in container.networks.items():
            if name not in ENGINES_OWN:
                found.setdefault(name, []).append((container.id, endpoint.aliases))
    return tuple(Shared(name, tuple(members)) for name, members in sorted(found.items()) if len(members) > 1)
