from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.model import Actor, Change, Container, Event, Kind, Network, Volume
from dockmend.rules.matcher import MOST_OBJECTS, Matcher, event_names, order_remedies, why_lost
from dockmend.rules.patterns import compile_pattern
from dockmend.rules.rule import Rule, RuleSet, Selector, Step, Trigger
from dockmend.rules.selectors import compile_selector

RESTART = Step("restart", None)
NOTIFY = Step("notify", None, tells=True)


def rule(name: str, when="container.unhealthy", match="all", **more) -> Rule:
    triggers = tuple(
        w if isinstance(w, Trigger) else Trigger("transition", w)
        for w in (when if isinstance(when, list) else [when])
    )
    exclude = more.pop("exclude", None)
    then = more.pop("then", (RESTART,))
    return Rule(
        name,
        triggers,
        match if isinstance(match, Selector) else compile_selector(match, "h1"),
        then,
        exclude=None if exclude is None else compile_selector(exclude, "h1"),
        **more,
    )


def matcher(*rules: Rule) -> Matcher:
    return Matcher(RuleSet(tuple(replace(each, order=place) for place, each in enumerate(rules))))


def change(subject, *triggers: str, cause=None, event=None) -> Change:
    kind: Kind = "engine"
    if subject is not None:
        kind = (
            "container"
            if isinstance(subject, Container)
            else "volume"
            if isinstance(subject, Volume)
            else "network"
        )
    return Change(
        triggers or ("container.unhealthy",), kind, subject, "t", "t", 1.0, cause=cause, event=event
    )


def names(found: tuple[Rule, ...]) -> list[str]:
    return [each.name for each in found]


WEB = Container(id="1" * 64, name="web-1", labels={"tier": "web"}, image="nginx")


def test_candidates_come_in_file_order_whatever_they_are_found_by():
    held = matcher(
        rule("other", match={"name": "*e*"}),
        rule("suffix", match={"name": "*-1"}),
        rule("label", match={"labels": {"tier": "web"}}),
        rule("has", match={"labels": {"tier": "w*"}}),
        rule("prefix", match={"name": "web-*"}),
        rule("exact", match={"name": "web-1"}),
        rule("all"),
        rule("regex", match={"name": "/^web-[0-9]$/"}),
        rule("no", match={"name": "db-*"}),
        rule("not here", match={"name": "web-1", "host": "h2"}),
        rule("excluded", exclude={"labels": {"tier": "web"}}),
        rule("disabled", enabled=False),
        rule("elsewhere", when="container.crashed"),
    )
    expected = ["other", "suffix", "label", "has", "prefix", "exact", "all", "regex"]
    assert names(held.candidates(change(WEB))) == expected
    assert names(held.candidates(change(WEB))) == expected


def test_a_change_of_several_transitions_finds_each_rule_once():
    held = matcher(
        rule("exited", when="container.exited"),
        rule("both", when=["container.exited", "container.crashed"]),
        rule("crashed", when="container.crashed"),
        rule("oom", when="container.oom_killed"),
    )
    found = held.candidates(change(WEB, "container.crashed", "container.exited", cause="crashed"))
    assert names(found) == ["exited", "both", "crashed"]


def test_causes_narrow_a_transition():
    removed = Trigger("transition", "container.network_lost", causes=frozenset({"removed"}))
    held = matcher(rule("removed", when=removed), rule("any", when="container.network_lost"))
    assert names(held.candidates(change(WEB, "container.network_lost", cause="removed"))) == [
        "removed",
        "any",
    ]
    assert names(held.candidates(change(WEB, "container.network_lost", cause="disconnected"))) == [
        "any"
    ]


def test_raw_events_are_found_by_name_and_attributes():
    plain = Trigger("event", "container.die")
    imaged = Trigger("event", "container.die", attributes=(("image", compile_pattern("nginx*")),))
    health = Trigger("event", "container.health_status")
    exact = Trigger("event", "container.health_status: healthy")
    held = matcher(
        rule("plain", plain), rule("imaged", imaged), rule("health", health), rule("healthy", exact)
    )

    def found(action: str, **attributes: str) -> list[str]:
        event = Event("container", action, Actor(WEB.id, attributes))
        return names(held.candidates(change(WEB, f"container.{action}", event=event)))

    assert found("die", image="nginx:1") == ["plain", "imaged"]
    assert found("die", image="redis") == ["plain"]
    assert found("die") == ["plain"]
    assert found("health_status: healthy") == ["health", "healthy"]
    assert found("health_status: unhealthy") == ["health"]
    assert found("whatever a stranger says") == []
    assert event_names(Event("container", "start", Actor())) == ("container.start",)


