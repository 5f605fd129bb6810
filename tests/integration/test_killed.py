"""dockmend killed in the middle of its actions and started again: nothing left half-done, nothing
done twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.integration.stories import all_told, closed, incidents, stories
from tests.lab import (
    QUICK_HEALTH,
    TOOLBOX,
    Daemon,
    Hold,
    HoldingProxy,
    PrivateEngine,
    Recorder,
    eventually,
)
from tests.lab.proxy import When

SETTINGS = "heal: off\nlimits: {parallel: 16, rate: none}\n"

RESTART = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
"""

RECONNECT = """
version: 1
rules:
  - name: back
    when: container.network_lost
    match: all
    then: reconnect_network
"""

KEEP = """
version: 1
rules:
  - name: keep
    when: container.crashed
    match: all
    then:
      - commit_image: {repository: kept, tag: "{container.name}"}
      - start
    verify: {within: 5s}
"""

COLD = """
version: 1
rules:
  - name: cold
    when: container.unhealthy
    match: all
    then: [stop, {snapshot_volume: {consistency: live}}, start]
"""

FROZEN = """
version: 1
rules:
  - name: image
    when: container.oom_killed
    match: all
    then: {commit_image: {repository: kept, tag: "{container.name}", pause: true}}
"""

FINALLY = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    finally: [{commit_image: {repository: kept, tag: "{container.name}"}}, {kill: {signal: CONT}}]
"""

SNAPSHOT = """
version: 1
rules:
  - name: copy
    when: {schedule: "0 0 1 1 *"}
    match: {kind: volume}
    then: {snapshot_volume: {consistency: pause}}
