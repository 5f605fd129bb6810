"""List and watch: one session with the engine after another, for ever.

A session subscribes first, then lists, then merges, so nothing is lost in between. It ends when
the stream ends, for any reason, or when the engine stops answering. The next session lists again.
`since` is only a hint: the marker test tells whether the engine's ring of events still holds
everything that was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from msgspec.structs import replace

from dockmend.engine.engine_api import Batch, Engine, EngineInfo, EventStream, Listing
from dockmend.errors import EngineAway, EngineError, Temporary
from dockmend.mirror import Mirror
from dockmend.model import Change, Event, Origin
from dockmend.observer import Observer
from dockmend.pipeline.engine_starts import EngineStarts
from dockmend.pipeline.error_isolation import ErrorIsolation
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.inspect_pace import InspectPace
from dockmend.pipeline.inspect_queue import InspectQueue
from dockmend.pipeline.raw_events import RawEvents
from dockmend.pipeline.reoffering import AT_ONCE, in_slices, offer_standing

OVERLAP_NS = 1_000_000_000
"""How far before the last event a replay begins: `timeNano` steps back, and the engine's search of
its ring ends at the first older event."""
REMEMBERED = 2048
"""Keys of events kept for de-duplication: more than the engine's ring of 256 can replay."""
REREADS = 3
"""How often the engine's ring is asked for what lines that were no events may have hidden, until it
answers whole."""
STREAM_LAG = 5.0
"""Seconds within which the stream brings what the ring holds already: one that does not is dead."""
LIST_RETRY, LIST_TRIES = 5.0, 3
"""Seconds after a list that the engine refused, and how often in a row until it is given up."""
SLICE = 250
"""Events handled before other tasks get their turn."""


