"""Records as tests of the journal put them, and what they ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from dockmend.errors import JournalError
from dockmend.journal.records import ActionRecord, Incident
from dockmend.journal.sqlite import SqliteJournal

T = TypeVar("T")

NOW = 1_800_000_000.0
WEB = "container:web"


def an_incident(number: int = 1, **changes: Any) -> Incident:
    plain = Incident(
        id=f"i{number:015}", rule="heal", trigger="container.unhealthy", target=WEB,
        kind="container", object_id="c0ffee" + "0" * 58, object_name="web",
        trouble="c0ffee/1/unhealthy", opened_at=NOW + number,
    )  # fmt: skip
    return replace(plain, **changes)


def an_action(number: int = 1, **changes: Any) -> ActionRecord:
    plain = ActionRecord(
        id=f"a{number:015}", incident="i000000000000001", rule="heal", target=WEB, attempt=1,
        action="restart", object_id="c0ffee", object_name="web", params={"timeout": 10.0},
        began_at=NOW + number,
    )  # fmt: skip
    return replace(plain, **changes)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def refusal(journal: SqliteJournal) -> str:
    with pytest.raises(JournalError) as caught:
        await journal.committed()
    return str(caught.value)


def numbers(found: list[Incident]) -> list[int]:
    return [int(each.id[1:]) for each in found]


async def listed(rows: AsyncIterator[T]) -> list[T]:
    return [row async for row in rows]
