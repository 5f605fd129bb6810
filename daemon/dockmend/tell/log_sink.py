"""Where log lines go out: a thread and a bounded queue between dockmend and a stream that may stop
taking them.

A terminal on which somebody pressed Ctrl-S, or a full pipe, would otherwise hold up the event loop,
and healing.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

MOST_LINES = 10_000


class LogSink:
    """Writes lines to `stream` in order; beyond `most` waiting ones the oldest are dropped, and
    said to have been.

    `on_drop(count)` is called from the thread that wrote the line that did not fit.
    """

    def __init__(self, stream: TextIO, most: int = MOST_LINES) -> None:
        self.on_drop: Callable[[int], None] = lambda count: None
        self._stream = stream
        self._most = most
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._busy = False
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        atexit.register(self.flush)

    def write(self, line: str) -> None:
        """Never waits for the stream."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._lines.append(line)
            full = len(self._lines) > self._most
            if full:
                self._lines.popleft()
                self._dropped += 1
            self._lock.notify()
        if full:
            self.on_drop(1)

    def flush(self, timeout: float = 1.0) -> bool:
        """Waits until all is written, `timeout` seconds at most; True where it was."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._lines and not self._busy, timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._busy = False
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._lines)
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
                self._busy = True
            if dropped:
                lines.appendleft(f"({dropped} older lines were dropped: nobody took them in time)")
            self._out("".join(f"{line}\n" for line in lines))

    def _out(self, text: str) -> None:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # a terminal that has no arrows
                encoding = self._stream.encoding or "ascii"
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # closed, or its reader is gone: there is nobody left to tell
            self.on_drop(text.count("\n"))
