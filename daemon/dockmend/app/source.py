"""What the HTTP pages show, from the same answers that the command socket gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dockmend.app.commands import DaemonCommands

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon


class DaemonSource(DaemonCommands):
    """Implements web.source.Source; only what looks is ever called."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        self._of = daemon
        self._loop = asyncio.get_running_loop()

    def metrics(self) -> bytes:
        return self._of.metrics.render(len(asyncio.all_tasks(self._loop)))

    def ready(self) -> dict[str, str | None]:
        watch = self._of.watch
        degraded = self._of.degraded
        return {
            "stream": None
            if watch.up and self._of.listed
            else degraded.get("engine", "the engine has not been listed yet"),
            "journal": None if self._of.journal.healthy else degraded.get("journal", "it cannot be written"),
        }
