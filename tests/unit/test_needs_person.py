"""What needs a person: who is named, with which line to paste, and who is not."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec.structs import replace

from dockmend.app.needs_person import PersonNeeds
from dockmend.journal.records import ActionRecord, Incident
from dockmend.model import Container
from dockmend.notify.alarms import AlarmTrouble
from dockmend.owned import OwnedObject, OwnedObjects
from tests.unit.mirror.host import ID, Host

OWNER = "9" * 64
COMPOSE = {
    "com.docker.compose.project": "shop", "com.docker.compose.service": "app",
    "com.docker.compose.project.working_dir": "/srv/shop",
    "com.docker.compose.project.config_files": "/srv/shop/compose.yaml,/srv/shop/more.yaml",
}  # fmt: skip
UP = (
    "docker compose -p shop --project-directory /srv/shop -f /srv/shop/compose.yaml -f "
    "/srv/shop/more.yaml up -d"
)


def needs(
    host: Host,
    unsettled: dict[str, list[ActionRecord]] | None = None,
    owned: OwnedObjects | None = None,
    open_incidents: tuple[str, ...] = (),
) -> list[AlarmTrouble]:
    return list(
        PersonNeeds(
            host.mirror,
            owned or OwnedObjects(),
            cast("dict[str, Incident]", dict.fromkeys(open_incidents)),
            lambda: unsettled or {},
            lambda at: at,
            lambda: host.now,
        )()
    )


def guest(host: Host, **fields: Any) -> Container:
    return host.container(
        **{"name": "guest", "network_mode": f"container:{OWNER}", "started_at": 950.0, **fields}
    )


@pytest.mark.parametrize(
    ("labels", "step"),
    [
        ({}, "docker inspect guest"),
        (COMPOSE, f"{UP} --force-recreate app"),
        (
            {**COMPOSE, "com.docker.compose.project.working_dir": "/srv/$(reboot)"},
            "docker inspect guest",
        ),
        ({**COMPOSE, "com.docker.compose.service": "app; reboot"}, "docker inspect guest"),
    ],
)
def test_an_owner_that_nobody_knows_is_told_with_what_makes_its_guest_anew(
    labels: dict[str, str], step: str
) -> None:
    host = Host()
    host.relist(guest(host, labels=labels), first=True)
    (told,) = needs(host)
    assert (told.object_name, told.cause, told.step) == (
        "guest",
        "nobody knows the owner of its network",
        step,
    )
    assert f"container {OWNER[:12]}, which is gone" in told.note
    assert told.key == f"needs_you/owner/{ID[:12]}"


def test_a_guest_whose_owner_is_known_or_that_does_not_run_needs_nobody() -> None:
    host = Host()
    host.relist(guest(host), host.container(id=OWNER, name="vpn"), first=True)
    host.emit("destroy", id=OWNER, name="vpn")
    assert needs(host) == []
    other = Host()
    other.relist(guest(other, state="exited", finished_at=960.0, exit_code=0), first=True)
    assert needs(other) == []


def test_what_a_recreation_left_is_told_with_the_line_that_puts_it_right() -> None:
    host = Host()
    host.relist(
        host.container(name="web.dockmend-old-i00000000000test", state="exited", finished_at=960.0),
        first=True,
    )
    (told,) = needs(host)
    assert told.cause == "it was left by a recreation"
    assert told.step == "docker rename web.dockmend-old-i00000000000test web && docker start web"


def test_what_an_undo_could_not_put_back_is_told_once_its_incident_is_over() -> None:
    host, name = Host(), "web.dockmend-old-i00000000000test"
    host.relist(host.container(name=name, state="exited", finished_at=960.0), first=True)
    row = OwnedObject("o1", "container", name, "", "i00000000000test", "aside", 900.0, ID)
    owned = OwnedObjects("", [row])
    assert needs(host, owned=owned, open_incidents=("i00000000000test",)) == [], "it is in hand"
    (told,) = needs(host, owned=owned)
    assert told.cause == "an undo failed"
    assert "dockmend could not put it back; there is no web" in told.note
    assert told.step == f"docker rename {name} web && docker start web"


def test_what_was_begun_and_cannot_be_put_right_is_told() -> None:
    host = Host()
    host.relist(replace(host.container(), state="paused"), first=True)
    record = ActionRecord(
        id="a1", incident="i1", rule="r", target="container:web", attempt=1, action="commit_image",
        object_id=ID, object_name="web", params={}, began_at=900.0,
    )  # fmt: skip
    (told,) = needs(host, {"i1": [record]})
    assert (told.cause, told.step, told.since) == ("an undo failed", "dockmend incidents i1", 900.0)
