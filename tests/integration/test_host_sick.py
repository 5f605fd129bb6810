"""A host that is sick: a disk that is full or read-only, no file descriptor left, no thread.
Nothing is done unwritten, it is told everywhere, and all is well again by itself."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.healing import CRASHED, UNHEALTHY, actions_seen, closed
from tests.integration.test_ends import kill_main
from tests.integration.test_engine_sick import unready
from tests.lab import Daemon, PrivateEngine, eventually

Makes = Callable[..., Daemon]
COPIES = """
version: 1
rules:
  - name: copy
    when: container.crashed
    match: all
    then: [{snapshot_volume: {consistency: live}}, start]
    verify: {within: 5s}
    limits: {backoff: 1s to 2s, attempts: none}
"""


class Manager:
    """What systemd hears."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def status(self) -> str:
        """The status line as it is now."""
        while True:
            try:
                self.heard.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                break
        lines = [
            line for word in self.heard for line in word.splitlines() if line.startswith("STATUS=")
        ]
        return lines[-1] if lines else ""

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *how, str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextmanager
def full_when_asked(folder: Path) -> Iterator[Callable[[bool], None]]:
    """A small disk, and the switch that fills it."""
    filler = folder / "filler"
    with mounted(folder, "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"):

        def switch(broken: bool) -> None:
            if broken:
                fill(filler)
            else:
                filler.unlink()

        yield switch


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_full_disk_under_the_journal(docker: PrivateEngine, daemon: Makes, manager: Manager):
    docker.patient("web")
    one = daemon(docker.url, rules={"rules.yaml": UNHEALTHY}, start=False,
                 environment={"NOTIFY_SOCKET": str(manager.path)})  # fmt: skip
    with ExitStack() as stack:
        switch = stack.enter_context(full_when_asked(one.state))
        stack.callback(one.stop)
        one.start(timeout=120)
        eventually(lambda: "watching 1 containers" in manager.status(), what="systemd is told")
        switch(True)
        # It is known before it is needed: nothing has happened yet.
        eventually(lambda: one.status("/readyz") == 503, 60, what="it is not ready")
        assert "journal" in unready(one)
        began = docker.now()
        docker.sicken("web")
        eventually(lambda: waits_for_journal(one), 60, what="the incident waits for the journal")
        # What people are told follows within the second in which it is looked at again.
        eventually(
            lambda: one.metric("dockmend_degraded", part="journal") == 1, what="the metrics say so"
        )
        assert (
            "nothing is done"
            in json.loads(one.cli("status", "--json", check=False))["degraded"]["journal"]
        )
        assert "degraded: journal: " in manager.status()
        assert actions_seen(docker, "web", began, "kill", "restart") == []
        switch(False)
        closed(one, "healed", name="web", timeout=60)
        eventually(lambda: one.status("/readyz") == 200, what="it is ready again")
        eventually(
            lambda: one.metric("dockmend_degraded", part="journal") == 0, what="the metrics say so"
        )
        eventually(
            lambda: "watching 1 containers" in manager.status(),
            what="systemd is told that all is well",
        )
        assert actions_seen(docker, "web", began, "restart") == ["restart"]


def waits_for_journal(one: Daemon) -> bool:
    """Asked of the daemon's memory: the journal cannot know."""
    return one.metric("dockmend_decisions_total", decision="wait", reason="journal") > 0


def test_a_full_disk_under_the_snapshots(docker: PrivateEngine, daemon: Makes):
    """No snapshot, so no start (it comes after it); nothing half-written stays; with space, both
    are done."""
    docker.run("db", "--volume", "data:/data", command=("sh", "-c", "exec sleep 86400"))
    docker.docker("exec", "db", "sh", "-c", "head -c 3000000 /dev/urandom >/data/big")
    one = daemon(docker.url, rules={"rules.yaml": COPIES}, start=False)
    snapshots = one.state / "snapshots"
    with full_when_asked(snapshots) as switch, ExitStack() as stack:
        stack.callback(one.stop)
        one.start(timeout=120)
        switch(True)
        kill_main(docker, "db")
        docker.await_state("db", "exited")
        eventually(lambda: one.metric("dockmend_actions_total", action="snapshot_volume",
                outcome="failed") >= 1, 60,
                   what="a snapshot failed")  # fmt: skip
        (incident,) = one.incidents()
        assert "space" in incident["reason"]
        assert docker.state("db") == "exited"
        assert one.status("/readyz") == 200  # the journal is elsewhere
        switch(False)
        closed(one, "healed", name="db", timeout=60)
        assert len(list(snapshots.rglob("*.tar.zst"))) == 1
        assert list(snapshots.rglob("*.partial")) == []


