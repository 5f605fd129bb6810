"""From an event to a proven heal, on the real engine; and what is left alone."""

from __future__ import annotations

import json
import os
import signal

from tests.integration.healing import CRASHED, UNHEALTHY, actions_seen, closed, daemon
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually

ONCE = (
    "sh",
    "-c",
    "[ -e /cue ] && exec sleep 86400; while [ ! -e /cue ]; do sleep 0.1; done; exit 7",
)
"""Exits 7 once /cue is made; started again, it stays."""


def test_an_unhealthy_container_is_restarted_and_proven_healthy(docker: PrivateEngine):
    docker.patient("web")
    with daemon(docker, UNHEALTHY) as one:
        began = docker.now()
        docker.sicken("web", wait=False)
        (incident,) = closed(one, "healed", name="web")
        assert incident["rule"] == "heal"
        assert incident["attempts"] == 1
        assert docker.health("web") == "healthy"
        assert actions_seen(docker, "web", began, "restart") == ["restart"]
        story = json.loads(one.cli("incidents", incident["id"], "--json"))
        assert [step["action"] for step in story["actions"]] == ["restart"]
        assert story["actions"][0]["outcome"] == "done"
        assert one.metric("dockmend_heals_total", rule="heal", outcome="healed") == 1
        lines = [line for line in one.log if line.get("incident") == incident["id"]]
        assert len(lines) >= 2


def test_an_unhealthy_container_at_the_first_start_is_treated(docker: PrivateEngine):
    docker.patient("web")
    docker.sicken("web")
    with daemon(docker, UNHEALTHY) as one:
        closed(one, "healed", name="web")


def test_a_crashed_container_is_started(docker: PrivateEngine):
    docker.run("job", command=ONCE)
    with daemon(docker, CRASHED) as one:
        docker.docker("exec", "job", "touch", "/cue")
        (incident,) = closed(one, "healed", name="job")
        assert incident["cause"] == "crashed"
        assert docker.state("job") == "running"


def test_what_a_person_stops_kills_or_restarts_is_left_alone(docker: PrivateEngine):
    for name in ("stopped", "killed", "restarted", "witness"):
        docker.run(name)
    with daemon(docker, CRASHED) as one:
        docker.docker("stop", "-t", "1", "stopped")
        docker.docker("kill", "killed")
        docker.docker("restart", "-t", "1", "restarted")
        crash(docker, "witness")  # last: once it is healed, the others were seen
        closed(one, "healed", name="witness")
        assert {row["object_name"] for row in one.incidents() if row["outcome"] == "healed"} == {
            "witness"
        }
        assert docker.state("stopped") == "exited"
        assert docker.state("killed") == "exited"
        assert docker.state("restarted") == "running"


def crash(engine: PrivateEngine, name: str) -> None:
    """Ends a container's main process from within, where no API call is seen."""
    os.kill(int(engine.inspect(name)["State"]["Pid"]), signal.SIGKILL)


def test_one_that_gets_well_during_for_is_not_touched(docker: PrivateEngine):
    docker.patient("web")
    rules = UNHEALTHY.replace("match: all", "for: 20s\n    match: all")
    with daemon(docker, rules) as one:
        began = docker.now()
        docker.sicken("web")
        eventually(
            lambda: [row for row in one.incidents() if row["state"] == "waiting"], what="it waits"
        )
        docker.cure("web")
        docker.await_health("web", "healthy")
        (incident,) = closed(one, "recovered", name="web")
        assert incident["attempts"] == 0
        assert actions_seen(docker, "web", began, "restart", "kill") == []


def test_labels_decide_without_any_rules(docker: PrivateEngine):
    docker.patient("asked", "--label", "autoheal=true")
    docker.patient("silent")
    with daemon(docker, {}) as one:
        docker.sicken("silent")
        docker.sicken("asked", wait=False)
        closed(one, "healed", name="asked")
        assert one.incidents(object_name="silent") == []
        assert docker.health("silent") == "unhealthy"


def test_an_ignored_container_is_left_alone_and_said_so(docker: PrivateEngine):
    docker.patient("web", "--label", "dockmend.ignore=true")
    with daemon(docker, UNHEALTHY) as one:
        docker.sicken("web")
        (incident,) = closed(one, "suppressed", name="web")
        assert incident["reason"] == "labelled dockmend.ignore=true"


def test_an_images_labels_steer_nothing(docker: PrivateEngine):
    docker.toolbox_image(
        "steering:latest",
        labels={"dockmend.heal": "true", "dockmend.ignore": "true", "exitCode": "0"},
    )
    docker.patient("web", image="steering:latest")
    docker.run("job", image="steering:latest", command=ONCE)
    with daemon(docker, CRASHED) as one:
        docker.sicken("web")
        docker.docker("exec", "job", "touch", "/cue")
        (incident,) = closed(one, "healed", name="job")
        assert incident["cause"] == "crashed"
        # the built-in rule: only the image asked for it
        assert one.incidents(object_name="web") == []


def test_a_container_that_cannot_be_healed_is_given_up_with_its_breaker_open(docker: PrivateEngine):
    docker.patient("web", cured_by_restart=False)
    rules = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    verify: {within: 3s}
    limits: {attempts: 2 per 15m, backoff: 100ms to 200ms}
"""
    with daemon(docker, rules) as one:
        began = docker.now()
        docker.sicken("web")
        (incident,) = closed(one, "failed", name="web", timeout=60)
        assert incident["attempts"] == 2
        assert actions_seen(docker, "web", began, "restart") == ["restart", "restart"]
        assert one.metric("dockmend_breakers_open", rule="heal") == 1


def test_shadow_mode_touches_nothing(docker: PrivateEngine):
    docker.patient("web")
    with daemon(docker, UNHEALTHY, options=["--dry-run"]) as one:
        began = docker.now()
        docker.sicken("web")
        (incident,) = closed(one, "dry_run", name="web")
        assert "restart" in incident["reason"]
        assert actions_seen(docker, "web", began, "restart", "kill") == []
