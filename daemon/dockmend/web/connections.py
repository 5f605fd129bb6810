"""The connections to one address: how many there may be, and when one is hung up on.

A client that does not read its answer holds the answer in memory, and a place among the
connections. So each exchange has a deadline, and who comes when all places are taken gets the place
of the connection that deserves it least: a stuck or silent client cannot keep others out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

UNSENT_FOR = 10.0  # seconds that bytes may wait to be taken where no exchange has a deadline


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Connections:
    """`most`: how many there may be at once; `now`: the loop's clock, in seconds.

    Connections are known by aiohttp's protocol objects, one for each.
    """

    def __init__(
        self, runner: web.AppRunner, most: Callable[[], int], now: Callable[[], float]
    ) -> None:
        self._runner = runner
        self._most = most
        self._now = now
        self._exchanges: set[web.RequestHandler] = set()
        self._until: dict[web.RequestHandler, float] = {}

    def accept(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection, to which one of the others may have to give way."""
        self._make_room(self._most() - 1)
        server = self._runner.server
        return _HangUp() if server is None else server()

    def began(self, connection: web.RequestHandler, within: float) -> None:
        """An exchange began, or went on to its next part, which is to end within so many
        seconds."""
        self._exchanges.add(connection)
        self._until[connection] = self._now() + within
        if connection.transport is not None:
            # The answer counts as taken once the kernel has all of it, and not a buffer of ours.
            connection.transport.set_write_buffer_limits(high=0)

    def ended(self, connection: web.RequestHandler) -> None:
        """The exchange is over; what is still unsent then has a deadline of its own."""
        self._exchanges.discard(connection)
        self._until.pop(connection, None)

    def sweep(self) -> None:
        """Hangs up on those whose deadline has passed, and on those that are too many."""
        now = self._now()
        unsent = {each for each in self._all() if _unsent(each)}
        for connection in self._until.keys() - self._exchanges - unsent:
            del self._until[connection]
        for connection in unsent - self._until.keys():
            self._until[connection] = now + UNSENT_FOR
        for connection, until in list(self._until.items()):
            if now >= until:
                _abort(connection)
        self._make_room(self._most())

    def _all(self) -> list[web.RequestHandler]:
        """The oldest first; those that were hung up on are about to leave, and do not count."""
        server = self._runner.server
        return [] if server is None else [each for each in server.connections if _holds_on(each)]

    def _make_room(self, most: int) -> None:
        """The first to go are those that say goodbye, then the silent, then the slowest of the
        rest."""
        connections = self._all()
        if len(connections) <= most:
            return

        def worth(connection: web.RequestHandler) -> tuple[int, float]:
            if connection.transport is None or connection.transport.is_closing():
                return 0, 0.0
            if connection not in self._exchanges:
                return 1, 0.0
            return 2, self._until[connection]

        for connection in sorted(connections, key=worth)[: len(connections) - most]:
            _abort(connection)


def _unsent(connection: web.RequestHandler) -> bool:
    return connection.transport is not None and connection.transport.get_write_buffer_size() > 0


def _holds_on(connection: web.RequestHandler) -> bool:
    transport = connection.transport
    return transport is not None and (not transport.is_closing() or _unsent(connection))


def _abort(connection: web.RequestHandler) -> None:
    """Hangs up without a goodbye: what is unsent is dropped."""
    if connection.transport is not None:
        connection.transport.abort()