class ListWatch:
    """`offer` gets every change; `clock` is wall seconds; `dice` randomness for the backoff."""

    def __init__(
        self,
        engine: Engine,
        mirror: Mirror,
        offer: Callable[[Iterable[Change]], None],
        observer: Observer,
        clock: Callable[[], float],
        dice: random.Random,
        listed: Callable[[], Awaitable[object]] | None = None,
        again: Callable[[Iterable[Change]], None] | None = None,
    ) -> None:
        self.engine = engine
        self.mirror = mirror
        self.faults = ErrorIsolation()
        self.offer = self.faults.each(offer)
        self.observer = observer
        self.clock = clock
        self.dice = dice
        # awaited after the first complete listing of each session, before anything is offered
        self.listed = listed
        # Gets what stands, told before or not, after every list.
        self.again = self.faults.each(again) if again is not None else self.offer
        self.raw = RawEvents(mirror, lambda change: self.again((change,)))
        self.pace = InspectPace()
        self.starts = EngineStarts(engine)
        self.cursor = EventCursor()
        self.info: EngineInfo | None = None
        self.up = False
        self.since = clock()  # of the present connection or of its loss
        self.progress = 0  # grows while this part gets on: what the watchdog looks at
        self._connected_before = False
        self._recent: dict[tuple[int, str, str, str], None] = {}
        self._work = asyncio.Event()
        self._due = asyncio.Event()  # something may be due earlier than it was
        self._relist = asyncio.Event()  # all is to be listed anew, since events may have been lost
        self.mirror.on_fault = self.faults.of
        looked = self.raw.looked
        self._looks = InspectQueue(
            engine, mirror, self.offer, self.learn_from, looked, clock, self._work, self.faults.of
        )
        # the engine ended the stream, or nobody listened: it was not merely slow
        self._hung_up = False

    async def run(self) -> None:
        """Runs until cancelled."""
        failures = 0
        while True:
            try:
                await self._session()
                failures = 0
                self._hung_up = True
            except EngineError as error:
                if self.up:
                    failures = 0
                self._hung_up = self._hung_up or isinstance(error, EngineAway)
                self.observer.degraded("engine", str(error))
            except Exception:  # a fault of dockmend's own: the session is over all the same
                self._lost()
                raise
            self._lost()  # not where dockmend itself ends: then nothing was lost
            low, high = self.pace.backoff
            wait = min(high, low * 2 ** min(failures, 10)) * (0.5 + 0.5 * self.dice.random())
            failures += 1
            await self.starts.pause(wait)

    def _lost(self) -> None:
        if self.up:
            self.up = False
            self.since = self.clock()
            self.observer.connected(up=False)
            self.offer(self.mirror.engine_lost(self.clock()))

    async def _session(self) -> None:
        self.progress += 1
        self.info = await self.engine.connect()
        self.starts.saw(self.info.started_at)
        self.mirror.defined.lists_swarm = self.info.manager
        self.mirror.owned.engine_id = self.info.identity
        marker = self.cursor.marker
        gap = marker is None or not await self.engine.marker_present(marker)
        since = self.cursor.time_ns - OVERLAP_NS if self.cursor.time_ns else None
        async with self.engine.events(since) as stream:
            listing = await self.engine.listing()
            await self._merge(listing, stream, gap)
            try:
                async with asyncio.TaskGroup() as group:
                    parts = (
                        self._looks.run,
                        self._tick,
                        self._probe,
                        self._list_now_and_then,
                        self._notice_stalls,
                    )
                    tasks = [group.create_task(part()) for part in parts]
                    await self._consume(stream)
                    for task in tasks:
                        task.cancel()
            except* EngineError as errors:
                raise _first(errors) from None

    async def _merge(self, listing: Listing, stream: EventStream, gap: bool) -> None:
        """What was replayed first (it says who did what), then the list, which is the truth."""
        first = not self._connected_before
        local = self.engine.url.startswith("unix:")
        # at the first start ever, what came and went before is history; another host's clock cannot
        # say when
        if first:
            self.mirror.known_until_ns = self.cursor.time_ns or (
                int(listing.began_at * 1e9) if local else 0
            )
        boot, renewed = self._another_engine(listing, gap)
        if gap and self.cursor.type:
            self.observer.gap("restart" if renewed else "marker")
        origin: Origin = "started" if first else "relisted"
        changes: list[Change] = []
        asked = {
            container_id: self.mirror.heard(container_id) for container_id in self.mirror.entries
        }
        touched: set[str] = set()  # while it was listed: the list may tell of a time before
        while (batch := await _buffered(stream)) is not None:
            events = await self._whole(batch)
            touched.update(event.actor.ID for event in events if event.type == "container")
            self._take(events, "replayed", changes.extend)
        now = self.clock()
        known = bool(self.mirror.entries)
        changes += self.mirror.relist(
            listing.containers, listing.networks, listing.volumes, now,
            "relisted" if known else origin, blind=gap, asked=asked,
        )  # fmt: skip
        if not first:
            changes += self.mirror.engine_back(now)
        seen_ns = self.cursor.time_ns or int(listing.began_at * 1e9)
        self.cursor = replace(self.cursor, time_ns=seen_ns, boot=boot)
        self._connected_before, self._hung_up = True, False
        self.up = True
        self.since = now
        if self.listed is not None:
            await self.listed()
        self.observer.connected(up=True)
        self.observer.degraded("engine", None)
        await in_slices(changes, self.offer)
        await offer_standing(self.mirror, self.again)
        self.mirror.wanted.update(listing.unread, touched & self.mirror.entries.keys())
        self._work.set()

    def _another_engine(self, listing: Listing, gap: bool) -> tuple[str, bool]:
        """What tells this start of the engine from others, and whether it is another one than
        before.

        The default network is made anew at each start, after what the engine before it left running
        was stopped; with live-restore nothing is stopped and the network stays.
        """
        bridge = next(
            (
                each
                for each in listing.networks
                if each.name == "bridge" and each.driver == "bridge"
            ),
            None,
        )
        if self.info is not None:
            made_at = bridge.created_at if bridge is not None else 0.0
            was = self.mirror.engine_start
            self.mirror.engine_start = self.starts.watched(
                self.info, made_at, was, listing.containers
            )
        boot, before = bridge.id if bridge is not None else "", self.cursor.boot
        if gap and bridge is not None and before and boot != before:
            last_heard = self.cursor.time_ns / 1e9 if self._connected_before else bridge.created_at
            self.mirror.engine_renewed(last_heard, bridge.created_at, kept_containers=False)
            return boot, True
        local = self.engine.url.startswith("unix:")  # a network between may hang up as well
        if gap and local and self._hung_up and self.info is not None and self.info.live_restore:
            self.mirror.engine_renewed(0.0, 0.0, kept_containers=True)
            return boot, True
        return boot, False

    async def _consume(self, stream: EventStream) -> None:
        while (batch := await stream.batch()) is not None:
            self.progress += 1
            if stream.overflowed:
                stream.overflowed = False
                self._gap("overflow")
            events, origin = await self._whole(batch), _ORIGINS[batch.malformed > 0]
            for begin in range(0, len(events), SLICE):
                self._take(
                    events[begin : begin + SLICE] if len(events) > SLICE else events,
                    origin,
                    self.offer,
                )
                await asyncio.sleep(0)
            self.wake()

    async def _whole(self, batch: Batch) -> list[Event]:
        """The events of a batch. Where lines were none, what they hid is asked of the engine's ring
        first.

        Nothing that came after them is applied before that: a `die` without its `kill` would be a
        crash.
        """
        if not batch.malformed:
            return batch.events
        self.observer.gap("malformed")
        marker = self.cursor.marker
        for _ in range(REREADS):
            past = await self.engine.past(self.cursor.time_ns - OVERLAP_NS)
            if not past.malformed:
                break
        known = {event.key for event in past.events}
        # some of it is gone for good
        if past.malformed or marker is None or marker.key not in known:
            self._relist.set()
        others = [event for event in batch.events if event.key not in known]
        begins = past.events[0].time_ns if past.events else 0
        older = [event for event in others if event.time_ns < begins]
        newer = [event for event in others if event.time_ns >= begins]
        return older + past.events + newer

    def wake(self) -> None:
        if self.mirror.wanted or self.mirror.stale_networks or self.mirror.stale_volumes:
            self._work.set()
        self._due.set()

    def _gap(self, cause: str) -> None:
        self.observer.gap(cause)
        self._relist.set()

    def _take(
        self, events: list[Event], origin: Origin, offer: Callable[[Iterable[Change]], None]
    ) -> None:
        recent, apply = self._recent, self.mirror.apply
        now = self.clock()
        raw, fresh = self.raw, []
        for event in events:
            # Event.key, without the call
            key = (event.time_ns, event.type, event.action, event.actor.ID)
            if key in recent:
                continue
            recent[key] = None
            fresh.append(event)
            heard = raw.names and raw.wants(event, now)
            before = raw.subject(event) if heard else None
            try:
                if changes := apply(event, now, origin):
                    offer(changes)
            except Exception as error:  # noqa: BLE001 - whatever it is, it keeps nobody from the others
                self.faults.of(event.actor.ID, error)
            if heard:
                raw.heard(event, before, origin)
        self.observer.events_read(fresh, now)
        if len(recent) > 2 * REMEMBERED:
            self._recent = dict.fromkeys(list(recent)[-REMEMBERED:])
        if events:
            last = (
                max(events, key=lambda each: each.time_ns) if origin == "replayed" else events[-1]
            )
            if last.time_ns > self.cursor.time_ns:
                self.cursor = EventCursor(
                    last.time_ns, last.type, last.action, last.actor.ID, self.cursor.boot
                )

    # --- looking ----------------------------------------------------------------------------------

    def learn_from(self, container: Any, asked: int) -> None:
        """An inspect answer, whoever asked; `asked`: what the mirror had heard of it then.

        Raises EngineAway without a stream: an end that is looked at before it is known what became
        of the engine would be taken for a person's doing (the engine stops its containers as it
        goes down).
        """
        if not self.up:
            raise EngineAway("what happened meanwhile is not known yet")
        self.offer(self.mirror.observe(container, self.clock(), asked=asked))
        self._due.set()

    async def _list_now_and_then(self) -> None:
        """A fresh list every few minutes, and wherever events may have been lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pace.relist_every):
                    await self._relist.wait()
            blind = self._relist.is_set()
            self._relist.clear()
            for left in reversed(range(LIST_TRIES)):
                try:
                    await self._list_again(blind=blind)
                    break
                except EngineAway:
                    raise
                except EngineError:
                    if not left:
                        raise
                    await asyncio.sleep(LIST_RETRY)

    async def _notice_stalls(self) -> None:
        """A dockmend that was stopped, or starved, read nothing meanwhile; what the engine dropped
        it tells nobody."""
        elapsed = asyncio.get_running_loop().time
        while True:
            before = elapsed()
            await asyncio.sleep(self.pace.stalled / 2)
            if elapsed() - before > 1.5 * self.pace.stalled:
                # what the engine did keep comes first: it knows the causes
                await asyncio.sleep(self.pace.stalled / 2)
                self._gap("stalled")

    async def _list_again(self, *, blind: bool) -> None:
        """What no event told of is found. Containers touched meanwhile are looked at again."""
        mirror = self.mirror
        heard = {container_id: mirror.heard(container_id) for container_id in mirror.entries}
        listing = await self.engine.listing()
        mirror.wanted.update(each for each in heard if mirror.heard(each) != heard[each])
        mirror.wanted.update(listing.unread)
        touched = set(mirror.wanted)
        changes = mirror.relist(
            [each for each in listing.containers if each.id not in touched],
            listing.networks, listing.volumes, self.clock(), "relisted", blind=blind,
        )  # fmt: skip
        await in_slices(changes, self.offer)
        await offer_standing(mirror, self.again)
        self.wake()

    async def _tick(self) -> None:
        """The mirror's own timers: nothing else is waited for here, so that they come on time."""
        while True:
            now = self.clock()
            due = self.mirror.next_due()
            self._due.clear()
            with contextlib.suppress(TimeoutError):
                # Never longer: the clock that `due` is by may be set.
                async with asyncio.timeout(
                    min(self.pace.ping_every, max(0.0, (due or now + 3600.0) - now))
                ):
                    await self._due.wait()
            self.offer(self.mirror.tick(self.clock(), AT_ONCE))
            if self.mirror.wanted:
                self._work.set()  # also for what actions want looked at

    async def _probe(self) -> None:
        """Finds an engine that hangs, and a stream that is dead although it was never closed."""
        silent = 0
        while True:
            before = self.cursor
            await asyncio.sleep(self.pace.ping_every)
            try:
                if self.cursor is before:
                    await self._compare_with_ring()
                else:
                    await self.engine.ping(self.pace.ping_timeout)
                silent = 0
                self.progress += 1
            except StreamDead:
                raise
            except EngineError:
                silent += 1
                if silent >= self.pace.pings:
                    raise

    async def _compare_with_ring(self) -> None:
        """The stream was silent: was there nothing to say? Raises StreamDead where there was."""
        past = await self.engine.past(self.cursor.time_ns + 1, self.pace.ping_timeout)
        unheard = {event.key for event in past.events}
        waited = 0.0
        while unheard := unheard - self._recent.keys():
            if waited >= STREAM_LAG:
                raise StreamDead(
                    "the event stream is silent although the engine has events: it is taken again"
                )
            await asyncio.sleep(STREAM_LAG / 10)
            waited += STREAM_LAG / 10


class StreamDead(Temporary):
    """The subscription brings nothing although the engine answers: a half-open connection, or a
    proxy that hangs."""


_ORIGINS: tuple[Origin, Origin] = ("live", "replayed")


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
