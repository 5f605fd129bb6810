"""What labels ask for, and what is said of those that are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.rules.label_names import OF_SHIPPED_RULES, Function
from dockmend.rules.owner_labels import (
    ALL_CAUSES,
    MOST_ERRORS,
    Cause,
    Heal,
    Wishes,
    depends_on,
    ignores,
    wishes,
)


def test_no_label_asks_for_nothing():
    assert wishes({}) == Wishes()
    assert (
        wishes(
            {
                "traefik.enable": "true",
                "dockmend.helper": "i0",
                "com.docker.compose.project": "shop",
            }
        )
        == Wishes()
    )


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "yes", "1", "on", " true "])
def test_every_way_to_say_true(word):
    assert wishes({"dockmend.heal": word}).heal == Heal()
    assert wishes({"dockmend.rejoin": word}).rejoin
    assert wishes({"dockmend.ignore": word}).ignore


@pytest.mark.parametrize("word", ["false", "False", "no", "0", "off"])
@pytest.mark.parametrize("label", ["dockmend.heal", "autoheal", "deunhealth.restart.on.unhealthy"])
def test_opting_out(label, word):
    assert wishes({label: word}) == Wishes(heal=False)


def test_all_that_can_be_said_of_healing():
    said = wishes({
        "dockmend.heal": "true",
        "dockmend.heal.on": "unhealthy, oom,reboot",
        "dockmend.heal.action": "restart",
        "dockmend.heal.after": "1m30s",
        "dockmend.heal.attempts": "3 per 1h",
        "dockmend.heal.stop-timeout": "45s",
    })  # fmt: skip
    causes = frozenset({Cause.UNHEALTHY, Cause.OOM, Cause.REBOOT})
    assert said == Wishes(heal=Heal(causes, "restart", 90.0, (3, 3600.0), 45.0))


@pytest.mark.parametrize("written", ["heal.stop-timeout", "heal.stop_timeout", "heal.stop.timeout"])
def test_hyphens_underscores_and_dots_are_the_same(written):
    assert wishes({"dockmend.heal": "1", f"dockmend.{written}": "5s"}) == Wishes(
        heal=Heal(stop_timeout=5.0)
    )


def test_two_spellings_that_disagree():
    said = wishes(
        {
            "dockmend.heal": "1",
            "dockmend.heal.stop-timeout": "5s",
            "dockmend.heal.stop_timeout": "6s",
        }
    )
    assert said.heal is False
    [error] = said.errors
    assert "dockmend.heal.stop-timeout, which is the same label" in str(error)


@pytest.mark.parametrize("name", ["network", "container.network_lost", "network_lost"])
def test_the_transitions_own_names_are_understood(name):
    said = wishes({"dockmend.heal": "true", "dockmend.heal.on": name})
    assert said.heal == Heal(frozenset({Cause.NETWORK}))


def test_all_causes():
    assert wishes({"dockmend.heal": "true", "dockmend.heal.on": "all"}).heal == Heal(ALL_CAUSES)


@pytest.mark.parametrize(
    ("label", "value", "told"),
    [
        ("dockmend.heal", "maybe", "expected true or false"),
        ("dockmend.heal", "", "expected true or false"),
        ("dockmend.heal.on", "unhealty", 'did you mean "unhealthy"?'),
        ("dockmend.heal.on", ",", "names nothing"),
        ("dockmend.heal.action", "restrat", 'did you mean "restart"?'),
        ("dockmend.heal.after", "30", 'did you mean "30s"?'),
        ("dockmend.heal.attempts", "3", "5 per 15m"),
        ("dockmend.heal.stop-timeout", "soon", "a duration"),
        ("dockmend.heal.atempts", "3 per 1h", 'did you mean "dockmend.heal.attempts"?'),
        ("autoheal.stop.timeout", "10s", "a number of seconds"),
        ("dockmend.Heal.on", "crashed", 'did you mean "dockmend.heal.on"?'),
        ("dockmend.healon", "crashed", 'did you mean "dockmend.heal.on"?'),
        ("dockmend.haelon", "crashed", "there is no such label"),
        ("dockmend.hael", "true", 'did you mean "dockmend.heal"?'),
        ("dockmend.hela", "true", 'did you mean "dockmend.heal"?'),
        ("Dockmend.heal.after", "5s", 'did you mean "dockmend.heal.after"?'),
        ("dockmend.heal.on ", "crashed", 'did you mean "dockmend.heal.on"?'),
    ],
)
def test_a_wrong_label_switches_healing_off_and_is_told(label, value, told):
    said = wishes({"dockmend.heal": "true", "dockmend.rejoin": "true", label: value})
    assert said.heal is False
    assert said.rejoin
    [error] = said.errors
    assert error.function is Function.HEAL
    assert told in str(error)
    assert f"label {label}={value}: " in str(error)


def test_a_parameter_alone_asks_for_nothing_and_is_told():
    said = wishes({"dockmend.heal.attempts": "3 per 1h"})
    assert said.heal is False
    [error] = said.errors
    assert "is read only beside dockmend.heal=true" in str(error)


def test_what_asks_to_be_left_alone_in_an_unknown_way_is_left_alone():
    said = wishes({"dockmend.ignore": "please"})
    assert said.ignore
    assert len(said.errors) == 1


@pytest.mark.parametrize(
    "label",
    ["dockmend.Ignore", "DOCKMEND.IGNORE", "dockmend.ignored", "dockmend.ingore",
        "dockmend.ignore.it",
     "dockmend..ignore", "dockmend.ignore ", "dockmend.ignore." + "x" * 1000],
)  # fmt: skip
def test_a_slip_in_ignore_leaves_the_container_alone(label):
    assert ignores({"traefik.enable": "true", label: "true"})
    assert [each.function for each in wishes({label: "true"}).errors] == [Function.IGNORE]


@pytest.mark.parametrize(
    "label",
    [
        "dockmend.image",
        "dockmend.tier",
        "dockmend.health",
        "dockmend.seal",
        "dockmend",
        "dockmendignore",
    ],
)
def test_what_is_no_slip_in_ignore(label):
    assert not ignores({label: "true"})
    assert wishes({label: "true"}) == Wishes()


@pytest.mark.parametrize("label", OF_SHIPPED_RULES)
def test_labels_of_the_shipped_rules_are_no_slips(label):
    both = wishes({"dockmend.heal": "true", "dockmend.rejoin": "true", label: "true"})
    assert both == Wishes(heal=Heal(), rejoin=True)


@pytest.mark.parametrize(
    "label", ["dockmend.depends-on", "dockmend.depends_on", "dockmend.depends.on"]
)
def test_what_it_depends_on(label):
    said = wishes({label: " db:service_healthy , cache, ,"})
    assert said == Wishes(depends=(("db", "service_healthy"), ("cache", "service_started")))
    assert depends_on({label: "db"}) == (("db", "service_started"),)
    assert depends_on({"com.docker.compose.depends_on": "db"}) == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "names no container"), (" , ", "names no container"),
        (":service_healthy", "expected names"),
        ("db:service_helthy", 'did you mean "service_healthy"?'), ("db:", "expected names"),
        ("cache, db:service_healthy:true", "expected names"),
    ],
)  # fmt: skip
def test_a_wrong_dependency_is_told_and_none_counts(value, told):
    said = wishes({"dockmend.depends-on": value})
    assert (said.depends, [each.function for each in said.errors]) == ((), [Function.DEPENDS])
    assert told in str(said.errors[0])


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ({"autoheal": "true", "dockmend.heal.action": "start"}, "dockmend.heal.action"),
        ({"dockmend.heal": "1", "dockmend.heal.on": "unhealthy", "dockmend.heal.action": "start"},
         "dockmend.heal.action"),
        ({"dockmend.heal": "1", "dockmend.heal.action": "start",
                "dockmend.heal.stop-timeout": "5s"},
         "dockmend.heal.stop-timeout"),
        ({"dockmend.heal": "1", "dockmend.heal.action": "recreate",
                "dockmend.heal.stop-timeout": "5s"},
         "dockmend.heal.stop-timeout"),
        ({"dockmend.heal": "1", "dockmend.heal.stop-timeout": "5s",
                "autoheal.stop.timeout": "soon"},
         "autoheal.stop.timeout"),
    ],
)  # fmt: skip
def test_what_would_come_to_nothing_is_an_error(labels, label):
    said = wishes(labels)
    assert said.heal is False
    assert [each.label for each in said.errors] == [label]


def test_thousands_of_wrong_labels_of_any_length_are_told_in_a_few_lines():
    said = wishes(
        {f"dockmend.heal.{'x' * (number % 300)}{number}": "y" * 9000 for number in range(3000)}
    )
    assert said.heal is False
    assert len(said.errors) == MOST_ERRORS
    assert max(len(str(each)) for each in said.errors) < 500


def test_a_wrong_rejoin_is_no():
    assert wishes({}).rejoin is None
    assert wishes({"dockmend.rejoin": "false"}).rejoin is False
    assert wishes({"dockmend.rejoin": "vpn"}).rejoin is False


def test_wrong_labels_of_other_functions():
    said = wishes(
        {"dockmend.rejoin": "vpn", "dockmend.notify": "none, ops", "dockmend.heal": "true"}
    )
    assert (said.rejoin, said.notify, said.heal) == (False, None, Heal())
    assert {each.function for each in said.errors} == {Function.REJOIN, Function.NOTIFY}


def test_labels_of_a_rules_own_are_no_error():
    assert wishes({"dockmend.tier": "gold"}) == Wishes()


def test_other_healers_labels_mean_unhealthy_only():
    unhealthy = frozenset({Cause.UNHEALTHY})
    assert wishes({"autoheal": "true"}).heal == Heal(unhealthy)
    assert wishes({"autoheal": "true", "autoheal.stop.timeout": "30"}).heal == Heal(
        unhealthy, stop_timeout=30.0
    )
    assert wishes({"deunhealth.restart.on.unhealthy": "true"}).heal == Heal(unhealthy)
    assert wishes({"autoheal": "true", "dockmend.heal.after": "5s"}).heal == Heal(
        unhealthy, after=5.0
    )
    assert wishes({"autoheal": "true", "dockmend.heal": "true"}).heal == Heal()
    assert wishes({"autoheal": "true", "dockmend.heal": "false"}).heal is False
    assert wishes({"autoheal": "whatever"}) == Wishes()


def test_channels():
    assert wishes({"dockmend.notify": "ops, family,ops"}).notify == ("ops", "family")
    assert wishes({"dockmend.notify": "none"}).notify == ()


@pytest.mark.parametrize("value", ["opps", "ops, opps", "Ops"])
def test_a_channel_that_does_not_exist_is_an_error_and_its_messages_go_to_all(value):
    said = wishes({"dockmend.notify": value, "dockmend.heal": "true"}, ["ops", "home"])
    assert (said.notify, said.heal) == (None, Heal())
    [error] = said.errors
    assert error.function is Function.NOTIFY
    assert "expected home, ops, or none; its messages go to all of them" in error.text


def test_channels_that_exist_are_no_error():
    assert wishes({"dockmend.notify": "home,ops"}, {"ops", "home"}) == Wishes(
        notify=("home", "ops")
    )
    assert wishes({"dockmend.notify": "none"}, ()) == Wishes(notify=())
    [error] = wishes({"dockmend.notify": "ops"}, ()).errors
    assert error.text == 'there is no channel "ops": none is configured'


@given(st.dictionaries(st.sampled_from([
    "dockmend.heal", "dockmend.heal.on", "dockmend.heal.after", "dockmend.heal.attempts",
    "dockmend.heal-stop-timeout", "dockmend.heal.action", "dockmend.rejoin", "dockmend.ignore",
    "dockmend.notify", "autoheal", "autoheal.stop.timeout", "dockmend.heal.x\x1b[31m", "dockmend.",
    "dockmend.depends-on",
]), st.text(max_size=40)))  # fmt: skip
def test_whatever_a_stranger_writes_is_an_answer(labels):
    said = wishes(labels)
    if any(each.function is Function.HEAL for each in said.errors):
        assert said.heal is False


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("dockmend.notify", "discord://1234/hunter22"),
        ("dockmend.notify", "ops, json://me:hunter22@host/"),
        ("dockmend.notify.url", "tgram://hunter22/1"), ("dockmend.heal", "password=hunter22"),
        ("dockmend.depends-on", "https://hook.example/hunter22"),
    ],
)  # fmt: skip
def test_an_error_shows_no_secret_that_stands_in_a_label(label: str, value: str):
    """Who means a channel may write its URL, and that holds the key; errors go to the log, to
    doctor, into messages."""
    (error,) = wishes({label: value}, ["ops"]).errors
    assert label in str(error)
    assert "hunter22" not in f"{error} {error!r}"
