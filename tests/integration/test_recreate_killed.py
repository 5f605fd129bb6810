"""dockmend killed at every journalled step of recreate: one survivor under the name, running, with
its volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from dockmend.actions.container_swap import Stage
from tests.integration.stories import closed
from tests.integration.test_killed import Killed, identity
from tests.lab import Hold, HoldingProxy, PrivateEngine, eventually
from tests.lab.proxy import When

RULES = """
version: 1
rules:
  - name: anew
    # On demand: a check that is late on a busy machine asks for nothing.
    when: {schedule: "0 0 1 1 *"}
    match: all
    then: {recreate: {image: same}}
    limits: {backoff: 100ms to 200ms}
  - name: seen
    when: [container.crashed, container.stopped, container.missing]
    match: all
    then: {publish: {topic: seen}}
"""

ANY = "[0-9a-f]{64}"
STEPS: dict[str, tuple[Stage, str]] = {
    "make": ("make", r"POST \S*/containers/create\?name={name}\.dockmend-new-"),
    "stop": ("stop", r"POST \S*/containers/{old}/stop"),
    "policy": ("aside", r"POST \S*/containers/{old}/update"),
    "aside": ("aside", r"POST \S*/containers/{old}/rename"),
    "name": ("name", r"POST \S*/rename\?name={name} "),
    "remove": ("remove", r"DELETE \S*/containers/{old}\?"),
}
"""Steps whose request names the container; those of one that is not made yet are held one after the
other."""
POLICY = {"Name": "on-failure", "MaximumRetryCount": 4}
MOMENTS: tuple[When, ...] = ("before", "during", "after")


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def patient(docker: PrivateEngine, name: str) -> None:
    """Its anonymous volume holds its name; it is healthy a moment after its start."""
    docker.run(
        name, "--health-cmd", "true", "--health-interval=300ms", "--volume", "/data",
        "--stop-timeout", "2", "--restart", "on-failure:4",
    )  # fmt: skip
    docker.docker("exec", name, "sh", "-c", f"echo {name} > /data/name")


def one_survives(docker: PrivateEngine, *names: str) -> None:
    def look() -> bool:
        rows = docker.api("GET", "/containers/json?all=1")[1]
        return {row["Names"][0]: row["State"] for row in rows} == {
            f"/{name}": "running" for name in names
        }

    eventually(look, 90, what=f"exactly {', '.join(names)} run")
    for name in names:
        docker.await_health(name, "healthy", 60)
        assert docker.docker("exec", name, "cat", "/data/name") == name
        assert docker.inspect(name)["HostConfig"]["RestartPolicy"] == POLICY


@pytest.mark.timeout(400)
@pytest.mark.parametrize("when", MOMENTS)
def test_a_death_at_every_step(docker: PrivateEngine, proxy: HoldingProxy, when: When) -> None:
    for name in (*STEPS, "start"):
        patient(docker, name)
    with Killed(docker, proxy, RULES) as killed:
        holds: list[Hold] = []
        for name, (_, pattern) in STEPS.items():
            holds.append(proxy.hold(pattern.format(name=name, old=identity(docker, name)), when))
        for name in STEPS:
            killed.daemon.cli("trigger", "anew", name)
        for hold in holds:
            hold.wait(120)
        # all others stand still
        holds.append(proxy.hold(rf"POST \S*/containers/{ANY}/start", when))
        killed.daemon.cli("trigger", "anew", "start")
        holds[-1].wait(60)

        killed.dies(*holds)

        told = closed(killed.daemon, len(STEPS) + 1, timeout=120)
        assert {each.outcome for each in told} == {"done"}
        # what dockmend ended before its death, it ended
        assert {each.rule for each in told} == {"anew"}
        one_survives(docker, *STEPS, "start")
        killed.nothing_is_left()


def test_a_death_while_the_new_one_proves_itself(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """It becomes healthy only after the next start, which goes on waiting for it."""
    docker.docker("volume", "create", "cue")
    well = "test -e /cue/well"
    old = docker.run(
        "web", "--health-cmd", well, "--health-interval=300ms", "--health-retries=9999", "--volume",
        "/data", "--volume", "cue:/cue", "--stop-timeout", "1", "--restart", "on-failure:4",
    )  # fmt: skip
    docker.docker("exec", "web", "sh", "-c", "echo web > /data/name; touch /cue/well")
    docker.await_health("web", "healthy")
    with Killed(docker, proxy, RULES) as killed:
        docker.docker("exec", "web", "rm", "/cue/well")
        killed.daemon.cli("trigger", "anew", "web")
        eventually(lambda: identity(docker, "web") != old and docker.state("web") == "running", 60)
        new = identity(docker, "web")

        killed.dies()
        docker.docker("exec", "web", "touch", "/cue/well")

        one_survives(docker, "web")
        assert identity(docker, "web") == new
        (incident,) = closed(killed.daemon, 1, timeout=60)
        assert incident.object_id == new
        killed.nothing_is_left()


@pytest.mark.parametrize(
    "stopped", ["while dockmend is dead", "while it finishes what it had begun"]
)
def test_a_person_stops_the_new_one_while_it_is_to_prove_itself(
    docker: PrivateEngine, proxy: HoldingProxy, stopped: str
) -> None:
    """Neither the new one nor, under its name, the old one is started again."""
    docker.docker("volume", "create", "cue")
    old = docker.run(
        "web", "--health-cmd", "test -e /cue/well", "--health-interval=300ms",
        "--health-retries=9999", "--volume", "cue:/cue", "--stop-timeout", "1",
    )  # fmt: skip
    docker.docker("exec", "web", "touch", "/cue/well")
    docker.await_health("web", "healthy")
    with Killed(docker, proxy, RULES) as killed:
        docker.docker("exec", "web", "rm", "/cue/well")  # the new one is never well
        killed.daemon.cli("trigger", "anew", "web")
        eventually(lambda: identity(docker, "web") != old and docker.state("web") == "running", 60)
        new = identity(docker, "web")

        killed.daemon.kill()
        if stopped == "while dockmend is dead":
            docker.docker("stop", "web")
        killed.daemon.start()
        if stopped != "while dockmend is dead":
            eventually(lambda: "taking up what was open" in killed.daemon.text, 60)
            docker.docker("stop", "web")

        (incident,) = closed(killed.daemon, 1, timeout=90, rule="anew")
        assert incident.object_id == new
        rows = docker.api("GET", "/containers/json?all=1")[1]
        assert [(row["Id"], row["State"]) for row in rows] == [(new, "exited")]


def test_every_step_is_among_them() -> None:
    assert {stage for stage, _ in STEPS.values()} | {"start", "verify"} == set(get_args(Stage))
