"""Keeps an error of dockmend's own about one container away from all other containers.

Strangers write what a container holds. If dockmend failed on some of it, every look at that
container would raise. That would end the task that follows the engine, and nothing on the host
would be healed any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from dockmend.model import Change

Offer = Callable[[Iterable[Change]], None]

log = structlog.get_logger("dockmend")

TOLD_MOST = 1000
"""Faults that are told of, each once: one that comes with each event would fill the log."""


class ErrorIsolation:
    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def of(self, what: str, error: Exception) -> tuple[()]:
        """`what`: a container's id; "" where it is not known. Returns that nothing follows."""
        fault = (what, f"{type(error).__name__}: {error}"[:200])
        if fault not in self._told and len(self._told) < TOLD_MOST:
            self._told.add(fault)
            log.error(
                "a fault of dockmend's own: the other containers are followed",
                id="container_fault",
                about=what[:12],
                exc_info=error,
            )
        return ()

    def each(self, offer: Offer) -> Offer:
        """The same offers, each change on its own: what a rule trips over in one keeps no other
        from its rules."""

        def offered(changes: Iterable[Change]) -> None:
            for change in changes:
                try:
                    offer((change,))
                except Exception as error:  # noqa: BLE001 - whatever it is
                    self.of(getattr(change.subject, "id", ""), error)

        return offered
