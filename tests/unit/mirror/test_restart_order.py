"""The order: each node once, what others hang on before them, cycles named; for graphs of any
shape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dockmend.mirror.restart_order import plan

Needs = dict[str, set[str]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], Needs]:
    """Up to 40 nodes with any ties between them, and those that are to be taken."""
    nodes = [f"n{number}" for number in range(draw(st.integers(0, 40)))]
    if not nodes:
        return [], {}
    pairs = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sampled_from(nodes)), max_size=120))
    needs: Needs = {node: set() for node in nodes}
    for dependent, dependency in pairs:
        needs[dependent].add(dependency)
    return draw(st.lists(st.sampled_from(nodes), unique=True)), needs


def reach(needs: Needs, start: str) -> set[str]:
    """What `start` hangs on, directly or not; itself only where it is part of a cycle."""
    todo, found = list(needs[start]), set[str]()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo.extend(needs[node])
    return found


@given(graphs())
def test_each_is_taken_once_after_what_it_hangs_on(drawn: tuple[list[str], Needs]):
    taken, needs = drawn
    found = plan(taken, needs)
    flat = [node for wave in found.start for node in wave]
    assert sorted(flat) == sorted(taken)
    assert all(found.start)
    assert found.stop == found.start[::-1]
    wave_of = {node: index for index, wave in enumerate(found.start) for node in wave}
    reached = {node: reach(needs, node) for node in taken}
    for node in taken:
        for other in reached[node] & set(taken) - {node}:
            in_a_cycle = node in reached[other]
            assert (
                (wave_of[other] == wave_of[node])
                if in_a_cycle
                else (wave_of[other] < wave_of[node])
            )


@given(graphs())
def test_cycles_are_named_and_only_they(drawn: tuple[list[str], Needs]):
    taken, needs = drawn
    reached = {node: reach(needs, node) for node in taken}
    expected = {
        tuple(sorted({node,
                    *(other for other in taken if other in reached[node]
                        and node in reached[other])}))
        for node in taken
        if any(other in reached[node] and node in reached[other] for other in taken
            if other != node)
    }  # fmt: skip
    named = {cycle for cycle in plan(taken, needs).cycles if len(cycle) > 1}
    assert named == expected


@given(graphs())
def test_no_wave_comes_later_than_it_must(drawn: tuple[list[str], Needs]):
    """Everything that need not wait is in the first wave: what is apart is taken at the same
    time."""
    taken, needs = drawn
    free = {node for node in taken if not (reach(needs, node) & set(taken) - {node})}
    assert free <= set(plan(taken, needs).start[0] if taken else ())


def test_a_diamond_is_taken_once():
    needs = {"top": {"left", "right"}, "left": {"base"}, "right": {"base"}, "base": set()}
    assert plan(needs, needs).start == (("base",), ("left", "right"), ("top",))


def test_one_between_that_is_not_taken_orders_all_the_same():
    assert plan(["a", "c"], {"a": {"b"}, "b": {"c"}, "c": set()}).start == (("c",), ("a",))


def test_one_that_hangs_on_itself_is_a_cycle():
    found = plan(["a"], {"a": {"a"}})
    assert (found.start, found.cycles) == ((("a",),), (("a",),))
