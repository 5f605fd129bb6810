"""The journal in SQLite: `Journal` of journal_api.py over one writer thread and one reading
connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dockmend.errors import JournalError
from dockmend.journal.migrations import open_beside, open_for_writing
from dockmend.journal.reader import JournalReader, connect_reader, read_only
from dockmend.journal.records import (
    COUNTED_PARTS,
    ActionRecord,
    Attempt,
    Breaker,
    ClosedIncident,
    Incident,
    OutboxRow,
    Pause,
)
from dockmend.journal.writer import BOUND, Writer
from dockmend.owned import OwnedObject

__all__ = ["SqliteJournal", "read_only"]

_T = TypeVar("_T")

READ_AT_ONCE = 500  # rows that are in memory at a time where many are read
# incidents in a transaction: a commit of many would hold up an intent that waits behind it
_PRUNED_AT_ONCE = 200

_INCIDENT = """
    INSERT INTO incidents
    (id, rule, target, object_id, object_name, state, outcome, opened_at, closed_at, due_at,
     attempts, trouble, reason_code, over, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        object_id = excluded.object_id, object_name = excluded.object_name,
        state = excluded.state, outcome = excluded.outcome, closed_at = excluded.closed_at,
        due_at = excluded.due_at, attempts = excluded.attempts, trouble = excluded.trouble,
        reason_code = excluded.reason_code, over = excluded.over, body = excluded.body"""
_ACTION = """
    INSERT INTO actions
    (id, incident, rule, target, attempt, action, object_id, object_name, began_at, ended_at,
     outcome, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        ended_at = excluded.ended_at, outcome = excluded.outcome, body = excluded.body"""
_BREAKER = (
    "INSERT OR REPLACE INTO breakers (rule, target, opened_at, reason, healed_at) VALUES "
    "(?, ?, ?, ?, ?)"
)
_COUNTED = """
    INSERT OR REPLACE INTO counted_steps
    (incident, attempt, id, rule, target, action, part, began_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_NOT_COUNTED = "DELETE FROM counted_steps WHERE incident = ? AND attempt = ? AND id = ?"
_COOLDOWN = """
    INSERT INTO cooldowns (rule, target, ended_at) VALUES (?, ?, ?)
    ON CONFLICT (rule, target) DO UPDATE SET ended_at = max(ended_at, excluded.ended_at)"""
_RESET = "INSERT OR REPLACE INTO resets (rule, target, at) VALUES (?, ?, ?)"
_PAUSE = "INSERT OR REPLACE INTO pauses (key, until, body) VALUES (?, ?, ?)"
_OWNED = """
    INSERT OR REPLACE INTO owned (id, kind, name, object_id, engine_id, incident, body)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_OUTBOX = """
    INSERT OR REPLACE INTO outbox (sequence, channel, state, due_at, tries, taken, body)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_SETTLED = """
    i.closed_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM actions AS a WHERE a.incident = i.id AND a.ended_at IS NULL)"""
"""Only what is closed, and of which no action is still to be settled, is ever removed."""
_OLD = f"""
    SELECT i.id FROM incidents AS i WHERE i.closed_at < :before AND {_SETTLED}
    AND NOT EXISTS (SELECT 1 FROM breakers AS b
                    WHERE b.rule = i.rule AND b.target = i.target
                    AND i.closed_at >= b.opened_at - 86400)
    ORDER BY i.closed_at LIMIT :limit"""  # noqa: S608 - constants only
_OF_TARGET = 100
"""Incidents of one rule and target, the newest: what is beyond them goes before any other's."""
_FLOODING = f"""
    SELECT id FROM (
        SELECT i.id, i.closed_at,
            row_number() OVER (PARTITION BY i.rule, i.target ORDER BY i.closed_at DESC) AS place
        FROM incidents AS i WHERE %s{_SETTLED})
    ORDER BY place <= {_OF_TARGET}, closed_at LIMIT :limit"""  # noqa: S608 - the same
_OLDEST = _FLOODING % ""
_OLDEST_OF_RULE = _FLOODING % "i.rule = :rule AND "
_RULES_ABOVE = """
    SELECT rule, count(*) FROM incidents WHERE closed_at IS NOT NULL
    GROUP BY rule HAVING count(*) > :most"""


class SqliteJournal:
    """`path`: the file; `clock`: wall seconds; `bound`: operations that may wait for the disk;
    `beside`: a command opens it, which may run beside the daemon (`schema.open_beside`)."""

    def __init__(
        self, path: Path, clock: Callable[[], float], bound: int = BOUND, *, beside: bool = False
    ) -> None:
        self.path = path
        self._clock = clock
        self._writer = Writer(path, bound, open_beside if beside else open_for_writing)
        self._reader: JournalReader | None = None
        self._reading: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        await asyncio.to_thread(self._writer.open)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="journal-read")

    async def close(self) -> None:
        """Writes what is pending and closes the file."""
        await asyncio.to_thread(self._writer.close)
        if self._reading is not None:
            await asyncio.get_running_loop().run_in_executor(self._reading, self._drop_reader)
            self._reading.shutdown(wait=False)
            self._reading = None

    # -------------------------------------------------------------------------------------- writing

    def put_incident(self, incident: Incident) -> None:
        i = incident
        values = (i.id, i.rule, i.target, i.object_id, i.object_name, i.state, i.outcome)
        times, over = (i.opened_at, i.closed_at, i.due_at), json.dumps(i.over) if i.over else "[]"
        asked = (i.attempts, i.trouble, i.reason_code, over)
        self._put(("incident", i.id), _INCIDENT, (*values, *times, *asked, _encode(i)))
        if i.closed_at is not None and i.attempts:
            self._put(("cooldown", i.id), _COOLDOWN, (i.rule, i.target, i.closed_at))

    def put_action(self, record: ActionRecord) -> None:
        r = record
        values = (
            r.id,
            r.incident,
            r.rule,
            r.target,
            r.attempt,
            r.action,
            r.object_id,
            r.object_name,
        )
        self._put(
            ("action", r.id), _ACTION, (*values, r.began_at, r.ended_at, r.outcome, _encode(r))
        )
        if r.untouched:
            self._put(("counted", r.id), _NOT_COUNTED, (r.incident, r.attempt, r.id))
        elif r.part in COUNTED_PARTS:
            step = (r.incident, r.attempt, r.id, r.rule, r.target, r.action, r.part, r.began_at)
            self._put(("counted", r.id), _COUNTED, step)

    def put_breaker(self, breaker: Breaker | None, rule: str, target: str) -> None:
        key = ("breaker", rule, target)
        if breaker is None:
            self._put(key, "DELETE FROM breakers WHERE rule = ? AND target = ?", (rule, target))
        else:
            self._put(
                key, _BREAKER, (rule, target, breaker.opened_at, breaker.reason, breaker.healed_at)
            )

    def put_reset(self, rule: str, target: str, at: float) -> None:
        self._put(("reset", rule, target), _RESET, (rule, target, at))

    def put_pause(self, pause: Pause) -> None:
        key = _pause_key(pause.rule, pause.target)
        self._put(("pause", key), _PAUSE, (key, pause.until, _encode(pause)))

    def remove_pause(self, rule: str | None, target: str | None) -> None:
        key = _pause_key(rule, target)
        self._put(("pause", key), "DELETE FROM pauses WHERE key = ?", (key,))

    def put_owned(self, row: OwnedObject) -> None:
        values = (
            row.id,
            row.kind,
            row.name,
            row.object_id,
            row.engine_id,
            row.incident,
            _encode(row),
        )
        self._put(("owned", row.id), _OWNED, values)

    def remove_owned(self, row: str) -> None:
        self._put(("owned", row), "DELETE FROM owned WHERE id = ?", (row,))

    def put_outbox(self, row: OutboxRow) -> None:
        self._put(("outbox", str(row.sequence)), _OUTBOX, tuple(row))

    def remove_outbox(self, sequence: int) -> None:
        self._put(("outbox", str(sequence)), "DELETE FROM outbox WHERE sequence = ?", (sequence,))

    def put_known(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._put(("known", key), "DELETE FROM known WHERE key = ?", (key,))
        else:
            self._put(
                ("known", key),
                "INSERT OR REPLACE INTO known (key, value) VALUES (?, ?)",
                (key, value),
            )

    def together(self) -> AbstractContextManager[None]:
        return self._writer.together()

    async def committed(self) -> None:
        await self._writer.flush()

    @property
    def healthy(self) -> bool:
        """False from the first write that failed to the next that succeeds."""
        return self._writer.healthy

    @property
    def failure(self) -> str:
        """Why it is not healthy, one sentence for a person; "" where it is."""
        return self._writer.failure

    @property
    def set_aside(self) -> Path | None:
        """Where a corrupt file was moved to since the start."""
        return self._writer.set_aside

    async def prune(self, before: float, counted_since: float) -> int:
        """Removes incidents closed before `before` with their actions, and what limits counted
        before `counted_since`.

        Kept whatever `before` says: what is open, what has an action that is still to be settled,
        and what tells of an open breaker (from a day before it opened). Returns how many incidents
        were removed.
        """
        removed = 0
        while ids := await self._ids(_OLD, before=before):
            removed += await self._remove(ids)
        for table, column in (
            ("counted_steps", "began_at"),
            ("cooldowns", "ended_at"),
            ("resets", "at"),
        ):
            statement = f"DELETE FROM {table} WHERE {column} < ?"  # noqa: S608 - constants only
            self._put(("prune", table), statement, (counted_since,))
        self._put(
            ("prune", "pauses"), "DELETE FROM pauses WHERE until < ?", (min(before, counted_since),)
        )
        await self._writer.flush()
        self._writer.shrink()
        return removed

    async def prune_rules(self, most: int) -> int:
        """Of each rule at most so many closed incidents stay, the newest: one that floods takes no
        other's place.

        Nor does a target: what it has beyond its newest `_OF_TARGET` goes first.
        """
        removed = 0
        for rule, count in await self._read(
            lambda reader: reader.rows(_RULES_ABOVE, {"most": most})
        ):
            above = count - most
            while above > 0 and (ids := await self._ids(_OLDEST_OF_RULE, above, rule=rule)):
                removed += await self._remove(ids)
                above -= len(ids)
        return removed

    async def prune_to(self, most_bytes: int) -> int:
        """Removes the oldest incidents until no more than so many bytes are in use; what limits
        count stays."""
        removed = 0
        while await self.used() > most_bytes and (ids := await self._ids(_OLDEST)):
            removed += await self._remove(ids)
        if removed:
            self._writer.shrink()
        return removed

    async def _ids(self, query: str, most: int = _PRUNED_AT_ONCE, **values: Any) -> list[str]:
        bounds = {**values, "limit": min(most, _PRUNED_AT_ONCE)}
        return [row[0] for row in await self._read(lambda reader: reader.rows(query, bounds))]

    async def _remove(self, ids: list[str]) -> int:
        for number in ids:
            self._put(("incident", number), "DELETE FROM incidents WHERE id = ?", (number,))
            self._put(("actions of", number), "DELETE FROM actions WHERE incident = ?", (number,))
        await self._writer.flush()
        return len(ids)

    # -------------------------------------------------------------------------------------- reading

    async def open_incidents(self) -> list[Incident]:
        return await self._read(JournalReader.open_incidents)

    async def open_actions(self) -> list[ActionRecord]:
        return await self._read(JournalReader.open_actions)

    def recent_attempts(self, since: float) -> AsyncIterator[Attempt]:
        return self._each(lambda reader: reader.recent_attempts(since))

    def recent_steps(self, since: float) -> AsyncIterator[tuple[float, str]]:
        return self._each(lambda reader: reader.recent_steps(since))

    def treated(self, since: float) -> AsyncIterator[tuple[str, str]]:
        return self._each(lambda reader: reader.treated(since))

    def cooldowns(self, since: float) -> AsyncIterator[tuple[str, str, float]]:
        return self._each(lambda reader: reader.cooldowns(since))

    def closed_incidents(self, since: float, newest: int) -> AsyncIterator[ClosedIncident]:
        return self._each(lambda reader: reader.closed_incidents(since, newest))

    async def last_opened(self, since: float) -> dict[str, float]:
        return await self._read(lambda reader: reader.last_opened(since))

    async def used(self) -> int:
        return await self._read(JournalReader.used)

    async def recent_incidents(self, since: float) -> list[Incident]:
        return await self._read(lambda reader: reader.recent_incidents(since))

    async def instance(self) -> str:
        return await self._read(JournalReader.instance)

    async def owned(self) -> list[OwnedObject]:
        return await self._read(JournalReader.owned)

    async def breakers(self) -> list[Breaker]:
        return await self._read(JournalReader.breakers)

    async def pauses(self) -> list[Pause]:
        return await self._read(JournalReader.pauses)

    async def outbox(self) -> tuple[list[OutboxRow], int]:
        return await self._read(lambda reader: (reader.outbox(), reader.outbox_last()))

    async def known(self) -> dict[str, bytes]:
        return await self._read(JournalReader.known)

    async def known_keys(self, prefix: str) -> list[str]:
        return await self._read(lambda reader: reader.known_keys(prefix))

    async def known_value(self, key: str) -> bytes | None:
        return await self._read(lambda reader: reader.known_value(key))

    async def incidents(
        self,
        container: str | None = None,
        since: float | None = None,
        limit: int = 100,
        after: tuple[float, str] | None = None,
    ) -> list[Incident]:
        """The newest first; see JournalReader.incidents."""
        return await self._read(lambda reader: reader.incidents(container, since, limit, after))

    async def story(
        self, incident: str, limit: int = -1, after: tuple[float, str] | None = None
    ) -> tuple[Incident, list[ActionRecord]] | None:
        """See JournalReader.story."""
        return await self._read(lambda reader: reader.story(incident, limit, after))

    async def stats(self) -> dict[str, Any]:
        """As JournalReader.stats, with the writer's own: healthy, failure, pending, commits,
        discarded, set_aside."""
        found = await self._read(JournalReader.stats)
        writer = self._writer
        return found | {
            "healthy": writer.healthy,
            "failure": writer.failure,
            "pending": writer.pending,
            "commits": writer.commits,
            "discarded": writer.discarded,
            "set_aside": str(writer.set_aside) if writer.set_aside else None,
        }

    async def _read(self, question: Callable[[JournalReader], _T]) -> _T:
        """Asks in the reading thread; what was put before is seen, unless it cannot be written."""
        if self._reading is None:
            raise JournalError(f"the journal {self.path} is closed")
        with contextlib.suppress(JournalError):
            await self._writer.flush()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._ask, question)

    async def _each(self, question: Callable[[JournalReader], Iterator[_T]]) -> AsyncIterator[_T]:
        """What a question finds, a portion at a time from the reading thread."""
        rows: Iterator[_T] | None = None

        def portion(reader: JournalReader) -> list[_T]:
            nonlocal rows
            rows = question(reader) if rows is None else rows
            return list(islice(rows, READ_AT_ONCE))

        while found := await self._read(portion):
            for row in found:
                yield row

    def _ask(self, question: Callable[[JournalReader], _T]) -> _T:
        if self._reader is None:
            self._reader = connect_reader(self.path)
        try:
            return question(self._reader)
        except JournalError:
            self._drop_reader()  # the file may have been set aside: look again the next time
            raise

    def _drop_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _put(self, key: tuple[str, ...], statement: str, values: tuple[Any, ...]) -> None:
        self._writer.put(key, (statement, values))


def _pause_key(rule: str | None, target: str | None) -> str:
    return json.dumps([rule, target])


def _encode(record: msgspec.Struct) -> bytes:
    """The record as JSON. What JSON has no form for is written as text: nothing put may be
    unwritable."""
    try:
        return msgspec.json.encode(record, enc_hook=str)
    except (UnicodeEncodeError, ValueError, TypeError):
        plain = msgspec.to_builtins(record, enc_hook=str, str_keys=True)
        return json.dumps(plain, default=str, ensure_ascii=False).encode("utf-8", "replace")
