"""A person's stop that meets dockmend's own restart, and dockmend killed around it: what was
stopped stays stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.integration.stories import closed, stories
from tests.integration.test_killed import RESTART, Killed, identity
from tests.integration.test_recorded_ends import flood
from tests.lab import QUICK_HEALTH, HoldingProxy, PrivateEngine, eventually

SLOW = (
    "sh",
    "-c",
    (
        "if test -e /end; then touch /well; exec sleep 86400; fi; "
        "trap '' TERM; touch /well; while ! test -e /end; do sleep 0.1; done"
    ),
)
"""Deaf to SIGTERM in its first run, which ends only once the test says so: a person's stop always
comes in time. Below an init, so that the next run ends by SIGTERM from its first moment on."""
WELL = ("sh", "-c", "touch /well; exec sleep 86400")
pytestmark = pytest.mark.timeout(300)

RECREATE = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: all
    then: recreate
    limits: {backoff: 100ms to 1s}
"""

STOP_AND_START = RECREATE.replace("then: recreate", "then: [stop, start]")


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def patient(docker: PrivateEngine) -> str:
    docker.run(
        "web", "--health-cmd", "test -e /well", *QUICK_HEALTH, "--stop-timeout", "60", command=SLOW
    )
    docker.await_health("web", "healthy")
    return identity(docker, "web")


def dockmend_stops_it(
    docker: PrivateEngine, proxy: HoldingProxy, killed: Killed, web: str, call: str
) -> None:
    """By the call of a rule that answers its failed check; the engine waits for its end."""
    asked = proxy.hold(f"POST /v[0-9.]+/containers/{web}/{call}", "during")
    docker.sicken("web", wait=False)
    asked.wait()
    eventually(lambda: killed.events.actions("web", "kill"), 30, what="dockmend stops it")


def a_person_stops_it_too(docker: PrivateEngine, killed: Killed) -> None:
    """While the restart waits for the end: both the engine's signals are sent, and then it ends,
    once."""
    stop = threading.Thread(target=docker.docker, args=("stop", "web"))
    stop.start()
    eventually(
        lambda: len(killed.events.actions("web", "kill")) == 2,
        30,
        what="the person's stop waits for the end",
    )
    docker.docker("exec", "web", "touch", "/end")
    stop.join()


def stays_down(killed: Killed) -> None:
    """The incident is over, everything has its outcome, and it does not run. Where the stream was
    late, one that is deaf had been started meanwhile, and takes its stop timeout to end."""
    closed(killed.daemon, 1, timeout=150)
    told = [(each.action, each.outcome) for _, done in stories(killed.daemon) for each in done]
    assert all(outcome is not None for _, outcome in told), told
    assert killed.docker.state("web") == "exited", (told, killed.events.actions("web"))


