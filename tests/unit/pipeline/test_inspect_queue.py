"""Looks: what is heard while the engine answers is looked at again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dockmend.errors import EngineAway
from dockmend.mirror import Mirror
from dockmend.model import Actor, Event, Network, Volume
from dockmend.pipeline.inspect_queue import InspectQueue

NETWORK = Network(id="n" * 64, name="late")


def told(kind: str, action: str, name: str) -> Event:
    return Event(
        type=kind,
        action=action,
        actor=Actor(ID=name, Attributes={"name": name, "type": "bridge"}),
        time_ns=1,
    )


class SlowEngine:
    """Its first answer is of a time before what is heard while it is awaited."""

    def __init__(self, mirror: Mirror, *, fails: bool = False) -> None:
        self.mirror, self.fails, self.asked = mirror, fails, 0
        self.done = asyncio.Event()

    async def networks(self) -> list[Network]:
        return self._answer(told("network", "create", NETWORK.id), [NETWORK])

    async def volumes(self, timeout: float) -> list[Volume]:
        return self._answer(told("volume", "create", "late"), [Volume(name="late")])

    async def ping(self, timeout: float) -> None: ...

    def _answer(self, event: Event, made: list[Any]) -> list[Any]:
        self.asked += 1
        if self.asked == 1:
            if self.fails:
                self.done.set()
                raise EngineAway("refused")
            self.mirror.apply(event, 1.0)
            return []
        self.done.set()
        return made


async def look(kind: str, *, fails: bool = False) -> tuple[Mirror, SlowEngine]:
    mirror = Mirror()
    engine = SlowEngine(mirror, fails=fails)
    work = asyncio.Event()
    looks = InspectQueue(engine, mirror, list, None, lambda: None, lambda: 1.0, work)  # type: ignore[arg-type]
    setattr(mirror, f"stale_{kind}s", True)
    work.set()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(looks.run())
        async with asyncio.timeout(10.0):
            await engine.done.wait()
        for _ in range(5):  # what follows the answer
            await asyncio.sleep(0)
        task.cancel()
    return mirror, engine


@pytest.mark.parametrize(("kind", "known"), [("network", NETWORK.id), ("volume", "late")])
async def test_what_is_made_while_they_are_listed_is_listed_again(kind, known):
    mirror, engine = await look(kind)
    assert engine.asked == 2
    assert known in (mirror.networks if kind == "network" else mirror.volumes)


@pytest.mark.parametrize("kind", ["network", "volume"])
async def test_a_list_that_was_refused_is_still_to_be_read(kind):
    mirror, engine = await look(kind, fails=True)
    assert engine.asked == 1
    assert getattr(mirror, f"stale_{kind}s")


def test_a_list_of_everything_may_be_older_than_what_was_heard():
    mirror = Mirror()
    mirror.apply(told("network", "create", NETWORK.id), 1.0)
    mirror.apply(told("volume", "create", "late"), 1.0)
    mirror.relist([], [], [], 2.0)
    assert mirror.stale_networks
    assert mirror.stale_volumes
