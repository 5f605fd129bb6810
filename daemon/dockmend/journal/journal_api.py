"""What the rest of dockmend asks of the journal.

One writer thread commits everything queued since the last commit in one transaction, in the order
it was put; `committed()` returns once all that was put before the call is on disk. Reads go through
a connection of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

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


class OwnedRows(Protocol):
    """The part of the journal that proves what dockmend made on an engine; a command writes nothing
    else of it."""

    def put_owned(self, row: OwnedObject) -> None: ...
    def remove_owned(self, row: str) -> None:
        """By the row's id: the object is gone, or is its user's alone."""

    async def committed(self) -> None:
        """Waits until everything put so far is on disk; raises JournalError if it could not be."""


class Journal(OwnedRows, Protocol):
    """What was decided and done, and what was last known; see the module."""

    async def open(self) -> None:
        """Opens or makes the file (0600, WAL, synchronous=FULL), migrates it. Raises
        JournalError."""

    async def close(self) -> None: ...

    # writing: never waits; bounded (beyond the bound: JournalError, and `healthy` is False)
    def put_incident(self, incident: Incident) -> None: ...
    def put_action(self, record: ActionRecord) -> None: ...
    def put_breaker(self, breaker: Breaker | None, rule: str, target: str) -> None:
        """None closes it."""

    def put_reset(self, rule: str, target: str, at: float) -> None:
        """Forgets attempts and failures before `at` (the `reset` command)."""

    def put_pause(self, pause: Pause) -> None: ...
    def remove_pause(self, rule: str | None, target: str | None) -> None: ...
    def put_known(self, key: str, value: bytes | None) -> None:
        """Last known state, by key ("container/ID", "cursor", …); None removes it."""

    def together(self) -> AbstractContextManager[None]:
        """What is put within it is on disk together or not at all. Nothing is awaited within it."""

    def put_outbox(self, row: OutboxRow) -> None: ...
    def remove_outbox(self, sequence: int) -> None: ...

    @property
    def healthy(self) -> bool: ...
    @property
    def failure(self) -> str:
        """Why it is not, one sentence for a person; "" where it is."""

    @property
    def set_aside(self) -> Path | None:
        """Where a corrupt file was moved to since the start."""

    # reading, at start
    async def open_incidents(self) -> list[Incident]: ...
    async def open_actions(self) -> list[ActionRecord]: ...
    def recent_attempts(self, since: float) -> AsyncIterator[Attempt]:
        """Every attempt since then, oldest first; those before a reset left out. Steps of
        `escalate` are none."""

    def recent_steps(self, since: float) -> AsyncIterator[tuple[float, str]]:
        """When each step began since then, and its action; oldest first. Members of a group are
        part of its step."""

    def treated(self, since: float) -> AsyncIterator[tuple[str, str]]:
        """(target, id of the object) of the last incident of each target that was opened since then
        and had an attempt."""

    def cooldowns(self, since: float) -> AsyncIterator[tuple[str, str, float]]:
        """(rule, target, when its last incident with an attempt was closed) since then; those
        before a reset left out."""

    def closed_incidents(self, since: float, newest: int) -> AsyncIterator[ClosedIncident]:
        """What a start asks of the newest so many incidents that were closed since then, oldest
        first."""

    async def last_opened(self, since: float) -> dict[str, float]:
        """When the last incident of each rule was opened, of those that had one since then."""

    async def recent_incidents(self, since: float) -> list[Incident]:
        """Closed ones, oldest first."""

    async def instance(self) -> str:
        """The id of the state folder, made once with the file."""

    async def owned(self) -> list[OwnedObject]: ...
    async def outbox(self) -> tuple[list[OutboxRow], int]:
        """Messages that no channel has taken yet, in order, and the largest number that one ever
        had."""

    async def breakers(self) -> list[Breaker]: ...
    async def pauses(self) -> list[Pause]: ...
    async def known(self) -> dict[str, bytes]: ...
    async def known_keys(self, prefix: str) -> list[str]: ...
    async def known_value(self, key: str) -> bytes | None: ...

    # reading, for people
    async def incidents(
        self,
        container: str | None = None,
        since: float | None = None,
        limit: int = 100,
        after: tuple[float, str] | None = None,
    ) -> list[Incident]:
        """The newest first; `after`: those behind the one of that time and id."""

    async def story(
        self, incident: str, limit: int = -1, after: tuple[float, str] | None = None
    ) -> tuple[Incident, list[ActionRecord]] | None:
        """An incident and its actions, the oldest first; `limit` and `after` are for the
        actions."""

    async def prune(self, before: float, counted_since: float) -> int:
        """Retention by age: closed incidents, and what limits counted. What is open or to be
        settled always stays."""

    async def prune_rules(self, most: int) -> int:
        """Retention by rule: so many closed incidents of each, the newest."""

    async def prune_to(self, most_bytes: int) -> int:
        """Retention by size: the oldest incidents go; what limits count stays."""

    async def used(self) -> int:
        """Bytes of the file that are in use."""

    async def stats(self) -> dict[str, Any]: ...
