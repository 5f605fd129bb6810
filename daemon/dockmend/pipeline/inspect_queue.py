"""The queue of inspects: each object that events made doubtful is inspected on its own.

The engine has a lock per container, so an inspect of one can hang or fail. That delays no other
inspect. One answer that was cut short says nothing about the engine: dockmend asks the engine
itself before it gives the connection up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.mirror import Mirror
from dockmend.mirror.deadlines import raises
from dockmend.model import Change, Container

AT_ONCE = 16
IN_A_ROW = 3
"""Inspects of a container of which events come meanwhile, after which the last answer is taken as
it is."""
LOOK_TIMEOUT = 10.0
"""Seconds for one answer."""
RETRY = (1.0, 30.0)
"""Seconds until a look that failed is tried again: the first time, and at most; doubled each
time."""
ALIVE_TIMEOUT = 5.0
NETWORKS, VOLUMES = "networks", "volumes"  # beside the ids of containers


@dataclass(slots=True)
class InspectQueue:
    """`learn` takes an inspect answer, `looked` is told when nothing is being looked at any more;
    `clock`: wall seconds; `work` is set whenever there may be something to look at; `fault` is told
    of an error of dockmend's own."""

    engine: Engine
    mirror: Mirror
    offer: Callable[[Iterable[Change]], None]
    learn: Callable[[Container, int], None]
    looked: Callable[[], None]
    clock: Callable[[], float]
    work: asyncio.Event
    fault: Callable[[str, Exception], object] = raises
    _at_work: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Runs until cancelled. Raises EngineAway where nobody answers at all, in a group."""
        self._at_work.clear()
        self._not_before.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                await self.work.wait()
                self.work.clear()
                for key in self._due():
                    self._at_work.add(key)
                    group.create_task(self._look(key))
                if not self._at_work:
                    self.looked()

    def _due(self) -> list[str]:
        mirror = self.mirror
        free, found = AT_ONCE - len(self._at_work), []
        for key, stale in ((NETWORKS, mirror.stale_networks), (VOLUMES, mirror.stale_volumes)):
            if (
                stale
                and key not in self._at_work
                and self.clock() >= self._not_before.get(key, 0.0)
            ):
                found.append(key)
        kept: list[str] = []  # those that are being looked at already: few
        while mirror.wanted and len(found) < free:
            each = mirror.wanted.pop()
            (kept if each in self._at_work else found).append(each)
        mirror.wanted.update(kept)
        return found

    async def _look(self, key: str) -> None:
        try:
            await self._kind(key)
        except EngineAway:
            self._again(key)
            if not await self._answers():
                raise
        except EngineError:
            self._again(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, it keeps nobody from the others
            self._again(key)
            self.fault(key, error)
        except BaseException:
            self._want(key)
            raise
        else:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
        finally:
            self._at_work.discard(key)
            self.work.set()

    def _kind(self, key: str) -> Awaitable[None]:
        if key == NETWORKS:
            return self._look_at_networks()
        return self._look_at_volumes() if key == VOLUMES else self._look_at(key)

    async def _look_at_networks(self) -> None:
        mirror = self.mirror
        mirror.stale_networks = False  # what is made from now on may not be in the answer
        try:
            networks = await self.engine.networks()
        except BaseException:
            mirror.stale_networks = True
            raise
        self.offer(mirror.observe_networks(networks, self.clock()))

    async def _look_at_volumes(self) -> None:
        mirror = self.mirror
        mirror.stale_volumes = False
        try:
            volumes = await self.engine.volumes(LOOK_TIMEOUT)
        except BaseException:
            mirror.stale_volumes = True
            raise
        self.offer(mirror.observe_volumes(volumes, self.clock()))

    async def _look_at(self, container_id: str) -> None:
        heard = self.mirror.heard(container_id)
        for _ in range(IN_A_ROW):
            try:
                container = await self.engine.inspect(container_id, LOOK_TIMEOUT)
            except NotFound:
                self.offer(self.mirror.gone(container_id, self.clock()))
                return
            before, heard = heard, self.mirror.heard(container_id)
            if heard == before:
                break  # else it may tell of a time before what was heard meanwhile
        self.learn(container, before)

    def _again(self, key: str) -> None:
        """It is looked at later, and later each time."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        at = self.clock() + min(RETRY[1], RETRY[0] * 2.0 ** min(failures - 1, 10))

        def then(now: float) -> list[Change]:
            self._not_before.pop(key, None)  # by a clock that may have been set since
            self._want(key)
            return []

        self._not_before[key] = at
        self.mirror.later(at, then)

    def _want(self, key: str) -> None:
        if key not in (NETWORKS, VOLUMES):  # those stay stale
            self.mirror.wanted.add(key)
        self.work.set()

    async def _answers(self) -> bool:
        try:
            await self.engine.ping(ALIVE_TIMEOUT)
        except EngineError:
            return False
        return True
