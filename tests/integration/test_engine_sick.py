"""An engine that answers badly or not at all, for a while or for one container: nothing is missed,
no other waits."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dockmend.pipeline.inspect_pace import InspectPace
from tests.integration.healing import CRASHED, UNHEALTHY, closed
from tests.integration.test_ends import kill_main
from tests.integration.watching import watching
from tests.lab import Daemon, PrivateEngine
from tests.lab.proxy import HoldingProxy
from tests.lab.waiting import eventually, eventually_async

INSPECT = "GET .*/containers/{}/json"


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def without(action: str) -> Callable[[bytes], bytes]:
    """What makes each event of an action one that is no JSON, of the same length."""
    word = f'"Action":"{action}"'.encode()
    return lambda data: data.replace(word, word.replace(b":", b"?"))


def later_than(
    count: int, change: Callable[[bytes], bytes | None]
) -> Callable[[bytes], bytes | None]:
    """Spoils all but the first pieces of an answer: those with its headers."""
    seen = 0

    def spoil(data: bytes) -> bytes | None:
        nonlocal seen
        seen += 1
        return change(data) if seen > count else data

    return spoil


# --------------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize("also_the_ring", [0, 1], ids=["once", "once more when asked again"])
async def test_a_kill_whose_event_was_garbage_is_still_a_persons_will(
    docker: PrivateEngine, proxy: HoldingProxy, also_the_ring: int
):
    docker.run("web")
    proxy.spoil(r"GET \S*/events\?(?!\S*until=)", without("kill"))
    # the first is the marker's
    proxy.spoil(r"GET \S*/events\?\S*until=", without("kill"), times=1 + also_the_ring)
    async with watching(docker, url=proxy.url) as witness:
        await witness.quiet()
        proxy.release()
        proxy.spoil(r"GET \S*/events\?\S*until=", without("kill"), times=also_the_ring)
        await docker.adocker("kill", "web")
        ends = await witness.ended("web", ["stopped"])
        assert [change.cause for change in ends] == ["stopped"]
        assert witness.gaps == ["malformed"]


async def test_a_kill_whose_event_was_garbage_in_a_replay_is_still_a_persons_will(
    docker: PrivateEngine, proxy: HoldingProxy
):
    """The stream is cut, the person kills, and what the engine replays is spoilt."""
    docker.run("web")
    async with watching(docker, url=proxy.url) as witness:
        await witness.quiet()
        held = proxy.hold(r"GET \S*/version", "before")
        proxy.cut()
        await asyncio.to_thread(held.wait)
        await docker.adocker("kill", "web")
        proxy.spoil(r"GET \S*/events\?(?!\S*until=)", without("kill"))
        proxy.cut()
        ends = await witness.ended("web", ["stopped"])
        assert [change.cause for change in ends] == ["stopped"]
        assert "malformed" in witness.gaps


async def test_what_came_and_went_before_the_first_start_is_history_when_the_ring_is_asked_again(
    docker: PrivateEngine, proxy: HoldingProxy
):
    docker.run("web")
    proxy.spoil(r"GET \S*/events\?(?!\S*until=)", without("pause"))
    docker.run("before")
    docker.docker("kill", "before")
    # less than the overlap of a second before the garbage, on a machine that is quick
    docker.docker("rm", "before")
    async with watching(docker, url=proxy.url) as witness:
        await docker.adocker("pause", "web")
        await eventually_async(lambda: witness.gaps == ["malformed"])
        await witness.quiet()
        assert witness.ends("before") == []
        await docker.adocker("unpause", "web")


async def test_a_stream_that_brings_nothing_although_the_engine_answers_is_taken_again(
    docker: PrivateEngine, proxy: HoldingProxy
):
    docker.run("web")
    dead = False
    proxy.spoil(r"GET \S*/events\?(?!\S*until=)", lambda data: b"" if dead else data, times=1)
    pace = InspectPace(ping_every=0.5, relist_every=3600.0)
    async with watching(docker, url=proxy.url, pace=pace) as witness:
        await witness.quiet()
        dead = True
        kill_main(docker, "web")
        ends = await witness.ended("web", ["crashed"])
        assert [change.cause for change in ends] == ["crashed"]
        engines = [
            trigger
            for change in witness.changes
            for trigger in change.triggers
            if trigger.startswith("engine")
        ]
        assert engines == ["engine.lost", "engine.back"]


async def test_after_a_while_in_which_nothing_ran_all_is_listed_again(
    docker: PrivateEngine, proxy: HoldingProxy
):
    docker.run("web")
    dropped = False
    proxy.spoil(r"GET \S*/events\?(?!\S*until=)", lambda data: b"" if dropped else data, times=1)
    pace = InspectPace(ping_every=3600.0, relist_every=3600.0, stalled=0.2)
    async with watching(docker, url=proxy.url, pace=pace) as witness:
        await witness.quiet()
        dropped = True  # as an engine does with what a reader does not take
        kill_main(docker, "web")
        await eventually_async(lambda: docker.state("web") == "exited")
        time.sleep(1.0)
        await eventually_async(
            lambda: len(witness.ends("web")) == 1, what="its end is found by a list"
        )
        assert "stalled" in witness.gaps


async def test_a_stream_that_is_silent_because_nothing_happens_is_kept(docker: PrivateEngine):
    docker.run("web")
    async with watching(docker, pace=InspectPace(ping_every=0.05)) as witness:
        await witness.quiet()
        kill_main(docker, "web")
        await witness.ended("web", ["crashed"])
        assert [change for change in witness.changes if "engine.lost" in change.triggers] == []


def test_events_of_ten_megabytes(docker: PrivateEngine, daemon: Callable[..., Daemon]):
    """An event carries all labels of its container: dockmend must see such an event, and not fill
    the memory. dockmend does not keep that many labels. So it leaves the container alone, and the
    incident says so."""
    docker.toolbox_image()
    one = daemon(docker.url, rules={"rules.yaml": CRASHED})
    body = {"Image": "toolbox:latest", "Cmd": ["sleep", "86400"],
        "Labels": {"large": "x" * 10_000_000},
            "HostConfig": {"Init": True}}  # fmt: skip
    assert docker.api("POST", "/containers/create?name=large", body)[0] == 201
    assert docker.api("POST", "/containers/large/start")[0] == 204
    docker.run("small")
    for name in ("large", "small"):
        kill_main(docker, name)
    closed(one, "healed", name="small")
    [left] = closed(one, "suppressed", name="large")
    assert "more labels, mounts or networks, than dockmend keeps" in left["reason"]
    assert one.metric("dockmend_event_gaps_total") == 0
    assert most_memory(one) < 600


# ---------------------------------------------------------------------------------------- the calls


def half(data: bytes) -> None:
    return None


SPOILT: dict[str, Callable[[bytes], bytes | None]] = {
    "hangs": lambda data: b"",
    "is cut": later_than(0, half),
    "is no JSON": lambda data: data.replace(b'"Id"', b'"Id?'),
}
ANSWERED = {
    "is refused": b'HTTP/1.1 500 Internal\r\nContent-Length: 17\r\n\r\n{"message":"ill"}',
    "conflicts": b'HTTP/1.1 409 Conflict\r\nContent-Length: 17\r\n\r\n{"message":"ill"}',
}


@pytest.mark.parametrize("how", [*SPOILT, *ANSWERED])
def test_one_container_whose_inspect_is_bad_harms_no_other(
    docker: PrivateEngine, proxy: HoldingProxy, daemon: Callable[..., Daemon], how: str
):
    for name in ("bad", "good"):
        docker.patient(name)
    bad = docker.inspect("bad")["Id"]
    inspect = INSPECT.format(bad)
    spoilt = (
        proxy.spoil(inspect, SPOILT[how])
        if how in SPOILT
        else proxy.refuse(inspect, answer=ANSWERED[how])
    )
    one = daemon(proxy.url, rules={"rules.yaml": UNHEALTHY})  # ready: it has listed
    for name in ("bad", "good"):
        docker.sicken(name)
    (healed,) = closed(one, "healed", name="good")
    assert healed["attempts"] == 1
    assert spoilt.taken > 1  # it was looked at again
    assert one.status("/readyz") == 200
    assert docker.health("bad") == "unhealthy"
    proxy.release()
    proxy.cut()  # what hangs still, too
    (healed,) = closed(one, "healed", name="bad", timeout=90)
    assert healed["attempts"] == 1


def test_an_engine_that_freezes_is_told_of_and_taken_again(
    own_engine: Callable[..., PrivateEngine], daemon: Callable[..., Daemon]
):
    """A paused dockerd accepts and answers nothing; what broke meanwhile is healed once it goes
    on."""
    engine = own_engine()
    for name in ("web", "db"):
        engine.run(name)
    one = daemon(engine.url, rules={"rules.yaml": CRASHED})
    pid = int(engine.inspect("web")["State"]["Pid"])
    engine.pause()
    try:
        subprocess.run(["kill", "-9", str(pid)], check=True)
        eventually(
            lambda: one.status("/readyz") == 503, 120, what="the engine is given up", every=1.0
        )
        assert "stream" in unready(one)
        assert one.metric("dockmend_engine_up") == 0
        assert "engine" in json.loads(one.cli("status", "--json", check=False))["degraded"]
        assert one.status("/healthz") == 200
    finally:
        engine.resume()
    closed(one, "healed", name="web", timeout=90)
    assert one.status("/readyz") == 200
    assert "engine" not in json.loads(one.cli("status", "--json", check=False))["degraded"]
    assert [row["object_name"] for row in one.incidents()] == ["web"]


def unready(one: Daemon) -> str:
    done = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{one.port}/readyz"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return done.stdout.decode()


# ------------------------------------------------------------------------------------- ten thousand


def test_ten_thousand_containers(daemon: Callable[..., Daemon], tmp_path: Path):
    """A host that answers as fast as a host can: they are listed in bounded memory, sixteen at a
    time."""
    path = tmp_path / "s"
    host = Path(__file__).parents[2] / "bench" / "fake_host.py"
    with subprocess.Popen(
        [sys.executable, str(host), str(path), "10000", "0"], stdout=subprocess.PIPE
    ) as engine:
        try:
            assert engine.stdout is not None
            assert engine.stdout.readline() == b"ready\n"
            one = daemon(f"unix://{path}", rules={"rules.yaml": UNHEALTHY}, start=False)
            one.start(timeout=180)
            eventually(
                lambda: one.metric("dockmend_containers") == 10_000, 60, what="all are known"
            )
            assert most_memory(one) < 400
        finally:
            engine.kill()


def most_memory(one: Daemon) -> float:
    """MiB of memory that the daemon had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{one.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
