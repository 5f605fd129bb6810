"""Admission: a place for each that is let in, the longest open and most depended upon first, and
nobody forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from dockmend.decide import History, Host, free_at, places
from dockmend.journal.records import Incident
from dockmend.pipeline.action_budget import HOST, ActionBudget
from dockmend.pipeline.keyed_workers import WorkerSlots
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import Rule
from tests.unit.pipeline.clinic import HEAL, rule_text, until

RATED = rule_text(limits="{rate: 1 per 10s}")


def the_rule(text: str = HEAL) -> Rule:
    return load_texts({"r.yaml": text}, host="h").rules[0]


def an_incident(number: int, opened_at: float = 0.0, **more: Any) -> Incident:
    given: dict[str, Any] = {
        "rule": "heal", "trigger": "container.unhealthy", "target": f"container:w{number}",
        "kind": "container", "object_id": f"{number}", "object_name": f"w{number}", "trouble": "t",
    }  # fmt: skip
    return Incident(id=f"i{number:03}", opened_at=opened_at, **{**given, **more})


@dataclass
class Counter:
    """A lane at once: what is submitted asks again, and what may act spends."""

    budget: tuple[int, float] | None = (2, 60.0)
    rule: Rule = field(default_factory=the_rule)
    now: float = 1000.0
    dependents: dict[str, int] = field(default_factory=dict)
    # actions of an attempt, where it is not one
    takes: dict[str, int] = field(default_factory=dict)
    acted: list[tuple[float, str]] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    known: dict[str, Incident] = field(default_factory=dict)
    recovered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.history = History()
        self.action_budget = ActionBudget(
            self.history, Host(self.budget), lambda: self.now, self._submit,
            lambda incident: self.dependents.get(incident.object_name, 0),
        )  # fmt: skip

    def _submit(self, incident_id: str) -> None:
        self.woken.append(incident_id)
        if incident_id in self.recovered:
            self.action_budget.release(incident_id)
        else:
            self.ask(self.known[incident_id])

    def ask(self, incident: Incident) -> bool:
        self.known[incident.id] = incident
        actions = self.takes.get(incident.id, self.rule.costs)
        wait = self.action_budget.ask(incident, self.rule, spends=actions)
        if wait is None:
            self.history.attempted("heal", incident.target, self.now, actions)
            self.acted.append((self.now - 1000.0, incident.id))
        return wait is None

    def passes(self, seconds: float) -> None:
        """Timers that are due come, as they do at the end of a turn of the loop."""
        self.now += seconds
        timers = self.action_budget.timers
        while due := [key for key, at in timers._at.items() if at <= self.now]:
            for key in due:
                timers.drop(key)
                self.action_budget._due(key)


def test_who_finds_the_purse_empty_waits_and_is_let_in_one_for_each_place():
    one = Counter()
    assert [one.ask(an_incident(number, number)) for number in range(6)] == [
        True,
        True,
        *[False] * 4,
    ]
    one.passes(59.9)
    assert len(one.acted) == 2
    one.passes(0.1)
    assert one.woken == ["i002", "i003"]  # and the others sleep on
    one.passes(60)
    assert [each for _, each in one.acted] == [f"i{number:03}" for number in range(6)]
    assert one.woken == ["i002", "i003", "i004", "i005"]


def test_the_oldest_and_the_most_depended_upon_come_first():
    one = Counter(dependents={"w4": 3, "w5": 1})
    for number, opened_at in enumerate((0.0, 0.0, 50.0, 10.0, 120.0, 80.0)):
        one.ask(an_incident(number, opened_at))
    one.passes(60)
    one.passes(60)
    assert one.woken == ["i004", "i003", "i005", "i002"]


def test_a_newcomer_does_not_pass_those_that_wait():
    one = Counter()
    for number in range(3):
        one.ask(an_incident(number, number))
    one.now += 60
    assert not one.ask(an_incident(9, 9.0))
    one.passes(0)
    assert one.woken == ["i002", "i009"]


def test_a_place_that_is_not_used_goes_to_the_next():
    one = Counter()
    for number in range(5):
        one.ask(an_incident(number, number))
    one.recovered = {"i002", "i003"}
    one.passes(60)
    assert one.woken == ["i002", "i003", "i004"]
    assert one.acted[-1] == (60.0, "i004")


def test_one_that_is_closed_while_it_waits_is_forgotten():
    one = Counter()
    for number in range(4):
        one.ask(an_incident(number, number))
    assert "i002" in one.action_budget
    one.action_budget.release("i002")
    assert "i002" not in one.action_budget
    one.passes(60)
    assert one.woken == ["i003"]


def test_a_rules_rate_has_a_queue_of_its_own_and_the_host_comes_after_it():
    one = Counter(budget=(1, 60.0), rule=the_rule(RATED))
    assert one.ask(an_incident(0))
    waits = one.action_budget.ask(an_incident(1), one.rule, spends=1)
    assert waits is not None
    assert (waits.code, waits.reason) == (
        "rate",
        "the rule's rate of 1 attempts per 10 s is used up",
    )
    one.known["i001"] = an_incident(1)
    one.passes(10)  # by its rate it may, by the host's budget it may not
    assert one.woken == ["i001"]
    assert "i001" in one.action_budget
    one.passes(50)
    assert one.acted == [(0.0, "i000"), (60.0, "i001")]


def test_what_only_tells_spends_nothing():
    one = Counter(
        budget=(1, 60.0), rule=the_rule(HEAL.replace("restart", "[{publish: {topic: x}}]"))
    )
    assert all(one.ask(an_incident(number)) for number in range(5))
    history = History()
    history.attempted("tells", "container:web", 1.0, actions=0)
    assert not history.host
    assert len(history.by_rule["tells"]) == 1


def test_an_attempt_of_several_actions_waits_until_there_is_room_for_all_of_them():
    one = Counter(budget=(3, 60.0), takes={"i000": 2, "i001": 2, "i003": 7})
    assert [one.ask(an_incident(number, number)) for number in range(4)] == [
        True,
        False,
        False,
        False,
    ]
    one.passes(60)  # with one place free: the next in turn needs two, and nobody passes it
    assert [each for _, each in one.acted] == ["i000", "i001", "i002"]
    one.passes(60)  # one of more than there are at all takes all of them
    assert one.acted[-1] == (120.0, "i003")
    one.now += 59
    assert not one.ask(an_incident(4, 4.0))
    one.passes(1)
    assert one.acted[-1] == (180.0, "i004")


def test_what_waits_for_several_places_does_so_after_a_restart_too():
    one = Counter(rule=the_rule(HEAL.replace("restart", "[stop, start]")))
    one.history.acted(990.0)
    incident = one.known["i001"] = an_incident(1, waiting_for="budget")
    assert one.action_budget.rejoin(incident, one.rule)
    one.passes(0)
    assert one.woken == []
    one.passes(50)
    assert one.acted == [(50.0, "i001")]
    # it waits to do one step
    on_a_rung = one.known["i002"] = an_incident(2, waiting_for="budget", rung=1)
    assert one.action_budget.rejoin(on_a_rung, one.rule)
    assert one.action_budget._queues[HOST].waiting["i002"][1] == 1


def test_those_that_waited_when_dockmend_ended_wait_again_without_a_look():
    one = Counter()
    for number in range(2):
        one.history.attempted("heal", f"container:old{number}", 990.0)
    for number in range(3):
        incident = one.known[f"i{number:03}"] = an_incident(number, number, waiting_for="budget")
        assert one.action_budget.rejoin(incident, one.rule)
    assert one.woken == []
    one.passes(50)
    assert one.woken == ["i000", "i001"]
    assert not Counter(budget=None).action_budget.rejoin(
        an_incident(1, waiting_for="budget"), the_rule()
    )


def test_it_is_said_once_and_not_once_for_each():
    with structlog.testing.capture_logs() as lines:
        one = Counter()
        for number in range(200):
            one.ask(an_incident(number))
        while len(one.acted) < 200:
            one.passes(60)
        one.passes(1)
    said = [line for line in lines if line["id"] == "budget_exhausted"]
    assert len(said) == 1
    assert said[0]["log_level"] == "warning"
    assert said[0]["why"] == "the host's budget of 2 actions per 60 s is used up"
    assert one.action_budget._queues[HOST].waited == 0  # and that it is over was said


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 4), st.booleans(), st.integers(1, 6)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_whatever_comes_the_budget_holds_and_everybody_has_their_turn(
    arrivals: list[Any], count: int
):
    one = Counter(budget=(count, 20.0))
    for number, (after, dependents, recovers, actions) in enumerate(arrivals):
        one.passes(after)
        one.takes[f"i{number:03}"] = actions
        one.dependents[f"w{number}"] = dependents
        if recovers:
            one.recovered.add(f"i{number:03}")
        one.ask(an_incident(number, one.now))
    for _ in range(len(arrivals) * 4):
        one.passes(5.0)
    times = one.history.host
    for start, first in one.acted:
        within = [(at, each) for at, each in one.acted if start <= at <= start + 20.0 - 1e-6]
        assert sum(one.takes[each] for _, each in within) <= count or [
            each for _, each in within
        ] == [first]
    assert len(times) == sum(one.takes[each] for _, each in one.acted)
    done = {each for _, each in one.acted}
    assert done | one.recovered == {f"i{number:03}" for number in range(len(arrivals))}


@given(st.lists(st.floats(0, 100), max_size=20), st.integers(1, 5), st.integers(0, 4))
def test_when_a_place_is_free_there_is_one(times: list[float], count: int, kept: int):
    limit, now = (count, 60.0), 100.0
    at = free_at(times, limit, now, kept)
    if at is None:
        assert kept >= count
    else:
        assert places(times, limit, at) - kept > 0
        assert at == now or places(times, limit, at - 1e-6) - kept <= 0


async def test_the_best_of_those_that_wait_for_a_slot_is_the_next():
    slots, order = WorkerSlots(1), list[str]()

    async def work(name: str, rank: float) -> None:
        async with slots.taken(rank):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name, rank in (("first", 9.0), ("late", 5.0), ("early", 1.0), ("later", 7.0)):
            group.create_task(work(name, rank))
    assert order == ["first", "early", "late", "later"]


@pytest.mark.parametrize("given_already", [False, True])
async def test_a_slot_is_not_lost_with_one_that_is_cancelled(given_already: bool):
    slots = WorkerSlots(1)
    await slots._take(0.0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(slots._take(0.0))
        await until(lambda: slots._waiting)
        if given_already:
            slots._give()
        task.cancel()
    if not given_already:
        slots._give()
    async with slots.taken(0.0):
        assert slots._free == 0
    assert slots._free == 1
