"""Every container that is meant to run is watched: what is not well is shown, whether a rule is
about it or not."""

from __future__ import annotations

import json

from tests.integration.healing import daemon
from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually

ONCE = ("sh", "-c", "while [ ! -e /cue ]; do sleep 0.1; done; exit 7")


def unwell(one: Daemon) -> dict[str, tuple[str, bool]]:
    found = json.loads(one.command("status", "--json").stdout)["unwell"]
    return {row["object_name"]: (row["cause"], row["covered"]) for row in found}


def test_what_no_rule_is_about_is_unwell_until_it_is_well_or_a_person_stops_it(
    docker: PrivateEngine,
) -> None:
    docker.patient("sick")
    docker.run("crashed", "--restart", "on-failure:1", command=ONCE)
    docker.run("job", command=ONCE)  # nothing says that it is meant to run
    docker.patient("stopped")
    with daemon(docker, {}) as one:
        assert unwell(one) == {}
        for name in ("sick", "stopped"):
            docker.sicken(name)
        for name in ("crashed", "job"):
            docker.docker("exec", name, "touch", "/cue")
        sick = {"sick": ("unhealthy", False), "stopped": ("unhealthy", False)}
        eventually(
            lambda: unwell(one) == sick | {"crashed": ("crashed", False)},
            what="all three are unwell",
        )
        assert one.command("status").returncode == 1
        assert b"UNWELL     crashed, crashed since" in one.command("status").stdout
        assert (
            one.metric("dockmend_unwell", container="crashed", cause="crashed", covered="no") == 1
        )
        docker.docker("stop", "-t", "1", "stopped")
        docker.cure("sick")
        docker.docker("rm", "crashed")
        eventually(lambda: unwell(one) == {}, what="nothing is unwell any more")
        assert one.command("status").returncode == 0


def test_a_crash_loop_is_unwell_while_it_lasts_and_what_a_person_paused_is_not(
    docker: PrivateEngine,
) -> None:
    docker.patient("paused")
    with daemon(docker, {}) as one:
        docker.run("loop", "--restart", "always", command=("sh", "-c", "sleep 0.3; exit 1"))
        docker.sicken("paused")
        loop = {"loop": ("looping", False)}
        eventually(
            lambda: unwell(one) == loop | {"paused": ("unhealthy", False)},
            60,
            what="both are unwell",
        )
        docker.docker("pause", "paused")
        eventually(lambda: unwell(one) == loop, what="what is paused is left out")
        docker.docker("stop", "-t", "1", "loop")
        eventually(lambda: unwell(one) == {}, what="a person stopped the loop")
        docker.docker("unpause", "paused")
        eventually(
            lambda: unwell(one) == {"paused": ("unhealthy", False)}, what="it goes on as it was"
        )
