"""What the model derives from an object: its target, its Compose service, the names of a
recreation."""

from __future__ import annotations

import random

import pytest

from dockmend.model import Container, aside_name, read_aside, target_of, without_aside
from dockmend.pipeline.incidents import new_id

INCIDENT = "i0abc0abc0abc0ab"
PROJECT, SERVICE, NUMBER, ONEOFF = (
    f"com.docker.compose.{key}" for key in ("project", "service", "container-number", "oneoff")
)
WEB = {PROJECT: "shop", SERVICE: "web", NUMBER: "2", ONEOFF: "False"}


def container(name: str = "web", **labels: str) -> Container:
    return Container(id="1", name=name, labels=labels)


@pytest.mark.parametrize(
    ("subject", "target"),
    [
        (container(), "container:web"),
        (container(**WEB), "compose:shop/web/2"),
        (container(**{PROJECT: "shop", SERVICE: "web"}), "compose:shop/web/1"),
        (container("shop-migrate", **WEB | {ONEOFF: "True"}), "container:shop-migrate"),
        (container(**{PROJECT: "shop"}), "container:web"),
        (Container(id="1", name="web", image_labels=WEB), "container:web"),
        (
            container(
                **{"com.docker.swarm.service.name": "api", "com.docker.swarm.task.name": "api.3.x"}
            ),
            "service:api/3",
        ),
        (
            Container(id="1", name="web", image_labels={"com.docker.swarm.service.name": "api"}),
            "container:web",
        ),
        (container(f"web.dockmend-old-{INCIDENT}"), "container:web"),
        (container(f"web.dockmend-new-{INCIDENT}"), "container:web"),
        (container("web.dockmend-mine"), "container:web.dockmend-mine"),
        (container("web.dockmend-old-i1"), "container:web.dockmend-old-i1"),
    ],
)
def test_the_target_is_what_its_owner_made_it(subject: Container, target: str):
    assert target_of(subject) == target


@pytest.mark.parametrize(
    "name",
    [
        "web", "web.dockmend-", "web.dockmend-x", f".dockmend-old-{INCIDENT}",
        f"web.dockmend-old-{INCIDENT}0", f"web.dockmend-old-{INCIDENT[:-1]}",
        f"web.dockmend-old-{INCIDENT[:-1]}u", f"web.dockmend-gone-{INCIDENT}",
        f"web.dockmend-old-{INCIDENT}-2", f"web.dockmend-old-{INCIDENT.upper()}",
        f"web-dockmend-old-{INCIDENT}",
    ],
)  # fmt: skip
def test_a_name_that_is_merely_like_it_is_a_persons_own(name: str):
    assert read_aside(name) is None
    assert without_aside(name) == name


@pytest.mark.parametrize("name", ["web", "web.dockmend-x", "a.b-c_d"])
def test_a_set_aside_name_is_read_as_it_was_written(name: str):
    old, new = aside_name(name, "old", INCIDENT), aside_name(name, "new", INCIDENT)
    assert read_aside(old) == (name, "old", INCIDENT)
    assert read_aside(new) == (name, "new", INCIDENT)
    assert without_aside(old) == without_aside(new) == name


def test_the_ids_that_incidents_have_are_of_the_grammar():
    for now in (0.0, 1.8e9, 4e9):
        incident = new_id("i", now, random.Random(now))
        assert read_aside(aside_name("web", "old", incident)) == ("web", "old", incident)
