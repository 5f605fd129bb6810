"""What really happened, as the engine tells it: every event, over all its lives."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.lab import PrivateEngine


@dataclass(frozen=True)
class Seen:
    """One event of the engine. `at`: wall seconds; `container`: its id, of network events too."""

    at: float
    kind: str
    action: str
    container: str
    network: str = ""


class EventLog:
    """Everything the engine says; `exec_*` events are counted by time only."""

    def __init__(self, engine: PrivateEngine) -> None:
        self._by_container: dict[str, list[Seen]] = {}
        self._told: list[float] = []  # of every event but execs: what dockmend's stream brings
        # of every event, health checks' execs included: what the engine's ring held
        self._all_times: list[float] = []
        self._engine = engine
        self._keys: set[tuple[Any, ...]] = set()
        self._last = time.time()
        self._stop = threading.Event()
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> EventLog:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def of(
        self, container: str, *actions: str, since: float = 0.0, until: float = float("inf")
    ) -> Iterator[Seen]:
        for each in list(self._by_container.get(container, ())):
            if since <= each.at <= until and (not actions or each.action in actions):
                yield each

    def last_before(self, at: float) -> float:
        """When the last event came before the one at that time; that time where there was none."""
        index = bisect_left(self._told, at)
        return self._told[index - 1] if index else at

    def in_ring(self, begin: float, end: float) -> int:
        """How many events the engine had to remember between the two."""
        return bisect_right(self._all_times, end) - bisect_left(self._all_times, begin)

    def in_channel(self, begin: float, end: float) -> int:
        """How many events a reader that is late had not taken."""
        return bisect_right(self._told, end) - bisect_left(self._told, begin)

    def _run(self) -> None:
        while not self._stop.is_set():
            # Where the engine is down, its next life is read from where this one ended.
            with contextlib.suppress(
                OSError, ValueError, http.client.HTTPException, AttributeError
            ):
                self._read()
            self._stop.wait(0.02)

    def _read(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(connection):
            connection.connect(str(self._engine.socket))
            self._connection = connection
            asked = http.client.HTTPConnection("docker")
            asked.sock = connection
            asked.request("GET", f"/events?since={self._last - 1.0:.9f}")
            response = asked.getresponse()
            while line := response.readline():
                self._note(json.loads(line))

    def _note(self, row: dict[str, Any]) -> None:
        actor, action = row["Actor"], row["Action"]
        key = (row["timeNano"], row["Type"], action, actor["ID"])
        if key in self._keys:
            return
        self._keys.add(key)
        at = row["timeNano"] / 1e9
        self._last = max(self._last, at)
        _insert(self._all_times, at)
        if not action.startswith("exec_"):
            _insert(self._told, at)
            of_network = row["Type"] == "network"
            container = actor["Attributes"].get("container", "") if of_network else actor["ID"]
            network = actor["Attributes"].get("name", "") if of_network else ""
            self._by_container.setdefault(container, []).append(
                Seen(at, row["Type"], action, container, network)
            )


def _insert(times: list[float], at: float) -> None:
    """In order: the engine's times step back by milliseconds now and then."""
    if not times or at >= times[-1]:
        times.append(at)
    else:
        times.insert(bisect_right(times, at), at)
