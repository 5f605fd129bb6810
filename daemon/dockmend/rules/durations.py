"""Durations, rates, spans and thresholds as people write them: "1m30s", "5 per 15m", "1s to 5m", ">
90%".

Every result is in seconds. Bare numbers are refused: YAML reads 1:30 as 90 and nobody can tell
whether 5 is seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from dockmend.rules.language_error import LanguageError, did_you_mean, quoted

UNITS: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""Seconds of each unit, largest first: the order in which they are written."""

LONGEST: Final = 3650 * 86400.0
"""Ten years: whatever is longer is a slip."""

MOST: Final = 1_000_000
"""The largest count in a rate."""

_WORDS: Final = {
    "ms": ("msec", "msecs", "millisecond", "milliseconds"),
    "s": ("sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
    "w": ("wk", "week", "weeks"),
}
_UNIT_OF: Final = {word: unit for unit, words in _WORDS.items() for word in words}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-zµ]*)")
_EXPECTED: Final = 'a duration such as "30s", "1m30s" or "500ms"'


@dataclass(frozen=True, slots=True)
class Threshold:
    """A comparison with a constant: `> 90%`. `unit` is "%", "bytes" or "" (a bare number); value in
    that unit."""

    operator: Literal[">", ">=", "<", "<="]
    value: float
    unit: Literal["%", "bytes", ""]


def duration(text: object) -> float:
    """Seconds of "1m30s": units w d h m s ms, each at most once, the larger first.

    Raises LanguageError for anything else, a bare number included.
    """
    if not isinstance(text, str):
        raise LanguageError(_not_text(text, _EXPECTED))
    return _duration(text, 0)


def some(text: object) -> float:
    """As `duration`, of a time in which something is to happen: zero is refused."""
    seconds = duration(text)
    if seconds <= 0:
        raise LanguageError(f"{quoted(str(text))} leaves no time at all: expected a longer one", 0)
    return seconds


SHORTEST: Final = 1.0
"""Seconds: an attempt, and what shows whether it worked, take longer. A shorter time would count
nothing, or fail whatever was done."""


def at_least_a_second(text: object) -> float:
    """As `duration`, of a time in which an attempt has to show its effect."""
    seconds = duration(text)
    if seconds < SHORTEST:
        raise LanguageError(
            f"{quoted(str(text))} is too short for anything to happen: expected 1s or longer", 0
        )
    return seconds


MOST_COUNTED: Final = 4096
"""Events that a limit remembers (decide.History): one that counts more would never hold."""


def per(text: object) -> tuple[int, float]:
    """("5 per 15m") -> (5, 900.0): a count and the seconds it is counted over."""
    count, seconds = _counted(text, "per", "5 per 15m")
    if count > MOST_COUNTED:
        raise LanguageError(
            f"{quoted(str(text))} counts more than {MOST_COUNTED}: use a shorter time, or `none`", 0
        )
    return count, seconds


def within(text: object) -> tuple[int, float]:
    """("3 within 10m") -> (3, 600.0): how many times, in how many seconds."""
    return _counted(text, "within", "3 within 10m")


def span(text: object) -> tuple[float, float]:
    """("1s to 5m") -> (1.0, 300.0): the shortest and the longest, in seconds."""
    expected = 'two durations such as "1s to 5m"'
    if not isinstance(text, str):
        raise LanguageError(_not_text(text, expected))
    head, found, tail = text.partition(" to ")
    if not found:
        raise LanguageError(f"{quoted(text)} has no ` to `: expected {expected}", 0)
    low = _duration(head, 0)
    high = _duration(tail, len(head) + 4)
    if low > high:
        raise LanguageError(
            f"{quoted(text)}: the first is longer than the second: expected {expected}", 0
        )
    return low, high


_SIZES: Final = {
    "%": 1.0, "": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
    "KIB": 1024.0, "MIB": 1024.0**2, "GIB": 1024.0**3, "TIB": 1024.0**4,
}  # fmt: skip
_THRESHOLD = re.compile(r"\s*(>=|<=|>|<)?\s*([0-9]+(?:\.[0-9]+)?)?\s*([A-Za-z%]*)\s*")


