"""The client's streams against the fake: events and archives that end, break, lag or are left
early."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dockmend.engine.api_versions import ApiVersion
from dockmend.engine.client import DockerEngine
from dockmend.engine.engine_queries import bounded
from dockmend.errors import EngineAway, Temporary
from tests.fakes.engine import FakeEngine
from tests.lab import eventually_async

from .raw import raw

# ------------------------------------------------------------------------------------------- events


async def test_events_without_a_time_begin_now_by_the_engines_clock(fake: FakeEngine) -> None:
    client = DockerEngine(fake.url, clock=lambda: 1_000.25)  # far behind the engine
    try:
        await client.connect()
        fake.add_volume("before")
        async with client.events():
            pass
        async with client.events(5_000_000_001):
            pass
        assert fake.log.since_asked[1] == "5.000000001"
        assert float(fake.log.since_asked[0] or 0) > 1_700_000_000
    finally:
        await client.close()


async def test_leaving_the_stream_gives_its_connection_back(
    fake: FakeEngine, client: DockerEngine
) -> None:
    async with client.events():
        await eventually_async(lambda: len(fake.log.subscriptions) == 1)
    assert [
        task.get_name() for task in asyncio.all_tasks() if task.get_name() == "engine events"
    ] == []
    await eventually_async(lambda: fake.log.subscriptions == set())
    with pytest.raises(LookupError):
        async with client.events():
            raise LookupError
    await eventually_async(lambda: fake.log.subscriptions == set())


async def test_the_socket_is_drained_while_nobody_takes_events(
    fake: FakeEngine, client: DockerEngine
) -> None:
    async with client.events() as stream:
        for number in range(50_000):
            fake.log.emit("volume", "create", f"v{number}", {"driver": "local"})
        fake.log.end_streams()
        await eventually_async(lambda: stream._ended)  # type: ignore[attr-defined]
        seen = 0
        while (batch := await stream.batch()) is not None:
            seen += len(batch.events)
    assert seen == 50_000


async def test_a_marker_whose_neighbours_step_back_in_time_is_found(
    fake: FakeEngine, client: DockerEngine
) -> None:
    async with client.events() as stream:
        marker = fake.log.emit("volume", "create", "one", {})
        fake.log.emit("volume", "create", "two", {}, time_ns=marker["timeNano"] - 6_000_000)
        batch = await stream.batch()
    assert batch is not None
    assert await client.marker_present(batch.events[0])


async def test_events_of_an_engine_that_is_away(fake: FakeEngine, client: DockerEngine) -> None:
    await client.connect()
    await fake.stop()
    with pytest.raises(EngineAway, match="no such socket"):
        async with client.events():
            pass


# ----------------------------------------------------------------------------------------- archives


async def test_an_archive_that_breaks_off_is_an_absence(tmp_path: Path) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: "
        b"chunked\r\n\r\n5\r\nhello\r\n"
    )
    async with raw(tmp_path / "s", head) as url:
        client = DockerEngine(url)
        client._transport.api_version = ApiVersion(1, 45)
        try:
            async with client.get_archive("helper", "/v") as chunks:
                assert await anext(chunks) == b"hello"
                with pytest.raises(EngineAway):
                    await anext(chunks)
        finally:
            await client.close()


async def test_the_consumers_own_error_stays_its_own(
    fake: FakeEngine, client: DockerEngine
) -> None:
    mounts = [{"Type": "volume", "Source": "data", "Target": "/v"}]
    fake.add_container("helper", start=False, HostConfig={"Mounts": mounts})
    with pytest.raises(OSError, match="disk full"):
        async with client.get_archive("helper", "/v"):
            raise OSError("disk full")


# ------------------------------------------------------------------------------------------ helpers


async def test_bounded_keeps_order_and_its_bound() -> None:
    running = most = 0

    async def work(item: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return item.upper()

    assert await bounded(work, list("abcdefgh"), 3) == list("ABCDEFGH")
    assert most == 3
    assert await bounded(work, [], 3) == []


async def test_bounded_raises_the_fault_itself_and_ends_the_rest() -> None:
    async def work(item: str) -> str:
        if item == "b":
            raise Temporary("b is busy")
        await asyncio.Event().wait()
        return item

    with pytest.raises(Temporary, match="b is busy"):
        await bounded(work, ["a", "b", "c"], 2)
