"""What one that took another's place knows of a network that it lacks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from dockmend.mirror.container_record import ContainerRecord, StoredRecord
from dockmend.mirror.exit_cause import ContainerRun
from dockmend.model import Container, Endpoint, Network, aside_name
from dockmend.owned import OwnedObject
from tests.unit.mirror.host import ID, Host

FIXED = Endpoint("n1", aliases=("web-alias",), ipv4="172.29.77.24", address="172.29.77.24")
BARE = Endpoint("n1", address="172.29.77.2")


def test_a_fixed_place_outlives_a_bare_one_that_a_look_saw_as_it_was_made():
    """`recreate` connects it plainly when it is made, and takes it out before it starts: the
    network was lost."""
    old = StoredRecord(
        container=Container("1" * 64, "web"),
        run=ContainerRun(),
        good={"lane": FIXED},
        lost={"lane": 5.0},
    )
    new = ContainerRecord(
        StoredRecord(container=Container("2" * 64, "web"), run=ContainerRun(), good={"lane": BARE})
    )
    new.inherit(old)
    place = new.kept.good["lane"]
    assert (place.ipv4, place.aliases, place.address) == ("172.29.77.24", ("web-alias",), "")
    assert new.kept.lost == {"lane": 5.0}
    again = dict(new.kept.good)
    new.inherit(old)
    assert new.kept.good == again


def test_a_place_that_it_has_is_its_own():
    old = StoredRecord(
        container=Container("1" * 64, "web"), run=ContainerRun(), good={"lane": FIXED}
    )
    new = ContainerRecord(
        StoredRecord(
            container=Container("2" * 64, "web", networks={"lane": BARE}),
            run=ContainerRun(),
            good={"lane": BARE},
        )
    )
    new.inherit(old)
    assert new.kept.good == {"lane": BARE}


LANE = Network("n1", "lane")
NEW, INCIDENT = "7" * 64, "i0abc0abc0abc0ab"
TEMPORARY = aside_name("web", "new", INCIDENT)


@dataclass
class Recreation:
    """A container that left its main network, and is made anew: each creation connects it there,
    bare."""

    host: Host
    old: Container

    @property
    def made(self) -> Container:
        return self.host.container(
            id=NEW, name=TEMPORARY, state="created", started_at=0.0, created_at=self.host.now
        )

    def make(self, *, seen: bool) -> None:
        """`seen`: a look comes before it is taken out of the network again."""
        mirror = self.host.mirror
        mirror.owned.put(
            OwnedObject("o1", "container", TEMPORARY, "", INCIDENT, "successor", 0.0, NEW)
        )
        mirror.expect(ID, "recreate")
        mirror.expect_made(NEW, "recreate")
        self.host.emit("create", id=NEW, name=TEMPORARY)
        if seen:
            self.host.look(replace(self.made, networks={"lane": BARE}))

    def finish(self, *, looked: bool) -> None:
        """`looked`: as it is without the network, before it is the heir."""
        host = self.host
        host.emit("rename", id=NEW, name="web")
        host.now += 1
        running = host.container(id=NEW, started_at=host.now)
        if looked:
            host.look(running)
        host.mirror.succeeded(ID, NEW)
        host.mirror.expected(NEW, host.now)
        host.emit("destroy")
        host.look(running)
        host.wait(1.5)
        if NEW in host.mirror.wanted:
            host.look(running)


def recreation(**networks: Endpoint) -> Recreation:
    host = Host()
    old = host.container(networks=networks)
    host.relist(old, networks=(LANE,), first=True)
    return Recreation(host, old)


@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("seen", [True, False], ids=["seen as it was made", "not seen"])
@pytest.mark.parametrize("disconnected", ["before dockmend knew it", "a second time"])
def test_a_network_that_was_left_on_purpose_is_no_loss_of_its_heir(
    disconnected: str, seen: bool, looked: bool
):
    """The place that its heir has for an instant is none that it is meant to have."""
    if disconnected == "a second time":
        case = recreation(lane=FIXED)
        case.host.mirror.reconnected(ID, "lane", case.host.now)
        case.host.look(replace(case.old, networks={}))
        (change,) = case.host.seen
        assert change.on_purpose
    else:
        case = recreation()
    case.host.seen.clear()
    case.make(seen=seen)
    case.finish(looked=looked)
    assert "container.network_lost" not in case.host.triggers()
    assert dict(case.host.mirror.known_networks(NEW)) == {}


@pytest.mark.parametrize("looked", [True, False])
@pytest.mark.parametrize("heard", ["before", "never"])
def test_a_network_that_was_lost_is_its_heirs_loss_whatever_a_look_saw(heard: str, looked: bool):
    """`never`: what tells of it is taken for the recreation's own doing, until the old one is
    gone."""
    case = recreation(lane=FIXED)
    if heard == "before":
        case.host.look(replace(case.old, networks={}))
    case.make(seen=True)
    if heard == "never":
        case.host.look(replace(case.old, networks={}))
        assert case.host.seen == []
    case.finish(looked=looked)
    assert case.host.triggers().count("container.network_lost") == 1
    place = case.host.mirror.known_networks(NEW)["lane"]
    assert (place.ipv4, place.aliases) == ("172.29.77.24", ("web-alias",))
    assert [change.network for change in case.host.mirror.standing()] == ["lane"]


def test_a_place_that_its_heir_keeps_is_known_once_it_has_its_name():
    """Also if it is not started."""
    case = recreation(lane=FIXED)
    case.make(seen=True)
    case.host.emit("rename", id=NEW, name="web")
    case.host.look(replace(case.made, name="web", networks={"lane": FIXED}))
    assert case.host.mirror.known_networks(NEW) == {"lane": FIXED}
