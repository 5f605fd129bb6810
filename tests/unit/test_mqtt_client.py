"""Faults of the MQTT library: a connection that closes while it asks to write, an answer that meets
a cancellation, a connection that nobody closes, one that ends as it begins."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from dockmend.tell.mqtt_client import MqttClient


class Paho:
    """What the client is asked in the loop's next round."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.written = 0

    def socket(self) -> socket.socket | None:
        return self.sock if self.sock.fileno() >= 0 else None

    def loop_write(self) -> None:
        self.written += 1


async def turn() -> None:
    """One round of the loop, and what became ready in it."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
def faults() -> list[dict[str, Any]]:
    return []


@pytest.mark.parametrize("reused", [False, True], ids=["closed", "its number is another's"])
async def test_a_socket_that_closed_meanwhile_is_not_written_to(
    faults: list[dict[str, Any]], reused: bool
):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    one, other = socket.socketpair()
    client, paho, number = MqttClient("broker.invalid"), Paho(one), one.fileno()
    client._on_socket_register_write(paho, None, one)
    one.close()
    if reused:
        os.dup2(other.fileno(), number)
    await turn()
    assert (faults, paho.written) == ([], 0)
    assert not loop.remove_writer(number)
    other.close()
    if reused:
        os.close(number)


async def test_a_socket_that_is_open_is_written_to():
    one, other = socket.socketpair()
    client, paho = MqttClient("broker.invalid"), Paho(one)
    client._on_socket_register_write(paho, None, one)
    await turn()
    assert paho.written > 0
    assert asyncio.get_running_loop().remove_writer(one.fileno())
    one.close()
    other.close()


async def test_who_is_cancelled_as_the_broker_answers_is_cancelled():
    client, answer = MqttClient("broker.invalid"), asyncio.get_running_loop().create_future()
    waiting = asyncio.get_running_loop().create_task(client._wait_for(answer, timeout=30))
    await turn()
    answer.set_result("granted")
    waiting.cancel()
    await asyncio.wait([waiting], timeout=30)
    assert waiting.cancelled()


async def test_a_broker_that_does_not_answer_in_time_is_an_error():
    client = MqttClient("broker.invalid")
    with pytest.raises(aiomqtt.MqttError, match="timed out"):
        await client._wait_for(asyncio.get_running_loop().create_future(), timeout=0.01)


@pytest.mark.parametrize("which", ["subscribe", "unsubscribe"])
async def test_an_answer_for_which_nobody_waits_any_more_is_no_fault(
    which: str, caplog: pytest.LogCaptureFixture
):
    """It was given up as the connection ended, and the broker is late (campaign, seed 2103)."""
    client = MqttClient("broker.invalid")
    getattr(client._client, f"on_{which}")(client._client, None, 79, [])
    assert caplog.records == []


async def test_an_answer_that_is_waited_for_is_heard():
    client = MqttClient("broker.invalid")
    paho: Any = client._client
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    left = asyncio.Event()
    client._pending_subscribes[1], client._pending_unsubscribes[2] = answered, left
    paho.on_subscribe(paho, None, 1, ["granted"])
    paho.on_unsubscribe(paho, None, 2, [])
    assert (answered.result(), left.is_set()) == (["granted"], True)


CONNACK = b"\x20\x02\x00\x00"
NO_TOPIC = b"\x30\x0b\x00\x05a/+/bbody"
"""A message to a topic with a wildcard, which the library cannot read: it would try again for
ever."""


@asynccontextmanager
async def broker(*says: bytes) -> AsyncIterator[int]:
    """Says this to each client, whatever it hears, and never hangs up; its port."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(says))
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        gone.set()


async def test_a_message_that_cannot_be_read_ends_the_connection_for_good():
    """Else the loop has a reader of a socket that nobody reads from, and is busy with it for
    ever."""

    async def listen(client: MqttClient) -> None:
        async with client:
            async for _ in client.messages:
                pass

    async with broker(CONNACK, NO_TOPIC) as port:
        client = MqttClient("127.0.0.1", port, timeout=60)
        with pytest.raises(aiomqtt.MqttError):
            await listen(client)
        assert client._client.socket() is None


async def test_a_broker_that_does_not_greet_is_left():
    async with broker() as port:
        client = MqttClient("127.0.0.1", port, timeout=0.05)
        with pytest.raises(aiomqtt.MqttError, match="timed out"):
            await client.__aenter__()
        assert client._client.socket() is None


def message(number: int, size: int, qos: int, sent: int | None = None) -> bytes:
    """A message of so many bytes, of which so many were sent."""
    rest = b"\x00\x01a" + (number.to_bytes(2, "big") if qos else b"") + b"x" * size
    length, left = b"", len(rest)
    while left or not length:
        length, left = length + bytes([left % 128 | (0x80 if left > 127 else 0)]), left // 128
    return bytes([0x30 | qos << 1]) + length + rest[:sent]


async def heard(client: MqttClient, most: int) -> int:
    """How many bytes of messages were heard until the connection ended, or so many messages
    were."""
    found = 0
    async with client:
        async for each in client.messages:
            found, most = found + len(bytes(each.payload)), most - 1
            if not most:
                break
    return found


async def test_a_message_of_any_ordinary_size_is_heard():
    async with broker(CONNACK, message(1, 900_000, 0), message(2, 1, 1)) as port:
        assert await heard(MqttClient("127.0.0.1", port, timeout=60), 2) == 900_001


@pytest.mark.parametrize(
    "floods",
    [
        [message(1, 200_000_000, 0, sent=100)],
        [message(1, 2_000_000, 0)],
        [message(number, 1000, 2) for number in range(1, 3000)],
    ],
    ids=[
        "a message that would fill the memory",
        "one that is too large",
        "messages that stay to be confirmed",
    ],
)
async def test_a_broker_that_sends_more_than_can_have_been_asked_for_is_left(floods: list[bytes]):
    async with broker(CONNACK, *floods) as port:
        client = MqttClient("127.0.0.1", port, timeout=60)
        with pytest.raises(aiomqtt.MqttError) as caught:
            await heard(client, 10_000)
        assert "the broker sends" in str(caught.value.__cause__ or caught.value)
        assert client._client.socket() is None
        assert len(client._client._in_messages) <= 65


@pytest.mark.parametrize(
    "then",
    [message(1, 2_000_000, 0), NO_TOPIC, None],
    ids=["it sends too much", "it sends what cannot be read", "it hangs up"],
)
async def test_a_connection_that_ends_as_it_begins_is_an_error(then: bytes | None):
    """The library connects in a thread: the loop may read the greeting and see the end before the
    client runs on. Else who listens waits for ever."""
    ended = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CONNACK + (then or b""))
        if then is None:
            writer.close()
        await asyncio.wait([client._disconnected])
        ended.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = MqttClient("127.0.0.1", server.sockets[0].getsockname()[1], timeout=60)
        connect = client._client_connect

        def connect_and_wait() -> None:
            connect()
            ended.wait()

        client._client_connect = connect_and_wait  # type: ignore[method-assign]
        with pytest.raises(aiomqtt.MqttError, match="ended as it began") as caught:
            async with client:
                pass
        assert caught.value.__cause__ is not None
        assert client._client.socket() is None


async def test_a_broker_that_reads_no_answers_is_left():
    client = MqttClient("broker.invalid")
    paho: Any = client._client
    paho._out_packet.extend([{}] * 2000)
    with pytest.raises(ConnectionError, match="confirmed"):
        paho._sock_recv(1)
