"""What a recreation left aside: put right if the journal proves it dockmend's; else a person is
told how."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import closed
from tests.integration.test_killed import Killed, identity
from tests.integration.test_recreate_killed import RULES, one_survives, patient
from tests.lab import HoldingProxy, PrivateEngine

ASIDE = "web.dockmend-old-i00000000000test"


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def names(docker: PrivateEngine) -> dict[str, str]:
    rows = docker.api("GET", "/containers/json?all=1")[1]
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


def loses_its_journal(killed: Killed) -> None:
    killed.daemon.kill()
    for file in killed.daemon.state.glob("journal.sqlite3*"):
        file.write_bytes(b"no journal")


def test_without_its_journal_nothing_is_touched_and_the_commands_put_it_right(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    patient(docker, "web")
    old = identity(docker, "web")
    with Killed(docker, proxy, RULES) as killed:
        # the old one is aside, the new one has no name yet
        hold = proxy.hold(r"POST \S*/rename\?name=web ", "before")
        killed.daemon.cli("trigger", "anew", "web")
        hold.wait(60)
        loses_its_journal(killed)
        left = names(docker)
        killed.dies()
        assert names(docker) == left
        told = json.loads(
            killed.daemon.cli("doctor", "--json", "--engine", docker.url, check=False)
        )
        todo = [each["todo"] for each in told if each["part"] == "recreate"]
        said = [
            row["commands"]
            for row in killed.daemon.log
            if "a name that a recreation gives" in row["event"]
        ]
        assert [f"look at it, then: {each}" for each in said] == todo
        pasted(docker, *said)
        docker.docker("update", "--restart=on-failure:4", "web")  # how often at most, no list says
        one_survives(docker, "web")
        assert identity(docker, "web") == old


def test_a_stranger_with_such_a_name_is_left_alone(docker: PrivateEngine) -> None:
    docker.docker("create", "--name", ASIDE, "toolbox:latest", "sleep", "86400")
    docker.docker(
        "create", "--name", ASIDE.replace("old", "new"), "toolbox:latest", "sleep", "86400"
    )
    before = names(docker)
    with daemon(docker, RULES) as one:
        assert (
            len([row for row in one.log if "a name that a recreation gives" in row["event"]]) == 2
        )
    assert names(docker) == before


@contextmanager
def refused_its_name(docker: PrivateEngine, proxy: HoldingProxy) -> Iterator[Killed]:
    """A recreation of web that neither its successor nor it could have the name for: a person's
    container has it."""
    patient(docker, "web")
    with Killed(docker, proxy, RULES) as killed:
        hold = proxy.hold(r"POST \S*/rename\?name=web ", "before")
        killed.daemon.cli("trigger", "anew", "web")
        hold.wait(60)
        docker.docker("create", "--name", "web", "toolbox:latest", "sleep", "86400")
        proxy.release()
        (incident,) = closed(killed.daemon, 1, timeout=60)
        # after the failure there is nothing that may be treated
        assert incident.outcome == "suppressed"
        yield killed


def test_one_that_could_not_have_its_name_back_has_it_at_the_next_start(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    with refused_its_name(docker, proxy) as killed:
        (aside,) = set(names(docker)) - {"web"}
        old = identity(docker, aside)
        killed.dies()
        said = [
            row
            for row in killed.daemon.log
            if row.get("container") == aside and "left as it is" in row["event"]
        ]
        assert [(row["why"], row["commands"]) for row in said] == [
            ("web is there", f"docker rm {aside}")
        ]
        assert names(docker) == {"web": "created", aside: "exited"}
        docker.docker("rm", "web")
        killed.dies()
        one_survives(docker, "web")
        assert identity(docker, "web") == old


def test_a_death_while_it_is_put_right_is_no_harm(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    with refused_its_name(docker, proxy) as killed:
        (aside,) = set(names(docker)) - {"web"}
        old = identity(docker, aside)
        docker.docker("rm", "web")
        killed.daemon.kill()
        # it has its name again, and does not run
        hold = proxy.hold(rf"POST \S*/containers/{old}/start", "before")
        killed.daemon.start(ready=False)
        killed.dies(hold)
        one_survives(docker, "web")
        assert identity(docker, "web") == old


def test_in_a_dry_run_nothing_is_put_right(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    with refused_its_name(docker, proxy) as killed:
        docker.docker("rm", "web")
        before = names(docker)
        killed.daemon.options.append("--dry-run")
        killed.dies()
        assert names(docker) == before


def pasted(docker: PrivateEngine, *commands: str) -> None:
    """What a person does who pastes lines of docker commands."""
    for line in commands:
        for command in line.split(" && "):
            docker.docker(*shlex.split(command)[1:])
