"""What dockmend relies on from an engine, held against Docker Engine itself and against the fake."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from dockmend.engine.api import Engine, EventStream
from dockmend.engine.client import DockerEngine
from dockmend.errors import EngineAway, NotFound, Permanent, Temporary
from dockmend.model import HELPER_LABEL, Endpoint, Event
from tests.lab import eventually_async

from .labs import Lab


class Seen:
    """Collects a stream's events as they come."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.events: list[Event] = []

    async def until(self, wanted: Callable[[Event], bool], timeout: float = 20.0) -> Event:
        async with asyncio.timeout(timeout):
            while True:
                for event in self.events:
                    if wanted(event):
                        return event
                batch = await self.stream.batch()
                assert batch is not None, f"the stream ended after {[e.action for e in self.events]}"
                self.events += batch.events

    async def action(self, action: str, timeout: float = 20.0) -> Event:
        return await self.until(lambda event: event.type == "container" and event.action == action, timeout)

    def actions(self, kind: str = "container") -> list[str]:
        return [event.action for event in self.events if event.type == kind]


@asynccontextmanager
async def watching(lab: Lab) -> AsyncIterator[Seen]:
    async with lab.client.events() as stream:
        yield Seen(stream)


def as_the_rest_of_dockmend_sees_it(client: DockerEngine) -> Engine:
    """Never called: that this type-checks is the test."""
    return client


# -------------------------------------------------------------------------------------------------------------- looking


async def test_it_says_who_it_is_and_answers_pings(lab: Lab) -> None:
    info = await lab.client.connect()
    await lab.client.ping()
    assert info.id
    assert info.name
    assert info.version.startswith(("2", "3"))
    major, minor = (int(part) for part in info.api_version.split("."))
    assert (1, 40) <= (major, minor) <= (1, 47)


