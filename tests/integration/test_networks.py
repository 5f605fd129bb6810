"""Networks lost and found again by the running daemon, and those that a person took away on
purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents
from tests.lab import QUICK_HEALTH, Daemon, PrivateEngine, Recorder, eventually

RULE = """
version: 1
rules:
  - name: back
    when: container.network_lost
    match: {name: shop}
    then: reconnect_network
    limits: {backoff: 100ms to 500ms}
"""
ADDRESS = "10.91.0.50"


@pytest.fixture
def lane(docker: PrivateEngine) -> PrivateEngine:
    """A network with a container in it that has a static address, an alias and a second network;
    and a peer."""
    make(docker)
    docker.run("shop", "--network", "lane", "--ip", ADDRESS, "--network-alias", "till")
    docker.docker("network", "connect", "bridge", "shop")
    docker.run("peer", "--network", "lane")
    return docker


@pytest.fixture
def events(lane: PrivateEngine) -> Iterator[Recorder]:
    with Recorder(lane) as one:
        yield one


def make(docker: PrivateEngine) -> None:
    docker.docker("network", "create", "--subnet", "10.91.0.0/24", "lane")


def pinged(docker: PrivateEngine, name: str = "till") -> bool:
    return f"from {ADDRESS}" in docker.docker(
        "exec", "peer", "ping", "-c", "1", "-W", "2", name, check=False
    )


def networks(docker: PrivateEngine) -> set[str]:
    return set(docker.inspect("shop")["NetworkSettings"]["Networks"])


def reconnected(one: Daemon) -> list[str]:
    return [incident.reason for incident in incidents(one, rule="back", outcome="healed")]


def test_a_disconnected_container_is_back_as_it_was(lane: PrivateEngine, events: Recorder) -> None:
    assert pinged(lane)
    with daemon(lane, RULE) as one:
        lane.docker("network", "disconnect", "lane", "shop")
        (incident,) = closed(one, outcome="healed")
        assert (incident.cause, incident.network, incident.attempts) == ("disconnected", "lane", 1)
        assert pinged(lane)
        assert pinged(lane, "shop")
        assert len(events.of("lane", "connect", kind="network")) == 1
        all_told(one)


@pytest.mark.parametrize("moment", ["in the verification", "after it"])
def test_disconnected_again_soon_after_is_a_persons_will(
    lane: PrivateEngine, events: Recorder, moment: str
) -> None:
    with daemon(lane, RULE) as one:
        lane.docker("network", "disconnect", "lane", "shop")
        if moment == "after it":
            closed(one, outcome="healed")
        else:
            eventually(lambda: incidents(one, state="verifying"), every=0.01)
        lane.docker("network", "disconnect", "lane", "shop")

        incident = closed(one, outcome="on_purpose")[0]
        assert "on purpose" in incident.reason
        assert networks(lane) == {"bridge"}
        assert not incidents(one, state="waiting")
        assert len(events.of("lane", "connect", kind="network")) == 1
        all_told(one)
        assert len(incidents(one)) == (2 if moment == "after it" else 1)


def test_disconnected_again_at_once_is_seen_too(lane: PrivateEngine, events: Recorder) -> None:
    """Within the second in which the echo of the reconnection is awaited, of a container that is
    healthy at once."""
    lane.docker("rm", "--force", "shop")
    lane.run("shop", "--network", "lane", "--ip", ADDRESS, "--health-cmd", "true", *QUICK_HEALTH)
    lane.docker("network", "connect", "bridge", "shop")
    lane.await_health("shop", "healthy")
    with daemon(lane, RULE) as one:
        seen = [row["Action"] for row in events.events].count("connect")
        lane.docker("network", "disconnect", "lane", "shop")
        eventually(
            lambda: [row["Action"] for row in events.events].count("connect") > seen, every=0.001
        )
        lane.docker("network", "disconnect", "lane", "shop")
        incident = closed(one, outcome="on_purpose")[0]
        assert "on purpose" in incident.reason
        assert networks(lane) == {"bridge"}
        # its own start's, and dockmend's
        assert len(events.of("lane", "connect", kind="network")) == 2
        all_told(one)


def test_what_was_left_on_purpose_is_taken_up_again_by_a_connect(
    lane: PrivateEngine, events: Recorder
) -> None:
    with daemon(lane, RULE) as one:
        lane.docker("network", "disconnect", "lane", "shop")
        closed(one, outcome="healed")
        lane.docker("network", "disconnect", "lane", "shop")
        closed(one, outcome="on_purpose")
        lane.docker("network", "connect", "--ip", ADDRESS, "--alias", "till", "lane", "shop")
        eventually(lambda: "lane" in known(one), what="the mirror has seen it connected")
        lane.docker("network", "disconnect", "lane", "shop")
        closed(one, 2, outcome="healed")
        assert pinged(lane)


def known(one: Daemon) -> set[str]:
    """The networks the daemon sees the container in."""
    rows = json.loads(one.page("/api/containers"))
    rows = rows if isinstance(rows, list) else rows["containers"]
    return {name for row in rows if row["name"] == "shop" for name in row["networks"]}


def test_a_network_made_again_under_a_stopped_container(lane: PrivateEngine) -> None:
    with daemon(lane, RULE) as one:
        lane.docker("stop", "--time", "1", "shop")
        lane.docker("stop", "--time", "1", "peer")
        lane.docker("network", "rm", "lane")
        make(lane)
        (incident,) = closed(one, outcome="healed")
        assert (incident.cause, incident.network) == ("removed", "lane")
        assert lane.state("shop") == "exited"  # a person stopped it: that stays so
        lane.docker("start", "shop")
        lane.docker("rm", "--force", "peer")
        lane.run("peer", "--network", "lane")
        assert pinged(lane)
        assert networks(lane) == {"lane", "bridge"}
        all_told(one)


def test_a_loss_while_dockmend_was_down(lane: PrivateEngine, events: Recorder) -> None:
    with daemon(lane, RULE) as one:
        eventually(lambda: known(one) == {"lane", "bridge"})
        one.stop()
        lane.docker("network", "disconnect", "lane", "shop")
        one.start()
        (incident,) = closed(one, outcome="healed")
        assert incident.network == "lane"
        assert pinged(lane)
        assert len(events.of("lane", "connect", kind="network")) == 1


def test_a_network_that_is_gone_for_good_is_given_up(lane: PrivateEngine) -> None:
    """And a restart of dockmend's own target does not count as a loss."""
    rule = RULE.replace("limits: {", "limits: {attempts: 2 per 1m, ")
    with daemon(lane, rule) as one:
        lane.docker("restart", "--time", "1", "shop")
        lane.docker("rm", "--force", "peer")
        lane.docker("network", "disconnect", "lane", "shop")
        closed(one, outcome="healed")
        lane.docker("network", "disconnect", "lane", "shop")
        lane.docker("network", "rm", "lane")
        incident = closed(one, outcome="on_purpose")[0]
        assert incident.network == "lane"
        assert lane.state("shop") == "running"
