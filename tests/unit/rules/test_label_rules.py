"""The rules of the labels: whom they are for, what they are for each container, and that a file's
rule wins."""

from __future__ import annotations

import pytest

from dockmend.journal.records import Incident
from dockmend.model import Change, Container, Network
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.rules.label_rules import (
    HEAL,
    REJOIN,
    Setting,
    begins_to_ask,
    label_rules,
    with_label_rules,
)
from dockmend.rules.loader import load_texts
from dockmend.rules.matcher import Matcher, order_remedies
from dockmend.rules.rule import Rule, RuleSet

MINE = (
    "version: 1\nrules:\n  - {name: mine, when: container.unhealthy, match: all, then: "
    "restart, priority: -1000000}\n"
)


def container(**labels: str) -> Container:
    return Container(
        id="1", name="web", labels={key.replace("_", "."): value for key, value in labels.items()}
    )


def happens(trigger: str, subject: Container) -> Change:
    return Change((trigger,), "container", subject, "container:web", "trouble", 0.0)


def answering(subject: Container, trigger: str, heal: Setting = "labelled") -> list[Rule]:
    return list(Matcher(with_label_rules(RuleSet(), heal)).candidates(happens(trigger, subject)))


ALL = (
    "container.unhealthy", "container.crashed", "container.oom_killed", "container.left_down",
    "container.network_lost",
)  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "heal", "triggers"),
    [
        ({}, "labelled", ()),
        ({"dockmend_heal": "true"}, "labelled", ALL),
        ({"dockmend_heal": "yes"}, "labelled", ALL),
        ({"autoheal": "true"}, "labelled", ("container.unhealthy",)),
        ({"deunhealth_restart_on_unhealthy": "true"}, "labelled", ("container.unhealthy",)),
        ({"dockmend_heal": "true", "dockmend_heal_on": "crashed, reboot"}, "labelled", ALL[1::2]),
        ({"dockmend_heal": "true", "dockmend_heal_action": "start"}, "labelled", ALL[1:]),
        ({"dockmend_heal": "flase"}, "labelled", ()),
        ({"dockmend_heal": "true", "dockmend_heal_after": "soon"}, "labelled", ()),
        ({}, "all", ("container.unhealthy",)),
        ({"autoheal": "False"}, "all", ()),
        ({"dockmend_heal": "false"}, "all", ()),
        ({"dockmend_heal": "true"}, "all", ALL),
        ({"dockmend_heal": "true"}, "off", ()),
    ],
)  # fmt: skip
def test_a_container_is_healed_of_what_its_labels_ask_for(
    labels: dict[str, str], heal: Setting, triggers: tuple[str, ...]
) -> None:
    subject = container(**labels)
    assert tuple(trigger for trigger in ALL if answering(subject, trigger, heal)) == triggers


def test_labels_of_its_image_ask_for_nothing() -> None:
    steering = {"dockmend.heal": "true", "dockmend.rejoin": "true"}
    subject = Container(id="1", name="web", image_labels=steering, network_mode="container:vpn")
    assert not answering(subject, "container.unhealthy")
    assert not answering(subject, "container.orphaned")


def test_who_opts_out_is_left_alone_also_if_nobody_knows_whose_labels_they_are() -> None:
    said = {"dockmend.heal": "false"}
    unknown = Container(id="1", name="web", image_labels=said, image_unknown=True)
    assert not answering(unknown, "container.unhealthy", "all")
    of_image = Container(id="1", name="web", image_labels=said)
    assert answering(of_image, "container.unhealthy", "all")
    matcher = Matcher(with_label_rules(RuleSet(), "all"))
    found = [
        bool(matcher.candidates(happens("container.unhealthy", each)))
        for each in (unknown, of_image, unknown)
    ]
    assert found == [False, True, False]


def test_a_one_off_is_nobodys() -> None:
    assert not answering(
        container(dockmend_heal="true", com_docker_compose_oneoff="True"),
        "container.unhealthy",
        "all",
    )


@pytest.mark.parametrize(
    ("labels", "trigger", "action", "timeout"),
    [
        ({}, "container.unhealthy", "restart", None),
        ({"autoheal_stop_timeout": "7"}, "container.unhealthy", "restart", 7.0),
        ({"dockmend_heal_stop-timeout": "1m"}, "container.crashed", "restart", 60.0),
        ({"dockmend_heal_action": "recreate"}, "container.crashed", "recreate", None),
        ({"dockmend_heal_action": "stop"}, "container.unhealthy", "stop", None),
    ],
)
def test_each_label_of_healing_counts(
    labels: dict[str, str], trigger: str, action: str, timeout: float | None
) -> None:
    (rule,) = answering(container(dockmend_heal="true", **labels), trigger)
    assert [step.action for step in rule.then] == [action]
    assert getattr(rule.then[0].params, "timeout", None) == timeout


def test_a_lost_network_is_connected_again_whatever_the_action() -> None:
    (rule,) = answering(
        container(dockmend_heal="true", dockmend_heal_action="recreate"), "container.network_lost"
    )
    assert [step.action for step in rule.then] == ["reconnect_network"]


def test_attempts_and_the_time_that_a_trouble_must_last() -> None:
    labels = {
        "dockmend_heal": "true",
        "dockmend_heal_after": "30s",
        "dockmend_heal_attempts": "2 per 1h",
    }
    (rule,) = answering(container(**labels), "container.unhealthy")
    assert (rule.name, rule.hold, rule.limits.attempts) == (HEAL, 30.0, (2, 3600.0))
    (plain,) = answering(container(dockmend_heal="true"), "container.unhealthy")
    assert (plain.hold, plain.limits.attempts) == (0.0, (5, 900.0))


