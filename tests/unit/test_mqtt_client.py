"""A connection to the broker that closes while it asks to write: nothing is written, and no fault is told."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from dockmend.tell.mqtt_client import Client


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
async def test_a_socket_that_closed_meanwhile_is_not_written_to(faults: list[dict[str, Any]], reused: bool):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context))
    one, other = socket.socketpair()
    client, paho, number = Client("broker.invalid"), Paho(one), one.fileno()
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
    client, paho = Client("broker.invalid"), Paho(one)
    client._on_socket_register_write(paho, None, one)
    await turn()
    assert paho.written > 0
    assert asyncio.get_running_loop().remove_writer(one.fileno())
    one.close()
    other.close()