async def test_a_listing_holds_everything_inspected(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    running = await lab.run("web", network="shop", labels={"tier": "web"}, options=["--volume=data:/data"])
    created = await lab.run("later", start=False)
    listing = await lab.client.listing()
    assert {container.id: container.state for container in listing.containers} == {
        running: "running",
        created: "created",
    }
    assert "shop" in {network.name for network in listing.networks}
    assert "data" in {volume.name for volume in listing.volumes}
    assert listing.began_at <= listing.ended_at
    for container in listing.containers:
        assert container == await lab.client.inspect(container.name)


async def test_an_inspect_of_a_running_container(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    options = ["--restart=always", "--stop-timeout=33", "--stop-signal=SIGQUIT", "--volume=data:/data"]
    identity = await lab.run("web", network="shop", labels={"tier": "web"}, health=True, options=options)
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
    assert (seen.mounts[0].kind, seen.mounts[0].name, seen.mounts[0].destination) == ("volume", "data", "/data")
    endpoint = seen.networks["shop"]
    assert endpoint.network_id == (await lab.client.inspect_network("shop")).id
    assert endpoint.address
    assert endpoint.mac is None  # made from the address, not configured
    assert endpoint.aliases == ()
    assert seen.error == ""


async def test_a_configured_mac_address_is_told_from_one_the_engine_made(lab: Lab) -> None:
    await lab.network("shop", "10.91.0.0/24")
    await lab.run("web", network="shop", options=["--mac-address=02:11:22:33:44:55"])
    await lab.client.connect_network("bridge", "web", Endpoint(network_id=""))
    seen = await lab.client.inspect("web")
    assert seen.networks["shop"].mac == "02:11:22:33:44:55"
    assert seen.networks["bridge"].mac is None
    await lab.client.stop("web", timeout=5)
    seen = await lab.client.inspect("web")
    assert seen.networks["shop"].mac == "02:11:22:33:44:55"
    assert seen.networks["bridge"].mac is None


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
    await lab.run("willing", image="steering:latest", labels={"dockmend.heal": "yes", "dockmend.ignore": "true"})
    dragged, willing = await lab.client.inspect("dragged"), await lab.client.inspect("willing")
    assert dragged.image_steering == ("autoheal", "dockmend.heal")
    assert dragged.label("dockmend.heal") is None
    assert dragged.label("tier") == "web"
    assert willing.image_steering == ("autoheal",)
    assert willing.label("dockmend.heal") == "yes"
    lab.client.trusted = lambda image: image == "steering:latest"
    assert (await lab.client.inspect("dragged")).image_steering == ()


async def test_helpers_are_found_by_their_label(lab: Lab) -> None:
    await lab.run("app")
    helper = await lab.client.create(None, {"Image": "toolbox:latest", "Labels": {HELPER_LABEL: "i-1"}})
    assert [container.id for container in await lab.client.helpers()] == [helper]
    await lab.client.remove(helper, force=True, volumes=True)
    assert await lab.client.helpers() == ()


# --------------------------------------------------------------------------------------------------------------- events


async def test_the_events_of_a_restart(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.restart("web", timeout=5)
        last = await seen.action("restart")
    assert sorted(seen.actions()[:3]) == ["die", "kill", "stop"]
    assert seen.actions()[0] == "kill"
    assert seen.actions()[3:] == ["start", "restart"]
    assert (last.name, last.scope) == ("web", "local")
    assert last.time_ns > 10**18


async def test_the_events_of_a_stop(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.stop("web", timeout=5)
        await seen.action("stop")
        await seen.action("die")
    assert seen.actions()[0] == "kill"
    assert sorted(seen.actions()) == ["die", "kill", "stop"]


async def test_the_events_of_a_kill(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.kill("web", "SIGKILL")
        await seen.action("die")
    assert seen.actions() == ["kill", "die"]
    assert seen.events[0].actor.Attributes["signal"] == "9"
    assert (await lab.client.inspect("web")).exit_code == 137


async def test_the_events_of_a_crash(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.crash("web")
        await seen.action("die")
    assert seen.actions() == ["die"]


async def test_pause_and_unpause(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.pause("web")
        assert (await lab.client.inspect("web")).state == "paused"
        await lab.client.unpause("web")
        await seen.action("unpause")
    assert seen.actions() == ["pause", "unpause"]
    assert (await lab.client.inspect("web")).state == "running"


async def test_no_exec_event_passes_while_health_and_all_others_do(lab: Lab) -> None:
    await lab.run("web", health=True)
    async with watching(lab) as seen:
        await lab.exec_noise("web", 5)
        await lab.sicken("web")
        await seen.action("health_status: unhealthy")
        await lab.client.kill("web", "SIGKILL")
        await seen.action("die")
        await lab.client.remove("web")
        await seen.action("destroy")
    assert not [action for action in seen.actions() if action.startswith("exec")]
    assert {"health_status: unhealthy", "kill", "die", "destroy"} <= set(seen.actions())


async def test_networks_and_volumes_have_events(lab: Lab) -> None:
    async with watching(lab) as seen:
        await lab.network("shop", "10.91.0.0/24")
        await lab.client.create_volume("kept", labels={"a": "b"})
        await lab.client.remove_volume("kept")
        await seen.until(lambda event: (event.type, event.action) == ("volume", "destroy"))
    assert seen.actions("network") == ["create"]
    assert seen.actions("volume") == ["create", "destroy"]


async def test_since_is_inclusive_and_the_marker_is_found_until_the_ring_forgets_it(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.restart("web", timeout=5)
        marker = await seen.action("die")
        last = await seen.action("restart")
    assert await lab.client.marker_present(marker)
    assert await lab.client.marker_present(last)
    other = Event(type="container", action="die", actor=marker.actor, time_ns=marker.time_ns + 1)
    assert not await lab.client.marker_present(other)
    async with lab.client.events(marker.time_ns) as stream:
        again = Seen(stream)
        await again.action("restart")
    assert marker in again.events
    assert [event.key for event in again.events] == [
        event.key for event in seen.events if event.time_ns >= marker.time_ns
    ]
    for number in range(90):  # three events each: more than the 256 the ring holds
        await lab.client.create_volume(f"noise-{number}")
        await lab.client.remove_volume(f"noise-{number}")
        await lab.client.create_volume(f"noise-{number}")
    assert not await lab.client.marker_present(marker)


@pytest.mark.parametrize("how", ["terminated", "killed"])
async def test_the_end_of_the_engine_ends_the_stream_and_is_an_absence(mortal_lab: Lab, how: str) -> None:
    lab = mortal_lab
    async with watching(lab) as seen:
        await lab.client.create_volume("kept")
        await seen.until(lambda event: event.action == "create")
        marker = seen.events[-1]
        await (lab.stop_engine() if how == "terminated" else lab.kill_engine())
        async with asyncio.timeout(20):
            while await seen.stream.batch() is not None:
                pass
        assert await seen.stream.batch() is None  # the end stays the end
    with pytest.raises(EngineAway):
        await lab.client.ping()
    with pytest.raises(EngineAway):
        await lab.client.listing()
    await lab.start_engine()
    info = await lab.client.connect()
    assert info.api_version
    assert not await lab.client.marker_present(marker)
    assert "kept" in {volume.name for volume in await lab.client.volumes()}


async def test_an_engine_that_hangs_ends_no_stream_but_answers_no_ping(mortal_lab: Lab) -> None:
    lab = mortal_lab
    async with watching(lab) as seen:
        await lab.freeze_engine()
        try:
            with pytest.raises(Temporary, match="did not answer in time") as caught:
                await lab.client.ping(timeout=0.3)
            assert not isinstance(caught.value, EngineAway)
        finally:
            await lab.thaw_engine()
        await lab.client.ping()
        await lab.client.create_volume("after")
        await seen.until(lambda event: (event.type, event.action) == ("volume", "create"))


# --------------------------------------------------------------------------------------------------------------- errors


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
    for call in (client.unpause("web"), client.remove("web"), client.create("web", {"Image": "toolbox:latest"})):
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


async def test_a_start_without_its_network_is_permanent_but_the_container_is_there(lab: Lab) -> None:
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


# ------------------------------------------------------------------------------------------------------------- networks


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
    assert (first.aliases, first.ipv4, first.address) == (wanted.aliases, "10.91.0.77", "10.91.0.77")
    assert (first.links, first.driver_opts) == (wanted.links, wanted.driver_opts)
    assert first.mac in (None, wanted.mac)  # engines before 29.3 ignore it: moby issue 48192
    await lab.client.disconnect_network("shop", "web")
    assert "shop" not in (await lab.client.inspect("web")).networks
    await lab.client.connect_network("shop", "web", first)
    assert (await lab.client.inspect("web")).networks["shop"] == first


# -------------------------------------------------------------------------------------------------- images and archives


async def test_a_commit_carries_its_labels_and_leaves_the_container_running(lab: Lab) -> None:
    await lab.run("web", labels={"tier": "web"})
    tricky = 'a "quoted" $value \\ with\nlines=and LABEL x=y'
    async with watching(lab) as seen:
        identity = await lab.client.commit(
            "web", "kept", "one", message="why", author="dockmend", labels={"dockmend.rule": tricky}
        )
        await seen.action("unpause")
    assert seen.actions() == ["pause", "commit", "unpause"]
    image = await lab.client.inspect_image("kept:one")
    assert (image.id, image.tags) == (identity, ("kept:one",))
    assert image.labels == {"tier": "web", "dockmend.rule": tricky}
    assert [found.id for found in await lab.client.images({"dockmend.rule": tricky})] == [identity]
    assert await lab.client.images({"dockmend.rule": "other"}) == ()
    assert (await lab.client.inspect("web")).state == "running"
    assert (await lab.client.inspect_raw("web"))["Config"]["Labels"] == {"tier": "web"}
    await lab.client.remove_image("kept:one")
    with pytest.raises(NotFound):
        await lab.client.inspect_image("kept:one")


async def test_a_volume_is_read_and_written_through_a_helper_that_never_starts(lab: Lab) -> None:
    client = lab.client
    await client.import_empty_image("dockmend-empty:latest")
    await client.create_volume("from", labels={"a": "b"})
    await client.create_volume("to")
    assert (await client.inspect_volume("from")).labels == {"a": "b"}
    content = _tar({"v/hello": b"hello\n" * 100_000, "v/folder/deep": b"deep"})
    await client.put_archive(await _helper(lab, "from"), "/", _pieces(content))
    async with client.get_archive(await _helper(lab, "from", "reader"), "/v") as chunks:
        archive = b"".join([chunk async for chunk in chunks])
    assert archive.endswith(bytes(1024))
    target = await _helper(lab, "to", "writer")
    await client.put_archive(target, "/", _pieces(archive))
    async with client.get_archive(target, "/v") as chunks:
        again = b"".join([chunk async for chunk in chunks])
    assert _files(again) == {"v/hello": b"hello\n" * 100_000, "v/folder/deep": b"deep"}
    assert {container.state for container in await client.helpers()} == {"created"}


async def test_an_archive_that_is_left_early_holds_nothing(lab: Lab) -> None:
    await lab.client.create_volume("from")
    helper = await _helper(lab, "from")
    await lab.client.put_archive(helper, "/", _pieces(_tar({"v/big": bytes(3_000_000)})))
    async with lab.client.get_archive(helper, "/v") as chunks:
        assert await anext(chunks)
    async with asyncio.timeout(10):
        await lab.client.remove(helper, force=True)
    with pytest.raises(NotFound):
        await lab.client.inspect(helper)


async def test_an_archive_of_what_is_not_there(lab: Lab) -> None:
    helper = await _helper(lab, "from")
    with pytest.raises(NotFound):
        async with lab.client.get_archive(helper, "/nowhere"):
            pass
    with pytest.raises(NotFound):
        await lab.client.put_archive("nope", "/", _pieces(_tar({})))


async def test_a_body_that_breaks_comes_out_as_itself(lab: Lab) -> None:
    helper = await _helper(lab, "to")

    async def broken() -> AsyncIterator[bytes]:
        yield _tar({"v/some": b"x" * 100})[:512]
        raise LookupError("the disk")

    with pytest.raises(LookupError, match="the disk"):
        await lab.client.put_archive(helper, "/", broken())
    await lab.client.ping()


async def _helper(lab: Lab, volume: str, label: str = "i-1") -> str:
    mounts = [{"Type": "volume", "Source": volume, "Target": "/v"}]
    body = {"Image": "toolbox:latest", "Cmd": ["-"], "Labels": {HELPER_LABEL: label}, "NetworkDisabled": True}
    return await lab.client.create(None, {**body, "HostConfig": {"Mounts": mounts}})


async def _state(lab: Lab, name: str, wanted: str) -> bool:
    return (await lab.client.inspect(name)).state == wanted


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def _tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry)) is not None}
