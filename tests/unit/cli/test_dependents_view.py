"""Coverage and explain name what comes back with another container, and what that would cut off."""

from __future__ import annotations

from msgspec.structs import replace

from dockmend.cli.coverage import covers
from dockmend.cli.dependents_view import DependentsView
from dockmend.cli.explain import change_of
from dockmend.cli.rule_verdicts import Explainer, RuleVerdict
from dockmend.guards import Guards
from dockmend.model import Container, HealthCheck
from dockmend.rules.label_rules import with_label_rules
from dockmend.rules.loader import load_texts

RULES = """
version: 1
rules:
  - {name: heal, when: container.unhealthy, match: {name: vpn}, then: restart}
  - {name: rejoin, when: container.orphaned, match: {name: app}, then: restart_dependents}
"""
FOLLOW = """
version: 1
rules:
  - {name: follow, when: container.started, match: {name: vpn}, then: restart_dependents}
"""
VPN = Container(id="a" * 64, name="vpn", state="running", check=HealthCheck())
APP = Container(id="b" * 64, name="app", state="running", network_mode=f"container:{VPN.id}")
WEB = Container(id="c" * 64, name="web", state="running", network_mode=f"container:{VPN.id}")
CACHE = Container(id="d" * 64, name="cache", state="running", ipc_mode="container:vpn")
IGNORED = Container(
    id="e" * 64,
    name="cam",
    state="running",
    network_mode=f"container:{VPN.id}",
    labels={"dockmend.ignore": "true"},
)


