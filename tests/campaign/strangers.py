"""What strangers write: an image whose labels claim all that a label can claim, and the labels of a
Compose service."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.lab import PrivateEngine

IMAGE, OWN_IMAGE = "toolbox:hostile", "toolbox:hostile-own"
"""The second one calls its containers helpers of the very dockmend that runs."""
PROJECT = "camp"
SIZE = 60
"""Containers of a mass removal."""
RUNNING = 16
"""Those of one that run."""


def service(name: str, *, one_off: bool = False) -> tuple[str, ...]:
    """The labels by which Compose knows a container of a service."""
    compose = "com.docker.compose."
    return (
        f"{compose}project={PROJECT}", f"{compose}service={name}", f"{compose}container-number=1",
        f"{compose}oneoff={one_off}", f"{compose}config-hash={'0' * 64}",
        f"{compose}version=2.26.1",
    )  # fmt: skip


def labels(instance: str = "") -> dict[str, str]:
    """Every label that means something to dockmend, to Compose, to a swarm or to another healer."""
    claimed = dict(label.split("=", 1) for label in service("vpn"))
    return claimed | {
        "tier": "kept",
        "slot": "h1",
        "dockmend.heal": "true",
        "dockmend.ignore": "true",
        "dockmend.helper": f"{instance}/i000000000000000" if instance else "i0",
        "dockmend.rejoin": "true",
        "dockmend.depends-on": "h1,w1",
        "dockmend.image": "toolbox:latest",
        "autoheal": "true",
        "deunhealth.restart.on.unhealthy": "true",
        "com.centurylinklabs.watchtower.enable": "true",
        "com.docker.swarm.service.name": "vpn",
        "com.docker.swarm.service.id": "0" * 25,
        "com.docker.swarm.task.id": "0" * 25,
        "com.docker.swarm.task.name": "vpn.1.0",
        "signal": "15",
        "exitCode": "0",
        "name": "h1",
        "container": "h1",
        "image": "toolbox:latest",
    }


def make_image(engine: PrivateEngine) -> None:
    engine.toolbox_image(IMAGE, labels=labels())


def make_own_image(engine: PrivateEngine, journal: Path) -> None:
    """Whoever can read an image's labels may know the id of the state folder: dockmend writes it on
    what it makes."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5)) as connection:
        instance = connection.execute("SELECT id FROM instance").fetchone()[0]
    engine.toolbox_image(OWN_IMAGE, labels=labels(str(instance)))
