"""The campaign's own parts, without an engine: the plan is its seed's, the search for a shorter prefix ends, and the
oracle tells whose doing an event is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from . import faults
from .fleet import Slot
from .ledger import Ledger, Span
from .oracle import Oracle
from .plan import WEIGHTS, rounds
from .record import Journal
from .relay import Request
from .shrink import shortest
from .verdict import Verdict
from .witness import EventLog, Seen

ID = "a" * 64


def test_the_first_faults_of_a_seed_are_the_same_however_many_are_asked_for():
    long = [fault for each in rounds(7, 2000) for fault in each.faults]
    short = [fault for each in rounds(7, 30) for fault in each.faults]
    assert len(long) == 2000
    assert short == long[:30]
    assert short != [fault for each in rounds(8, 30) for fault in each.faults]


def test_every_kind_is_drawn_and_can_be_done():
    drawn = {fault.kind for fault in chain.from_iterable(each.faults for each in islice(rounds(1, 4000), 600))}
    assert drawn == set(WEIGHTS) == set(faults.KINDS)


def test_only_what_is_named_is_drawn():
    drawn = {fault.kind for each in rounds(1, 50, only=("flood", "cut")) for fault in each.faults}
    assert drawn == {"flood", "cut"}


def test_the_shortest_prefix_is_found_by_halves():
    asked: list[int] = []

    def run(number: int) -> int:
        asked.append(number)
        return 11 if number >= 11 else 0

    assert shortest(80, run, runs=10) == 11
    assert asked[:3] == [40, 5, 8]


def test_the_search_is_bounded_and_what_does_not_fail_again_stays_as_it_was():
    assert shortest(80, lambda number: 0, runs=3) == 80
    assert shortest(1, lambda number: 1, runs=3) == 1


def test_what_is_counted_behind_a_predecessors_breaker_is_a_containers_own(tmp_path: Path):
    old, new, other = "a" * 64, "b" * 64, "c" * 64
    with sqlite3.connect(tmp_path / "journal") as journal:
        journal.execute("CREATE TABLE incidents (object_id TEXT, body BLOB)")
        for number, (container, trouble) in enumerate([(old, old), (old, new), (other, other), (new, new)]):
            body = {"id": number, "opened_at": number, "trouble": f"{trouble[:12]}/1.0/unhealthy/1"}
            journal.execute("INSERT INTO incidents VALUES (?, ?)", (container, json.dumps(body, separators=(",", ":"))))

    assert [row["id"] for row in Journal(tmp_path / "journal").of(new)] == [1, 3]


def call(operation: str, sent: float, answered: float | None = None, status: int = 204) -> Request:
    """One that was cut where it has no time of an answer."""
    path = f"/containers/{ID}/{operation}"
    return Request("POST", path, sent, status=None if answered is None else status, answered=answered)


def oracle_of(folder: Path, calls: list[Request], events: list[tuple[float, str]], *out: Span) -> Oracle:
    engine: Any = None
    log = EventLog(engine)
    log._by_container[ID] = [Seen(at, "container", action, ID) for at, action in events]
    driver: Any = SimpleNamespace(
        ledger=Ledger(dockmend_out=list(out)),
        events=log,
        slots=[],
        daemon=SimpleNamespace(state=folder),
        relay=SimpleNamespace(changes=lambda container=ID: calls if container == ID else []),
    )
    return Oracle(driver)


def doubles(oracle: Oracle) -> list[str]:
    verdict = Verdict()
    oracle._twice(verdict, Slot("p1", "patient", id=ID, born={ID: 1.0}), ID, 1.0)
    return [finding.kind for finding in verdict.findings]


@pytest.mark.parametrize("again", ["start", "restart"])
def test_a_cut_call_is_not_done_by_the_event_of_the_next_one(tmp_path: Path, again: str):
    cut, answered = call("start", 10.0), call(again, 12.0, 12.5)
    oracle = oracle_of(tmp_path, [cut, answered], [(9.0, "die"), (12.4, "start"), (20.0, "start")])
    assert [oracle.effective(cut), oracle.effective(answered)] == [False, True]
    assert doubles(oracle) == []


@pytest.mark.parametrize("at", [10.4, 12.1])
def test_a_cut_call_with_an_event_of_its_own_is_done_and_the_next_one_double(tmp_path: Path, at: float):
    cut, answered = call("start", 10.0), call("start", 12.0, 12.5)
    oracle = oracle_of(tmp_path, [cut, answered], [(9.0, "die"), (at, "start"), (12.4, "start")])
    assert [oracle.effective(cut), oracle.effective(answered)] == [True, True]
    assert doubles(oracle) == ["double"]


def test_one_event_tells_of_one_of_several_cut_calls(tmp_path: Path):
    calls = [call("restart", 10.0), call("restart", 14.0), call("restart", 16.0, 16.1, status=500)]
    oracle = oracle_of(tmp_path, calls, [(16.5, "restart")])
    assert [oracle.effective(each) for each in calls] == [False, True, False]
    oracle = oracle_of(tmp_path, calls, [(12.5, "restart"), (16.5, "restart")])
    assert [oracle.effective(each) for each in calls] == [True, True, False]


def journal_findings(oracle: Oracle, folder: Path, began_at: float, ended_at: float) -> list[str]:
    """What is said of a start that the journal calls done."""
    row = {
        "id": "a1", "object_id": ID, "object_name": "p1", "action": "start", "outcome": "done",
        "detail": "it had been started", "began_at": began_at, "ended_at": ended_at,
    }  # fmt: skip
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as journal, journal:
        journal.execute("CREATE TABLE actions (began_at REAL, body BLOB)")
        journal.execute("INSERT INTO actions VALUES (?, ?)", (began_at, json.dumps(row)))
    verdict = Verdict()
    oracle._invariants._complete(verdict)
    return [finding.kind for finding in verdict.findings]


def test_what_a_person_did_between_a_death_and_the_next_look_is_rightly_called_done(tmp_path: Path):
    oracle = oracle_of(tmp_path, [], [(102.0, "start")], Span(100.5, 104.0, death=True))
    assert journal_findings(oracle, tmp_path, 100.0, 106.0) == []


@pytest.mark.parametrize(
    ("event", "span"),
    [
        pytest.param((102.0, "die"), Span(100.5, 104.0, death=True), id="the engine saw no start"),
        pytest.param((98.0, "start"), Span(100.5, 104.0, death=True), id="it was started before"),
        pytest.param((108.0, "start"), Span(100.5, 104.0, death=True), id="it was started later"),
        pytest.param((102.0, "start"), Span(100.5, 104.0), id="dockmend only stood still"),
        pytest.param((102.0, "start"), Span(90.0, 99.0, death=True), id="dockmend had died before"),
        pytest.param((102.0, "start"), Span(107.0, 109.0, death=True), id="dockmend died later"),
    ],
)
def test_what_is_called_done_without_a_call_is_found_all_the_same(tmp_path: Path, event: tuple[float, str], span: Span):
    assert journal_findings(oracle_of(tmp_path, [], [event], span), tmp_path, 100.0, 106.0) == ["journal"]
