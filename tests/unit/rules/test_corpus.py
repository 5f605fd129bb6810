"""Wrong rule files, each with the exact lines a person gets; right ones, which give none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockmend.errors import InvalidFiles
from dockmend.rules.action_catalogue import ACTIONS
from dockmend.rules.loader import load_texts

HERE = Path(__file__).parent
WRONG = sorted((HERE / "corpus").glob("*.yaml"))
RIGHT = sorted((HERE / "right").glob("*.yaml"))


def test_the_corpus_is_there() -> None:
    assert len(WRONG) >= 150
    assert len(RIGHT) >= 6


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_file_gives_exactly_these_errors(path: Path) -> None:
    with pytest.raises(InvalidFiles) as raised:
        load_texts({path.name: path.read_bytes()}, host="lab")
    assert str(raised.value) + "\n" == path.with_suffix(".expected").read_text("utf-8")
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_every_error_stands_inside_its_file(path: Path) -> None:
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    with pytest.raises(InvalidFiles) as raised:
        load_texts({path.name: path.read_bytes()}, host="lab")
    for problem in raised.value.problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert "\n" not in str(problem)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_file_loads_without_a_word(path: Path) -> None:
    loaded = load_texts({path.name: path.read_bytes()}, host="prod-lab")
    assert loaded.rules
    assert loaded.warnings == ()


def test_what_comes_later_is_checked_and_only_said_to_be_missing() -> None:
    path = HERE / "later" / "everything.yaml"
    loaded = load_texts({path.name: path.read_bytes()}, host="lab")
    said = [warning.message for warning in loaded.warnings]
    assert [
        message for message in said if not message.startswith("not yet in this version: ")
    ] == []
    missing = {
        message.removeprefix("not yet in this version: ").partition(":")[0] for message in said
    }
    assert {name for name, spec in ACTIONS.items() if not spec.built} <= missing
    assert {
        "probe",
        "log",
        "stats",
        "mqtt",
        "alert",
        "kind",
        "consistency",
        "store",
        "keep",
        "node.down",
    } <= missing


def test_all_files_are_reported_at_once() -> None:
    texts = {path.name: path.read_bytes() for path in WRONG}
    with pytest.raises(InvalidFiles) as raised:
        load_texts(texts, host="lab")
    assert {problem.path for problem in raised.value.problems} == set(texts)
    places = [(problem.path, problem.line, problem.column) for problem in raised.value.problems]
    assert places == sorted(places)
