"""A container that was given up, removed and made again: whose limits it has, on the real
engine."""

from __future__ import annotations

import pytest

from tests.integration.healing import closed, daemon
from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually

RULES = """
version: 1
rules:
  - name: revive
    when: container.crashed
    match: all
    then: start
    limits: {attempts: 2 per 15m, backoff: 50ms to 100ms}
"""
CRASHES = ("sh", "-c", "exit 7")


def given_up(one: Daemon, docker: PrivateEngine) -> None:
    docker.run("sick", command=CRASHES)
    (incident,) = closed(one, "failed", name="sick")
    assert incident["attempts"] == 2
    docker.docker("rm", "-f", "sick")


def last_of(one: Daemon, container_id: str) -> dict[str, object]:
    """The last incident of a container, once it is closed."""

    def look() -> list[dict[str, object]]:
        return [row for row in one.incidents(object_id=container_id) if row["state"] == "closed"]

    return max(eventually(look, what="its incident is closed"), key=lambda row: str(row["id"]))


@pytest.mark.parametrize("killed", [False, True], ids=["", "dockmend is killed meanwhile"])
def test_one_that_was_made_another_way_has_all_its_attempts(docker: PrivateEngine, killed: bool):
    with daemon(docker, RULES) as one:
        given_up(one, docker)
        if killed:
            one.kill()
            one.start()
        new = docker.run("sick", "--env", "FIXED=almost", command=CRASHES)
        incident = last_of(one, new)
        assert (incident["outcome"], incident["attempts"]) == ("failed", 2)
        assert str(incident["reason"]).endswith("given up after 2 attempts")
        one.kill()  # what was forgotten stays so
        one.start()
        docker.docker("rm", "-f", "sick")
        better = docker.run("sick", "--env", "FIXED=nearly", command=CRASHES)
        assert last_of(one, better)["attempts"] == 2


def test_one_that_was_only_made_again_has_none_and_is_told_how_to_get_some(docker: PrivateEngine):
    with daemon(docker, RULES) as one:
        given_up(one, docker)
        new = docker.run("sick", command=CRASHES)
        incident = last_of(one, new)
        assert incident["attempts"] == 0
        line = "dockmend reset revive container:sick"
        assert line in str(incident["reason"])
        one.cli(*line.split()[1:])
        eventually(
            lambda: [row for row in one.incidents(object_id=new) if row["attempts"] == 2],
            what="it is tried as often as any other",
        )
