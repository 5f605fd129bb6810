"""Podman's events, as a stream of Podman 5.4.2 had them."""

from __future__ import annotations

import json

import pytest

from dockmend.engine.podman import as_docker_says
from dockmend.engine.stream import Drain


def event(kind: str, action: str, id: str, **attributes: str) -> bytes:
    actor = {"ID": id, "Attributes": {"image": "", "podId": "", **attributes}}
    return (
        json.dumps({"Type": kind, "Action": action, "Actor": actor, "timeNano": 1}).encode() + b"\n"
    )


@pytest.mark.parametrize(
    ("line", "action", "id", "name"),
    [
        (event("container", "remove", "c1", name="web"), "destroy", "c1", "web"),
        (event("container", "die", "c1", name="web"), "die", "c1", "web"),
        (event("network", "remove", "n1", name="", network="shop"), "destroy", "n1", "shop"),
        (event("volume", "create", "", name="data"), "create", "data", "data"),
        (event("volume", "remove", "", name="data"), "destroy", "data", "data"),
        (event("image", "remove", "i1", name="toolbox"), "delete", "i1", "toolbox"),
    ],
)
def test_an_event_gets_the_name_that_docker_has_for_it(
    line: bytes, action: str, id: str, name: str
) -> None:
    drain = Drain(translate=as_docker_says)
    drain.feed(line)
    (seen,) = drain.rest().events
    assert (seen.action, seen.actor.ID, seen.actor.Attributes["name"]) == (action, id, name)


def test_a_connected_container_is_named_as_docker_names_it() -> None:
    drain = Drain(translate=as_docker_says)
    drain.feed(event("network", "connect", "c1", name="web", network="shop"))
    (seen,) = drain.rest().events
    assert (seen.actor.Attributes["container"], seen.actor.Attributes["name"]) == ("c1", "shop")
