"""Collecting what an engine's stream brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dockmend.engine.engine_api import EventStream
from dockmend.model import Event

from .labs import Lab


class Seen:
    """Collects a stream's events as they come."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.events: list[Event] = []

    async def until(self, wanted: Callable[[Event], bool], timeout: float = 20.0) -> Event:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for event in self.events:
                        if wanted(event):
                            return event
                    batch = await self.stream.batch()
                    assert batch is not None, (
                        f"the stream ended after {[e.action for e in self.events]}"
                    )
                    self.events += batch.events
        except TimeoutError:
            came = ", ".join(f"{event.type} {event.action}" for event in self.events)
            raise AssertionError(
                f"it did not come within {timeout:g} s; what came: {came}"
            ) from None

    async def action(self, action: str, timeout: float = 20.0) -> Event:
        return await self.until(
            lambda event: event.type == "container" and event.action == action, timeout
        )

    def actions(self, kind: str = "container") -> list[str]:
        return [event.action for event in self.events if event.type == kind]


@asynccontextmanager
async def watching(lab: Lab) -> AsyncIterator[Seen]:
    async with lab.client.events() as stream:
        yield Seen(stream)
