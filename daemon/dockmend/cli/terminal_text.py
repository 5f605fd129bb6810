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
_NARROWEST = 24  # columns in which a text is wrapped
_INDENT = "    "


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


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken between words; a longer word is broken too, as
    nothing is left out."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *parts, line = _pieces(word, width)
        lines += parts
    return [*lines, line]


def _pieces(word: str, width: int) -> list[str]:
    """A word in pieces of at most `width` columns each."""
    pieces, kept, used = [], "", 0
    for char in word:
        wide = width_of(char)
        if used + wide > width and kept:
            pieces.append(kept)
            kept, used = "", 0
        kept, used = kept + char, used + wide
    return [*pieces, kept]


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None if it is none, and lines may be as long
    as they like."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> list[str]:
    """Lines of a table; no text is cut, as people copy ids and names. `width`: columns it may take,
    None: the terminal's, or as many as needed where it is none.

    If it is too wide, the last column is wrapped; if that one would be narrow too, each row is
    followed by what does not fit, under the headers of those columns.
    """
    cells = [[clean("" if cell is None else cell) for cell in row] for row in rows]
    if not cells:
        return []
    columns = [
        max(width_of(row[index]) for row in [list(headers), *cells])
        for index in range(len(headers))
    ]
    limit = width if width is not None else terminal_width()
    if limit is None or sum(columns) + len(_GAP) * (len(columns) - 1) <= limit:
        return [_line(row, columns) for row in [list(headers), *cells]]
    kept, used = 0, 0
    while kept < len(columns) - 1 and used + columns[kept] <= limit:
        used += columns[kept] + len(_GAP)
        kept += 1
    if kept == len(columns) - 1 and limit - used >= _NARROWEST:
        return _with_wrapped_last([list(headers), *cells], columns, limit - used)
    return _with_rest_below(list(headers), cells, columns, max(kept, 1), limit)


def _line(row: Sequence[str], columns: Sequence[int]) -> str:
    padded = [
        cell + " " * (column - width_of(cell)) for cell, column in zip(row, columns, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _with_wrapped_last(
    rows: Sequence[Sequence[str]], columns: Sequence[int], room: int
) -> list[str]:
    lines = []
    for *first, last in rows:
        for number, part in enumerate(wrapped(last, room)):
            lead = first if number == 0 else [""] * len(first)
            lines.append(_line([*lead, part], [*columns[:-1], room]))
    return lines


def _with_rest_below(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: Sequence[int],
    kept: int,
    limit: int,
) -> list[str]:
    """`kept`: how many columns stand on a row's first line."""
    lines = wrapped(_line(headers[:kept], columns[:kept]), limit)
    for row in rows:
        first = _line(row[:kept], columns[:kept])
        lines += [first] if width_of(first) <= limit else wrapped(first, limit)
        pairs = zip(headers[kept:], row[kept:], strict=True)
        rest = _GAP.join(f"{header.strip()} {cell}" for header, cell in pairs if cell)
        below = wrapped(rest, limit - len(_INDENT)) if rest else []
        lines += [f"{_INDENT}{part}" for part in below]
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
