"""An owner that a person, or a rule, stopped: its dependents stand down without a failure, and come
back with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import vpn
from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents
from tests.integration.test_guests import CHECK, REJOIN, guest, has_network, owner, sicken
from tests.lab import Daemon, PrivateEngine, eventually

pytestmark = pytest.mark.timeout(300)

TAKE_DOWN = """
version: 1
rules:
  - name: take down
    when: container.unhealthy
    match: {name: vpn}
    then: stop
"""


def restarted(one: Daemon) -> None:
    one.stop()
    one.start()


def killed(one: Daemon) -> None:
    one.kill()
    one.start()


BETWEEN: dict[str, Callable[[Daemon], None]] = {
    "nothing": lambda one: None,
    "restarted": restarted,
    "killed": killed,
}


def stood_down(one: Daemon, who: str) -> None:
    """One incident of the dependents, over on purpose; nothing of them failed and nothing was
    tried."""
    (down,) = closed(one, 1, 60, rule="rejoin")
    assert (down.outcome, down.reason_code, down.severity, down.attempts) == (
        "on_purpose",
        "owner_stopped",
        "info",
        0,
    )
    assert down.reason.startswith(f"owner stopped by a {who}")


def came_back(one: Daemon) -> None:
    eventually(
        lambda: (
            [each.outcome for each in incidents(one, rule="rejoin")] == ["on_purpose", "healed"]
        ),
        90,
    )
    all_told(one)


@pytest.mark.parametrize("between", BETWEEN)
def test_dependents_of_an_owner_that_a_person_stops_come_back_with_it(
    docker: PrivateEngine, between: str
) -> None:
    owner(docker, *CHECK)
    guest(docker, "app")
    with daemon(docker, REJOIN) as one:
        docker.docker("stop", "vpn")
        stood_down(one, "person")
        BETWEEN[between](one)
        docker.docker("start", "vpn")
        came_back(one)
        assert has_network(docker, "app")


@pytest.mark.parametrize("between", ["nothing", "killed"])
def test_dependents_in_a_compose_project_come_back_with_their_owner(
    docker: PrivateEngine, tmp_path: Path, between: str
) -> None:
    project = vpn.Project(docker, tmp_path)
    project.up()
    with daemon(docker, vpn.RULE) as one:
        project.compose("stop", "vpn")
        (down,) = closed(one, 1, 60)
        assert (down.outcome, down.reason_code) == ("on_purpose", "owner_stopped")
        BETWEEN[between](one)
        project.compose("start", "vpn")
        project.connected()
        eventually(
            lambda: not incidents(one, state="acting") and not incidents(one, state="verifying"), 90
        )
        assert {each.outcome for each in incidents(one)} <= {"on_purpose", "healed", "recovered"}


@pytest.mark.parametrize("between", ["nothing", "killed"])
def test_dependents_of_an_owner_that_a_rule_stops_come_back_with_it(
    docker: PrivateEngine, between: str
) -> None:
    owner(docker, *CHECK)
    guest(docker, "app")
    with daemon(docker, {"a.yaml": TAKE_DOWN, "b.yaml": REJOIN}) as one:
        sicken(docker)
        closed(one, 1, 60, rule="take down", outcome="done")
        stood_down(one, "rule")
        BETWEEN[between](one)
        docker.docker("start", "vpn")
        came_back(one)
        assert has_network(docker, "app")


def test_a_persons_restart_of_the_owner_is_called_a_restart(docker: PrivateEngine) -> None:
    owner(docker, *CHECK)
    guest(docker, "app")
    with daemon(docker, REJOIN) as one:
        docker.docker("restart", "vpn")
        (back,) = closed(one, 1, 60, outcome="healed")
        assert back.note == "vpn, whose network it shares, was restarted by a person"
        assert has_network(docker, "app")
        # Where it takes its time to begin again, it has but ended as it is told; that it was
        # stopped is never said.
        ends = ("vpn was restarted", "vpn was stopped", "vpn ended")
        (told,) = [row["event"] for row in one.log if row["event"].startswith(ends)]
        assert told.startswith(
            ("vpn was restarted: somebody restarted it", "vpn ended: somebody stopped it")
        )
