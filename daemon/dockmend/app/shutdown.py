"""Shutdown: the first signal asks for an orderly end. A second signal, or a time limit, ends
dockmend at once.

Whatever hangs then (the engine, the broker, the journal's disk), a hard end costs no more than a
SIGKILL: the journal knows what was begun, and the next start finishes or undoes it.
"""

from __future__ import annotations

import asyncio
import os
import threading

import structlog

from dockmend.tell.log_sink import LogSink

log = structlog.get_logger("dockmend")

ACTIONS = 6.0
"""Seconds for running actions to end after the first signal."""
AT_MOST = 9.5
"""Seconds after the first signal until the process is gone, whatever hangs: `docker stop` kills
after ten."""
LAST_WORDS = 0.3
"""Seconds for the log to be written before a hard end."""


class Shutdown:
    """`asked` is called for each signal, within the loop; `event` is set by the first."""

    def __init__(self, outlet: LogSink) -> None:
        self.event = asyncio.Event()
        self._outlet = outlet

    def asked(self) -> None:
        if self.event.is_set():
            self._end("a second signal: ended at once")
        self.event.set()
        # A thread of its own: it comes even where the loop, or the interpreter at its end, waits
        # for one that hangs.
        timer = threading.Timer(
            AT_MOST, self._end, (f"ended hard: not all had ended within {AT_MOST:g} s",)
        )
        timer.daemon = True
        timer.start()

    def _end(self, why: str) -> None:
        log.warning(why, id="shutdown_forced", then="what ran is settled at the next start")
        self._outlet.flush(LAST_WORDS)
        os._exit(1)
