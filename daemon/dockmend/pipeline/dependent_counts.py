"""How many containers depend on another, for callers that ask while everything fails.

The graph is built only now and then, so the numbers can be some seconds old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dockmend.mirror import Mirror
from dockmend.mirror.dependency_graph import build, reachable

KEPT = 10.0
"""Seconds for which a graph is taken for the present one: it is of who is told first, not of what
is done."""


class DependentCounts:
    """Called with a container's id. `clock`: seconds that only grow."""

    def __init__(self, mirror: Mirror, clock: Callable[[], float]) -> None:
        self._mirror = mirror
        self._clock = clock
        self._behind: Mapping[str, Iterable[str]] | None = None
        self._made_at = 0.0
        self._counts: dict[str, int] = {}

    def __call__(self, container_id: str) -> int:
        now = self._clock()
        if self._behind is None or now - self._made_at >= KEPT:
            graph = build(self._mirror.containers(), self._mirror.identities)
            self._behind, self._made_at, self._counts = graph.behind(lambda edge: True), now, {}
        found = self._counts.get(container_id)
        if found is None:
            found = self._counts[container_id] = len(reachable((container_id,), self._behind))
        return found
