"""Where a message goes and when: which channels take it, at once, in the digest, or after the quiet
hours.

What comes too often becomes one message with a list: what stands comes first in it, and of that
what is grave. What is critical counts apart. So no flood of messages hides another. An alarm that
has not gone out when its trouble is over becomes one message with that. The outbox holds what
waits; nothing else is remembered but when something was put.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from dockmend.notify import defusing
from dockmend.notify.message import Channel, Kind, Message, MessagePart, Severity, bounded
from dockmend.notify.wording import over_before_told

AT_ONCE_MOST, WITHIN = 10, 60.0
"""So many messages within so many seconds go to a channel one by one; what is more goes as one."""
LISTED: Final = 40
"""Messages that a list names; of more it says how many."""
LONGEST_KEY: Final = 200
"""Characters of a trouble's key that tell it from another in a list."""
LIST: Final = "list/"
DIGEST: Final = "digest/"
"""How the keys begin of messages that stand for several; how many follows."""


class RoutedRow(Protocol):
    """A message that waits in the outbox, and that nobody has seen."""

    @property
    def sequence(self) -> int: ...
    @property
    def message(self) -> Message: ...
    @property
    def due_at(self) -> float: ...


class RoutingOutbox(Protocol):
    """What messages are put into. Times are those of dockmend's clock."""

    def put(self, channel: str, message: Message, due_at: float) -> int: ...
    def waiting(self, channel: str) -> Sequence[RoutedRow]: ...
    def drop(self, sequence: int) -> bool: ...


class Addressed(Struct, frozen=True):
    """A message and who may get it: names of channels; None: every channel that takes its kind.
    `by_rule`: a rule names them, and it is for them however grave it is."""

    message: Message
    to: tuple[str, ...] | None = None
    by_rule: bool = False


@dataclass(frozen=True, slots=True)
class RoutingMoment:
    """One moment. `clock`: by dockmend's clock, as due times are; `local`: by the clock on the
    wall, in the host's time zone."""

    clock: float
    local: datetime

    def at(self, minute: int) -> float:
        """When the local day next reaches a minute, by dockmend's clock."""
        then = self.local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
        if then <= self.local:
            then += timedelta(days=1)
        return self.clock + then.timestamp() - self.local.timestamp()


def takes(channel: Channel, message: Message) -> bool:
    """Whether a channel wants a message at all. No channel lists what rules tell: its severity
    decides."""
    if message.kind in channel.at_once or message.kind is Kind.TOLD:
        return message.severity >= channel.severity
    return message.kind in channel.digest


def digested(channel: Channel, message: Message) -> bool:
    return message.kind is not Kind.TOLD and message.kind not in channel.at_once


