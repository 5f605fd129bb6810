"""The VPN case on a real engine: whatever befalls a network's owner, its dependents have it again,
as one incident."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents
from tests.integration.vpn import BEHIND, OWNER, RULE, Project
from tests.lab import Daemon, PrivateEngine, eventually

# a loaded machine takes its time over Compose
pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]


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
    eventually(
        lambda: project.engine.inspect(OWNER)["RestartCount"] == 1,
        what="the engine started it again",
    )


def recreated(project: Project) -> None:
    project.up("--force-recreate", "--no-deps", "vpn")


def image_replaced(project: Project) -> None:
    project.image = project.engine.toolbox_image("gateway:2", labels={"version": "2"})
    project.up("--no-deps", "vpn")


def removed_and_run(project: Project) -> None:
    project.compose("rm", "--stop", "--force", "vpn")
    project.up("--no-deps", "vpn")


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


@pytest.mark.parametrize("what", [restarted, recreated])
def test_what_befell_the_owner_while_dockmend_was_down(project: Project, what) -> None:
    with daemon(project.engine, RULE, config="heal: off\n") as one:
        one.kill()
        what(project)
        one.start()
        project.connected()
        one_incident(one)
        assert set(project.joined().values()) == {project.engine.inspect(OWNER)["Id"]}


@pytest.mark.parametrize("watching", [True, False], ids=["watching", "dead too"])
@pytest.mark.parametrize("policy", ["always", "unless-stopped", "no"])
def test_after_a_reboot(own_engine, tmp_path: Path, policy: str, watching: bool) -> None:
    """Those behind may have been started before the owner ran ("cannot join network"), or have been
    left down."""
    project = Project(own_engine(), tmp_path, policy)
    project.up()
    project.connected()
    with daemon(project.engine, RULE, config="heal: off\n") as one:
        if not watching:
            one.kill()
        project.reboot()
        if not watching:
            one.start()
        project.connected()
        eventually(
            lambda: all(each.state == "closed" for each in incidents(one)),
            60,
            what="all is treated",
        )
        assert {each.outcome for each in incidents(one)} <= {"healed", "recovered"}
        assert len(incidents(one)) <= 1, incidents(one)
        all_told(one)


def test_an_owner_that_is_gone_is_waited_for_and_one_that_a_person_stopped_behind_it_stays_stopped(
    project: Project,
) -> None:
    web = BEHIND[1]
    with daemon(project.engine, RULE, config="heal: off\n") as one:
        project.engine.docker("stop", web)
        project.compose("rm", "--stop", "--force", "vpn")
        (waiting,) = eventually(lambda: incidents(one, state="waiting", waiting_for="owner"))
        assert waiting.reason.startswith(f"{OWNER}, ")
        project.up("--no-deps", "vpn")
        project.connected(BEHIND[0], BEHIND[2])
        one_incident(one)
        assert project.engine.state(web) == "exited"