def threshold(text: object) -> Threshold:
    """("> 90%") -> Threshold(">", 90.0, "%"); sizes ("> 500MiB") become bytes; "> 100" is a bare
    number."""
    expected = 'a comparison such as "> 90%" or "> 500MiB"'
    if not isinstance(text, str):
        raise LanguageError(_not_text(text, expected))
    found = _THRESHOLD.fullmatch(text) if len(text) <= 100 else None
    if found is None or found[1] is None or found[2] is None:
        raise LanguageError(f"{quoted(text)} is not a threshold: expected {expected}", 0)
    unit = found[3]
    if unit.upper() not in _SIZES:
        hint = did_you_mean(unit, ("%", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"))
        raise LanguageError(
            f"unknown unit {quoted(unit)}{hint}: expected {expected}", found.start(3)
        )
    value = float(found[2]) * _SIZES[unit.upper()]
    if unit == "%" and value > 100_000:
        raise LanguageError(
            f"{quoted(text)}: no share is that large: expected {expected}", found.start(2)
        )
    kind: Literal["%", "bytes", ""] = "%" if unit == "%" else "bytes" if unit else ""
    return Threshold(cast("Literal['>', '>=', '<', '<=']", found[1]), value, kind)


def _duration(text: str, base: int) -> float:
    """`base` is where `text` begins inside the text the person wrote, for offsets."""
    stripped = text.strip()
    start = base + len(text) - len(text.lstrip())
    if not stripped:
        raise LanguageError(f"an empty text is no duration: expected {_EXPECTED}", start)
    if len(stripped) > 100:
        raise LanguageError(
            f"{quoted(stripped)} is too long for a duration: expected {_EXPECTED}", start
        )
    total, position, allowed = 0.0, 0, list(UNITS)
    while position < len(stripped):
        part = _PART.match(stripped, position)
        if part is None:
            raise LanguageError(
                f"{quoted(stripped)} is not a duration: expected {_EXPECTED}", start + position
            )
        unit = _unit(stripped, part, start)
        if unit not in allowed:
            message = (
                f"{quoted(stripped)}: units go from large to small, each once: expected {_EXPECTED}"
            )
            raise LanguageError(message, start + part.start(2))
        allowed = allowed[allowed.index(unit) + 1 :]
        total += float(part[1]) * UNITS[unit]
        position = part.end()
    if total > LONGEST:
        raise LanguageError(
            f"{quoted(stripped)} is longer than ten years: expected {_EXPECTED}", start
        )
    return total


def _unit(text: str, part: re.Match[str], start: int) -> str:
    unit = part[2]
    if unit in UNITS:
        return unit
    if not unit:
        hint = f' (did you mean "{part[1]}s"?)' if part[1] == text else ""
        raise LanguageError(
            f"{quoted(text)} has no unit{hint}: expected {_EXPECTED}", start + part.end()
        )
    near = _UNIT_OF.get(unit.lower()) or (unit.lower() if unit.lower() in UNITS else None)
    hint = f' (did you mean "{part[1]}{near}"?)' if near else ""
    raise LanguageError(
        f"unknown unit {quoted(unit)}{hint}: the units are w d h m s ms", start + part.start(2)
    )


_COUNT = re.compile(r"\s*(\S+)\s+([A-Za-z]+)\s+(.*)", re.DOTALL)


def _counted(text: object, word: str, example: str) -> tuple[int, float]:
    expected = f'a count and a duration such as "{example}"'
    if not isinstance(text, str):
        raise LanguageError(_not_text(text, expected))
    found = _COUNT.fullmatch(text) if len(text) <= 200 else None
    if found is None or found[2] != word:
        raise LanguageError(
            f"{quoted(text)}: expected {expected}", 0 if found is None else found.start(2)
        )
    if not (
        found[1].isascii()
        and found[1].isdigit()
        and len(found[1]) <= 9
        and 1 <= int(found[1]) <= MOST
    ):
        raise LanguageError(
            f"{quoted(found[1])} is not a count from 1 to {MOST}: expected {expected}",
            found.start(1),
        )
    seconds = _duration(found[3], found.start(3))
    if seconds < SHORTEST:
        raise LanguageError(
            f"{quoted(text)}: nothing fits into so short a time: expected {expected}",
            found.start(3),
        )
    return int(found[1]), seconds


def _not_text(value: object, expected: str) -> str:
    if isinstance(value, bool):
        return (
            f"{str(value).lower()} (YAML reads on, off, yes and no as truth values) is not "
            f"text: expected {expected}"
        )
    if isinstance(value, int):
        return (
            f'the number {str(value)[:20]} has no unit (did you mean "{str(value)[:20]}s"?): '
            f"expected {expected}"
        )
    return f"a {type(value).__name__} is not text: expected {expected}"
