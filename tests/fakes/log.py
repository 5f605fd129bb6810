"""The fake engine's events: a ring of 256, subscribers, and the filter as moby applies it (after
the ring)."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

RING = 256
# any of these among the values: all compare as prefixes
FUZZY = {"health_status", "exec_create", "exec_start"}


class Subscription:
    """One client's stream: lines that wait to be written, and whether the engine has ended it."""

    def __init__(self, filters: Mapping[str, list[str]]) -> None:
        self.filters = filters
        self.ended = False
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()

    def add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._news.set()

    def end(self) -> None:
        self.ended = True
        self._news.set()

    async def lines(self) -> bytes:
        """What waits; b"" once the stream has ended and all is written."""
        if not self._waiting and not self.ended:
            await self._news.wait()
        self._news.clear()
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting)


class EventLog:
    def __init__(self) -> None:
        self.ring: deque[dict[str, Any]] = deque(maxlen=RING)
        self.subscriptions: set[Subscription] = set()
        self.since_asked: list[str | None] = []
        self._last = 0

    def emit(
        self,
        kind: str,
        action: str,
        actor: str,
        attributes: Mapping[str, str],
        time_ns: int | None = None,
    ) -> dict[str, Any]:
        """Publishes an event; `time_ns` only where a test wants times that step back or repeat."""
        if time_ns is None:
            time_ns = self._last = max(time.time_ns(), self._last + 1)
        event: dict[str, Any] = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": dict(attributes)},
            "scope": "local",
            "time": time_ns // 1_000_000_000,
            "timeNano": time_ns,
        }
        if kind in ("container", "image"):
            event |= {"status": action, "id": actor}
        if kind == "container":
            event["from"] = attributes.get("image", "")
        self.ring.append(event)
        line = encode(event)
        for subscription in self.subscriptions:
            if passes(event, subscription.filters):
                subscription.add(line)
        return event

    def replay(self, lines: bytes) -> None:
        """Raw bytes to every subscriber: garbage, or a recording at full speed."""
        for subscription in self.subscriptions:
            subscription.add(lines)

    def past(
        self, since: int, until: int | None, filters: Mapping[str, list[str]]
    ) -> list[dict[str, Any]]:
        """As moby searches: from the newest backwards, up to the first that is older than
        `since`."""
        found: list[dict[str, Any]] = []
        for event in reversed(self.ring):
            if event["timeNano"] < since:
                break
            if (until is None or event["timeNano"] <= until) and passes(event, filters):
                found.append(event)
        return found[::-1]

    def forget(self) -> None:
        """What a restart of the engine does: the ring is empty, every stream has ended."""
        self.ring.clear()
        self.end_streams()

    def end_streams(self) -> None:
        for subscription in self.subscriptions:
            subscription.end()


def encode(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def passes(event: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
    """moby's daemon/events/filter.go for the filters dockmend and its tests use."""
    wanted = filters.get("event")
    if wanted:
        action = event["Action"]
        fuzzy = not FUZZY.isdisjoint(wanted)
        if not (any(action.startswith(value) for value in wanted) if fuzzy else action in wanted):
            return False
    types = filters.get("type")
    if types and event["Type"] not in types:
        return False
    names = filters.get("container")
    actor = event["Actor"]
    return not names or (
        event["Type"] == "container"
        and (actor["ID"] in names or actor["Attributes"].get("name") in names)
    )


def nanoseconds(text: str) -> int:
    """The engine's form of a time, "seconds" or "seconds.fraction"."""
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])
