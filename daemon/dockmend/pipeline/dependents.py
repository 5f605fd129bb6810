"""How many containers hang on another, for those who ask while everything fails: the graph is made now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dockmend.mirror.graph import Graph, build
from dockmend.model import Container

KEPT = 10.0
"""Seconds for which a graph is taken for the present one: it is of who is told first, not of what is done."""


class Dependents:
    """Called with a container's id. `clock`: seconds that only grow."""

    def __init__(self, containers: Callable[[], Iterable[Container]], clock: Callable[[], float]) -> None:
        self._containers = containers
        self._clock = clock
        self._graph: Graph | None = None
        self._made_at = 0.0
        self._counts: dict[str, int] = {}

    def __call__(self, container_id: str) -> int:
        now = self._clock()
        if self._graph is None or now - self._made_at >= KEPT:
            self._graph, self._made_at, self._counts = build(self._containers()), now, {}
        found = self._counts.get(container_id)
        if found is None:
            found = self._counts[container_id] = len(self._graph.dependents((container_id,), lambda edge: True))
        return found
