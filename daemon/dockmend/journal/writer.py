"""The one thread that writes the journal: everything queued since the last commit becomes one
transaction.

It is a plain thread, because a commit waits for the disk and the event loop must not. What could
not be written stays pending, the last value of each key, and is tried again until the disk takes
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import structlog

from dockmend.errors import JournalError
from dockmend.journal.migrations import open_for_writing, unwritable

log = structlog.get_logger("dockmend.journal")

Op = tuple[str, tuple[Any, ...]]
"""A statement and its values. Each is idempotent: writing it again after a failure changes
nothing."""

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]

Open = Callable[[Path], tuple[sqlite3.Connection, Path | None]]
"""Opens the file; returns the connection and where a damaged file was set aside to."""

BOUND = 20_000  # operations pending; at some 2 KB each, 40 MB
LINGER = 0.02  # seconds that what nobody waits for may gather, to share a commit
# freed pages given back to the disk at a time (1 MiB): a commit may wait behind one such slice
PAGES = 256
CLOSING = 2.0  # seconds for the last commit: a disk that hangs must not hold up the end
RETRY_FIRST, RETRY_MOST = 0.5, 10.0  # seconds between attempts while the disk refuses


class Writer:
    """Owns the writing connection. `put`, `flush` and `healthy` are for the event loop's thread."""

    def __init__(self, path: Path, bound: int = BOUND, open_file: Open = open_for_writing) -> None:
        self.path = path
        self._open_file = open_file
        self.healthy = False
        self.failure = ""  # why it is not healthy, for a person
        self.set_aside: Path | None = None
        self.commits = 0
        self.discarded = 0
        self._bound = bound
        self._lock = threading.Condition()
        self._pending: dict[Hashable, Op] = {}
        self._waiters: list[Waiter] = []
        self._busy = False  # a transaction is being written
        self._stopping = False
        self._shrinking = False  # free pages are given back to the disk, a slice after each batch
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Opens the file and starts the thread; blocks. Raises JournalError."""
        self._connect()
        self.healthy, self._stopping = True, False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes what is pending (one attempt) and ends the thread; blocks, CLOSING seconds at
        most."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(CLOSING)
            if self._thread.is_alive():
                log.error(
                    "the journal's disk takes nothing: what was not written is lost",
                    id="journal_disk_dead",
                    path=str(self.path),
                )
            self._thread = None
        if self._pending:
            log.error(
                "records were lost: the journal could not be written",
                id="records_lost",
                records=len(self._pending),
                error=self.failure,
            )

    @property
    def pending(self) -> int:
        return len(self._pending)

    def put(self, key: Hashable, op: Op) -> None:
        """Queues an operation in place of an older one with the same key. Raises JournalError
        beyond the bound."""
        with self._lock:
            if self._thread is None or self._stopping:
                raise JournalError(f"the journal {self.path} is closed")
            if len(self._pending) >= self._bound and key not in self._pending:
                self.healthy = False
                self.failure = f"{self._bound} records wait for the disk"
                raise JournalError(f"the journal {self.path} cannot keep up: {self.failure}")
            # to the end: the order of the last puts is the order of the transaction
            self._pending.pop(key, None)
            self._pending[key] = op
            if len(self._pending) == 1 and not self._busy:
                self._lock.notify()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is put within it, by the event loop's thread and without awaiting, is in one
        transaction. If an exception leaves it, nothing of that is written."""
        with self._lock:
            before = self._pending.copy()
            try:
                yield
            except BaseException:
                self._pending = before
                raise

    def shrink(self) -> None:
        """Has the file give back what was freed in it, slice by slice, whenever nothing waits to be
        written."""
        with self._lock:
            self._shrinking = True
            self._lock.notify()

    async def flush(self) -> None:
        """Returns once everything put so far is on disk. Raises JournalError if it could not be
        written."""
        with self._lock:
            if not self._pending and not self._busy:
                return
            if self._thread is None:
                raise JournalError(f"the journal {self.path} is closed")
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._waiters.append((loop, future))
            self._lock.notify()
        await future

    # -------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        pause = RETRY_FIRST
        while True:
            batch, waiters, last = self._take(None if self.healthy or not self._pending else pause)
            error = self._write(batch)
            with self._lock:
                self._busy = False
                if error is not None:
                    # newer values win; the order of keys stays
                    self._pending = {**batch, **self._pending}
            pause = RETRY_FIRST if error is None else min(pause * 2, RETRY_MOST)
            _resolve(waiters, error)
            if self._shrinking and not last:
                self._shrinking = self._give_back()
            if last:
                self._disconnect()
                return

    def _take(self, pause: float | None) -> tuple[dict[Hashable, Op], list[Waiter], bool]:
        """Waits for work. `pause`: seconds until what failed is tried again, None where nothing has
        failed."""
        with self._lock:
            if pause is not None:
                self._lock.wait_for(lambda: self._waiters or self._stopping, pause)
            else:
                self._lock.wait_for(
                    lambda: self._pending or self._waiters or self._stopping or self._shrinking
                )
                if not self._waiters and not self._stopping:
                    self._lock.wait_for(lambda: self._waiters or self._stopping, LINGER)
            batch, self._pending = self._pending, {}
            waiters, self._waiters = self._waiters, []
            self._busy = True
            return batch, waiters, self._stopping

    def _write(self, batch: dict[Hashable, Op]) -> JournalError | None:
        """One transaction. On an error nothing of it is written; what may outlast it gets a new
        connection."""
        if not batch:
            return None
        try:
            connection = self._connected()
            self._commit(connection, batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live and the waiters must be told
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING and not isinstance(
                error, JournalError
            ):
                self._disconnect()
            failure = (
                error
                if isinstance(error, JournalError)
                else JournalError(unwritable(self.path, error))
            )
            if self.healthy or self.failure != str(failure):
                log.error(  # noqa: TRY400 - the reason is for a person
                    "no action is taken until the journal can be written",
                    id="journal_not_writable",
                    error=str(failure),
                )
            self.failure = str(failure)
            self.healthy = False
            return failure
        if not self.healthy:
            log.warning(
                "the journal can be written again", id="journal_writable_again", records=len(batch)
            )
        self.failure = ""
        self.healthy = True
        self.commits += 1
        return None

    def _give_back(self) -> bool:
        """One slice of free pages; True if there are more. Not within a transaction of records:
        these do not wait."""
        try:
            connection = self._connected()
            free = _free_pages(connection)
            # The statement returns a row for each page: `execute` would end after the first one.
            connection.executescript(f"PRAGMA incremental_vacuum({PAGES:d})")
            left = _free_pages(connection)
            if 0 < left < free:
                return True
            # only then is the file itself shorter
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, OSError, JournalError) as error:
            log.info(
                "the journal's file is made smaller later",
                id="journal_shrink_postponed",
                error=str(error),
            )
        return False

    def _commit(self, connection: sqlite3.Connection, batch: dict[Hashable, Op]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for key, (statement, values) in list(batch.items()):
                try:
                    connection.execute(statement, values)
                except _UNFIT as error:
                    # It could never be written; kept, it would hold up everything after it for
                    # ever.
                    del batch[key]
                    self.discarded += 1
                    log.error(  # noqa: TRY400 - the reason is for a person
                        "a record that can never be written was left out",
                        id="record_unwritable",
                        record=repr(key),
                        error=str(error),
                    )
                    raise JournalError(
                        f"a record cannot be written to the journal: {error}"
                    ) from error
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self.path):
            # Deleted or replaced under us: what we wrote into it would be gone with our last
            # descriptor.
            log.error(
                "the journal was removed or replaced: it is opened again",
                id="journal_replaced",
                path=str(self.path),
            )
            self._disconnect()
        return self._connection or self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._connection, aside = self._open_file(self.path)
        self.set_aside = aside or self.set_aside
        self._inode = _inode(self.path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


# Over once there is space or the lock is free: opening again, with its check of the whole file,
# would gain nothing.
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_UNFIT: tuple[type[Exception], ...] = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    OverflowError,
    ValueError,
)


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - on the way of every commit, and Path.stat costs twice as much
    except OSError:
        return -1


def _resolve(waiters: list[Waiter], error: JournalError | None) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for loop, future in waiters:
        by_loop.setdefault(loop, []).append(future)
    for loop, futures in by_loop.items():
        # the loop was closed meanwhile: nobody waits any more
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle(futures, error))


def _settle(futures: list[asyncio.Future[None]], error: JournalError | None) -> Callable[[], None]:
    def settle() -> None:
        for future in futures:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                # An error of its own for each: one exception raised in several tasks would mix
                # their tracebacks.
                future.set_exception(JournalError(str(error)))

    return settle
