"""Tasks of a Swarm service: Swarm makes another one in place of one that ended, so dockmend begins
none anew."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed
from tests.lab import TOOLBOX, PrivateEngine, eventually

RULE = """
version: 1
rules:
  - name: up
    when: [container.crashed, container.unhealthy]
    match: {name: "web*"}
    then: restart
"""
NO_RULES = "version: 1\nrules: []\n"


def tasks(docker: PrivateEngine, *options: str) -> list[str]:
    return docker.docker("ps", "--no-trunc", "--quiet", *options).split()


@pytest.mark.parametrize("rules", [NO_RULES, RULE], ids=["by its label", "by a rule of a file"])
def test_a_task_that_crashed_is_not_started_beside_the_new_one(
    own_engine: Callable[..., PrivateEngine], rules: str
) -> None:
    docker = own_engine()
    docker.docker(
        "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"
    )
    label = ("--container-label", "dockmend.heal=true") if rules is NO_RULES else ()
    docker.docker(
        "service", "create", "--detach", "--no-resolve-image", "--name", "web", "--restart-delay",
        "1s", *label, TOOLBOX, "sleep", "86400",
    )  # fmt: skip
    (old,) = eventually(lambda: tasks(docker), 60, what="the task runs")
    with daemon(docker, rules) as one:
        os.kill(int(docker.inspect(old)["State"]["Pid"]), signal.SIGKILL)
        eventually(
            lambda: [each for each in tasks(docker) if each != old], 60, what="Swarm's new task"
        )

        (incident,) = closed(one, timeout=60)

        assert (incident.outcome, incident.reason_code) == ("suppressed", "swarm"), incident
        assert (
            "it is a task of the Swarm service web, and Swarm makes another one" in incident.reason
        )
        assert docker.state(old) == "exited"
        assert len(tasks(docker)) == 1
        all_told(one)
    docker.docker("service", "rm", "web")
