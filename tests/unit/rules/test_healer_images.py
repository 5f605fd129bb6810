"""Other healers on the same host, told by their images."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.model import Container, Mount
from dockmend.rules.healer_images import foreign_healers, healers_changed, other_dockmends


def bind(source: str, destination: str) -> Mount:
    return Mount("bind", "", source, destination)


SOCKET = bind("/var/run/docker.sock", "/var/run/docker.sock")


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
    one = Container(id="1", name="other", image=image, state=state, mounts=(SOCKET,))
    assert foreign_healers([one]) == (["other"] if found else [])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, False),
        ({"mounts": (SOCKET,)}, True),
        ({"mounts": (bind("/run/user/1000/docker.sock", "/engine"),)}, True),
        ({"mounts": (bind("/srv/engine", "/tmp/docker.sock"),)}, True),
        ({"mounts": (bind("/var/run", "/host"),)}, True),
        ({"mounts": (bind("/srv/data", "/data"),)}, False),
        ({"mounts": (Mount("volume", "docker.sock", "/v/docker.sock", "/docker.sock"),)}, False),
        ({"engine_address": True}, True),
    ],
)
def test_a_name_alone_makes_no_healer(given: dict[str, Any], found: bool) -> None:
    one = Container(
        id="1", name="other", image="evil/autoheal:1", state="running",
        labels={"autoheal": "true"}, image_labels={"autoheal": "true"}, **given,
    )  # fmt: skip
    assert foreign_healers([one]) == (["other"] if found else [])
    assert healers_changed(None, one) is found


@pytest.mark.parametrize(
    ("image", "more", "found"),
    [
        ("dockmend", {}, True),
        ("registry.example:5000/tools/dockmend:0.1@sha256:00", {}, True),
        ("mine", {"image_labels": {"org.opencontainers.image.title": "dockmend"}}, True),
        ("dockmend", {"state": "exited"}, False),
        # docker compose run dockmend check
        ("dockmend", {"labels": {"com.docker.compose.oneoff": "True"}}, False),
        ("dockmend-proxy", {}, False),
        ("nginx", {"labels": {"dockmend.heal": "true"}}, False),
    ],
)
def test_another_dockmend_is_known_by_its_image(
    image: str, more: dict[str, Any], found: bool
) -> None:
    one = Container(id="1" * 64, name="other", image=image, **{"state": "running", **more})
    assert other_dockmends([one], lambda each: False) == (["other"] if found else [])
    assert other_dockmends([one], lambda each: each is one) == []
    assert healers_changed(None, one) is found
