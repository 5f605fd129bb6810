"""A message upon which the broker hangs up holds up the others for a while, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from dockmend.settings.sections import Mqtt
from dockmend.tell.mqtt import HANG_UPS_MOST, MqttTeller

CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = 1, 3, 8, 10


class HangsUp:
    """A broker of one connection at a time. It hangs up upon a message that holds `poison`, and the
    first `deaf` times upon any but a retained one."""

    def __init__(self, poison: bytes = b"poison", deaf: int = 0) -> None:
        self.poison = poison
        self.deaf = deaf
        self.taken: list[bytes] = []
        self.news = asyncio.Event()
        self.hang_ups = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, flags, packet = await _packet(reader)
                if kind == CONNECT:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind in (SUBSCRIBE, UNSUBSCRIBE):
                    writer.write(
                        bytes([0x90, 3, *packet[:2], 0] if kind == 8 else [0xB0, 2, *packet[:2]])
                    )
                elif kind == PUBLISH and not self._takes(flags, packet, writer):
                    self.hang_ups += 1
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    def _takes(self, flags: int, packet: bytes, writer: asyncio.StreamWriter) -> bool:
        if self.deaf and not flags & 1:
            self.deaf -= 1
            return False
        if self.poison in packet:
            return False
        begin = 2 + int.from_bytes(packet[:2], "big")
        if flags & 6:
            writer.write(bytes([0x40, 2, *packet[begin : begin + 2]]))
            begin += 2
        self.taken.append(packet[begin:])
        self.news.set()
        return True

    async def took(self, *payloads: bytes) -> None:
        while not set(payloads) <= set(self.taken):
            await self.news.wait()
            self.news.clear()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first >> 4, first & 15, await reader.readexactly(length)


@asynccontextmanager
async def told_by(broker: HangsUp, dropped: list[int]) -> AsyncIterator[MqttTeller]:
    async with (
        asyncio.timeout(30),
        await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server,
    ):
        port = server.sockets[0].getsockname()[1]
        teller = MqttTeller(
            Mqtt(host="127.0.0.1", port=port),
            None,
            "nas",
            on_drop=dropped.append,
            backoff=(0.0, 0.0),
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(teller.run())
            yield teller
            task.cancel()


async def test_a_message_upon_which_the_broker_hangs_up_is_dropped_named_and_counted():
    broker = HangsUp()
    dropped: list[int] = []
    with structlog.testing.capture_logs() as logs:
        async with told_by(broker, dropped) as teller:
            for payload in ("one", "poison", "two", "three"):
                teller.publish(f"rules/{payload}", payload)
            await broker.took(b"one", b"two", b"three", b"online")
            teller.publish("rules/later", "four")
            await broker.took(b"four")
    assert (broker.hang_ups, dropped) == (HANG_UPS_MOST, [1])
    assert [
        (each["topic"], each["tries"]) for each in logs if each["id"] == "mqtt_message_refused"
    ] == [("rules/poison", HANG_UPS_MOST)]
    assert [each for each in broker.taken if each in {b"one", b"two", b"three"}][-2:] == [
        b"two",
        b"three",
    ]


async def test_a_broker_that_comes_and_goes_costs_no_message():
    broker = HangsUp(deaf=HANG_UPS_MOST - 1)
    dropped: list[int] = []
    async with told_by(broker, dropped) as teller:
        for number in range(3):
            teller.publish("rules/a", f"m{number}")
        await broker.took(b"m0", b"m1", b"m2")
    assert (broker.hang_ups, dropped) == (HANG_UPS_MOST - 1, [])