def test_a_raw_event_is_not_a_transition_of_the_same_name():
    held = matcher(rule("transition", when="container.started"))
    event = Event("container", "started", Actor(WEB.id))
    assert held.candidates(change(WEB, "container.started", event=event)) == ()


def test_a_renamed_or_relabelled_object_gets_a_fresh_answer():
    held = matcher(
        rule("name", match={"name": "web-*"}),
        rule("label", match={"labels": {"tier": "web"}}),
        rule("image", match={"image": "nginx:*"}),
        rule("consent", match={"labels": {"autoheal": "true"}}),
    )
    assert names(held.candidates(change(WEB))) == ["name", "label", "image"]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"name": "db-1"}, ["label", "image"]),
        ({"labels": {"tier": "db"}}, ["name", "image"]),
        ({"image": "redis:7"}, ["name", "label"]),
        ({"labels": {"tier": "web", "autoheal": "true"}}, ["name", "label", "image", "consent"]),
        ({"image_labels": {"autoheal": "true"}}, ["name", "label", "image"]),
        ({"state": "exited"}, ["name", "label", "image"]),
    ]
    for changes, expected in cases:
        assert names(held.candidates(change(msgspec.structs.replace(WEB, **changes)))) == expected
        assert names(held.candidates(change(WEB))) == ["name", "label", "image"]


def test_objects_of_one_id_and_different_kinds_do_not_meet():
    held = matcher(
        rule("container"),
        rule("volume", when="volume.missing", match={"kind": "volume"}),
        rule("network", when="network.missing", match={"kind": "network"}),
    )
    assert names(held.candidates(change(Volume(name="same"), "volume.missing"))) == ["volume"]
    assert names(held.candidates(change(Network(id="same", name="same"), "network.missing"))) == [
        "network"
    ]
    assert names(held.candidates(change(Container(id="same", name="same")))) == ["container"]
    assert held.candidates(change(Network(id="same", name="same"))) == ()
    assert names(held.candidates(change(Volume(name="same"), "volume.missing"))) == ["volume"]


def test_the_engines_own_transitions_reach_rules_that_match_everything():
    held = matcher(
        rule("all", when="engine.lost"),
        rule("some", when="engine.lost", match={"name": "web"}),
        rule("other"),
    )
    assert names(held.candidates(change(None, "engine.lost"))) == ["all"]
    assert held.candidates(Change(("container.missing",), "container", None, "t", "t", 1.0)) == ()


def test_what_is_remembered_is_bounded_and_forgotten():
    held = matcher(rule("all"))
    for number in range(MOST_OBJECTS + 10):
        held.candidates(change(Container(id=str(number), name="x")))
    assert len(held._objects) == MOST_OBJECTS
    assert "9" not in held._objects
    held.forget("100")
    assert "100" not in held._objects
    held.candidates(change(Volume(name="v"), "volume.missing"))
    held.forget("v")
    assert not held._volumes
    for number in range(1000):
        held.candidates(change(WEB, f"container.t{number}"))
    assert len(held._objects[WEB.id].answers) <= 256


def test_only_rules_that_could_match_are_tested():
    tested = []

    def counted(selector: Selector) -> Selector:
        def test(subject):
            tested.append(subject)
            return selector.test(subject)

        return replace(selector, test=test)

    matches: list[dict[str, Any]] = [{"name": f"svc-{n}-*"} for n in range(300)] + [
        {"labels": {"app": f"a{n}"}} for n in range(300)
    ]
    matches += [{"name": f"*-end{n}"} for n in range(300)] + [
        {"name": [f"x{n}", f"y{n}"]} for n in range(300)
    ]
    matches += [{"name": f"/^re{n}-[0-9]+$/"} for n in range(300)]
    held = matcher(
        *(
            rule(str(n), match=counted(compile_selector(each, "h1")))
            for n, each in enumerate(matches)
        )
    )
    found = held.candidates(change(Container(id="1", name="svc-7-end9", labels={"app": "a5"})))
    assert names(found) == ["7", "305", "609"]
    assert len(tested) == 3
    held.candidates(change(Container(id="1", name="svc-7-end9", labels={"app": "a5"})))
    assert len(tested) == 3


