"""What the stream says of what happens, held against Docker Engine itself and against the fake."""

from __future__ import annotations

import asyncio

import pytest

from dockmend.errors import EngineAway, Temporary
from dockmend.model import Event

from .labs import Lab
from .watching import Seen, watching


async def test_the_events_of_a_restart(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.restart("web", timeout=60)
        last = await seen.action("restart")
    assert sorted(seen.actions()[:3]) == ["die", "kill", "stop"]
    assert seen.actions()[0] == "kill"
    assert seen.actions()[3:] == ["start", "restart"]
    assert (last.name, last.scope) == ("web", "local")
    assert last.time_ns > 10**18


async def test_the_events_of_a_stop(lab: Lab) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.stop("web", timeout=60)
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


async def test_since_is_inclusive_and_the_marker_is_found_until_the_ring_forgets_it(
    lab: Lab,
) -> None:
    await lab.run("web")
    async with watching(lab) as seen:
        await lab.client.restart("web", timeout=60)
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
async def test_the_end_of_the_engine_ends_the_stream_and_is_an_absence(
    mortal_lab: Lab, how: str
) -> None:
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


async def test_what_the_ring_holds_from_a_time_on(lab: Lab) -> None:
    async with watching(lab) as seen:
        await lab.client.create_volume("one")
        await lab.client.create_volume("two")
        await seen.until(lambda event: event.actor.ID == "two")
    past = await lab.client.past(seen.events[0].time_ns)
    assert [event.key for event in past.events] == [event.key for event in seen.events]
    assert past.malformed == 0
    assert (await lab.client.past(seen.events[-1].time_ns + 1)).events == []
