"""Each end of a container has exactly one cause, and is told once: a table, on a real engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dockmend.model import Container
from tests.integration.watching import Witness, watching
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually, eventually_async

ON_CUE = "while [ ! -e /cue ]; do sleep 0.1; done; "
"""What a program does until `cue` is called."""


def cue(engine: PrivateEngine, name: str) -> None:
    engine.docker("exec", name, "touch", "/cue", check=False)


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


@dataclass(frozen=True)
class Case:
    """`deed` ends the container `name`; `causes` are those of its ends in order; a trailing `~`
    means that it ran again when the cause was settled, `?` that it may have been so.
    """

    what: str
    causes: list[str]
    deed: Callable[[PrivateEngine, str], object]
    command: tuple[str, ...] = ("sleep", "86400")
    options: tuple[str, ...] = ()
    init: bool = True
    image: dict[str, str] = field(default_factory=dict)


def docker(*arguments: str) -> Callable[[PrivateEngine, str], object]:
    """A docker command about the container."""
    return lambda engine, name: engine.docker(*arguments, name)


def signalled_then_cued(*signals: str) -> Callable[[PrivateEngine, str], object]:
    def deed(engine: PrivateEngine, name: str) -> None:
        for one in signals:
            engine.docker("kill", "-s", one, name)
        cue(engine, name)

    return deed


def kill_main(engine: PrivateEngine, name: str) -> None:
    """From the host, where no API call is seen."""
    os.kill(int(engine.inspect(name)["State"]["Pid"]), signal.SIGKILL)


def stop_in_backoff(engine: PrivateEngine, name: str) -> None:
    """The engine waits 100 ms, 200 ms, 400 ms, … between its restarts: in the fifth wait there is
    time."""
    eventually(
        lambda: engine.inspect(name)["RestartCount"] == 5 and engine.state(name) == "restarting"
    )
    engine.docker("stop", name)


def stop_twice(engine: PrivateEngine, name: str) -> None:
    engine.docker("stop", "-t", "1", name)
    engine.docker("stop", "-t", "1", name)


def paused_then_killed(engine: PrivateEngine, name: str) -> None:
    engine.docker("pause", name)
    engine.docker("kill", name)


def crash_start_crash(engine: PrivateEngine, name: str) -> None:
    eventually(lambda: engine.state(name) == "exited")
    engine.docker("start", name)


TRAPS_TERM = sh("trap 'exit 3' TERM; touch /trapped; while :; do sleep 0.1; done")
TRAPS_USR2 = sh("trap 'exit 5' USR2; touch /trapped; while :; do sleep 0.1; done")
CRASHES = sh(f"{ON_CUE} exit 1")
DEAF = sh(f"trap : HUP USR1; touch /trapped; {ON_CUE} exit 1")

CASES = [
    Case("stopped", ["stopped"], docker("stop", "-t", "5")),
    Case("stopped, exits 3", ["stopped"], docker("stop"), TRAPS_TERM, init=False),
    Case("stopped, exits 0", ["stopped"], docker("stop"), sh("trap 'exit 0' TERM; while :; do "
    "sleep 0.1; done"),
         init=False),
    Case("stopped, deaf to TERM: KILL after its timeout", ["stopped"], docker("stop", "-t", "1"),
        init=False),
    Case("stopped by its own StopSignal", ["stopped"], docker("stop"), TRAPS_USR2,
        ("--stop-signal", "USR2"),
         init=False),
    Case("killed with its own StopSignal", ["stopped"], docker("kill", "-s", "USR2"), TRAPS_USR2,
         ("--stop-signal", "USR2"), init=False),
    Case("stopped twice", ["stopped"], stop_twice),
    Case("killed: KILL", ["stopped"], docker("kill")),
    Case("killed: TERM", ["stopped"], docker("kill", "-s", "TERM")),
    Case("killed: INT", ["stopped"], docker("kill", "-s", "INT")),
    Case("killed: QUIT", ["stopped"], docker("kill", "-s", "QUIT")),
    Case("killed: HUP ends it", ["stopped"], docker("kill", "-s", "HUP")),
    Case("killed: TERM, exits 3", ["stopped"], docker("kill", "-s", "TERM"), TRAPS_TERM,
        init=False),
    Case("killed while paused", ["stopped"], paused_then_killed),
    Case("USR1 taken for what it is, then a crash", ["crashed"], signalled_then_cued("USR1"), DEAF,
        init=False),
    Case("HUP taken for a reload, then a crash", ["crashed"], signalled_then_cued("HUP"), DEAF,
        init=False),
    Case("HUP switched the engine's restart policy off, then a crash", ["crashed"],
        signalled_then_cued("HUP"), DEAF,
         ("--restart", "always"), init=False),
    Case("restarted by a person", ["stopped"], docker("restart", "-t", "1")),
    Case("stopped in the engine's backoff", ["crashed~"] * 4 + ["stopped"], stop_in_backoff,
        sh("exit 1"),
         ("--restart", "always")),
    Case("removed by force while it ran", ["stopped"], docker("rm", "-f")),
    Case("crash: exit 1", ["crashed"], cue, CRASHES),
    Case("crash: exit 7", ["crashed"], cue, sh(f"{ON_CUE} exit 7")),
    Case("crash: exit 143 without a TERM", ["crashed"], cue, sh(f"{ON_CUE} exit 143")),
    Case("crash: a segmentation fault", ["crashed"], cue, sh(f"{ON_CUE} kill -SEGV $$")),
    Case("its main process killed from the host", ["crashed"], kill_main),
    Case("it ends well", ["completed"], cue, sh(f"{ON_CUE} exit 0")),
    Case("it ends at once", ["crashed"], lambda engine, name: None, sh("exit 1")),
    Case("it crashes, is started, crashes", ["crashed?", "crashed"], crash_start_crash,
        sh("exit 1")),
    Case("the engine restarts it", ["crashed~"], cue, sh("[ -e /cue ] && exec sleep 86400; "
    f"{ON_CUE} exit 1"),
         ("--restart", "always")),
    Case("the engine gives it up", ["crashed~", "crashed~", "crashed"], cue, CRASHES,
        ("--restart", "on-failure:2")),
    Case("--rm, ends well", ["completed"], cue, sh(f"{ON_CUE} exit 0"), ("--rm",)),
    Case("--rm, crashes", ["crashed"], cue, sh(f"{ON_CUE} exit 7"), ("--rm",)),
    Case("--rm, stopped", ["stopped"], docker("stop", "-t", "5"), options=("--rm",)),
    Case("out of memory", ["oom_killed"], cue, sh(f"{ON_CUE} exec tail /dev/zero"),
        ("--memory", "16m"), init=False),
    Case("a child out of memory, its end in order", ["completed"], cue, sh(f"{ON_CUE} tail "
    "/dev/zero; exit 0"),
         ("--memory", "16m"), init=False),
    Case("a child out of memory, and a crash for it", ["crashed"], cue, sh(f"{ON_CUE} tail "
    "/dev/zero; exit 1"),
         ("--memory", "16m"), init=False),
    Case("an image that forges exitCode", ["crashed"], cue, sh(f"{ON_CUE} exit 7"),
        image={"exitCode": "0"}),
    Case("an image that forges signal, a crash", ["crashed"], signalled_then_cued("USR1"), DEAF,
        init=False,
         image={"signal": "15"}),
    Case("an image that forges signal, killed", ["stopped"], docker("kill"),
        image={"signal": "10"}),
    Case("an image that forges both, stopped", ["stopped"], docker("stop"),
        image={"signal": "10", "exitCode": "1"}),
]  # fmt: skip


def told_as(wanted: list[str], witness: Witness, name: str) -> bool:
    told = causes_of(witness, name)
    return len(told) == len(wanted) and all(
        one == each or (each.endswith("?") and one.rstrip("~") == each.rstrip("?"))
        for one, each in zip(told, wanted, strict=True)
    )


def causes_of(witness: Witness, name: str) -> list[str]:
    return [f"{change.cause}{'~' if change.recovered else ''}" for change in witness.ends(name)]


def takes_signals(engine: PrivateEngine, name: str, case: Case) -> bool:
    """Whether a signal does what the case is about: the kernel drops what a PID 1 has no handler
    for yet.

    An init has set its own up when it has a child; a script says so by a file. True if it has ended
    already.
    """
    pid = int(engine.inspect(name)["State"]["Pid"])
    if not pid:
        return True
    try:
        if case.init:
            return Path(f"/proc/{pid}/task/{pid}/children").read_text() != ""
        return "/trapped" not in str(case.command) or Path(f"/proc/{pid}/root/trapped").exists()
    except OSError:
        return True


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
async def test_an_end_has_one_cause(docker: PrivateEngine, case: Case, late: bool):
    """`late`: dockmend reads nothing until it is all over, and inspect is ahead of the stream."""
    image = (
        docker.toolbox_image("forging:latest", labels=case.image)
        if case.image
        else "toolbox:latest"
    )
    async with watching(docker) as witness:
        docker.run("web", *case.options, command=case.command, image=image, init=case.init)
        await eventually_async(
            lambda: witness.of("web", "container.started"), what="its start was seen"
        )
        await eventually_async(
            lambda: takes_signals(docker, "web", case), what="its main process takes signals"
        )
        if late:
            case.deed(docker, "web")
        else:
            await asyncio.to_thread(case.deed, docker, "web")
        await witness.ended("web", case.causes)
        assert told_as(case.causes, witness, "web"), causes_of(witness, "web")
        # One more look at everything finds nothing that was not told.
        witness.mirror.wanted.update(witness.mirror.entries)
        await witness.quiet()
        assert told_as(case.causes, witness, "web"), causes_of(witness, "web")
        assert len({change.trouble for change in witness.ends("web")}) == len(case.causes)


async def test_a_hup_an_hour_ago_excuses_nothing(docker: PrivateEngine):
    async with watching(docker) as witness:
        docker.run("web", command=sh(f"trap : HUP; {ON_CUE} exit 129"), init=False)
        await eventually_async(lambda: witness.of("web", "container.started"))
        docker.docker("kill", "-s", "HUP", "web")
        await witness.quiet()
        (entry,) = witness.mirror.entries.values()
        entry.kept.run.kills = [(at - 3600.0, number) for at, number in entry.kept.run.kills]
        assert entry.kept.run.kills
        cue(docker, "web")
        await witness.ended("web", ["crashed"])
        assert causes_of(witness, "web") == ["crashed"]


async def test_a_child_out_of_memory_long_ago_explains_no_later_end(docker: PrivateEngine):
    """`OOMKilled` stays true after a child's death; a 137 of the main process is another matter."""
    async with watching(docker) as witness:
        script = sh(f"{ON_CUE} tail /dev/zero; touch /past; exec sleep 86400")
        docker.run("web", "--memory", "16m", command=script, init=False)
        await eventually_async(lambda: witness.of("web", "container.started"))
        cue(docker, "web")
        await eventually_async(
            lambda: docker.docker("exec", "web", "ls", "/past"), what="its child was killed"
        )
        await witness.quiet()
        assert witness.ends("web") == []
        (entry,) = witness.mirror.entries.values()
        assert entry.kept.run.oom_at > 0
        entry.kept.run.oom_at -= 60.0
        kill_main(docker, "web")
        await witness.ended("web", ["crashed"])
        assert causes_of(witness, "web") == ["crashed"]
        assert docker.inspect("web")["State"]["OOMKilled"] is True


COMPOSE = """
services:
  web:
    image: toolbox:latest
    init: true
    command: ["sleep", "86400"]
    labels: {version: "VERSION"}
"""


def compose(engine: PrivateEngine, folder: Path, version: str) -> None:
    (folder / "compose.yaml").write_text(COMPOSE.replace("VERSION", version))
    subprocess.run(
        ["docker-compose", "-H", engine.url, "-p", "shop", "up", "--detach", "--timeout", "2"],
        cwd=folder, check=True, capture_output=True, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )  # fmt: skip


async def test_compose_up_replaces_one(docker: PrivateEngine, tmp_path: Path):
    async with watching(docker) as witness:
        compose(docker, tmp_path, "1")
        await witness.quiet()
        compose(docker, tmp_path, "2")
        await eventually_async(
            lambda: len([c for c in witness.changes if "container.started" in c.triggers]) == 2
        )
        await witness.quiet()
        ends = [change for change in witness.changes if "container.exited" in change.triggers]
        assert [change.cause for change in ends] == ["stopped"]
        assert ends[0].target == "compose:shop/web/1"
        present = witness.mirror.of_target("compose:shop/web/1")
        assert isinstance(present, Container)
        assert present.name == "shop-web-1"
        assert present.labels["version"] == "2"
