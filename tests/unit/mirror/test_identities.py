"""The memory of who is who: what it keeps, what it forgets, and who a reference in a definition
means by it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.identities import GONE_KEPT, NAMES_KEPT, SWEPT_AT, Identities
from dockmend.model import Container, Network
from tests.unit.mirror.host import ID, Host, endpoint

OWNER_ID, OTHER = "0" * 63 + "1", "7" * 64


def owner(host: Host, **fields: object) -> Container:
    return host.container(**{"id": OWNER_ID, "name": "vpn", **fields})


def guest(host: Host) -> Container:
    return host.container(name="guest", network_mode=f"container:{OWNER_ID}", started_at=950.0)


def test_it_outlives_dockmend_and_the_container():
    host = Host()
    host.relist(owner(host), first=True)
    host.emit("destroy", id=OWNER_ID)
    memory = host.mirror.identities
    memory.succeeded(OWNER_ID, OTHER)
    restored = Identities()
    for container_id in memory.changed:
        data = memory.encoded(container_id)
        assert data is not None
        restored.restore(container_id, data)
    assert restored.known == memory.known
    assert restored.keys(OWNER_ID) == ("container:vpn",)
    assert restored.heir_of(OWNER_ID) == OTHER


@pytest.mark.parametrize("action", ["create", "start", "die", "destroy"])
def test_one_that_only_events_told_of_is_known_by_its_name(action: str):
    host = Host()
    host.emit(
        action,
        id=OWNER_ID,
        name="vpn",
        **{"com.docker.compose.project": "p", "com.docker.compose.service": "s"},
    )
    assert host.mirror.identities.keys(OWNER_ID) == ("container:vpn",)


def test_what_a_definition_names_is_kept_however_much_comes_and_goes():
    host = Host()
    host.relist(guest(host), first=True)
    host.emit("create", id=OWNER_ID, name="vpn")
    memory = host.mirror.identities
    for number in range(GONE_KEPT + 2 * SWEPT_AT):
        memory.named(f"a{number:063d}", f"job{number}")
    host.look(host.container(id=OTHER, name="one more"))
    assert memory.keys(OWNER_ID) == ("container:vpn",)
    assert len(memory.known) <= GONE_KEPT + 3
    assert memory.encoded(f"a{0:063d}") is None
    assert f"a{0:063d}" in memory.changed


def test_names_of_one_container_are_bounded_and_the_first_stays():
    memory = Identities()
    for number in range(50):
        memory.named(OTHER, f"name{number}")
    names = memory.known[OTHER].names
    assert (len(names), names[0], names[-1]) == (NAMES_KEPT, "name49", "name0")


def test_heirs_never_lead_in_a_circle():
    memory = Identities()
    memory.succeeded("a", "b")
    memory.succeeded("b", "a")
    memory.stands_in("b", "a")
    memory.succeeded("a", "a")
    assert memory.in_its_place("a") == ["b"]
    assert memory.in_its_place("b") == []


def test_one_that_a_person_made_stands_in_for_a_definition_and_is_nobodys_heir():
    memory = Identities()
    memory.succeeded("a", "b")
    memory.stands_in("b", "c")
    memory.succeeded("c", "d")
    assert memory.in_its_place("a") == ["b", "c", "d"]
    assert [memory.heir_of(each) for each in "abcd"] == ["b", "b", "d", "d"]


def test_an_owner_that_was_renamed_is_the_owner_and_its_group_is_called_after_it():
    host = Host()
    host.relist(owner(host), guest(host), first=True)
    host.emit("rename", id=OWNER_ID, name="vpn-eu", oldName="/vpn")
    host.emit("die", id=OWNER_ID, exitCode="0")
    (change,) = [each for each in host.seen if each.triggers == ("container.orphaned",)]
    assert change.group == "dependents:container:vpn-eu"
    mirror: Mirror = host.mirror
    # an incident may have begun under the name of before
    for called in ("container:vpn-eu", "container:vpn"):
        assert [each.name for each in mirror.guests(called)] == ["guest"]
        found = mirror.of_owner(called)
        assert found is not None
        assert found.id == OWNER_ID


def test_another_that_takes_a_renamed_owners_name_is_not_the_owner():
    host = Host()
    host.relist(owner(host), guest(host), first=True)
    host.emit("rename", id=OWNER_ID, name="vpn-eu", oldName="/vpn")
    host.look(host.container(id=OTHER, name="vpn"))
    assert [each.name for each in host.mirror.guests("container:vpn-eu")] == ["guest"]
    assert host.mirror.guests("container:vpn") == []


def test_an_unknown_owner_is_no_container_and_becomes_known_once_something_tells():
    host = Host()
    host.relist(guest(host), first=True)
    (unknown,) = host.seen
    assert unknown.group == f"dependents:unknown:{OWNER_ID[:12]}"
    assert [each.name for each in host.mirror.orphans(unknown.group)] == ["guest"]
    host.emit("destroy", id=OWNER_ID, name="vpn")
    host.relist(guest(host))
    (known,) = [each for each in host.seen if each is not unknown]
    assert known.group == "dependents:container:vpn"
    # so that a rule that was told of the one answers the other
    assert known.trouble != unknown.trouble
    assert host.mirror.standing()[0].group == known.group


def test_what_is_in_its_owners_present_network():
    host = Host()
    host.relist(owner(host), guest(host), first=True)
    present = host.mirror.container(ID)
    assert present is not None
    assert host.mirror.shares(present)
    host.look(owner(host, started_at=960.0))
    assert not host.mirror.shares(present)
    host.emit("destroy", id=OWNER_ID)
    host.look(host.container(id=OTHER, name="vpn", started_at=900.0))
    # whoever took its place, the definition names one that is gone
    assert not host.mirror.shares(present)


# --- heirs ----------------------------------------------------------------------------------------

LANE, LAN = Network("n2", "lane"), Network("n1", "lan")


def with_a_lost_network() -> Host:
    """A container that was in two networks and has lost one of them, and whose crashes were
    counted."""
    host = Host()
    web = host.container(
        networks={"lan": endpoint(address="10.0.0.2"), "lane": endpoint("n2", aliases=("www",))}
    )
    host.relist(web, networks=(LAN, LANE), first=True)
    host.emit("disconnect", id="n2", kind="network", container=ID)
    host.look(replace(web, networks={"lan": endpoint(address="10.0.0.2")}))
    host.mirror.entries[ID].kept.restarts = [990.0]
    return host


@pytest.mark.parametrize("seen", ["before", "after"])
def test_an_heir_has_what_was_known_of_the_one_whose_place_it_took(seen: str):
    host = with_a_lost_network()
    (lost,) = host.seen
    new = host.container(
        id=OTHER, networks={"lan": endpoint(address="10.0.0.3")}, started_at=1001.0
    )
    if seen == "before":
        host.look(new)
    host.mirror.succeeded(ID, OTHER)
    host.mirror.expect(ID, "recreate")
    host.emit("destroy")
    if seen == "after":
        host.look(new)
    host.look(new)
    mirror = host.mirror
    assert mirror.known_networks(OTHER)["lane"].aliases == ("www",)
    assert mirror.stands(OTHER, lost.trouble)  # under the name that a rule was told of
    assert [(each.network, each.target) for each in mirror.standing()] == [
        ("lane", "container:web")
    ]
    assert mirror.entries[OTHER].kept.restarts == [990.0]
    host.wait(30)
    assert [change.triggers[0] for change in host.seen].count("container.network_lost") == 1
    assert not {"container.missing", "container.address_changed"} & set(host.triggers())
    host.look(replace(new, networks={**new.networks, "lane": endpoint("n2")}))
    assert not mirror.stands(OTHER, lost.trouble)


def test_what_an_heir_inherited_outlives_dockmend():
    host = with_a_lost_network()
    (lost,) = host.seen
    host.look(host.container(id=OTHER, networks={"lan": endpoint()}, started_at=1001.0))
    host.mirror.succeeded(ID, OTHER)
    data = host.mirror.known(OTHER)
    assert data is not None
    restored = Mirror()
    restored.restore(data)
    assert restored.stands(OTHER, lost.trouble)


def test_a_missing_one_that_was_made_again_is_waited_for_no_more():
    host = Host()
    host.relist(owner(host), first=True)
    host.emit("destroy", id=OWNER_ID)
    host.look(host.container(id=OTHER, name="another name"))
    host.mirror.succeeded(OWNER_ID, OTHER)
    assert OWNER_ID not in host.mirror.leaving
    assert host.mirror.identities.heir_of(OWNER_ID) == OTHER


def test_neither_there_nor_gone_is_what_the_stream_has_still_to_tell_of():
    host = Host()
    host.relist(owner(host), first=True)
    mirror = host.mirror
    assert not mirror.is_gone(OTHER)
    host.emit("create", id=OTHER, name="new")
    assert not mirror.is_gone(OTHER)
    host.emit("destroy", id=OTHER, name="new")
    assert mirror.is_gone(OTHER)
    assert not mirror.is_gone(OWNER_ID)


@pytest.mark.parametrize(
    ("actions", "fields", "taken"),
    [
        (["kill:9", "die", "destroy"], {}, True),
        (["kill:15", "die", "stop", "destroy"], {}, True),
        (["die:1", "destroy"], {}, True),  # it had crashed, and somebody removed it
        (["die:0", "destroy"], {}, False),  # a job that had done its work
        (["die:0", "destroy"], {"restart_policy": "always"}, True),
        (["die:1", "destroy"], {"auto_remove": True}, False),  # the engine removed it
        (["kill:9", "die", "destroy"], {"auto_remove": True}, True),
    ],
)
def test_whether_somebody_took_away_what_ran_or_was_to(
    actions: list[str], fields: dict[str, object], taken: bool
) -> None:
    host = Host()
    host.relist(owner(host, **fields), guest(host), first=True)
    for each in actions:
        action, _, number = each.partition(":")
        more = (
            {"signal": number}
            if action == "kill"
            else {"exitCode": number or "137"}
            if action == "die"
            else {}
        )
        host.emit(action, id=OWNER_ID, **more)
        if action == "die":
            present = host.mirror.container(OWNER_ID)
            assert present is not None
            code = int(number or 137)
            host.look(replace(present, state="exited", exit_code=code, finished_at=host.now))
            host.wait(10.0)
    memory = host.mirror.identities
    assert [memory.was_taken(by) for by in (OWNER_ID, "container:vpn", "container:other")] == [
        taken,
        taken,
        False,
    ]


def test_a_recreation_of_dockmends_own_takes_nothing_away() -> None:
    host = Host()
    host.relist(owner(host), first=True)
    host.mirror.taken_away.add(OWNER_ID)
    host.emit("destroy", id=OWNER_ID)
    assert not host.mirror.identities.was_taken(OWNER_ID)


def test_a_compose_service_is_known_by_its_targets() -> None:
    host = Host()
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    host.relist(owner(host, labels=labels), first=True)
    host.emit("destroy", id=OWNER_ID)
    memory = host.mirror.identities
    assert memory.was_taken("compose:shop/db/")
    assert not memory.was_taken("compose:shop/d/")


def test_what_had_a_target_before_is_known_by_its_image() -> None:
    host = Host()
    host.relist(owner(host, image="vpn:1", image_id="sha256:1"), guest(host), first=True)
    host.emit("destroy", id=OWNER_ID)
    new = owner(host, id=OTHER, image="vpn:2", image_id="sha256:2", created_at=980.0)
    host.look(new)
    before = host.mirror.identities.before(new)
    assert before is not None
    assert (before.image, before.image_id, before.created_at) == ("vpn:1", "sha256:1", 900.0)
    assert host.mirror.identities.before(replace(new, name="other")) is None
