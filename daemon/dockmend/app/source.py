"""What the HTTP pages show, from the same answers that the command socket gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dockmend.app.commands import DaemonCommands
from dockmend.app.given_up import given_up

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon


WITHIN = 10.0
"""Seconds that the loop may take to say what is broken."""


class DaemonSource(DaemonCommands):
    """Implements web.source.Source; only what looks is ever called."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self._of = daemon
        self._loop = asyncio.get_running_loop()

    def metrics(self) -> bytes:
        broken = asyncio.run_coroutine_threadsafe(self._broken(), self._loop).result(WITHIN)
        return self._of.metrics.render(len(asyncio.all_tasks(self._loop)), broken)

    async def _broken(self) -> list[tuple[str, str]]:
        """On the loop, which owns the mirror: the page is written in another thread."""
        return [(each.object_name, each.rule) for each in given_up(self._of.history, self._of.mirror)]

    def ready(self) -> dict[str, str | None]:
        watch = self._of.watch
        degraded = self._of.degraded
        return {
            "stream": None
            if watch.up and self._of.listed
            else degraded.get("engine", "the engine has not been listed yet"),
            "rules": self._of.rules.degraded if self._of.rules.observes else None,
            "journal": None if self._of.journal.healthy else degraded.get("journal", "it cannot be written"),
        }