def told(
    *containers: Container, rules: str = RULES
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    rows = covers(containers, load_texts({"rules.yaml": rules}, host="host"), Guards())
    return {each.name: (covered.rules, covered.along, covered.why) for each, covered in rows}


def test_the_label_of_an_owner_asks_for_all_of_its_guests():
    vpn = replace(VPN, labels={"dockmend.rejoin": "true"})
    rules = with_label_rules(load_texts({}, host="host"), "labelled")
    rows = {
        each.name: covered.rules
        for each, covered in covers((vpn, APP, WEB, CACHE), rules, Guards())
    }
    assert rows == {"vpn": (), "app": ("label:rejoin",), "web": ("label:rejoin",), "cache": ()}
    alone = {each.name: covered for each, covered in covers((VPN, APP), rules, Guards())}
    assert (alone["app"].rules, alone["app"].why) == ((), "no rule matches")
    explainer = Explainer(rules, Guards(), "host", ties=DependentsView((vpn, APP)))
    change = change_of(APP, "container.orphaned", 0.0)
    assert [each.answer for each in explainer.explain(change, 0.0)] == ["no", "fires"]
    explainer = Explainer(rules, Guards(), "host", ties=DependentsView((VPN, APP)))
    assert [each.answer for each in explainer.explain(change, 0.0)] == ["no", "no"]


def test_the_label_of_one_guest_asks_for_that_one_only():
    app = replace(APP, labels={"dockmend.rejoin": "true"})
    rules = with_label_rules(load_texts({}, host="host"), "labelled")
    rows = {
        each.name: (covered.rules, covered.along)
        for each, covered in covers((VPN, app, WEB, CACHE), rules, Guards())
    }
    assert rows == {
        "vpn": ((), ()),
        "app": (("label:rejoin",), ()),
        "web": ((), ()),
        "cache": ((), ()),
    }
    explainer = Explainer(rules, Guards(), "host", ties=DependentsView((VPN, app, WEB)))
    assert [
        each.answer for each in explainer.explain(change_of(WEB, "container.orphaned", 0.0), 0.0)
    ] == ["no", "no"]


def test_guests_are_named_with_whom_they_come_back():
    assert told(VPN, APP, WEB, CACHE) == {
        "vpn": (("heal",), (), ""),
        "app": (("rejoin",), ("heal, with vpn",), ""),
        "web": ((), ("heal, with vpn", "rejoin, with vpn's dependents"), "no rule matches"),
        "cache": ((), ("heal, with vpn", "rejoin, with vpn's dependents"), "no rule matches"),
    }


def test_all_that_a_group_or_a_rule_about_another_would_bring_back_is_named():
    told_by = Container(
        id="1" * 64, name="told", state="running", labels={"dockmend.depends-on": "vpn"}
    )
    behind = Container(
        id="2" * 64, name="behind", state="running", labels={"dockmend.depends-on": "told"}
    )
    files = Container(id="3" * 64, name="files", state="running", volumes_from=("vpn",))
    job = Container(
        id="4" * 64, name="job", state="running", network_mode=f"container:{VPN.id}",
        labels={"com.docker.compose.oneoff": "True"},
    )  # fmt: skip
    found = told(VPN, APP, told_by, behind, files, job)
    assert {name: along for name, (_, along, _) in found.items()} == {
        "vpn": (), "app": ("heal, with vpn",), "told": ("rejoin, with vpn's dependents",),
        "behind": ("rejoin, with vpn's dependents",), "files": (), "job": (),
    }  # fmt: skip
    found = told(VPN, WEB, told_by, behind, files, job, rules=FOLLOW)
    assert {name: along for name, (_, along, _) in found.items()} == {
        "vpn": (), "web": ("follow, with vpn",), "told": ("follow, with vpn",),
        "behind": ("follow, with vpn",), "files": (), "job": (),
    }  # fmt: skip


LINKED = Container(id="f" * 64, name="linked", state="running", links=("/vpn:/linked/alias",))


def test_what_links_to_a_container_comes_back_with_one_that_is_made_anew():
    in_it = Container(
        id="5" * 64, name="inside", state="running", network_mode=f"container:{LINKED.id}"
    )
    anew = RULES.replace("then: restart}", "then: recreate}")
    found = told(VPN, LINKED, in_it, rules=anew)
    assert (found["linked"][1], found["inside"][1]) == (("heal, with vpn",), ("heal, with vpn",))
    assert told(VPN, LINKED)["linked"][1] == ()
    held = replace(LINKED, labels={"dockmend.ignore": "true"})
    assert "linked (labelled dockmend.ignore=true)" in told(VPN, held, rules=anew)["vpn"][2]
    assert told(VPN, held)["vpn"][0] == ("heal",)


def test_who_would_be_cut_off_is_named_where_the_rule_would_not_act():
    found = told(VPN, WEB, IGNORED)
    assert found["vpn"][0] == ()
    assert found["vpn"][2].startswith(
        "heal: restart would cut off what lives in the namespaces of vpn"
    )
    assert found["web"] == ((), (), "no rule matches")
    assert found["cam"] == ((), (), "labelled dockmend.ignore=true")
    allowed = told(
        VPN, IGNORED, rules=RULES.replace("then: restart}", "then: restart, cut_off: true}")
    )
    assert allowed["vpn"] == (("heal",), (), "")


def answer(rule: str, trigger: str, subject: Container, *containers: Container) -> RuleVerdict:
    explainer = Explainer(
        load_texts({"rules.yaml": RULES}, host="host"),
        Guards(),
        "host",
        ties=DependentsView(containers),
    )
    answers = explainer.explain(change_of(subject, trigger, 1000.0), 1000.0)
    return next(each for each in answers if each.rule == rule)


def test_explain_names_guests_and_whom_an_attempt_would_cut_off():
    fires = answer("heal", "container.unhealthy", VPN, VPN, APP, CACHE)
    assert (fires.answer, fires.why) == (
        "fires",
        "restart; and brings back what lives in its namespaces: app, cache",
    )
    no = answer("heal", "container.unhealthy", VPN, VPN, IGNORED)
    assert no.answer == "no"
    assert "cam (labelled dockmend.ignore=true)" in no.why


def test_explain_tells_of_a_rule_that_is_about_a_sibling():
    found = answer("rejoin", "container.orphaned", WEB, VPN, APP, WEB)
    assert (found.answer, found.why) == (
        "fires",
        "it comes back with vpn's dependents, as the rule matches app",
    )
