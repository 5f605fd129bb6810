"""Reading the journal: the queries, and a read-only opener that works beside a running daemon or
without one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from dockmend.errors import JournalError
from dockmend.journal.migrations import BUSY_TIMEOUT, refuse_another_schema, version_of
from dockmend.journal.records import (
    ActionRecord,
    Attempt,
    Breaker,
    ClosedIncident,
    Incident,
    OutboxRow,
    Pause,
)
from dockmend.owned import OwnedObject

log = structlog.get_logger("dockmend.journal")

_Record = TypeVar("_Record", Incident, ActionRecord, Pause, OwnedObject)

_ATTEMPTS = """
    SELECT c.rule, c.target, c.began FROM (
        SELECT rule, target, MIN(began_at) AS began FROM counted_steps
        WHERE part IN ('then', 'finally') GROUP BY incident, attempt
    ) AS c
    LEFT JOIN resets AS r ON r.rule = c.rule AND r.target = c.target
    WHERE c.began >= :since AND (r.at IS NULL OR c.began >= r.at)
    ORDER BY c.began"""

_TREATED = """
    SELECT target, object_id, max(opened_at) FROM incidents
    WHERE opened_at >= :since AND attempts > 0 GROUP BY target"""

_STEPS = "SELECT began_at, action FROM counted_steps WHERE began_at >= :since ORDER BY began_at"

_COOLDOWNS = """
    SELECT c.rule, c.target, c.ended_at FROM cooldowns AS c
    LEFT JOIN resets AS r ON r.rule = c.rule AND r.target = c.target
    WHERE c.ended_at >= :since AND (r.at IS NULL OR c.ended_at >= r.at)"""

_CLOSED = """
    SELECT rule, target, trouble, outcome, reason_code, over FROM incidents
    WHERE closed_at >= max(:since, coalesce(
        (SELECT closed_at FROM incidents WHERE closed_at >= :since
         ORDER BY closed_at DESC LIMIT 1 OFFSET :newest), 0))
    AND outcome IS NOT NULL ORDER BY closed_at"""

_LAST_OPENED = "SELECT rule, max(opened_at) FROM incidents WHERE opened_at >= :since GROUP BY rule"

_TABLES = ("incidents", "actions", "breakers", "pauses", "known", "owned", "outbox")


class JournalReader:
    """The journal's questions over one connection; every method blocks. For one thread at a
    time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def close(self) -> None:
        self._connection.close()

    def open_incidents(self) -> list[Incident]:
        return self._decoded(
            "SELECT body FROM incidents WHERE closed_at IS NULL ORDER BY opened_at, id",
            (),
            Incident,
        )

    def open_actions(self) -> list[ActionRecord]:
        return self._decoded(
            "SELECT body FROM actions WHERE ended_at IS NULL ORDER BY began_at, id",
            (),
            ActionRecord,
        )

    def recent_attempts(self, since: float) -> Iterator[Attempt]:
        return self._each(_ATTEMPTS, {"since": since})

    def recent_steps(self, since: float) -> Iterator[tuple[float, str]]:
        return self._each(_STEPS, {"since": since})

    def treated(self, since: float) -> Iterator[tuple[str, str]]:
        """(target, the id of the object that its last incident with an attempt was about)."""
        for target, object_id, _ in self._each(_TREATED, {"since": since}):
            yield target, object_id

    def cooldowns(self, since: float) -> Iterator[tuple[str, str, float]]:
        """(rule, target, when the last incident with an attempt was closed)."""
        return self._each(_COOLDOWNS, {"since": since})

    def closed_incidents(self, since: float, newest: int) -> Iterator[ClosedIncident]:
        """The newest so many that were closed since then, oldest first."""
        for rule, target, trouble, outcome, code, over in self._each(
            _CLOSED, {"since": since, "newest": newest - 1}
        ):
            others = () if over == "[]" else tuple(msgspec.json.decode(over))
            yield ClosedIncident(rule, target, trouble, outcome, code, others)

    def last_opened(self, since: float) -> dict[str, float]:
        """When the last incident of each rule was opened, of those that had one since then."""
        return dict(self._each(_LAST_OPENED, {"since": since}))

    def recent_incidents(self, since: float) -> list[Incident]:
        query = "SELECT body FROM incidents WHERE closed_at >= ? ORDER BY closed_at, id"
        return self._decoded(query, (since,), Incident)

    def breakers(self) -> list[Breaker]:
        return [
            Breaker(*row)
            for row in self._rows(
                "SELECT rule, target, opened_at, reason, healed_at FROM breakers", ()
            )
        ]

    def pauses(self) -> list[Pause]:
        return self._decoded("SELECT body FROM pauses", (), Pause)

    def instance(self) -> str:
        """The id of the state folder."""
        return str(self._rows("SELECT id FROM instance", ())[0][0])

    def owned(self) -> list[OwnedObject]:
        """What dockmend made on an engine and is its own, the oldest first."""
        return self._decoded("SELECT body FROM owned ORDER BY rowid", (), OwnedObject)

    def outbox(self) -> list[OutboxRow]:
        """Messages that no channel has taken yet, in the order in which they were put."""
        query = (
            "SELECT sequence, channel, state, due_at, tries, taken, body FROM outbox ORDER "
            "BY sequence"
        )
        return [OutboxRow._make((*row[:-1], bytes(row[-1]))) for row in self._rows(query, ())]

    def outbox_last(self) -> int:
        """The largest number that a message ever had; 0: there was none."""
        found = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", ())
        return int(found[0][0]) if found else 0

    def known(self) -> dict[str, bytes]:
        return {key: bytes(value) for key, value in self._rows("SELECT key, value FROM known", ())}

    def known_keys(self, prefix: str) -> list[str]:
        return [
            key
            for (key,) in self._rows(
                "SELECT key FROM known WHERE substr(key, 1, ?) = ?", (len(prefix), prefix)
            )
        ]

    def known_value(self, key: str) -> bytes | None:
        found = self._rows("SELECT value FROM known WHERE key = ?", (key,))
        return next((bytes(value) for (value,) in found), None)

    def incidents(
        self,
        container: str | None = None,
        since: float | None = None,
        limit: int = 100,
        after: tuple[float, str] | None = None,
    ) -> list[Incident]:
        """The newest first. `container`: its name, its id or the first characters of it (at least
        6), or a target.

        `since`: those that were open then or later (wall seconds); `after`: those behind the one
        that was opened at that time and has that id.
        """
        where, values = ["1"], list[Any]()
        if container is not None:
            where.append(
                "(object_name = ? OR target = ? OR (length(?) >= 6 AND substr(object_id, 1, "
                "length(?)) = ?))"
            )
            values += [container] * 5
        if since is not None:
            where.append("(closed_at IS NULL OR closed_at >= ?)")
            values.append(since)
        if after is not None:
            where.append("(opened_at, id) < (?, ?)")
            values += after
        query = (
            f"SELECT body FROM incidents WHERE {' AND '.join(where)} ORDER BY opened_at "  # noqa: S608 - constants only
            "DESC, id DESC LIMIT ?"
        )
        return self._decoded(query, (*values, limit), Incident)

    def story(
        self, incident: str, limit: int = -1, after: tuple[float, str] | None = None
    ) -> tuple[Incident, list[ActionRecord]] | None:
        """An incident and its actions, the oldest first. `limit`: at most so many, -1 for all;
        `after`: those behind the one that began at that time and has that id."""
        found = self._decoded("SELECT body FROM incidents WHERE id = ?", (incident,), Incident)
        if not found:
            return None
        behind = "AND (began_at, id) > (?, ?)" if after is not None else ""
        query = (
            f"SELECT body FROM actions WHERE incident = ? {behind} ORDER BY began_at, id LIMIT ?"  # noqa: S608 - constants only
        )
        return found[0], self._decoded(query, (incident, *(after or ()), limit), ActionRecord)

    def stats(self) -> dict[str, Any]:
        """Rows by table, incidents by outcome ("open" for those without), bytes on disk and those
        of them in use."""
        rows = {name: self._rows(f"SELECT count(*) FROM {name}", ())[0][0] for name in _TABLES}  # noqa: S608 - constants only
        outcomes = self._rows(
            "SELECT coalesce(outcome, 'open'), count(*) FROM incidents GROUP BY 1", ()
        )
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += self.path.with_name(self.path.name + suffix).stat().st_size
        return {
            "rows": rows, "outcomes": dict(outcomes), "bytes": size, "used": self.used(),
            "schema": version_of(self._connection),
        }  # fmt: skip

    def used(self) -> int:
        """Bytes of the file that are in use."""
        pages, free, page = (
            self._rows(f"PRAGMA {name}", ())[0][0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page)

    def rows(self, query: str, values: dict[str, Any]) -> list[Any]:
        """All that a query finds."""
        return self._rows(query, values)

    def _each(self, query: str, values: Any) -> Iterator[Any]:
        """The rows one by one: they are never all in memory."""
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _rows(self, query: str, values: Any) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> JournalError:
        return JournalError(f"the journal {self.path} cannot be read: {error}")

    def _decoded(self, query: str, values: tuple[Any, ...], record: type[_Record]) -> list[_Record]:
        found = []
        for (body,) in self._rows(query, values):
            try:
                found.append(msgspec.json.decode(body, type=record))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                # One row from another version must not keep the daemon from starting.
                log.error(  # noqa: TRY400 - the reason is for a person
                    "a record of the journal cannot be read",
                    id="record_unreadable",
                    record=record.__name__,
                    error=str(error),
                )
        return found


def connect_reader(path: Path) -> JournalReader:
    """Opens an existing journal for reading only; the caller closes it. Raises JournalError."""
    if not path.exists():
        raise JournalError(f"there is no journal at {path}")
    uri = path.absolute().as_uri()
    with contextlib.ExitStack() as given_back:
        try:
            connection = given_back.enter_context(contextlib.closing(_connect(f"{uri}?mode=ro")))
            try:
                version = version_of(connection)
            except sqlite3.OperationalError:
                # On a read-only file system the -shm cannot be made. With no -wal left there is
                # nothing to miss.
                given_back.close()
                if path.with_name(path.name + "-wal").exists():
                    raise
                connection = given_back.enter_context(
                    contextlib.closing(_connect(f"{uri}?mode=ro&immutable=1"))
                )
                version = version_of(connection)
        except sqlite3.Error as error:
            raise JournalError(f"the journal {path} cannot be read: {error}") from error
        refuse_another_schema(path, version)
        given_back.pop_all()
    return JournalReader(connection, path)


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[JournalReader]:
    """The journal for a command: works while the daemon runs and when it is down. Raises
    JournalError."""
    reader = connect_reader(path)
    try:
        yield reader
    finally:
        reader.close()
