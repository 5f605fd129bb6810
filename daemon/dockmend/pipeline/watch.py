"""List and watch: one session after another with the engine, for ever.

A session subscribes first, then lists, then merges, so that nothing falls between. It ends when the stream ends, for
whatever reason, or when the engine stops answering; then the next one lists again. `since` is only a hint: the marker
test says whether the engine's ring still holds everything that was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from dockmend.engine.api import Engine, EngineInfo, EventStream, Listing
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.mirror import Mirror
from dockmend.model import Actor, Change, Event, Origin
from dockmend.observer import Observer

OVERLAP_NS = 1_000_000_000
"""How far before the last event a replay begins: `timeNano` steps back, and the engine's search of its ring ends at the
first older event."""
REMEMBERED = 2048
"""Keys of events kept for de-duplication: more than the engine's ring of 256 can replay."""
RELIST_EVERY = 300.0
PING_EVERY = 20.0
PING_TIMEOUT = 10.0
BACKOFF = (0.1, 10.0)
LOOKS_AT_ONCE = 8
SLICE = 2000
"""Events handled before other tasks get their turn."""


class Cursor(msgspec.Struct, frozen=True):
    """Where the stream was read to, and which engine it was: journalled with the last known state.

    `boot` tells one start of the engine from the next: the default network is made anew by each.
    """

    time_ns: int = 0
    type: str = ""
    action: str = ""
    id: str = ""
    boot: str = ""

    @property
    def marker(self) -> Event | None:
        return Event(self.type, self.action, Actor(self.id), self.time_ns) if self.time_ns else None


