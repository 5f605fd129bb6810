"""container.missing and run: what was removed is made again, what a person stopped is not, and jobs
leave nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, stories
from tests.integration.test_killed import Killed
from tests.lab import TOOLBOX, HoldingProxy, PrivateEngine, eventually
from tests.lab.proxy import When

ALLOW = "heal: off\npolicy: {allow: [restart, start, stop, remove, run]}\n"
AGAIN = """
version: 1
rules:
  - name: again
    when: container.missing
    match: {name: "web*"}
    then: run
"""
JOB = """
version: 1
rules:
  - name: job
    when: container.unhealthy
    match: all
    then:
      - run:
          image: toolbox:latest
          command: [sh, -c, "echo seen $WHO >>/data/log; echo told; sleep 0.5; exit 3"]
          env: {WHO: "{container.name}"}
          volumes: ["data:/data"]
          exit_code: 3
        timeout: 60s
"""

ANY = """
version: 1
rules:
  - name: any
    when: [container.exited, container.started]
    match: all
    then: restart
"""


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def kept(state: Path) -> int:
    """How many definitions lie in a journal."""
    with sqlite3.connect(f"file:{state / 'journal.sqlite3'}?mode=ro", uri=True) as journal:
        return int(
            journal.execute("SELECT count(*) FROM known WHERE key LIKE 'definition/%'").fetchone()[
                0
            ]
        )


def full(docker: PrivateEngine, name: str = "web") -> None:
    docker.docker("network", "create", "--subnet", "10.93.0.0/24", "lane")
    docker.run(
        name, "--network", "lane", "--ip", "10.93.0.9", "--network-alias", "shop", "--volume",
        "data:/data", "--volume", "/anonymous", "--env", "SECRET=s3cr3t", "--memory", "64m",
        "--restart", "unless-stopped", "--hostname", "till", "--label", "tier=front",
    )  # fmt: skip
    docker.docker("exec", name, "touch", "/data/named", "/anonymous/kept")


def facts(docker: PrivateEngine, name: str = "web") -> dict[str, object]:
    told = docker.inspect(name)
    host, config = told["HostConfig"], told["Config"]
    lane = told["NetworkSettings"]["Networks"]["lane"]
    return {
        "env": [each for each in config["Env"] if "SECRET" in each], "hostname": config["Hostname"],
        "labels": config["Labels"], "memory": host["Memory"],
        "policy": host["RestartPolicy"]["Name"], "ip": lane["IPAddress"],
        "aliases": lane["Aliases"], "command": config["Cmd"],
        "volumes": sorted(each["Name"] for each in told["Mounts"]),
        "networks": sorted(told["NetworkSettings"]["Networks"]),
    }  # fmt: skip


def test_what_was_removed_is_made_again_as_it_was(docker: PrivateEngine) -> None:
    full(docker)
    with daemon(docker, AGAIN, config=ALLOW) as one:
        eventually(lambda: kept(one.state) == 1)
        docker.docker("update", "--memory", "96m", "--memory-swap", "192m", "web")
        before = facts(docker)
        identity = docker.inspect("web")["Id"]
        eventually(lambda: kept(one.state) == 1)
        eventually(lambda: _memory(one.state) == 96 << 20)

        docker.docker("rm", "--force", "web")

        (incident,) = closed(one, rule="again", timeout=60)
        assert incident.outcome == "healed", incident
        assert facts(docker) == before
        assert docker.inspect("web")["Id"] != identity
        docker.docker("exec", "web", "ls", "/data/named", "/anonymous/kept")
        assert "s3cr3t" not in one.text
        assert "s3cr3t" not in json.dumps(one.incidents())
        ((_, done),) = stories(one)
        assert "s3cr3t" not in str(done)
        all_told(one)


def _memory(state: Path) -> int:
    import zlib

    with sqlite3.connect(f"file:{state / 'journal.sqlite3'}?mode=ro", uri=True) as journal:
        (value,) = journal.execute(
            "SELECT value FROM known WHERE key LIKE 'definition/%'"
        ).fetchone()
    return int(json.loads(zlib.decompress(value))["HostConfig"]["Memory"])


def test_what_a_person_stopped_or_replaced_is_not_made_again(docker: PrivateEngine) -> None:
    for name in ("web-stopped", "web-replaced", "web-bystander", "other"):
        docker.run(name)
    docker.run("web-once", "--rm")
    with daemon(docker, AGAIN, config=ALLOW) as one:
        eventually(lambda: kept(one.state) >= 3)
        docker.docker("stop", "--time", "1", "web-stopped", "web-once")
        docker.docker("rm", "web-stopped")
        docker.docker("rm", "--force", "web-replaced", "other")
        docker.run("web-replaced")
        docker.docker("rm", "--force", "web-bystander")

        healed = closed(one, rule="again", outcome="healed", timeout=60)

        told = {
            each.object_name: (each.outcome, each.reason_code) for each in closed(one, rule="again")
        }
        assert [each.object_name for each in healed] == ["web-bystander"]
        assert told["web-stopped"] == ("suppressed", "stopped")
        assert set(told) == {"web-bystander", "web-stopped"}
        names = {row["Names"][0] for row in docker.api("GET", "/containers/json?all=1")[1]}
        assert names == {"/web-replaced", "/web-bystander"}


def test_what_was_removed_while_dockmend_was_down_is_made_again(docker: PrivateEngine) -> None:
    docker.run("web-down")
    docker.run("web-waited")
    with daemon(docker, AGAIN, config=ALLOW) as one:
        eventually(lambda: kept(one.state) == 2)
        docker.docker("rm", "--force", "web-waited")
        eventually(lambda: "web-waited" not in one.cli("coverage", check=False))
        one.kill()  # while it waits whether something takes its place
        docker.docker("rm", "--force", "web-down")
        one.start()

        told = {each.object_name: each.outcome for each in closed(one, 2, rule="again", timeout=60)}

        assert told == {"web-down": "healed", "web-waited": "healed"}
        assert docker.state("web-down") == docker.state("web-waited") == "running"


def test_without_the_policys_word_nothing_is_made(docker: PrivateEngine) -> None:
    docker.run("web")
    with daemon(docker, AGAIN, config="heal: off\n") as one:
        docker.docker("rm", "--force", "web")

        (refused,) = closed(one, rule="again", timeout=60)

        assert (refused.outcome, refused.reason_code) == ("suppressed", "policy")
        assert docker.api("GET", "/containers/json?all=1")[1] == []


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("POST /v[0-9.]+/containers/create", "before"),
        ("POST /v[0-9.]+/containers/create", "during"),
        ("POST /v[0-9.]+/containers/create", "after"),
        ("POST /v[0-9.]+/containers/[0-9a-z]+/start", "before"),
        ("POST /v[0-9.]+/containers/[0-9a-z]+/start", "after"),
    ],
)  # fmt: skip
def test_killed_while_making_it_again_there_is_one(
    docker: PrivateEngine, proxy: HoldingProxy, line: str, when: When
) -> None:
    docker.run("web")
    with Killed(docker, proxy, AGAIN, ALLOW + "limits: {rate: none}\n") as killed:
        eventually(lambda: kept(killed.daemon.state) == 1)
        hold = proxy.hold(line, when)
        docker.docker("rm", "--force", "web")

        killed.dies(hold)

        (incident,) = closed(killed.daemon, rule="again", timeout=60)
        assert incident.outcome == "healed", incident
        assert killed.events.of("web", "rename") != []  # it was made under a name of its own
        (row,) = docker.api("GET", "/containers/json?all=1")[1]
        assert (row["Names"], row["State"]) == (["/web"], "running")
        killed.nothing_is_left()


# --------------------------------------------------------------------------------------------- jobs
def test_a_job_runs_to_its_end_and_is_gone(docker: PrivateEngine) -> None:
    docker.run("keeper", "--volume", "data:/data")
    docker.patient("web")
    rules = {"job.yaml": JOB, "any.yaml": ANY}
    with daemon(docker, rules, config=ALLOW) as one:
        docker.sicken("web", wait=False)

        (incident,) = closed(one, rule="job")

        assert incident.outcome == "done"
        ((_, done),) = stories(one)  # its own container is nobody's trouble
        assert done[0].detail == "toolbox:latest: exit code 3: told"
        assert docker.docker("exec", "keeper", "cat", "/data/log") == "seen web"
        assert {row["Names"][0] for row in docker.api("GET", "/containers/json?all=1")[1]} == {
            "/keeper",
            "/web",
        }


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("POST /v[0-9.]+/containers/create", "after"),
        ("POST /v[0-9.]+/containers/[^/]+/start", "before"),
        ("POST /v[0-9.]+/containers/[^/]+/start", "after"),
        ("POST /v[0-9.]+/containers/[^/]+/wait", "after"),
    ],
)  # fmt: skip
def test_a_job_of_a_dead_dockmend_runs_once_and_is_gone(
    docker: PrivateEngine, proxy: HoldingProxy, line: str, when: When
) -> None:
    docker.run("keeper", "--volume", "data:/data", image=TOOLBOX)
    docker.patient("web")
    with Killed(docker, proxy, JOB, ALLOW + "limits: {rate: none}\n") as killed:
        hold = proxy.hold(line, when)
        docker.sicken("web", wait=False)

        killed.dies(hold)

        (incident,) = closed(killed.daemon, rule="job", timeout=60)
        assert incident.outcome == "done"
        assert docker.docker("exec", "keeper", "cat", "/data/log") == "seen web"
        assert {row["Names"][0] for row in docker.api("GET", "/containers/json?all=1")[1]} == {
            "/keeper",
            "/web",
        }
        all_told(killed.daemon)


def test_a_job_that_takes_too_long_is_removed(docker: PrivateEngine) -> None:
    docker.patient("web")
    rule = (
        JOB.replace("sleep 0.5", "sleep 4242").replace("60s", "2s")
        + "    limits: {attempts: 1 per 1h}\n"
    )
    with daemon(docker, rule, config=ALLOW) as one:
        docker.sicken("web", wait=False)

        (incident,) = closed(one, rule="job")

        assert incident.outcome == "failed"
        assert "not done within 2 s" in incident.reason
        assert {row["Names"][0] for row in docker.api("GET", "/containers/json?all=1")[1]} == {
            "/web"
        }
