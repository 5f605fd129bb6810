"""Networks made (again), connected and disconnected against a real engine; conflicts; drivers other
than bridge."""

from __future__ import annotations

import subprocess

import pytest
from msgspec.structs import replace

from dockmend.actions.action import ActionFailed
from dockmend.model import Network, Subnet
from dockmend.rules.action_parameters import (
    ConnectNetwork,
    CreateNetwork,
    DisconnectNetwork,
    ReconnectNetwork,
)
from tests.integration.acting import Acting
from tests.integration.test_actions_networks import endpoint, network, pings
from tests.lab import LabError

ANY = ReconnectNetwork()
AGAIN = CreateNetwork()


async def learn_network(acting: Acting, name: str) -> Network:
    acting.view.defined[name] = await acting.client.inspect_network(name)
    return acting.view.defined[name]


async def as_made(acting: Acting, name: str) -> Network:
    """Without what is another at each making."""
    return replace(await acting.client.inspect_network(name), id="", created_at=0.0)


# --------------------------------------------------------------------------------- address conflict
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
async def test_who_has_the_address_is_said_and_the_next_start_does_not_suffer(
    acting, docker, family
):
    network(docker, "lane", "10.89.0.0/24", "--ipv6", "--subnet", "fd00:89::/64")
    address, flag = ("10.89.0.50", "--ip") if family == "ipv4" else ("fd00:89::50", "--ip6")
    docker.run("web")
    docker.docker("network", "connect", flag, address, "lane", "web")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.run("thief", "--network", "lane", flag, address)

    with pytest.raises(
        ActionFailed, match=f"its fixed address {address} is taken by thief"
    ) as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert failure.value.again
    # what a refused connect leaves would fail the next start
    assert endpoint(docker, "web", "lane") is None
    docker.docker("restart", "--time", "1", "web")
    docker.docker("rm", "--force", "thief")
    done = await acting.run("reconnect_network", ANY, "web")
    assert done.facts == {"reconnected": {docker.inspect("web")["Id"]: ["lane"]}}
    kept = endpoint(docker, "web", "lane")
    assert kept["IPAddress" if family == "ipv4" else "GlobalIPv6Address"] == address


