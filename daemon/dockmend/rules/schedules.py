"""When a cron expression fires: cronsim behind a face of our own, in seconds since the epoch.

Five fields (minute hour day month weekday) as in Debian's cron, also over the change of summer
time: a job at a fixed hour that the clock skips runs right after the gap, one that the clock
repeats runs once; jobs with `*` as their minute or hour follow the passing of time, so they run in
both of the repeated hours. Seconds (six fields) are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cronsim import CronSim, CronSimError

from dockmend.rules.language_error import LanguageError, quoted
from dockmend.rules.time_zones import wall_clock, zone

_EXPECTED: Final = 'five fields such as "*/15 * * * *" (minute hour day month weekday)'
_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_PROBE: Final = datetime(2024, 1, 1, tzinfo=UTC)


def check_cron(cron: object) -> str:
    """The expression itself, if it is one that fires at all. Raises LanguageError."""
    if not isinstance(cron, str):
        raise LanguageError(
            f"a {type(cron).__name__} is no schedule: expected {_EXPECTED}, in quotes"
        )
    if len(cron) > 200:
        raise LanguageError(f"{quoted(cron)} is too long: expected {_EXPECTED}", 0)
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        hint = "; names such as @daily are not known" if cron.startswith("@") else ""
        raise LanguageError(
            f"{quoted(cron)} has {len(fields)} fields: expected {_EXPECTED}{hint}", 0
        )
    try:
        next(CronSim(cron, _PROBE))
    except (CronSimError, ValueError, AssertionError, RecursionError) as error:
        raise LanguageError(
            f"{quoted(cron)}: {_wrong_field(str(error), fields)}: expected {_EXPECTED}", 0
        ) from None
    except (StopIteration, OverflowError):
        raise LanguageError(f"{quoted(cron)} never fires: there is no such day", 0) from None
    return cron


def check_zone(name: object) -> str:
    """The zone's name, if there is such a zone. Raises LanguageError."""
    if not isinstance(name, str):
        raise LanguageError(
            f"a {type(name).__name__} is not a time zone: expected one such as Europe/Berlin or UTC"
        )
    zone(name, 0)
    return name


def next_fire(cron: str, timezone: str | None, after: float) -> float:
    """The first firing later than `after`, in seconds since the epoch. `timezone` None is the
    host's.

    Raises LanguageError for a wrong expression or one that never fires.
    """
    return _fire(cron, timezone, after, reverse=False)


def last_fire(cron: str, timezone: str | None, before: float) -> float:
    """The last firing earlier than `before`: what `catch_up` looks for."""
    return _fire(cron, timezone, before, reverse=True)


def follows_the_clock(cron: str) -> bool:
    """Whether it runs by the passing of time (`*` as its minute or hour), not at fixed hours that
    come once a day."""
    minute, hour = cron.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def _fire(cron: str, timezone: str | None, at: float, *, reverse: bool) -> float:
    where = None if timezone is None else zone(timezone)
    try:
        return next(CronSim(cron, wall_clock(at, where), reverse=reverse)).timestamp()
    except (CronSimError, StopIteration, OverflowError, ValueError) as error:
        raise LanguageError(
            f"{quoted(cron)} does not fire: {str(error) or 'there is no such day'}"
        ) from None


def _wrong_field(message: str, fields: list[str]) -> str:
    """cronsim says "Bad hour"; the person sees which text that was."""
    name = message.removeprefix("Bad ")
    return (
        f"{quoted(fields[_FIELDS.index(name)])} is no {name}"
        if name in _FIELDS
        else "not a schedule"
    )
