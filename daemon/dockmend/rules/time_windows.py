"""`during` and `not_during`: "Mon-Fri 08:00-18:00 Europe/Berlin".

A window is judged by the wall clock of its zone at the instant in question, so the change of summer
time needs no rule: what the clock skips is in no window, what it repeats is in it twice. The start
belongs to a window, its end does not. A window over midnight (22:00-06:00) belongs to the day on
which it begins: "Fri 22:00-06:00" ends on Saturday.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Final

from dockmend.rules.language_error import LanguageError, did_you_mean, quoted
from dockmend.rules.time_zones import local_zone, wall_clock, zone

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG: Final = {
    "monday": 0, "tuesday": 1, "wednesday": 2, "thursday": 3, "friday": 4, "saturday": 5,
    "sunday": 6,
}  # fmt: skip
_EXPECTED: Final = (
    'a window such as "Mon-Fri 08:00-18:00 Europe/Berlin" (days and zone may be left out)'
)
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_RANGE = re.compile(r"([0-9:]+)-([0-9:]+)")

DAY_SECONDS: Final = 86400
HALF_HOUR: Final = 1800
AHEAD: Final = 15
"""Days looked ahead for the next opening: a weekly hour that the clock skips once is there a week
later."""


@dataclass(frozen=True, slots=True)
class Window:
    """`days` are weekdays from 0 (Monday) on which it begins; `start` and `end` are seconds of the
    day, end > start but over midnight; `zone` None is the host's."""

    days: frozenset[int]
    start: int
    end: int
    zone: tzinfo | None
    text: str

    def holds(self, at: float) -> bool:
        """True if the instant `at` (seconds since the epoch) lies inside."""
        wall = wall_clock(at, self.zone)
        second = wall.hour * 3600 + wall.minute * 60 + wall.second
        today = wall.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= second < self.end
        return (today in self.days and second >= self.start) or (
            (today - 1) % 7 in self.days and second < self.end
        )

    def instants(self, second: int, at: float) -> Iterator[float]:
        """When its zone's clock shows that second of the day, on each of the days after `at`
        (seconds since the epoch) and the one before; twice where the clock is set back."""
        midnight = wall_clock(at, self.zone).replace(
            hour=0, minute=0, second=0, microsecond=0, tzinfo=None
        )
        for day in range(-1, AHEAD):
            wall = midnight + timedelta(days=day, seconds=second)
            for fold in (0, 1):
                yield wall.replace(tzinfo=self.zone or local_zone(), fold=fold).timestamp()


@dataclass(slots=True)
class Windows:
    """`during` and `not_during` of one rule; `text` is for a person."""

    inside: tuple[Window, ...]
    outside: tuple[Window, ...]
    text: str
    # since when they are shut, and what `open_at` then said
    _shut: tuple[float, float | None] = (0.0, 0.0)

    def hold(self, at: float) -> bool:
        """True at an instant (wall seconds) inside any of `during` (always, if there is none), none
        of `not_during`."""
        if self.inside and not any(window.holds(at) for window in self.inside):
            return False
        return not any(window.holds(at) for window in self.outside)

    def open_at(self, at: float) -> float | None:
        """When they next hold, from an instant at which they do not; None where that is in none of
        the next 15 days.

        Windows begin at a full minute that is named, or where the clock is changed, which is at a
        half hour of UTC.
        """
        since, until = self._shut
        if until is not None and since <= at < until:
            return until
        edges = {at - at % HALF_HOUR + HALF_HOUR * number for number in range(1, AHEAD * 48)}
        for window in self.inside:
            edges.update(window.instants(window.start, at))
        for window in self.outside:
            edges.update(window.instants(window.end, at))
        opening = next((edge for edge in sorted(edges) if edge > at and self.hold(edge)), None)
        self._shut = (at, opening)
        return opening


JANUARY, JULY = 1736121600.0, 1751846400.0
"""Mondays, 00:00 UTC: the weeks at which it is asked whether a pair of windows ever holds, either
side of DST."""


def ever_hold(windows: Windows) -> bool:
    """Whether `during` leaves any hour that `not_during` does not take."""
    return any(windows.hold(at) or windows.open_at(at) is not None for at in (JANUARY, JULY))