async def test_an_address_that_is_the_gateways_now_is_never_had(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane", "10.89.0.0/24", "--gateway", "10.89.0.50")

    with pytest.raises(ActionFailed, match=r"10\.89\.0\.50 is the network's gateway") as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert not failure.value.again


async def test_a_gateway_that_no_inspect_tells_of_leaves_nothing_behind(acting, docker):
    """The engine refuses, as it does where an endpoint on another host of a swarm has the
    address."""
    network(docker, "lane")
    docker.run("web")

    with pytest.raises(ActionFailed, match="in use by another container") as failure:
        await acting.run("connect_network", ConnectNetwork(network="lane", ipv4="10.89.0.1"), "web")

    assert failure.value.again
    assert endpoint(docker, "web", "lane") is None
    docker.docker("restart", "--time", "1", "web")


async def test_an_address_outside_says_which_subnets_there_are(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane", "10.99.0.0/24")

    with pytest.raises(
        ActionFailed, match=r"its fixed address: 10\.89\.0\.50; lane's subnets: 10\.99\.0\.0/24"
    ) as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert not failure.value.again


# ------------------------------------------------------------------------------- routes and drivers
@pytest.mark.parametrize("lost", ["aaa", "zzz"])
async def test_the_default_route_of_several_networks_is_the_same_again(acting, docker, lost):
    network(docker, "aaa", "10.94.0.0/24")
    network(docker, "zzz", "10.95.0.0/24")
    docker.run("web", "--network", "zzz")
    docker.docker("network", "connect", "aaa", "web")
    await acting.learn("web")

    def default() -> str:
        return str(docker.docker("exec", "web", "ip", "route", "show", "default").split()[2])

    before = default()
    docker.docker("network", "disconnect", lost, "web")
    assert (default() != before) is (lost == "aaa")

    await acting.run("reconnect_network", ANY, "web")

    assert default() == before


async def test_macvlan(acting, docker):
    inside = ["nsenter", f"--net=/run/netns/{docker.name}", "ip", "link"]
    subprocess.run([*inside, "add", "mvp", "type", "veth", "peer", "name", "mvq"], check=True)
    try:
        for end in ("mvp", "mvq"):
            subprocess.run([*inside, "set", end, "up"], check=True)
        made = (
            "network",
            "create",
            "--driver",
            "macvlan",
            "--opt",
            "parent=mvp",
            "--subnet",
            "10.93.0.0/24",
            "lane",
        )
        docker.docker(*made)
        docker.run("web", "--network", "lane", "--ip", "10.93.0.50", "--network-alias", "shop")
        docker.run("peer", "--network", "lane")
        await acting.learn("web", "peer")
        before = await learn_network(acting, "lane")
        docker.docker("network", "disconnect", "lane", "web")

        await acting.run("reconnect_network", ANY, "web")

        assert pings(docker, "peer", "shop") == "10.93.0.50"
        for name in ("web", "peer"):
            docker.docker("stop", "--time", "1", name)
        docker.docker("network", "rm", "lane")
        await acting.run_on("create_network", AGAIN, before)
        assert await as_made(acting, "lane") == replace(before, id="", created_at=0.0)
        for name in ("web", "peer"):
            docker.docker("start", name)
        assert pings(docker, "peer", "shop") == "10.93.0.50"
        docker.docker("rm", "--force", "web", "peer")
        docker.docker("network", "rm", "lane")
    finally:
        subprocess.run([*inside, "delete", "mvp"], check=True)


async def test_overlay_in_a_swarm_of_one(acting, own_engine):
    docker = own_engine()
    docker.docker(
        "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"
    )
    async with acting.on(docker) as there:
        assert (await there.client.connect()).manager
        docker.docker(
            "network",
            "create",
            "--driver",
            "overlay",
            "--attachable",
            "--subnet",
            "10.96.0.0/24",
            "lane",
        )
        docker.run("web", "--network", "lane", "--ip", "10.96.0.50", "--network-alias", "shop")
        docker.run("peer", "--network", "lane")
        await there.learn("web", "peer")
        before = await learn_network(there, "lane")
        assert (before.driver, before.scope, before.attachable) == ("overlay", "swarm", True)
        docker.docker("network", "disconnect", "lane", "web")

        await there.run("reconnect_network", ANY, "web")

        assert pings(docker, "peer", "shop") == "10.96.0.50"
        for name in ("web", "peer"):
            docker.docker("stop", "--time", "1", name)
        docker.docker("network", "rm", "lane")
        await there.gone("lane")  # the swarm takes its time
        with pytest.raises(LabError, match="not found"):
            docker.docker("start", "web")
        done = await there.run_on("create_network", AGAIN, before)
        assert done.detail == "network lane was made again; peer, web reconnected"
        assert await as_made(there, "lane") == replace(before, id="", created_at=0.0)
        docker.docker("start", "peer")
        assert docker.state("web") == "running"  # its last start had failed for want of the network
        assert pings(docker, "peer", "shop") == "10.96.0.50"


# --------------------------------------------------------------------------------------- made again
FULL = [
    "--subnet", "10.89.0.0/24", "--ip-range", "10.89.0.128/25", "--gateway", "10.89.0.1",
    "--aux-address", "nas=10.89.0.5", "--ipv6", "--subnet", "fd00:89::/64", "--opt",
    "com.docker.network.bridge.name=lanebr", "--opt", "com.docker.network.driver.mtu=1400",
    "--label", "tier=web", "--internal", "--attachable",
]  # fmt: skip


async def test_a_network_is_made_again_as_it_was_with_its_containers_in_it(acting, docker):
    docker.docker("network", "create", *FULL, "lane")
    docker.run("runs")
    docker.docker("network", "connect", "--ip", "10.89.0.200", "--alias", "shop", "lane", "runs")
    docker.run("stopped", "--network", "lane", "--ip", "10.89.0.201")
    docker.run("failed", "--network", "lane", "--ip", "10.89.0.202")
    docker.docker(
        "create",
        "--name",
        "fresh",
        "--init",
        "--network",
        "lane",
        "toolbox:latest",
        "sleep",
        "1000",
    )
    docker.run("ignored", "--network", "lane")
    await acting.learn("runs", "stopped", "failed", "fresh", "ignored")
    before = await learn_network(acting, "lane")
    for name in ("stopped", "failed", "ignored"):
        docker.docker("stop", "--time", "1", name)
    docker.docker("network", "disconnect", "lane", "runs")
    docker.docker("network", "rm", "lane")
    docker.docker("start", "failed", check=False)
    acting.forbidden = {"ignored": "labelled dockmend.ignore=true"}

    done = await acting.run_on("create_network", AGAIN, before)

    assert await as_made(acting, "lane") == replace(before, id="", created_at=0.0)
    assert done.detail == (
        "network lane was made again; failed, runs, stopped reconnected;"
        " ignored was left out (labelled dockmend.ignore=true)"
    )
    assert docker.state("stopped") == "exited"
    assert docker.state("failed") == "running"
    assert "from 10.89.0.200" in docker.docker(
        "exec", "failed", "ping", "-4", "-c", "1", "-W", "2", "shop"
    )
    for name in ("stopped", "fresh"):
        docker.docker("start", name)
        assert pings(docker, "runs", name)
    assert endpoint(docker, "stopped", "lane")["IPAddress"] == "10.89.0.201"
    with pytest.raises(LabError, match="not found"):
        docker.docker("start", "ignored")


@pytest.mark.parametrize("which", ["handed out", "configuration", "follows"])
async def test_other_kinds_of_network_are_made_again(acting, docker, which):
    if which != "handed out":
        docker.docker("network", "create", "--config-only", "--subnet", "10.97.0.0/24", "pattern")
    name = "pattern" if which == "configuration" else "lane"
    if which == "handed out":
        docker.docker("network", "create", "lane")
    elif which == "follows":
        docker.docker("network", "create", "--config-from", "pattern", "lane")
    before = await learn_network(acting, name)
    docker.docker("network", "rm", name)

    await acting.run_on("create_network", AGAIN, before)

    assert await as_made(acting, name) == replace(before, id="", created_at=0.0)


async def test_addresses_that_another_network_has_by_now(acting, docker):
    network(docker, "lane")
    before = await learn_network(acting, "lane")
    docker.docker("network", "rm", "lane")
    network(docker, "thief", "10.89.0.0/16")

    with pytest.raises(
        ActionFailed, match=r"another network has its addresses.*network thief has 10\.89\.0\.0/16"
    ) as one:
        await acting.run_on("create_network", AGAIN, before)

    assert one.value.again


async def test_a_driver_that_is_not_there_is_for_good(acting, docker):
    gone = Network(id="n" * 64, name="lane", driver="nope")
    acting.view.defined["lane"] = gone

    with pytest.raises(ActionFailed, match="the engine has no such network driver") as failure:
        await acting.run_on("create_network", AGAIN, gone)

    assert not failure.value.again


async def test_of_a_compose_project_that_is_down_nothing_is_made(acting, docker):
    network(docker, "shop_default", "10.89.0.0/24", "--label", "com.docker.compose.project=shop")
    before = await learn_network(acting, "shop_default")
    docker.docker("network", "rm", "shop_default")

    done = await acting.run_on("create_network", AGAIN, before)

    assert "its Compose project is down" in done.detail
    with pytest.raises(LabError):
        docker.docker("network", "inspect", "shop_default")


async def test_a_network_of_the_rules_own(acting, docker):
    docker.run("web")
    wanted = CreateNetwork(
        name="for-{container.name}", subnet=("10.98.0.0/24", "fd00:98::/64"), ipv6=True,
        internal=True, labels={"of": "{container.name}"},
    )  # fmt: skip

    assert (await acting.run("create_network", wanted, "web")).detail == "network for-web was made"

    made = await as_made(acting, "for-web")
    assert made == Network(
        id="", name="for-web", subnets=(Subnet("10.98.0.0/24"), Subnet("fd00:98::/64")), ipv6=True,
        internal=True, labels={"of": "web"},
    )  # fmt: skip
    again = await acting.run("create_network", wanted, "web")
    assert again.detail == "network for-web exists already"
    with pytest.raises(
        ActionFailed, match="exists already, with the driver bridge and not macvlan"
    ):
        await acting.run("create_network", CreateNetwork(name="for-web", driver="macvlan"), "web")


async def test_a_reconnection_makes_the_network_again_where_the_rule_says_so(acting, docker):
    network(docker, "lane")
    network(docker, "back", "10.90.0.0/24")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    docker.docker("network", "connect", "back", "web")
    await acting.learn("web")
    for name in ("lane", "back"):
        await learn_network(acting, name)
    docker.docker("stop", "--time", "1", "web")
    for name in ("lane", "back"):
        docker.docker("network", "rm", name)
    docker.docker("start", "web", check=False)
    # the incident is about one of them, and the container cannot start without the other
    acting.network = "back"

    with pytest.raises(ActionFailed, match="network back does not exist"):
        await acting.run("reconnect_network", ANY, "web")
    done = await acting.run("reconnect_network", ReconnectNetwork(create=True), "web")

    assert (
        done.detail
        == "reconnected to back, lane; started, since its last start failed for want of the network"
    )
    docker.run("peer", "--network", "lane")
    assert pings(docker, "peer", "shop") == "10.89.0.50"
    assert endpoint(docker, "web", "back")["IPAddress"]


# ----------------------------------------------------------------------------- into one, out of one
async def test_connect_and_disconnect(acting, docker):
    network(docker, "lane")
    docker.run("web")
    docker.run("peer", "--network", "lane")
    to = ConnectNetwork(network="lane", aliases=["{container.name}-shop"], ipv4="10.89.0.50")

    assert (await acting.run("connect_network", to, "web")).detail == "connected to lane"
    assert pings(docker, "peer", "web-shop") == "10.89.0.50"
    assert (
        await acting.run("connect_network", to, "web")
    ).detail == "was connected already to lane"
    away = DisconnectNetwork(network="lane")
    assert (await acting.run("disconnect_network", away, "web")).detail == "disconnected from lane"
    assert endpoint(docker, "web", "lane") is None
    assert (
        await acting.run("disconnect_network", away, "web")
    ).detail == "was not connected to lane"


@pytest.mark.parametrize("network_gone", [True, False])
async def test_a_stopped_container_is_taken_out_too(acting, docker, network_gone):
    network(docker, "lane")
    docker.run("web", "--network", "lane")
    docker.docker("network", "connect", "bridge", "web")
    docker.docker("stop", "--time", "1", "web")
    if network_gone:
        docker.docker("network", "rm", "lane")

    await acting.run("disconnect_network", DisconnectNetwork(network="lane"), "web")

    assert endpoint(docker, "web", "lane") is None
    if not network_gone:
        docker.docker("start", "web")


async def test_what_cannot_be_connected(acting, docker):
    network(docker, "lane")
    docker.run("web")
    docker.run("thief", "--network", "lane", "--ip", "10.89.0.50")
    docker.run("house", "--network", "host")

    with pytest.raises(ActionFailed, match="network nope does not exist") as failure:
        await acting.run("connect_network", ConnectNetwork(network="nope"), "web")
    assert failure.value.again
    with pytest.raises(ActionFailed, match="taken by thief") as failure:
        await acting.run(
            "connect_network", ConnectNetwork(network="lane", ipv4="10.89.0.50"), "web"
        )
    assert failure.value.again
    assert endpoint(docker, "web", "lane") is None
    for action in ("connect_network", "disconnect_network"):
        with pytest.raises(
            ActionFailed, match="shares the network of another container or of the host"
        ):
            await acting.run(action, ConnectNetwork(network="lane"), "house")
