"""The outbox: messages from the moment they are put until each URL of their channel took them, or
was given up on.

Held in memory and written to the journal with every change, so a message that was put is sent, also
by the dockmend that starts after this one died: at least once, in order within a channel. What
waits for a URL is bounded in rows and bytes: what cannot be delivered for a long time must not fill
the memory, and never pushes out what another URL, or another channel, has still to get.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import msgspec
import structlog

from dockmend.errors import JournalError
from dockmend.journal.records import OutboxRow
from dockmend.notify.message import Message, bounded
from dockmend.settings.channels import Channel, Kind

log = structlog.get_logger("dockmend.notify")

MOST_ROWS: Final = 500
"""Messages that may wait for one URL of a channel."""
MOST_BYTES: Final = 1024 * 1024
"""Bytes of them, as JSON."""


class State(StrEnum):
    """Of a message in the outbox."""

    WAITING = "waiting"  # nobody can have seen it
    TRIED = "tried"  # it was handed to a URL at least once: somebody may have seen it
    SENT = "sent"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.WAITING: frozenset({State.TRIED, State.GIVEN_UP, State.DROPPED}),
    State.TRIED: frozenset({State.TRIED, State.SENT, State.GIVEN_UP, State.DROPPED}),
    State.SENT: frozenset(),
    State.GIVEN_UP: frozenset(),
    State.DROPPED: frozenset(),
}
"""Where a row may go; the last three are ends, and the row is removed."""


class DeliveryOutcome(StrEnum):
    """What came of a message at one URL of its channel, or at the channel; a label of the
    metric."""

    SENT = "sent"
    FAILED = "failed"  # a try; another follows
    GIVEN_UP = "given_up"
    DROPPED = "dropped"  # the outbox was full, or the channel is no longer configured


class OutboxJournal(Protocol):
    """What the outbox writes to."""

    def put_outbox(self, row: OutboxRow) -> None: ...
    def remove_outbox(self, sequence: int) -> None: ...


@dataclass(slots=True)
class UndeliveredRow:
    """A message on its way. `due_at`: by dockmend's clock. `taken`: the channel's URLs, by number,
    that are done with it. `tries`: how often it was handed over, over all of them."""

    sequence: int
    channel: str
    message: Message
    due_at: float
    state: State = State.WAITING
    tries: int = 0
    taken: frozenset[int] = frozenset()
    size: int = 0


def marks_of(channel: Channel) -> tuple[str, ...]:
    """By what the journal knows each URL of a channel, however its place in the list changes. A URL
    can hold a password: so few bits of its digest do not show which one."""
    texts = (f"{channel.name}\0{url.reveal()}" for url in channel.urls)
    return tuple(
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8] for text in texts
    )


class Outbox:
    """`channels`: of each channel the marks of its URLs, in their order. `on_outcome(channel, kind,
    outcome)` counts."""

    def __init__(
        self,
        channels: Mapping[str, Sequence[str]],
        journal: OutboxJournal,
        on_outcome: Callable[[str, Kind, DeliveryOutcome], None] = lambda channel, kind, outcome: (
            None
        ),
    ) -> None:
        self._channels = channels
        self._journal = journal
        self._on_outcome = on_outcome
        self._rows: dict[str, dict[int, UndeliveredRow]] = {name: {} for name in channels}
        self._last = 0
        self.changed = {name: [asyncio.Event() for _ in urls] for name, urls in channels.items()}
        """Set for each URL of a channel when something was put there or dropped."""

    def load(self, rows: Iterable[OutboxRow], last: int, moved: float = 0.0) -> None:
        """Takes up what an earlier run left. `last`: the largest number there ever was; `moved`:
        what to add to times of that run. Call it before anything is put."""
        self._last = last
        for each in rows:
            row = _read(each, moved, self._channels.get(each.channel, ()))
            if row is None or row.channel not in self._channels:
                why = (
                    "it cannot be read" if row is None else "its channel is not configured any more"
                )
                log.warning(
                    "a message of an earlier run is not sent",
                    id="message_of_earlier_run_dropped",
                    channel=each.channel,
                    reason=why,
                )
                if row is not None:
                    self._on_outcome(row.channel, row.message.kind, DeliveryOutcome.DROPPED)
                self._written(each.sequence, None)
                continue
            self._last = max(self._last, row.sequence)
            self._keep(row)
            if row.taken:  # it may name fewer URLs than before
                self._finish(row)

    # -------------------------------------------------------------------- who has something to tell

    def put(self, channel: str, message: Message, due_at: float) -> int:
        """Queues a message for a channel that is configured; returns its number. `due_at`: by
        dockmend's clock."""
        message = bounded(message)
        self._last += 1
        row = UndeliveredRow(self._last, channel, message, due_at, size=len(_encoded(message)))
        self._keep(row)
        self._shrink(channel)
        self._wake(channel)
        return row.sequence

    def waiting(self, channel: str) -> list[UndeliveredRow]:
        """Messages that nobody can have seen yet, in the order in which they were put."""
        return [row for row in self._rows.get(channel, {}).values() if row.state is State.WAITING]

    def drop(self, sequence: int) -> bool:
        """Takes a message back. False: somebody may have seen it, or it is not there any more."""
        row = next((rows[sequence] for rows in self._rows.values() if sequence in rows), None)
        if row is None or row.state is not State.WAITING:
            return False
        self._end(row, State.DROPPED)
        self._wake(row.channel)
        return True

    # ------------------------------------------------------------------------------ who delivers it

    def depth(self, channel: str) -> int:
        return len(self._rows[channel])

    def due(self, channel: str) -> list[float]:
        """When each message of a channel is due that not every URL of it took, by dockmend's
        clock."""
        return [row.due_at for row in self._rows[channel].values()]

    def next(self, channel: str, url: int) -> UndeliveredRow | None:
        """What a URL of a channel is to be sent next, due or not: the first by time, then by
        number."""
        mine = self._left_for(channel, url)
        return min(mine, key=lambda row: (row.due_at, row.sequence), default=None)

    def handed(self, row: UndeliveredRow) -> None:
        """It is about to be handed over: from now on somebody may see it."""
        self._move(row, State.TRIED)
        row.tries += 1
        self._written(row.sequence, row)

    def sent(self, row: UndeliveredRow, url: int) -> None:
        self._on_outcome(row.channel, row.message.kind, DeliveryOutcome.SENT)
        self._taken(row, url)

    def failed(self, row: UndeliveredRow) -> None:
        self._on_outcome(row.channel, row.message.kind, DeliveryOutcome.FAILED)

    def give_up(self, channel: str, url: int, before: float) -> int:
        """Gives up on what was due before then at one URL, which takes nothing; returns how many
        messages."""
        old = [row for row in self._left_for(channel, url) if row.due_at < before]
        for row in old:
            self._on_outcome(channel, row.message.kind, DeliveryOutcome.GIVEN_UP)
            self._taken(row, url, State.GIVEN_UP)
        return len(old)

    # ---------------------------------------------------------------------------------- from within

    def _left_for(self, channel: str, url: int) -> list[UndeliveredRow]:
        return [row for row in self._rows[channel].values() if url not in row.taken]

    def _taken(self, row: UndeliveredRow, url: int, end: State = State.SENT) -> None:
        if row.sequence not in self._rows[row.channel]:
            return  # it had to make room while it was on its way
        row.taken |= {url}
        if not self._finish(row, end):
            self._written(row.sequence, row)

    def _finish(self, row: UndeliveredRow, end: State = State.SENT) -> bool:
        """Ends a row that every URL of its channel is done with."""
        done = bool(row.taken) and row.taken >= set(range(len(self._channels[row.channel])))
        if done:
            self._end(row, end)
        return done

    def _keep(self, row: UndeliveredRow) -> None:
        self._rows[row.channel][row.sequence] = row
        self._written(row.sequence, row)

    def _end(self, row: UndeliveredRow, state: State) -> None:
        self._move(row, state)
        del self._rows[row.channel][row.sequence]
        self._written(row.sequence, None)

    def _move(self, row: UndeliveredRow, state: State) -> None:
        if state not in TRANSITIONS[row.state]:
            raise AssertionError(f"message {row.sequence} cannot go from {row.state} to {state}")
        row.state = state

    def _shrink(self, channel: str) -> None:
        for url in range(max(1, len(self._channels[channel]))):
            self._make_room(channel, url)

    def _make_room(self, channel: str, url: int) -> None:
        """What is least grave goes first; of that the trouble of which most waits, and of it the
        oldest. The channel's other URLs still get it."""
        left = {row.sequence: row for row in self._left_for(channel, url)}
        size = sum(row.size for row in left.values())
        while len(left) > MOST_ROWS or size > MOST_BYTES:
            least = min(each.message.severity for each in left.values())
            mine = [each for each in left.values() if each.message.severity == least]
            many = Counter(each.message.key for each in mine)
            row = min(mine, key=lambda each: (-many[each.message.key], each.sequence))
            del left[row.sequence]
            size -= row.size
            self._on_outcome(channel, row.message.kind, DeliveryOutcome.DROPPED)
            log.warning(
                "a message is not sent: too many wait for this URL of its channel",
                id="message_dropped",
                channel=channel,
                url=url + 1,
                kind=row.message.kind,
            )
            self._taken(row, url, State.DROPPED)

    def _wake(self, channel: str) -> None:
        for event in self.changed[channel]:
            event.set()

    def _written(self, sequence: int, row: UndeliveredRow | None) -> None:
        """A journal that cannot be written stops no message: the outbox goes on in memory."""
        try:
            if row is None:
                self._journal.remove_outbox(sequence)
            else:
                marks = self._channels[row.channel]
                taken = json.dumps([marks[url] for url in sorted(row.taken)])
                body = _encoded(row.message)
                self._journal.put_outbox(
                    OutboxRow(sequence, row.channel, row.state, row.due_at, row.tries, taken, body)
                )
        except JournalError as error:
            log.warning(
                "a message is only in memory: the journal takes nothing",
                id="message_in_memory_only",
                error=str(error),
            )


def _encoded(message: Message) -> bytes:
    return msgspec.json.encode(message)


def _read(each: OutboxRow, moved: float, marks: Sequence[str]) -> UndeliveredRow | None:
    """`marks`: of the channel's URLs as they are now. None: it is of another version, or
    damaged."""
    try:
        message = msgspec.json.decode(each.body, type=Message)
        done = set(msgspec.json.decode(each.taken, type=list[int | str]))
        state = State(each.state)
    except (msgspec.MsgspecError, ValueError):
        return None
    if not TRANSITIONS[state]:
        return None
    if done:
        state = State.TRIED
    # earlier versions wrote the numbers of the URLs
    taken = frozenset(url for url, mark in enumerate(marks) if mark in done or url in done)
    return UndeliveredRow(
        each.sequence,
        each.channel,
        message,
        each.due_at + moved,
        state,
        each.tries,
        taken,
        len(each.body),
    )