def compile_windows(during: object = None, not_during: object = None) -> Windows:
    """Both keys, each a text, a list of texts or None. Raises LanguageError."""
    inside = _windows(during)
    outside = _windows(not_during)
    parts = [" or ".join(window.text for window in inside)] if inside else []
    parts += ["not " + " or ".join(window.text for window in outside)] if outside else []
    return Windows(inside, outside, ", ".join(parts))


def _windows(value: object) -> tuple[Window, ...]:
    if value is None:
        return ()
    texts: Sequence[object] = (
        [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    )
    if not texts:
        raise LanguageError(f"expected {_EXPECTED}, or a list of them; put each in quotes")
    return tuple(window(text) for text in texts)


def window(text: object) -> Window:
    """Parse one window. Raises LanguageError with the offset inside the text."""
    if not isinstance(text, str):
        raise LanguageError(
            f"a {type(text).__name__} is no window: expected {_EXPECTED}; put it in quotes"
        )
    if len(text) > 200:
        raise LanguageError(f"{quoted(text)} is too long: expected {_EXPECTED}", 0)
    words = [(found[0], found.start()) for found in re.finditer(r"\S+", text)]
    if not words:
        raise LanguageError(f"an empty text is no window: expected {_EXPECTED}", 0)
    days: frozenset[int] | None = None
    hours: tuple[int, int] | None = None
    where: tzinfo | None = None
    for index, (word, offset) in enumerate(words):
        if days is None and hours is None and index == 0 and _looks_like_days(word):
            days = _days(word, offset)
        elif hours is None and word[0].isdigit():
            hours = _hours(word, offset)
        elif index == len(words) - 1 and index > 0:
            where = zone(word, offset)
        else:
            hint = did_you_mean(word, DAYS) if index == 0 else ""
            raise LanguageError(
                f"{quoted(word)} is neither days nor hours{hint}: expected {_EXPECTED}", offset
            )
    start, end = hours or (0, DAY_SECONDS)
    every_day = frozenset(range(7))
    return Window(days or every_day, start, end, where, " ".join(word for word, _ in words))


def _looks_like_days(word: str) -> bool:
    return _day_number(re.split(r"[-,]", word)[0]) is not None


def _day_number(name: str) -> int | None:
    lowered = name.lower()
    return _LONG.get(
        lowered, next((i for i, day in enumerate(DAYS) if day.lower() == lowered), None)
    )


def _days(word: str, offset: int) -> frozenset[int]:
    """Weekdays of "Mon", "Mon-Fri", "Sat,Sun", "Fri-Mon" (over the week's end)."""
    found: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        low, high = _day_number(first), _day_number(last if dash else first)
        if low is None or high is None:
            wrong = first if low is None else last
            hint = did_you_mean(wrong, DAYS)
            raise LanguageError(
                f"unknown day {quoted(wrong)}{hint}: expected {' '.join(DAYS)}", offset
            )
        found.update((low + step) % 7 for step in range((high - low) % 7 + 1))
        offset += len(part) + 1
    return frozenset(found)


def _hours(word: str, offset: int) -> tuple[int, int]:
    found = _RANGE.fullmatch(word)
    if found is None:
        raise LanguageError(
            f"{quoted(word)} is not a range of hours: expected one such as 08:00-18:00", offset
        )
    start, end = _second(found[1], offset), _second(found[2], offset + found.start(2))
    if start == end:
        raise LanguageError(
            f"{quoted(word)} is empty: leave the hours out for the whole day", offset
        )
    if start == DAY_SECONDS:
        raise LanguageError(f"{quoted(word)}: a window begins at 00:00, not at 24:00", offset)
    return start, end


def _second(text: str, offset: int) -> int:
    found = _TIME.fullmatch(text)
    if (
        found is None
        or int(found[2]) > 59
        or int(found[1]) > 24
        or (int(found[1]) == 24 and int(found[2]))
    ):
        raise LanguageError(
            f"{quoted(text)} is not a time of day: expected HH:MM from 00:00 to 24:00", offset
        )
    return int(found[1]) * 3600 + int(found[2]) * 60
