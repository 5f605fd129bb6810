"""A recreation cut short whose journal is lost: what was set aside is found by its name and put right."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.healing import daemon
from tests.integration.test_killed import Killed, identity
from tests.integration.test_recreate_killed import POLICY, RULES, one_survives, patient
from tests.lab import HoldingProxy, PrivateEngine, eventually

ASIDE = "web.dockmend-old-i00000000000test"


@pytest.fixture
def proxy(docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HoldingProxy]:
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


def test_one_whose_journal_is_damaged_has_its_name_again_and_runs_by_its_policy(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    patient(docker, "web")
    old = identity(docker, "web")
    with Killed(docker, proxy, RULES) as killed:
        hold = proxy.hold(r"POST \S*/rename\?name=web ", "before")  # the old one is aside, the new one has no name yet
        killed.daemon.cli("trigger", "anew", "web")
        hold.wait(60)
        loses_its_journal(killed)
        killed.dies()
        eventually(lambda: names(docker).get("web") == "running", 60, what="the old one runs under its name")
        assert identity(docker, "web") == old
        assert docker.inspect("web")["HostConfig"]["RestartPolicy"] == POLICY
        (successor,) = set(names(docker)) - {"web"}
        docker.docker("rm", successor)  # nothing is removed that no journal proves dockmend's
        one_survives(docker, "web")
        said = [row for row in killed.daemon.log if "left aside" in row["event"]]
        assert [(row["container"], row["started"], row["restart_policy"]) for row in said] == [
            ("web", True, "on-failure")
        ]
        one = [row for row in killed.daemon.log if "made in its place" in row["event"]]
        assert [row["container"] for row in one] == [successor]


def test_a_death_while_it_is_put_right_is_no_harm(docker: PrivateEngine, proxy: HoldingProxy) -> None:
    patient(docker, "web")
    old = identity(docker, "web")
    with Killed(docker, proxy, RULES) as killed:
        hold = proxy.hold(r"POST \S*/rename\?name=web ", "before")
        killed.daemon.cli("trigger", "anew", "web")
        hold.wait(60)
        loses_its_journal(killed)
        hold = proxy.hold(rf"POST \S*/containers/{old}/start", "before")  # it has its name again, and does not run
        killed.daemon.start(ready=False)
        killed.dies(hold)
        eventually(lambda: names(docker).get("web") == "running", 60, what="the old one runs under its name")
        (successor,) = set(names(docker)) - {"web"}
        docker.docker("rm", successor)
        one_survives(docker, "web")


def test_one_whose_successor_has_its_name_is_left_and_told(docker: PrivateEngine) -> None:
    docker.run("web")
    docker.docker("create", "--name", ASIDE, "toolbox:latest", "sleep", "86400")
    with daemon(docker, RULES) as one:
        (said,) = [row for row in one.log if row.get("container") == ASIDE]
        assert said["level"] == "warning"
        assert (said["why"], said["remove"]) == ("web is there", f"docker rm {ASIDE}")
        told = json.loads(one.cli("doctor", "--json", "--engine", docker.url, check=False))
        found = [each for each in told if each["part"] == "recreate"]
        assert [each["text"] for each in found] == [f"container {ASIDE} was set aside for web to be made anew"]
    assert names(docker) == {"web": "running", ASIDE: "created"}


def test_one_that_did_not_run_has_its_name_again_and_is_not_started(docker: PrivateEngine) -> None:
    docker.docker("create", "--name", ASIDE, "toolbox:latest", "sleep", "86400")
    with daemon(docker, RULES) as one:
        eventually(lambda: names(docker) == {"web": "created"}, 30, what="it has its name again")
        (said,) = [row for row in one.log if "left aside" in row["event"]]
        assert (said["started"], "not known" in said["restart_policy"]) == (False, True)


def test_in_shadow_mode_it_is_only_told(docker: PrivateEngine) -> None:
    docker.docker("create", "--name", ASIDE, "toolbox:latest", "sleep", "86400")
    with daemon(docker, RULES, options=["--dry-run"]) as one:
        (said,) = [row for row in one.log if row.get("container") == ASIDE]
        assert said["why"] == "shadow mode"
    assert names(docker) == {ASIDE: "created"}
