"""Programs that the lab runs beside the engine: started on a free loopback port, ended by process
id."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at the moment."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(
    process: subprocess.Popen[bytes] | None,
    number: signal.Signals = signal.SIGTERM,
    timeout: float = 15.0,
) -> int | None:
    """Signal a program and wait for its end, with SIGKILL once the time is up; returns its exit
    code."""
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return process.returncode
