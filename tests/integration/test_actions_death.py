"""The actions in a process of their own that is killed at every stage: what the engine then holds
is put right."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.actions.action import Settled
from dockmend.model import Network
from dockmend.rules.action_catalogue import ACTIONS
from dockmend.rules.action_parameters import CommitImage, ReconnectNetwork, RestartParams
from tests.fakes.owning import FileRows
from tests.integration.acting import INCIDENT, Acting
from tests.lab import PrivateEngine, eventually

ROOT = Path(__file__).resolve().parents[2]
SOON = [0.0, 0.01, 0.05, 0.2]
"""Seconds after the intent was on disk: before the call, in its stop, in its start, after it."""


async def killed(
    acting: Acting,
    action: str,
    params: dict[str, Any],
    name: str,
    after: float,
    writes: int = 1,
    network: Network | None = None,
) -> Settled:
    """Kill a process with SIGKILL so long after it wrote its intent, and settle at once what it
    left.

    `writes`: how often it writes before its first change; `network`: what it is done to: `name` was
    in it.
    """
    subject = await acting.client.inspect(name)
    # The part of the journal that proves what is ours.
    rows = acting.docker.folder / f"owned-{secrets.token_hex(4)}.json"
    job = {
        "rows": str(rows),
        "url": acting.docker.url, "action": action, "params": params, "container": name,
        "known": msgspec.to_builtins(acting.view.known_networks(subject.id)),
        "network": msgspec.to_builtins(network),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.dying", json.dumps(job),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for _ in range(writes):
            acting.undo = json.loads(await process.stdout.readline())
        record = acting.record(action, network or subject)
        await asyncio.sleep(after)  # the moment of death is what is tested
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    acting.rows = FileRows(rows)
    return await acting.settle(record)


@pytest.mark.parametrize("after", SOON)
async def test_restart_is_done_once(acting: Acting, docker: PrivateEngine, after: float) -> None:
    docker.run("web", "--stop-timeout", "1")
    began = docker.inspect("web")["State"]["StartedAt"]
    since = docker.now()

    settled = await killed(acting, "restart", {}, "web", after)

    assert docker.state("web") == "running"
    assert (docker.inspect("web")["State"]["StartedAt"] != began) is settled.done
    if not settled.done:
        await acting.run("restart", RestartParams(), "web")

    def restarts() -> int:
        return len(docker.events(since=since, type="container", event="restart", container="web"))

    eventually(restarts, what="the engine tells of a restart")  # it does so a moment after it runs
    assert restarts() == 1
    assert docker.state("web") == "running"


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 1.0])
async def test_commit_leaves_nothing_frozen_and_one_image(
    acting: Acting, docker: PrivateEngine, after: float
) -> None:
    docker.run("web")
    docker.docker("exec", "web", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=60")

    settled = await killed(
        acting, "commit_image", {"repository": "kept", "tag": "web"}, "web", after
    )

    assert docker.state("web") == "running"
    if not settled.done:
        await acting.run("commit_image", CommitImage(repository="kept", tag="web"), "web")
    made = docker.docker(
        "images", "--quiet", "--no-trunc", "--filter", f"label=dockmend.incident={INCIDENT}"
    )
    assert len(made.splitlines()) == 1
    assert docker.state("web") == "running"


@pytest.mark.parametrize("after", SOON)
@pytest.mark.parametrize("running", [True, False])
async def test_reconnection_is_finished(
    acting: Acting, docker: PrivateEngine, after: float, running: bool
) -> None:
    docker.docker("network", "create", "--subnet", "10.89.0.0/24", "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50", "--network-alias", "shop")
    await acting.learn("web")
    if running:
        docker.docker("network", "disconnect", "lane", "web")
    else:
        docker.docker("stop", "--time", "1", "web")
        docker.docker("network", "rm", "lane")
        docker.docker("network", "create", "--subnet", "10.89.0.0/24", "lane")
        docker.docker("start", "web", check=False)  # fails: its network has another id now
    docker.run("peer", "--network", "lane")

    settled = await killed(acting, "reconnect_network", {}, "web", after)

    assert settled.done
    docker.await_state("web", "running")
    pinged = "64 bytes from 10.89.0.50"
    eventually(
        lambda: pinged in docker.docker("exec", "peer", "ping", "-c", "1", "-W", "2", "shop")
    )
    assert (
        await acting.run("reconnect_network", ReconnectNetwork(), "web")
    ).detail == "was connected already to lane"


@pytest.mark.parametrize("after", SOON)
async def test_a_network_is_made_once_with_its_container_in_it(
    acting: Acting, docker: PrivateEngine, after: float
) -> None:
    docker.docker("network", "create", "--subnet", "10.89.0.0/24", "--label", "tier=web", "lane")
    docker.run("web", "--network", "lane", "--ip", "10.89.0.50")
    await acting.learn("web")
    before = acting.view.defined["lane"] = await acting.client.inspect_network("lane")
    docker.docker("network", "disconnect", "lane", "web")
    docker.docker("network", "rm", "lane")

    settled = await killed(acting, "create_network", {}, "web", after, network=before)

    assert settled.done
    seen = await acting.client.inspect_network("lane")
    assert replace(seen, id="", created_at=0.0) == replace(before, id="", created_at=0.0)
    assert [each.name for each in await acting.client.networks()].count("lane") == 1
    assert docker.inspect("web")["NetworkSettings"]["Networks"]["lane"]["IPAddress"] == "10.89.0.50"


@pytest.mark.parametrize("after", SOON)
@pytest.mark.parametrize("action", ["connect_network", "disconnect_network"])
async def test_a_connection_is_made_or_ended_whole(
    acting: Acting, docker: PrivateEngine, after: float, action: str
) -> None:
    docker.docker("network", "create", "--subnet", "10.89.0.0/24", "lane")
    docker.run("web")
    if action == "disconnect_network":
        docker.docker("network", "connect", "--ip", "10.89.0.50", "lane", "web")
    params = {"network": "lane"} | ({"ipv4": "10.89.0.50"} if action == "connect_network" else {})

    settled = await killed(acting, action, params, "web", after)

    def connected() -> bool:
        places = docker.inspect("web")["NetworkSettings"]["Networks"]
        assert all(place["NetworkID"] and place["IPAddress"] for place in places.values())
        return "lane" in places

    if not settled.done:
        await acting.run(action, ACTIONS[action].params.model_validate(params), "web")
    eventually(lambda: connected() is (action == "connect_network"))
    docker.docker("restart", "--time", "1", "web")
    assert connected() is (action == "connect_network")
