"""Lists in pages: at most so many rows and about so many bytes, and a cursor to go on from.

The cursor is the place of a page's last row in the order of the list, so that rows which come and
go meanwhile neither repeat others nor hide them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from dockmend.errors import UsageError

MOST_ROWS = 1000  # of a page, whatever is asked for
PAGE_BYTES = 1024 * 1024  # a page ends with the row that reaches them
ROWS_AT_ONCE = 50  # that are encoded before the event loop gets its turn
LONGEST_CURSOR = 1000  # characters

Row = tuple[str, Any]
"""A row's place in the order of its list, as a cursor, and the row itself."""


@dataclass(frozen=True, slots=True)
class Page:
    """`rows`: a JSON array; `after`: the cursor of the next page, None if this is the last one."""

    rows: bytes
    after: str | None


async def page(rows: Iterable[Row], limit: int) -> Page:
    """The first rows as a page; `rows` is read no further than that takes."""
    pieces: list[bytes] = []
    size, last = 0, ""
    for cursor, row in rows:
        if len(pieces) == limit or size >= PAGE_BYTES:
            return Page(_array(pieces), last)
        pieces.append(encode(row))
        size += len(pieces[-1])
        last = cursor
        if len(pieces) % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Page(_array(pieces), None)


def _array(pieces: list[bytes]) -> bytes:
    return b"".join((b"[", b",".join(pieces), b"]"))


def encode(value: Any) -> bytes:
    """As JSON; what JSON has no form for becomes text."""
    return msgspec.json.encode(value, enc_hook=str)


def limit_of(text: str | None, default: int) -> int:
    """The number of rows that are asked for. Raises UsageError."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_ROWS):
        raise UsageError(f"limit is a number from 1 to {MOST_ROWS}")
    return int(text)


def cursor_of(text: str | None) -> str | None:
    """The cursor as it is given. Raises UsageError if no page can have told it."""
    if text is not None and not 0 < len(text) <= LONGEST_CURSOR:
        raise unknown_cursor()
    return text


def unknown_cursor() -> UsageError:
    return UsageError(
        "the cursor is none that a page told: take it from the Link header, or leave it out"
    )


def place(at: float, record: str) -> str:
    """The cursor of a record in an order by time and id."""
    return f"{at!r}~{record}"


def place_of(cursor: str | None) -> tuple[float, str] | None:
    """Time and id of such a cursor. Raises UsageError."""
    if cursor is None:
        return None
    at, _, record = cursor.partition("~")
    try:
        number = float(at)
    except ValueError:
        raise unknown_cursor() from None
    if not math.isfinite(number) or not record:
        raise unknown_cursor()
    return number, record