"""

MOMENTS: tuple[When, ...] = ("before", "during", "after")


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


class Killed:
    """A daemon behind a proxy, killed at the held requests and started again without it."""

    def __init__(
        self, docker: PrivateEngine, proxy: HoldingProxy, rules: str, settings: str = SETTINGS
    ) -> None:
        self.docker = docker
        self.proxy = proxy
        self.events = Recorder(docker)
        self.daemon = Daemon(proxy.url, rules={"rules.yaml": rules}, config=settings)

    def __enter__(self) -> Self:
        try:
            self.daemon.start()
        except BaseException:
            self.__exit__(AssertionError)
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(self.daemon.text[-12000:])
        self.daemon.close()
        self.events.__exit__()

    def dies(self, *holds: Hold) -> None:
        """SIGKILL once all of them were reached, and a new start."""
        for hold in holds:
            hold.wait()
        self.daemon.kill()
        self.proxy.release()
        self.daemon.engine_url = self.docker.url
        self.daemon.start()

    def nothing_is_left(self) -> None:
        """Every incident has its end, nothing is paused or stopped, no helper and no half-written
        file is there."""
        eventually(
            lambda: (
                not incidents(self.daemon, state="acting")
                and not incidents(self.daemon, state="verifying")
            )
        )
        all_told(self.daemon)
        rows = self.docker.api("GET", "/containers/json?all=1")[1]
        assert {row["Names"][0]: row["State"] for row in rows if row["State"] != "running"} == {}
        assert [row["Names"] for row in rows if "dockmend.helper" in row["Labels"]] == []
        assert [str(path) for path in self.daemon.state.rglob("*.partial")] == []
        archives = {
            path.name.removesuffix(".tar.zst") for path in self.daemon.state.rglob("*.tar.zst")
        }
        assert archives == {
            path.name.removesuffix(".json")
            for path in self.daemon.state.rglob("snapshots/*/*.json")
        }


def crash(docker: PrivateEngine, name: str) -> None:
    os.kill(int(docker.inspect(name)["State"]["Pid"]), signal.SIGKILL)


def identity(docker: PrivateEngine, name: str) -> str:
    return str(docker.inspect(name)["Id"])


def test_a_restart(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    docker.patient("before", "--stop-timeout", "1")
    docker.patient("after", "--stop-timeout", "1")
    # deaf to SIGTERM: its stop takes the whole timeout
    well = ("sh", "-c", "touch /well; exec sleep 86400")
    docker.run(
        "during",
        "--health-cmd",
        "test -e /well",
        *QUICK_HEALTH,
        "--stop-timeout",
        "3",
        command=well,
        init=False,
    )
    docker.await_health("during", "healthy")
    with Killed(docker, proxy, RESTART) as killed:
        held = {
            name: proxy.hold(f"POST /v[0-9.]+/containers/{identity(docker, name)}/restart", name)
            for name in MOMENTS
        }
        docker.sicken("before")
        docker.sicken("after")
        held["before"].wait()
        held["after"].wait()
        docker.sicken("during", wait=False)

        killed.dies(*held.values())

        told = {incident.object_name: incident for incident in closed(killed.daemon, 3)}
        assert {name: each.outcome for name, each in told.items()} == dict.fromkeys(held, "healed")
        assert {name: each.attempts for name, each in told.items()} == {
            "before": 2,
            "during": 1,
            "after": 1,
        }
        for name in held:
            assert docker.health(name) == "healthy"
            assert killed.events.actions(name, "restart", "start") in (
                ["start", "restart"],
                ["restart", "start"],
            ), name
        outcomes = {
            incident.object_name: [each.outcome for each in done]
            for incident, done in stories(killed.daemon)
        }
        assert outcomes == {
            "before": ["interrupted", "done"],
            "during": ["done"],
            "after": ["done"],
        }
        killed.nothing_is_left()


def test_a_reconnection(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    docker.docker("network", "create", "--subnet", "10.90.0.0/24", "lane")
    for number, name in enumerate(MOMENTS):
        docker.run(
            name,
            "--network",
            "lane",
            "--ip",
            f"10.90.0.{50 + number}",
            "--network-alias",
            f"shop-{name}",
        )
    docker.run("peer", "--network", "lane")
    with Killed(docker, proxy, RECONNECT) as killed:
        for name in MOMENTS:
            docker.docker("network", "connect", "bridge", name)
        held = []
        for name in MOMENTS:
            hold = proxy.hold("POST /v[0-9.]+/networks/[0-9a-z]+/connect", name)
            docker.docker("network", "disconnect", "lane", name)
            hold.wait()
            held.append(hold)

        killed.dies(*held)

        told = {incident.object_name: incident.outcome for incident in closed(killed.daemon, 3)}
        assert told == dict.fromkeys(MOMENTS, "healed")
        for number, name in enumerate(MOMENTS):
            pinged = docker.docker("exec", "peer", "ping", "-c", "1", "-W", "2", f"shop-{name}")
            assert f"from 10.90.0.{50 + number}" in pinged
        connects = killed.events.of("lane", "connect", kind="network")
        assert sorted(row["Actor"]["Attributes"]["container"] for row in connects) == sorted(
            identity(docker, name) for name in MOMENTS
        )
        killed.nothing_is_left()


def images(docker: PrivateEngine, tag: str) -> list[str]:
    """Every image that was committed of a container, tagged or not."""
    found = docker.docker(
        "images", "--quiet", "--no-trunc", "--filter", f"label=dockmend.source={tag}"
    )
    return sorted(set(found.splitlines()))


def test_a_rule_of_two_steps_goes_on_where_it_was(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """Commit what crashed, then start it: killed at five instants of the two."""
    cases: dict[str, tuple[str, When]] = {
        "commit-before": ("POST /v[0-9.]+/commit.*container={}", "before"),
        "commit-during": ("POST /v[0-9.]+/commit.*container={}", "during"),
        "commit-after": ("POST /v[0-9.]+/commit.*container={}", "after"),
        "start-before": ("POST /v[0-9.]+/containers/{}/start", "before"),
        "start-after": ("POST /v[0-9.]+/containers/{}/start", "after"),
    }
    for name in cases:
        docker.run(name)
    docker.docker("exec", "commit-during", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=60")
    with Killed(docker, proxy, KEEP) as killed:
        holds = {
            n: proxy.hold(p.format(identity(docker, n)), when) for n, (p, when) in cases.items()
        }
        for name in cases:
            if name != "commit-during":
                crash(docker, name)
        for name in cases:
            if name != "commit-during":
                holds[name].wait()
        crash(docker, "commit-during")

        killed.dies(*holds.values())

        told = {incident.object_name: incident for incident in closed(killed.daemon, 5, timeout=60)}
        assert {name: each.outcome for name, each in told.items()} == dict.fromkeys(cases, "healed")
        assert {name: each.attempts for name, each in told.items()} == {
            name: 2 if name == "commit-before" else 1
            for name in cases  # what had not begun is looked at and tried anew
        }
        for name in cases:
            assert killed.events.actions(name, "start") == ["start"], name
            assert len(images(docker, name)) == 1, name
        killed.nothing_is_left()


@pytest.mark.parametrize(
    ("request_line", "when"),
    [
        ("/containers/[0-9a-z]+/stop", "after"),
        ("GET .*/archive", "after"),
        ("/containers/[0-9a-z]+/start", "before"),
    ],
)
def test_what_a_rule_stopped_is_started_by_its_next_step(
    docker: PrivateEngine, proxy: HoldingProxy, request_line: str, when: When
) -> None:
    """What dockmend's own step stopped was stopped by no person."""
    docker.patient("web", "--volume", "data:/data", "--stop-timeout", "1")
    with Killed(docker, proxy, COLD) as killed:
        hold = proxy.hold(request_line, when)
        docker.sicken("web", wait=False)

        killed.dies(hold)

        (incident,) = closed(killed.daemon)
        assert (incident.outcome, incident.attempts) == ("healed", 1)
        assert docker.health("web") == "healthy"
        assert killed.events.actions("web", "stop", "start") == ["stop", "start"]
        assert len(json.loads(killed.daemon.cli("snapshots", "list", "--json"))) == 1
        killed.nothing_is_left()


