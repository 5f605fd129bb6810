"""The engine stops, dies, freezes and comes back; so does dockmend. What broke meanwhile is healed,
once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.inspect_pace import InspectPace
from tests.integration.healing import CRASHED, UNHEALTHY, actions_seen, daemon
from tests.integration.test_ends import ON_CUE, kill_main, sh
from tests.integration.watching import watching
from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually, eventually_async

RULES = {"crashed.yaml": CRASHED, "unhealthy.yaml": UNHEALTHY}
Makes = Callable[..., PrivateEngine]


def incidents(one: Daemon) -> list[dict[str, Any]]:
    """The oldest first; over HTTP, as the command costs a process each time."""
    return sorted(json.loads(one.page("/api/incidents?limit=1000")), key=lambda row: str(row["id"]))


def healed(one: Daemon, name: str, timeout: float = 60.0) -> dict[str, Any]:
    """Waits for the first incident of a container that ended healed."""

    def look() -> list[dict[str, Any]]:
        return [
            row
            for row in incidents(one)
            if (row["object_name"], row["outcome"]) == (name, "healed")
        ]

    return eventually(look, timeout, what=f"{name} is healed", every=0.1)[0]


def treated(one: Daemon) -> dict[str, list[str | None]]:
    """The causes of what was healed, by container."""
    found: dict[str, list[str | None]] = {}
    for row in incidents(one):
        assert row["state"] == "closed", row
        if row["outcome"] == "healed":
            found.setdefault(row["object_name"], []).append(row["cause"])
    return found


def no_more(one: Daemon, engine: PrivateEngine, name: str) -> None:
    """A witness: breaks last, and once it is healed, the others were seen."""
    engine.run(name)
    kill_main(engine, name)
    healed(one, name)


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_an_engine_without_live_restore(own_engine: Makes, how: str):
    engine = own_engine()
    for policy in ("no", "always", "unless-stopped"):
        engine.run(f"ran-{policy}", "--restart", policy)
        engine.run(f"stopped-{policy}", "--restart", policy)
    if how == "terminate":
        # takes the engine the whole of its patience
        engine.run("deaf", "--stop-timeout", "3", init=False)
    engine.run("crashed")
    with daemon(engine, RULES) as one:
        for policy in ("no", "always", "unless-stopped"):
            engine.docker("stop", "-t", "1", f"stopped-{policy}")
        kill_main(engine, "crashed")
        healed(one, "crashed")
        getattr(engine, how)()
        engine.start()
        back = engine.now()
        wanted = {"ran-no", "deaf"} if how == "terminate" else {"ran-no", "ran-unless-stopped"}
        eventually(lambda: wanted <= treated(one).keys(), 60, what=f"{wanted} are healed")
        no_more(one, engine, "witness")
        # Every one that the engine left down was started once, for that reason; it stopped them,
        # and nobody else did.
        assert treated(one) == {
            "crashed": ["crashed", "left_down"], "witness": ["crashed"],
            **{name: ["left_down"] for name in wanted}
        }  # fmt: skip
        # What the engine brings back is the engine's work.
        started = {
            name: actions_seen(engine, name, back, "start", "restart")
            for name in ("ran-always", "ran-no")
        }
        assert started == {"ran-always": [], "ran-no": ["start"]}
        for name in ("stopped-no", "stopped-unless-stopped"):
            assert engine.state(name) == "exited"
            assert actions_seen(engine, name, back, "start") == []
        assert {engine.state(name) for name in wanted | {"ran-always", "ran-unless-stopped"}} == {
            "running"
        }


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_an_engine_with_live_restore(own_engine: Makes, how: str):
    engine = own_engine(live_restore=True)
    for name in ("survivor", "victim", "stopped"):
        engine.run(name)
    engine.run("always", "--restart", "always")
    engine.patient("sick")
    with daemon(engine, RULES) as one:
        engine.docker("stop", "-t", "1", "stopped")
        began = engine.inspect("survivor")["State"]["StartedAt"]
        victims = [int(engine.inspect(name)["State"]["Pid"]) for name in ("victim", "always")]
        engine.docker("exec", "sick", "rm", "-f", "/well")
        sick = healed(one, "sick")
        getattr(engine, how)()
        for pid in victims:
            end_process(pid)
        engine.start()
        healed(one, "victim")
        eventually(lambda: engine.state("always") == "running")
        no_more(one, engine, "witness")
        assert treated(one) == {
            "sick": [sick["cause"]], "victim": ["left_down"], "witness": ["crashed"]
        }  # fmt: skip
        assert engine.inspect("survivor")["State"]["StartedAt"] == began
        assert engine.state("stopped") == "exited"


def end_process(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what=f"process {pid} ends")


def test_a_trouble_that_stood_before_the_engine_ended_is_healed_after_it_once(own_engine: Makes):
    """With live-restore the container goes on, unhealthy; its health starts over and is announced
    again."""
    engine = own_engine(live_restore=True)
    engine.patient("web")
    rules = UNHEALTHY.replace("match: all", "for: 8s\n    match: all")
    with daemon(engine, rules) as one:
        began = engine.now()
        engine.sicken("web")
        eventually(
            lambda: [row for row in incidents(one) if row["state"] == "waiting"], what="it waits"
        )
        engine.kill()
        engine.start()
        healed(one, "web")
        engine.await_health("web", "healthy")
        no_trouble = [row for row in incidents(one) if row["outcome"] != "healed"]
        assert no_trouble == []
        assert len(incidents(one)) == 1
        assert actions_seen(engine, "web", began, "restart") == ["restart"]


async def test_a_frozen_engine_is_given_up_and_taken_again(own_engine: Makes):
    engine = own_engine()
    engine.run("web", command=sh(f"{ON_CUE} exit 1"))
    engine.run("stopped")
    async with watching(
        engine, pace=InspectPace(ping_every=0.3, ping_timeout=0.3), timeout=2.0
    ) as witness:
        pid = int(engine.inspect("web")["State"]["Pid"])
        engine.docker("stop", "-t", "1", "stopped")
        await witness.ended("stopped", ["stopped"])
        engine.pause()
        await eventually_async(lambda: not witness.up, what="the engine is given up")
        end_process(pid)
        engine.resume()
        await eventually_async(lambda: witness.up, what="the engine is taken again")
        ends = await witness.ended("web", ["crashed"])
        assert [change.cause for change in ends] == ["crashed"]
        assert [change.cause for change in witness.ends("stopped")] == ["stopped"]
        engines = [
            trigger
            for change in witness.changes
            for trigger in change.triggers
            if trigger.startswith("engine")
        ]
        assert engines == ["engine.lost", "engine.back"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_breaks_while_dockmend_is_down(docker: PrivateEngine, how: str):
    network = """
