"""What a recreation that was cut off set aside is a leftover only if its dockmend could have
settled it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .ledger import Life, Span
from .test_parts import oracle_of
from .verdict import Verdict

OLD, NEW, OTHER = "e" * 64, "d" * 64, "c" * 64


def found(
    folder: Path, whose: str, holder: str | None, row: dict[str, Any], life: Life
) -> tuple[list[str], int]:
    rows = [{"Id": OLD, "Names": ["/g3.dockmend-old-i0"], "Labels": {}, "Status": "Exited (143)"}]
    if holder is not None:
        rows.append({"Id": holder, "Names": ["/g3"], "Labels": {}, "Status": "Up"})

    def api(method: str, path: str) -> tuple[int, Any]:
        return 200, {"Volumes": []} if path == "/volumes" else rows if path.startswith(
            "/containers"
        ) else []

    oracle, verdict = oracle_of(folder, [], []), Verdict()
    engine: Any = SimpleNamespace(api=api)
    oracle.driver.engine = engine
    slot: Any = SimpleNamespace(id=holder, key="g3", name="g3", tier="guest", renamed=0)
    oracle.driver.slots = [slot]
    oracle.ledger.second_lives = [life]
    oracle.ledger.dockmend_out = [Span(30.0, 35.0, death=True)]
    action = {
        "began_at": 20.0,
        "incident": "i0",
        "undo": {"recreate": {"old": OLD, "new": NEW, "name": "g3"}},
        **row,
    }
    both: Any = {
        each: SimpleNamespace(actions=lambda each=each: [action] if each == whose else [])
        for each in "12"
    }
    cut_off = oracle._invariants._cut_off
    cut_off._first, cut_off._second = both["1"], both["2"]
    oracle._invariants._second = both["2"]
    oracle._invariants._leftover_objects(verdict)
    return [each.kind for each in verdict.findings], len(verdict.aside)


OPEN: dict[str, Any] = {}
SETTLED = {"ended_at": 90.0, "outcome": "interrupted"}
DONE = {"ended_at": 90.0, "outcome": "done"}
CUT, AFTER, BEFORE = Life(10.0, 25.0), Life(10.0, 99.0), Life(1.0, 9.0)


@pytest.mark.parametrize(
    ("whose", "holder", "row", "life", "aside"),
    [
        pytest.param("2", NEW, OPEN, CUT, True, id="the second waits for its next turn"),
        pytest.param("2", OTHER, SETTLED, CUT, True, id="its next turn found the name taken"),
        pytest.param("2", NEW, SETTLED, CUT, False, id="its next turn found its own new one"),
        pytest.param("2", OTHER, DONE, CUT, False, id="it calls the recreation done"),
        pytest.param("2", None, SETTLED, CUT, False, id="the name is free"),
        pytest.param("2", OTHER, SETTLED, AFTER, False, id="the second did not end in its middle"),
        pytest.param(
            "1", OTHER, SETTLED, AFTER, True, id="the first died in its middle beside the second"
        ),
        pytest.param(
            "1", OTHER, SETTLED, BEFORE, False, id="the first died, and no other was there"
        ),
    ],
)
def test_what_a_cut_recreation_set_aside_stays_only_if_its_dockmend_could_not_put_it_back(
    tmp_path: Path, whose: str, holder: str | None, row: dict[str, Any], life: Life, aside: bool
):
    assert found(tmp_path, whose, holder, row, life) == ([] if aside else ["leftover"], int(aside))
