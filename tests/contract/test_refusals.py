"""What the engine refuses, and how; networks taken and put back: on Docker Engine itself and on the
fake."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.errors import NotFound, Permanent
from dockmend.model import Endpoint

from .labs import Lab


async def test_what_does_not_exist_is_not_found(lab: Lab) -> None:
    client = lab.client
    await lab.run("web")
    calls = (
        client.inspect("nope"),
        client.inspect_raw("nope"),
        client.inspect_network("nope"),
        client.inspect_volume("nope"),
        client.inspect_image("nope"),
        client.start("nope"),
        client.stop("nope"),
        client.restart("nope"),
        client.kill("nope"),
        client.pause("nope"),
        client.unpause("nope"),
        client.remove("nope"),
        client.remove_volume("nope"),
        client.remove_image("nope"),
        client.commit("nope", "kept", "1"),
        client.connect_network("nope", "web", Endpoint(network_id="")),
        client.disconnect_network("bridge", "nope"),
        client.create("new", {"Image": "nope"}),
        client.inspect(".."),
        client.inspect(""),
        client.inspect("../networks"),
    )
    for call in calls:
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.status == 404
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


async def test_what_is_refused_for_good_is_permanent(lab: Lab) -> None:
    client = lab.client
    await lab.run("web")
    for call in (
        client.unpause("web"),
        client.remove("web"),
        client.create("web", {"Image": "toolbox:latest"}),
    ):
        with pytest.raises(Permanent):
            await call
    with pytest.raises(Permanent, match="already exists"):
        await client.connect_network("bridge", "web", Endpoint(network_id=""))
    await client.disconnect_network("bridge", "web")
    with pytest.raises(Permanent, match="not connected"):
        await client.disconnect_network("bridge", "web")
    await client.stop("web", timeout=5)
    with pytest.raises(Permanent, match="not running"):
        await client.kill("web")
    with pytest.raises(Permanent, match="not running"):
        await client.pause("web")


async def test_what_is_so_already_is_no_error(lab: Lab) -> None:
    await lab.run("web")
    await lab.client.start("web")
    await lab.client.stop("web", timeout=5)
    await lab.client.stop("web", timeout=5)
    assert (await lab.client.inspect("web")).state == "exited"


async def test_a_start_without_its_network_is_permanent_but_the_container_is_there(
    lab: Lab,
) -> None:
    await lab.network("shop", "10.91.0.0/24")
    await lab.run("web", network="shop")
    await lab.client.stop("web", timeout=5)
    await lab.remove_network("shop")
    with pytest.raises(Permanent, match="not found") as caught:
        await lab.client.start("web")
    assert not isinstance(caught.value, NotFound)
    assert "not found" in (await lab.client.inspect("web")).error
    await lab.network("shop", "10.91.0.0/24")  # the same name is another network
    with pytest.raises(Permanent):
        await lab.client.start("web")
    old = (await lab.client.inspect("web")).networks["shop"]
    await lab.client.disconnect_network("shop", "web", force=True)
    await lab.client.connect_network("shop", "web", old)
    await lab.client.start("web")
    assert (await lab.client.inspect("web")).networks["shop"].address


async def test_an_endpoint_comes_back_as_it_was(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    await lab.run("db", network="shop")
    await lab.run("web")
    wanted = Endpoint(
        network_id="",
        aliases=("shop-web", "www"),
        ipv4="10.91.0.77",
        mac="02:11:22:33:44:55",
        links=("db:database",),
        driver_opts={"com.example.note": "kept"},
    )
    await lab.client.connect_network("shop", "web", wanted)
    first = (await lab.client.inspect("web")).networks["shop"]
    assert (first.aliases, first.ipv4, first.address) == (
        wanted.aliases,
        "10.91.0.77",
        "10.91.0.77",
    )
    assert (first.links, first.driver_opts) == (wanted.links, wanted.driver_opts)
    assert first.mac_in_use  # it is another one: api_versions.CONNECT_TAKES_MAC
    await lab.client.disconnect_network("shop", "web")
    assert "shop" not in (await lab.client.inspect("web")).networks
    await lab.client.connect_network("shop", "web", first)
    again = (await lab.client.inspect("web")).networks["shop"]
    assert replace(again, mac_in_use=first.mac_in_use) == first
