"""A real Docker Engine of the tests' own: its own namespace, data, socket; never the one the
machine's user has.

Needs root and Debian's docker.io, docker-cli, iptables, iproute2 and busybox-static (`make test`
installs them).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import http.client
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import owned
from .kinds import EngineKind
from .toolbox import BUSYBOX, toolbox_tar
from .waiting import LIMIT, eventually

TOOLBOX = "toolbox:latest"
QUICK_HEALTH = ("--health-interval=200ms", "--health-timeout=2s", "--health-retries=1")


class LabError(Exception):
    """The lab could not do what a test asked of it."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket, for the lab's own questions: a hundred times cheaper than the
    docker command."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class PrivateEngine:
    """One dockerd in a network namespace of its own, everything of it in one temporary folder.

    `start`, `terminate` (SIGTERM, as a host that shuts down), `kill` (SIGKILL), `pause`/`resume`
    (SIGSTOP/SIGCONT) and `restart` may be called in any sensible order; `stop` ends it for good and
    leaves nothing.
    """

    programs: tuple[str, ...] = ("dockerd", "docker", "ip", "nsenter", "iptables")
    toolbox = TOOLBOX  # as the engine's list of images has it
    removal = "/containers/{}?force=1&v=1"
    removals_at_once = 4

    def __init__(self, *, live_restore: bool = False, options: Sequence[str] = ()) -> None:
        self.name = f"dm-{secrets.token_hex(4)}"
        # a socket's path is 107 bytes at most
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.socket = self.folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.live_restore = live_restore
        self.kind = self._kind()
        self.options = (*self.kind.options, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._record = owned.mine(self.name, self.folder)
        self._made = False
        self._images: set[str] = set()

    # ------------------------------------------------------------------------------- life and death

    @property
    def pid(self) -> int:
        """The process id of the running dockerd."""
        if self._process is None:
            raise LabError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What dockerd wrote since it was first started."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @functools.cached_property
    def api_version(self) -> tuple[int, int]:
        """The newest version of the Engine API that it speaks; it has to run. Tests go by this,
        never by a release."""
        major, _, minor = str(self.api("GET", "/version")[1]["ApiVersion"]).partition(".")
        return int(major), int(minor)

    @functools.cached_property
    def containerd_store(self) -> bool:
        """Whether containerd keeps the images, by what the engine says of itself; it has to run."""
        status = dict(self.api("GET", "/info")[1].get("DriverStatus") or ())
        return str(status.get("driver-type", "")).startswith("io.containerd.snapshotter")

    def start(self, timeout: float = 60.0) -> PrivateEngine:
        """Start dockerd; returns when its socket answers."""
        self._make()
        command = ["nsenter", f"--net=/run/netns/{self.name}", *self._command()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=self._environment(),
            )  # fmt: skip
        try:
            eventually(self._answers_or_died, timeout, what=f"{self.name} answers on its socket")
        except AssertionError as error:
            raise LabError(f"the engine did not start: {error}\n{self.log[-3000:]}") from error
        if not self.running:
            said = self.log[-3000:].rstrip()
            raise LabError(f"the engine ended at its start: {said.rpartition(chr(10))[2]}\n{said}")
        return self

    def terminate(self, timeout: float = 60.0) -> None:
        """SIGTERM to dockerd and wait for its end: without live-restore it stops its containers
        first."""
        self._end(signal.SIGTERM, timeout)

    def kill(self, timeout: float = LIMIT) -> None:
        """SIGKILL to dockerd and wait; its containers live on in their shims."""
        self._end(signal.SIGKILL, timeout)
        # Its containerd dies with it, but may not have been reaped yet: the next dockerd would wait
        # 10 s for it.
        note = self.folder / "exec" / "containerd" / "containerd.pid"
        if note.exists():
            containerd = int(note.read_text())
            eventually(
                lambda: owned.started(containerd) is None,
                timeout,
                what=f"containerd {containerd} ends",
            )
            note.unlink()

    def pause(self) -> None:
        """Freeze dockerd: its socket accepts but nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        # each stops when the kernel comes to it: till then it may answer
        threads = Path(f"/proc/{self.pid}/task")
        eventually(
            lambda: all(_state(each) in ("T", "t") for each in threads.iterdir()),
            what="dockerd stands still",
        )

    def resume(self) -> None:
        """Undo `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """`terminate` and `start`."""
        self.terminate()
        self.start()

    def stop(self) -> None:
        """End it for good: containers, engine, shims, mounts, namespace and folder."""
        atexit.unregister(self.stop)
        try:
            if self.running:
                with contextlib.suppress(ProcessLookupError):
                    self.resume()
                with contextlib.suppress(OSError, LabError, http.client.HTTPException):
                    self._remove_containers()
                try:
                    self.terminate(20)
                except LabError:
                    self.kill()
        finally:
            owned.dismantle(self._record)

    def _kind(self) -> EngineKind:
        return EngineKind.chosen()

    def _make(self) -> None:
        if self._made:
            return
        if os.geteuid() != 0:
            raise LabError(
                "the lab's engines need root: run the tests as root, or `make check` for those "
                "without an engine"
            )
        if self.kind.lacking:
            raise LabError(self.kind.lacking)
        missing = [
            program
            for program in self.programs
            if not shutil.which(program, path=self.kind.search_path)
        ]
        if missing or not BUSYBOX.exists():
            raise LabError(
                f"the lab lacks {', '.join(missing) or BUSYBOX}: run tests/lab/install.sh"
            )
        self._record.write()
        atexit.register(self.stop)
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", "ip", "link", "set", "lo", "up"],
            check=True,
        )
        # A file of its own keeps /etc/docker/daemon.json out of the tests.
        (self.folder / "daemon.json").write_text(json.dumps({"live-restore": self.live_restore}))
        (self.folder / "cli").mkdir()
        self._made = True

    def _command(self) -> list[str]:
        """What runs the engine in its namespace."""
        return ["dockerd", "--config-file", str(self.folder / "daemon.json"),
                "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"),
                "--pidfile", str(self.folder / "pid"), "-H", self.url, *self.options]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """The machine's, without what would lead the docker command to another engine."""
        refused = ("DOCKER_", "COMPOSE_", "DOCKMEND_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(refused)}
        return kept | {"DOCKER_CONFIG": str(self.folder / "cli"), "PATH": self.kind.search_path}

    def _answers_or_died(self) -> bool:
        if not self.running:
            return True  # no use waiting: `start` says what the log holds
        return self.api("GET", "/_ping", timeout=2)[0] == 200

    def _end(self, number: signal.Signals, timeout: float) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"engine {process.pid} still runs {timeout:g} s after {number.name}"
            ) from error
        self._process = None

    # ------------------------------------------------------------------------------------ questions

    def api(
        self, method: str, path: str, body: object = None, *, timeout: float = 30.0
    ) -> tuple[int, Any]:
        """One call to the Engine API: the status, and the decoded JSON (or the text, where it is
        none)."""
        connection = _UnixConnection(self.socket, timeout)
        try:
            raw = (
                body
                if isinstance(body, bytes)
                else json.dumps(body).encode()
                if body is not None
                else None
            )
            kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
            connection.request(method, path, raw, {"Content-Type": kind} if raw is not None else {})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(data) if data else None
        except ValueError:
            return response.status, data.decode(errors="replace")

    def docker(
        self, *arguments: str, check: bool = True, timeout: float = 60.0, stdin: bytes | None = None
    ) -> str:
        """Run the docker command against this engine and return its standard output, stripped.

        With `check`, a failure raises LabError with what it wrote to standard error.
        """
        done = subprocess.run(
            ["docker", "-H", self.url, *arguments],
            check=False, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, timeout=timeout, env=self._environment(),
        )  # fmt: skip
        if check and done.returncode:
            raise LabError(
                f"docker {' '.join(arguments)}: exit {done.returncode}: "
                f"{done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout.decode(errors="replace").strip()

    async def adocker(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> str:
        """As `docker`, off the event loop."""
        return await asyncio.to_thread(self.docker, *arguments, check=check, timeout=timeout)

    def inspect(self, container: str) -> dict[str, Any]:
        """The container's inspect; LabError when there is none."""
        status, answer = self.api(
            "GET", f"/containers/{urllib.parse.quote(container, safe='')}/json"
        )
        if status != 200:
            raise LabError(f"inspect {container}: {answer}")
        return dict(answer)

    def state(self, container: str) -> str:
        """`State.Status`: running, exited, paused, …"""
        return str(self.inspect(container)["State"]["Status"])

    def health(self, container: str) -> str | None:
        """`State.Health.Status`, or None where there is no health check."""
        health = self.inspect(container)["State"].get("Health")
        return None if health is None else str(health["Status"])

    def now(self) -> float:
        """Seconds since the epoch, a little after everything that has happened: for
        `events(since=…)`."""
        return time.time()

    def events(
        self, *, since: float, until: float | None = None, **filters: Sequence[str] | str
    ) -> list[dict[str, Any]]:
        """What the engine remembers between two times (it holds 256 events at most).

        `events(since=t, type="container", event=["kill", "die"], container="web")`.
        """
        wanted = {
            key: [value] if isinstance(value, str) else list(value)
            for key, value in filters.items()
        }
        query = {
            "since": f"{since:.9f}",
            "until": f"{until or self.now():.9f}",
            "filters": json.dumps(wanted),
        }
        status, answer = self.api("GET", f"/events?{urllib.parse.urlencode(query)}")
        if status != 200:
            raise LabError(f"events: {answer}")
        if answer is None:
            return []
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return [json.loads(line) for line in text.splitlines() if line]

    # ------------------------------------------------------------------------ images and containers

    def toolbox_image(
        self,
        name: str = TOOLBOX,
        *,
        labels: Mapping[str, str] | None = None,
        changes: Iterable[str] = (),
    ) -> str:
        """Import busybox with its applets as image `name` (once), with the image's own labels and
        Dockerfile lines."""
        if name in self._images:
            return name
        lines = [
            'CMD ["/bin/sh"]',
            *(f"LABEL {json.dumps(k)}={json.dumps(v)}" for k, v in (labels or {}).items()),
            *changes,
        ]
        repository, _, tag = name.partition(":")
        query = [
            ("fromSrc", "-"),
            ("repo", repository),
            ("tag", tag or "latest"),
            *(("changes", line) for line in lines),
        ]
        status, answer = self.api(
            "POST", f"/images/create?{urllib.parse.urlencode(query)}", toolbox_tar()
        )
        if status != 200 or "error" in str(answer):
            raise LabError(f"import of {name}: {answer}")
        self._images.add(name)
        return name

    def load_image(self, name: str, config: Mapping[str, object]) -> str:
        """An image of busybox that has this very configuration: `docker load` checks none of it, as
        a pull does not."""
        layer = toolbox_tar()
        parts = {
            "config.json": {
                "architecture": "amd64", "os": "linux", "config": config, "history": [],
                "rootfs": {"type": "layers",
                    "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            },
            "manifest.json": [{"Config": "config.json", "RepoTags": [name],
                    "Layers": ["layer.tar"]}],
        }  # fmt: skip
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            contents = {
                "layer.tar": layer,
                **{part: json.dumps(value).encode() for part, value in parts.items()},
            }
            for part, content in contents.items():
                entry = tarfile.TarInfo(part)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        status, answer = self.api("POST", "/images/load", archive.getvalue())
        if status != 200 or "error" in str(answer):
            raise LabError(f"load of {name}: {answer}")
        self._images.add(name)
        return name

    def run(
        self,
        name: str,
        *options: str,
        command: Sequence[str] = ("sleep", "86400"),
        image: str = TOOLBOX,
        init: bool = True,
    ) -> str:
        """`docker run --detach`; returns the id. With `init`, a restart does not wait for a PID 1
        deaf to SIGTERM."""
        self._have(image)
        return self.docker(
            "run",
            "--detach",
            *(["--init"] if init else []),
            "--name",
            name,
            *options,
            image,
            *command,
        )

    def patient(
        self, name: str, *options: str, image: str = TOOLBOX, cured_by_restart: bool = True
    ) -> str:
        """A container with a health check that `sicken` makes fail within a second; healthy when
        this returns.

        A restart cures it, unless `cured_by_restart` is False: then only `cure` does.
        """
        self._have(image)
        make_well = "touch /well" if cured_by_restart else "[ -e /was ] || touch /was /well"
        command = ("sh", "-c", f"{make_well}; exec sleep 86400")
        full = self.run(
            name,
            "--health-cmd",
            "test -e /well",
            *QUICK_HEALTH,
            *options,
            image=image,
            command=command,
        )
        self.await_health(name, "healthy")
        return full

    def sicken(self, name: str, *, wait: bool = True) -> None:
        """Make a patient unhealthy; returns when the engine has noticed, unless told not to
        `wait`."""
        since = self.now()
        self.docker("exec", name, "rm", "-f", "/well")
        if wait:
            self.await_ill(name, since)

    def cure(self, name: str) -> None:
        """Make a patient healthy again, as if it had recovered on its own."""
        self.docker("exec", name, "touch", "/well")

    def await_health(self, name: str, wanted: str, timeout: float = LIMIT) -> None:
        """Wait until the health check says `wanted`; else the error shows its latest results."""
        try:
            eventually(
                lambda: self.health(name) == wanted, timeout, what=f"{name} becomes {wanted}"
            )
        except AssertionError as error:
            raise AssertionError(
                f"{error}; its state: {json.dumps(self.inspect(name)['State'])[-1500:]}"
            ) from error

    def await_ill(self, name: str, since: float) -> None:
        """Wait until a container was unhealthy at some time `since` then, also if a dockmend healed
        it at once."""

        def was_ill() -> bool:
            told = self.events(since=since, type="container", container=name)
            return self.health(name) == "unhealthy" or any(
                each["Action"] == "health_status: unhealthy" for each in told
            )

        eventually(was_ill, what=f"{name} becomes unhealthy")

    def await_state(self, name: str, wanted: str, timeout: float = LIMIT) -> None:
        eventually(lambda: self.state(name) == wanted, timeout, what=f"{name} becomes {wanted}")

    def _have(self, image: str) -> None:
        if image == TOOLBOX:
            self.toolbox_image()

    # -------------------------------------------------------------------------------- a clean slate

    def clean(self) -> None:
        """Remove every container, volume, network and image, but the toolbox images."""
        self._remove_containers()
        for volume in (self.api("GET", "/volumes")[1] or {}).get("Volumes") or ():
            self._delete(f"/volumes/{urllib.parse.quote(volume['Name'], safe='')}?force=1")
        networks = self.api("GET", "/networks")[1]
        # those last: others use them
        for network in sorted(networks, key=lambda each: bool(each["ConfigOnly"])):
            if network["Name"] not in {"bridge", "host", "none"}:
                self._delete(f"/networks/{network['Id']}")
        for image in self.api("GET", "/images/json?all=1")[1]:
            tags = set(image.get("RepoTags") or ())
            for tag in tags - {self.toolbox}:
                self._delete(f"/images/{urllib.parse.quote(tag, safe='')}?force=1")
            if not tags:
                self._delete(f"/images/{image['Id']}?force=1")
        self._images &= {TOOLBOX}

    def _remove_containers(self) -> None:
        listing = self.api("GET", "/containers/json?all=1")[1]
        for container in listing:
            if container["State"] == "paused":
                self.api("POST", f"/containers/{container['Id']}/unpause")
        with ThreadPoolExecutor(self.removals_at_once) as pool:
            list(
                pool.map(
                    self._delete, [self.removal.format(container["Id"]) for container in listing]
                )
            )
        eventually(
            lambda: self.api("GET", "/containers/json?all=1")[1] == [], what="no container is left"
        )

    def _delete(self, path: str) -> None:
        status, answer = self.api("DELETE", path)
        if status >= 400 and status not in {404, 409}:
            raise LabError(f"DELETE {path}: {status} {answer}")


def _state(thread: Path) -> str:
    """A thread's state as /proc shows it: R, S, T, …"""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]
