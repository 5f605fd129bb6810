"""What one container costs does not grow with how many there are: the work is counted, not
timed."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror, change_factory, conditions, container_index, mirror_queries
from dockmend.mirror.dependency_graph import build
from dockmend.model import Change, Container, Network, Object, target_of
from tests.unit.mirror.host import Host

OWNER = "f" * 64


def made(number: int, **fields: object) -> Container:
    return Host().container(id=f"{number:064x}", name=f"web-{number}", **fields)


class Counted:
    """Counts how often the target of a container is worked out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for module in (container_index, conditions, change_factory, mirror_queries):
            monkeypatch.setattr(module, "target_of", self._target_of)

    def _target_of(self, subject: Object | None, host: str = "") -> str:
        self.count += 1
        return target_of(subject, host)


def removal_of_half(containers: int, counted: Counted) -> int:
    """Targets worked out while half of the containers are removed and nothing takes their place."""
    host = Host()
    host.relist(*(made(number) for number in range(containers)), first=True)
    counted.count = 0
    for number in range(containers // 2):
        host.emit("destroy", f"{number:064x}")
    host.wait(11.0)
    assert host.triggers().count("container.missing") == containers // 2
    return counted.count


def test_the_removal_of_many_costs_each_of_them_the_same(monkeypatch: pytest.MonkeyPatch):
    counted = Counted(monkeypatch)
    few, many = removal_of_half(40, counted), removal_of_half(400, counted)
    assert many == 10 * few


def test_whose_place_was_taken_is_not_missing():
    host = Host()
    host.relist(made(1), first=True)
    host.emit("destroy", f"{1:064x}")
    host.look(replace(made(2), name="web-1"))
    assert "container.missing" not in [
        *host.triggers(),
        *(t for c in host.wait(11.0) for t in c.triggers),
    ]


def test_what_is_due_at_once_is_done_in_portions():
    mirror, done = Mirror(), list[int]()

    def did(number: int, now: float) -> list[Change]:
        done.append(number)
        return []

    for number in range(5):
        mirror.later(10.0, partial(did, number))
    mirror.tick(10.0, 2)
    assert (done, mirror.next_due()) == ([0, 1], 10.0)
    mirror.tick(10.0)
    assert (done, mirror.next_due()) == ([0, 1, 2, 3, 4], None)


def test_a_container_is_found_by_what_it_is_called_now():
    host = Host()
    host.relist(made(1), made(2), first=True)
    host.emit("rename", f"{1:064x}", name="/shop")
    mirror = host.mirror
    assert mirror.container_named("web-1") is None
    assert mirror.of_target("container:web-1") is None
    named = mirror.container_named("shop")
    assert named is not None
    assert mirror.of_target("container:shop") is named
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    host.look(replace(named, labels=labels))
    assert mirror.of_target("compose:shop/web/1") is not None
    assert mirror.of_target("container:shop") is None


def test_of_several_with_one_target_the_running_one_is_it():
    host = Host()
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    down = made(1, labels=labels, state="exited", finished_at=950.0)
    host.relist(down, made(2, labels=labels), first=True)
    found = host.mirror.of_target("compose:shop/web/1")
    assert found is not None
    assert found.running
    host.emit("destroy", f"{2:064x}")
    left = host.mirror.of_target("compose:shop/web/1")
    assert left is not None
    assert left.id == down.id


def test_guests_are_found_by_their_owner_and_not_after_they_are_gone():
    host = Host()
    owner, guest = made(1), made(2, network_mode=f"container:{1:064x}")
    host.relist(owner, guest, first=True)
    assert [each.id for each in host.mirror.guests("container:web-1")] == [guest.id]
    host.emit("destroy", guest.id)
    assert host.mirror.guests("container:web-1") == []


def test_of_several_networks_with_one_name_the_first_is_found():
    mirror = Mirror()
    mirror.observe_networks([Network("n1", "lan"), Network("n2", "lan")], 1.0)
    found = mirror.network_named("lan")
    assert found is not None
    assert found.id == "n1"
    mirror.observe_networks([], 2.0)
    assert mirror.network_named("lan") is None


@pytest.mark.parametrize(
    ("digits", "found"), [(OWNER, True), (OWNER[:12], True), (OWNER[:11], False), ("e" * 64, False)]
)
def test_the_beginning_of_an_id_stands_for_its_container(digits: str, found: bool):
    guest = made(1, network_mode=f"container:{digits}")
    graph = build([guest, Host().container(id=OWNER, name="vpn")])
    assert [edge.dependency for edge in graph.edges] == (
        [OWNER] if found else [next(iter(graph.missing))]
    )


def test_the_beginning_of_two_ids_stands_for_none():
    twins = [Host().container(id="f" * 12 + digit * 52, name=f"vpn-{digit}") for digit in "12"]
    graph = build([made(1, network_mode=f"container:{'f' * 12}"), *twins])
    assert graph.missing
