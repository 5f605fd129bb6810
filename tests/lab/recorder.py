"""The engine's events as they come, kept: its own memory holds 256, and health checks flood that
within seconds."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import threading
import urllib.parse
from typing import Any, Self

from .engine import PrivateEngine
from .waiting import eventually

KEPT = ("start", "stop", "restart", "die", "kill", "pause", "unpause", "commit", "create",
    "destroy",
        "connect", "disconnect", "oom", "rename", "tag", "delete")  # fmt: skip


class Recorder:
    """Use it as a context manager; `actions` asks what was seen so far, and nothing that has
    happened is missing."""

    def __init__(self, engine: PrivateEngine) -> None:
        self.engine = engine
        self.events: list[dict[str, Any]] = []
        self._connection = http.client.HTTPConnection("docker")
        self._connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.sock.connect(str(engine.socket))
        self._socket = self._connection.sock
        query = urllib.parse.urlencode({"filters": json.dumps({"event": list(KEPT)})})
        self._connection.request("GET", f"/events?{query}")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._settle()  # the engine has subscribed us

    def of(self, name: str, *actions: str, kind: str = "container") -> list[dict[str, Any]]:
        """Events of one object, by name or id, as many as there were until now."""
        self._settle()
        return [
            row for row in list(self.events)
            if row["Type"] == kind and (not actions or row["Action"] in actions)
            and name in {row["Actor"]["Attributes"].get("name"), row["Actor"]["ID"]}
        ]  # fmt: skip

    def actions(self, name: str, *actions: str, kind: str = "container") -> list[str]:
        return [row["Action"] for row in self.of(name, *actions, kind=kind)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()
        self._socket.close()

    def _settle(self) -> None:
        """Waits until an event made now was seen: those before it were, too."""
        marker = f"marker-{secrets.token_hex(4)}"

        def seen() -> bool:
            self.engine.api("POST", "/volumes/create", {"Name": marker})
            seen = any(row["Actor"]["ID"] == marker for row in list(self.events))
            self.engine.api("DELETE", f"/volumes/{marker}")
            return seen

        eventually(seen, what="the recorder keeps up")

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            response = self._connection.getresponse()
            while line := response.readline():
                self.events.append(json.loads(line))
