"""Waits for a container to change without polling: the mirror wakes, the verification waits."""

from __future__ import annotations

import asyncio

from dockmend.model import Container, target_of


class Wakeups:
    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Event]] = {}

    def touch(self, before: Container | None, after: Container | None) -> None:
        """A container's record changed. Costs nothing while nobody waits."""
        if self._waiting:
            for target in {target_of(each) for each in (before, after) if each is not None}:
                self.wake(target)

    def settled(self, container: Container) -> None:
        """Why it ended is known by now: who waited at its end could not judge it, and no other
        change follows."""
        self.wake(target_of(container))

    def wake(self, target: str) -> None:
        """Whoever waits for the target looks again."""
        for event in self._waiting.get(target, ()):
            event.set()

    async def wait(self, target: str, timeout: float, *more: str) -> None:
        """Returns when something of the target, or of `more` of them, changed, or after `timeout`
        seconds."""
        event = asyncio.Event()
        for each in (target, *more):
            self._waiting.setdefault(each, []).append(event)
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            for each in (target, *more):
                events = self._waiting[each]
                events.remove(event)
                if not events:
                    del self._waiting[each]
