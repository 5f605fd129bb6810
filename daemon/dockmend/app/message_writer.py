"""Turns what happens into messages in the outbox.

Standing troubles are checked whenever something changed, so a message leaves within a second.
What was told goes to the journal after its message: if dockmend dies between the two, one message
is sent twice and none is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from dockmend.app.message_facts import MessageFacts
from dockmend.app.open_troubles import Ill, OpenTroubles
from dockmend.app.rule_messages import channels_of
from dockmend.errors import JournalError
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Change, Container
from dockmend.notify import wording
from dockmend.notify.alarms import Alarm, AlarmEnding, Alarms, Phase, Say, Word
from dockmend.notify.heal_counts import DAY, Heals
from dockmend.notify.message import Kind
from dockmend.notify.routing import AT_ONCE_MOST, Addressed, Router
from dockmend.notify.wording import Facts, Where
from dockmend.observer import Observer
from dockmend.timekeeping import Clock

ALARM: Final = "alarm/"
"""Key of what was told and is not over yet, in the journal's last known state."""
HEARD: Final = "heard"
"""Key of the last closed incident that was turned into messages."""
TOGETHER: Final = 0.1
"""Seconds in which changes are waited for that belong together: one look answers them all."""
LOOK_AGAIN: Final = 5.0
"""Seconds between looks while something that was told is not over: that it stays well, only time
tells."""

log = structlog.get_logger("dockmend.notify")


def local(at: float) -> datetime:
    """Wall seconds on the clock of this host. Naive, so that arithmetic with it follows summer
    time."""
    return datetime.fromtimestamp(at)  # noqa: DTZ006 - see above


class Heard(msgspec.Struct, frozen=True):
    """The closed incident up to which everything was turned into messages."""

    closed_at: float
    id: str


@dataclass(slots=True, kw_only=True)
class Parts:
    """What telling stands on."""

    troubles: OpenTroubles
    facts: MessageFacts
    router: Router
    mirror: Mirror
    journal: Journal
    clock: Clock


