"""What a person does to containers sends no message, and what follows from it sends none: on the
real engine.

Each test does one thing that people do, then breaks a container of its own, whose message must
come: what the person's doing could have sent is due before that.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.notify.message import Kind
from tests.integration.inside import Inside, inside
from tests.integration.posting import NOTHING, OPS, Post
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually_async

SERVICE = (
    "--label",
    "com.docker.compose.project=lab",
    "--label",
    "com.docker.compose.service=canary",
)
ONCE = ("sh", "-c", "while [ ! -e /cue ]; do sleep 0.1; done; exit 7")
COMPOSE = """
services:
  web:
    image: toolbox:latest
    init: true
    restart: unless-stopped
    stop_grace_period: 1s
    command: [sh, -c, "touch /well; exec sleep 86400"]
    healthcheck: {test: [CMD, test, -e, /well], interval: 200ms, timeout: 2s, retries: 2}
  worker:
    image: toolbox:latest
    init: true
    stop_grace_period: 1s
    depends_on: {web: {condition: service_healthy}}
    command: [sh, -c, "touch /well; exec sleep 86400"]
    healthcheck: {test: [CMD, test, -e, /well], interval: 200ms, timeout: 2s, retries: 2}
"""

Way = Callable[[PrivateEngine], None]


def cli(*lines: str) -> Way:
    """Commands of docker's, one after another."""

    def do(engine: PrivateEngine) -> None:
        for line in lines:
            engine.docker(*line.split())

    return do


def updated(engine: PrivateEngine) -> None:
    """As a tool that updates images does it: another image, and a new container in the old one's
    place."""
    engine.docker("commit", "web", "toolbox:newer")
    engine.docker("stop", "-t", "1", "web")
    engine.docker("rm", "web")
    engine.patient("web", "--restart", "unless-stopped", image="toolbox:newer")


STOPS: dict[str, Way] = {
    "stop": cli("stop -t 1 web"),
    "kill": cli("kill web"),
    "kill by TERM": cli("kill -s TERM web"),
    "stop twice": cli("stop -t 1 web", "stop -t 1 web"),
}
"""After these it does not run: what hangs on it gets ill."""
REMOVALS: dict[str, Way] = {
    "rm -f": cli("rm -f web"),
    "stop and rm": cli("stop -t 1 web", "rm web"),
}
"""After these it is not there: what hangs on it gets ill."""
OTHERS: dict[str, Way] = {
    "restart": cli("restart -t 1 web"),
    "stop and start": cli("stop -t 1 web", "start web"),
    "remove": cli("rm -f web"),
    "pause": cli("pause web"),
    "pause and go on": cli("pause web", "unpause web"),
    "update": cli("update --restart no --memory 64m --memory-swap 64m web"),
    "rename": cli("rename web shop"),
    "an update by another tool": updated,
}


async def made(engine: PrivateEngine) -> None:
    """`web`, one that lives in its network, one whose owner declared that it needs it, and one that
    the test breaks."""
    await asyncio.to_thread(engine.patient, "web", "--restart", "unless-stopped")
    await asyncio.to_thread(engine.patient, "guest", "--network", "container:web")
    await asyncio.to_thread(engine.patient, "client", "--label", "dockmend.depends-on=web")
    await asyncio.to_thread(engine.run, "canary", *SERVICE, command=ONCE)


async def only_the_canary_is_told(one: Inside, engine: PrivateEngine, post: Post) -> None:
    """All that happened before is seen, and a long time passes."""
    await engine.adocker("exec", "canary", "touch", "/cue")
    telling = one.daemon.telling
    assert telling is not None
    known = telling._alarms.known
    await eventually_async(
        lambda: any(each.trouble.object_name == "canary" for each in known.values()),
        what="the canary is seen",
    )
    one.passes(3600)
    down = await post.has(Kind.DOWN)
    assert down.object_name == "canary"
    assert [each.title for each in post.of()] == ["🔴 canary is down"]


@pytest.mark.parametrize("way", STOPS)
async def test_what_a_person_stops_sends_nothing_and_neither_does_what_hangs_on_it(
    docker: PrivateEngine, tmp_path: Path, post: Post, way: str
) -> None:
    await made(docker)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(STOPS[way], docker)
        for name in ("guest", "client"):
            await asyncio.to_thread(docker.sicken, name)
        await eventually_async(
            lambda: {each.object_name for each in one.daemon.unwell()} == {"guest", "client"},
            what="both are unwell",
        )
        await only_the_canary_is_told(one, docker, post)
        await docker.adocker("start", "web")
        for name in ("guest", "client"):
            await asyncio.to_thread(docker.cure, name)
        await eventually_async(
            lambda: {each.object_name for each in one.daemon.unwell()} == {"canary"},
            what="both are well again",
        )
        assert [each.title for each in post.of()] == ["🔴 canary is down"]


