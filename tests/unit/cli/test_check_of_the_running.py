"""Without a path, `check` looks at the files of the dockmend that runs, as all commands do, and
says if that one rejected them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_daemon_commands import (  # noqa: F401 - a fixture
    IN_FORCE,
    ONE_RULE,
    RULES,
    STATUS,
    Scripted,
    state,
)

WHY = "the rule files are wrong: the last good set is in force"


@pytest.fixture
def folder(state: tuple[Path, Scripted], tmp_path: Path) -> Path:  # noqa: F811
    """The rules of a daemon that was started with its own folder of rules and without settings."""
    rules = tmp_path / "rules.d"
    rules.mkdir()
    (rules / "a.yaml").write_text(ONE_RULE)
    tmp_path.chmod(0o700)
    answers(state, rules)
    return rules


def answers(
    place: tuple[Path, Scripted],
    rules: Path,
    problems: tuple[str, ...] = (),
    **more: Any,
) -> None:
    folder, daemon = place
    told = {**IN_FORCE, "config": None, "rules": str(rules), "state": str(folder), **more}
    degraded = {"rules": WHY} if any(": warning: " not in each for each in problems) else {}
    daemon.answers |= {
        "in_force": told,
        "rules": {**RULES, "problems": list(problems)},
        "status": {**STATUS, "degraded": degraded},
    }


def test_the_folder_in_force_is_checked(dockmend, state, folder):  # noqa: F811
    ran = dockmend("check", "--state", state[0])
    assert (ran.code, ran.out) == (0, "fine: 1 rule\n")
    assert f"rules of {folder}, settings by default: of the dockmend that runs\n" in ran.err


def test_what_it_rejected_is_named_with_its_line(dockmend, state, folder):  # noqa: F811
    wrong = folder / "b.yaml"
    wrong.write_text(ONE_RULE.replace("crashed", "crashd").replace("name: x", "name: y"))
    answers(state, folder, (f"{wrong}:2:29: unknown trigger",))
    ran = dockmend("check", "--state", state[0])
    assert (ran.code, ran.out) == (1, "")
    assert f"which rejected these rules: {WHY}\n" in ran.err
    assert f"{wrong}:2:" in ran.err


def test_what_was_mended_since_is_said(dockmend, state, folder):  # noqa: F811
    answers(state, folder, ("a.yaml:2:29: unknown trigger",))
    ran = dockmend("check", "--state", state[0])
    assert (ran.code, ran.out) == (0, "fine: 1 rule\n")
    assert "they can be read now: `dockmend reload` puts them in force" in ran.err


def test_of_a_folder_in_a_container_the_daemon_tells(dockmend, state, tmp_path):  # noqa: F811
    away = tmp_path / "in" / "its" / "container"
    answers(state, away, ("/r/a.yaml:3:5: no such action", "/r: warning: others may write it"))
    ran = dockmend("check", "--state", state[0])
    assert ran.code == 1
    assert f"{away}: /r/a.yaml:3:5: no such action\n" in ran.err
    assert "does not exist" not in ran.err
    answers(state, away)
    ran = dockmend("check", "--state", state[0])
    assert ran.code == 0
    assert "is not to be seen from here; the dockmend that runs found nothing wrong" in ran.err


def test_its_channels_may_be_named(dockmend, state, folder):  # noqa: F811
    told = ONE_RULE.replace("then: start", "then: {notify: {to: ops, message: m}}")
    (folder / "a.yaml").write_text(told)
    assert dockmend("check", "--state", state[0]).code == 0
    (folder / "a.yaml").write_text(told.replace("ops", "nobody"))
    assert dockmend("check", "--state", state[0]).code == 1


def test_flags_and_paths_ask_about_other_files(dockmend, state, folder):  # noqa: F811
    answers(state, folder, ("a.yaml:2:29: unknown trigger",))
    ran = dockmend("check", "--state", state[0], "--rules", folder)
    assert (ran.code, "rejected" in ran.err) == (0, False)
    ran = dockmend("check", folder, "--state", state[0])
    assert (ran.code, "rejected" in ran.err) == (0, False)


def test_the_json_is_of_the_same_files(dockmend, state, folder):  # noqa: F811
    (folder / "a.yaml").write_text("rules: 7\n")
    found = json.loads(dockmend("check", "--state", state[0], "--json").out)
    assert {each["path"] for each in found} == {str(folder / "a.yaml")}
