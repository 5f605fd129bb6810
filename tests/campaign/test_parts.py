"""The campaign's own parts, without an engine: the plan is its seed's, and the search for a shorter prefix ends."""

from __future__ import annotations

import json
import sqlite3
from itertools import chain, islice
from pathlib import Path

from . import faults
from .plan import WEIGHTS, rounds
from .record import Journal
from .shrink import shortest


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