version: 1
rules:
  - name: back
    when: container.network_lost
    match: all
    then: reconnect_network
    limits: {backoff: 100ms to 1s}
"""
    began = docker.now()
    docker.docker("network", "create", "--subnet", "10.91.0.0/24", "lan")
    for name in ("sick", "sicker"):
        docker.patient(name)
    for name in ("crasher", "stopped", "before"):
        docker.run(name)
    docker.run("lone", "--network", "lan", "--ip", "10.91.0.9", "--network-alias", "db")
    with daemon(docker, RULES | {"network.yaml": network}) as one:
        kill_main(docker, "before")
        healed(one, "before")
        docker.sicken("sicker", wait=False)
        healed(one, "sicker")
        eventually(lambda: one.metric("dockmend_incidents_open") == 0)
        eventually(lambda: persisted(one, docker, began), what="its state is on disk")
        getattr(one, how)()
        docker.sicken("sick")
        kill_main(docker, "crasher")
        docker.docker("stop", "-t", "1", "stopped")
        docker.docker("network", "disconnect", "lan", "lone")
        docker.await_state("crasher", "exited")
        back = docker.now()
        one.start()
        for name in ("sick", "crasher", "lone"):
            healed(one, name)
        no_more(one, docker, "witness")
        assert {name: len(causes) for name, causes in treated(one).items()} == dict.fromkeys(
            ("before", "sicker", "sick", "crasher", "lone", "witness"), 1
        )
        assert docker.state("stopped") == "exited"
        assert (
            docker.inspect("lone")["NetworkSettings"]["Networks"]["lan"]["IPAddress"] == "10.91.0.9"
        )
        for name in ("before", "sicker"):
            assert actions_seen(docker, name, back, "start", "restart", "kill") == []
        # Once more, with nothing broken: what is known is not told again.
        one.kill()
        again = docker.now()
        one.start()
        no_more(one, docker, "second")
        for name in ("before", "sicker", "sick", "crasher", "lone", "stopped", "witness"):
            assert actions_seen(docker, name, again, "start", "restart", "kill") == []


def persisted(one: Daemon, engine: PrivateEngine, since: float) -> bool:
    """Whether what dockmend knows of the engine's last event is on disk."""
    last = max(
        row["timeNano"]
        for row in engine.events(since=since)
        if not row["Action"].startswith("exec_")
    )
    with contextlib.closing(
        sqlite3.connect(f"file:{one.state / 'journal.sqlite3'}?mode=ro", uri=True)
    ) as journal:
        ((value,),) = journal.execute("SELECT value FROM known WHERE key = 'cursor'").fetchall()
    return bool(msgspec.msgpack.decode(value, type=EventCursor).time_ns >= last)


def test_the_engine_and_dockmend_both_end(own_engine: Makes):
    engine = own_engine()
    for policy in ("no", "always", "unless-stopped"):
        engine.run(f"ran-{policy}", "--restart", policy)
    engine.run("stopped")
    with daemon(engine, RULES) as one:
        engine.docker("stop", "-t", "1", "stopped")
        no_more(one, engine, "witness")
        one.kill()
        engine.kill()
        engine.start()
        one.start()
        wanted = {"ran-no", "ran-unless-stopped", "witness"}
        eventually(lambda: wanted <= treated(one).keys(), 60, what=f"{wanted} are healed")
        no_more(one, engine, "second")
        assert treated(one) == {
            "ran-no": ["left_down"], "ran-unless-stopped": ["left_down"],
            "witness": ["crashed", "left_down"], "second": ["crashed"],
        }  # fmt: skip
        assert engine.state("stopped") == "exited"
        assert engine.state("ran-always") == "running"
