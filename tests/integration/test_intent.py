"""What people and hosts do on purpose is no trouble: paused, stopped, replaced, updated, upgraded,
shut down."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.mirror.exit_cause import GOING_DOWN
from tests.integration.healing import CRASHED, UNHEALTHY, actions_seen, closed
from tests.integration.test_ends import kill_main
from tests.lab import QUICK_HEALTH, Daemon, PrivateEngine, eventually

ALL = {"unhealthy.yaml": UNHEALTHY, "crashed.yaml": CRASHED}
COMPOSE = """
name: shop
services:
  web:
    image: toolbox:latest
    init: true
    command: ["sleep", "{seconds}"]
"""
RECONNECT = """
version: 1
rules:
  - name: reconnect
    when: container.network_lost
    match: all
    then: reconnect_network
"""
Makes = Callable[..., Daemon]


def nothing_but_the_witness(one: Daemon, engine: PrivateEngine) -> None:
    """A container that breaks last is healed, and nothing else ever was a trouble that was
    answered."""
    engine.run("witness")
    kill_main(engine, "witness")
    closed(one, "healed", name="witness", timeout=60)
    assert {row["object_name"] for row in one.incidents() if row["outcome"] != "on_purpose"} == {
        "witness"
    }


def test_what_a_person_does_to_one(docker: PrivateEngine, daemon: Makes):
    names = ("stopped", "killed", "updated", "renamed", "replaced")
    for name in names:
        docker.run(name, "--stop-timeout", "1")
    one = daemon(docker.url, rules=ALL)
    began = docker.now()
    docker.docker("stop", "stopped")
    docker.docker("kill", "killed")
    docker.docker("update", "--restart", "on-failure", "--cpus", "0.5", "updated")
    docker.docker("rename", "renamed", "other")
    docker.docker("rm", "-f", "replaced")
    docker.run("replaced")
    nothing_but_the_witness(one, docker)
    assert {name: docker.state(name) for name in ("stopped", "killed")} == {
        "stopped": "exited",
        "killed": "exited",
    }
    for name in ("stopped", "killed", "updated", "other"):
        assert actions_seen(docker, name, began, "start", "restart") == []


def test_one_that_is_paused_is_not_said_to_be_well_and_not_tried_again(
    docker: PrivateEngine, daemon: Makes
):
    docker.docker("network", "create", "lane")
    docker.run("web", "--network", "lane")
    one = daemon(docker.url, rules={"reconnect.yaml": RECONNECT})
    began = docker.now()
    docker.docker("pause", "web")
    docker.docker("network", "disconnect", "--force", "lane", "web")
    eventually(
        lambda: waiting_for(one, "web") == ["paused"],
        60,
        what="it waits until the container goes on",
    )
    assert "lane" in docker.inspect("web")["NetworkSettings"]["Networks"]
    docker.docker("unpause", "web")
    (incident,) = closed(one, "healed", name="web", timeout=60)
    assert incident["attempts"] == 1
    assert actions_seen(docker, "web", began, "start", "restart", "unpause") == ["unpause"]


SLOW_START = """
version: 1
rules:
  - name: slow
    when: container.crashed
    match: all
    then: [{wait: {time: 3s}}, start]
    verify: {within: 5s}
    limits: {backoff: 100ms to 1s}
"""


def test_a_container_replaced_in_the_middle_of_an_attempt_is_no_reason_to_give_up(
    docker: PrivateEngine, daemon: Makes
):
    docker.run("web")
    one = daemon(docker.url, rules={"slow.yaml": SLOW_START})
    kill_main(docker, "web")
    eventually(lambda: [row["state"] for row in one.incidents(object_name="web")] == ["acting"])
    docker.docker("rm", "--force", "web")
    docker.run("web")
    closed(one, name="web", timeout=60)
    kill_main(docker, "web")
    closed(one, "healed", name="web", timeout=60)


SLOW_CHECK = (
    "--health-retries=1", "--health-timeout=5s", "--health-start-period=5m",
    "--health-start-interval=200ms"
)  # fmt: skip


def test_a_container_that_goes_on_after_a_pause_is_not_unhealthy(
    docker: PrivateEngine, daemon: Makes
):
    """The engine calls it so until the next probe, and who lists then must not believe it."""
    docker.run("web", "--health-cmd", "true", "--health-interval=1h", *SLOW_CHECK)
    docker.await_health("web", "healthy")
    one = daemon(docker.url, rules=ALL)
    one.kill()
    docker.docker("pause", "web")
    docker.docker("unpause", "web")
    assert docker.health("web") == "unhealthy"
    one.start()
    nothing_but_the_witness(one, docker)


def test_a_check_that_fails_on_after_a_pause_is_found_though_no_event_tells(
    docker: PrivateEngine, daemon: Makes, tmp_path: Path
):
    (tmp_path / "well").touch()
    options = (
        "--volume",
        f"{tmp_path}:/h",
        "--health-cmd",
        "test -e /h/well",
        "--health-interval=1s",
        *SLOW_CHECK,
    )
    docker.run("web", *options)
    docker.await_health("web", "healthy")
    one = daemon(docker.url, rules=ALL)
    docker.docker("pause", "web")
    (tmp_path / "well").unlink()
    began = docker.now()
    docker.docker("unpause", "web")
    eventually(
        lambda: one.incidents(object_name="web", rule="heal"), 60, what="it is found unhealthy"
    )
    assert docker.events(since=began, container="web", event="health_status: unhealthy") == []


def waiting_for(one: Daemon, name: str) -> list[str]:
    return [row["waiting_for"] for row in one.incidents(object_name=name)]


RENAMED = """
version: 1
rules:
  - name: heal
    when: [container.unhealthy, container.crashed]
    match: all
    then: {restart: {timeout: 1s}}
    verify: {state: healthy, within: 3s}
    limits: {backoff: 15s to 20s}
