"""Networks made, told of and connected to: on Docker Engine itself and on the fake."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.errors import NotFound, Permanent
from dockmend.model import Endpoint, Network, Subnet

from .labs import Lab

FULL = Network(
    id="",
    name="full",
    labels={"tier": "web"},
    options={"com.docker.network.bridge.name": "lanebr"},
    subnets=(
        Subnet("10.89.0.0/24", "10.89.0.128/25", "10.89.0.1", {"nas": "10.89.0.5"}),
        Subnet("fd00:89::/64", gateway="fd00:89::1"),
    ),
    ipv6=True,
    internal=True,
)


async def made(lab: Lab, network: Network) -> Network:
    """As the engine tells of it, without what is another at each making."""
    identity = await lab.client.create_network(network)
    seen = await lab.client.inspect_network(network.name)
    assert seen.id == identity
    assert seen in await lab.client.networks()
    return replace(seen, id="", created_at=0.0)


async def test_a_network_is_made_as_it_is_told_of(lab: Lab) -> None:
    assert await made(lab, FULL) == FULL
    given = await made(lab, Network(id="", name="given"))
    assert len(given.subnets) == 1
    assert given.subnets[0].gateway
    await lab.remove_network("given")
    assert await made(lab, given) == given


async def test_a_network_by_the_configuration_of_another(lab: Lab) -> None:
    pattern = Network(
        id="", name="pattern", driver="null", config_only=True, subnets=(Subnet("10.90.0.0/24"),)
    )
    assert await made(lab, pattern) == pattern
    follower = await made(lab, Network(id="", name="follower", config_from="pattern"))
    assert follower.config_from == "pattern"
    assert follower.subnets == pattern.subnets
    await lab.remove_network("follower")
    assert await made(lab, follower) == follower


async def test_networks_that_are_not_made(lab: Lab) -> None:
    create = lab.client.create_network
    await create(FULL)
    with pytest.raises(Permanent, match="network with name full already exists"):
        await create(Network(id="", name="full"))
    with pytest.raises(Permanent, match="Pool overlaps"):
        await create(Network(id="", name="over", subnets=(Subnet("10.89.0.0/25"),)))
    with pytest.raises(NotFound, match='plugin "nope" not found'):
        await create(Network(id="", name="other", driver="nope"))
    with pytest.raises(NotFound, match='configuration network "nope" does not exist'):
        await create(Network(id="", name="other", config_from="nope"))


async def test_who_has_which_address(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    await lab.run("web")
    await lab.client.connect_network("shop", "web", Endpoint(network_id="", ipv4="10.91.0.50"))
    assert await lab.client.addresses("shop") == {"10.91.0.50": "web"}
    await lab.client.stop("web", timeout=5)
    assert await lab.client.addresses("shop") == {}


async def test_an_address_that_cannot_be_had_leaves_an_endpoint_without_a_network(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    for name in ("web", "thief"):
        await lab.run(name)
    await lab.client.connect_network("shop", "thief", Endpoint(network_id="", ipv4="10.91.0.50"))
    with pytest.raises(Permanent, match="Address already in use"):
        await lab.client.connect_network("shop", "web", Endpoint(network_id="", ipv4="10.91.0.50"))
    raw = (await lab.client.inspect_raw("web"))["NetworkSettings"]["Networks"]
    assert raw["shop"]["NetworkID"] == ""
    assert set((await lab.client.inspect("web")).networks) == {"bridge"}
    with pytest.raises(Permanent, match="not connected"):
        await lab.client.disconnect_network("shop", "web", force=True)
    await lab.client.connect_network("shop", "web", Endpoint(network_id=""))
    await lab.client.disconnect_network("shop", "web")
    assert set((await lab.client.inspect_raw("web"))["NetworkSettings"]["Networks"]) == {"bridge"}
    with pytest.raises(Permanent, match="no configured subnet or ip-range contain the IP address"):
        await lab.client.connect_network("shop", "web", Endpoint(network_id="", ipv4="10.99.0.50"))
    await lab.client.create_network(Network(id="", name="given"))
    with pytest.raises(Permanent, match="networks with user configured subnets"):
        await lab.client.connect_network("given", "web", Endpoint(network_id="", ipv4="10.99.0.50"))
