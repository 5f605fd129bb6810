"""The oracle counts a helper container as left over if it stays, and not if dockmend removes it
soon."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from . import fleet, invariants
from .test_parts import oracle_of
from .verdict import Verdict

TOOL = {
    "Id": "f" * 64,
    "Names": ["/dockmend-i0-00000000"],
    "Labels": {"dockmend.helper": "x/i0"},
    "Status": "Created",
}
OLD = {"Id": "e" * 64, "Names": ["/web.dockmend-old-i0"], "Labels": {}, "Status": "Exited (143)"}


@pytest.mark.parametrize(
    ("stays", "row", "found"),
    [
        pytest.param(3, TOOL, 0, id="a helper that goes"),
        pytest.param(10**9, TOOL, 1, id="a helper that stays"),
        pytest.param(1, OLD, 1, id="what no helper is, is not waited for"),
    ],
)
def test_only_a_helper_that_stays_is_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: int, row: dict[str, Any], found: int
):
    looks = 0

    def api(method: str, path: str) -> tuple[int, Any]:
        nonlocal looks
        if not path.startswith("/containers"):
            return 200, {"Volumes": []} if path == "/volumes" else []
        looks += 1
        return 200, [row] if looks <= stays or row is OLD else []

    monkeypatch.setattr(invariants, "HELPERS_GO", 1.0)
    oracle, verdict = oracle_of(tmp_path, [], []), Verdict()
    engine: Any = SimpleNamespace(api=api)
    oracle.driver.engine = engine
    oracle._invariants._leftover_objects(verdict)
    assert [each.kind for each in verdict.findings] == ["leftover"] * found


@pytest.mark.parametrize(
    ("made", "seconds", "found"),
    [
        pytest.param("abc", "", 1, id="one too many"),
        pytest.param(
            "abc", "c", 0, id="one of them is the second dockmend's, which the first may not remove"
        ),
        pytest.param("abc", "abc", 1, id="the second one keeps too many"),
    ],
)
def test_each_dockmend_keeps_as_many_images_as_its_rule_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str, seconds: str, found: int
):
    def api(method: str, path: str) -> tuple[int, Any]:
        images = [{"RepoTags": [f"kept:i{each}"]} for each in made]
        return 200, {"Volumes": []} if path == "/volumes" else images if path.startswith(
            "/images"
        ) else []

    monkeypatch.setattr(fleet, "KEEP", 2)
    oracle, verdict = oracle_of(tmp_path, [], []), Verdict()
    engine: Any = SimpleNamespace(api=api)
    oracle.driver.engine = engine
    slot: Any = SimpleNamespace(id="1" * 64, key="k1", tier="kept", renamed=0)
    oracle.driver.slots = [slot]
    second: Any = SimpleNamespace(actions=lambda: [{"incident": f"i{each}"} for each in seconds])
    oracle._invariants._second = second
    oracle._invariants._leftover_objects(verdict)
    assert [each.kind for each in verdict.findings] == ["leftover"] * found
