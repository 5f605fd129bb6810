"""Guests of an owner that a Compose action brings back, and containers that link to one that
dockmend makes anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.shop import Shop
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_compose import RULE as RESTART
from tests.integration.test_compose import sicken as sicken_shop
from tests.integration.test_guests import CHECK, NO_RULES, RECREATE, has_network, owner, sicken
from tests.integration.test_killed import Killed, crash, identity
from tests.integration.vpn import OWNER, Project
from tests.lab import HoldingProxy, PrivateEngine
from tests.lab.proxy import When

pytestmark = pytest.mark.timeout(240)

UP = """
version: 1
rules:
  - name: up
    when: container.missing
    match: {compose: {project: shop}}
    then: compose_up
"""
VPN = """
version: 1
rules:
  - name: vpn
    when: container.unhealthy
    match: {name: shop-vpn-1}
    then: restart
"""
OFF = "heal: off\n"


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def has_network_of(engine: PrivateEngine, name: str, owner: str) -> bool:
    """Whether a guest has the present address of its owner."""
    (network,) = engine.inspect(owner)["NetworkSettings"]["Networks"].values()
    inside = engine.docker("exec", name, "ip", "-o", "addr", check=False)
    return bool(network["IPAddress"]) and f"inet {network['IPAddress']}/" in inside


def test_a_guest_outside_the_project_comes_back_with_what_compose_restart_restarts(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    Shop(docker, tmp_path / "shop").up()
    docker.run("app", "--network", "container:shop-db-1", "--stop-timeout", "2")
    with daemon(docker, RESTART, config=OFF) as one:
        sicken_shop(docker)
        closed(one, rule="group", outcome="healed", timeout=120)
        assert has_network_of(docker, "app", "shop-db-1")
        assert len(incidents(one)) == 1
        all_told(one)


def test_guests_of_a_missing_owner_that_compose_up_makes_again_come_back(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    """Those of its project as well: `compose up` does not touch what runs."""
    folder = tmp_path / "shop"
    folder.mkdir(mode=0o755)
    project = Project(docker, folder)
    project.up()
    (folder / "compose.yaml").chmod(0o644)
    docker.run("app", "--network", f"container:{OWNER}", "--stop-timeout", "2")
    with daemon(docker, UP, config=OFF) as one:
        docker.docker("rm", "--force", OWNER)
        closed(one, rule="up", outcome="healed", timeout=120)
        assert has_network_of(docker, "app", OWNER)
        for name in ("shop-app-1", "shop-web-1", "shop-job-1"):
            assert has_network_of(docker, name, OWNER), name
        assert len(incidents(one)) == 1
        all_told(one)


def test_a_one_off_behind_an_owner_is_left_alone_and_said(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    """To bring it back would run its job again; those beside it come back, and it makes nobody's
    incident fail."""
    project = Project(docker, tmp_path)
    project.up()
    project.compose("run", "--detach", "--no-deps", "--name", "oneoff", "app", "sleep", "86400")
    began = docker.inspect("oneoff")["State"]["StartedAt"]
    with daemon(docker, VPN, config=OFF) as one:
        told = one.command("explain", OWNER, "--trigger", "container.unhealthy").stdout.decode()
        assert "shop-app-1" in told
        assert "oneoff" not in told
        docker.docker("exec", OWNER, "rm", "/well")
        (incident,) = closed(one, timeout=120)
        assert incident.outcome == "healed", incident
        assert "oneoff is left alone: it is a Compose one-off" in incident.reason
        project.connected()
        assert docker.inspect("oneoff")["State"]["StartedAt"] == began
        all_told(one)


def linked(engine: PrivateEngine, name: str) -> bool:
    """Whether a container can be entered, and finds what it links to as `alias` at its present
    address."""
    (network,) = engine.inspect("vpn")["NetworkSettings"]["Networks"].values()
    hosts = engine.docker("exec", name, "cat", "/etc/hosts", check=False)
    return any(line.split()[:2] == [network["IPAddress"], "alias"] for line in hosts.splitlines())


def test_what_links_to_one_that_is_made_anew_is_made_anew(docker: PrivateEngine) -> None:
    owner(docker, *CHECK)
    app = docker.run("app", "--link", "vpn:alias", "--stop-timeout", "2")
    behind = docker.run("behind", "--network", "container:app", "--stop-timeout", "2")
    docker.run("idle", "--link", "vpn:alias", "--stop-timeout", "2")
    docker.docker("stop", "idle")
    with daemon(docker, RECREATE, config=OFF) as one:
        sicken(docker)
        closed(one, rule="anew", outcome="healed", timeout=90)
        assert docker.inspect("app")["Id"] != app
        assert docker.inspect("behind")["Id"] != behind
        assert linked(docker, "app")
        assert has_network_of(docker, "behind", "app")
        assert docker.state("idle") == "exited"  # a person stopped it
        assert len(incidents(one)) == 1
        all_told(one)


def behind_a_link(docker: PrivateEngine) -> tuple[str, str]:
    """The ids of one that links to the owner, and of one in the network of that."""
    owner(docker, *CHECK)
    app = docker.run("app", "--link", "vpn:alias", "--stop-timeout", "2")
    return app, docker.run("behind", "--network", "container:app", "--stop-timeout", "2")


def test_what_links_to_one_that_is_made_anew_and_ends_meanwhile_is_brought_back(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """Nothing else could: the engine refuses to start it, as its link is to the one that is
    gone."""
    behind_a_link(docker)
    docker.run("idle", "--link", "vpn:alias")
    crash(docker, "idle")  # before: that is no consequence
    docker.await_state("idle", "exited")
    with Killed(docker, proxy, RECREATE, OFF) as killed:
        proxy.meanwhile(
            f"POST /v[0-9.]+/containers/{identity(docker, 'vpn')}/rename",
            lambda: crash(docker, "app"),
        )
        sicken(docker)
        closed(killed.daemon, rule="anew", outcome="healed", timeout=90)
        assert linked(docker, "app")
        assert has_network_of(docker, "behind", "app")
        assert docker.state("idle") == "exited"
        all_told(killed.daemon)


DEATHS: dict[str, tuple[str, When]] = {
    "before its stop": ("stop", "before"),
    "during its stop": ("stop", "during"),
    "after its stop": ("stop", "after"),
    "before it is set aside": ("rename", "before"),
    "after it was set aside": ("rename", "after"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_killed_while_what_links_to_it_is_made_anew(
    docker: PrivateEngine, proxy: HoldingProxy, death: str
) -> None:
    """Once it was stopped the old one cannot be started again, as its link is dead: the next
    dockmend makes it anew."""
    verb, when = DEATHS[death]
    app, _ = behind_a_link(docker)
    with Killed(docker, proxy, RECREATE, OFF) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{app}/{verb}", when)
        sicken(docker)
        killed.dies(hold)
        closed(killed.daemon, rule="anew", outcome="healed", timeout=90)
        assert linked(docker, "app")
        assert has_network_of(docker, "behind", "app")
        names = docker.docker("ps", "--all", "--format", "{{.Names}}").split()
        assert sorted(names) == ["app", "behind", "vpn"]
        all_told(killed.daemon)


def test_what_links_to_one_that_is_restarted_is_left_alone(docker: PrivateEngine) -> None:
    """The engine corrects its hosts file."""
    owner(docker, "--label", "autoheal=true", *CHECK)
    docker.run("app", "--link", "vpn:alias", "--stop-timeout", "2")
    docker.run("guest", "--network", "container:vpn", "--stop-timeout", "2")
    began = docker.inspect("app")["State"]["StartedAt"]
    with daemon(docker, NO_RULES) as one:
        sicken(docker)
        closed(one, outcome="healed", timeout=60)
        assert has_network(docker, "guest")
        assert docker.inspect("app")["State"]["StartedAt"] == began
        assert linked(docker, "app")
        ((_, actions),) = stories(one)
        assert [each.object_name for each in actions if each.part == "member"] == ["guest"]


def test_what_would_break_an_ignored_one_that_links_to_it_is_not_done(
    docker: PrivateEngine,
) -> None:
    owner(docker, *CHECK)
    docker.run("app", "--link", "vpn:alias", "--label", "dockmend.ignore=true")
    vpn = docker.inspect("vpn")["Id"]
    with daemon(docker, RECREATE, config=OFF) as one:
        sicken(docker)
        (left,) = closed(one, timeout=60)
        assert (left.outcome, left.reason_code) == ("suppressed", "cut_off")
        assert "app" in left.reason
        assert docker.inspect("vpn")["Id"] == vpn
