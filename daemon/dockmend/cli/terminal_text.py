"""What is printed: tables as wide as the terminal, times a person reads, and strangers' text made
harmless.

Container names, labels and log lines come from strangers: a control character in them could repaint
the terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click

from dockmend.tell.sanitize import shown

LONGEST = 20_000  # characters of one text
SHORTEST = 0.005
"""Seconds that are told: less would read as "0.00 s"."""
_GAP = "  "
_NARROWEST = 6  # columns a cut cell keeps


def clean(text: object) -> str:
    """A text on one line without anything a terminal would obey: control characters are written
    out."""
    return shown(str(text), LONGEST)


def say(text: str = "") -> None:
    """One line on standard output; what came from strangers is made harmless."""
    click.echo(clean(text))


def emit(data: Any) -> None:
    """JSON on standard output, indented; always ASCII, so that no terminal is fooled."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=True, default=str))


def width_of(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, width: int) -> str:
    """At most `width` columns, with an ellipsis where something was left out."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += width_of(char)
        if used > width - 1:
            break
        kept += char
    return f"{kept}…"


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> list[str]:
    """Lines of a table. `width`: columns it may take, None: the terminal's, or as many as needed
    where it is none."""
    cells = [[clean("" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        return []
    columns = [
        max(width_of(row[index]) for row in [list(headers), *cells])
        for index in range(len(headers))
    ]
    limit = (
        width
        if width is not None
        else shutil.get_terminal_size().columns
        if sys.stdout.isatty()
        else None
    )
    if limit is not None:
        floors = [
            min(column, max(_NARROWEST, width_of(header)))
            for column, header in zip(columns, headers, strict=True)
        ]
        excess = sum(columns) + len(_GAP) * (len(columns) - 1) - limit
        while excess > 0:
            widest = max(range(len(columns)), key=lambda index: columns[index] - floors[index])
            if columns[widest] <= floors[widest]:
                break  # a terminal this narrow wraps
            columns[widest] -= 1
            excess -= 1
    lines = []
    for row in [list(headers), *cells]:
        shown = [cut(cell, column) for cell, column in zip(row, columns, strict=True)]
        padded = [
            cell + " " * (column - width_of(cell))
            for cell, column in zip(shown, columns, strict=True)
        ]
        lines.append(_GAP.join(padded).rstrip())
    return lines


def show(headers: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> None:
    """A table on standard output, or the sentence `nothing` where it has no rows."""
    lines = table(headers, rows)
    for line in lines or [clean(nothing)]:
        click.echo(line)


def span(seconds: float) -> str:
    """A duration as people say it: 0.35 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    if seconds < 1:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, part_size, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part_size
            return f"{whole // size} {name} {rest} {part}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def timed(word: str, seconds: float) -> str:
    """` in 2.0 s`, to be read behind what took that long; nothing where it would read as "0.00
    s"."""
    return f" {word} {span(seconds)}" if seconds >= SHORTEST else ""


def state_text(state: str, health: str | None) -> str:
    """A container's state and health in words: `starting` is of the health check, not of the
    container."""
    return (
        f"{state}, {'health check starting' if health == 'starting' else health}"
        if health
        else state
    )


def ago(at: float | None, now: float) -> str:
    """How long ago a wall time was; "never" for None."""
    return (
        "never" if at is None else f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"
    )


def when(at: float) -> str:
    """A wall time in the host's zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def clock(at: float) -> str:
    """The time of day of a wall time, to the millisecond, in the host's zone."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
