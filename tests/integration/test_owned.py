"""What is dockmend's own is proven by its journal: a label, a name or an image proves nothing."""

from __future__ import annotations

import json

import pytest

from tests.integration.healing import daemon
from tests.lab import PrivateEngine

HOSTILE = "LABEL dockmend.helper=i0"
QUIET = "version: 1\nrules: []\n"


def image(docker: PrivateEngine, *changes: str, name: str = "hostile:latest") -> str:
    """An image like the toolbox, with these instructions more."""
    base = docker.docker("create", "toolbox:latest")
    docker.docker("commit", *(part for each in changes for part in ("--change", each)), base, name)
    docker.docker("rm", base)
    return name


def states(docker: PrivateEngine) -> dict[str, str]:
    """Every container by name, and its state."""
    rows = docker.api("GET", "/containers/json?all=1")[1]
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["acting", "dry run"])
def test_an_image_that_calls_its_containers_helpers_removes_none(
    docker: PrivateEngine, options: list[str]
) -> None:
    docker.run("users-database", image=image(docker, HOSTILE))
    with daemon(docker, QUIET, options=options) as one:
        told = json.loads(
            one.cli("coverage", "--json", "--engine", docker.url, "--rules", str(one.rules))
        )
        assert [each["name"] for each in told] == ["users-database"]
        one.stop()
        one.start()
        assert states(docker) == {"users-database": "running"}
