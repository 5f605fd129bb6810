"""Where a message goes and when: which channels take it, at once, in the digest, or after the quiet hours.

What comes too often becomes one message with a list, and an alarm that has not gone out when its trouble is over
becomes one message with that. The outbox holds what waits; nothing else is remembered but when something was put.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from dockmend.notify.message import Channel, Kind, Message, bounded
from dockmend.notify.wording import over_before_told

AT_ONCE_MOST, WITHIN = 10, 60.0
"""So many messages within so many seconds go to a channel one by one; what is more goes as one."""
LISTED: Final = 40
"""Messages that a list names; of more it says how many."""
LIST: Final = "list/"
DIGEST: Final = "digest/"
"""How the keys begin of messages that stand for several; how many follows."""


class Row(Protocol):
    """A message that waits in the outbox, and that nobody has seen."""

    @property
    def sequence(self) -> int: ...
    @property
    def message(self) -> Message: ...
    @property
    def due_at(self) -> float: ...


class Outbox(Protocol):
    """What messages are put into. Times are those of dockmend's clock."""

    def put(self, channel: str, message: Message, due_at: float) -> int: ...
    def waiting(self, channel: str) -> Sequence[Row]: ...
    def drop(self, sequence: int) -> bool: ...


class Addressed(Struct, frozen=True):
    """A message and who may get it: names of channels; None: every channel that takes its kind."""

    message: Message
    to: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """One moment. `clock`: by dockmend's clock, as due times are; `local`: by the clock on the wall, in the host's
    time zone."""

    clock: float
    local: datetime

    def at(self, minute: int) -> float:
        """When the local day next reaches a minute, by dockmend's clock."""
        then = self.local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
        if then <= self.local:
            then += timedelta(days=1)
        return self.clock + then.timestamp() - self.local.timestamp()


def takes(channel: Channel, message: Message) -> bool:
    """Whether a channel wants a message at all. What a rule sends by name is for it, whatever its kinds."""
    if message.kind is Kind.TOLD:
        return True
    if message.kind in channel.at_once:
        return message.severity >= channel.severity
    return message.kind in channel.digest


def digested(channel: Channel, message: Message) -> bool:
    return message.kind is not Kind.TOLD and message.kind not in channel.at_once


def due(channel: Channel, message: Message, now: Now) -> float:
    """When it goes out: not in the quiet hours, unless it is critical."""
    if channel.quiet is None or message.severity >= type(message.severity).CRITICAL:
        return now.clock
    minute, (start, end) = now.local.hour * 60 + now.local.minute, channel.quiet
    quiet = start <= minute < end if start < end else minute >= start or minute < end
    return now.at(end) if quiet else now.clock


