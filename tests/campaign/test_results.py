"""The table that grows over runs: no row is lost, counted twice, or written of what was not
finished."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.lab import EngineKind

from .report import Tally
from .results import Recording, Results, Row, UnusableError, clean_commit, markdown, missing
from .series import Series
from .verdict import KINDS, Finding

ROW = Row(
    1, "abc", "installed", True, 600, 80, 900, 400, 1.5, 12.25, {"missed": 0, "double": 0}, "f" * 64
)


def results(folder: Path, *rows: Row) -> Results:
    made = Results("abc", EngineKind.INSTALLED, folder)
    made.folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        made.write(row)
    return made


def test_a_row_is_read_as_it_was_written_and_belongs_to_its_commit_and_engine(tmp_path: Path):
    assert results(tmp_path, replace(ROW, seed=2), ROW).rows() == [ROW, replace(ROW, seed=2)]
    assert Results("other", EngineKind.INSTALLED, tmp_path).rows() == []
    assert Results("abc", EngineKind.NEXT, tmp_path).rows() == []


def test_half_a_row_counts_as_missing(tmp_path: Path):
    kept = results(tmp_path, ROW)
    (kept.folder / "seed-2.json").write_text('{"seed": 2, "com')
    (kept.folder / "seed-3.json").write_text('{"seed": 3}')
    (kept.folder / "seed-4.json.part").write_text("{}")
    assert missing(kept.rows(), 2400, 600) == [2, 3, 4]


@pytest.mark.parametrize(
    ("held", "wanted", "seeds"),
    [
        ((), 1000, [1, 2]),
        ((1, 3), 1800, [2]),
        ((1, 3), 2400, [2, 4]),
        ((1, 2), 1200, []),
        ((), 1, [1]),
    ],
)
def test_the_lowest_seeds_that_are_missing_are_run(
    held: tuple[int, ...], wanted: int, seeds: list[int]
):
    assert missing([replace(ROW, seed=seed) for seed in held], wanted, 600) == seeds


def test_a_finished_seed_is_a_row_with_the_hash_of_its_log(tmp_path: Path):
    kept = results(tmp_path)
    tally = Tally(
        7, live_restore=False, findings=[Finding("double", "x"), Finding("double", "y")], done=600
    )
    tally.excused["nobody knows"] += 3
    with Recording(kept, 7) as recording:
        recording.say("a line")
        row = recording.finish(tally)
    assert kept.rows() == [row]
    assert row.log_sha256 == hashlib.sha256(b"a line\n").hexdigest()
    assert row.columns == dict.fromkeys(KINDS, 0) | {"double": 2, "trace lost": 3}


def test_a_seed_is_run_by_one_process_at_a_time(tmp_path: Path):
    kept = results(tmp_path)
    with Recording(kept, 7) as first:
        first.say("mine")
        with pytest.raises(UnusableError, match="seed 7 is being run"), Recording(kept, 7):
            pass
        assert kept.log_of(7).read_text() == "mine\n"
    with Recording(kept, 7) as again:
        again.say("again")
    assert kept.log_of(7).read_text() == "again\n"


def test_the_table_has_every_column_and_the_sums():
    found = dict.fromkeys(KINDS, 0) | {"missed": 2, "trace lost": 1}
    lines = markdown([ROW, replace(ROW, seed=2, faults=500, columns=found)]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    last = dict(zip(cells[0], cells[-1], strict=True))
    assert (last["faults"], last["heals"], last["missed"], last["trace lost"]) == (
        "1,100",
        "800",
        "2",
        "1",
    )


def test_a_tree_that_was_changed_has_no_commit():
    with pytest.raises(UnusableError, match="commit first"):
        clean_commit(lambda *arguments: " M file" if arguments[0] == "status" else "abc\n")
    assert clean_commit(lambda *arguments: "" if arguments[0] == "status" else "abc\n") == "abc"


@dataclass
class Process:
    """One seed's run that has finished when it has been looked at as often as `looks` says."""

    seed: int
    results: Results
    looks: int = 2
    columns: dict[str, int] | None = field(default_factory=dict)  # None: it dies and leaves no row
    terminated: bool = False

    def poll(self) -> int | None:
        self.looks -= 1
        if self.looks > 0:
            return None
        if self.columns is not None:
            self.results.write(replace(ROW, seed=self.seed, columns=self.columns))
        return 0

    def terminate(self) -> None:
        self.terminated = True

    def wait(self) -> int:
        return 0


@dataclass
class Stage:
    kept: Results
    columns: dict[int, dict[str, int] | None] = field(default_factory=dict)
    begun: list[Process] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)

    def start(self, seed: int) -> Process:
        process = Process(seed, self.kept, columns=self.columns.get(seed, {}))
        self.begun.append(process)
        return process

    def series(self) -> Series:
        def commit() -> str:
            return self.commits.pop(0) if self.commits else "abc"

        return Series(
            self.kept, self.start, commit, say=lambda line: None, sleep=lambda seconds: None
        )


def test_a_series_runs_what_is_missing_and_no_more_at_once_than_it_may(tmp_path: Path):
    stage = Stage(results(tmp_path, replace(ROW, seed=2, columns={})))
    most = 0

    def sleep(seconds: float) -> None:
        nonlocal most
        most = max(most, sum(1 for process in stage.begun if process.looks > 0))

    series = stage.series()
    series.sleep = sleep
    assert series.run(3000, at_once=3) is True
    assert [process.seed for process in stage.begun] == [1, 3, 4, 5]
    assert most == 3
    assert stage.series().run(3000) is True  # a second time there is nothing to do
    assert len(stage.begun) == 4


@pytest.mark.parametrize("columns", [{"missed": 1}, None], ids=["a finding", "its process died"])
def test_a_series_with_anything_in_a_column_or_without_a_row_is_not_well(
    tmp_path: Path, columns: dict[str, int] | None
):
    stage = Stage(results(tmp_path), {1: columns})
    assert stage.series().run(1200) is False
    assert [process.seed for process in stage.begun] == [1, 2]  # it ends all the same


def test_a_series_ends_when_another_commit_is_checked_out_and_so_do_its_seeds(tmp_path: Path):
    stage = Stage(results(tmp_path), commits=["abc", "def"])
    with pytest.raises(UnusableError, match="def is checked out"):
        stage.series().run(1200)
    assert [process.terminated for process in stage.begun] == [True]
    assert stage.kept.rows() == []