def test_containers_that_ask_for_the_same_share_one_rule() -> None:
    matcher = Matcher(with_label_rules(RuleSet(), "labelled"))
    both = [Container(id=each, name=each, labels={"dockmend.heal": "true"}) for each in "ab"]
    first, second = (matcher.candidates(happens("container.unhealthy", each))[0] for each in both)
    assert first is second


def test_the_stop_timeout_of_autoheal_counts_for_what_a_setting_heals() -> None:
    (rule,) = answering(container(autoheal_stop_timeout="7"), "container.unhealthy", "all")
    assert rule.then[0].params.timeout == 7.0


def test_all_is_about_containers_only() -> None:
    healing, _ = label_rules("all")
    assert not healing.match.test(Network(id="1", name="shop"))


class Known:
    """In whose network a container lives."""

    def __init__(self, owner: Container | None) -> None:
        self.owned_by = owner

    def owner(self, container: Container, /) -> Container | None:
        return self.owned_by


ASKS = {"dockmend.rejoin": "true"}


@pytest.mark.parametrize(
    ("own", "owners", "asked"),
    [
        (ASKS, {}, True),
        ({}, ASKS, True),
        ({}, {}, False),
        (ASKS, None, True),
        ({}, None, False),
        ({"dockmend.rejoin": "false"}, ASKS, False),
        ({"dockmend.rejoin": "treu"}, ASKS, False),
    ],
)
def test_a_guest_or_its_owner_asks_that_it_comes_back(
    own: dict[str, str], owners: dict[str, str] | None, asked: bool
) -> None:
    guest = Container(id="1", name="web", labels=own, network_mode="container:vpn")
    owner = None if owners is None else Container(id="2", name="vpn", labels=owners)
    matcher = Matcher(with_label_rules(RuleSet(), "labelled"), Known(owner))
    change = happens("container.orphaned", guest)
    found = matcher.candidates(change)
    assert [(rule.name, rule.grouped, rule.remedies) for rule in found] == (
        [(REJOIN, True, True)] if asked else []
    )
    assert matcher.is_covered(change) is asked


def test_an_owner_that_takes_the_place_of_one_is_asked_anew() -> None:
    known = Known(None)
    matcher = Matcher(with_label_rules(RuleSet(), "labelled"), known)
    change = happens(
        "container.orphaned", Container(id="1", name="web", network_mode="container:vpn")
    )
    assert matcher.candidates(change) == ()
    known.owned_by = Container(id="2", name="vpn", labels=ASKS)
    assert [rule.name for rule in matcher.candidates(change)] == [REJOIN]


def test_one_that_begins_to_run_and_asks_for_its_guests_is_a_reason_to_look_at_them_again() -> None:
    stopped = Container(id="2", name="vpn", state="exited", labels=ASKS)
    runs = Container(id="3", name="vpn", state="running", labels=ASKS)
    assert begins_to_ask(None, runs)
    assert begins_to_ask(stopped, runs)
    assert not begins_to_ask(runs, runs)
    assert not begins_to_ask(runs, None)
    assert not begins_to_ask(None, Container(id="3", name="vpn", state="running"))


def test_off_is_no_rule() -> None:
    assert with_label_rules(RuleSet(), "off").rules == ()


def test_any_rule_of_a_file_wins() -> None:
    rules = with_label_rules(load_texts({"a.yaml": MINE}, host="lab"), "all")
    candidates = Matcher(rules).candidates(
        happens("container.unhealthy", container(dockmend_heal="true"))
    )
    winners, losers = order_remedies(candidates)
    assert [rule.name for rule in winners] == ["mine"]
    assert [rule.name for rule in losers] == [HEAL]


def test_beside_another_healer_it_only_watches_and_says_so() -> None:
    healing, rejoining = label_rules("labelled", ["autoheal"])
    assert healing.dry_run
    assert healing.description.endswith("Only watched: autoheal heals on this host too.")
    assert not rejoining.dry_run


class Present:
    """A mirror that knows one container."""

    def __init__(self, subject: Container | None) -> None:
        self.subject = subject

    def container(self, container_id: str) -> Container | None:
        return (
            self.subject if self.subject is not None and self.subject.id == container_id else None
        )

    def of_target(self, target: str) -> Container | None:
        return self.subject if target == "container:web" else None

    def owners(self, container: Container) -> list[Container]:
        return []

    def guests(self, owner: str) -> list[Container]:
        return []


def incident(trigger: str, object_id: str = "1") -> Incident:
    return Incident(
        id="i1", rule=HEAL, target="container:web", kind="container", object_id=object_id,
        object_name="web", trigger=trigger, trouble="t", opened_at=0.0, updated_at=0.0,
    )  # fmt: skip


def test_the_rule_of_an_incident_is_what_its_container_asks_for() -> None:
    subject = container(
        dockmend_heal="true", dockmend_heal_attempts="2 per 1h", dockmend_heal_action="recreate"
    )
    rules = RulesInForce(Present(subject), with_label_rules(RuleSet(), "labelled"))
    for object_id in ("1", "of the one before it"):
        found = rules.of(incident("container.crashed", object_id))
        assert found is not None
        assert [step.action for step in found.then] == ["recreate"]
    lost = rules.of(incident("container.network_lost"))
    assert lost is not None
    assert [step.action for step in lost.then] == ["reconnect_network"]
    about = rules.about(HEAL, "container:web")
    assert about is not None
    assert about.limits.attempts == (2, 3600.0)


def test_an_incident_of_a_container_that_asks_no_longer_has_no_rule() -> None:
    rules = RulesInForce(Present(container()), with_label_rules(RuleSet(), "labelled"))
    assert rules.of(incident("container.crashed", "of the one before it")) is None
    gone = RulesInForce(Present(None), with_label_rules(RuleSet(), "labelled"))
    assert gone.of(incident("container.crashed")) is not None
