"""What the engine's own files tell, on a real engine: who ended a run, configured MAC addresses,
when it began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.engine.api_versions import RANDOM_MACS
from dockmend.engine.client import DockerEngine
from tests.lab import PrivateEngine, eventually

LOOP = "trap 'exit 3' TERM; trap '' HUP; while [ ! -e /crash ]; do sleep 0.05; done; exit 7"


def crash(engine: PrivateEngine) -> None:
    engine.docker("exec", "web", "touch", "/crash", check=False)
    engine.docker("wait", "web")


def deed(*commands: tuple[str, ...], crashes: bool = False) -> Callable[[PrivateEngine], None]:
    def do(engine: PrivateEngine) -> None:
        for command in commands:
            engine.docker(*command)
        if crashes:
            crash(engine)
        else:
            engine.docker("wait", "web")

    return do


@pytest.mark.parametrize(
    ("what", "signalled"),
    [
        (deed(("stop", "web")), True),
        (deed(("kill", "web")), True),
        (deed(("kill", "-s", "TERM", "web")), True),
        (deed(crashes=True), False),
        (deed(("kill", "-s", "HUP", "web"), crashes=True), True),
        (deed(("kill", "-s", "HUP", "web"), ("restart", "web"), crashes=True), False),
        (deed(("stop", "web"), ("start", "web"), crashes=True), False),
    ],
    ids=[
        "stop",
        "kill",
        "TERM",
        "crash",
        "HUP, crash",
        "HUP, restart, crash",
        "stop, start, crash",
    ],
)
async def test_whether_a_call_stopped_or_signalled_a_run(
    docker: PrivateEngine, what: Callable[[PrivateEngine], None], signalled: bool
) -> None:
    await asyncio.to_thread(docker.run, "web", command=("sh", "-c", LOOP), init=False)
    await asyncio.to_thread(what, docker)
    client = DockerEngine(docker.url)
    try:
        await client.connect()
        assert (await client.inspect("web")).signalled is signalled
        assert [each.signalled for each in (await client.listing()).containers] == [signalled]
    finally:
        await client.close()


async def test_a_list_tells_of_a_signal_that_ended_nothing(docker: PrivateEngine) -> None:
    await asyncio.to_thread(docker.run, "web", command=("sh", "-c", LOOP), init=False)
    client = DockerEngine(docker.url)
    try:
        await client.connect()
        assert [each.signalled for each in (await client.listing()).containers] == [False]
        await docker.adocker("kill", "-s", "HUP", "web")
        assert [each.signalled for each in (await client.listing()).containers] == [True]
    finally:
        await client.close()


MAIN, OTHER = "02:11:22:33:44:55", "02:11:22:33:44:66"


async def made_in_three_networks(docker: PrivateEngine) -> None:
    for network in ("main", "other", "third"):
        await docker.adocker("network", "create", network)
    networking = {"main": {"MacAddress": MAIN}, "other": {"MacAddress": OTHER}, "third": {}}
    body = {
        "Image": docker.toolbox_image(), "Cmd": ["sleep", "86400"],
        "HostConfig": {"NetworkMode": "main"}, "NetworkingConfig": {"EndpointsConfig": networking},
    }  # fmt: skip
    status, answer = docker.api("POST", "/v1.44/containers/create?name=web", body)
    assert status == 201, answer


async def told_macs(client: DockerEngine) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The configured MAC addresses by network: as an inspect says, and as the raw answer does."""
    seen = await client.inspect("web")
    raw = (await client.inspect_raw("web"))["NetworkSettings"]["Networks"]
    return {name: each.mac for name, each in seen.networks.items()}, {
        name: each.get("DesiredMacAddress") for name, each in raw.items()
    }


async def test_configured_mac_addresses_of_every_network(docker: PrivateEngine) -> None:
    await made_in_three_networks(docker)
    client = DockerEngine(docker.url)
    wanted = (
        {"main": MAIN, "other": OTHER, "third": ""},
        {"main": None, "other": OTHER, "third": ""},
    )
    try:
        await client.connect()
        assert await told_macs(client) == wanted
        for command in (("start", "web"), ("restart", "-t", "0", "web"), ("kill", "web")):
            await docker.adocker(*command)
            if command[0] == "kill":
                await docker.adocker("wait", "web")
            assert await told_macs(client) == wanted
        await docker.adocker("start", "web")
        assert (await client.inspect("web")).networks["other"].mac == OTHER
        await docker.adocker("network", "disconnect", "other", "web")
        await docker.adocker("network", "connect", "other", "web")
        assert (await client.inspect("web")).networks["other"].mac == ""
    finally:
        await client.close()


async def test_configured_mac_addresses_of_an_engine_whose_files_are_out_of_reach(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    await made_in_three_networks(docker)
    client = DockerEngine(docker.url, root=tmp_path)
    told = docker.api_version < RANDOM_MACS
    try:
        await client.connect()
        # it never ran
        assert (await told_macs(client))[0] == {"main": MAIN, "other": OTHER, "third": ""}
        await docker.adocker("start", "web")
        running = await told_macs(client)
        assert running[0] == {
            "main": MAIN,
            "other": OTHER if told else None,
            "third": "" if told else None,
        }
        assert running[1] == {
            "main": None,
            "other": OTHER if told else None,
            "third": "" if told else None,
        }
        await docker.adocker("kill", "web")
        await docker.adocker("wait", "web")
        assert await told_macs(client) == (
            {"main": MAIN, "other": None, "third": None},
            dict.fromkeys(["main", "other", "third"]),
        )
    finally:
        await client.close()


async def test_when_the_engine_began(own_engine: Callable[..., PrivateEngine]) -> None:
    before = time.time()
    engine = own_engine()
    client = DockerEngine(engine.url)
    try:
        first = (await client.connect()).started_at
        assert before - 0.1 <= first <= time.time()
        await asyncio.to_thread(engine.kill)
        again = time.time()
        await asyncio.to_thread(engine.start)
        second = (await client.connect()).started_at
        assert again - 0.1 <= second <= time.time()
    finally:
        await client.close()


async def test_another_engines_folder_tells_nothing(docker: PrivateEngine, tmp_path: Path) -> None:
    await asyncio.to_thread(docker.run, "web")
    await docker.adocker("stop", "-t", "0", "web")
    client = DockerEngine(docker.url, root=tmp_path)
    try:
        assert (await client.connect()).started_at == 0.0
        eventually(lambda: docker.state("web") == "exited")
        seen = await client.inspect("web")
        assert seen.signalled is None
    finally:
        await client.close()
