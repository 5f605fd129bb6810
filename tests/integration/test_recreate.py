"""A container made anew, on the real engine: what it keeps, what a new image changes, and what is put back."""

from __future__ import annotations

import json

import pytest

from dockmend.actions.base import Failed
from dockmend.rules.parameters import Recreate
from tests.integration.acting import Acting
from tests.integration.healing import actions_seen, closed, daemon
from tests.lab import TOOLBOX, PrivateEngine, eventually

ANEW = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: all
    then: {{recreate: {{image: {image}}}}}
    limits: {{attempts: {attempts}, backoff: 100ms to 200ms}}
"""
EVERYTHING = """
  - name: seen
    when: [container.started, container.exited, container.missing, container.crashed, container.stopped]
    match: all
    then: {publish: {topic: seen}}
"""


def names(docker: PrivateEngine) -> dict[str, str]:
    rows = docker.api("GET", "/containers/json?all=1")[1]
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


def test_an_unhealthy_container_is_recreated_and_its_incident_follows_the_new_one(docker: PrivateEngine):
    old = docker.patient("web", "--volume", "/data")
    docker.docker("exec", "web", "sh", "-c", "echo kept > /data/file")
    with daemon(docker, ANEW.format(image="same", attempts="2 per 15m") + EVERYTHING) as one:
        began = docker.now()
        docker.sicken("web", wait=False)
        (incident,) = closed(one, "healed", name="web")
        new = docker.inspect("web")["Id"]
        assert new != old
        assert (incident["object_id"], incident["target"], incident["attempts"]) == (new, "container:web", 1)
        assert docker.health("web") == "healthy"
        assert docker.docker("exec", "web", "cat", "/data/file") == "kept"
        assert names(docker) == {"web": "running"}
        assert actions_seen(docker, old, began, "stop", "rename", "destroy") == ["stop", "rename", "destroy"]
        story = json.loads(one.cli("incidents", incident["id"], "--json"))
        assert [(step["action"], step["outcome"]) for step in story["actions"]] == [("recreate", "done")]
        docker.run("witness")
        closed(one, name="witness")  # what came before it has been told
        assert {row["object_name"] for row in one.incidents() if row["rule"] == "seen"} == {"witness"}


def test_a_new_one_that_does_not_start_is_put_away_and_the_old_one_runs_again(docker: PrivateEngine):
    docker.toolbox_image("shop:1")
    old = docker.patient("web", image="shop:1", cured_by_restart=False)
    docker.toolbox_image("shop:2", changes=['ENTRYPOINT ["/no/such/program"]'])
    docker.docker("tag", "shop:2", "shop:1")
    with daemon(docker, ANEW.format(image="newest", attempts="1 per 15m")) as one:
        docker.sicken("web")
        (incident,) = closed(one, "failed", name="web", timeout=60)
        assert docker.inspect("web")["Id"] == old
        assert names(docker) == {"web": "running"}
        assert "the new one was not well: it ended with exit code 127" in incident["reason"]
        assert "the old one was put back and started" in incident["reason"]


def test_escalation_recreates_what_restarts_did_not_heal(docker: PrivateEngine):
    docker.run(
        "web", "--health-cmd", "test ! -e /broken", "--health-interval=200ms", "--health-retries=1",
        "--health-start-period=1s",
    )  # fmt: skip
    docker.await_health("web", "healthy")
    rules = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    verify: {within: 5s}
    limits: {attempts: 1 per 15m}
    escalate: [{recreate: {image: same}}]
"""
    with daemon(docker, rules) as one:
        docker.docker("exec", "web", "touch", "/broken")  # in the container's own layer: it outlives restarts
        (incident,) = closed(one, "healed", name="web", timeout=60)
        assert "by recreate of its escalation" in incident["reason"]
        assert docker.health("web") == "healthy"
        assert names(docker) == {"web": "running"}


async def test_what_did_not_run_is_not_started(acting: Acting, docker: PrivateEngine):
    docker.docker("create", "--name", "made", TOOLBOX, "sleep", "86400")
    done = await acting.run("recreate", Recreate(), "made")
    assert names(docker) == {"made": "created"}
    assert "not started" in done.detail


async def test_one_that_was_started_with_rm_is_refused(acting: Acting, docker: PrivateEngine):
    old = docker.run("web", "--rm")
    with pytest.raises(Failed, match="started with --rm") as failure:
        await acting.run("recreate", Recreate(), "web")
    assert not failure.value.again
    assert docker.inspect("web")["Id"] == old


async def test_a_tag_that_moved_is_the_newest_and_not_the_same(acting: Acting, docker: PrivateEngine):
    docker.toolbox_image("shop:1")
    docker.run("web", image="shop:1")
    before = docker.inspect("web")["Image"]
    docker.toolbox_image("shop:2", labels={"new": "yes"})
    docker.docker("tag", "shop:2", "shop:1")

    await acting.run("recreate", Recreate(image="newest"), "web")

    assert docker.inspect("web")["Config"]["Image"] == "shop:1"
    assert docker.inspect("web")["Config"]["Labels"] == {"new": "yes"}
    assert docker.inspect("web")["Image"] != before
    eventually(lambda: names(docker) == {"web": "running"})
