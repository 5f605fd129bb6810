from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.model import Container, Network, Volume
from dockmend.rules.language_error import LanguageError
from dockmend.rules.selectors import EVERYTHING, compile_selector

WEB = Container(
    id="1",
    name="shop-web-1",
    image="nginx:1.27",
    labels={
        "tier": "web-a",
        "empty": "",
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
    },
    image_labels={"autoheal": "true", "built": "today"},
)
ONE_OFF = replace(WEB, labels={**WEB.labels, "com.docker.compose.oneoff": "True"})
NOBODYS = replace(WEB, labels={}, image_labels=ONE_OFF.labels, image_unknown=True)
DATA = Volume(name="shop-data", driver="local", labels={"backup": "nightly"})
FRONT = Network(id="2", name="front", driver="bridge", labels={"a": "b"})


@pytest.mark.parametrize(
    ("mapping", "subject", "selected"),
    [
        ("all", WEB, True),
        ("all", DATA, False),
        ({"kind": "volume"}, DATA, True),
        ({"kind": "network"}, WEB, False),
        ({"name": "shop-*"}, WEB, True),
        ({"name": "shop"}, WEB, False),
        ({"name": ["x", "/^shop-[a-z]+-[0-9]$/"]}, WEB, True),
        ({"labels": {"tier": "web-*"}}, WEB, True),
        ({"labels": {"tier": ["db-*", "web-a"]}}, WEB, True),
        ({"labels": {"tier": "web-*", "none": "*"}}, WEB, False),
        ({"labels": {"tier": ""}}, WEB, False),
        ({"labels": {"empty": ""}}, WEB, True),
        ({"labels": {"empty": "*"}}, WEB, True),
        ({"labels": {"autoheal": "true"}}, WEB, False),  # only the image's author set it
        ({"labels": {"built": "*"}}, WEB, False),
        ({"image": "nginx:*"}, WEB, True),
        ({"image": "nginx"}, WEB, False),
        ({"image": "nginx:*"}, Container(id="3", name="xx", image="nginx"), True),
        (
            {"image": "host:5000/nginx:latest"},
            Container(id="3", name="xx", image="host:5000/nginx"),
            True,
        ),
        ({"image": "*:latest"}, Container(id="3", name="xx", image="a@sha256:00"), False),
        ({"compose": {"project": "shop", "service": ["web", "api"]}}, WEB, True),
        ({"compose": {"project": "shop", "service": "db"}}, WEB, False),
        ({"host": "prod-*"}, WEB, True),
        ({"host": "stage-*"}, WEB, False),
        ({"name": "shop-*", "host": "stage-*"}, WEB, False),
        ({"kind": "volume", "labels": {"backup": "nightly"}, "driver": "local"}, DATA, True),
        ({"kind": "volume", "driver": "nfs"}, DATA, False),
        ({"kind": "network", "driver": "bridge", "name": "front"}, FRONT, True),
        ({"kind": "service", "name": "x"}, WEB, False),
        ("all", ONE_OFF, False),
        ({"name": "shop-*"}, ONE_OFF, False),
        ({"compose": {"service": "web"}, "oneoff": False}, ONE_OFF, False),
        ({"compose": {"service": "web"}, "oneoff": True}, ONE_OFF, True),
        ({"oneoff": True}, ONE_OFF, True),
        ({"oneoff": True}, WEB, False),
        ("all", NOBODYS, False),
        ({"oneoff": True}, NOBODYS, False),
        ({"oneoff": False}, WEB, True),
    ],
)
def test_what_is_selected(mapping, subject, selected):
    assert compile_selector(mapping, "prod-1", matching=True).test(subject) is selected


def test_an_exclude_is_about_one_offs_and_others():
    assert compile_selector({"name": "shop-*"}).test(ONE_OFF)
    assert compile_selector({"name": "shop-*"}).test(WEB)


def test_an_exclude_by_name_holds_for_what_a_recreation_left_aside_and_a_match_does_not():
    """The journal that proves it may be lost, or another dockmend's."""
    aside = Container(id="3", name="shop-db.dockmend-old-i00000000000test", name_is_own=True)
    for pattern in ("shop-db", "*-db"):
        assert compile_selector({"name": pattern}).test(aside)
        assert not compile_selector({"name": pattern}, matching=True).test(aside)
    assert compile_selector({"name": "*.dockmend-old-*"}).test(aside)
    assert not compile_selector({"name": "shop"}).test(aside)


def test_a_selection_of_one_offs_says_so_and_is_not_of_everything():
    only = compile_selector({"oneoff": True}, matching=True)
    assert (only.text, only.everything, only.one_off) == ("a Compose one-off", False, True)
    other = compile_selector({"oneoff": False}, matching=True)
    assert (other.text, other.everything, other.one_off) == ("all", True, False)


def test_a_selector_says_what_it_selects_and_how_it_can_be_found():
    everything = compile_selector("all", "h")
    assert (everything.everything, everything.breadth, everything.text) == (True, EVERYTHING, "all")
    assert everything.exact_names is None
    assert compile_selector({"kind": "volume"}, "h").text == "all volumes"
    one = compile_selector({"name": ["web", "db"], "labels": {"tier": ""}}, "h")
    assert one.exact_names == frozenset({"web", "db"})
    assert one.text == "name web or db, label tier = (empty)"
    assert not one.everything
    assert compile_selector({"name": ["web", "db-*"]}, "h").exact_names is None
    assert compile_selector({"name": "web", "host": "other"}, "h").exact_names == frozenset()


@pytest.mark.parametrize(
    ("narrower", "broader"),
    [
        ({"labels": {"a": "1"}}, "all"),
        ({"name": "web"}, {"name": "web-*"}),
        ({"name": "web"}, {"name": ["web", "db"]}),
        ({"name": "web-*"}, {"labels": {"a": "1"}}),
        ({"name": "web-*", "labels": {"a": "1"}}, {"name": "web-*"}),
        ({"compose": {"project": "p", "service": "s"}}, {"compose": {"project": "p"}}),
        ({"compose": {"service": "s"}}, {"labels": {"a": "1"}}),
        ({"labels": {"a": "1"}}, {"labels": {"a": "*"}}),
        ({"labels": {"a": "1", "b": "2"}}, {"labels": {"a": "1"}}),
        ({"image": "x"}, {"host": "h"}),
        ({"host": "h"}, "all"),
    ],
)
def test_breadth_is_smaller_for_what_a_person_calls_narrower(narrower, broader):
    assert compile_selector(narrower, "h").breadth < compile_selector(broader, "h").breadth


def test_breadth_never_falls_below_nothing():
    assert compile_selector({"labels": {str(i): "x" for i in range(100)}}, "h").breadth == 0


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("al", 'did you mean "all"'),
        ({"kind": "contaner"}, 'did you mean "container"'),
        ({"nam": "x"}, 'did you mean "name"'),
        ({"kind": "volume", "image": "x"}, "a volume is not selected by image"),
        ({"name": "[a"}, "has no ]"),
        ({"labels": {"a": "/(a+)+/"}}, "run away"),
        ({"name": 5}, "a text or a list of texts"),
        ({"name": []}, "a text or a list of texts"),
    ],
)
def test_wrong_selections(mapping, said):
    with pytest.raises(LanguageError) as caught:
        compile_selector(mapping, "h")
    assert said in caught.value.message