class Watch:
    """`offer` gets every change; `clock` is wall seconds; `jitter` randomness for the backoff."""

    def __init__(
        self,
        engine: Engine,
        mirror: Mirror,
        offer: Callable[[Iterable[Change]], None],
        observer: Observer,
        clock: Callable[[], float],
        dice: random.Random,
        listed: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.engine = engine
        self.mirror = mirror
        self.offer = offer
        self.observer = observer
        self.clock = clock
        self.dice = dice
        self.listed = listed  # awaited after the first complete listing of each session, before anything is offered
        self.cursor = Cursor()
        self.info: EngineInfo | None = None
        self.up = False
        self.since = clock()  # of the present connection or of its loss
        self.progress = 0  # grows while this part gets on: what the watchdog looks at
        self._connected_before = False
        self._recent: deque[tuple[int, str, str, str]] = deque(maxlen=REMEMBERED)
        self._recent_set: set[tuple[int, str, str, str]] = set()
        self._work = asyncio.Event()
        self._due = asyncio.Event()  # something may be due earlier than it was
        self._relist = False

    async def run(self) -> None:
        """Runs until cancelled."""
        failures = 0
        while True:
            try:
                await self._session()
                failures = 0
            except EngineError as error:
                if self.up:
                    failures = 0
                self.observer.degraded("engine", str(error))
            finally:
                self._lost()
            low, high = BACKOFF
            wait = min(high, low * 2 ** min(failures, 10)) * (0.5 + 0.5 * self.dice.random())
            failures += 1
            await asyncio.sleep(wait)

    def _lost(self) -> None:
        if self.up:
            self.up = False
            self.since = self.clock()
            self.observer.connected(False)
            self.offer(self.mirror.engine_lost(self.clock()))

    async def _session(self) -> None:
        self.progress += 1
        self.info = await self.engine.connect()
        marker = self.cursor.marker
        gap = marker is None or not await self.engine.marker_present(marker)
        since = None if gap or marker is None else marker.time_ns - OVERLAP_NS
        async with self.engine.events(since) as stream:
            listing = await self.engine.listing()
            await self._merge(listing, stream, gap)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._look()), group.create_task(self._keep())]
                    await self._consume(stream)
                    for task in tasks:
                        task.cancel()
            except* EngineError as errors:
                raise _first(errors) from None

    async def _merge(self, listing: Listing, stream: EventStream, gap: bool) -> None:
        """What was replayed first (it says who did what), then the list, which is the truth."""
        first = not self._connected_before
        boot = next(
            (f"{each.id}" for each in listing.networks if each.name == "bridge" and each.driver == "bridge"), ""
        )
        restarted = gap and (not first or bool(self.cursor.boot and boot and boot != self.cursor.boot))
        if gap and self.cursor.time_ns:
            self.observer.gap("restart" if restarted else "marker")
        if restarted:
            self.mirror.engine_events_before = listing.began_at
        origin: Origin = "started" if first else "relisted"
        changes: list[Change] = []
        while (batch := await _buffered(stream)) is not None:
            self._take(batch.events, "replayed", changes.extend)
        now = self.clock()
        known = bool(self.mirror.entries)
        changes += self.mirror.relist(
            listing.containers, listing.networks, listing.volumes, now, "relisted" if known else origin, blind=gap
        )
        changes += self.mirror.engine_back(now, restarted=restarted, announce=not first)
        self.cursor = msgspec.structs.replace(self.cursor, boot=boot)
        self._connected_before = True
        self.up = True
        self.since = now
        if self.listed is not None:
            await self.listed()
        self.observer.connected(True)
        self.observer.degraded("engine", None)
        self.offer(changes)
        self.offer(self.mirror.standing())
        self._work.set()

    async def _consume(self, stream: EventStream) -> None:
        while (batch := await stream.batch()) is not None:
            self.progress += 1
            if stream.overflowed:
                stream.overflowed = False
                self._gap("overflow")
            if batch.malformed:
                self._gap("malformed")
            events = batch.events
            for begin in range(0, len(events), SLICE):
                self._take(events[begin : begin + SLICE] if len(events) > SLICE else events, "live", self.offer)
                await asyncio.sleep(0)
            self._wake()

    def _wake(self) -> None:
        if self.mirror.wanted or self.mirror.stale_networks or self.mirror.stale_volumes:
            self._work.set()
        self._due.set()

    def _gap(self, cause: str) -> None:
        self.observer.gap(cause)
        self._relist = True
        self._work.set()

    def _take(self, events: list[Event], origin: Origin, offer: Callable[[Iterable[Change]], None]) -> None:
        recent, recent_set, apply = self._recent, self._recent_set, self.mirror.apply
        now = self.clock()
        told = self.observer.event
        for event in events:
            key = (event.time_ns, event.type, event.action, event.actor.ID)  # Event.key, without the call
            if key in recent_set:
                continue
            if len(recent) == REMEMBERED:
                recent_set.discard(recent[0])
            recent.append(key)
            recent_set.add(key)
            told(event, now - event.time_ns / 1e9)
            changes = apply(event, now, origin)
            if changes:
                offer(changes)
        if events:
            last = max(events, key=lambda each: each.time_ns) if origin == "replayed" else events[-1]
            if last.time_ns > self.cursor.time_ns:
                self.cursor = Cursor(last.time_ns, last.type, last.action, last.actor.ID, self.cursor.boot)

    # --- looking ------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Inspects what events made doubtful."""
        mirror = self.mirror
        while True:
            await self._work.wait()
            self._work.clear()
            if self._relist:
                self._relist = False
                await self._list_again(blind=True)
            if mirror.stale_networks:
                self.offer(mirror.observe_networks(await self.engine.networks(), self.clock()))
            if mirror.stale_volumes:
                self.offer(mirror.observe_volumes(await self.engine.volumes(), self.clock()))
            while mirror.wanted:
                ids = [mirror.wanted.pop() for _ in range(min(LOOKS_AT_ONCE, len(mirror.wanted)))]
                try:
                    async with asyncio.TaskGroup() as group:
                        for container_id in ids:
                            group.create_task(self._look_at(container_id))
                except* EngineAway:
                    mirror.wanted.update(ids)
                    raise
                except* EngineError:
                    mirror.wanted.update(ids)
                    await asyncio.sleep(1.0)

    async def _look_at(self, container_id: str) -> None:
        try:
            container = await self.engine.inspect(container_id)
        except NotFound:
            self.offer(self.mirror.gone(container_id, self.clock()))
            return
        self.learn_from(container)

    def learn_from(self, container: Any) -> None:
        """An inspect answer, whoever asked."""
        self.offer(self.mirror.observe(container, self.clock()))
        self._due.set()

    async def _list_again(self, *, blind: bool) -> None:
        """Now and then anyway: what no event told of is found. Containers touched meanwhile are looked at again."""
        self.mirror.wanted.clear()
        listing = await self.engine.listing()
        touched = set(self.mirror.wanted)
        changes = self.mirror.relist(
            [each for each in listing.containers if each.id not in touched],
            listing.networks, listing.volumes, self.clock(), "relisted", blind=blind,
        )  # fmt: skip
        self.offer(changes)
        self.offer(self.mirror.standing())

    async def _keep(self) -> None:
        """The mirror's own timers, pings that find a hung engine, and a fresh list every few minutes."""
        relist_at = self.clock() + RELIST_EVERY
        ping_at = self.clock() + PING_EVERY
        silent = 0
        while True:
            now = self.clock()
            due = self.mirror.next_due()
            until = min(relist_at, ping_at) if due is None else min(due, relist_at, ping_at)
            self._due.clear()
            if self.mirror.next_due() == due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, until - now)):
                        await self._due.wait()
            now = self.clock()
            self.offer(self.mirror.tick(now))
            if self.mirror.wanted:
                self._work.set()  # also for what actions want looked at
            if now >= relist_at:
                relist_at = now + RELIST_EVERY
                await self._list_again(blind=False)
            if now >= ping_at:
                ping_at = now + PING_EVERY
                try:
                    await self.engine.ping(PING_TIMEOUT)
                    silent = 0
                    self.progress += 1
                except EngineError:
                    silent += 1
                    if silent >= 2:
                        raise


async def _buffered(stream: EventStream) -> Any:
    """What the stream holds already; None where nothing is there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.005):
            return await stream.batch()
    return None


def _first(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineError)
    return error
