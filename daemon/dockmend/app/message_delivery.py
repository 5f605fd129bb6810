"""Delivers messages to people: the outbox, who takes it to each URL, and the heartbeat; loaded as
far as needed."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from dockmend.journal.journal_api import Journal
from dockmend.notify.outbox import Outbox, marks_of
from dockmend.own_faults import OWN_FAULTS
from dockmend.settings import Settings
from dockmend.tell.metrics import Metrics

if TYPE_CHECKING:
    from dockmend.notify.delivery import Delivery


class MessageDelivery:
    """`degraded`: what does not work, by part. `outbox` takes messages for the channels of
    `settings` only."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        metrics: Metrics,
        degraded: Mapping[str, str],
        clock: Callable[[], float],
        dice: random.Random,
    ) -> None:
        # The daemon of `dockmend demo` tells nobody: what it breaks is its own.
        self.channels = () if settings.only else settings.channels
        self.outbox = Outbox(
            {each.name: marks_of(each) for each in self.channels}, journal, metrics.notification
        )
        self._journal = journal
        self._heartbeat = None if settings.only or settings.dry_run else settings.heartbeat_url
        self._degraded = degraded
        self._clock = clock
        self._dice = dice
        self.delivery: Delivery | None = None
        self.look_again: Callable[[], None] = lambda: None
        """For whoever moves the clock."""
        metrics.notification_channels(each.name for each in self.channels)

    async def take_up(self, moved: float) -> None:
        """What an earlier run did not deliver. `moved`: what to add to its times."""
        self.outbox.load(*await self._journal.outbox(), moved)

    def parts(self) -> Iterable[tuple[str, Callable[[], Awaitable[None]]]]:
        """Names and functions of what runs for ever; none without a channel and a heartbeat."""
        if self.channels:
            from dockmend.notify.delivery import Delivery  # noqa: PLC0415 - only where there is a channel
            from dockmend.notify.sender import Sender  # noqa: PLC0415 - the same

            sender = partial(Sender, self._clock, os.environ)
            self.delivery = Delivery(self.channels, self.outbox, sender, self._clock, self._dice)
            self.look_again = self.delivery.look_again
            yield "delivery", self.delivery.run
        if self._heartbeat is not None:
            from dockmend.notify.heartbeat import Heartbeat  # noqa: PLC0415 - only where there is one

            yield "heartbeat", Heartbeat(self._heartbeat, self._healthy).run

    def _healthy(self) -> bool:
        """No heartbeat while dockmend itself is at fault; an engine that is away is told by a
        message."""
        return not any(part in self._degraded for part in OWN_FAULTS)