def test_a_snapshot_that_is_too_large_leaves_the_journal_its_disk(
    docker: PrivateEngine, daemon: Makes
):
    """They share one: the snapshot fails and says why, nothing of it stays, and others are healed
    as ever."""
    docker.run("db", "--volume", "large:/data", command=("sh", "-c", "exec sleep 86400"))
    docker.docker("exec", "db", "sh", "-c", "head -c 60000000 /dev/urandom >/data/large")
    docker.patient("web")
    one = daemon(docker.url, rules={"rules.yaml": COPIES, "others.yaml": UNHEALTHY}, start=False)
    with (
        mounted(one.state, "-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs"),
        ExitStack() as stack,
    ):
        stack.callback(one.stop)
        one.start(timeout=120)
        kill_main(docker, "db")
        eventually(lambda: one.metric("dockmend_actions_total", action="snapshot_volume",
                outcome="failed") >= 1, 60,
                   what="a snapshot failed")  # fmt: skip
        assert one.status("/readyz") == 200
        (incident,) = [each for each in one.incidents() if each["object_name"] == "db"]
        assert (
            "2 MiB of disk space would be left, which dockmend keeps free for its journal"
            in incident["reason"]
        )
        docker.sicken("web")
        closed(one, "healed", name="web", timeout=60)
        one.stop()
        assert list(one.state.rglob("*.tar.zst*")) == []


@contextmanager
def no_thread_left(pid: int) -> Iterator[None]:
    """The process may begin no other thread and no other process."""
    pids = Path("/sys/fs/cgroup/pids")
    group = (pids if pids.is_dir() else pids.parent) / f"dockmend-test-{pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "pids.max").write_text("1")
        yield
    finally:
        (group / "pids.max").write_text("max")
        (group.parent / "cgroup.procs").write_text(str(pid))
        eventually(lambda: (group / "cgroup.procs").read_text() == "", what="it left the group")
        group.rmdir()


def test_no_thread_left(docker: PrivateEngine, daemon: Makes):
    """A snapshot needs threads of its own: it fails and says why, leaves nothing, and is made when
    there are some."""
    docker.run("db", "--volume", "data:/data", command=("sh", "-c", "exec sleep 86400"))
    one = daemon(docker.url, rules={"rules.yaml": COPIES}, start=False)
    one.start(timeout=120)
    with no_thread_left(one.pid):
        kill_main(docker, "db")
        eventually(lambda: one.metric("dockmend_actions_total", action="snapshot_volume",
                outcome="failed") >= 1, 60,
                   what="a snapshot failed")  # fmt: skip
        (incident,) = one.incidents()
        assert "the host has no thread or process left for it" in incident["reason"]
        assert docker.state("db") == "exited"
    closed(one, "healed", name="db", timeout=60)
    snapshots = one.state / "snapshots"
    assert (len(list(snapshots.rglob("*.tar.zst"))), list(snapshots.rglob("*.partial"))) == (1, [])
    assert docker.docker("ps", "--all", "--quiet").split() == [docker.inspect("db")["Id"][:12]]
    words = ("Traceback", "internal error", "fault of dockmend")
    assert [line for line in one.text.splitlines() if any(word in line for word in words)] == []


def test_no_file_descriptor_left(docker: PrivateEngine, daemon: Makes, manager: Manager):
    """Neither the servers' accept loops nor the watchdog's food end with it; what broke meanwhile
    is healed, once."""
    docker.run("web")
    one = daemon(docker.url, rules={"rules.yaml": CRASHED},
                 environment={"NOTIFY_SOCKET": str(manager.path),
                     "WATCHDOG_USEC": "2000000"})  # fmt: skip
    before = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    lowest = max(int(each.name) for each in Path(f"/proc/{one.pid}/fd").iterdir())
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    assert lowest > 3
    try:
        # the kernel takes it, nobody accepts
        with socket.create_connection(("127.0.0.1", one.port), 10) as knocking:
            knocking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            kill_main(docker, "web")
            eventually(lambda: "Too many open files" in one.text
                or "no file descriptor" in one.text, 90,
                       what="it is told")  # fmt: skip
            manager.status()
            fed = len(manager.heard)
            eventually(
                lambda: manager.status() is not None and len(manager.heard) > fed,
                what="the watchdog is fed",
            )
            assert one.running  # and a connection that it kept may have healed web already
    finally:
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, before)
    closed(one, "healed", name="web", timeout=120)
    assert [row["outcome"] for row in one.incidents()] == ["healed"]
    eventually(lambda: one.status("/readyz") == 200, 60, what="it is ready")
    assert json.loads(one.cli("status", "--json"))["degraded"] == {}


def test_a_flood_of_connections_leaves_the_engine_its_descriptors(
    docker: PrivateEngine, daemon: Makes
):
    docker.patient("web")
    one = daemon(docker.url, rules={"rules.yaml": UNHEALTHY})
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (128, 128))
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", one.port), 10))
        docker.sicken("web")
        eventually(
            lambda: docker.health("web") == "healthy",
            60,
            what="it was restarted while they are connected",
        )
    closed(one, "healed", name="web")
