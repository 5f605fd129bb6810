"""What the judge demands for a guest that no rule covers, for what is tied, and for the guests of a
stopped owner."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from . import fleet
from .along import Along
from .driver import SECOND
from .fleet import Slot
from .ledger import Act, Intent, Ledger, Life, Span
from .relay import Request
from .test_parts import ID, oracle_of
from .verdict import Verdict
from .witness import Seen

OWNER = Slot("h2", "owner", id=ID, born={ID: 1.0})
GUEST = Slot("u1", "bystander", owner=OWNER, id="b" * 64, born={"b" * 64: 2.0})


def along(calls: list[Request], starts: list[float], ledger: Ledger | None = None) -> Along:
    driver: Any = SimpleNamespace(
        ledger=ledger or Ledger(),
        relay=SimpleNamespace(changes=lambda container: calls if container == ID else []),
        events=SimpleNamespace(
            of=lambda container, *actions: [Seen(at, "container", "start", ID) for at in starts]
        ),
    )
    return Along(driver, lambda request: request.status == 204)


def restart(sent: float, status: int = 204, by: str = "") -> Request:
    return Request(
        "POST", f"/containers/{ID}/restart", sent, status=status, answered=sent + 1.0, by=by
    )


@pytest.mark.parametrize(
    ("calls", "starts", "demanded"),
    [
        ([restart(10.0)], [5.0, 10.8], True),
        ([restart(10.0)], [5.0, 10.8, 20.0], False),
        ([restart(10.0, 500)], [10.8], False),
        ([], [10.8], False),
    ],
    ids=["dockmend did it", "a person did it since", "it was refused", "nobody but a person"],
)
def test_an_uncovered_guest_is_demanded_back_if_dockmend_began_the_run_of_its_owner(
    calls: list[Request], starts: list[float], demanded: bool
):
    assert along(calls, starts).demanded(GUEST) is demanded
    assert not along(calls, starts).demanded(Slot("g3", "guest", owner=OWNER))


@pytest.mark.parametrize(
    ("call", "life", "turns", "left"),
    [
        (restart(10.0, by=SECOND), Life(1.0, 12.0), [Span(1.0, 12.0)], True),
        (restart(10.0), Life(1.0, 12.0), [Span(1.0, 12.0)], False),
        (restart(10.0, by=SECOND), Life(1.0), [Span(1.0)], False),
        (restart(10.0, by=SECOND), Life(1.0, 500.0), [Span(1.0, 500.0)], False),
        (restart(10.0, by=SECOND), Life(1.0, 12.0), [Span(1.0, 12.0), Span(30.0, 40.0)], False),
    ],
    ids=["it ended", "the first one did it", "it runs", "it had the time", "it had a turn since"],
)
def test_a_guest_may_be_left_if_only_a_dockmend_that_ended_knows_of_it(
    call: Request, life: Life, turns: list[Span], left: bool
):
    assert (
        along([call], [10.8], Ledger(second_lives=[life], second_acts=turns)).left_by_second(GUEST)
        is left
    )


@pytest.mark.parametrize(("sent", "belongs"), [(9.0, False), (12.0, True), (500.0, False)])
def test_only_in_an_attempt_on_its_owner_may_something_be_done_to_it(sent: float, belongs: bool):
    request = Request("POST", f"/containers/{GUEST.id}/restart", sent)
    assert along([restart(10.0)], [10.8]).belongs(GUEST, request) is belongs
    assert not along([restart(10.0)], [10.8]).belongs(Slot("x1", "none"), request)


def inspected(pid: int, **host: object) -> dict[str, Any]:
    return {"Id": ID, "Name": "/m1", "State": {"Pid": pid}, "HostConfig": host}


def test_who_is_tied_has_the_base_in_its_definition_and_its_namespace():
    mine, base = os.getpid(), Slot("m1", "base", name="m1")
    pid, link = (
        Slot("m3", "tied", base=base, tie="pid"),
        Slot("m2", "tied", base=base, tie="link", name="m2"),
    )
    assert fleet.tied(pid, inspected(mine, PidMode=f"container:{ID}"), inspected(mine))
    assert not fleet.tied(pid, inspected(mine, PidMode=f"container:{'b' * 64}"), inspected(mine))
    assert not fleet.tied(pid, inspected(0, PidMode=f"container:{ID}"), inspected(mine))
    assert fleet.tied(link, inspected(mine, Links=["/m1:/m2/base"]), inspected(mine))
    for lost in (None, [], ["/m1.dockmend-old-i1:/m2/base"]):
        assert not fleet.tied(link, inspected(mine, Links=lost), inspected(mine))


@pytest.mark.parametrize(
    ("outcome", "closed_at", "meant", "found"),
    [
        ("failed", 120.0, "stopped", ["journal"]),
        ("on_purpose", 120.0, "stopped", []),
        ("failed", 90.0, "stopped", []),
        ("failed", 120.0, "running", []),
    ],
    ids=["failed", "on purpose", "before", "nobody stopped it"],
)
def test_the_guests_of_an_owner_that_a_person_stopped_did_not_fail(
    tmp_path: Path, outcome: str, closed_at: float, meant: Any, found: list[str]
):
    oracle = oracle_of(tmp_path, [], [])
    oracle.driver.slots = [OWNER, Slot("g3", "guest", owner=OWNER, id="c" * 64)]
    oracle.ledger.means("h2", Intent(meant, 110.0, Act(1, "owner_stop", "h2", ID, 109.0, 110.0)))
    row = {
        "id": "i1",
        "opened_at": 80.0,
        "closed_at": closed_at,
        "outcome": outcome,
        "state": "closed",
    }
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3")) as journal, journal:
        journal.execute("CREATE TABLE incidents (object_id TEXT, body BLOB, closed_at REAL)")
        journal.execute(
            "INSERT INTO incidents VALUES (?, ?, ?)", ("c" * 64, json.dumps(row), closed_at)
        )
    verdict = Verdict()
    oracle._invariants._owners_stopped(verdict)
    oracle._invariants._owners_stopped(verdict)
    assert [finding.kind for finding in verdict.findings] == found
