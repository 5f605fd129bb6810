"""Labels of a container's owner, without any rule file: each does what docs/labels.md says, on the
real engine."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.integration.healing import actions_seen, closed, daemon
from tests.integration.test_guests import has_network
from tests.lab import TOOLBOX, Daemon, PrivateEngine
from tests.lab.waiting import eventually

HEAL = ("--label", "dockmend.heal=true")
ONCE = "[ -e /cue ] && exec sleep 86400; while [ ! -e /cue ]; do sleep 0.1; done; exit 7"
"""Exits 7 once /cue is made; started again, it stays."""


def crash(docker: PrivateEngine, name: str) -> None:
    docker.docker("exec", name, "touch", "/cue")


def runs_once(docker: PrivateEngine, name: str, *options: str) -> None:
    docker.run(name, *options, command=("sh", "-c", ONCE))


def told(one: Daemon) -> dict[str, str]:
    return {
        row["object_name"]: row["outcome"] for row in one.incidents() if row["state"] == "closed"
    }


def steps(one: Daemon, incident: str) -> list[str]:
    return [
        step["action"] for step in json.loads(one.cli("incidents", incident, "--json"))["actions"]
    ]


def test_one_label_heals_from_each_trouble(docker: PrivateEngine) -> None:
    docker.docker("network", "create", "lane")
    docker.patient("sick", *HEAL)
    runs_once(docker, "crashed", *HEAL)
    docker.run("apart", *HEAL, "--network", "lane")
    for name in ("sick-plain", "sick-out"):
        docker.patient(name, *(("--label", "dockmend.heal=false") if name == "sick-out" else ()))
    with daemon(docker, {}) as one:
        for name in ("sick-plain", "sick-out"):
            docker.sicken(name)
        docker.sicken("sick", wait=False)
        crash(docker, "crashed")
        docker.docker("network", "disconnect", "lane", "apart")
        for name in ("sick", "crashed", "apart"):
            (incident,) = closed(one, "healed", name=name)
            assert incident["rule"] == "label:heal"
            expected = "reconnect_network" if name == "apart" else "restart"
            assert steps(one, incident["id"]) == [expected]
        assert told(one).keys() == {"sick", "crashed", "apart"}


SLOW = (
    "touch /well; trap 'sleep 3; echo graceful >>/ended; exit 0' TERM; touch /trapped; while "
    ":; do sleep 0.05; done"
)
"""Takes three seconds to end after its stop signal; unhealthy without /well."""


def test_the_label_of_autoheal_means_unhealthy_only_and_its_stop_timeout_counts(
    docker: PrivateEngine,
) -> None:
    check = ("--health-cmd", "test -e /well", "--health-interval", "200ms", "--health-retries", "1")
    for name, timeout in (("brutal", "0"), ("gentle", "30")):
        labels = ("--label", "autoheal=true", "--label", f"autoheal.stop.timeout={timeout}")
        docker.run(name, *check, *labels, command=("sh", "-c", SLOW), init=False)
        docker.await_health(name, "healthy")
    runs_once(docker, "crashed", "--label", "autoheal=true")
    with daemon(docker, {}) as one:
        for name in ("brutal", "gentle"):
            docker.docker("exec", name, "ls", "/trapped")
        crash(docker, "crashed")
        docker.await_state("crashed", "exited")
        for name in ("brutal", "gentle"):
            docker.sicken(name, wait=False)
        for name in ("brutal", "gentle"):
            closed(one, "healed", name=name)
        ended = {
            name: docker.docker("exec", name, "sh", "-c", "cat /ended 2>/dev/null || true")
            for name in ("brutal", "gentle")
        }
        assert ended == {"brutal": "", "gentle": "graceful"}
        assert docker.state("crashed") == "exited"


def test_labels_choose_the_troubles_the_action_and_the_attempts(docker: PrivateEngine) -> None:
    runs_once(docker, "narrow", *HEAL, "--label", "dockmend.heal.on=crashed")
    docker.patient("narrow-sick", *HEAL, "--label", "dockmend.heal.on=crashed")
    docker.patient("anew", *HEAL, "--label", "dockmend.heal.action=recreate")
    docker.patient("off", *HEAL, "--label", "dockmend.heal.action=stop")
    docker.patient(
        "hopeless", *HEAL, "--label", "dockmend.heal.attempts=1 per 1h", cured_by_restart=False
    )
    before = docker.inspect("anew")["Id"]
    with daemon(docker, {}) as one:
        docker.sicken("narrow-sick")
        for name in ("anew", "off", "hopeless"):
            docker.sicken(name, wait=False)
        crash(docker, "narrow")
        closed(one, "healed", name="narrow")
        (made,) = closed(one, "healed", name="anew")
        assert steps(one, made["id"]) == ["recreate"]
        assert docker.inspect("anew")["Id"] != before
        docker.await_state("off", "exited")
        (hopeless,) = closed(one, "failed", name="hopeless")
        assert hopeless["attempts"] == 1
        assert docker.health("narrow-sick") == "unhealthy"
        assert "narrow-sick" not in told(one)
        assert "heal" in one.cli("reset", "heal", "hopeless")  # the short name of label:heal


def test_a_wrong_label_is_off_and_is_said_everywhere(docker: PrivateEngine) -> None:
    docker.patient("web", *HEAL, "--label", "dockmend.heal.on=unhealty")
    docker.patient("witness", *HEAL)
    with daemon(docker, {}) as one:
        docker.sicken("web")
        docker.sicken("witness", wait=False)
        closed(one, "healed", name="witness")
        assert docker.health("web") == "unhealthy"
        assert one.metric("dockmend_label_errors", container="web") == 1
        lines = [line for line in one.log if line.get("label") == "dockmend.heal.on"]
        assert [line["container"] for line in lines] == ["web"]
        rows = {row["name"]: row for row in json.loads(one.cli("coverage", "--json"))}
        assert "unknown" in rows["web"]["labels"][0]
        assert "did you mean" in rows["web"]["labels"][0]
        assert "label dockmend.heal.on=unhealty" in one.command("doctor").stdout.decode()


@pytest.mark.parametrize("how", ["restarted", "replaced", "reset"])
def test_one_label_on_the_owner_of_a_network_brings_all_of_its_guests_back(
    docker: PrivateEngine, how: str
) -> None:
    def vpn(*options: str) -> None:
        docker.run("vpn", *options, command=("sleep", "86400"))

    label = ("--label", "dockmend.rejoin=true")
    vpn(*label)
    for name in ("torrent", "indexer"):
        docker.run(name, "--network", "container:vpn")
    with daemon(docker, {}) as one:
        if how == "restarted":
            docker.docker("restart", "-t", "1", "vpn")
        elif how == "replaced":
            docker.docker("rm", "-f", "vpn")
            vpn(*label)
        else:
            os.kill(int(docker.inspect("vpn")["State"]["Pid"]), signal.SIGKILL)
            docker.await_state("vpn", "exited")
            docker.docker("start", "vpn")
        eventually(lambda: has_network(docker, "torrent") and has_network(docker, "indexer"), 60,
                   what="the guests have the network of the owner")  # fmt: skip
        eventually(
            lambda: all(row["state"] == "closed" for row in one.incidents()),
            what="everything is closed",
        )
        assert {row["rule"] for row in one.incidents() if row["outcome"] == "healed"} == {
            "label:rejoin"
        }


def test_an_owner_without_the_label_leaves_its_guests(docker: PrivateEngine) -> None:
    docker.run("vpn", command=("sleep", "86400"))
    docker.run("torrent", "--network", "container:vpn")
    docker.patient("witness", *HEAL)
    with daemon(docker, {}) as one:
        began = docker.now()
        docker.docker("restart", "-t", "1", "vpn")
        docker.sicken("witness", wait=False)
        closed(one, "healed", name="witness")
        assert actions_seen(docker, "torrent", began, "restart", "start", "kill") == []


def test_one_guest_that_asks_is_brought_back_alone(docker: PrivateEngine) -> None:
    docker.run("vpn", command=("sleep", "86400"))
    docker.run("torrent", "--network", "container:vpn", "--label", "dockmend.rejoin=true")
    docker.run("indexer", "--network", "container:vpn")
    with daemon(docker, {}) as one:
        began = docker.now()
        docker.docker("restart", "-t", "1", "vpn")
        eventually(
            lambda: has_network(docker, "torrent"),
            60,
            what="the guest that asks has its network again",
        )
        eventually(lambda: one.incidents()
            and all(row["state"] == "closed" for row in one.incidents()),
                   what="everything is closed")  # fmt: skip
        assert [(row["rule"], row["outcome"]) for row in one.incidents()] == [
            ("label:rejoin", "healed")
        ]
        assert actions_seen(docker, "indexer", began, "restart", "start", "kill") == []


def test_labels_of_an_image_ask_for_nothing_however_they_came_there(docker: PrivateEngine) -> None:
    """Of one committed from a container that asks, run with and without the same label; and of one
    whose tag moved."""
    docker.patient("asks", *HEAL)
    docker.docker("commit", "asks", "committed:1")
    docker.docker("tag", TOOLBOX, "moving:1")
    docker.patient("before", *HEAL, image="moving:1")
    docker.docker("tag", "committed:1", "moving:1")
    for name, options in {"plain": (), "said-again": HEAL}.items():
        docker.patient(name, *options, image="moving:1")
    with daemon(docker, {}) as one:
        for name in ("plain", "said-again"):
            docker.sicken(name)
        docker.sicken("before", wait=False)
        closed(one, "healed", name="before")
        assert told(one).keys() == {"before"}
        notes = one.command("doctor").stdout.decode()
        for name in ("plain", "said-again"):
            assert docker.health(name) == "unhealthy"
            assert f"container {name}: label dockmend.heal=true comes from its image" in notes
