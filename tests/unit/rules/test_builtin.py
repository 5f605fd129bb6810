"""The built-in rule: who it is for, that it loses, and that it only watches beside another healer."""

from __future__ import annotations

import pytest

from dockmend.model import Change, Container, Network
from dockmend.rules.builtin import NAME, builtin_rule, foreign_healers, with_builtin
from dockmend.rules.loader import load_texts
from dockmend.rules.matcher import Matcher, order_remedies
from dockmend.rules.model import RuleSet
from dockmend.rules.parameters import LabelledRestart

MINE = (
    "version: 1\nrules:\n  - {name: mine, when: container.unhealthy, match: all, then: restart, priority: -1000000}\n"
)


def container(**labels: str) -> Container:
    return Container(id="1", name="web", labels={key.replace("_", "."): value for key, value in labels.items()})


@pytest.mark.parametrize("label", ["dockmend.heal", "autoheal", "deunhealth.restart.on.unhealthy"])
def test_labelled_restarts_what_asks_for_it(label: str) -> None:
    rule = builtin_rule("labelled")
    assert rule is not None
    assert rule.match.test(Container(id="1", name="web", labels={label: "true"}))
    assert not rule.match.test(Container(id="1", name="web", labels={label: "false"}))
    assert not rule.match.test(Container(id="1", name="web", image_labels={label: "true"}))
    assert not rule.match.test(Container(id="1", name="web"))


def test_all_restarts_every_container_and_nothing_else() -> None:
    rule = builtin_rule("all")
    assert rule is not None
    assert rule.match.test(Container(id="1", name="web"))
    assert not rule.match.test(Network(id="1", name="shop"))


def test_it_is_a_rule_like_any_other() -> None:
    rule = builtin_rule("labelled")
    assert rule is not None
    assert (rule.name, rule.builtin, rule.dry_run, rule.remedies) == (NAME, True, False, True)
    assert [trigger.name for trigger in rule.triggers] == ["container.unhealthy"]
    assert [type(step.params) for step in rule.then] == [LabelledRestart]
    assert rule.then[0].params.timeout_label == "autoheal.stop.timeout"


def test_off_is_no_rule() -> None:
    assert builtin_rule("off") is None
    assert with_builtin(RuleSet(), "off").rules == ()


def test_any_rule_of_a_person_wins() -> None:
    rules = with_builtin(load_texts({"a.yaml": MINE}, host="lab"), "all")
    subject = container(dockmend_heal="true")
    change = Change(("container.unhealthy",), "container", subject, "container:web", "trouble", 0.0)
    winners, losers = order_remedies(Matcher(rules).candidates(change))
    assert [rule.name for rule in winners] == ["mine"]
    assert [rule.name for rule in losers] == [NAME]


def test_beside_another_healer_it_only_watches_and_says_so() -> None:
    rule = builtin_rule("labelled", ["autoheal"])
    assert rule is not None
    assert rule.dry_run
    assert rule.description.endswith("Only watched: autoheal heals on this host too.")


@pytest.mark.parametrize(
    ("image", "state", "found"),
    [
        ("willfarrell/autoheal:1.2.0", "running", True),
        ("willfarrell/autoheal", "running", True),
        ("registry.example:5000/mirror/autoheal@sha256:00", "running", True),
        ("qmcgaw/deunhealth", "running", True),
        ("willfarrell/autoheal", "exited", False),
        ("shop/autohealer-docs", "running", False),
        ("nginx", "running", False),
    ],
)
def test_other_healers_are_known_by_their_image(image: str, state: str, found: bool) -> None:
    assert foreign_healers([Container(id="1", name="other", image=image, state=state)]) == (["other"] if found else [])
