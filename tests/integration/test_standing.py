"""What changes around a trouble that stands, on the real engine: other healers, pauses, names,
known breakers."""

from __future__ import annotations

import json

from tests.integration.healing import UNHEALTHY, actions_seen, closed, daemon
from tests.integration.stories import incidents
from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually

GIVES_UP = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    verify: {within: 2s}
    limits: {attempts: 1 per 15m, backoff: 100ms to 200ms}
    escalate: [{publish: {topic: given-up}}]
"""


def other_healer(docker: PrivateEngine) -> None:
    """It has the engine's socket, as one that heals must."""
    docker.run(
        "other-healer", "--volume", f"{docker.socket}:/var/run/docker.sock",
        image="willfarrell/autoheal:latest",
    )  # fmt: skip


def state_of_label_rule(one: Daemon) -> str:
    rows = json.loads(one.cli("rules", "--json"))
    rows = rows["rules"] if isinstance(rows, dict) else rows
    return str(next(row["state"] for row in rows if row["name"] == "label:heal"))


def test_beside_another_healer_the_built_in_rule_shadows_and_acts_when_that_is_gone(
    docker: PrivateEngine,
):
    docker.toolbox_image("willfarrell/autoheal:latest")
    docker.patient("web", "--label", "autoheal=true")
    with daemon(docker, {}) as one:
        assert state_of_label_rule(one) == "enabled"
        docker.run("named-like-one", image="willfarrell/autoheal:latest")
        other_healer(docker)
        eventually(lambda: state_of_label_rule(one) == "shadow", what="it shadows", every=0.5)
        assert one.metric("dockmend_not_acting", reason="another_healer") == 1
        assert one.metric("dockmend_acting") == 0
        began = docker.now()
        docker.sicken("web")
        closed(one, "dry_run", name="web")
        assert actions_seen(docker, "web", began, "restart") == []
        docker.docker("rm", "--force", "other-healer")
        closed(one, "healed", name="web")
        assert state_of_label_rule(one) == "enabled"
        assert one.metric("dockmend_acting") == 1
        assert actions_seen(docker, "web", began, "restart") == ["restart"]


def test_what_was_only_said_beside_a_healer_is_done_by_the_next_dockmend_without_it(
    docker: PrivateEngine,
):
    docker.toolbox_image("willfarrell/autoheal:latest")
    docker.patient("web", "--label", "autoheal=true")
    other_healer(docker)
    with daemon(docker, {}) as one:
        docker.sicken("web")
        closed(one, "dry_run", name="web")
        one.stop()
        docker.docker("rm", "--force", "other-healer")
        one.start()
        closed(one, "healed", name="web")


def test_the_pauses_in_force_are_counted_after_a_start_and_until_they_end(docker: PrivateEngine):
    docker.run("web")
    with daemon(docker, UNHEALTHY) as one:
        one.cli("pause", "--rule", "heal")
        one.cli("pause", "--container", "web", "--for", "20s")
        assert one.metric("dockmend_paused") == 2
        one.kill()
        one.start()
        assert one.metric("dockmend_paused") == 2
        eventually(
            lambda: one.metric("dockmend_paused") == 1,
            60,
            what="the one that ends has ended",
            every=0.5,
        )
        one.cli("resume", "--rule", "heal")
        assert one.metric("dockmend_paused") == 0


def test_a_pause_reaches_the_incident_of_a_container_that_was_renamed(docker: PrivateEngine):
    docker.patient("web")
    with daemon(docker, UNHEALTHY.replace("match: all", "for: 15s\n    match: all")) as one:
        began = docker.now()
        docker.sicken("web")
        eventually(lambda: incidents(one, waiting_for="for"), what="it waits")
        docker.docker("rename", "web", "shop")
        eventually(
            lambda: "paused" in one.command("pause", "--container", "shop").stdout.decode(),
            what="it is paused",
        )
        eventually(lambda: incidents(one, waiting_for="paused"), what="the incident is held")
        assert actions_seen(docker, "shop", began, "restart") == []
        one.cli("resume", "--container", "shop")
        closed(one, "healed")


def test_a_breaker_that_is_open_is_counted_after_a_start_and_not_given_up_again(
    docker: PrivateEngine,
):
    docker.patient("web", cured_by_restart=False)
    with daemon(docker, GIVES_UP) as one:
        docker.sicken("web")
        closed(one, "failed", name="web", timeout=60)
        for _ in range(2):
            one.stop()
            one.start()
            assert one.metric("dockmend_breakers_open", rule="heal") == 1
        docker.run("witness")  # once it is seen, what stood at the start was offered
        eventually(
            lambda: one.metric("dockmend_containers", state="running") >= 2, what="it is seen"
        )
        assert one.text.count("gives up on") == 1
        assert len(incidents(one)) == 1
        assert one.text.count("given-up") <= 2  # the intent and its outcome, once
