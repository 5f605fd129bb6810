"""A slice of `make fuzz`: mutated inputs for each reader, and raw bytes for what speaks a
protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from dockmend.cancelling import end_all
from dockmend.settings.parsed_values import Address
from dockmend.settings.sections import HttpSettings, Mqtt
from dockmend.tell import mqtt
from dockmend.tell.mqtt import MqttTeller
from dockmend.web.http_server import WebServer
from dockmend.web.tokens import Tokens
from tests.lab import eventually_async
from tests.unit.test_web import Fake

from .__main__ import fuzz as mutated
from .mutator import Mutator
from .readers import READERS, Reader, read_events, read_inspect, read_known

pytestmark = pytest.mark.campaign
CONNACK = b"\x20\x02\x00\x00"
PACKETS = [
    b"\x30\x0d\x00\x05a/b/cpayload", b"\x32\x0b\x00\x03a/b\x00\x01body", b"\x40\x02\x00\x01",
    b"\x90\x03\x00\x01\x00", b"\xd0\x00", b"\xb0\x02\x00\x01", b"\x20\x02\x00\x05",
    b"\x30\xff\xff\xff\x7f", b"\x30\xff\xff\xff\xff\xff",
    b"\x31\x0e\x00\x0cdockmend/+/#x", b"\x62\x02\x00\x01", b"\x50\x02\x00\x01", b"\xe0\x00",
    b"\xf0\x00",
]  # fmt: skip
HTTP = [
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /api/incidents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{}{}",
    (
        b"GET /api/incidents?limit=10&since=1d HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer "
        b"x\r\n\r\n"
    ),
    (
        b"GET /api/incidents/i1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
        b"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_mutated_inputs(reader: Reader, campaign_seed: int, request: pytest.FixtureRequest) -> None:
    examples = int(request.config.getoption("--campaign-examples"))
    assert mutated(reader, max(50, examples * reader.share // 60_000), campaign_seed) == []


async def test_a_hostile_broker(campaign_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says after its greeting, or in place of it, the teller stays and tries again."""
    monkeypatch.setattr(mqtt, "PATIENCE", 0.5)  # each greeting that is none takes all of it
    mutator, dice = Mutator(campaign_seed, PACKETS), random.Random(campaign_seed)
    greeted, up = 0, 0
    serving: set[asyncio.Task[None] | None] = set()

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += 1
        serving.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError):
                await reader.read(1000)
                if dice.random() < 0.8:
                    writer.write(CONNACK)
                for _ in range(dice.randint(1, 20)):
                    writer.write(mutator.next())
                await writer.drain()
        finally:
            writer.close()

    def state(connected: bool, why: str) -> None:
        nonlocal up
        up += connected

    async with await asyncio.start_server(broker, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = Mqtt.model_validate({"host": "127.0.0.1", "port": port})
        teller = MqttTeller(
            settings, None, "host1", on_state=state, backoff=(0.001, 0.002), settle=0.0
        )
        task = asyncio.Task(teller.run())
        await eventually_async(
            lambda: greeted >= 150 or task.done(), 120, what="it came back 150 times"
        )
        assert not task.done()
        assert up > 0
        # as dockmend ends it: a connection that breaks may hide the first cancellation
        await end_all([task])
    # the client is gone, so each of them ends
    await asyncio.gather(*(each for each in serving if each is not None))


async def test_raw_bytes_over_http(campaign_seed: int) -> None:
    """Whatever was sent, the next asker is answered."""
    mutator = Mutator(campaign_seed, HTTP)
    http = HttpSettings.model_construct(listen=Address("127.0.0.1", 0), metrics_listen=None)
    server = WebServer(http, Fake(), Tokens())
    task = asyncio.Task(server.run())
    await eventually_async(lambda: server.addresses or task.done())
    try:
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
            with contextlib.suppress(OSError):
                writer.write(mutator.next())
                await writer.drain()
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
        writer.write(HTTP[0])
        assert b"200" in await reader.readline()
        writer.close()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


DEEP, LARGE = b"[" * 100_000, 2**64
FOUND = {
    "an inspect answer nested beyond measure": (read_inspect, b'{"Id": "a", "Mounts": ' + DEEP),
    "an exit code that no journal holds": (
        read_inspect,
        b'{"Id": "a", "State": {"Status": "exited", "StartedAt": "2026-01-01T00:00:00Z", '
        b'"ExitCode": %d}}' % LARGE,
    ),
    "an event of a time that no journal holds": (
        read_events,
        b'{"Type": "container", "Action": "die", "Actor": {"ID": "a"}, "timeNano": %d}' % LARGE,
    ),
    "last known state that is no text": (read_known,
        b"\x82\xa7time_ns\x01\xa4type\xa9\xa7cone18oryaa4taijer"),
}  # fmt: skip


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    reader, data = FOUND[found]
    reader(data)