def test_a_stop_that_a_restart_swallowed_before_dockmend_looked(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """dockmend is killed once the engine has answered the restart, and before that answer reaches
    it."""
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


def test_a_stop_that_a_restart_swallowed_and_a_look_that_is_cut(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        dockmend_stops_it(docker, proxy, killed, web, "restart")
        a_person_stops_it_too(docker, killed)
        eventually(
            lambda: killed.events.actions("web", "restart"), 30, what="the engine has restarted it"
        )
        proxy.cut()  # the answer is lost, and the stream with it
        proxy.release()
        stays_down(killed)


def test_a_stop_between_the_intent_and_the_engine_being_asked(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """dockmend is killed before its request reaches the engine: what a person stops then, settling
    does not start."""
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        held = proxy.hold(f"POST /v[0-9.]+/containers/{web}/restart", "before")
        docker.sicken("web", wait=False)
        held.wait()
        docker.docker("stop", "-t", "0", "web")
        killed.dies(held)
        stays_down(killed)
        assert killed.events.actions("web", "start", "restart") == []


def test_what_a_person_stops_after_a_restart_whose_start_the_engine_forgot(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """dockmend is killed in its restart, and the engine's 256 events run over: of what followed the
    restart it still tells, of the restart's own stop and start it does not."""
    docker.run("first")
    docker.run("web", "--health-cmd", "test -e /well", *QUICK_HEALTH, command=WELL)
    docker.await_health("web", "healthy")
    web = identity(docker, "web")
    with Killed(docker, proxy, RESTART) as killed:
        held = proxy.hold(f"POST /v[0-9.]+/containers/{web}/restart", "after")
        docker.sicken("web", wait=False)
        held.wait()
        killed.daemon.kill()
        flood(docker)
        docker.docker("stop", "web")
        assert docker.events(since=0.0, container="web", event="start") == []
        killed.dies()
        stays_down(killed)
        assert killed.events.actions("web", "start") == ["start"], "the restart's own"


DURING = {
    "restart, docker kill": (RESTART, "restart", "kill"),
    "restart, docker stop": (RESTART, "restart", "stop"),
    "recreate, docker stop": (RECREATE, "stop", "stop"),
    "recreate, docker kill": (RECREATE, "stop", "kill"),
    "stop and start, docker stop": (STOP_AND_START, "stop", "stop"),
    "stop and start, docker kill": (STOP_AND_START, "stop", "kill"),
}


@pytest.mark.parametrize("case", DURING)
def test_what_a_person_stops_while_dockmend_stops_it_stays_down(
    docker: PrivateEngine, proxy: HoldingProxy, case: str
) -> None:
    rules, call, command = DURING[case]
    web = patient(docker)
    with Killed(docker, proxy, rules) as killed:
        dockmend_stops_it(docker, proxy, killed, web, call)
        if command == "stop":
            a_person_stops_it_too(docker, killed)
        else:
            docker.docker("kill", "web")
            if call == "restart":  # what it began anew is deaf as well
                eventually(
                    lambda: len(killed.events.actions("web", "kill")) == 3,
                    60,
                    what="it is stopped again",
                )
                # it may not have been deaf yet
                docker.docker("exec", "web", "touch", "/end", check=False)
        stays_down(killed)
        assert identity(docker, "web") == web
        names = docker.docker("ps", "--all", "--format", "{{.Names}}").split()
        assert [each for each in names if "dockmend" in each] == []


def test_a_stop_that_is_done_while_dockmends_restart_is_on_its_way(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """The person asked first, and the container has ended before dockmend's call arrives: the
    engine tells of one stop, as it does of a restart alone."""
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        stop = threading.Thread(target=docker.docker, args=("stop", "web"))
        stop.start()
        eventually(
            lambda: killed.events.actions("web", "kill"),
            30,
            what="the person's stop waits for the end",
        )

        def ends() -> None:
            docker.docker("exec", "web", "touch", "/end")
            stop.join()

        deed = proxy.meanwhile(f"POST /v[0-9.]+/containers/{web}/restart", ends)
        docker.sicken("web", wait=False)
        assert deed.done.wait(60)
        stays_down(killed)


def test_what_a_person_restarts_while_dockmend_restarts_it_runs(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    web = patient(docker)
    with Killed(docker, proxy, RESTART) as killed:
        dockmend_stops_it(docker, proxy, killed, web, "restart")
        again = threading.Thread(target=docker.docker, args=("restart", "web"))
        again.start()
        eventually(
            lambda: len(killed.events.actions("web", "kill")) == 2,
            30,
            what="the person's waits for the end",
        )
        docker.docker("exec", "web", "touch", "/end")
        again.join()
        (incident,) = closed(killed.daemon, 1)
        assert (incident.outcome, docker.state("web")) == ("healed", "running")


@pytest.mark.parametrize(
    "command", [("stop", "-t", "0", "web"), ("kill", "web")], ids=["stop", "kill"]
)
def test_what_a_person_stops_just_before_its_recreation_does_stays_down(
    docker: PrivateEngine, proxy: HoldingProxy, command: tuple[str, ...]
) -> None:
    """The engine answers that it was stopped already: whose doing that was, the stream tells."""
    web = patient(docker)
    with Killed(docker, proxy, RECREATE) as killed:
        deed = proxy.meanwhile(
            f"POST /v[0-9.]+/containers/{web}/stop", lambda: docker.docker(*command)
        )
        docker.sicken("web", wait=False)
        assert deed.done.wait(30)
        stays_down(killed)
        assert identity(docker, "web") == web


ROUNDS = 12
"""Of 150 containers that were killed and, within 40 ms, stopped, 48 still ran as the stop came
(measured on Engine 26.1): the engine sends the stop signal as well, and tells of one stop."""


@pytest.mark.parametrize("call", ["restart", "recreate"])
def test_what_a_person_kills_as_dockmends_stop_comes_stays_down(
    docker: PrivateEngine, proxy: HoldingProxy, call: str
) -> None:
    names = [f"web{number}" for number in range(ROUNDS)]
    for name in names:
        docker.run(name, "--health-cmd", "test -e /well", *QUICK_HEALTH, command=WELL)
    for name in names:
        docker.await_health(name, "healthy")
    with Killed(docker, proxy, RESTART if call == "restart" else RECREATE) as killed:
        for number, name in enumerate(names):
            person = threading.Thread(target=docker.api, args=("POST", f"/containers/{name}/kill"))

            def kills(person: threading.Thread = person, number: int = number) -> None:
                person.start()
                time.sleep(0.003 * number)  # it waits for nothing: each round meets another instant

            asked = "restart" if call == "restart" else "stop"
            deed = proxy.meanwhile(
                f"POST /v[0-9.]+/containers/{identity(docker, name)}/{asked}", kills
            )
            docker.sicken(name, wait=False)
            assert deed.done.wait(60)
            person.join()

        def over() -> bool:
            incidents = [incident for incident, _ in stories(killed.daemon)]
            return len(incidents) >= ROUNDS and all(each.state == "closed" for each in incidents)

        eventually(over, 150, what="every incident is closed")
        assert {name: docker.state(name) for name in names} == dict.fromkeys(names, "exited")


def test_what_ends_on_its_own_just_before_its_recreation_does_is_made_anew(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    web = patient(docker)
    with Killed(docker, proxy, RECREATE) as killed:

        def crash() -> None:
            os.kill(int(docker.inspect("web")["State"]["Pid"]), signal.SIGKILL)
            eventually(lambda: docker.state("web") == "exited", 30)

        proxy.meanwhile(f"POST /v[0-9.]+/containers/{web}/stop", crash)
        docker.sicken("web", wait=False)
        closed(killed.daemon, 1, outcome="healed")
        assert docker.state("web") == "running"


def test_a_recreation_that_is_killed_after_a_persons_stop_leaves_it_down(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """Killed once the engine has stopped the old one, before its answer arrives: the next start
    hears of two stops."""
    web = patient(docker)
    with Killed(docker, proxy, RECREATE) as killed:
        held = proxy.hold(f"POST /v[0-9.]+/containers/{web}/stop", "after")
        docker.sicken("web", wait=False)
        eventually(lambda: killed.events.actions("web", "kill"), 30, what="dockmend stops it")
        a_person_stops_it_too(docker, killed)
        killed.dies(held)
        stays_down(killed)
        assert identity(docker, "web") == web
