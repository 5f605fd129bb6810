"""`make steady`: its runs count over interruptions, of one commit alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import steady


class Runs:
    """What `_run` is replaced by: green unless named, interrupted at a number."""

    def __init__(self, red: tuple[int, ...] = (), interrupted_at: int = 0) -> None:
        self.loaded: list[bool] = []
        self.red = red
        self.interrupted_at = interrupted_at

    def __call__(self, *, loaded: bool) -> dict[str, Any]:
        number = len(self.loaded) + 1
        if number == self.interrupted_at:
            raise KeyboardInterrupt
        self.loaded.append(loaded)
        green = number not in self.red
        return {
            "loaded": loaded,
            "green": green,
            "seconds": 1,
            "told": "",
            "failed": [] if green else ["test_one"],
        }


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | None]:
    """What the tree is of, each time it is asked; the last one stays."""
    told: list[str | None] = ["abc"]
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(steady, "ROWS", tmp_path / "out" / "steady.jsonl")
    monkeypatch.setattr(steady, "_commit", lambda: told.pop(0) if len(told) > 1 else told[0])
    return told


def run(monkeypatch: pytest.MonkeyPatch, runs: Runs) -> Runs:
    monkeypatch.setattr(steady, "_run", runs)
    return runs


def test_ten_runs_three_of_them_loaded(commits, monkeypatch, capsys):
    runs = run(monkeypatch, Runs())
    assert steady.main() == 0
    assert [number for number, loaded in enumerate(runs.loaded, 1) if loaded] == [3, 6, 9]
    assert "steady at abc: 10 of 10 green" in capsys.readouterr().out
    assert steady.main() == 0
    assert len(runs.loaded) == 10  # all were made


def test_an_interrupted_run_is_made_again(commits, monkeypatch):
    run(monkeypatch, Runs(interrupted_at=4))
    with pytest.raises(KeyboardInterrupt):
        steady.main()
    rest = run(monkeypatch, Runs())
    assert steady.main() == 0
    assert len(rest.loaded) == 7
    assert rest.loaded == [False, False, True, False, False, True, False]


def test_another_commit_begins_anew(commits, monkeypatch):
    run(monkeypatch, Runs())
    assert steady.main() == 0
    commits[:] = ["def"]
    runs = run(monkeypatch, Runs())
    assert steady.main() == 0
    assert len(runs.loaded) == 10


def test_one_that_is_red_is_named_and_not_made_again(commits, monkeypatch, capsys):
    run(monkeypatch, Runs(red=(2,)))
    assert steady.main() == 1
    told = capsys.readouterr().out
    assert "9 of 10 green" in told
    assert "  2  idle           1 s  RED: test_one" in told.splitlines()
    runs = run(monkeypatch, Runs())
    assert steady.main() == 1
    assert runs.loaded == []


def test_a_tree_with_changes_is_refused_and_a_run_in_which_it_changed_does_not_count(
    commits, monkeypatch
):
    commits[:] = [None]
    assert steady.main() == 2
    commits[:] = ["abc", "abc", "abc", "def"]
    runs = run(monkeypatch, Runs())
    assert steady.main() == 2
    assert len(runs.loaded) == 3
    assert len(steady.ROWS.read_text().splitlines()) == 2
