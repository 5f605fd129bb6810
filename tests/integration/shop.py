"""A shop as a Compose project: a database with a check, a job that completes, a shop, a worker, in
order."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab import PrivateEngine

FILE = """
services:
  db: &one
    image: toolbox:latest
    init: true
    stop_grace_period: 2s
    command: [sh, -c, "sleep 1; [ -e /broken ] || touch /tmp/well; exec sleep 86400"]
    tmpfs: [/tmp]
    healthcheck:
      test: [CMD, test, -e, /tmp/well]
      interval: 200ms
      timeout: 2s
      retries: 10
      start_period: 5s
  migrate:
    image: toolbox:latest
    command: ["true"]
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *one
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  worker:
    image: toolbox:latest
    init: true
    stop_grace_period: 2s
    command: [sleep, "86400"]
    depends_on: {web: {condition: service_healthy, restart: true}}
  extra:
    image: toolbox:latest
    init: true
    stop_grace_period: 2s
    command: [sleep, "86400"]
"""
RUNNING = ("shop-db-1", "shop-web-1", "shop-worker-1")


class Shop:
    """The project in a folder of its own; `extra` was stopped by a person."""

    def __init__(self, engine: PrivateEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.file = folder / "compose.yaml"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        self.file.write_text(FILE)
        self.file.chmod(0o644)

    def compose(self, *arguments: str) -> None:
        command = ["docker-compose", "-H", self.engine.url, "-p", "shop", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    def up(self) -> None:
        self.compose("up", "--detach")
        for name in ("shop-db-1", "shop-web-1"):
            self.engine.await_health(name, "healthy", 60)

    def began(self) -> dict[str, str]:
        names = (*RUNNING, "shop-migrate-1", "shop-extra-1")
        return {name: str(self.engine.inspect(name)["State"]["StartedAt"]) for name in names}
