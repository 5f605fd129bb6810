"""The journal's file: how it is made, migrated, checked, and set aside when it is beyond reading.

Columns hold what is asked for in queries; `body` holds the whole record as JSON, so that a record
may gain fields without a migration.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from dockmend import folders, redaction
from dockmend.errors import JournalError
from dockmend.file_trust import Untrusted

log = structlog.get_logger("dockmend.journal")

Migration = Callable[[sqlite3.Connection], None]

# Seconds a statement waits for a lock somebody else holds (a person with the sqlite3 shell); then
# it is a failure.
BUSY_TIMEOUT = 2.0

SET_ASIDE_KEPT = 3
"""Damaged journals that are kept for a person to look into: the newest."""

INSTANCE_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

_CORRUPT = (
    "the journal is damaged: it was set aside and a new one begun, so what was done "
    "before is forgotten"
)

_SCHEMA_1 = (
    """CREATE TABLE incidents (
        id TEXT PRIMARY KEY, rule TEXT NOT NULL, target TEXT NOT NULL,
        object_id TEXT NOT NULL, object_name TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT,
        opened_at REAL NOT NULL, closed_at REAL, due_at REAL, body BLOB NOT NULL)""",
    "CREATE INDEX incidents_open ON incidents (opened_at) WHERE closed_at IS NULL",
    "CREATE INDEX incidents_closed ON incidents (closed_at)",
    "CREATE INDEX incidents_opened ON incidents (opened_at)",
    "CREATE INDEX incidents_name ON incidents (object_name, opened_at)",
    """CREATE TABLE actions (
        id TEXT PRIMARY KEY, incident TEXT NOT NULL, rule TEXT NOT NULL, target TEXT NOT NULL,
        attempt INTEGER NOT NULL, action TEXT NOT NULL, object_id TEXT NOT NULL,
        object_name TEXT NOT NULL, began_at REAL NOT NULL, ended_at REAL, outcome TEXT,
        body BLOB NOT NULL)""",
    "CREATE INDEX actions_open ON actions (began_at) WHERE ended_at IS NULL",
    "CREATE INDEX actions_began ON actions (began_at)",
    "CREATE INDEX actions_incident ON actions (incident)",
    """CREATE TABLE breakers (
        rule TEXT NOT NULL, target TEXT NOT NULL, opened_at REAL NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (rule, target)) WITHOUT ROWID""",
    """CREATE TABLE resets (
        rule TEXT NOT NULL, target TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (rule, target)) WITHOUT ROWID""",
    "CREATE TABLE pauses (key TEXT PRIMARY KEY, until REAL, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE known (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
)


def _first(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA_1:
        connection.execute(statement)


def _healed(connection: sqlite3.Connection) -> None:
    """When the target of an open breaker was healed: it closes only if that lasts."""
    connection.execute("ALTER TABLE breakers ADD COLUMN healed_at REAL")


def _limits_apart(connection: sqlite3.Connection) -> None:
    """What limits ask about is in tables of its own, so that incidents can be removed whenever
    there are too many; what a start asks about incidents is in columns, so that it need not read
    their bodies."""
    for statement in _SCHEMA_3:
        connection.execute(statement)


_SCHEMA_3 = (
    """CREATE TABLE counted_steps (
        incident TEXT NOT NULL, attempt INTEGER NOT NULL, id TEXT NOT NULL, rule TEXT NOT NULL,
        target TEXT NOT NULL, action TEXT NOT NULL, part TEXT NOT NULL, began_at REAL NOT NULL,
        PRIMARY KEY (incident, attempt, id)) WITHOUT ROWID""",
    "CREATE INDEX counted_steps_began ON counted_steps (began_at)",
    """CREATE TABLE cooldowns (
        rule TEXT NOT NULL, target TEXT NOT NULL, ended_at REAL NOT NULL,
        PRIMARY KEY (rule, target)) WITHOUT ROWID""",
    "ALTER TABLE incidents ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE incidents ADD COLUMN trouble TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE incidents ADD COLUMN reason_code TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE incidents ADD COLUMN over TEXT NOT NULL DEFAULT '[]'",  # a JSON list of rules
    "CREATE INDEX incidents_rule ON incidents (rule, closed_at)",
    """UPDATE incidents SET
        attempts = coalesce(json_extract(CAST(body AS TEXT), '$.attempts'), 0),
        trouble = coalesce(json_extract(CAST(body AS TEXT), '$.trouble'), ''),
        reason_code = coalesce(json_extract(CAST(body AS TEXT), '$.reason_code'), ''),
        over = coalesce(json_extract(CAST(body AS TEXT), '$.over'), '[]')
        WHERE json_valid(CAST(body AS TEXT))""",
    """INSERT INTO counted_steps (incident, attempt, id, rule, target, action, part, began_at)
        SELECT incident, attempt, id, rule, target, action,
            coalesce(json_extract(CAST(body AS TEXT), '$.part'), 'then'), began_at FROM actions
        WHERE CASE WHEN json_valid(CAST(body AS TEXT))
            THEN coalesce(json_extract(CAST(body AS TEXT), '$.part'), 'then')
                    IN ('then', 'finally', 'escalate')
                AND NOT coalesce(json_extract(CAST(body AS TEXT), '$.untouched'), 0)
            ELSE 0 END""",
    """INSERT INTO cooldowns (rule, target, ended_at)
        SELECT rule, target, max(closed_at) FROM incidents
        WHERE closed_at IS NOT NULL AND attempts > 0
        GROUP BY rule, target""",
)


def _owned(connection: sqlite3.Connection) -> None:
    """What dockmend made on an engine and is its own, and the id of this state folder, made here
    once and for all."""
    connection.execute("CREATE TABLE instance (id TEXT NOT NULL)")
    connection.execute("INSERT INTO instance (id) VALUES (?)", (new_instance(),))
    connection.execute(
        """CREATE TABLE owned (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, object_id TEXT NOT NULL,
            engine_id TEXT NOT NULL, incident TEXT NOT NULL, body BLOB NOT NULL)"""
    )


def new_instance() -> str:
    """Ten characters of chance (50 bits), of the alphabet of incident ids."""
    return "".join(secrets.choice(INSTANCE_ALPHABET) for _ in range(10))


_CLEANED_AT_ONCE = 500  # records that are held in memory


def _without_secrets(connection: sqlite3.Connection) -> None:
    """Takes secrets out of what was written before they were left out."""
    # Incidents repeat what an action said only if it failed; the others are many, and would take a
    # start its time.
    repeats = "coalesce(outcome, 'failed') IN ('failed', 'interrupted')"
    known: dict[str, tuple[str, ...]] = {}  # secrets that the actions of an incident name
    for table, column, which in (("actions", "incident", "1"), ("incidents", "id", repeats)):
        last = 0
        query = (
            f"SELECT rowid, {column}, body FROM {table} WHERE {which} AND rowid > ? ORDER BY "  # noqa: S608 - constants only
            "rowid LIMIT ?"
        )
        while rows := connection.execute(query, (last, _CLEANED_AT_ONCE)).fetchall():
            last = rows[-1][0]
            for number, incident, body in rows:
                if (clean := _clean(incident, body, known)) is not None:
                    connection.execute(
                        f"UPDATE {table} SET body = ? WHERE rowid = ?",  # noqa: S608
                        (clean, number),
                    )


def _clean(incident: str, body: bytes, known: dict[str, tuple[str, ...]]) -> bytes | None:
    """A record without secrets; None: it had none that can be found, or cannot be read."""
    try:
        record = msgspec.json.decode(body)
        clean = dict(record)
        if isinstance(params := record.get("params"), dict):
            clean["params"] = redaction.parameters(params)
            if found := redaction.known_in(params):
                known[incident] = (*known.get(incident, ()), *found)
        for field in ("detail", "reason"):
            if isinstance(record.get(field), str):
                clean[field] = redaction.text(record[field], known.get(incident, ()))
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return msgspec.json.encode(clean) if clean != record else None


def _outbox(connection: sqlite3.Connection) -> None:
    """Messages that no channel has taken yet. AUTOINCREMENT: a number is not used again, whoever
    remembers it."""
    connection.execute(
        """CREATE TABLE outbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, state TEXT NOT NULL,
            due_at REAL NOT NULL, tries INTEGER NOT NULL, taken TEXT NOT NULL,
            body BLOB NOT NULL)"""
    )


def _stages(connection: sqlite3.Connection) -> None:
    """How far the attempt of an open incident is, in one field. Of one that waited in the middle of
    its steps how many of them are done is known by its actions."""
    connection.execute(
        """UPDATE incidents SET body = CAST(json_set(
            json_remove(CAST(body AS TEXT), '$.midway'), '$.stage', CASE
            WHEN state = 'verifying' THEN 'made'
            WHEN state = 'acting' THEN 'steps'
            WHEN NOT coalesce(json_extract(CAST(body AS TEXT), '$.midway'), 0) THEN 'idle'
            WHEN json_extract(CAST(body AS TEXT), '$.rung') IS NOT NULL THEN 'made'
            ELSE 'steps' END) AS BLOB)
        WHERE closed_at IS NULL AND json_valid(CAST(body AS TEXT))"""
    )


MIGRATIONS: tuple[Migration, ...] = (
    _first, _healed, _limits_apart, _owned, _without_secrets, _outbox, _stages,
)  # fmt: skip
"""Entry N takes a file from `user_version` N to N + 1. Entries are never changed once released,
only added."""


def open_for_writing(
    path: Path, migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[sqlite3.Connection, Path | None]:
    """Opens or makes the journal's file, checks and migrates it.

    Returns the connection and, where the file was corrupt, the path it was set aside to (a new one
    was begun). Raises JournalError where the file cannot be opened or was written by a newer
    version, sqlite3.Error or OSError never.
    """
    try:
        try:
            return _open_checked(path, migrations), None
        except _CorruptError as error:
            aside = _set_aside(path)
            log.error(  # noqa: TRY400 - the reason is for a person
                _CORRUPT,
                id="journal_corrupt",
                path=str(path),
                set_aside=str(aside),
                error=str(error),
            )
            return _open_checked(path, migrations), aside
    except Untrusted as error:
        raise JournalError(_not_own(path, error)) from None
    except (sqlite3.Error, OSError, _CorruptError) as error:
        raise JournalError(unwritable(path, error)) from error


def _not_own(path: Path, error: Untrusted) -> str:
    return f"the journal {path} is not used, as others could have written it: {error.place} {error}"


def open_beside(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """The same for a command, which may run beside a daemon: a journal that is there is neither
    migrated nor set aside.

    Raises JournalError, also where another version wrote it.
    """
    if not path.exists():
        return open_for_writing(path)
    try:
        folders.require_own(path.parent)
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            refuse_another_schema(path, version_of(connection))
        except BaseException:
            connection.close()
            raise
    except Untrusted as error:
        raise JournalError(_not_own(path, error)) from None
    except (sqlite3.Error, OSError) as error:
        raise JournalError(unwritable(path, error)) from error
    return connection, None


def refuse_another_schema(path: Path, version: int) -> None:
    """Raises JournalError if `version`, the file's schema, is not the one that this dockmend
    uses."""
    if version != len(MIGRATIONS):
        raise JournalError(
            f"the journal {path} has schema {version}, this version uses {len(MIGRATIONS)}: "
            "use the version that wrote it, or let `dockmend run` of this one migrate it"
        )


def unwritable(path: Path, error: BaseException) -> str:
    """One sentence: what is wrong with the journal and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC:
        advice = "the disk is full: free some space"
    elif code == sqlite3.SQLITE_READONLY or getattr(error, "errno", None) in (
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    ):
        advice = (
            f"it may not be written: check the rights of {path.parent} and whether its file "
            "system is read-only"
        )
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        advice = "another program holds its lock: end that program"
    else:
        advice = f"{error}: check the disk that holds {path.parent}"
    return f"the journal {path} cannot be written: {advice}"


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Takes the file step by step to the newest schema; a step is done whole or not at all. Returns
    its version.

    Raises JournalError where the file is newer than this version of dockmend.
    """
    version = version_of(connection)
    if version > len(migrations):
        raise JournalError(
            f"the journal was written by a newer dockmend (its schema is {version}, this one knows "
            f"{len(migrations)}): run that version, or move the file away to begin a new one"
        )
    for number, step in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return len(migrations)


def version_of(connection: sqlite3.Connection) -> int:
    """The file's schema; 0: it is empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


