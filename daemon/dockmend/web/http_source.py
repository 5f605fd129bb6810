"""What the HTTP server asks of the daemon: the protocol that the app implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from dockmend.web.paging import Row


class HttpSource(Protocol):
    """Answers are JSON-able, times in them wall seconds. A DockmendError's text is what the client
    reads.

    Lists are rows in a fixed order, made one by one as they are taken; `after` is the cursor of the
    row to go on behind, None for the beginning.
    """

    def metrics(self) -> Callable[[], bytes]:
        """What writes the page for Prometheus, from what it takes now: for a thread of its own, one
        at a time."""

    def ready(self) -> Mapping[str, str | None]:
        """Each part that must work (stream, journal, …), and why it does not; None: it does."""

    def not_acting(self) -> Mapping[str, str]:
        """Each reason for which this dockmend acts on nothing, and a sentence; empty: it acts."""

    async def status(self) -> Mapping[str, Any]: ...
    async def rules(self, after: str | None) -> tuple[Mapping[str, Any], Iterable[Row]]:
        """What there is to say beside the rules, and the rules."""

    def containers(self, after: str | None) -> Iterable[Row]: ...
    async def incidents(
        self, container: str | None, since: float | None, after: str | None, limit: int
    ) -> Iterable[Row]:
        """The newest first, at most `limit`; `container`: name, id or target; `since`: wall
        seconds."""

    async def incident(self, id: str, after: str | None, limit: int) -> tuple[Any, Iterable[Row]]:
        """An incident and its actions, the oldest first; raises UsageError if there is none."""
