"""A person's stop that meets dockmend's own restart, and dockmend killed around it: what was stopped stays stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.integration.stories import closed, stories
from tests.integration.test_killed import RESTART, Killed, identity
from tests.lab import QUICK_HEALTH, HoldingProxy, PrivateEngine, eventually

SLOW = (
    "sh",
    "-c",
    (
        "touch /well; test -e /end && trap exit TERM && while :; do sleep 0.1; done; "
        "trap '' TERM; while ! test -e /end; do sleep 0.1; done"
    ),
)
"""Deaf to SIGTERM in its first run, which ends only once the test says so: a person's stop always comes in time."""


@pytest.fixture
def proxy(docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def patient(docker: PrivateEngine) -> str:
    docker.run("web", "--health-cmd", "test -e /well", *QUICK_HEALTH, "--stop-timeout", "120", command=SLOW, init=False)
    docker.await_health("web", "healthy")
    return identity(docker, "web")


def a_person_stops_it_too(docker: PrivateEngine, killed: Killed) -> None:
    """While the restart waits for the end: both the engine's signals are sent, and then it ends, once."""
    stop = threading.Thread(target=docker.docker, args=("stop", "web"))
    stop.start()
    eventually(lambda: len(killed.events.actions("web", "kill")) == 2, 30, what="the person's stop waits for the end")
    docker.docker("exec", "web", "touch", "/end")
    stop.join()


def stays_down(killed: Killed) -> None:
    """The incident is over, everything has its outcome, and it does not run."""
    closed(killed.daemon, 1)
    told = [(each.action, each.outcome) for _, done in stories(killed.daemon) for each in done]
    assert all(outcome is not None for _, outcome in told), told
    assert killed.docker.state("web") == "exited", (told, killed.events.actions("web"))


def test_a_stop_that_a_restart_swallowed_before_dockmend_looked(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    """dockmend is killed once the engine has answered the restart, and before that answer reaches it."""
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        held = proxy.hold(f"POST /v[0-9.]+/containers/{web}/restart", "after")
        docker.sicken("web", wait=False)
        eventually(lambda: killed.events.actions("web", "kill"), 30, what="the restart stops it")
        a_person_stops_it_too(docker, killed)
        held.wait()
        swallowed = killed.events.actions("web", "stop")
        assert swallowed == ["stop", "stop"]
        assert docker.state("web") == "running"
        killed.dies(held)
        stays_down(killed)


def test_a_stop_that_a_restart_swallowed_and_a_look_that_is_cut(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        restart = proxy.hold(f"POST /v[0-9.]+/containers/{web}/restart", "during")
        docker.sicken("web", wait=False)
        restart.wait()
        eventually(lambda: killed.events.actions("web", "kill"), 30, what="the restart stops it")
        a_person_stops_it_too(docker, killed)
        eventually(lambda: killed.events.actions("web", "restart"), 30, what="the engine has restarted it")
        proxy.cut()  # the answer is lost, and the stream with it
        proxy.release()
        stays_down(killed)


def test_a_stop_between_the_intent_and_the_engine_being_asked(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    """dockmend is killed before its request reaches the engine: what a person stops then, settling does not start."""
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        held = proxy.hold(f"POST /v[0-9.]+/containers/{web}/restart", "before")
        docker.sicken("web", wait=False)
        held.wait()
        docker.docker("stop", "-t", "0", "web")
        killed.dies(held)
        stays_down(killed)
        assert killed.events.actions("web", "start", "restart") == []
