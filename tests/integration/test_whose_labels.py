"""Whose labels count, on a real engine with real Compose: images that name themselves a service,
builds, one-offs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.healing import actions_seen, daemon
from tests.integration.stories import closed, incidents
from tests.lab import PrivateEngine

BUILT = """
services:
  web:
    build: .
    init: true
    stop_grace_period: 1s
    command: [sh, -c, "touch /tmp/well; exec sleep 86400"]
    labels: {dockmend.heal: "true", tier: web}
    healthcheck:
      {test: [CMD, test, -e, /tmp/well], interval: 200ms, timeout: 2s, retries: 2, start_period: 5s}
"""
COMPOSE = "com.docker.compose."
RULES = """
version: 1
rules:
  - name: ended
    when: container.crashed
    match: {labels: {tier: web}}
    then: start
    verify: {within: 5s}
    limits: {attempts: 2 per 15m, backoff: 100ms to 1s}
  - name: all
    when: container.crashed
    match: all
    then: start
    verify: {within: 5s}
"""
ONE_OFFS = """
version: 1
rules:
  - name: jobs
    when: container.crashed
    match: {oneoff: true, compose: {service: web}}
    then: start
    verify: {within: 5s}
    limits: {attempts: 1 per 15m}
"""
GROUP = """
version: 1
rules:
  - name: group
    when: container.unhealthy
    match: all
    then: compose_restart
    limits: {attempts: 1 per 15m}
"""


class Built:
    """A Compose project whose one service is built here."""

    def __init__(self, engine: PrivateEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        engine.toolbox_image()
        (folder / "Dockerfile").write_text("FROM toolbox:latest\nLABEL maintainer=nobody\n")
        (folder / "compose.yaml").write_text(BUILT)

    def compose(self, *arguments: str) -> int:
        command = ["docker-compose", "-H", self.engine.url, "-p", "shop", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, check=False, capture_output=True, text=True, timeout=120
        )
        print(done.stderr)
        return done.returncode

    def up(self) -> None:
        assert self.compose("up", "--detach", "--build") == 0
        self.engine.await_health("shop-web-1", "healthy", 60)

    def image_labels(self) -> dict[str, str]:
        status, answer = self.engine.api("GET", "/images/shop-web/json")
        assert status == 200
        labels: dict[str, str] = answer["Config"]["Labels"]
        return labels


@pytest.fixture
def shop(docker: PrivateEngine, tmp_path: Path) -> Iterator[Built]:
    one = Built(docker, tmp_path)
    yield one
    docker.docker("rm", "--force", "shop-web-1", check=False)
    docker.docker("rmi", "--force", "shop-web", check=False)


def test_a_service_that_compose_built_is_still_that_service(
    docker: PrivateEngine, shop: Built
) -> None:
    """Compose writes project, service and version into the image, equal to the container's."""
    shop.up()
    assert shop.image_labels()[f"{COMPOSE}service"] == "web"
    docker.run("byhand", image="shop-web")
    with daemon(docker, {}) as one:
        docker.docker("exec", "shop-web-1", "rm", "/tmp/well")

        (incident,) = closed(one, outcome="healed")

        assert incident.target == "compose:shop/web/1"
        told = {
            row["name"]: row["target"]
            for row in json.loads(one.cli("coverage", "--json", "--engine", docker.url))
        }
        assert told == {"byhand": "container:byhand", "shop-web-1": "compose:shop/web/1"}


def test_a_one_off_is_not_its_service(docker: PrivateEngine, shop: Built) -> None:
    shop.up()
    with daemon(docker, RULES) as one:
        assert shop.compose("run", "--name", "shop-migrate", "web", "sh", "-c", "exit 3") == 3
        docker.run("other", "--label", "tier=web", command=("sh", "-c", "sleep 1; exit 4"))

        # What comes after it in the stream has been treated: so it was passed by.
        closed(one, object_name="other")

        assert {row.object_name for row in incidents(one)} == {"other"}
        assert docker.inspect("shop-migrate")["State"]["ExitCode"] == 3
        assert actions_seen(docker, "shop-migrate", 0, "start") == ["start"]
    docker.docker("rm", "--force", "shop-migrate", "other")


def test_a_rule_can_ask_for_one_offs(docker: PrivateEngine, shop: Built) -> None:
    shop.up()
    with daemon(docker, ONE_OFFS) as one:
        assert shop.compose("run", "--name", "shop-migrate", "web", "sh", "-c", "exit 3") == 3

        (incident,) = closed(one, object_name="shop-migrate")

        assert incident.target == "container:shop-migrate"
        assert incident.outcome == "failed"
    docker.docker("rm", "--force", "shop-migrate")


def test_an_image_is_no_member_of_a_project_and_steers_nothing(
    docker: PrivateEngine, shop: Built
) -> None:
    """Its author names another's service, and every label that dockmend or another healer knows."""
    shop.up()
    labels = {
        f"{COMPOSE}project": "shop", f"{COMPOSE}service": "web", f"{COMPOSE}container-number": "1",
        f"{COMPOSE}config-hash": "a1", "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task.id": "t1", "dockmend.heal": "true", "autoheal": "true",
        "tier": "web", "dockmend.depends-on": "shop-web-1",
    }  # fmt: skip
    docker.toolbox_image("stranger:1", labels=labels)
    docker.patient("stray", image="stranger:1")
    began = docker.inspect("shop-web-1")["State"]["StartedAt"]
    with daemon(docker, GROUP) as one:
        docker.sicken("stray")

        (incident,) = closed(one, object_name="stray")

        assert (incident.target, incident.outcome) == ("container:stray", "failed")
        assert "belongs to no Compose project" in incident.reason
        assert [row.object_name for row in incidents(one)] == ["stray"]
        assert docker.inspect("shop-web-1")["State"]["StartedAt"] == began


def test_an_image_cannot_take_the_place_of_a_service_that_is_missing(
    docker: PrivateEngine, shop: Built
) -> None:
    shop.up()
    docker.run("byhand", image="shop-web")
    rule = "version: 1\nrules: [{name: gone, when: container.missing, match: all, then: notify}]\n"
    rule = rule.replace(
        "then: notify", 'then: {publish: {topic: gone, payload: "{container.name}"}}'
    )
    with daemon(docker, rule) as one:
        docker.docker("rm", "--force", "shop-web-1")

        (incident,) = closed(one, rule="gone", timeout=60)

        assert incident.target == "compose:shop/web/1"
