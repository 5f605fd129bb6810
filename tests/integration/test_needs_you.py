"""What only a person can put right: one message each, with a line to paste, and one when it is
over. A real engine."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

from dockmend.notify import defusing
from dockmend.notify.message import Kind
from tests.integration.inside import Inside, inside
from tests.integration.posting import NOTHING, OPS, Post
from tests.integration.test_left_aside import pasted
from tests.integration.test_recorded_ends import flood
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually_async

ASIDE = "web.dockmend-old-i00000000000test"


async def seen(one: Inside, what: str) -> None:
    """Whoever tells has seen it: from now on its grace runs."""
    telling = one.daemon.telling
    assert telling is not None
    await eventually_async(
        lambda: any(each.startswith(f"needs_you/{what}/") for each in telling._alarms.known),
        what=f"{what} is seen",
    )


async def test_an_owner_that_nobody_knows_is_told_once_and_so_is_its_end(
    docker: PrivateEngine, tmp_path: Path, post: Post
) -> None:
    await asyncio.to_thread(docker.run, "vpn")
    await asyncio.to_thread(docker.patient, "guest", "--network", "container:vpn")
    await asyncio.to_thread(docker.run, "stopped", "--network", "container:vpn")
    await docker.adocker("stop", "-t", "1", "stopped")
    gone = docker.inspect("vpn")["Id"]
    await docker.adocker("rm", "-f", "vpn")
    await asyncio.to_thread(docker.run, "vpn")
    # else the second dockmend may hear from the engine who the old owner was
    await asyncio.to_thread(flood, docker)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await seen(one, "owner")
        one.passes(40)
        told = await post.has(Kind.NEEDS_YOU)
        assert told.title == "✋ guest needs you: nobody knows the owner of its network"
        assert f"it joined the network of container {gone[:12]}, which is gone" in told.body
        assert told.next_step == "docker inspect guest"
        await asyncio.to_thread(docker.sicken, "guest")
        await eventually_async(
            lambda: [each.object_name for each in one.daemon.unwell()] == ["guest"],
            what="it is ill",
        )
        one.passes(3600)
    async with inside(docker, tmp_path, NOTHING, one.machine, notify=OPS) as one:
        await docker.adocker("rm", "-f", "guest")
        assert (await post.has(Kind.RESOLVED)).title == "✅ guest was removed"
        await asyncio.to_thread(docker.patient, "guest", "--network", "container:vpn")
        one.passes(3600)
        assert [each.kind for each in post.of()] == [Kind.NEEDS_YOU, Kind.RESOLVED]


async def test_what_a_recreation_left_is_told_without_the_journal_and_the_line_puts_it_right(
    docker: PrivateEngine, tmp_path: Path, post: Post
) -> None:
    await asyncio.to_thread(docker.run, ASIDE)
    await docker.adocker("stop", "-t", "1", ASIDE)
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await seen(one, "aside")
        one.passes(40)
        told = await post.has(Kind.NEEDS_YOU)
        assert told.title == f"✋ {defusing.name(ASIDE)} needs you: it was left by a recreation"
        assert "the journal does not know it" in told.body
        assert shlex.split(told.next_step)[:3] == ["docker", "rename", ASIDE]
        await asyncio.to_thread(pasted, docker, told.next_step)
        assert (await post.has(Kind.RESOLVED)).title.endswith("needs you no more")
        assert docker.inspect("web")["State"]["Running"]
        one.passes(3600)
        assert [each.kind for each in post.of()] == [Kind.NEEDS_YOU, Kind.RESOLVED]
