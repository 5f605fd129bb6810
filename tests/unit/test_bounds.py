"""Labels, mounts and networks of any amount: what is kept of them, and that nothing that steers is
left out unsaid."""

from __future__ import annotations

import pytest

from dockmend import bounds
from dockmend.bounds import IMAGES, NOTED, OWNERS, bounded_name, divided, first, is_cut, kept, size
from dockmend.guards import Guards
from dockmend.mirror.event_handlers import bounded, made
from dockmend.model import COMPOSE_ONEOFF, REFERENCE_LABEL, Actor, Container, Event, target_of
from dockmend.rules.fields import FORGEABLE
from dockmend.rules.label_names import ALL_LABELS

MIB = 1 << 20


def many(number: int) -> dict[str, str]:
    return {f"a{index}": "" for index in range(number)}


def test_what_fits_is_kept_as_it_is():
    labels = {"tier": "web", "text": "ä" * 1000}
    assert divided(labels, {"tier": "web"}) == (({"text": "ä" * 1000}, {"tier": "web"}, 0, False))


@pytest.mark.parametrize(
    "labels", [{"big": "x" * 2 * MIB}, many(100_000), {f"k{n}": "x" * 9000 for n in range(200)}]
)
def test_an_image_with_many_labels_takes_little_and_hides_none_of_its_containers(
    labels: dict[str, str],
):
    image = labels | {"exitCode": "0", "autoheal": "true"}
    owner = {"tier": "web", "dockmend.ignore": "true"}
    found = divided(image | owner, image)
    assert found.owner == owner
    assert not found.too_much
    assert size(found.image) <= IMAGES
    assert {"exitCode", "autoheal"} <= found.image.keys()
    assert found.left_out > size(labels) - 2 * IMAGES


def test_the_owners_short_labels_are_kept_and_the_container_says_that_it_has_more():
    found = divided({"tier": "web", "big": "x" * MIB, "dockmend.ignore": "true"}, {})
    assert found.owner == {"tier": "web", "dockmend.ignore": "true"}
    assert found.too_much
    assert found.left_out >= MIB


def test_a_container_of_which_not_all_labels_are_known_is_left_alone():
    verdict = Guards().forbids(Container("c1", "web", too_much=True))
    assert verdict is not None
    assert verdict.code == "protected"
    assert "more labels, mounts" in verdict.reason


def test_labels_that_nobody_is_known_to_have_set_may_say_that_it_is_to_be_left_alone():
    found = divided(
        {f"{number:03}": "" for number in range(5000)} | {"dockmend.ignore": "true"}, None
    )
    assert found.image["dockmend.ignore"] == "true"
    assert found.too_much


def test_a_short_label_of_four_byte_letters_is_counted_as_what_it_takes():
    assert kept({"a": "\U0001f600" * (OWNERS // 4)}, OWNERS).labels == {}


def test_all_keys_that_dockmend_reads_are_noted():
    assert {*ALL_LABELS, "dockmend.ignore", REFERENCE_LABEL, COMPOSE_ONEOFF, *FORGEABLE} <= NOTED


def test_a_noted_value_is_cut_and_its_key_stays():
    found = divided({"exitCode": "9" * MIB}, {"exitCode": "9" * MIB})
    assert found.image == {"exitCode": "9" * bounds.VALUE}


def test_of_a_list_the_first_are_kept_that_have_room():
    items, left_out = first(["a" * 1000] * 1000, len)
    assert 200 < len(items) < 256
    assert left_out > 700_000
    assert first(["a", "b"], len) == (["a", "b"], 0)


def test_an_event_that_is_kept_carries_few_labels():
    attributes = {"name": "web", "image": "i", "exitCode": "7", "big": "x" * MIB} | many(5000)
    event = bounded(Event("container", "die", Actor("c1", attributes), 1))
    assert size(event.actor.Attributes) <= 2 * IMAGES
    assert event.name == "web"
    assert event.actor.Attributes["exitCode"] == "7"
    container = made([event])
    assert (container.name, container.image) == ("web", "i")


def test_a_name_that_is_too_long_is_cut_and_still_told_from_another():
    one, other = "a" * 1000, "a" * 999 + "b"
    assert bounded_name("a" * 255) == "a" * 255
    assert len(bounded_name(one)) < 255
    assert bounded_name(one) != bounded_name(other)
    assert is_cut(bounded_name(one))
    assert not is_cut("a" * 217)
    assert Event("container", "rename", Actor("c1", {"name": one})).name == bounded_name(one)


def test_what_a_target_is_made_of_is_no_longer_than_a_name():
    made = {
        "com.docker.compose.project": "p" * 9000, "com.docker.compose.service": "s" * 9000,
        "com.docker.compose.container-number": "1" * 9000, "com.docker.compose.config-hash": "h",
    }  # fmt: skip
    assert len(target_of(Container("c1", "web", labels=divided(made, {}).owner))) < 3 * 255