class _CorruptError(Exception):
    """The file is no journal, or is damaged."""


def _open_checked(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    folders.made(path.parent, 0o700)
    # Made by us, so that it is nobody else's to read from its first moment; -wal and -shm take
    # their mode from it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    # Opened in one thread and used in another, never in two at once.
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, migrations)
        _sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise _CorruptError(verdict)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in a new file only
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # after a flood the -wal shrinks again
        connection.execute("PRAGMA journal_size_limit = 4194304")
        connection.execute("PRAGMA temp_store = MEMORY")
        # what was deleted, secrets too, does not stay in free pages
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _CorruptError(str(error)) from error
        raise
    migrate(connection, migrations)


def _set_aside(path: Path) -> Path:
    """Renames the file, and what SQLite keeps beside it, so that a person can look into it. Returns
    its new path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    _remove_older(path)
    return aside


def _remove_older(path: Path) -> None:
    """Of the files that were set aside only the newest stay: each may be as large as a journal."""
    found = [
        each
        for each in path.parent.glob(f"{path.name}.corrupt-*")
        if not each.name.endswith(("-wal", "-shm"))
    ]
    for each in sorted(found, key=lambda one: one.stat().st_mtime_ns)[:-SET_ASIDE_KEPT]:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                each.with_name(each.name + suffix).unlink()


def _sync_folder(folder: Path) -> None:
    """Makes the file's name last too: without it, a power cut can lose a file whose content was
    synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
