"""The campaign's own parts, without an engine: the plan is its seed's, the search for a shorter
prefix ends, and the oracle tells whose doing an event is."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab import TOOLBOX

from . import disk, faults
from .driver import Driver
from .fleet import Slot, slots
from .ledger import Act, Intent, Ledger, Meant, Span
from .oracle import UNSEEN, Oracle
from .plan import WEIGHTS, Fault, rounds
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
    drawn = {
        fault.kind
        for fault in chain.from_iterable(each.faults for each in islice(rounds(1, 4000), 600))
    }
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
        for number, (container, trouble) in enumerate(
            [(old, old), (old, new), (other, other), (new, new)]
        ):
            body = {"id": number, "opened_at": number, "trouble": f"{trouble[:12]}/1.0/unhealthy/1"}
            journal.execute(
                "INSERT INTO incidents VALUES (?, ?)",
                (container, json.dumps(body, separators=(",", ":"))),
            )

    assert [row["id"] for row in Journal(tmp_path / "journal").of(new)] == [1, 3]


def call(operation: str, sent: float, answered: float | None = None, status: int = 204) -> Request:
    """One that was cut where it has no time of an answer."""
    path = f"/containers/{ID}/{operation}"
    return Request(
        "POST", path, sent, status=None if answered is None else status, answered=answered
    )


def oracle_of(
    folder: Path, calls: list[Request], events: list[tuple[float, str]], *out: Span
) -> Oracle:
    engine: Any = None
    log = EventLog(engine)
    log._by_container[ID] = [Seen(at, "container", action, ID) for at, action in events]
    driver: Any = SimpleNamespace(
        ledger=Ledger(dockmend_out=list(out)),
        events=log,
        slots=[],
        daemon=SimpleNamespace(state=folder),
        second=SimpleNamespace(state=folder / "second", folder=folder / "second"),
        relay=SimpleNamespace(
            changes=lambda container=ID: calls if container == ID else [], cuts=[]
        ),
    )
    return Oracle(driver)


def doubles(oracle: Oracle) -> list[str]:
    verdict = Verdict()
    oracle._twice(verdict, Slot("p1", "patient", id=ID, born={ID: 1.0}), ID, 1.0)
    return [finding.kind for finding in verdict.findings]


@pytest.mark.parametrize(
    ("calls", "treated"),
    [
        ([call("restart", 900.0, 930.0), call("restart", 970.0, 985.0)], True),
        ([call("restart", 990.0)], True),
        ([call("restart", 960.0, 979.0)], False),
        ([], False),
    ],
    ids=["answered just now", "under way", "long ago", "never"],
)
def test_what_dockmend_is_treating_has_more_time(
    tmp_path: Path, calls: list[Request], treated: bool
) -> None:
    ill = SimpleNamespace(id=ID)
    assert oracle_of(tmp_path, calls, [])._treated([ill], 1000.0) is treated  # type: ignore[list-item]
    other = SimpleNamespace(id="b" * 64)
    assert not oracle_of(tmp_path, calls, [])._treated([ill, other], 1000.0)  # type: ignore[list-item]


@pytest.mark.parametrize("again", ["start", "restart"])
def test_a_cut_call_is_not_done_by_the_event_of_the_next_one(tmp_path: Path, again: str):
    cut, answered = call("start", 10.0), call(again, 12.0, 12.5)
    oracle = oracle_of(tmp_path, [cut, answered], [(9.0, "die"), (12.4, "start"), (20.0, "start")])
    assert [oracle.effective(cut), oracle.effective(answered)] == [False, True]
    assert doubles(oracle) == []


@pytest.mark.parametrize("at", [10.4, 12.1])
def test_a_cut_call_with_an_event_of_its_own_is_done_and_the_next_one_double(
    tmp_path: Path, at: float
):
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
def test_what_is_called_done_without_a_call_is_found_all_the_same(
    tmp_path: Path, event: tuple[float, str], span: Span
):
    assert journal_findings(oracle_of(tmp_path, [], [event], span), tmp_path, 100.0, 106.0) == [
        "journal"
    ]


@pytest.mark.parametrize(
    ("at", "cut", "found"),
    [
        pytest.param(102.0, Span(101.0, 101.5), [], id="cut off, and a person started it"),
        pytest.param(102.0, Span(99.5, 100.5), [], id="the relay still took no connection"),
        pytest.param(102.0, Span(90.0, 91.0), ["journal"], id="cut off before"),
        pytest.param(102.0, Span(106.5, 107.0), ["journal"], id="cut off later"),
        pytest.param(98.0, Span(101.0, 101.5), ["journal"], id="cut off, and nobody started it"),
    ],
)
def test_what_a_person_did_after_a_call_was_lost_with_its_connection_is_rightly_called_done(
    tmp_path: Path, at: float, cut: Span, found: list[str]
):
    oracle = oracle_of(tmp_path, [], [(at, "start")])
    oracle.driver.relay.cuts.append(cut)
    assert journal_findings(oracle, tmp_path, 100.0, 106.0) == found


def touched(
    folder: Path, meant: Meant, events: list[tuple[float, str]], streams: list[Request], *out: Span,
    recorded: bool = False,
) -> Verdict:  # fmt: skip
    """What is said of a start at 120 s, where a person wanted it so at 110 s and the engine ended
    at 115 s."""
    oracle = oracle_of(folder, [call("start", 120.0, 120.5)], events, *out)
    oracle.driver.relay.streams, oracle.driver.relay.spoilt, oracle.driver.relay.late = (
        streams,
        [],
        [],
    )
    oracle.ledger.engine_out.append(Span(115.0, 118.0))
    act = Act(1, f"person_{meant}", "p1", ID, 110.0, 110.2, recorded=recorded)
    oracle.ledger.means("p1", Intent(meant, 110.2, act))
    verdict = Verdict()
    oracle._touched(verdict, Slot("p1", "patient", id=ID, born={ID: 1.0}), ID)
    return verdict


@pytest.mark.parametrize(
    ("ended_at", "found"), [(110.4, []), (109.0, ["touched"]), (121.0, ["touched"])]
)
def test_what_crashes_in_the_moment_in_which_it_is_paused_may_be_started(
    tmp_path: Path, ended_at: float, found: list[str]
):
    stream = Request("GET", "/events", 1.0, status=200, answered=1.1)
    verdict = touched(tmp_path, "paused", [(ended_at, "die")], [stream])
    assert [finding.kind for finding in verdict.findings] == found


@pytest.mark.parametrize("seconds", [0.04, 1.2, 2.0])
def test_a_stream_that_ends_before_anything_is_on_disk_tells_nobody_of_a_stop(
    tmp_path: Path, seconds: float
):
    """dockmend died right after it, and the engine, or the next dockmend, right after that: nobody
    can know."""
    before = Request("GET", "/events", 1.0, status=200, answered=1.1, closed=110.5)
    blink = Request("GET", "/events", 114.0, status=200, answered=114.1, closed=114.1 + seconds)
    after = Request("GET", "/events", 118.5, status=200, answered=118.6)
    out = Span(110.5, 113.9, death=True)
    verdict = touched(tmp_path, "stopped", [(110.1, "stop")], [before, blink, after], out)
    assert [finding.kind for finding in verdict.findings] == ([] if seconds < 1.5 else ["touched"])
    assert len(verdict.excused) == int(seconds < 1.5)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_stop_that_the_engine_itself_has_recorded_is_no_lost_trace(
    tmp_path: Path, recorded: bool
):
    out = Span(105.0, 119.0, death=True)
    verdict = touched(tmp_path, "stopped", [(110.1, "stop")], [], out, recorded=recorded)
    assert ([finding.kind for finding in verdict.findings], len(verdict.excused)) == (
        (["touched"], 0) if recorded else ([], 1)
    )


@pytest.mark.parametrize(
    ("signalled", "found"),
    [(False, ["left_down"]), (True, []), (None, [])],
    ids=["nobody", "somebody", "not known"],
)
def test_what_is_left_down_and_the_engine_recorded_that_nobody_stopped_it_is_found(
    tmp_path: Path, signalled: bool | None, found: list[str], monkeypatch: pytest.MonkeyPatch
):
    oracle = oracle_of(tmp_path, [], [])
    slot = Slot("w2", "worker", "unless-stopped", id=ID)
    driver: Any = oracle.driver
    driver.slots, driver.well, driver.signalled = (
        [slot],
        lambda slot, seen: False,
        lambda seen: signalled,
    )
    monkeypatch.setattr(oracle, "settle", lambda: {"w2": {"State": {"Status": "exited"}}})
    monkeypatch.setattr(oracle, "_accepted", lambda slot, seen: (True, UNSEEN))
    monkeypatch.setattr(oracle._invariants, "check", lambda verdict, calm_at: None)
    verdict = oracle.judge()
    assert [finding.kind for finding in verdict.findings] == found
    assert ("w2" in verdict.suppressed) is (not found)


def test_the_engines_record_tells_of_the_run_that_was_seen_and_of_no_other(tmp_path: Path):
    state = {
        "StartedAt": "2026-12-01T10:00:00Z",
        "FinishedAt": "2026-12-01T11:00:00Z",
        "ExitCode": 1,
        "Running": False,
    }
    seen = {"Id": ID, "State": {**state, "Status": "exited"}}
    assert disk.signalled(tmp_path, seen) is None
    path = tmp_path / "containers" / ID / "config.v2.json"
    path.parent.mkdir(parents=True)
    for told in (True, False):
        path.write_text(json.dumps({"State": state, "HasBeenManuallyStopped": told}))
        assert disk.signalled(tmp_path, seen) is told
        assert (
            disk.signalled(
                tmp_path, {**seen, "State": {**state, "StartedAt": "2026-12-01T10:30:00Z"}}
            )
            is None
        )
        running = {**state, "Running": True}
        path.write_text(json.dumps({"State": running, "HasBeenManuallyStopped": told}))
        assert disk.signalled(tmp_path, {**seen, "State": running}) is None
    path.write_text('{"State": {')
    assert disk.signalled(tmp_path, seen) is None


@pytest.mark.parametrize("pick", [0.0, 0.1, 0.5, 0.99])
def test_no_common_fault_is_drawn_for_what_has_faults_of_its_own(pick: float):
    asked: list[str] = []

    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        asked.append(slot.tier)
        return False

    driver: Any = SimpleNamespace(slots=slots(), inspect=lambda slot: {})
    assert (
        Driver.choose(
            driver, Fault(1, "crash", pick, 0.0, 0.0), Act(1, "crash", "", "", 0.0), suits
        )
        is None
    )
    assert {*asked} == {slot.tier for slot in slots()} - {
        "owner",
        "guest",
        "remade",
        "bystander",
        "base",
        "tied",
        "composed",
    }


def test_what_only_its_image_speaks_for_is_covered_by_nothing_and_all_others_are():
    assert {slot.key for slot in slots() if not slot.covered} == {"x1", "x2", "s1", "s2", "u1"}
    assert {slot.key for slot in slots() if slot.image != TOOLBOX} == {"p6", "s1", "s2"}


@pytest.mark.parametrize(("container", "found"), [(ID, ["touched"]), ("b" * 64, [])])
def test_whatever_is_done_to_a_one_off_is_found_once(
    tmp_path: Path, container: str, found: list[str]
):
    oracle = oracle_of(tmp_path, [call("remove", 10.0, 10.1)], [])
    driver: Any = oracle.driver
    driver.passing = {container: "a one-off"}
    verdict = Verdict()
    oracle._invariants._left_alone(verdict)
    oracle._invariants._left_alone(verdict)
    assert [finding.kind for finding in verdict.findings] == found


@pytest.mark.parametrize(("tier", "found"), [("remade", []), ("patient", ["double"])])
def test_the_start_of_what_was_made_anew_answers_a_trouble_of_the_one_before_it(
    tmp_path: Path, tier: str, found: list[str]
):
    oracle = oracle_of(tmp_path, [call("start", 12.0, 12.5)], [])
    oracle.ledger.note(Act(1, "remake", "r1", "b" * 64, 9.0, 9.1))
    verdict = Verdict()
    slot = Slot("r1", tier, id=ID, born={"b" * 64: 1.0, ID: 11.0})
    oracle._twice(verdict, slot, ID, 11.0)
    assert [finding.kind for finding in verdict.findings] == found


@pytest.mark.parametrize(("opened_at", "found"), [(99.0, ["leftover", "leftover"]), (100.1, [])])
def test_what_begins_while_a_round_is_judged_is_judged_after_the_next(
    tmp_path: Path, opened_at: float, found: list[str]
):
    row = {
        "id": "i1",
        "object_id": ID,
        "object_name": "p1",
        "state": "acting",
        "opened_at": opened_at,
    }
    action = {
        "id": "a1",
        "object_id": ID,
        "object_name": "p1",
        "action": "restart",
        "began_at": opened_at,
    }
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as journal, journal:
        journal.execute("CREATE TABLE incidents (object_id TEXT, body BLOB, closed_at REAL)")
        journal.execute("INSERT INTO incidents VALUES (?, ?, NULL)", (ID, json.dumps(row)))
        journal.execute("CREATE TABLE actions (began_at REAL, body BLOB)")
        journal.execute("INSERT INTO actions VALUES (?, ?)", (opened_at, json.dumps(action)))
    verdict = Verdict()
    oracle_of(tmp_path, [], [])._invariants._leftover_work(verdict, 100.0)
    assert [finding.kind for finding in verdict.findings] == found


@pytest.mark.parametrize(
    ("lasted", "opened_at", "found"),
    [(52.0, 50.0, []), (0.0, 50.0, ["leftover"]), (52.0, -250.0, ["leftover"])],
    ids=["it must run for longer than before", "it need not", "for too long"],
)
def test_what_has_to_run_for_longer_than_before_is_verified_for_so_long(
    tmp_path: Path, lasted: float, opened_at: float, found: list[str]
) -> None:
    row = {"id": "i1", "object_id": ID, "object_name": "p1", "state": "verifying",
        "opened_at": opened_at,
           "lasted": lasted}  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as journal, journal:
        journal.execute("CREATE TABLE incidents (object_id TEXT, body BLOB, closed_at REAL)")
        journal.execute("INSERT INTO incidents VALUES (?, ?, NULL)", (ID, json.dumps(row)))
        journal.execute("CREATE TABLE actions (began_at REAL, body BLOB)")
    verdict = Verdict()
    oracle_of(tmp_path, [], [])._invariants._leftover_work(verdict, 100.0)
    assert [finding.kind for finding in verdict.findings] == found


@pytest.mark.parametrize(
    ("still", "ended_at", "unheard"),
    [
        ((), 110.6, True),
        ((), 112.0, False),
        ((109.0, 112.5), 112.0, True),
        ((109.0, 110.5), 112.0, False),
    ],
    ids=["at once", "later", "dockmend stood still", "it stood still before"],
)
def test_one_that_was_made_before_anybody_could_look_is_unheard_of(
    tmp_path: Path, still: tuple[float, float] | tuple[()], ended_at: float, unheard: bool
):
    oracle = oracle_of(tmp_path, [], [], *([Span(*still)] if still else []))
    oracle.driver.relay.streams = [
        Request("GET", "/events", 1.0, status=200, answered=1.1, closed=ended_at)
    ]
    oracle.ledger.engine_out.append(Span(ended_at, ended_at + 2))
    assert oracle._unheard_of(Slot("p1", "patient", id=ID, born={ID: 110.0})) is unheard


@pytest.mark.parametrize(
    ("container", "after", "status", "runs_for", "torn"),
    [
        (ID, 0.1, "running", 1.0, True),
        (ID, 0.1, "restarting", 60.0, True),
        (ID, 0.1, "running", 60.0, False),
        (ID, 0.1, "exited", 1.0, False),
        ("b" * 64, 0.1, "running", 1.0, False),
        (ID, -60.0, "running", 1.0, False),
    ],
    ids=["just started", "to be started", "it goes on", "left", "another's", "an earlier end"],
)
def test_what_the_engine_tears_down_itself_is_told_by_its_log_alone(
    tmp_path: Path, container: str, after: float, status: str, runs_for: float, torn: bool
):
    oracle = oracle_of(tmp_path, [], [(1010.0, "start"), (1012.0, "die")])
    said = _stamp(1012.0 + after)
    driver: Any = oracle.driver
    driver.engine = SimpleNamespace(
        log=f'time="{said}" level=info msg="x"\ntime="{said}" level=error msg="{container} '
        "cleanup: failed to delete "
        f'container from containerd: cannot delete running task {container}: failed precondition"\n'
    )
    state = {"Status": status, "StartedAt": _stamp(time.time() - runs_for)}
    assert oracle._torn_by_the_engine(Slot("p3", "patient", "always", id=ID), state) is torn


def _stamp(at: float) -> str:
    """As the engine writes a time: nanoseconds, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
