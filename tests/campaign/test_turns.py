"""Of two dockmends on one engine the judge finds each call of the one whose turn it is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .faults import seconds
from .ledger import Act, Ledger, Life, Span
from .plan import Fault
from .relay import Request
from .turns import Turns
from .verdict import Verdict


def found(folder: Path, ledger: Ledger, by: str, sent: float) -> list[str]:
    call = Request("POST", f"/containers/{'a' * 64}/start", sent, by=by)
    driver: Any = SimpleNamespace(
        ledger=ledger,
        relay=SimpleNamespace(changes=lambda: [call]),
        second=SimpleNamespace(folder=folder),
    )
    turns, verdict = Turns(driver), Verdict()
    turns.check(verdict)
    turns.check(verdict)
    return [finding.kind for finding in verdict.findings]


@pytest.mark.parametrize(
    ("out", "kinds"),
    [
        ([], ["touched"]),
        ([Span(15.0, 30.0, death=True)], []),
        ([Span(5.0, 12.0, death=True)], []),
        ([Span(15.0, 30.0)], ["touched"]),
        ([Span(22.0, 30.0, death=True)], ["touched"]),
        ([Span(5.0, 8.0, death=True)], ["touched"]),
    ],
    ids=[
        "the first runs",
        "it died meanwhile",
        "it was dead before",
        "it stood still",
        "it died later",
        "it was back",
    ],
)
def test_the_second_acts_only_once_the_first_has_died_beside_it(
    tmp_path: Path, out: list[Span], kinds: list[str]
):
    ledger = Ledger(dockmend_out=out, second_lives=[Life(10.0, 40.0)])
    assert found(tmp_path, ledger, "-2", 20.0) == kinds


@pytest.mark.parametrize(
    ("pid", "kinds"), [(1, []), (2, ["touched"])], ids=["it is starting", "it has the lock"]
)
def test_the_second_may_take_the_lock_that_a_first_one_which_is_back_does_not_have_yet(
    tmp_path: Path, pid: int, kinds: list[str]
):
    """`pid`: of whom the file beside the lock tells; 1 is the process that has died."""
    (tmp_path / "run" / "engines").mkdir(parents=True)
    (tmp_path / "run" / "engines" / "e.json").write_text(
        json.dumps({"pid": pid, "started": "", "state": ""})
    )
    ledger = Ledger(dockmend_out=[Span(5.0, 8.0, death=True)])
    driver: Any = SimpleNamespace(
        ledger=ledger, later=lambda *_: None,
        daemon=SimpleNamespace(folder=tmp_path, pid=2, running=True),
        second=SimpleNamespace(running=False, start=lambda: None),
    )  # fmt: skip
    seconds.beside(
        driver, Fault(1, "second_beside", 0.0, 0.0, 1.0), Act(1, "second_beside", "", "", 10.0)
    )
    assert found(tmp_path, ledger, "-2", ledger.second_lives[0].begin + 5.0) == kinds


@pytest.mark.parametrize(("sent", "kinds"), [(15.0, []), (25.0, ["touched"]), (35.0, [])])
def test_the_first_does_nothing_while_it_is_the_seconds_turn(
    tmp_path: Path, sent: float, kinds: list[str]
):
    ledger = Ledger(second_lives=[Life(10.0, 30.0)], second_acts=[Span(20.0, 30.0)])
    assert found(tmp_path, ledger, "", sent) == kinds


def test_a_fault_of_the_second_one_is_found_once(tmp_path: Path):
    (tmp_path / "log").write_text("fine\nTraceback (most recent call last):\n")
    assert found(tmp_path, Ledger(), "", 5.0) == ["fault"]
