"""Who the engine is and what is on it, held against Docker Engine itself and against the fake."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dockmend.engine.client import DockerEngine
from dockmend.engine.engine_api import PODMAN, Engine
from dockmend.errors import NotFound, Temporary
from dockmend.model import Endpoint
from tests.lab import eventually_async

from .labs import Lab, PodmanLab


def as_the_rest_of_dockmend_sees_it(client: DockerEngine) -> Engine:
    """Never called: that this type-checks is the test."""
    return client


async def test_it_says_who_it_is_and_answers_pings(lab: Lab) -> None:
    info = await lab.client.connect()
    await lab.client.ping()
    assert info.id
    assert info.name
    assert (info.product == PODMAN) == isinstance(lab, PodmanLab)
    assert info.version.startswith(("4", "5", "6") if info.product == PODMAN else ("2", "3"))
    major, minor = (int(part) for part in info.api_version.split("."))
    assert (1, 40) <= (major, minor) <= (1, 48)


async def test_a_listing_holds_everything_inspected(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    running = await lab.run(
        "web", network="shop", labels={"tier": "web"}, options=["--volume=data:/data"]
    )
    created = await lab.run("later", start=False)
    listing = await lab.client.listing()
    assert {container.id: container.state for container in listing.containers} == {
        running: "running",
        created: "created",
    }
    assert "shop" in {network.name for network in listing.networks}
    assert "data" in {volume.name for volume in listing.volumes}
    assert listing.began_at <= listing.ended_at
    for container in listing.containers:  # whether one that runs was signalled, only a list tells
        assert replace(container, signalled=None) == await lab.client.inspect(container.name)


async def test_only_what_is_meant_is_looked_at(lab: Lab) -> None:
    """The engine takes any beginning of an id, and an id for a name."""
    other = await lab.run("web", start=False)
    gone = "ab" * 32
    named = await lab.run(gone, start=False)
    assert (await lab.client.inspect(other[:12])).id == other
    assert (await lab.client.inspect(named)).name == gone
    for reference in (other[:8], gone):
        with pytest.raises(NotFound):
            await lab.client.inspect(reference)
        with pytest.raises(NotFound):
            await lab.client.inspect_raw(reference)


async def test_only_the_network_that_is_meant_is_looked_at(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    network = (await lab.client.inspect_network("shop")).id
    assert (await lab.client.inspect_network(network)).name == "shop"
    with pytest.raises(NotFound):
        await lab.client.inspect_network(network[:8])
    web = await lab.run("web", network="shop", start=False)
    with pytest.raises(NotFound):
        await lab.client.disconnect_network(network[:8], web, force=True)
    with pytest.raises(NotFound):
        await lab.client.connect_network(network[:8], web, Endpoint(network_id=""))
    assert set((await lab.client.inspect(web)).networks) == {"shop"}
    await lab.client.disconnect_network("shop", web)
    assert not (await lab.client.inspect(web)).networks


async def test_only_the_image_that_is_meant_is_looked_at(lab: Lab) -> None:
    await lab.image("shop:1", {})
    image = (await lab.client.inspect_image("shop:1")).id
    digits = image.removeprefix("sha256:")
    assert (await lab.client.inspect_image(digits)).id == image
    assert (await lab.client.inspect_image(digits[:12])).id == image
    for look in (lab.client.inspect_image, lab.client.inspect_image_raw):
        with pytest.raises(NotFound):
            await look(digits[:6])
    await lab.client.tag_image(image, f"{digits[:6]}:latest")
    assert (await lab.client.inspect_image(digits[:6])).id == image


async def test_an_inspect_of_a_running_container(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    options = [
        "--restart=always",
        "--stop-timeout=33",
        "--stop-signal=SIGQUIT",
        "--volume=data:/data",
    ]
    identity = await lab.run(
        "web", network="shop", labels={"tier": "web"}, health=True, options=options
    )
    seen = await lab.client.inspect("web")
    assert (seen.id, seen.name, seen.image) == (identity, "web", "toolbox:latest")
    assert seen.image_id.startswith("sha256:")
    assert seen.labels == {"tier": "web"}
    assert (seen.state, seen.health, seen.running) == ("running", "healthy", True)
    assert seen.exit_code is None
    assert seen.finished_at == 0.0
    assert 0 < seen.created_at <= seen.started_at
    assert (seen.restart_policy, seen.stop_timeout, seen.stop_signal) == ("always", 33.0, "SIGQUIT")
    assert seen.check is not None
    assert seen.check.interval == pytest.approx(0.2)
    assert seen.check.timeout == pytest.approx(2.0)
    assert seen.check.retries == 1
    assert (seen.mounts[0].kind, seen.mounts[0].name, seen.mounts[0].destination) == (
        "volume",
        "data",
        "/data",
    )
    endpoint = seen.networks["shop"]
    assert endpoint.network_id == (await lab.client.inspect_network("shop")).id
    assert endpoint.address
    assert endpoint.mac == ""  # the one in use is the engine's, not configured
    assert endpoint.mac_in_use
    assert endpoint.aliases == ()
    assert seen.error == ""


async def test_a_configured_mac_address_is_told_from_one_the_engine_made(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    await lab.run("web", network="shop", options=["--mac-address=02:11:22:33:44:55"])
    await lab.client.connect_network("bridge", "web", Endpoint(network_id=""))
    seen = await lab.client.inspect("web")
    assert seen.networks["shop"].mac == seen.networks["shop"].mac_in_use == "02:11:22:33:44:55"
    assert not seen.networks["bridge"].mac
    assert seen.networks["bridge"].mac_in_use
    await lab.client.stop("web", timeout=5)
    seen = await lab.client.inspect("web")
    assert (seen.networks["shop"].mac, seen.networks["shop"].mac_in_use) == (
        "02:11:22:33:44:55",
        "",
    )
    assert (bool(seen.networks["bridge"].mac), seen.networks["bridge"].mac_in_use) == (False, "")


async def test_an_exit_code_is_there_once_it_has_ended(lab: Lab) -> None:
    await lab.run("web")
    await lab.run("later", start=False)
    await lab.crash("web")
    await eventually_async(lambda: _state(lab, "web", "exited"))
    seen = await lab.client.inspect("web")
    assert seen.exit_code == 7
    assert seen.finished_at >= seen.started_at
    assert not seen.networks["bridge"].address
    assert (await lab.client.inspect("later")).exit_code is None


async def test_labels_of_the_image_are_told_from_the_owners(lab: Lab) -> None:
    await lab.image("steering:latest", {"dockmend.heal": "true", "autoheal": "true", "tier": "web"})
    await lab.run("dragged", image="steering:latest")
    await lab.run(
        "willing",
        image="steering:latest",
        labels={"dockmend.heal": "yes", "dockmend.ignore": "true"},
    )
    dragged, willing = await lab.client.inspect("dragged"), await lab.client.inspect("willing")
    assert dragged.labels == {}
    assert dragged.image_labels == {"dockmend.heal": "true", "autoheal": "true", "tier": "web"}
    assert willing.labels == {"dockmend.heal": "yes", "dockmend.ignore": "true"}
    assert willing.image_labels == {"autoheal": "true", "tier": "web"}
    listing = await lab.client.listing()
    assert {each.id: each.labels for each in listing.containers}[willing.id] == willing.labels
    lab.client.trusted = lambda image: image == "steering:latest"
    assert (await lab.client.inspect("dragged")).labels == dragged.image_labels


async def _state(lab: Lab, name: str, wanted: str) -> bool:
    return (await lab.client.inspect(name)).state == wanted


async def freeze(lab: Lab, name: str) -> None:
    """runc does not freeze a container in which a health probe is just beginning, and says so
    (cgroup v1)."""

    async def frozen() -> bool:
        try:
            await lab.client.pause(name)
        except Temporary:
            return False
        return True

    await eventually_async(frozen)


async def test_a_pause_is_no_verdict_of_a_health_check(lab: Lab) -> None:
    """Docker calls a check unhealthy that it stopped, without an event, until it has run again."""
    await lab.run("web", health=True)
    await freeze(lab, "web")
    paused = await lab.client.inspect("web")
    await lab.client.unpause("web")
    assert paused.health in ("starting", "healthy")  # Podman's checks go on
    assert (await lab.client.inspect("web")).health in ("starting", "healthy")
    await lab.run("sick", health=True)
    await lab.sicken("sick")

    async def is_unhealthy() -> bool:
        return (await lab.client.inspect("sick")).health == "unhealthy"

    await eventually_async(is_unhealthy)
    await freeze(lab, "sick")
    assert (await lab.client.inspect("sick")).health == "unhealthy"
