"""Containers made from raw bodies, and renamed: what `recreate` relies on."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.errors import NotFound, Permanent

from .labs import Lab

IMAGE = "toolbox:latest"


async def test_a_name_is_changed_and_no_name_is_taken_twice(lab: Lab) -> None:
    one = await lab.run("one", start=False)
    await lab.run("two", start=False)

    await lab.client.rename(one, "other")

    assert (await lab.client.inspect("other")).id == one
    with pytest.raises(
        Permanent, match=r'Conflict\. The container name "/two" is already in use by container'
    ):
        await lab.client.rename(one, "two")
    with pytest.raises(NotFound, match="No such container: one"):
        await lab.client.rename("one", "three")


async def test_a_container_is_made_in_several_networks_at_once(lab: Lab) -> None:
    await lab.network("alpha", "10.95.1.0/24")
    await lab.network("beta", "10.95.2.0/24")
    endpoints = {
        "alpha": {"IPAMConfig": {"IPv4Address": "10.95.1.7"}, "Aliases": ["a"]},
        "beta": {"Aliases": ["b"], "DriverOpts": {"x": "y"}, "MacAddress": "92:d0:c6:0a:29:36"},
    }
    body = {
        "Image": IMAGE,
        "Cmd": ["sleep", "86400"],
        "HostConfig": {"NetworkMode": "alpha", "Init": True},
    }

    made = await lab.client.create(
        "web", {**body, "NetworkingConfig": {"EndpointsConfig": endpoints}}
    )
    await lab.client.start(made)

    networks = (await lab.client.inspect(made)).networks
    assert set(networks) == {"alpha", "beta"}
    assert (networks["alpha"].address, networks["alpha"].aliases) == ("10.95.1.7", ("a",))
    assert (networks["beta"].aliases, networks["beta"].driver_opts) == (("b",), {"x": "y"})
    assert networks["beta"].mac == "92:d0:c6:0a:29:36"


async def test_networks_that_are_named_replace_the_one_of_the_network_mode(lab: Lab) -> None:
    await lab.network("alpha", "10.95.1.0/24")
    await lab.network("beta", "10.95.2.0/24")
    others: dict[str, Any] = {"EndpointsConfig": {"beta": {}}}

    body = {"Image": IMAGE, "HostConfig": {"NetworkMode": "alpha"}, "NetworkingConfig": others}

    made = await lab.client.create("web", body)

    assert set((await lab.client.inspect(made)).networks) == {"beta"}


async def test_a_taken_name_is_refused(lab: Lab) -> None:
    await lab.run("web", start=False)
    with pytest.raises(Permanent, match="already in use by container"):
        await lab.client.create("web", {"Image": IMAGE})


async def test_an_image_is_told_in_full(lab: Lab) -> None:
    await lab.image("shop:1", {"tier": "web"})
    raw = await lab.client.inspect_image_raw("shop:1")
    assert raw["Id"] == (await lab.client.inspect_image("shop:1")).id
    assert raw["Config"]["Labels"] == {"tier": "web"}
    assert await lab.client.inspect_image_raw(raw["Id"]) == raw
    with pytest.raises(NotFound):
        await lab.client.inspect_image_raw("nope:1")


async def test_volumes_shared_by_name_outlive_one_of_their_containers(lab: Lab) -> None:
    """Also where the container is removed with its volumes: only what was made for it goes."""
    volume = await lab.client.create_volume("a" * 64)
    mounts = [
        {"Type": "volume", "Source": volume.name, "Target": "/kept"},
        {"Type": "volume", "Target": "/own"},
    ]
    made = await lab.client.create("web", {"Image": IMAGE, "HostConfig": {"Mounts": mounts}})
    assert len(await lab.client.volumes()) == 2

    await lab.client.remove(made, force=True, volumes=True)

    assert [each.name for each in await lab.client.volumes()] == [volume.name]


async def test_a_name_goes_from_one_image_to_another(lab: Lab) -> None:
    await lab.image("shop:1", {"tier": "web"})
    await lab.image("shop:2", {"tier": "db", "number": "2"})
    one, two = [await lab.client.inspect_image(name) for name in ("shop:1", "shop:2")]

    await lab.client.tag_image(one.id, "shop:2")

    assert set((await lab.client.inspect_image(one.id)).tags) == {"shop:1", "shop:2"}
    assert (await lab.client.inspect_image(two.id)).tags == ()
    assert (await lab.client.inspect_image("shop:2")).id == one.id
    assert {image.id for image in await lab.client.images({"tier": ""})} == {one.id, two.id}
    assert {image.id for image in await lab.client.images({"tier": "", "number": "2"})} == {two.id}
    with pytest.raises(NotFound):
        await lab.client.tag_image("nope:1", "shop:3")
    await lab.client.remove_image(two.id)
    assert {image.id for image in await lab.client.images({"tier": ""})} == {one.id}
