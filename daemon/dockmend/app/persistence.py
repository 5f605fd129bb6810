"""Writes what is known to the journal: last known state, the cursor, late records; removes old
records.

A journal that cannot be written ends nothing here: dockmend goes on observing and reports that it
is degraded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from dockmend.app import resume
from dockmend.decide import History
from dockmend.errors import JournalError
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.observer import Observer
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.write_retry import WriteRetry
from dockmend.timekeeping import Clock

log = structlog.get_logger("dockmend")

PERSIST_EVERY = 1.0
"""Seconds between writes of cursor and last known state: what a death loses of them at most."""
DAY = 86400.0
KEEP_JOURNAL = 30 * DAY
MOST_BYTES = 256 * 1024 * 1024
"""Bytes the journal may use: beyond them the oldest incidents go, however young they are."""
PRUNED_TO = 0.9
"""Share of those bytes that is left then: not every record of a flood is to remove another one."""
MOST_OF_RULE = 20_000
"""Closed incidents kept of one rule: one that floods leaves the others' records alone."""
SIZED_EVERY = 60.0
"""Seconds between two looks at how large the journal is."""
REMEMBERED = DAY
"""Seconds for which it is told that the record before it was lost."""
HOUSEKEEPING_EVERY = 3600.0
PROBED_EVERY = 15.0
"""Seconds after which something is written even where nothing has changed: a disk that takes
nothing must be known before it is needed."""
UNWRITABLE = "nothing is done"


class Persistence:
    """`cursor` tells where the stream was read to; `clock`: what the journal's times are by."""

    def __init__(
        self,
        journal: Journal,
        backlog: WriteRetry,
        mirror: Mirror,
        observer: Observer,
        clock: Clock,
        cursor: Callable[[], EventCursor],
    ) -> None:
        self._journal = journal
        self._backlog = backlog
        self._mirror = mirror
        self._observer = observer
        self._clock = clock
        self._cursor = cursor
        self._written: EventCursor | None = None
        self._written_at = clock()
        self._why: str | None = None
        self._aside: Path | None = None
        self._aside_at = 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(PERSIST_EVERY)
            self.persist()

    def persist(self) -> None:
        """Hands over what changed since the last time; what is refused is handed over the next
        time."""
        with contextlib.suppress(JournalError):
            self._backlog.catch_up()
            self._put_state()
        why = None
        if not self._journal.healthy or len(self._backlog):
            why = f"{self._journal.failure or 'it cannot be written'}: {UNWRITABLE}"
        if why != self._why:
            self._why = why
            self._observer.degraded("journal", why)
        self._tell_what_was_lost()

    def _tell_what_was_lost(self) -> None:
        """A damaged journal was set aside, at the start or since: limits and people miss what it
        told."""
        aside, now = self._journal.set_aside, self._clock()
        if aside is not None and aside != self._aside:
            self._aside, self._aside_at = aside, now
            self._observer.journal_lost()
            self._observer.degraded(
                "record",
                f"the journal was damaged and set aside as {aside.name}: what was done before is "
                "forgotten",
            )
        elif self._aside_at and now - self._aside_at > REMEMBERED:
            self._aside_at = 0.0
            self._observer.degraded("record", None)

    def _put_state(self) -> None:
        mirror = self._mirror
        moved = self._put_changed(mirror.changed, resume.CONTAINER, mirror.known)
        self._put_changed(mirror.defined.changed, resume.NETWORK, mirror.defined.encoded)
        self.put_identities()
        cursor = self._cursor()
        if moved or cursor is not self._written or self._clock() - self._written_at >= PROBED_EVERY:
            self._journal.put_known(resume.CURSOR, msgspec.msgpack.encode(cursor))
            self._journal.put_known(resume.STAMP, msgspec.msgpack.encode(self._clock.stamp()))
            self._written, self._written_at = cursor, self._clock()

    def put_identities(self) -> None:
        """Who is who goes to disk with each intent too: the next dockmend must know what a
        definition is about to name.

        Raises JournalError.
        """
        identities = self._mirror.identities
        self._put_changed(identities.changed, resume.IDENTITY, identities.encoded)

    def _put_changed(
        self, changed: set[str], prefix: str, encoded: Callable[[str], bytes | None]
    ) -> bool:
        """Whether anything had changed. What is refused stays to be written."""
        moved = bool(changed)
        while changed:
            key = changed.pop()
            try:
                self._journal.put_known(prefix + key, encoded(key))
            except JournalError:
                changed.add(key)
                raise
        return moved

    def began(self, incident: Incident) -> None:
        """What is known of a new incident's container goes to disk before anything is done about
        it.

        Else a dockmend that dies within the second knows at its return of a trouble that it cannot
        find any more.
        """
        self.keep(incident.object_id)

    def keep(self, container_id: str) -> None:
        """What is known of a container goes to disk now, where it is another than what is there."""
        if container_id in self._mirror.changed:
            self._mirror.changed.discard(container_id)
            key = resume.CONTAINER + container_id
            known = self._mirror.known(container_id)
            self._backlog.write(("known", key), self._journal.put_known, key, known)

    def schedule_fired(self, key: str, at: float) -> None:
        key, value = resume.SCHEDULE + key, msgspec.msgpack.encode(at)
        self._backlog.write(("known", key), self._journal.put_known, key, value)

    async def housekeeping(self, history: History, longest: Callable[[], float]) -> None:
        """Runs until cancelled. `longest`: how far back the limits look, in seconds."""
        tidied_at: float | None = None
        while True:
            await asyncio.sleep(SIZED_EVERY)
            with contextlib.suppress(JournalError):  # the writer says so itself
                if tidied_at is None or self._clock() - tidied_at >= HOUSEKEEPING_EVERY:
                    await self.tidy(history, longest())
                    tidied_at = self._clock()
                else:
                    await self._keep_small()

    async def tidy(self, history: History, longest: float) -> None:
        """Memory and journal keep only what a limit or a person may still ask for. Raises
        JournalError."""
        now = self._clock()
        history.trim(now, max(DAY, longest), longest)
        await self._journal.prune(now - KEEP_JOURNAL, now - max(resume.HISTORY, longest))
        await self._journal.prune_rules(MOST_OF_RULE)
        await self._keep_small()

    async def _keep_small(self) -> None:
        if await self._journal.used() > MOST_BYTES:
            removed = await self._journal.prune_to(int(MOST_BYTES * PRUNED_TO))
            log.warning(
                "the journal grew too large: its oldest incidents were removed",
                id="journal_trimmed",
                incidents=removed,
            )
