"""A Compose project whose one service is built here, and a person who brings it up."""

from __future__ import annotations

import json
import subprocess

from tests.lab import LabError, PrivateEngine

from . import fleet

PROJECT = "built"
TRIES = 3
"""How often a person tries it where dockmend did something to the same container meanwhile."""
PATIENCE = 120.0
"""Seconds for which a person waits for Compose."""


class Project:
    """Its folder is below the engine's."""

    def __init__(self, engine: PrivateEngine, key: str, tier: str) -> None:
        self._engine = engine
        self._folder = engine.folder / PROJECT
        self._folder.mkdir(mode=0o755)
        (self._folder / "Dockerfile").write_text("FROM toolbox:latest\nLABEL maintainer=nobody\n")
        service = {
            "build": ".",
            "init": True,
            "stop_grace_period": "2s",
            "command": ["sh", "-c", fleet.STARTS],
            "labels": {"slot": key, "tier": tier},
            "healthcheck": {
                "test": ["CMD", "test", "-e", "/well"], "interval": "1500ms", "timeout": "5s",
                "retries": 1, "start_period": "1s", "start_interval": "300ms",
            },
        }  # fmt: skip
        (self._folder / "compose.yaml").write_text(json.dumps({"services": {"web": service}}))

    def up(self, *options: str) -> str:
        """`docker compose up --detach`; returns the id of the container. LabError if Compose could
        not."""
        command = [
            "docker-compose",
            "-H",
            self._engine.url,
            "-p",
            PROJECT,
            "up",
            "--detach",
            *options,
        ]
        for _ in range(TRIES):
            done = subprocess.run(
                command, cwd=self._folder, check=False, capture_output=True, text=True,
                timeout=PATIENCE
            )  # fmt: skip
            if done.returncode == 0:
                return str(self._engine.inspect(fleet.COMPOSED)["Id"])
        raise LabError(f"docker compose up: {done.stderr[-500:]}")
