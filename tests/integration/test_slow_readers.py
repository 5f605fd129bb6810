"""A hundred clients that ask and never read: what they cost, and whether others are still
answered."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Daemon

CONTAINERS, CLIENTS = 5000, 100
HOST = Path(__file__).parents[2] / "bench" / "fake_host.py"
MOST_GROWTH = 40.0  # MiB
LOOKS = 25


@pytest.fixture(scope="module")
def large() -> Iterator[Daemon]:
    """A daemon on a host of many containers, whose lists fill megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HOST), f"{folder}/s", str(CONTAINERS), "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as host:
            assert host.stdout is not None
            host.stdout.readline()
            one = Daemon(f"unix://{folder}/s")
            try:
                yield one.start(timeout=120)
            finally:
                one.close()
                host.kill()


def resident(one: Daemon) -> float:
    """MiB."""
    status = Path(f"/proc/{one.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def deaf(one: Daemon, path: str) -> socket.socket:
    """A client that has asked for a page and does not read it."""
    token = (one.state / "http.read.token").read_text().strip()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", one.port))
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    client.sendall(request.encode())
    return client


@pytest.mark.parametrize("path", ["/api/containers", "/metrics", "/"])
def test_those_who_never_read_cost_little_and_keep_nobody_out(large: Daemon, path: str) -> None:
    large.page(path) if path != "/" else None  # what every first answer costs is not theirs
    before = most = resident(large)
    slowest = 0.0
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(contextlib.closing(deaf(large, path)))
        for _ in range(LOOKS):
            asked = time.perf_counter()
            assert large.status("/healthz") == 200
            slowest = max(slowest, time.perf_counter() - asked)
            most = max(most, resident(large))
        assert "dockmend_engine_up 1.0" in large.metrics()
        most = max(most, resident(large))
    print(f"{path}: {most - before:.1f} MiB more, /healthz within {slowest * 1000:.0f} ms")
    assert most - before < MOST_GROWTH


def test_every_container_is_in_one_of_the_pages(large: Daemon) -> None:
    seen: list[str] = []
    path = "/api/containers"
    while path:
        body, link = large.paged(path)
        seen += [row["name"] for row in body]
        path = link
    assert len(seen) == len(set(seen)) == CONTAINERS
    assert seen == sorted(seen)
