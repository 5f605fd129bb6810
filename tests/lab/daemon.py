"""dockmend itself as a process, as a person starts it: flags, signals, its HTTP pages and its
command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .programs import end, free_port
from .waiting import LIMIT, eventually

SOURCE = Path(__file__).resolve().parents[2] / "daemon"


class Daemon:
    """`dockmend run` against one engine, with a rules folder, a state folder and a port of its own.

    `rules` maps file names to YAML text. The state folder outlives `kill` and `stop`: `start` goes
    on with it.
    """

    def __init__(
        self,
        engine_url: str,
        *,
        rules: Mapping[str, str] | None = None,
        config: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dm-run-"))
        self.rules = self.folder / "rules.d"
        self.state = self.folder / "state"
        self.port = free_port()
        self.engine_url = engine_url
        self.options = list(options)
        self.environment = dict(environment or {})
        self.wrapper: tuple[str, ...] = ()  # what the next start is run by, such as `unshare`
        self._process: subprocess.Popen[bytes] | None = None
        self.rules.mkdir()
        for name, text in (rules or {}).items():
            (self.rules / name).write_text(text)
        if config is not None:
            self.config = self.folder / "dockmend.yaml"
            self.config.write_text(config)
            self.options += ["--config", str(self.config)]

    # ------------------------------------------------------------------------------- life and death

    @property
    def pid(self) -> int:
        assert self._process is not None, "the daemon is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, ready: bool = True, timeout: float = LIMIT) -> Daemon:
        """Start it; with `ready`, returns once /readyz says 200."""
        command = [*self.wrapper, sys.executable, "-m", "dockmend", "run", "--engine",
            self.engine_url,
                   "--rules", str(self.rules),
                   "--state", str(self.state), "--listen", f"127.0.0.1:{self.port}", "--log-format",
                   "json",
                   *self.options]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        if ready:
            self.await_ready(timeout)
        return self

    def await_ready(self, timeout: float = LIMIT) -> None:
        """Wait until /readyz says 200; AssertionError with the log's end when the process dies or
        time runs out."""
        try:
            eventually(
                lambda: not self.running or self.status("/readyz") == 200,
                timeout,
                what="/readyz says 200",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-4000:]}") from error
        if not self.running:
            raise AssertionError(
                "the daemon ended with "
                f"{self._process and self._process.returncode}\n{self.text[-4000:]}"
            )

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        end(self._process, signal.SIGKILL)

    def stop(self, timeout: float = LIMIT) -> int | None:
        """SIGTERM and wait; returns the exit code."""
        return end(self._process, signal.SIGTERM, timeout)

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for an end that is its own; returns the exit code."""
        assert self._process is not None
        return self._process.wait(timeout)

    def pause(self) -> None:
        """SIGSTOP: a client of the engine that stops reading."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def close(self) -> None:
        """End it and remove its folder, state and all."""
        if self.running:
            self.resume()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -------------------------------------------------------------------------------- what it tells

    @property
    def text(self) -> str:
        """Everything it wrote, over all its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its log lines that are JSON objects, over all its starts."""
        rows = []
        for line in self.text.splitlines():
            if line.startswith("{"):
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    continue  # half a line: it is being written
        return rows

    def status(self, path: str) -> int:
        """The HTTP status of a page; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=5
            ) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def page(self, path: str) -> str:
        """The text of a page, asked for with the token that may look."""
        return self._answer(path)[0]

    def paged(self, path: str) -> tuple[Any, str]:
        """One page of a list, and the path of the next one; "" if this is the last."""
        text, link = self._answer(path)
        return json.loads(text), link.partition("<")[2].partition(">")[0]

    def _answer(self, path: str) -> tuple[str, str]:
        """The text of a page, and its Link header."""
        token = (self.state / "http.read.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            return str(response.read().decode()), str(response.headers.get("Link") or "")

    def metrics(self) -> str:
        """The page /metrics."""
        return self.page("/metrics")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples called `name` that carry these labels; 0 where there is none."""
        from prometheus_client.parser import text_string_to_metric_families

        total = 0.0
        for family in text_string_to_metric_families(self.metrics()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    total += sample.value
        return total

    def cli(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> str:
        """`dockmend ARGUMENTS --state STATE`: standard output; with `check`, AssertionError when it
        fails."""
        done = self.command(*arguments, timeout=timeout)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert not check or done.returncode == 0, (
            f"dockmend {' '.join(arguments)}: exit {done.returncode}\n{out}\n{err}"
        )
        return out

    def command(
        self, *arguments: str, timeout: float = 60.0, found: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """As `cli`, for tests that look at the exit code and at standard error. `found`: no flag
        says where it is."""
        command = [sys.executable, "-m", "dockmend", *arguments]
        if not found:
            command += ["--state", str(self.state)]
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=self._environment(),
        )

    def incidents(self, **wanted: object) -> list[dict[str, Any]]:
        """`dockmend incidents --json`, those whose fields have the wanted values."""
        rows = json.loads(self.cli("incidents", "--json") or "[]")
        return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]

    def _environment(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DOCKER_", "DOCKMEND_", "NOTIFY_"))
        }
        return kept | {
            "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1",
            "DOCKMEND_RUNTIME": str(self.folder / "run"),
        } | self.environment  # fmt: skip
