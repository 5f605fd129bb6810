"""reconnect_network against a real engine: what was lost is back exactly, proven from another
container."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.rules.action_parameters import ReconnectNetwork
from tests.integration.acting import Acting
from tests.lab import LabError, PrivateEngine

ANY = ReconnectNetwork()


def network(docker: PrivateEngine, name: str, subnet: str = "10.89.0.0/24", *options: str) -> str:
    return docker.docker("network", "create", "--subnet", subnet, *options, name)


def endpoint(docker: PrivateEngine, container: str, name: str) -> Any:
    """The container's endpoint in a network as inspect shows it, or None."""
    return docker.inspect(container)["NetworkSettings"]["Networks"].get(name)


def pings(docker: PrivateEngine, source: str, host: str) -> str:
    """The address that `host` resolves to and that answered."""
    return (
        docker.docker("exec", source, "ping", "-c", "1", "-W", "2", host)
        .partition("(")[2]
        .partition(")")[0]
    )


async def test_disconnected_container_is_back_with_alias_and_address(
    acting: Acting, docker: PrivateEngine
) -> None:
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    docker.run("peer", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    with pytest.raises(LabError):
        pings(docker, "peer", "shop")

    done = await acting.run("reconnect_network", ANY, "web")

    assert pings(docker, "peer", "shop") == "10.89.0.50"
    assert pings(docker, "peer", "web") == "10.89.0.50"
    assert done.detail == "reconnected to lane"
    assert done.facts == {"reconnected": {docker.inspect("web")["Id"]: ["lane"]}}
    assert (
        await acting.run("reconnect_network", ANY, "web")
    ).detail == "was connected already to lane"


async def test_links_driver_options_link_local_and_ipv6_are_kept(acting, docker):
    network(docker, "lane", "10.89.0.0/24", "--ipv6", "--subnet", "fd00:89::/64")
    docker.run("peer", "--network", "lane")
    docker.run("web")
    docker.docker(
        "network", "connect", "--ip", "10.89.0.60", "--ip6", "fd00:89::60", "--link", "peer:db",
        "--alias", "shop", "--driver-opt", "example.option=1", "--link-local-ip", "169.254.8.8",
        "lane", "web",
    )  # fmt: skip
    before = endpoint(docker, "web", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")

    await acting.run("reconnect_network", ANY, "web")

    after = endpoint(docker, "web", "lane")
    kept = (
        "IPAMConfig",
        "Links",
        "Aliases",
        "DriverOpts",
        "IPAddress",
        "GlobalIPv6Address",
        "NetworkID",
    )
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert after["IPAMConfig"] == {
        "IPv4Address": "10.89.0.60", "IPv6Address": "fd00:89::60", "LinkLocalIPs": ["169.254.8.8"],
    }  # fmt: skip
    assert pings(docker, "web", "db")
    docker.docker("exec", "peer", "ping", "-6", "-c", "1", "-W", "2", "fd00:89::60")


@pytest.mark.parametrize("beside", [(), ("--network", "home")], ids=["main network", "another"])
async def test_mac_address_that_the_engine_does_not_take_over_is_said(acting, docker, beside):
    network(docker, "lane")
    docker.docker("network", "create", "home")
    docker.run("web", *beside, "--network", "name=lane,mac-address=02:42:0a:59:00:99")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")

    done = await acting.run("reconnect_network", ANY, "web")

    kept = endpoint(docker, "web", "lane")["MacAddress"] == "02:42:0a:59:00:99"
    assert kept is (
        "did not take over its MAC address 02:42:0a:59:00:99 in lane" not in done.detail
    )


async def test_nothing_is_said_of_a_mac_address_that_the_engine_made_up(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")

    done = await acting.run("reconnect_network", ANY, "web")

    assert done.detail == "reconnected to lane"


async def test_default_bridge_is_put_back(acting, docker):
    docker.run("web")
    await acting.learn("web")
    docker.docker("network", "disconnect", "bridge", "web")

    await acting.run("reconnect_network", ANY, "web")

    assert endpoint(docker, "web", "bridge")["IPAddress"]


async def test_only_the_incidents_network_or_those_of_the_pattern(acting, docker):
    for number, name in enumerate(("back-a", "back-b", "front")):
        network(docker, name, f"10.9{number}.0.0/24")
    docker.run("web", "--network", "back-a")
    docker.docker("network", "connect", "back-b", "web")
    docker.docker("network", "connect", "front", "web")
    await acting.learn("web")
    for name in ("back-a", "back-b", "front"):
        docker.docker("network", "disconnect", name, "web")

    acting.network = "back-b"
    assert (await acting.run("reconnect_network", ANY, "web")).detail == "reconnected to back-b"
    acting.network = None
    back = await acting.run("reconnect_network", ReconnectNetwork(network="back-*"), "web")
    assert back.detail == "reconnected to back-a"
    assert endpoint(docker, "web", "front") is None
    assert (await acting.run("reconnect_network", ANY, "web")).detail == "reconnected to front"


async def test_network_made_again_under_a_container_whose_start_failed(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    await acting.learn("web")
    docker.docker("stop", "--time", "1", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane")
    docker.run("peer", "--network", "lane")
    with pytest.raises(LabError, match="not found"):
        docker.docker("start", "web")

    done = await acting.run("reconnect_network", ANY, "web")

    assert docker.state("web") == "running"
    assert pings(docker, "peer", "shop") == "10.89.0.50"
    assert (
        done.detail
        == "reconnected to lane; started, since its last start failed for want of the network"
    )


async def test_network_made_again_under_a_container_that_somebody_stopped(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    await acting.learn("web")
    docker.docker("stop", "--time", "1", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane")
    docker.run("peer", "--network", "lane")

    done = await acting.run("reconnect_network", ANY, "web")

    assert docker.state("web") == "exited"
    assert done.detail == "reconnected to lane; it was left exited"
    docker.docker("start", "web")
    assert pings(docker, "peer", "shop") == "10.89.0.50"


async def test_network_that_is_gone_is_named_and_may_come_back(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.docker("network", "rm", "lane")

    with pytest.raises(ActionFailed, match="network lane does not exist; make it again") as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert failure.value.again


async def test_one_network_that_is_gone_does_not_keep_the_others_away(acting, docker):
    network(docker, "gone")
    network(docker, "here", "10.90.0.0/24")
    # Engine 26.1 connects nothing at all while this first one is gone
    docker.run("web", "--network", "here")
    docker.docker("network", "connect", "gone", "web")
    await acting.learn("web")
    for name in ("gone", "here"):
        docker.docker("network", "disconnect", name, "web")
    docker.docker("network", "rm", "gone")

    with pytest.raises(
        ActionFailed, match=r"network gone does not exist.*it was reconnected to here"
    ):
        await acting.run("reconnect_network", ANY, "web")

    assert endpoint(docker, "web", "here")["IPAddress"]


@pytest.mark.parametrize("again", [("--subnet", "10.99.0.0/24"), ()])
@pytest.mark.parametrize("running", [True, False])
async def test_fixed_address_outside_the_new_network_is_not_given_up(
    acting, docker, again, running
):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50")
    await acting.learn("web")
    if running:
        docker.docker("network", "disconnect", "lane", "web")
    else:
        docker.docker("stop", "--time", "1", "web")
    docker.docker("network", "rm", "lane")
    docker.docker("network", "create", *again, "lane")

    with pytest.raises(
        ActionFailed, match="no subnet of its own that holds the container's fixed address"
    ) as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert not failure.value.again
    if not running:  # the old settings are still there for whoever mends the network
        assert endpoint(docker, "web", "lane")["IPAMConfig"] == {"IPv4Address": "10.89.0.50"}


async def test_address_that_was_handed_out_is_not_insisted_on(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--network-alias", "shop")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane", "10.99.0.0/24")
    docker.run("peer", "--network", "lane")

    await acting.run("reconnect_network", ANY, "web")

    assert pings(docker, "peer", "shop").startswith("10.99.0.")


async def test_fixed_address_that_somebody_else_took_may_come_free(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    docker.run("thief", "--network", "lane", "--ip", "10.89.0.50")

    for _ in range(2):  # what a failed connect leaves behind is cleared away
        with pytest.raises(ActionFailed, match=r"10\.89\.0\.50 is taken by thief") as failure:
            await acting.run("reconnect_network", ANY, "web")
        assert failure.value.again
        assert endpoint(docker, "web", "lane") is None
        assert (await acting.client.inspect("web")).networks == {}
    docker.docker("rm", "--force", "thief")
    await acting.run("reconnect_network", ANY, "web")

    assert endpoint(docker, "web", "lane")["IPAddress"] == "10.89.0.50"


async def test_dependents_and_host_networks_cannot_be_connected(acting, docker):
    network(docker, "lane")
    docker.run("owner")
    docker.run("tail", "--network", "container:owner")
    docker.run("house", "--network", "host")
    acting.network = "lane"

    for name in ("tail", "house"):
        with pytest.raises(
            ActionFailed, match="shares the network of another container or of the host"
        ) as failure:
            await acting.run("reconnect_network", ANY, name)
        assert not failure.value.again


async def test_network_never_seen_is_not_guessed(acting, docker):
    network(docker, "lane")
    docker.run("web")
    acting.network = "lane"

    with pytest.raises(ActionFailed, match="how it was connected was never seen") as failure:
        await acting.run("reconnect_network", ANY, "web")

    assert not failure.value.again


# ----------------------------------------------------------------------------------------- settling
async def test_death_between_disconnect_and_connect(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    docker.run("peer", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    record = await acting.run_and_die("reconnect_network", ANY, "web")
    acting.view.networks.clear()  # only what is written down is left

    settled = await acting.settle(record)

    assert settled.done
    assert settled.detail == "the reconnection was finished: lane"
    assert pings(docker, "peer", "shop") == "10.89.0.50"
    assert (await acting.settle(record)).detail == "it had been reconnected"


async def test_death_after_the_forced_disconnect_of_a_container_whose_start_failed(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    await acting.learn("web")
    docker.docker("stop", "--time", "1", "web")
    docker.docker("network", "rm", "lane")
    network(docker, "lane")
    docker.run("peer", "--network", "lane")
    docker.docker("start", "web", check=False)
    record = await acting.run_and_die("reconnect_network", ANY, "web")
    docker.docker("network", "disconnect", "--force", "lane", "web")

    settled = await acting.settle(record)

    assert settled.done
    assert docker.state("web") == "running"
    assert pings(docker, "peer", "shop") == "10.89.0.50"


async def test_death_of_a_reconnection_whose_network_went_away(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    record = await acting.run_and_die("reconnect_network", ANY, "web")
    docker.docker("network", "rm", "lane")

    settled = await acting.settle(record)

    assert not settled.done
    assert "network lane does not exist" in settled.detail


async def test_death_of_a_reconnection_whose_container_is_gone(acting, docker):
    network(docker, "lane")
    docker.run("web", "--network", "lane")
    await acting.learn("web")
    docker.docker("network", "disconnect", "lane", "web")
    record = await acting.run_and_die("reconnect_network", ANY, "web")
    docker.docker("rm", "--force", "web")

    assert (await acting.settle(record)).detail == "the container is gone"
