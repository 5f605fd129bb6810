"""The VPN case on a real engine: whatever befalls a network's owner, its dependents have it again, as one incident."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents
from tests.integration.vpn import BEHIND, OWNER, RULE, Project
from tests.lab import Daemon, PrivateEngine, eventually


@pytest.fixture
def project(docker: PrivateEngine, tmp_path: Path) -> Project:
    one = Project(docker, tmp_path)
    one.up()
    one.connected()
    return one


def one_incident(one: Daemon) -> None:
    """All of it was one incident, and it healed."""
    (incident,) = closed(one, outcome="healed", timeout=60)
    assert incident.target == "dependents:compose:shop/vpn/1"
    assert len(incidents(one)) == 1, incidents(one)
    all_told(one)


def restarted(project: Project) -> None:
    project.engine.docker("restart", OWNER)


def killed(project: Project) -> None:
    os.kill(int(project.engine.inspect(OWNER)["State"]["Pid"]), signal.SIGKILL)
    eventually(lambda: project.engine.inspect(OWNER)["RestartCount"] == 1, 30, what="the engine started it again")


def recreated(project: Project) -> None:
    project.up("--force-recreate", "--no-deps", "vpn")


def image_replaced(project: Project) -> None:
    project.image = project.engine.toolbox_image("gateway:2", labels={"version": "2"})
    project.up("--no-deps", "vpn")


def removed_and_run(project: Project) -> None:
    project.compose("rm", "--stop", "--force", "vpn")
    project.up("--no-deps", "vpn")


@pytest.mark.compose
@pytest.mark.parametrize("what", [restarted, killed, recreated, image_replaced, removed_and_run])
def test_every_dependent_has_the_network_again(project: Project, what) -> None:
    before = project.engine.inspect(OWNER)["Id"]
    with daemon(project.engine, RULE, config="heal: off\n") as one:
        what(project)
        project.connected()
        one_incident(one)
        after = project.engine.inspect(OWNER)["Id"]
        assert project.joined() == dict.fromkeys(BEHIND, after)
        assert (after == before) == (what in (restarted, killed))
