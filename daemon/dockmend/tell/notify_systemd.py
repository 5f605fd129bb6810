"""systemd's notification protocol (sd_notify(3)): one datagram for each thing systemd should know.

A few lines of our own, because the package for it was last released in 2017. Without NOTIFY_SOCKET
all of it is silent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import weakref
from collections.abc import Mapping


class Notifier:
    """`watchdog`: seconds within which `alive` is expected again, None where nobody expects it.

    Nothing raises and nothing waits: a manager that does not listen must not stop the daemon.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # the abstract namespace
            self._address = "\0" + self._address[1:]
        self.watchdog = _watchdog(environment) if self._address else None
        self._socket: socket.socket | None = None
        # kept: where file descriptors have run out, the watchdog must be fed all the same
        if self._address:
            self._socket = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            )
            weakref.finalize(self, self._socket.close)

    def ready(self, status: str = "") -> None:
        """The start, or a reload, is complete."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """Call `ready` when done: systemd waits for it."""
        self._send(
            "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feeds the watchdog; call it on progress, not by a timer."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def _send(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        # nobody there, or its queue is full: the next may get through
        with contextlib.suppress(OSError, ValueError):
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _status(text: str) -> tuple[str, ...]:
    # Each line is a field of its own: text of several lines could say STOPPING=1.
    return (f"STATUS={' '.join(text.split())[:400]}",) if text else ()


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Seconds, from what systemd sets for this very process."""
    owner = environment.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
