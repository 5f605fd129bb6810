"""The output of a command, fit for a record: beginning and end, on one line, without control
characters.
"""

from __future__ import annotations

import re
from collections import deque

HEAD, TAIL = 400, 1200
"""Bytes kept of the beginning and of the end: the end mostly says what was wrong."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class CommandOutput:
    """Takes whatever comes and keeps HEAD + TAIL bytes of it."""

    def __init__(self) -> None:
        self.written = 0
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._kept = 0

    def add(self, piece: bytes) -> None:
        self.written += len(piece)
        room = HEAD - len(self._head)
        if room > 0:
            self._head, piece = self._head + piece[:room], piece[room:]
        piece = piece[-TAIL:]
        if piece:
            self._tail.append(piece)
            self._kept += len(piece)
        while self._kept - len(self._tail[0] if self._tail else b"") >= TAIL:
            self._kept -= len(self._tail.popleft())

    def text(self) -> str:
        """One line; lines are parted by " ⏎ ", what was left out in the middle is counted."""
        tail = b"".join(self._tail)[-TAIL:]
        left_out = self.written - len(self._head) - len(tail)
        middle = f" … {left_out} bytes … " if left_out else ""
        return (
            _line(self._head + tail) if not middle else f"{_line(self._head)}{middle}{_line(tail)}"
        ).strip()

    def told(self) -> str:
        """As the end of a sentence."""
        text = self.text()
        return f": {text}" if text else ""


def _line(data: bytes) -> str:
    lines = (
        _UNPRINTABLE.sub(" ", line).strip() for line in data.decode(errors="replace").splitlines()
    )
    return " ⏎ ".join(line for line in lines if line)
