from __future__ import annotations

from dataclasses import replace

import pytest

from dockmend.rules.overlaps import MOST_REPORTED, overlaps
from dockmend.rules.rule import Rule, RuleSet, Trigger
from tests.unit.rules.test_matcher import NOTIFY, rule


def found(*rules: Rule) -> list[tuple[str, str, str]]:
    ruleset = RuleSet(tuple(replace(each, order=place) for place, each in enumerate(rules)))
    return [(each.winner.name, each.loser.name, each.trigger) for each in overlaps(ruleset)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("all", "all"),
        ("all", {"name": "web-*"}),
        ({"name": "web-*"}, {"name": "web-1"}),
        ({"name": "web-*"}, {"name": "web-1*"}),
        ({"name": "web-*"}, {"name": "*-db"}),
        ({"name": ["a", "b"]}, {"name": ["b", "c"]}),
        ({"name": "/^web/"}, {"name": "web-1"}),
        ({"name": "*mid*"}, {"name": "*mid*"}),
        ({"labels": {"tier": "web"}}, {"labels": {"heal": "true"}}),
        ({"labels": {"tier": "web"}}, {"labels": {"tier": "*"}}),
        ({"name": "web"}, {"image": "nginx"}),
    ],
)
def test_remedies_that_can_meet_are_reported(one, other):
    assert len(found(rule("one", match=one), rule("other", match=other))) == 1
    assert len(found(rule("other", match=other), rule("one", match=one))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"name": "web"}, {"name": "db"}),
        ({"name": "web-*"}, {"name": "db-*"}),
        ({"name": "web-*"}, {"name": "db-1"}),
        ({"name": "*-web"}, {"name": "*-db"}),
        ({"name": "*x1x*"}, {"name": "*x2x*"}),  # cannot be told to meet
        ({"labels": {"tier": "web"}}, {"labels": {"tier": "db"}}),
        ({"labels": {"tier": "web-*"}}, {"labels": {"tier": "db"}}),
        ({"compose": {"project": "a"}}, {"compose": {"project": "b"}}),
        ({"image": "nginx:*"}, {"image": "redis:*"}),
        ("all", {"kind": "volume"}),
        ({"name": "web", "host": "elsewhere"}, {"name": "web"}),
    ],
)
def test_remedies_that_cannot_meet_are_not(one, other):
    assert found(rule("one", match=one), rule("other", match=other)) == []


def test_who_wins_and_why_is_said():
    narrow, broad = rule("narrow", match={"name": "web"}), rule("broad", match="all")
    assert found(broad, narrow) == [("narrow", "broad", "container.unhealthy")]
    (overlap,) = overlaps(RuleSet((replace(broad, order=0), replace(narrow, order=1))))
    assert str(overlap).startswith(
        "overlaps with rule narrow: both answer container.unhealthy, and narrow wins"
    )
    assert "has the narrower match" in str(overlap)


def test_what_a_person_has_decided_or_does_not_compete_is_not_reported():
    one = rule("one")
    assert found(one, rule("other", priority=1)) == []
    assert found(one, rule("other", enabled=False)) == []
    assert found(one, rule("other", dry_run=True)) == []
    assert found(one, rule("other", builtin=True)) == []
    assert found(one, rule("other", then=(NOTIFY,))) == []
    assert found(one, rule("other", when="container.crashed")) == []
    assert found(one, rule("other", when=Trigger("every", "every", interval=5.0))) == []


def test_one_end_of_a_container_is_one_trouble():
    exited, crashed = (
        rule("exited", when="container.exited"),
        rule("crashed", when="container.crashed"),
    )
    assert found(exited, crashed) == [("exited", "crashed", "container.crashed")]
    assert found(crashed, rule("stopped", when="container.stopped")) == []
    assert found(rule("event", when=Trigger("event", "container.exited")), crashed) == []


def test_causes_that_exclude_each_other_do_not_meet():
    def lost(name: str, *causes: str) -> Rule:
        return rule(
            name, when=Trigger("transition", "container.network_lost", causes=frozenset(causes))
        )

    assert found(lost("a", "removed"), lost("b", "disconnected")) == []
    assert len(found(lost("a", "removed"), lost("b"))) == 1


def test_ten_thousand_rules_are_bounded_work():
    many = [rule(str(n), match={"name": f"*{n}*"}) for n in range(300)] + [
        rule(f"all{n}") for n in range(200)
    ]
    assert len(found(*many)) == MOST_REPORTED
    assert found(*(rule(str(n), match={"name": f"svc-{n}-*"}) for n in range(2000))) == []
