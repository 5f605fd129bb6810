"""aiomqtt's client, without a race of its own: where it wants to write, it asks for that in the loop's next round.

By then the connection may be closed, and its number be another connection's: the loop would raise, or call a writer
that has nothing to write for as long as that other connection can be written to (aiomqtt 2.5.1,
`_on_socket_register_write`).
"""

from __future__ import annotations

import socket
from typing import Any

import aiomqtt


class Client(aiomqtt.Client):
    """As aiomqtt.Client."""

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
