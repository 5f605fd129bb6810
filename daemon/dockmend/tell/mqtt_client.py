"""aiomqtt's client, without six faults of its own (aiomqtt 2.5.1).

Where it wants to write, it asks for that in the loop's next round (`_on_socket_register_write`). By
then the connection may be closed, and its number be another connection's: the loop would raise, or
call a writer that has nothing to write for as long as that other connection can be written to.

It waits by `asyncio.wait_for`, which up to Python 3.11 forgets that it was cancelled where what it
waits for comes in the same moment: who cancelled it would wait for ever.

A broker that answers a subscription after nobody waits for that any more is logged with a
traceback.

It leaves the socket open after an error of its own: if the broker does not greet, or sends a
message that cannot be read, such as one to `a/+/b`. The loop then goes on calling the reader of a
connection that nobody uses, at every round and for ever: one such message costs a whole core.

It takes messages of up to 256 MiB, and as many as the broker sends: those that are to be confirmed
are kept until the broker says that they may go, and so are the answers to them until the broker
reads them.

It forgets a connection that ended between the broker's greeting and the moment in which
`__aenter__` runs on, as it takes that end for the one of an earlier connection: who waits for
messages afterwards waits for ever.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

import aiomqtt

T = TypeVar("T")

LARGEST_INCOMING = 1024 * 1024
"""Bytes of one message of the broker's: what dockmend asks for is what it told the broker
itself."""
UNCONFIRMED_MOST = 64
"""Messages that wait for the broker's word: dockmend asks for none that are to be confirmed."""
UNREAD_MOST = 1024
"""Packets that the broker has not read yet: dockmend has but a few on their way at once."""


class MqttClient(aiomqtt.Client):
    """As aiomqtt.Client. However it is left, its socket is closed. It leaves a broker that sends
    more than dockmend can have asked for. It serves one connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read = self._client._sock_recv  # noqa: SLF001 - there is no public way to bound what is read
        self._client._sock_recv = self._read_some  # type: ignore[method-assign]  # noqa: SLF001

    @property
    def hung_up(self) -> bool:
        """Whether the connection ended, and not as dockmend asked for that."""
        end = self._disconnected
        return end.done() and not end.cancelled() and end.exception() is not None

    def _read_some(self, bufsize: int) -> bytes:
        """What the library reads by. Raises ConnectionError, upon which it closes the
        connection."""
        if (why := self._too_much()) is not None:
            if self._connected.done() and not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttError(why))
            raise ConnectionError(why)
        return self._read(bufsize)

    def _too_much(self) -> str | None:
        paho = self._client
        if (size := paho._in_packet["remaining_length"]) > LARGEST_INCOMING:  # noqa: SLF001
            return (
                f"the broker sends a message of {size} bytes, and at most {LARGEST_INCOMING} "
                "are read"
            )
        if len(paho._in_messages) > UNCONFIRMED_MOST or len(paho._out_packet) > UNREAD_MOST:  # noqa: SLF001
            return "the broker sends more messages than it lets be confirmed"
        return None

    async def __aenter__(self) -> Self:
        """Raises aiomqtt.MqttError if the broker cannot be reached, refuses, or hangs up at
        once."""
        # An end that is marked on this future, even while the library still connects, is this
        # connection's.
        end = self._disconnected = self._loop.create_future()
        try:
            await super().__aenter__()
            _check_still_connected(end)
        except BaseException:
            if end.done():
                end.exception()  # asyncio warns of an error that nobody looked at
            self._close()
            raise
        return self

    async def __aexit__(self, *raised: Any) -> None:  # noqa: PYI036 - three, as aiomqtt has them
        try:
            await super().__aexit__(*raised)
        finally:
            self._close()

    def _close(self) -> None:
        """Closes the socket, if it is open; the loop forgets it."""
        self._client._sock_close()  # noqa: SLF001 - the public way asks the broker first, and waits

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:
        limit = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if limit == math.inf else limit):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, *rest: Any) -> None:
        if mid in self._pending_subscribes:
            super()._on_subscribe(client, userdata, mid, *rest)

    def _on_unsubscribe(self, client: Any, userdata: Any, mid: int, *rest: Any) -> None:
        if mid in self._pending_unsubscribes:
            super()._on_unsubscribe(client, userdata, mid, *rest)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._register_write, client, sock)

    def _register_write(self, client: Any, sock: socket.socket) -> None:
        if sock.fileno() >= 0 and client.socket() is sock:
            self._loop.add_writer(sock.fileno(), self._write, client)

    def _write(self, client: Any) -> None:
        try:
            client.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is over
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


def _check_still_connected(end: asyncio.Future[None]) -> None:
    if end.done():
        error = end.exception()
        why = error or "the broker hung up"
        raise aiomqtt.MqttError(f"the connection ended as it began: {why}") from error