def test_a_commit_that_freezes(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    names: tuple[When, ...] = ("after", "during")
    for name in names:
        docker.run(name)
        docker.docker("exec", name, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=40")
    with Killed(docker, proxy, FROZEN) as killed:
        held = []
        for name in names:
            held.append(
                proxy.hold(f"POST /v[0-9.]+/commit.*container={identity(docker, name)}", name)
            )
            killed.daemon.cli("trigger", "image", name)
            held[-1].wait()

        killed.dies(*held)

        told = {
            incident.object_name: incident.outcome
            for incident in closed(killed.daemon, 2, timeout=60)
        }
        assert told == dict.fromkeys(names, "done")
        for name in names:
            assert len(images(docker, name)) == 1, name
            assert docker.state(name) == "running"
        killed.nothing_is_left()


@pytest.mark.parametrize("when", ["before", "after"])
def test_attempts_of_one_incident_leave_one_image(
    docker: PrivateEngine, proxy: HoldingProxy, when: When
) -> None:
    """Killed as the second attempt's image has taken the name from the first one's, which is about
    to be removed."""
    third_time = "echo x >>/starts; [ $(wc -l </starts) -gt 2 ] || exit 3; exec sleep 86400"
    with Killed(docker, proxy, KEEP) as killed:
        hold = proxy.hold("DELETE /v[0-9.]+/images/", when)
        docker.run("web", command=("sh", "-c", third_time))

        killed.dies(hold)

        (incident,) = closed(killed.daemon, timeout=60)
        assert (incident.outcome, incident.attempts) == ("healed", 2)
        (left,) = images(docker, "web")
        assert docker.api("GET", "/images/kept:web/json")[1]["Id"] == left
        killed.nothing_is_left()


@pytest.mark.parametrize("when", MOMENTS)
def test_what_comes_finally_comes_once(
    docker: PrivateEngine, proxy: HoldingProxy, when: When
) -> None:
    """Killed in the second step of `finally`: neither `then` nor the first of it is done again."""
    docker.patient("web")
    with Killed(docker, proxy, FINALLY) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{identity(docker, 'web')}/kill.*CONT", when)
        docker.sicken("web", wait=False)

        killed.dies(hold)

        (incident,) = closed(killed.daemon)
        assert (incident.outcome, incident.attempts) == ("healed", 1)
        assert killed.events.actions("web", "restart", "commit") == ["restart", "commit"]
        sent = [
            row
            for row in killed.events.of("web", "kill")
            if row["Actor"]["Attributes"]["signal"] == "18"
        ]
        assert len(sent) == (0 if when == "before" else 1)
        killed.nothing_is_left()


OWED = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: [{publish: {topic: one}}, restart]
    finally: [{publish: {topic: end}}, {publish: {topic: very-end}}]
"""


@pytest.mark.parametrize("reached", ["in `then`", "in `finally`"])
def test_finally_runs_once_though_its_container_went_with_the_death(
    docker: PrivateEngine, proxy: HoldingProxy, reached: str
) -> None:
    docker.patient("web")
    other = docker.run("other")
    rules = OWED if reached == "in `then`" else OWED.replace(
        "{publish: {topic: very-end}}", "{kill: {signal: CONT}, target: {name: other}}, {publish: "
        "{topic: very-end}}"
    )  # fmt: skip
    where = {"in `then`": f"{identity(docker, 'web')}/restart", "in `finally`": f"{other}/kill"}
    with Killed(docker, proxy, rules) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{where[reached]}", "before")
        docker.sicken("web", wait=False)
        hold.wait(60)
        killed.daemon.kill()
        docker.docker("rm", "--force", "web")
        killed.dies()
        ((incident, actions),) = stories(killed.daemon, id=closed(killed.daemon)[0].id)
        ends = [
            each.params["topic"]
            for each in actions
            if each.part == "finally" and each.action == "publish"
        ]
        assert (incident.outcome, ends) == ("interrupted", ["end", "very-end"])
        killed.nothing_is_left()


INSTANTS: dict[str, tuple[str, When]] = {
    "the helper is made": ("POST /v[0-9.]+/containers/create", "after"),
    "paused": ("POST /v[0-9.]+/containers/[0-9a-z]+/pause", "after"),
    "reading": ("GET /v[0-9.]+/containers/[^/]+/archive", "after"),
    "before the unpause": ("POST /v[0-9.]+/containers/[0-9a-z]+/unpause", "before"),
}


@pytest.mark.parametrize("instant", INSTANTS)
def test_a_snapshot(docker: PrivateEngine, proxy: HoldingProxy, instant: str) -> None:
    docker.docker("volume", "create", "data")
    docker.run("writer", "--volume", "data:/data")
    docker.docker("exec", "writer", "dd", "if=/dev/urandom", "of=/data/big", "bs=1M", "count=20")
    with Killed(docker, proxy, SNAPSHOT) as killed:
        hold = proxy.hold(*INSTANTS[instant])
        killed.daemon.cli("trigger", "copy", "data")

        killed.dies(hold)

        (incident,) = closed(killed.daemon)
        assert incident.outcome == "done"
        rows = json.loads(killed.daemon.cli("snapshots", "list", "--json"))
        assert [(row["volume"], row["rule"], row["incident"]) for row in rows] == [
            ("data", "copy", incident.id)
        ]
        killed.daemon.cli("snapshots", "verify", rows[0]["id"])
        killed.nothing_is_left()


def test_a_snapshot_that_was_whole_is_not_taken_again(docker: PrivateEngine) -> None:
    """Killed between the renaming of its files and the outcome, as near as a poll comes to it."""
    docker.docker("volume", "create", "data")
    docker.run("writer", "--volume", "data:/data", image=TOOLBOX)
    one = Daemon(docker.url, rules={"rules.yaml": SNAPSHOT}, config=SETTINGS)
    try:
        one.start()
        one.cli("trigger", "copy", "data")
        eventually(lambda: list(one.state.glob("snapshots/data/*.json")), every=0.001)
        one.kill()
        made = [path.name for path in Path(one.state / "snapshots" / "data").iterdir()]
        one.start()
        closed(one, outcome="done")
        assert sorted(path.name for path in (one.state / "snapshots" / "data").iterdir()) == sorted(
            made
        )
        all_told(one)
        assert docker.state("writer") == "running"
    finally:
        one.close()