class MessageWriter(Observer):
    """An observer that remembers, and a task that tells.

    `ill`: the parts of dockmend that do not work. `wall`: wall seconds.
    """

    def __init__(self, where: Where, wall: Callable[[], float]) -> None:
        self.ill: dict[str, Ill] = {}
        self._wall = wall
        self._parts: Parts
        self._where = where
        self._alarms = Alarms()
        self._heals = Heals()
        self._closed: list[Incident] = []
        self._changed = asyncio.Event()

    # --- what happens -----------------------------------------------------------------------------

    def change(self, change: Change) -> None:
        self._changed.set()

    def container(self, before: Container | None, after: Container | None) -> None:
        if before is None or after is None or before.state != after.state:
            self._changed.set()

    def incident(self, incident: Incident) -> None:
        if incident.state == "closed":
            if incident.outcome == "healed" and not incident.dry_run:
                self._closed.append(incident)
            self._changed.set()

    def breaker(self, rule: str, target: str, opened: bool) -> None:
        if not opened:
            self._alarms.reset(f"{Kind.DOWN}/{target}")
        self._changed.set()

    def degraded(self, part: str, why: str | None) -> None:
        if why is None:
            self.ill.pop(part, None)
        else:
            before = self.ill.get(part)
            self.ill[part] = Ill(before.since if before is not None else self._wall(), why)
        self._changed.set()

    def listed(self) -> None:
        """The engine was listed for the first time: what stands can be told now."""
        self._changed.set()

    def connected(self, up: bool) -> None:
        self._changed.set()

    def reloaded(self, ok: bool, at: float) -> None:
        self._changed.set()

    def paused(self, pauses: int) -> None:
        self._changed.set()

    # --- telling ----------------------------------------------------------------------------------

    async def run(self, parts: Parts) -> None:
        """Runs until cancelled."""
        self._parts = parts
        await self._take_up()
        while True:
            self._changed.clear()
            await self._look()
            await self._until_something_may_be_due()

    async def _take_up(self) -> None:
        """What the dockmend before this one told, and what it had not come to."""
        journal, now = self._parts.journal, self._parts.clock()
        told = []
        for key in await journal.known_keys(ALARM):
            # of another version: it is told once more
            with contextlib.suppress(msgspec.MsgspecError):
                told.append(
                    msgspec.msgpack.decode(await journal.known_value(key) or b"", type=Alarm)
                )
        self._alarms = Alarms(told)
        heard = await journal.known_value(HEARD)
        last = Heard(now, "")
        # of another version: what closed before this start is not told
        with contextlib.suppress(msgspec.MsgspecError):
            last = msgspec.msgpack.decode(heard, type=Heard) if heard else last
        before = [
            each for each in await journal.recent_incidents(now - DAY) if each.outcome == "healed"
        ]
        missed = {each.id for each in self._closed}
        for incident in before:
            if incident.dry_run or incident.id in missed:
                continue
            if (incident.closed_at or 0.0, incident.id) > (last.closed_at, last.id):
                self._closed.append(incident)
            else:
                self._count(incident)
        self._closed.sort(key=lambda each: (each.closed_at or 0.0, each.id))
        self._keep_heard(last)

    async def _until_something_may_be_due(self) -> None:
        now, due = self._parts.clock(), self._alarms.next_due()
        rest = None if due is None else max(0.0, due - now)
        if any(each.phase is Phase.TOLD for each in self._alarms.known.values()) or self.ill:
            rest = LOOK_AGAIN if rest is None else min(rest, LOOK_AGAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest):
                await self._changed.wait()
                await asyncio.sleep(TOGETHER)

    async def _look(self) -> None:
        parts = self._parts
        words = self._alarms.step(parts.clock(), parts.troubles.standing(), parts.troubles.ending)
        messages = await self._worded(words)
        told = parts.router.send(messages)
        for word, channels in zip(words, told, strict=True):
            if word.say is Say.ALARM:
                self._alarms.told(word.trouble.key, channels)
        self._keep_alarms()
        if parts.troubles.listed():  # whose label names a channel is known from then on
            self._tell_heals()

    async def _worded(self, words: list[Word]) -> list[Addressed]:
        """As messages. Of many at once only the titles are sent: nothing more is asked for them."""
        alarms = [each.trouble for each in words if each.say is Say.ALARM]
        found: dict[str, Facts] = {}
        if len(alarms) <= AT_ONCE_MOST:
            facts = await asyncio.gather(*map(self._parts.facts.of, alarms))
            found = {trouble.key: each for trouble, each in zip(alarms, facts, strict=True)}
        now, worded = self._parts.clock.wall(), []
        for word in words:
            if word.say is Say.ALARM:
                message = wording.alarm(
                    word.trouble, found.get(word.trouble.key, Facts()), now, self._where, word.nth
                )
                worded.append(Addressed(message, self._channels_of(word.trouble.target)))
            else:
                message = wording.resolved(
                    word.trouble, word.ending or AlarmEnding.WELL, now, self._where
                )
                worded.append(Addressed(message, word.channels))
        return worded

    def _channels_of(self, target: str) -> tuple[str, ...] | None:
        return channels_of(self._parts.mirror, target, self._parts.router.channels)

    def _tell_heals(self) -> None:
        closed, self._closed = self._closed, []
        messages = [each for incident in closed for each in self._of_heal(incident)]
        if messages:
            self._parts.router.send(messages)
        if closed:
            self._keep_heard(Heard(closed[-1].closed_at or 0.0, closed[-1].id))

    def _of_heal(self, incident: Incident) -> Iterable[Addressed]:
        nth, flapping = self._count(incident)
        now, to = self._parts.clock.wall(), self._channels_of(incident.target)
        yield Addressed(wording.healed(incident, nth, now, self._where), to)
        if flapping:
            yield Addressed(wording.flapping(incident, flapping, now, self._where), to)

    def _count(self, incident: Incident) -> tuple[int, list[float]]:
        at = self._parts.clock.wall_at(incident.closed_at or 0.0)
        return self._heals.healed(incident.target, at, self._where.local(at))

    # --- what is kept -----------------------------------------------------------------------------

    def _keep_alarms(self) -> None:
        """What is refused is kept the next time; a death until then tells it once more."""
        for key in sorted(self._alarms.changed):
            alarm = self._alarms.known.get(key)
            with contextlib.suppress(JournalError):
                self._parts.journal.put_known(
                    ALARM + key, msgspec.msgpack.encode(alarm) if alarm else None
                )
                self._alarms.changed.discard(key)

    def _keep_heard(self, heard: Heard) -> None:
        with contextlib.suppress(JournalError):
            self._parts.journal.put_known(HEARD, msgspec.msgpack.encode(heard))
