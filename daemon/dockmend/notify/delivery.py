"""Sends what is due from the outbox: each URL of each channel in an order and at a pace of its own.

A URL that takes nothing is tried again after a while that doubles, for a day; then what waited for
it that long is given up, counted and logged. It holds up neither the other URLs of its channel nor
another channel.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from dockmend.notify.listing import Lane
from dockmend.notify.message import Message
from dockmend.notify.outbox import Outbox, UndeliveredRow
from dockmend.notify.sender import Sender, Verdict
from dockmend.settings.channels import Channel
from dockmend.settings.secrets import Secret

log = structlog.get_logger("dockmend.notify")

FIRST: Final = 5.0
MOST: Final = 900.0
"""Seconds between tries at a URL that takes nothing."""
KEPT: Final = 24 * 3600.0
"""Seconds for which a message is tried again after it was due."""
LONGEST_SLEEP: Final = 30.0
"""Seconds: the loop's own clock stands while the machine sleeps."""


class Delivery:
    """`sender`: makes what starts and ends the process that sends."""

    def __init__(
        self,
        channels: Iterable[Channel],
        outbox: Outbox,
        sender: Callable[[], Sender],
        clock: Callable[[], float],
        dice: random.Random,
    ) -> None:
        self._channels = tuple(channels)
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._dice = dice
        self._sending: Sender | None = None
        self.lanes: dict[str, dict[int, Lane]] = {
            each.name: {number: Lane() for number in range(len(each.urls))}
            for each in self._channels
        }
        """By channel and number of the URL. Times are those of `clock`."""

    async def run(self) -> None:
        """Until cancelled."""
        async with self._sender() as sender, asyncio.TaskGroup() as group:
            self._sending = sender
            try:
                for channel in self._channels:
                    for number, url in enumerate(channel.urls):
                        group.create_task(self._lane(sender, channel, number, url))
                await asyncio.Event().wait()
            finally:
                self._sending = None

    async def try_now(self, channel: Channel, number: int, message: Message) -> Verdict:
        """Hands one message to one URL, beside the outbox: nothing is kept, and nothing is tried
        again."""
        if self._sending is None:
            return Verdict(accepted=False, said=("messages are not sent at the moment: try again",))
        return await self._sending.send(channel.urls[number], message, channel.logs)

    def look_again(self) -> None:
        """The clock was moved."""
        for events in self._outbox.changed.values():
            for event in events:
                event.set()

    async def _lane(self, sender: Sender, channel: Channel, number: int, url: Secret) -> None:
        changed = self._outbox.changed[channel.name][number]
        wait, not_before = FIRST, 0.0
        while True:
            changed.clear()
            row = self._outbox.next(channel.name, number)
            at = max(row.due_at, not_before) if row is not None else None
            now = self._clock()
            if row is None or at is None or at > now:
                await _either(changed, at - now if at is not None else LONGEST_SLEEP)
                continue
            self._outbox.handed(row)
            verdict = await sender.send(url, row.message, channel.logs)
            if verdict.accepted:
                self._outbox.sent(row, number)
                self._well(channel.name, number)
                wait, not_before = FIRST, 0.0
            else:
                self._refused(channel.name, number, row, verdict)
                not_before = self._clock() + wait * self._dice.uniform(0.75, 1.0)
                wait = min(wait * 2, MOST)

    def _refused(self, channel: str, number: int, row: UndeliveredRow, verdict: Verdict) -> None:
        why, lane = "; ".join(verdict.said) or "it was not accepted", self.lanes[channel][number]
        if not lane.failing:
            log.warning(
                "a message was not accepted and is tried again",
                id="message_not_accepted",
                channel=channel,
                url=number + 1,
                reason=why,
            )
        lane.failing, lane.failed_at, lane.error = True, self._clock(), why
        self._outbox.failed(row)
        if count := self._outbox.give_up(channel, number, self._clock() - KEPT):
            log.error(
                "messages were given up on",
                id="messages_given_up",
                channel=channel,
                url=number + 1,
                messages=count,
                reason=why,
            )

    def _well(self, channel: str, number: int) -> None:
        lane = self.lanes[channel][number]
        if lane.failing:
            log.info(
                "messages are accepted again",
                id="messages_accepted_again",
                channel=channel,
                url=number + 1,
            )
        lane.failing, lane.delivered_at = False, self._clock()


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event, so many seconds at most."""
    try:
        async with asyncio.timeout(min(seconds, LONGEST_SLEEP)):
            await event.wait()
    except TimeoutError:
        return
