"""A dry run changes nothing on the engine, one dockmend acts on it, and the demo's keeps to its own
container."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.healing import UNHEALTHY, closed, daemon
from tests.integration.test_killed import Killed
from tests.integration.test_owned import HOSTILE, image, states
from tests.integration.test_recreate_killed import RULES, patient
from tests.lab import Daemon, HoldingProxy, PrivateEngine, eventually
from tests.lab.daemon import SOURCE

OLD, NEW = "web.dockmend-old-i00000000000test", "gone.dockmend-new-i00000000000test"
JOB = """
version: 1
rules:
  - name: job
    when: {schedule: "0 0 1 1 *"}
    match: all
    then: {run: {image: toolbox, command: [sleep, "600"]}}
"""
ALLOW = "heal: off\npolicy: {allow: [run, restart, recreate]}\n"
READS = {"archive-path", "top"}


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def changes(docker: PrivateEngine, since: float) -> list[str]:
    """What the engine says was done to it, health checks aside."""
    return [
        f"{row['Type']} {row['Action']} {row['Actor']['Attributes'].get('name')}"
        for row in docker.events(since=since)
        if row["Action"] not in READS and not row["Action"].startswith(("health_status", "exec_"))
    ]


def test_a_dry_run_changes_nothing_whatever_was_left(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    docker.run("hostile", image=image(docker, HOSTILE))
    for name in (OLD, NEW):
        docker.docker("create", "--name", name, "toolbox:latest", "sleep", "86400")
    docker.run("labelled", "--label", "dockmend.helper=i0")
    patient(docker, "half")
    docker.run("keeper")
    docker.patient("ill")
    with Killed(
        docker, proxy, RULES + JOB.partition("rules:")[2] + UNHEALTHY.partition("rules:")[2], ALLOW
    ) as killed:
        # it runs, and nobody waits for it
        job = proxy.hold(r"POST \S*/containers/[0-9a-f]{64}/wait", "before")
        killed.daemon.cli("trigger", "job", "keeper")
        job.wait(60)
        half = proxy.hold(r"POST \S*/rename\?name=half ", "before")  # a recreation is cut short
        killed.daemon.cli("trigger", "anew", "half")
        half.wait(60)
        killed.daemon.kill()
        proxy.release()
        docker.sicken("ill")
        left, since = states(docker), time.time()
        assert any(name.startswith("dockmend-run-") for name in left)
        killed.daemon.engine_url = docker.url
        killed.daemon.options.append("--dry-run")
        killed.daemon.start()
        closed(killed.daemon, "dry_run", name="ill")
        for command in ("coverage", "graph", "doctor"):
            killed.daemon.cli(command, check=False)
        killed.daemon.cli(
            "explain", "--container", "ill", "--trigger", "container.unhealthy", check=False
        )
        killed.daemon.stop()
        assert changes(docker, since) == []
        assert states(docker) == left

        killed.daemon.options.remove("--dry-run")  # one that acts still knows what is to be settled
        killed.daemon.start()
        eventually(lambda: states(docker).get("half") == "running", 60)
        assert {"hostile", OLD, NEW, "labelled"} <= states(docker).keys()


def test_the_second_dockmend_of_an_engine_only_watches_until_the_first_ends(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    docker.patient("web")
    shared: dict[str, Any] = {"environment": {"DOCKMEND_RUNTIME": str(tmp_path / "run")}}
    with (
        daemon(docker, UNHEALTHY, **shared) as first,
        daemon(docker, UNHEALTHY, **shared) as second,
    ):
        why = eventually(
            lambda: json.loads(second.cli("status", "--json", check=False))["degraded"].get(
                "acting"
            )
        )
        assert f"process {first.pid}, state folder {first.state}" in why
        assert json.loads(second.cli("status", "--json", check=False))["dry_run"]
        assert "NOT ACTING another dockmend acts on this engine" in second.cli(
            "status", check=False
        )
        assert (first.metric("dockmend_acting"), second.metric("dockmend_acting")) == (1, 0)
        assert second.metric("dockmend_not_acting", reason="another_dockmend") == 1
        assert second.metric("dockmend_not_acting") == 1
        told = json.loads(second.cli("doctor", "--json", "--engine", docker.url, check=False))
        (acting,) = [each for each in told if each["part"] == "acting"]
        assert (
            f"another dockmend acts on this engine: process {first.pid}, state folder {first.state}"
            in acting["text"]
        )
        docker.sicken("web")
        closed(first, "healed", name="web")
        closed(second, "dry_run", name="web")

        assert first.stop() == 0
        eventually(lambda: not json.loads(second.cli("status", "--json", check=False))["dry_run"],
            60,
                   what="the second one acts")  # fmt: skip
        second.await_ready()
        assert second.metric("dockmend_acting") == 1
        docker.await_health("web", "healthy")
        docker.sicken("web")
        closed(second, "healed", name="web", timeout=60)


def test_two_dry_runs_and_one_that_acts_are_in_nobodys_way(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    shared: dict[str, Any] = {"environment": {"DOCKMEND_RUNTIME": str(tmp_path / "run")}}
    dry = {**shared, "options": ["--dry-run"]}
    with (
        daemon(docker, UNHEALTHY, **dry),
        daemon(docker, UNHEALTHY, **dry),
        daemon(docker, UNHEALTHY, **shared) as one,
    ):
        status = json.loads(one.cli("status", "--json"))
        assert (status["dry_run"], status["degraded"]) == (False, {})


def demo(docker: PrivateEngine, **environment: str) -> subprocess.CompletedProcess[str]:
    one = Daemon(docker.url)
    try:
        return subprocess.run(
            [sys.executable, "-m", "dockmend", "demo", "--engine", docker.url],
            check=False, capture_output=True, text=True, timeout=150,
            env={**one._environment(), "PYTHONPATH": str(SOURCE), **environment},
        )  # fmt: skip
    finally:
        one.close()


def test_the_demo_touches_nothing_but_its_own(docker: PrivateEngine, tmp_path: Path) -> None:
    """Beside a dockmend that acts, a stranger whose image calls itself a demo's leftover, and one
    that is ill."""
    from dockmend.snapshots.helper_owner import command_owner

    dead = command_owner().rpartition(".")[0] + ".1"
    for number, label in enumerate(
        (HOSTILE, f"LABEL org.dockmend.demo={dead}", f"LABEL dockmend.helper={dead}")
    ):
        docker.run(
            f"stranger-{number}", image=image(docker, label, name=f"dockmend-demo-{number}:{dead}")
        )
    for name in (OLD, NEW):
        docker.docker("create", "--name", name, "toolbox:latest", "sleep", "86400")
    docker.patient("ill", "--label", "dockmend.heal=true")
    docker.sicken("ill")
    left, images = states(docker), set(docker.docker("images", "--quiet").split())
    shared = {"DOCKMEND_RUNTIME": str(tmp_path / "run")}
    with daemon(
        docker, "version: 1\nrules: []\n", config="heal: off\n", environment=shared
    ) as acting:
        done = demo(docker, **shared)
        assert done.returncode == 0, done.stdout + done.stderr
        # and one is unwell
        assert json.loads(acting.cli("status", "--json", check=False))["degraded"] == {}
    assert (states(docker), set(docker.docker("images", "--quiet").split())) == (left, images)


def test_what_the_demo_makes_for_a_moment_is_missed_by_nobody(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    """Beside a dockmend that minds whatever is missing: its builder never ran; its container did,
    and was removed."""
    text = (
        "version: 1\nrules: [{name: minds, when: container.missing, match: all, then: [{wait: "
        "{time: 10ms}}]}]\n"
    )
    shared = {"DOCKMEND_RUNTIME": str(tmp_path / "run")}
    with daemon(docker, text, config="heal: off\n", environment=shared) as acting:
        docker.docker("run", "--name", "step", "toolbox:latest", "true")
        docker.docker("rm", "step")
        done = demo(docker, **shared)
        assert done.returncode == 0, done.stdout + done.stderr

        def missed() -> list[str]:
            return [each["object_name"] for each in json.loads(acting.cli("incidents", "--json"))]

        eventually(missed, 60, what="the demo's container is missed")
        assert [
            each.startswith("dockmend-demo-") and not each.endswith("-builder") for each in missed()
        ] == [True]
        said = [
            line["event"]
            for line in acting.log
            if line.get("level") == "info" and "is missing" in line["event"]
        ]
        assert [each for each in said if "builder" in each or "step" in each] == []