@dataclass(slots=True)
class Router:
    """Puts messages into the outbox. `now`: asked once for each call."""

    channels: Mapping[str, Channel]
    outbox: Outbox
    now: Callable[[], Now]
    _put_at: dict[str, deque[float]] = field(default_factory=dict)

    def send(self, messages: Iterable[Addressed]) -> list[tuple[str, ...]]:
        """Puts messages that come together; for each, who is to get it."""
        batch, now = list(messages), self.now()
        told = [tuple(name for name in self._named(each.to) if takes(self.channels[name], each.message))
                for each in batch]  # fmt: skip
        for name, channel in self.channels.items():
            mine = [each.message for each, names in zip(batch, told, strict=True) if name in names]
            self._digest(channel, [each for each in mine if digested(channel, each)], now)
            self._at_once(channel, [each for each in mine if not digested(channel, each)], now)
        return told

    def _named(self, to: tuple[str, ...] | None) -> list[str]:
        return [name for name in self.channels if to is None or name in to]

    def _digest(self, channel: Channel, messages: list[Message], now: Now) -> None:
        if not messages:
            return
        waiting = [row for row in self.outbox.waiting(channel.name) if row.message.key.startswith(DIGEST)]
        due_at = min((row.due_at for row in waiting), default=now.at(channel.digest_at))
        self._put_list(channel, DIGEST, waiting, messages, due_at, now)

    def _at_once(self, channel: Channel, messages: list[Message], now: Now) -> None:
        messages = [self._with_what_it_ends(channel, each) for each in messages]
        messages.sort(key=lambda each: due(channel, each, now))
        for due_at, together in groupby(messages, key=lambda each: due(channel, each, now)):
            self._put(channel, list(together), due_at, now)

    def _with_what_it_ends(self, channel: Channel, message: Message) -> Message:
        """An alarm that nobody has seen goes out as one message with its end."""
        if message.kind is not Kind.RESOLVED:
            return message
        alarms = [
            row for row in self.outbox.waiting(channel.name)
            if row.message.key == message.key and row.message.kind is not Kind.RESOLVED
        ]  # fmt: skip
        taken_back = [row.message for row in alarms if self.outbox.drop(row.sequence)]
        return over_before_told(taken_back[-1], message) if taken_back else message

    def _put(self, channel: Channel, messages: list[Message], due_at: float, now: Now) -> None:
        """Those that are due together: one by one, or as a list where that would be too many."""
        later = due_at > now.clock
        waiting = [row for row in self.outbox.waiting(channel.name) if not row.message.key.startswith(DIGEST)]
        if later:  # kept for the end of the quiet hours: all that wait for it would go out at once
            together = [row for row in waiting if row.due_at > now.clock + WITHIN]
            many = len(together) + len(messages) > AT_ONCE_MOST
        else:
            together = [row for row in waiting if row.message.key.startswith(LIST) and row.due_at <= now.clock + WITHIN]
            many = bool(together) or self._lately(channel.name, now) + len(messages) > AT_ONCE_MOST
            if many and len(messages) <= AT_ONCE_MOST:
                due_at = min((row.due_at for row in together), default=now.clock + WITHIN)  # more of them follow
        if many:
            self._put_list(channel, LIST, together, messages, due_at, now)
            return
        for each in messages:
            self.outbox.put(channel.name, each, due_at)
            if not later:
                self._put_at.setdefault(channel.name, deque(maxlen=AT_ONCE_MOST)).append(now.clock)

    def _lately(self, channel: str, now: Now) -> int:
        return sum(1 for at in self._put_at.get(channel, ()) if at > now.clock - WITHIN)

    def _put_list(
        self, channel: Channel, prefix: str, waiting: Sequence[Row], messages: list[Message], due_at: float, now: Now
    ) -> None:
        """One message for all of them, and for those that wait and are taken back for it."""
        taken_back = [row.message for row in waiting if self.outbox.drop(row.sequence)]
        self.outbox.put(channel.name, _listed(prefix, [*taken_back, *messages], now), due_at)


def _listed(prefix: str, messages: Sequence[Message], now: Now) -> Message:
    """One for several; one of them that stands for several itself is taken apart."""
    count = sum(map(_count, messages))
    entries = [line for each in messages for line in _lines(each, now)]
    more = count - min(len(entries), LISTED)
    gravest = max(messages, key=lambda each: each.severity)
    title = f"{gravest.host}: {count} messages" if prefix == LIST else f"{gravest.host}: what happened ({count})"
    rest = [f"and {more} more: dockmend incidents"] if more else []
    return bounded(
        replace(
            gravest,
            key=f"{prefix}{count}",
            target="",
            object_name="",
            title=title,
            last_lines=(),
            next_step="",
            body="\n".join([*entries[:LISTED], *rest]),
        )
    )


def _stands_for_several(message: Message) -> bool:
    return message.key.startswith((LIST, DIGEST))


def _count(message: Message) -> int:
    return int(message.key.partition("/")[2]) if _stands_for_several(message) else 1


def _lines(message: Message, now: Now) -> list[str]:
    if _stands_for_several(message):
        return message.body.split("\n")[:LISTED]
    at = now.local + timedelta(seconds=message.at - now.local.timestamp())
    day = "" if at.date() == now.local.date() else f"{at:%Y-%m-%d} "
    return [f"{day}{at:%H:%M} {message.title}"]
