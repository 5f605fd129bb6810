"""The mirror on a real engine without the pipeline: what it says happened, and that it says nothing
more."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from dockmend.engine.client import DockerEngine
from dockmend.mirror import Mirror
from dockmend.model import Change, Event
from dockmend.observer import Observer
from dockmend.pipeline.inspect_pace import InspectPace
from dockmend.pipeline.list_watch import ListWatch
from tests.lab import PrivateEngine
from tests.lab.waiting import LIMIT, eventually_async

SOON = 3.0
"""Seconds within which an end is settled; what is due later is about what never came."""


class Witness(Observer):
    """Every change and event in the order in which they were learnt."""

    def __init__(self, engine: PrivateEngine, mirror: Mirror) -> None:
        self.engine = engine
        self.mirror = mirror
        self.changes: list[Change] = []
        self.events: list[Event] = []
        self.gaps: list[str] = []
        self.up = False

    def events_read(self, events: Sequence[Event], now: float) -> None:
        self.events.extend(events)

    def connected(self, up: bool) -> None:
        self.up = up

    def gap(self, cause: str) -> None:
        self.gaps.append(cause)

    def of(self, name: str, *triggers: str) -> list[Change]:
        """Changes of a container; of some triggers only, where they are named."""
        return [
            change for change in self.changes
            if change.subject is not None and change.subject.name == name
            and (not triggers or set(triggers) & set(change.triggers))
        ]  # fmt: skip

    def ends(self, name: str) -> list[Change]:
        return self.of(name, "container.exited")

    async def ended(self, name: str, causes: list[str], timeout: float = LIMIT) -> list[Change]:
        """The ends of a container, once there are as many as `causes` and it is certain that no
        more will come."""
        if causes:
            await eventually_async(
                lambda: len(self.ends(name)) >= len(causes), timeout,
                what=f"{len(causes)} end(s) of {name} (so far "
                f"{[change.cause for change in self.ends(name)]})",
            )  # fmt: skip
        await self.quiet()
        return self.ends(name)

    async def quiet(self) -> None:
        """Everything the engine has said until now is read, looked at and settled."""
        fence = f"fence-{secrets.token_hex(4)}"
        assert self.engine.api("POST", "/volumes/create", {"Name": fence})[0] == 201
        await eventually_async(
            lambda: any(each.type == "volume" and fence == each.actor.ID for each in self.events),
            what="the stream has told of the fence",
        )
        await eventually_async(
            lambda: not self.mirror.wanted and not self.mirror.stale_volumes
            and all(end.held for entry in self.mirror.entries.values() for end in entry.ends)
            and (self.mirror.next_due() or time.time() + 3600) > time.time() + SOON,
            what="the mirror has looked at everything",
        )  # fmt: skip
        assert self.engine.api("DELETE", f"/volumes/{fence}")[0] == 204


@asynccontextmanager
async def watching(
    engine: PrivateEngine,
    *,
    mirror: Mirror | None = None,
    pace: InspectPace | None = None,
    timeout: float = 30.0,
    url: str | None = None,
) -> AsyncIterator[Witness]:
    """A watch that has listed; it goes on until the block is left. `url`: where the engine is
    reached by other ways."""
    mirror = mirror or Mirror()
    witness = Witness(engine, mirror)
    client = DockerEngine(url or engine.url, timeout=timeout)

    def offer(changes: Iterable[Change]) -> None:
        witness.changes.extend(changes)

    watch = ListWatch(
        client, mirror, offer, witness, time.time, random.Random(1), again=lambda _: None
    )
    watch.pace = pace or watch.pace
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(watch.run())
            await eventually_async(lambda: witness.up, what="the watch has listed")
            witness.changes.clear()
            yield witness
            task.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        await client.close()
