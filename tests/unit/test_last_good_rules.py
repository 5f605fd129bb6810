"""The last good set: what was loaded and nothing else, and of nobody else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from dockmend.app.rule_store import LAST_GOOD, RuleStore
from dockmend.errors import InvalidFiles
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import RuleSet
from dockmend.settings import Settings
from dockmend.settings.channel_settings import NotifyChannel

RULE = "version: 1\nrules:\n  - {name: NAME, when: startup, match: all, then: restart}\n"


@pytest.fixture
def one(tmp_path: Path) -> RuleStore:
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "rules.d" / "a.yaml").write_text(RULE)
    paths = {"rules": tmp_path / "rules.d", "state": tmp_path / "state", "socket": tmp_path / "s"}
    return RuleStore(Settings.model_validate({"heal": "off", "paths": paths}), "lab", lambda: 0.0)


def kept(one: RuleStore) -> dict[str, str]:
    return {
        path.name: path.read_text() for path in (one.settings.paths.state / LAST_GOOD).iterdir()
    }


async def test_it_holds_the_bytes_that_were_loaded_not_what_is_written_meanwhile(
    one: RuleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: Any, **keys: Any) -> RuleSet:
        (one.settings.paths.rules / "a.yaml").write_text("an editor has just begun to")
        return load_texts(*args, **keys)

    monkeypatch.setattr("dockmend.app.rule_store.load_texts", load)
    await one.start()
    assert kept(one) == {"a.yaml": RULE}


async def test_it_is_what_a_start_with_wrong_files_stands_on_and_forgets_files_that_are_gone(
    one: RuleStore,
) -> None:
    (one.settings.paths.rules / "b.yaml").write_text(RULE.replace("NAME", "b"))
    await one.start()
    assert sorted(kept(one)) == ["a.yaml", "b.yaml"]
    (one.settings.paths.rules / "b.yaml").unlink()
    await one.start()
    assert sorted(kept(one)) == ["a.yaml"]
    (one.settings.paths.rules / "a.yaml").write_text("rules: [")
    assert [rule.name for rule in (await one.start()).rules] == ["NAME"]
    assert not one.observes


async def test_a_channel_that_was_taken_out_of_the_settings_ends_no_healing(one: RuleStore) -> None:
    one.settings = one.settings.model_copy(update={"notify": {"ops": NotifyChannel()}})
    (one.settings.paths.rules / "a.yaml").write_text(
        RULE.replace("restart", "{notify: {to: ops, message: x}}")
    )
    assert len((await one.start()).rules) == 1
    one.settings = one.settings.model_copy(update={"notify": {}})
    with pytest.raises(InvalidFiles, match="unknown channel"):
        await one.reload("root")
    assert [rule.name for rule in (await one.start()).rules] == ["NAME"]
    assert one.degraded is not None
    assert not one.observes


async def test_one_that_others_could_have_written_is_not_used(one: RuleStore) -> None:
    await one.start()
    (one.settings.paths.rules / "a.yaml").write_text("rules: [")
    (one.settings.paths.state / LAST_GOOD / "a.yaml").chmod(0o666)
    assert (await one.start()).rules == ()
    assert one.observes


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_rules_that_others_may_write_are_warned_of_at_each_load(one: RuleStore) -> None:
    folder = one.settings.paths.rules
    os.chown(folder, 4242, 100)
    folder.chmod(0o777)
    with structlog.testing.capture_logs() as told:
        await one.start()
    assert "rules_owner: 4242" in str([each.get("problem") for each in told])
    assert one.observes, "it is refused until somebody says so"
    policy = one.settings.policy.model_copy(update={"rules_owner": "4242"})
    share = RuleStore(one.settings.model_copy(update={"policy": policy}), "lab", lambda: 0.0)
    for load in (share.start, lambda: share.reload("4242")):
        with structlog.testing.capture_logs() as told:
            assert [rule.name for rule in (await load()).rules] == ["NAME"]
        [line] = told
        assert (line["event"], line["log_level"]) == ("rule files are open to others", "warning")
        assert f"{folder}: warning: others than user 4242 may write this" in line["problem"]
    assert share.problems == (line["problem"],)
