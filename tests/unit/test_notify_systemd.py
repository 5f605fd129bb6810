"""sd_notify over a real datagram socket, with a path and in the abstract namespace."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator

import pytest

from dockmend.tell.notify_systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path) -> Iterator[tuple[str, socket.socket]]:
    """What systemd does: a bound socket, and its name as NOTIFY_SOCKET says it."""
    name = (
        str(tmp_path / "notify")
        if request.param == "path"
        else f"@dockmend-test-{secrets.token_hex(8)}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0"))
        server.settimeout(5)
        yield name, server


def test_each_word_arrives(manager):
    name, server = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("watching 3 containers")
    assert server.recv(1000) == b"READY=1\nSTATUS=watching 3 containers"
    notifier.ready()
    assert server.recv(1000) == b"READY=1"
    notifier.alive()
    assert server.recv(1000) == b"WATCHDOG=1"
    notifier.stopping()
    assert server.recv(1000) == b"STOPPING=1"
    notifier.status("evil\nSTOPPING=1")
    assert server.recv(1000) == b"STATUS=evil STOPPING=1"


def test_reloading_carries_the_monotonic_clock(manager):
    name, server = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier({"NOTIFY_SOCKET": name}).reloading()
    lines = dict(line.split("=") for line in server.recv(1000).decode().splitlines())
    assert lines["RELOADING"] == "1"
    assert (
        before
        <= int(lines["MONOTONIC_USEC"])
        <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    )


def test_nobody_listening_is_no_error(tmp_path):
    for environment in (
        {},
        {"NOTIFY_SOCKET": str(tmp_path / "none")},
        {"NOTIFY_SOCKET": "\0" * 300},
    ):
        notifier = Notifier(environment)
        notifier.ready("x")
        notifier.alive()
        assert notifier.watchdog is None


def test_a_manager_that_does_not_read_holds_up_nobody(manager):
    name, server = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for _ in range(5000):  # far beyond any queue: a blocking send would never return
        notifier.alive()
    assert server.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_interval_is_what_systemd_set_for_this_process(environment, expected):
    assert Notifier({"NOTIFY_SOCKET": "/run/none", **environment}).watchdog == expected