"""


def test_a_container_renamed_in_the_middle_of_an_incident_has_no_second_one(
    docker: PrivateEngine, daemon: Makes
):
    docker.patient("web", cured_by_restart=False)
    one = daemon(docker.url, rules={"rules.yaml": RENAMED})
    docker.sicken("web")
    eventually(
        lambda: waiting_for(one, "web") == ["backoff"],
        60,
        what="the first attempt failed",
        every=0.5,
    )

    docker.docker("rename", "web", "shop")
    kill_main(docker, "shop")  # a trouble of its own, under its new name
    docker.await_state("shop", "exited")
    docker.run("witness", "--health-cmd", "true", *QUICK_HEALTH)
    kill_main(docker, "witness")  # its trouble comes after the other's
    closed(one, "healed", name="witness", timeout=60)

    assert [row["object_name"] for row in one.incidents() if row["object_name"] != "witness"] == [
        "web"
    ]
    eventually(lambda: docker.state("shop") == "running", 60, what="it is restarted")
    docker.cure("shop")
    (row,) = closed(one, "healed", name="web", timeout=120)
    assert row["attempts"] >= 2


def test_compose_up_that_replaces_a_container(docker: PrivateEngine, daemon: Makes, tmp_path: Path):
    docker.toolbox_image()
    file = tmp_path / "compose.yaml"
    one = daemon(docker.url, rules=ALL)
    ids = []
    for seconds in ("86400", "86401"):
        file.write_text(COMPOSE.format(seconds=seconds))
        docker.docker("compose", "-f", str(file), "up", "--detach", timeout=120)
        ids.append(docker.inspect("shop-web-1")["Id"])
    assert ids[0] != ids[1]
    docker.docker("compose", "-f", str(file), "stop", timeout=120)
    nothing_but_the_witness(one, docker)
    assert docker.state("shop-web-1") == "exited"


@pytest.mark.parametrize("live_restore", [False, True], ids=["plain", "live-restore"])
def test_an_engine_upgrade(
    own_engine: Callable[..., PrivateEngine], daemon: Makes, live_restore: bool
):
    """dockerd is terminated and another one started: what it brings back, or kept, is no
    trouble."""
    engine = own_engine(live_restore=live_restore)
    engine.run("kept", "--restart", "always")
    engine.run("stopped", "--restart", "unless-stopped", "--stop-timeout", "1")
    one = daemon(engine.url, rules=ALL)
    engine.docker("stop", "stopped")
    nothing_but_the_witness(one, engine)
    engine.docker("rm", "-f", "witness")
    began = engine.inspect("kept")["State"]["StartedAt"]
    engine.restart()
    eventually(lambda: engine.state("kept") == "running", 60, what="it runs again")
    eventually(lambda: one.status("/readyz") == 200, 60, what="the engine is taken again")
    nothing_but_the_witness(one, engine)
    assert (engine.inspect("kept")["State"]["StartedAt"] == began) is live_restore
    assert engine.state("stopped") == "exited"


@pytest.mark.parametrize("first", ["dockmend", "engine"])
def test_a_host_that_is_shut_down(
    own_engine: Callable[..., PrivateEngine], daemon: Makes, first: str
):
    """Everything is stopped by the engine going down; dockmend ends before it, or after it."""
    engine = own_engine()
    engine.run("always", "--restart", "always")
    engine.run("stopped", "--restart", "unless-stopped", "--stop-timeout", "1")
    one = daemon(engine.url, rules=ALL)
    engine.docker("stop", "stopped")
    nothing_but_the_witness(one, engine)
    engine.docker("rm", "-f", "witness")
    for each in (
        (one.stop, engine.terminate) if first == "dockmend" else (engine.terminate, one.stop)
    ):
        each()
    engine.start()
    eventually(lambda: engine.state("always") == "running", 60, what="it runs again")
    one.start(timeout=60)
    nothing_but_the_witness(one, engine)
    assert engine.state("stopped") == "exited"


def test_what_a_host_that_was_away_for_long_took_down_runs_again(
    own_engine: Callable[..., PrivateEngine], daemon: Makes
):
    """One without a restart policy that obeys the engine's signal ends with 0, as one whose work is
    done."""
    engine = own_engine()
    engine.run("kept", "--restart", "unless-stopped")
    engine.run("obeys", command=("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"))
    engine.run("by-person", command=("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"))
    one = daemon(engine.url, rules=ALL)
    one.stop()
    engine.docker("stop", "by-person")
    ended = time.time()
    engine.terminate()
    away = GOING_DOWN + 5.0
    eventually(
        lambda: time.time() > ended + away,
        away + 30.0,
        what="longer than an engine takes to go down",
    )
    engine.start()
    eventually(lambda: engine.state("kept") == "running", 60, what="it runs again")
    one.start(timeout=60)
    eventually(
        lambda: engine.state("obeys") == "running", 60, what="it was left down, and is started"
    )
    assert [row["cause"] for row in one.incidents() if row["object_name"] == "obeys"] == [
        "left_down"
    ]
    assert engine.state("by-person") == "exited"