@pytest.mark.parametrize("way", REMOVALS)
async def test_what_a_person_removes_sends_nothing_and_neither_does_what_hangs_on_it(
    docker: PrivateEngine, tmp_path: Path, post: Post, way: str
) -> None:
    await made(docker)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(REMOVALS[way], docker)
        for name in ("guest", "client"):
            await asyncio.to_thread(docker.sicken, name)
        await eventually_async(
            lambda: {each.object_name for each in one.daemon.unwell()} == {"guest", "client"},
            what="both are unwell",
        )
        one.passes(3600)
    # it is known over a restart too
    async with inside(docker, tmp_path, NOTHING, one.machine, notify=OPS) as one:
        await only_the_canary_is_told(one, docker, post)
        await asyncio.to_thread(docker.patient, "web")
        known = one.daemon.telling
        assert known is not None
        await eventually_async(
            lambda: all(not each.trouble.held for each in known._alarms.known.values()),
            what="it is back: they are ill",
        )
        one.passes(3600)
        await post.has(Kind.DOWN, count=3)


@pytest.mark.parametrize("way", OTHERS)
async def test_what_a_person_does_sends_nothing(
    docker: PrivateEngine, tmp_path: Path, post: Post, way: str
) -> None:
    await made(docker)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(OTHERS[way], docker)
        await only_the_canary_is_told(one, docker, post)
        if way == "pause":
            await docker.adocker("unpause", "web")


@pytest.mark.compose
@pytest.mark.parametrize(
    "way",
    [
        "up -d --force-recreate",
        "stop",
        "restart",
        "down",
        "stop web",
        "up -d --scale worker=2",
        "kill",
    ],
)
async def test_what_a_person_does_with_compose_sends_nothing(
    docker: PrivateEngine, tmp_path: Path, post: Post, way: str
) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "compose.yaml").write_text(COMPOSE)

    def compose(*arguments: str) -> None:
        command = ["docker-compose", "-H", docker.url, "-p", "shop", *arguments]
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr

    await asyncio.to_thread(compose, "up", "-d")
    await asyncio.to_thread(docker.await_health, "shop-worker-1", "healthy")
    await asyncio.to_thread(docker.run, "canary", *SERVICE, command=ONCE)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(compose, *way.split())
        if way == "stop web":  # what its owner declared that it needs, a person took away
            await asyncio.to_thread(docker.cure, "shop-worker-1")
            await asyncio.to_thread(docker.sicken, "shop-worker-1")
        await only_the_canary_is_told(one, docker, post)
        await asyncio.to_thread(compose, "down")


async def test_a_restart_of_the_engine_sends_nothing(
    own_engine: Callable[[], PrivateEngine], tmp_path: Path, post: Post
) -> None:
    engine = await asyncio.to_thread(own_engine)
    await made(engine)
    await asyncio.to_thread(
        engine.run, "service", *SERVICE[:2], "--label", "com.docker.compose.service=left"
    )
    async with inside(engine, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(engine.restart)
        await eventually_async(lambda: one.daemon.watch.up, what="it is connected again")
        await eventually_async(
            lambda: "left_down" in {each.cause for each in one.daemon.unwell()}, what="it is known"
        )
        await asyncio.to_thread(engine.docker, "rm", "-f", "canary")
        await asyncio.to_thread(engine.run, "canary", *SERVICE, command=ONCE)
        await only_the_canary_is_told(one, engine, post)


async def test_a_shutdown_of_the_host_sends_nothing(
    own_engine: Callable[[], PrivateEngine], tmp_path: Path, post: Post
) -> None:
    engine = await asyncio.to_thread(own_engine)
    await made(engine)
    async with inside(engine, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(engine.terminate)
        await eventually_async(lambda: "engine" in one.daemon.degraded, what="the engine is lost")
    await asyncio.to_thread(engine.start)
    async with inside(engine, tmp_path, NOTHING, one.machine, notify=OPS) as one:
        await asyncio.to_thread(engine.docker, "rm", "-f", "canary")
        await asyncio.to_thread(engine.run, "canary", *SERVICE, command=ONCE)
        await only_the_canary_is_told(one, engine, post)
