"""What `run` refuses, `check` refuses, in the same words: each way in which others could have
written what steers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dockmend.app.lock import locked
from dockmend.app.rule_store import RuleStore
from dockmend.errors import UsageError
from dockmend.settings import load

RULE = "version: 1\nrules:\n- {name: a, when: container.unhealthy, match: all, then: restart}\n"
SECRET = "mqtt: {host: localhost, username: u, password_file: pw}\n"


class Place:
    """A folder with all that `run` reads."""

    def __init__(self, folder: Path) -> None:
        self.above = folder / "above"
        self.rules, self.config, self.state = (
            self.above / "rules.d",
            self.above / "dockmend.yaml",
            self.above / "state",
        )
        self.rule, self.other, self.secret = (
            self.rules / "a.yaml",
            folder / "other",
            self.above / "pw",
        )
        self.rules.mkdir(parents=True)
        self.state.mkdir(mode=0o700)
        self.rule.write_text(RULE)
        self.config.write_text("heal: off\n")

    def linked(self) -> Path:
        """The rule is a link to a file elsewhere."""
        self.rule.rename(self.other)
        self.rule.symlink_to(self.other)
        return self.other

    def moved(self) -> Path:
        """The folder of the rules is a link to one elsewhere."""
        self.rules.rename(self.other)
        self.rules.symlink_to(self.other)
        return self.rules

    def on_a_share(self, folder: Path) -> None:
        """The uid of a NAS share's files is named."""
        folder.chmod(0o777)
        given(self.rule).chmod(0o666)
        self.config.write_text("policy: {rules_owner: 99}\n")

    def with_secret(self) -> Path:
        self.config.write_text(SECRET)
        self.secret.write_text("secret\n")
        self.secret.chmod(0o600)
        return self.secret


def given(path: Path) -> Path:
    """It belongs to another user now."""
    os.chown(path, 99, 99, follow_symlinks=False)
    return path


CASES: dict[str, Callable[[Place], object]] = {
    "nothing is wrong": lambda p: None,
    "a file of mode 0666": lambda p: p.rule.chmod(0o666),
    "settings of mode 0666": lambda p: p.config.chmod(0o666),
    "the folder's group may write": lambda p: p.rules.chmod(0o775),
    "a folder above is everybody's": lambda p: p.above.chmod(0o777),
    "a link to what is in order": lambda p: p.linked(),
    "a link to what everybody may write": lambda p: p.linked().chmod(0o666),
    "a link to nothing": lambda p: p.linked().unlink(),
    "the folder is a link": lambda p: p.moved(),
    "no regular file": lambda p: os.mkfifo(p.rules / "b.yaml"),
    "a secret in order": lambda p: p.with_secret(),
    "a secret that everybody may write": lambda p: p.with_secret().chmod(0o666),
    "a secret that is missing": lambda p: p.with_secret().unlink(),
    "a state folder that others may write": lambda p: p.state.chmod(0o770),
    "an owner nobody knows": lambda p: p.config.write_text("policy: {rules_owner: nobody-such}\n"),
    "a channel nobody configured": lambda p: p.rule.write_text(
        RULE.replace("restart", "{notify: {to: ops, message: x}}")
    ),
    "a trigger nobody knows": lambda p: p.rule.write_text(RULE.replace("unhealthy", "unhealty")),
}
OF_ROOT: dict[str, Callable[[Place], object]] = {
    "a file of another": lambda p: given(p.rule),
    "settings of another": lambda p: given(p.config),
    "a folder of another": lambda p: given(p.rules),
    "a folder above of another": lambda p: given(p.above),
    "a link of another": lambda p: (p.linked(), given(p.rule)),
    "a link to what is another's": lambda p: given(p.linked()),
    "the folder is a link of another": lambda p: given(p.moved()),
    "a secret of another": lambda p: given(p.with_secret()),
    "a file of the owner that is named": lambda p: (
        given(p.rule),
        p.config.write_text("policy: {rules_owner: 99}\n"),
    ),
    "a share of a NAS": lambda p: p.on_a_share(given(p.rules)),
    "a folder of root's on a share": lambda p: p.on_a_share(p.rules),
}
if os.geteuid() == 0:  # only root gives files away
    CASES |= OF_ROOT
FINE = {"nothing is wrong", "a link to what is in order", "the folder is a link",
    "a secret in order",
        "a file of the owner that is named", "a share of a NAS"}  # fmt: skip


def told_by_run(place: Place) -> set[str]:
    """What a start says before it does anything, each as it is shown."""
    said: list[str] = []
    try:
        own = load({"rules": place.rules, "state": place.state}, environ={}, config=place.config)
    except UsageError as error:
        return set(str(error).splitlines())
    try:
        with locked(own.paths.state):
            rules = RuleStore(own, "host", lambda: 0.0)
            asyncio.run(rules.start())
            said += [each for each in rules.problems if ": warning: " not in each]
    except UsageError as error:
        said += str(error).splitlines()
    return set(said)


@pytest.mark.parametrize("case", CASES)
def test_check_and_run_say_the_same(case: str, dockmend, tmp_path: Path):
    place = Place(tmp_path)
    CASES[case](place)
    by_run = {each.replace(f"the state folder {place.state}", f"{place.state}: the state folder")
              for each in told_by_run(place)}  # fmt: skip
    ran = dockmend(
        "check", "--rules", place.rules, "--config", place.config, "--state", place.state
    )
    by_check = {line for line in ran.err.splitlines() if ": warning: " not in line}
    assert by_run <= by_check
    assert (ran.code, by_check == set(), by_run == set()) == (
        (0, True, True) if case in FINE else (1, False, False)
    )


@pytest.mark.parametrize("case", [each for each in CASES if "a secret" in each])
def test_settings_that_are_named_are_judged_with_the_secrets_that_exist(
    case: str, dockmend, tmp_path: Path
):
    place = Place(tmp_path)
    CASES[case](place)
    ran = dockmend("check", place.config, "--state", place.state)
    wrong = set() if case == "a secret that is missing" else told_by_run(place)
    assert set(ran.err.splitlines()) == wrong
    assert ran.code == bool(wrong)


def test_what_is_above_both_rules_and_settings_is_told_of_once(dockmend, tmp_path: Path):
    place = Place(tmp_path)
    place.above.chmod(0o777)
    ran = dockmend("check", "--rules", place.rules, "--config", place.config, "--state", tmp_path)
    assert ran.err.count(f"{place.above}: may be written by everybody") == 1


def test_a_start_without_the_folder_of_rules_says_so(
    dockmend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = Place(tmp_path)
    place.rule.unlink()
    place.rules.rmdir()
    with capture_logs() as lines:
        assert told_by_run(place) == set()
    said = f"{place.rules} does not exist: no rule is in force"
    assert [each["event"] for each in lines] == [said]
    monkeypatch.setenv("DOCKMEND_RULES", str(place.rules))
    ran = dockmend("check", "--config", place.config, "--state", place.state)
    assert (ran.code, said.replace(" does", ": warning: does") in ran.err) == (0, True)