def due(channel: Channel, message: Message, now: RoutingMoment) -> float:
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
    outbox: RoutingOutbox
    now: Callable[[], RoutingMoment]
    _put_at: dict[tuple[str, bool], deque[float]] = field(default_factory=dict)

    def send(self, messages: Iterable[Addressed]) -> list[tuple[str, ...]]:
        """Puts messages that come together; for each, who is to get it."""
        batch, now = list(messages), self.now()
        told = [self.takers(each) for each in batch]
        for name, channel in self.channels.items():
            mine = [each.message for each, names in zip(batch, told, strict=True) if name in names]
            self._digest(channel, [each for each in mine if digested(channel, each)], now)
            self._at_once(channel, [each for each in mine if not digested(channel, each)], now)
        return told

    def takers(self, addressed: Addressed) -> tuple[str, ...]:
        """Who gets a message."""
        named = self._named(addressed.to)
        return tuple(
            each for each in named if addressed.by_rule
            or takes(self.channels[each], addressed.message)
        )  # fmt: skip

    def _named(self, to: tuple[str, ...] | None) -> list[str]:
        return [name for name in self.channels if to is None or name in to]

    def _digest(self, channel: Channel, messages: list[Message], now: RoutingMoment) -> None:
        if not messages:
            return
        waiting = [
            row for row in self.outbox.waiting(channel.name) if row.message.key.startswith(DIGEST)
        ]
        due_at = min((row.due_at for row in waiting), default=now.at(channel.digest_at))
        self._put_list(channel, DIGEST, waiting, messages, due_at, now)

    def _at_once(self, channel: Channel, messages: list[Message], now: RoutingMoment) -> None:
        """What is critical counts apart: no flood of lesser messages makes it a line of a list."""
        messages = [self._with_what_it_ends(channel, each) for each in messages]
        groups: dict[tuple[float, bool], list[Message]] = {}
        for each in messages:
            groups.setdefault((due(channel, each, now), _critical(each)), []).append(each)
        for (due_at, critical), together in sorted(groups.items(), key=lambda each: each[0]):
            self._put(channel, together, due_at, critical, now)

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

    def _put(
        self,
        channel: Channel,
        messages: list[Message],
        due_at: float,
        critical: bool,
        now: RoutingMoment,
    ) -> None:
        """Those that are due together: one by one, or as a list where that would be too many."""
        later = due_at > now.clock
        waiting = [
            row for row in self.outbox.waiting(channel.name)
            if not row.message.key.startswith(DIGEST) and _critical(row.message) is critical
        ]  # fmt: skip
        lately = self._put_at.setdefault((channel.name, critical), deque(maxlen=AT_ONCE_MOST))
        backlog: list[RoutedRow] = []
        if later:  # kept for the end of the quiet hours: all that wait for it would go out at once
            together = [row for row in waiting if row.due_at > now.clock + WITHIN]
            many = len(together) + len(messages) > AT_ONCE_MOST
        else:
            together = [
                row
                for row in waiting
                if row.message.key.startswith(LIST) and row.due_at <= now.clock + WITHIN
            ]
            # What a receiver that is slow, or away, has not got yet would go out at once too.
            backlog = [row for row in waiting if row.due_at <= now.clock]
            if len(backlog) + len(messages) <= AT_ONCE_MOST:
                backlog = []
            together += [row for row in backlog if row not in together]
            many = (
                bool(together)
                or sum(at > now.clock - WITHIN for at in lately) + len(messages) > AT_ONCE_MOST
            )
            if many and not backlog and len(messages) <= AT_ONCE_MOST:
                # more of them follow
                due_at = min((row.due_at for row in together), default=now.clock + WITHIN)
        if many:
            together.sort(key=lambda each: each.sequence)
            self._put_list(channel, LIST, together, messages, due_at, now)
            return
        for each in messages:
            self.outbox.put(channel.name, each, due_at)
            if not later:
                lately.append(now.clock)

    def _put_list(
        self,
        channel: Channel,
        prefix: str,
        waiting: Sequence[RoutedRow],
        messages: list[Message],
        due_at: float,
        now: RoutingMoment,
    ) -> None:
        """One message for all of them, and for those that wait and are taken back for it."""
        taken_back = [row.message for row in waiting if self.outbox.drop(row.sequence)]
        self.outbox.put(channel.name, _listed(prefix, [*taken_back, *messages], now), due_at)


def _critical(message: Message) -> bool:
    return message.severity >= Severity.CRITICAL


def _listed(prefix: str, messages: Sequence[Message], now: RoutingMoment) -> Message:
    """One for several; one of them that stands for several itself is taken apart."""
    parts = [part for each in messages for part in _parts(each)]
    count = sum(map(_count, messages))
    if len(parts) > LISTED:
        parts = _of_each_trouble(parts)
    parts.sort(key=lambda each: (each.over, -each.severity))  # those alike stay in their order
    parts = parts[:LISTED]
    more = count - sum(part.count for part in parts)
    gravest = max(messages, key=lambda each: (each.kind is not Kind.RESOLVED, each.severity))
    host = defusing.name(gravest.host)
    title = f"{host}: {count} messages" if prefix == LIST else f"{host}: what happened ({count})"
    rest = [f"and {more} more: dockmend incidents"] if more else []
    return bounded(
        replace(
            gravest,
            severity=max(each.severity for each in messages),
            key=f"{prefix}{count}",
            target="",
            object_name="",
            title=title,
            last_lines=(),
            next_step="",
            body="\n".join([*(_line(part, now) for part in parts), *rest]),
            parts=tuple(parts),
        )
    )


def _count(message: Message) -> int:
    return int(message.key.partition("/")[2]) if message.key.startswith((LIST, DIGEST)) else 1


def _parts(message: Message) -> Sequence[MessagePart]:
    if message.parts:
        return message.parts
    over = message.kind is Kind.RESOLVED
    return (
        MessagePart(message.key[:LONGEST_KEY], message.title, message.at, message.severity, over),
    )


def _of_each_trouble(parts: Sequence[MessagePart]) -> list[MessagePart]:
    """The newest of each trouble: one that comes and goes leaves room for the others."""
    newest: dict[str, MessagePart] = {}
    for part in parts:
        before = newest.pop(part.key, None)
        newest[part.key] = (
            part if before is None else replace(part, count=before.count + part.count)
        )
    return list(newest.values())


def _line(part: MessagePart, now: RoutingMoment) -> str:
    at = now.local + timedelta(seconds=part.at - now.local.timestamp())
    day = "" if at.date() == now.local.date() else f"{at:%Y-%m-%d} "
    times = f" ({part.count} messages about it)" if part.count > 1 else ""
    return f"{day}{at:%H:%M} {part.title}{times}"
