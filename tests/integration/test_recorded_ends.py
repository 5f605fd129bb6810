"""What ended while dockmend was down, its trace lost: the engine's own files tell who did it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_ends import ON_CUE, cue, kill_main, sh
from tests.lab import Daemon, PrivateEngine, eventually

RULES = """
version: 1
rules:
  - name: up
    when: [container.crashed, container.oom_killed, container.left_down]
    match: all
    then: start
    verify: {within: 5s}
"""
SETTINGS = "heal: off\nlimits: {rate: none}\n"
FLOOD = 300
"""Events: the engine remembers 256."""
ONCE = f"rm -f /cue; {ON_CUE}exit 7"
"""Ends on its cue, and not again at the next start."""
DEAF = sh(f"trap '' HUP; {ONCE}")
Makes = Callable[..., PrivateEngine]


@contextmanager
def running(engine: PrivateEngine, settings: str = SETTINGS) -> Iterator[Daemon]:
    one = Daemon(engine.url, rules={"up.yaml": RULES}, config=settings)
    try:
        yield one.start()
    except BaseException:
        print(one.text[-8000:])
        raise
    finally:
        one.close()


def flood(engine: PrivateEngine) -> None:
    """The engine forgets everything that came before, the start of a container `first` among it."""
    name = "flood"
    engine.run(name)
    for _ in range(FLOOD):
        engine.api("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
    assert not engine.events(since=0.0, container="first", event="start")
    engine.docker("rm", "-f", name)


def down(engine: PrivateEngine, name: str) -> None:
    engine.await_state(name, "exited")


def incidents(one: Daemon) -> list[dict[str, Any]]:
    return list(json.loads(one.page("/api/incidents?limit=1000")))


def heals_a_witness(one: Daemon, engine: PrivateEngine, name: str = "witness") -> None:
    """What the start found was offered before: nothing else comes of it. Each needs a name of its
    own: an incident of an earlier one shows nothing."""
    engine.run(name)
    kill_main(engine, name)
    eventually(
        lambda: [
            each for each in incidents(one) if each["object_name"] == name and each["outcome"]
        ],
        60,
    )
    eventually(
        lambda: all(each["state"] == "closed" for each in incidents(one)),
        60,
        what="everything is closed",
    )


def states(engine: PrivateEngine, *names: str) -> dict[str, str]:
    return {name: engine.state(name) for name in names}


def test_what_ended_while_dockmend_was_down_has_its_cause(docker: PrivateEngine) -> None:
    docker.run("first")
    for name in ("stopped", "killed", "stopped-always"):
        docker.run(name, "--restart", "always" if name.endswith("always") else "no")
    docker.run("polite", command=sh("trap 'exit 0' TERM; while :; do sleep 0.1; done"), init=False)
    for name in ("crashed", "crashed-always"):
        docker.run(name, command=sh(ONCE))
    for name in ("hup", "hup-always"):
        docker.run(
            name,
            "--restart",
            "always" if name.endswith("always") else "no",
            command=DEAF,
            init=False,
        )
    with running(docker) as one:
        for name in ("hup", "hup-always"):
            docker.docker("kill", "-s", "HUP", name)
        # Whatever comes after this was heard before: what is known of the signals is on disk.
        heals_a_witness(one, docker)
        one.stop()
        for name in ("stopped", "stopped-always", "polite"):
            docker.docker("stop", "-t", "5", name)
        docker.docker("kill", "killed")
        for name in ("crashed", "crashed-always", "hup", "hup-always"):
            cue(docker, name)
            down(docker, name)
        docker.docker("update", "--restart", "always", "crashed-always")
        flood(docker)
        one.start()
        heals_a_witness(one, docker, "witness-2")
        left = ("stopped", "stopped-always", "polite", "killed", "hup-always")
        assert states(docker, *left) == dict.fromkeys(left, "exited")
        told = {
            each["object_name"]: each
            for each in incidents(one)
            if "witness" not in each["object_name"]
        }
        assert {name: each["cause"] for name, each in told.items()} == {
            "crashed": "crashed", "crashed-always": "crashed", "hup": "unknown",
        }  # fmt: skip
        for name in ("crashed", "crashed-always"):
            assert "own file records no call" in json.dumps(told[name]), told[name]


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_what_ended_before_an_engine_that_ended_too(own_engine: Makes, how: str) -> None:
    engine = own_engine()
    names = [
        f"{what}-{policy}"
        for what in ("ran", "stopped", "crashed")
        for policy in ("no", "unless-stopped")
    ]
    engine.run("first")
    for name in names:
        engine.run(name, "--restart", "no" if name.startswith("crashed")
                else name.partition("-")[2],
                   command=sh(ONCE))  # fmt: skip
    with running(engine) as one:
        one.stop()
        for name in names:
            if name.startswith("crashed"):
                cue(engine, name)
                down(engine, name)
                engine.docker("update", "--restart", name.partition("-")[2], name)
            if name.startswith("stopped"):
                engine.docker("stop", "-t", "5", name)
        getattr(engine, how)()
        engine.start()
        one.start()
        heals_a_witness(one, engine)
        told = {
            each["object_name"]: each["cause"]
            for each in incidents(one)
            if "witness" not in each["object_name"]
        }
        left = ("stopped-no", "stopped-unless-stopped")
        assert states(engine, *left) == dict.fromkeys(left, "exited"), told
        back = ("ran-no", "ran-unless-stopped", "crashed-no", "crashed-unless-stopped")
        assert states(engine, *back) == dict.fromkeys(back, "running"), told


def test_what_an_engine_stopped_that_was_killed_again_as_it_came_back(own_engine: Makes) -> None:
    """The engine that is there then shows nothing of it, and dockmend may never have had an answer
    of the other one."""
    engine = own_engine()
    engine.run("first")
    for policy in ("no", "unless-stopped"):
        engine.run(f"ran-{policy}", "--restart", policy)
        engine.run(f"stopped-{policy}", "--restart", policy)
    with running(engine) as one:
        for name in ("stopped-no", "stopped-unless-stopped"):
            engine.docker("stop", "-t", "5", name)
        heals_a_witness(one, engine)
        for _ in range(2):
            engine.kill()
            engine.start()
        eventually(
            lambda: one.metric("dockmend_engine_up") == 1.0, 60, what="dockmend watches the engine"
        )
        heals_a_witness(one, engine, "witness-2")
        told = {
            each["object_name"]: each["cause"]
            for each in incidents(one)
            if "witness" not in each["object_name"]
        }
        left, back = (
            ("stopped-no", "stopped-unless-stopped"),
            ("ran-no", "ran-unless-stopped", "first"),
        )
        assert states(engine, *left) == dict.fromkeys(left, "exited"), told
        assert states(engine, *back) == dict.fromkeys(back, "running"), told


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_what_was_made_and_ended_with_the_engine_while_dockmend_was_down(
    own_engine: Makes, how: str
) -> None:
    engine = own_engine()
    engine.run("first")
    with running(engine) as one:
        heals_a_witness(one, engine)
        one.stop()
        engine.run("made")
        engine.run("stopped")
        engine.docker("stop", "-t", "5", "stopped")
        getattr(engine, how)()
        engine.start()
        one.start()
        heals_a_witness(one, engine, "witness-2")
        assert states(engine, "made", "stopped", "first") == {
            "made": "running", "stopped": "exited", "first": "running",
        }  # fmt: skip


def test_what_ended_beside_an_engine_with_live_restore(own_engine: Makes) -> None:
    engine = own_engine(live_restore=True)
    engine.run("first")
    for name in ("ran", "stopped", "crashed", "crashed-alone"):
        engine.run(name, command=sh(ONCE))
    with running(engine) as one:
        one.stop()
        engine.docker("stop", "-t", "5", "stopped")
        cue(engine, "crashed")
        down(engine, "crashed")
        alone = int(engine.inspect("crashed-alone")["State"]["Pid"])
        engine.kill()
        kill_pid(alone)
        engine.start()
        one.start()
        heals_a_witness(one, engine)
        assert states(engine, "stopped", "ran", "crashed", "crashed-alone") == {
            "stopped": "exited", "ran": "running", "crashed": "running", "crashed-alone": "running",
        }  # fmt: skip
        causes = {each["object_name"]: each["cause"] for each in incidents(one)}
        assert causes["crashed"] == "crashed"
        assert "ran" not in causes


def kill_pid(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    status = Path(f"/proc/{pid}/status")
    eventually(lambda: not status.exists() or "State:\tZ" in status.read_text())


@pytest.mark.parametrize("readable", [True, False])
def test_a_folder_that_does_not_tell_leaves_it_to_the_setting(
    docker: PrivateEngine, readable: bool
) -> None:
    """`engine_root` names another folder: what a person stopped then counts as the setting says."""
    docker.run("first")
    docker.run("stopped")
    root = docker.folder / ("data" if readable else "nowhere")
    with running(docker, f"{SETTINGS}engine_root: {root}\n") as one:
        one.stop()
        docker.docker("stop", "-t", "5", "stopped")
        flood(docker)
        one.start()
        heals_a_witness(one, docker)
        assert docker.state("stopped") == ("exited" if readable else "running")
