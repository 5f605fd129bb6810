"""The rules in rules.d/: each loads without a word, is opted into by a label, and does what its
comment says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dockmend.model import Change, Container, Object, Volume, target_of
from dockmend.rules.loader import load_rules
from dockmend.rules.matcher import Matcher
from dockmend.rules.rule import Rule

FOLDER = Path(__file__).parents[3] / "rules.d"
RULES = load_rules(FOLDER, host="lab", owner=None)
OPT_IN = [
    ("restart-unhealthy", "container.unhealthy", "dockmend.restart-unhealthy", ["restart"]),
    ("keep-crashed", "container.crashed", "dockmend.keep-crashed", ["commit_image", "start"]),
    ("reconnect-network", "container.network_lost", "dockmend.reconnect", ["reconnect_network"]),
    ("raise-memory", "container.oom_killed", "dockmend.raise-memory", ["set_limits", "start"]),
    ("rejoin-network", "container.orphaned", "dockmend.rejoin-network", ["restart_dependents"]),
]


def rule(name: str) -> Rule:
    found = RULES.by_name(name)
    assert found is not None
    return found


def candidates(subject: Object, trigger: str) -> list[str]:
    change = Change((trigger,), "container", subject, target_of(subject), "trouble", 0.0)
    return [found.name for found in Matcher(RULES).candidates(change)]


def test_they_load_without_a_word() -> None:
    assert [str(warning) for warning in RULES.warnings] == []
    assert [found.name for found in RULES.rules] == [
        "restart-unhealthy", "keep-crashed", "reconnect-network", "nightly-snapshot",
        "raise-memory", "rejoin-network",
    ]  # fmt: skip
    assert all(found.description and found.enabled and not found.dry_run for found in RULES.rules)


@pytest.mark.parametrize(("name", "trigger", "label", "actions"), OPT_IN)
def test_each_is_opted_into_by_its_label(
    name: str, trigger: str, label: str, actions: list[str]
) -> None:
    assert candidates(Container(id="1", name="web", labels={label: "true"}), trigger) == [name]
    assert candidates(Container(id="2", name="web", labels={label: "false"}), trigger) == []
    assert candidates(Container(id="3", name="web"), trigger) == []
    assert [step.action for step in rule(name).then] == actions


@pytest.mark.parametrize(("name", "trigger", "label", "actions"), OPT_IN)
def test_an_image_cannot_opt_in(name: str, trigger: str, label: str, actions: list[str]) -> None:
    subject = Container(id="1", name="web", image_labels={label: "true"})
    assert candidates(subject, trigger) == []


def test_a_crash_is_kept_before_the_start_and_a_failed_commit_does_not_prevent_it() -> None:
    commit, start = rule("keep-crashed").then
    params: Any = commit.params
    assert (params.repository, params.keep) == ("dockmend/crashed", 3)
    assert (commit.on_error, start.on_error) == ("continue", "fail")


def test_the_nightly_snapshot_goes_over_labelled_volumes_only() -> None:
    nightly = rule("nightly-snapshot")
    (trigger,) = nightly.triggers
    assert (trigger.kind, trigger.cron, trigger.catch_up) == ("schedule", "30 3 * * *", "once")
    assert nightly.match.test(Volume(name="data", labels={"dockmend.snapshot": "true"}))
    assert not nightly.match.test(Volume(name="data"))
    params: Any = nightly.then[0].params
    assert (params.consistency, params.keep.last) == ("live", 7)
