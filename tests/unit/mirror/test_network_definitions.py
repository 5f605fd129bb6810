"""Networks that went: told once, with all that it takes to make them again, whenever it
happened."""

from __future__ import annotations

from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.conditions import SUCCESSOR_WAIT
from dockmend.mirror.network_definitions import GONE_KEPT
from dockmend.model import Change, Network, Subnet
from tests.unit.mirror.host import ID, Host, endpoint

LAN = Network("n1", "lan", labels={"tier": "web"}, subnets=(Subnet("10.1.0.0/24"),))
OVERLAY = Network("s1", "over", driver="overlay", scope="swarm")
NOW = 1000.0


def listed(mirror: Mirror, *networks: Network, now: float = NOW) -> list[Change]:
    changes = mirror.observe_networks(networks, now)
    return changes + mirror.tick(now)


def waited(mirror: Mirror, now: float = NOW) -> list[Change]:
    return mirror.tick(now + SUCCESSOR_WAIT + 0.1)


def reborn(mirror: Mirror) -> Mirror:
    """The next dockmend, with what this one had written down."""
    other = Mirror()
    for name in mirror.defined.known:
        data = mirror.defined.encoded(name)
        assert data is not None
        other.defined.restore(name, data)
    return other


def test_what_went_is_told_once_with_its_definition() -> None:
    mirror = Mirror()
    assert listed(mirror, LAN) == []
    assert listed(mirror) == []
    assert listed(mirror, now=NOW + 1) == []
    (change,) = waited(mirror)
    assert (change.triggers, change.subject, change.target) == (
        ("network.missing",),
        LAN,
        "network:lan",
    )
    assert listed(mirror, now=NOW + 60) == []
    assert waited(mirror, NOW + 60) == []
    assert mirror.network_definition("lan") == LAN


def test_what_is_made_again_in_time_is_no_trouble() -> None:
    mirror = Mirror()
    listed(mirror, LAN)
    listed(mirror)
    again = replace(LAN, id="n2")
    listed(mirror, again, now=NOW + 5)
    assert waited(mirror) == []
    assert mirror.network_definition("lan") == again


def test_gone_again_while_the_first_wait_is_not_over_it_waits_its_own_time() -> None:
    mirror = Mirror()
    listed(mirror, LAN)
    listed(mirror)
    listed(mirror, replace(LAN, id="n2"), now=NOW + 5)
    listed(mirror, now=NOW + 6)
    assert waited(mirror) == []
    (change,) = waited(mirror, NOW + 6)
    assert change.subject == replace(LAN, id="n2")


def test_what_went_while_dockmend_was_down_is_told_and_not_again_at_the_next_start() -> None:
    mirror = Mirror()
    listed(mirror, LAN)
    next_one = reborn(mirror)
    assert listed(next_one) == []
    (change,) = waited(next_one)
    last = reborn(next_one)
    listed(last)
    assert waited(last) == []
    assert last.network_definition("lan") == LAN
    killed_before_it_was_written = reborn(mirror)
    listed(killed_before_it_was_written)
    assert waited(killed_before_it_was_written)[0].trouble == change.trouble


def test_at_the_first_start_ever_nothing_is_missing() -> None:
    mirror = Mirror()
    listed(mirror)
    assert waited(mirror) == []


def test_the_engines_own_are_never_missing() -> None:
    mirror = Mirror()
    listed(mirror, *(Network(name, name) for name in ("bridge", "host", "none", "docker_gwbridge")))
    listed(mirror, Network("i1", "ingress", driver="overlay", scope="swarm", ingress=True))
    listed(mirror)
    assert waited(mirror) == []


def test_a_swarms_networks_are_missing_where_all_of_them_are_listed_only() -> None:
    for manager in (True, False):
        mirror = Mirror()
        mirror.defined.lists_swarm = manager
        listed(mirror, OVERLAY)
        listed(mirror)
        assert len(waited(mirror)) == int(manager)
        assert mirror.network_definition("over") == OVERLAY


def test_of_those_that_are_gone_the_last_are_kept() -> None:
    mirror = Mirror()
    many = [Network(f"g{number}", f"net-{number}") for number in range(GONE_KEPT + 10)]
    listed(mirror, *many, LAN)
    mirror.defined.changed.clear()
    listed(mirror, LAN)
    assert len(mirror.defined.known) == GONE_KEPT + 1
    assert mirror.defined.changed == {f"net-{number}" for number in range(10)}
    assert mirror.defined.encoded("net-0") is None


def test_a_stopped_container_whose_start_failed_for_want_of_a_network_has_lost_it() -> None:
    host = Host()
    stopped = host.container(state="exited", finished_at=950.0, networks={"lan": endpoint("n1")})
    host.relist(stopped, networks=(), first=True)
    assert host.triggers() == []  # it may have been made after the list
    failed = replace(stopped, error="network n1 not found")
    host.look(failed)
    host.look(failed)
    (change,) = host.seen
    assert (change.triggers, change.network, change.cause) == (
        ("container.network_lost",),
        "lan",
        "removed",
    )
    assert host.mirror.members_out("lan")
    # put back: resolved by name at its start
    host.look(replace(failed, networks={"lan": endpoint("")}))
    assert host.mirror.standing() == []
    assert not host.mirror.members_out("lan")


def test_what_a_rule_takes_out_is_not_lost_whatever_answer_comes_late() -> None:
    host = Host()
    whole = host.container(networks={"lan": endpoint("n1")})
    host.relist(whole, networks=(LAN,), first=True)
    host.seen.clear()
    without = replace(whole, networks={})
    host.mirror.expect(ID, "disconnect_network")
    host.look(without)
    host.mirror.left(ID, "lan")
    host.mirror.expected(ID, host.now)
    host.look(whole)  # asked before it was taken out
    host.look(without)
    host.wait(5)
    host.look(without)
    assert host.seen == []
    assert host.mirror.members("lan") == []
    host.look(whole)
    host.look(without)
    assert host.triggers() == ["container.network_lost"]