SELECTIONS = st.one_of(
    st.just("all"),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.one_of(
                st.sampled_from(
                    ["a", "ab", "b-*", "*-a", "*a*", "a?", "[ab]", "/^a/", "*", "a*b", "/b$/"]
                ),
                st.lists(st.sampled_from(["a", "b", "ab", "a*", "*b"]), min_size=1, max_size=3),
            ),
            "labels": st.dictionaries(
                st.sampled_from(["x", "y"]),
                st.sampled_from(["", "1", "*", "1*", ["1", "2"]]),
                max_size=2,
            ),
            "image": st.sampled_from(["i", "i:*", "*"]),
            "host": st.sampled_from(["h1", "h2", "*"]),
        },
    ),
)
OBJECTS = st.builds(
    Container,
    id=st.sampled_from(["1", "2", "3"]),
    name=st.sampled_from(["a", "b", "ab", "b-a", "aab"]),
    labels=st.dictionaries(
        st.sampled_from(["x", "y"]), st.sampled_from(["", "1", "12", "2"]), max_size=2
    ),
    image=st.sampled_from(["i", "i:1", "j"]),
    image_labels=st.sampled_from([{}, {"x": "1"}]),
)


@given(
    st.lists(st.tuples(SELECTIONS, st.none() | SELECTIONS), max_size=8),
    st.lists(OBJECTS, max_size=8),
)
def test_the_index_finds_what_asking_every_rule_finds(selections, objects):
    rules = tuple(
        rule(str(n), match=match, exclude=exclude) for n, (match, exclude) in enumerate(selections)
    )
    held = Matcher(RuleSet(rules))
    for subject in objects:
        expected = [each.name for each in rules if held.select(each, subject)]
        assert names(held.candidates(change(subject))) == expected
    assert held.select(rule("x", match="all"), WEB)
    assert not held.select(rule("x", match="all", exclude={"name": "web-*"}), WEB)


def test_one_remedy_wins_by_priority_then_breadth_then_order():
    broad, narrow = compile_selector("all", "h"), compile_selector({"name": "web"}, "h")
    first = rule("first", match=broad, order=1)
    second = rule("second", match=broad, order=2)
    narrower = rule("narrower", match=narrow, order=3)
    important = rule("important", match=broad, order=4, priority=5)
    tells = rule("tells", match=narrow, order=0, then=(NOTIFY,), priority=99)
    shadow = rule("shadow", match=narrow, order=5, dry_run=True, priority=50)
    other_shadow = rule("other", match=broad, order=6, dry_run=True)
    everyone = [other_shadow, second, first, tells, shadow, important, narrower]
    winners, losers = order_remedies(everyone)
    assert names(winners) == ["important", "shadow"]
    assert names(losers) == ["narrower", "first", "second", "other"]
    assert order_remedies([tells]) == ((), ())
    assert order_remedies([shadow]) == ((shadow,), ())
    assert "priority 5, this one 0" in why_lost(important, first)
    assert "narrower match" in why_lost(narrower, first)
    assert "stands first" in why_lost(first, second)


@given(st.permutations(range(6)))
def test_the_winner_does_not_depend_on_the_order_of_asking(permuted):
    rules = [
        rule(str(n), order=n, priority=n % 2, match={"name": "a"} if n % 3 else "all")
        for n in range(6)
    ]
    winners, losers = order_remedies([rules[n] for n in permuted])
    ranked = [*winners, *losers]
    assert names(tuple(ranked)) == ["1", "5", "3", "2", "4", "0"]
    for better, worse in pairwise(ranked):
        assert (-better.priority, better.match.breadth, better.order) < (
            -worse.priority,
            worse.match.breadth,
            worse.order,
        )


@pytest.mark.parametrize("trigger", ["schedule", "every", "startup"])
def test_timed_rules_answer_no_change(trigger):
    assert (
        matcher(rule("timed", when=Trigger(trigger, trigger))).candidates(change(WEB, trigger))
        == ()
    )


def test_what_a_rule_is_about_is_known_whatever_the_rule_waits_for():
    held = matcher(
        rule("web", "container.unhealthy", match={"name": "web-*"}, exclude={"name": "web-2"}),
        rule("job", Trigger("event", "container.die"), match={"labels": {"tier": "job"}}),
        rule("data", "volume.missing", match={"kind": "volume", "name": "web-3"}),
    )
    other = msgspec.structs.replace
    subjects = [
        WEB, other(WEB, name="web-2"), other(WEB, name="x", labels={"tier": "job"}),
        other(WEB, name="x"), Volume("web-3"), Volume("web-1"),
    ]  # fmt: skip
    assert [held.is_covered(change(each, "container.missing")) for each in subjects] == [
        True, False, True, False, True, False
    ]  # fmt: skip
    assert not matcher().is_covered(change(WEB))
