"""What people do to containers, by the engine's API: the docker command costs thirty times as
much."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Sequence
from contextlib import closing

from tests.lab import TOOLBOX, LabError, PrivateEngine

from . import fleet
from .fleet import Slot

PATIENCE = 90.0
"""Seconds for which a person waits for an engine that hangs."""
UNCHANGED = 304
FULL_READER, SLOW_IN_A_ROW = 0.09, 6
_LINE = "POST /volumes/create HTTP/1.1\r\nHost: x\r\n"


class Hands:
    """Each call returns when the engine has done it, and raises LabError where it would not."""

    def __init__(self, engine: PrivateEngine) -> None:
        self._engine = engine

    def do(self, slot: Slot, what: str) -> bool:
        """`docker stop`, `kill`, …: `what` is the last part of the path, with its query. False
        where it was so already: then the engine says nothing of it to anybody."""
        return self._ask("POST", f"/containers/{slot.id}/{what}") != UNCHANGED

    def rename(self, slot: Slot, name: str) -> None:
        self._ask("POST", f"/containers/{slot.id}/rename?name={name}")

    def remove(self, slot: Slot) -> None:
        self.discard(slot.id)

    def create(self, name: str, labels: dict[str, str], command: Sequence[str]) -> str:
        """`docker create`; returns the id."""
        config = {"Image": TOOLBOX, "Cmd": [*command], "Labels": labels}
        status, answer = self._engine.api(
            "POST", f"/containers/create?name={name}", config, timeout=PATIENCE
        )
        if status != 201:
            raise LabError(f"create {name}: {status} {answer}")
        return str(answer["Id"])

    def start(self, container: str) -> None:
        self._ask("POST", f"/containers/{container}/start")

    def discard(self, container: str) -> None:
        """`docker rm -f`, by id."""
        self._ask("DELETE", f"/containers/{container}?force=1")

    def update(self, slot: Slot, shares: int) -> None:
        self._ask("POST", f"/containers/{slot.id}/update", {"CpuShares": shares})

    def connect(self, slot: Slot) -> None:
        config = {"IPAMConfig": {"IPv4Address": slot.address}, "Aliases": [f"{slot.key}-alias"]}
        self._ask(
            "POST", f"/networks/{fleet.NETWORK}/connect",
            {"Container": slot.id, "EndpointConfig": config}
        )  # fmt: skip

    def disconnect(self, slot: Slot) -> None:
        self._ask("POST", f"/networks/{fleet.NETWORK}/disconnect", {"Container": slot.id})

    def _ask(self, method: str, path: str, body: object = None) -> int:
        status, answer = self._engine.api(method, path, body, timeout=PATIENCE)
        if status >= 400:
            raise LabError(f"{method} {path}: {status} {answer}")
        return status

    def flood(self, most: int, seconds: float) -> int:
        """Volumes made and removed over one connection until a reader that takes nothing is full;
        returns their number.

        The engine then waits 100 ms with each event, for every such reader, and loses it. 0: none
        was full in time.
        """
        made, slow, end = 0, 0, time.monotonic() + seconds
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as line:
            line.settimeout(PATIENCE)
            line.connect(str(self._engine.socket))
            answers = line.makefile("rb")
            body = json.dumps({"Name": "flood"}).encode()
            head = f"{_LINE}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            create = head.encode() + body
            destroy = b"DELETE /volumes/flood HTTP/1.1\r\nHost: x\r\n\r\n"
            while made < most and time.monotonic() < end:
                for asked in (create, destroy):
                    line.sendall(asked)
                    begun = time.monotonic()
                    _skip_answer(answers)
                    made += 1
                    slow = slow + 1 if time.monotonic() - begun >= FULL_READER else 0
                if slow >= SLOW_IN_A_ROW:
                    return made
        return 0


def _skip_answer(answers: io.BufferedReader) -> None:
    """One answer whose length is announced, or that has no body."""
    length = 0
    while line := answers.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answers.read(length)
