"""What the HTTP server asks of the daemon: the protocol that the app implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Source(Protocol):
    """Answers are JSON-able, times in them wall seconds. A DockmendError's text is what the client reads."""

    def metrics(self) -> bytes:
        """The page for Prometheus; called in a thread of its own, one at a time."""

    def ready(self) -> Mapping[str, str | None]:
        """Each part that must work (stream, journal, …), and why it does not; None: it does."""

    async def status(self) -> Mapping[str, Any]: ...
    async def rules(self) -> Mapping[str, Any]: ...
    async def containers(self) -> Sequence[Mapping[str, Any]]: ...
    async def incidents(
        self, container: str | None = None, since: float | None = None, limit: int = 100
    ) -> Sequence[Mapping[str, Any]]:
        """The newest first; `container`: name, id or target; `since`: wall seconds."""

    async def incident(self, id: str) -> Mapping[str, Any]:
        """{"incident": …, "actions": […]}; raises UsageError where there is none."""
