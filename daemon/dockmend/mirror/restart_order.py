"""The order in which to stop and start containers that depend on each other. Pure, for any graph.

Dependents are stopped before what they depend on and started after it. Containers that need not
wait for each other form one wave and may be taken at the same time. A cycle has no order: it is
reported, and its members share a wave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

Waves = tuple[tuple[str, ...], ...]


class RestartPlan(Struct, frozen=True):
    """`start`: waves, the first one first; `stop` is the same backwards. Every node is in exactly
    one wave."""

    start: Waves
    cycles: Waves = ()  # members of each cycle, in alphabetical order

    @property
    def stop(self) -> Waves:
        return self.start[::-1]


def plan(nodes: Iterable[str], needs: Mapping[str, Iterable[str]]) -> RestartPlan:
    """The order of `nodes`. `needs`: for each container of the host those that it hangs on.

    Two nodes that hang on each other through containers that are not to be taken are ordered all
    the same.
    """
    taken = sorted(set(nodes))
    among = _among(taken, needs)
    groups = _cycles(taken, among)
    group_of = {node: index for index, group in enumerate(groups) for node in group}
    depths: list[int] = []
    for index, group in enumerate(groups):  # what a group hangs on comes before it
        below = {group_of[other] for node in group for other in among[node]} - {index}
        depths.append(1 + max((depths[each] for each in below), default=-1))
    waves: list[list[str]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for depth, group in zip(depths, groups, strict=True):
        waves[depth] += group
    cycles = sorted(group for group in groups if len(group) > 1 or group[0] in among[group[0]])
    return RestartPlan(tuple(tuple(sorted(wave)) for wave in waves), tuple(cycles))


def _among(taken: list[str], needs: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each node the next nodes that it hangs on, through whatever lies between."""
    members, found = set(taken), dict[str, set[str]]()
    for node in taken:
        todo, seen = list(needs.get(node, ())), set[str]()
        found[node] = set()
        while todo:
            other = todo.pop()
            if other in members:
                found[node].add(other)
            elif other not in seen:
                seen.add(other)
                todo.extend(needs.get(other, ()))
    return found


def _cycles(taken: list[str], needs: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Strongly connected components, what they hang on first (Tarjan 1972, without recursion)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_ones: list[str] = []
    is_open: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in taken:
        if root in number:
            continue
        work = [(root, iter(sorted(needs[root])))]
        number[root] = low[root] = len(number)
        open_ones.append(root)
        is_open.add(root)
        while work:
            node, rest = work[-1]
            other = next(rest, None)
            if other is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    cut = open_ones.index(node)
                    found.append(tuple(sorted(open_ones[cut:])))
                    is_open.difference_update(open_ones[cut:])
                    del open_ones[cut:]
            elif other not in number:
                number[other] = low[other] = len(number)
                open_ones.append(other)
                is_open.add(other)
                work.append((other, iter(sorted(needs[other]))))
            elif other in is_open:
                low[node] = min(low[node], number[other])
    return found
