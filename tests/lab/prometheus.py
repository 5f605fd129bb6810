"""A real Prometheus that scrapes, and promtool's opinion on a page of metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from .programs import end, free_port
from .waiting import eventually


def check_metrics(text: str) -> str:
    """`promtool check metrics` over a page: what it complains of, empty when it is content."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text.encode(),
        check=False,
        capture_output=True,
        timeout=30,
    )
    complaint = (done.stdout + done.stderr).decode(errors="replace").strip()
    return complaint or ("" if done.returncode == 0 else f"promtool: exit {done.returncode}")


class Prometheus:
    """One Prometheus that scrapes `target` (host:port) every 200 ms."""

    def __init__(self, target: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dm-prometheus-"))
        self.port = free_port()
        self.target = target
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Prometheus:
        """Start it; returns when it is ready."""
        job = {"job_name": "dockmend", "static_configs": [{"targets": [self.target]}]}
        settings = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [job],
        }
        conf = self.folder / "prometheus.yml"
        conf.write_text(json.dumps(settings))  # JSON is YAML
        command = ["prometheus", f"--config.file={conf}", f"--storage.tsdb.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            eventually(lambda: self._get("/-/ready"), what="Prometheus is ready")
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{(self.folder / 'log').read_text(errors='replace')}"
            ) from error
        return self

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query: a list of {metric, value}."""
        answer = json.loads(
            self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        )
        return list(answer["data"]["result"])

    def stop(self) -> None:
        """End it and remove its folder."""
        end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _get(self, path: str) -> bytes:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=5
            ) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            error.close()
            raise AssertionError(f"Prometheus answers {error.code} to {path}") from None
