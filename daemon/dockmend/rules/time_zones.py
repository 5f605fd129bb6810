"""Time zones by name, for windows and schedules."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from dockmend.rules.language_error import LanguageError, did_you_mean, quoted

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


def zone(name: str, offset: int | None = None) -> tzinfo:
    """The zone of that name ("Europe/Berlin", "UTC"). Raises LanguageError at `offset` for one that
    does not exist."""
    if name == "UTC":
        return UTC
    # the name becomes a path inside the zone database
    if len(name) > 60 or _NAME.fullmatch(name) is None:
        raise LanguageError(
            f"{quoted(name)} is not a time zone: expected one such as Europe/Berlin or UTC", offset
        )
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise LanguageError(
                "this host has no database of time zones: install the package tzdata", offset
            ) from None
        near = did_you_mean(name, known)
        message = (
            f"unknown time zone {quoted(name)}{near}: expected one such as Europe/Berlin or UTC"
        )
        raise LanguageError(message, offset) from None


def wall_clock(at: float, where: tzinfo | None) -> datetime:
    """The wall clock at `at` (seconds since the epoch) in a zone; in the host's own where None."""
    return datetime.fromtimestamp(at, UTC).astimezone(where or local_zone())


@lru_cache(maxsize=1)
def local_zone() -> tzinfo:
    """The host's zone with its changes to summer time: TZ, else /etc/localtime, else the offset of
    this moment.

    Read once: a host that moves to another zone needs a restart of the daemon, as with most
    services.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return zone(name)
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="the host's zone")
    except (OSError, ValueError):
        return datetime.now(UTC).astimezone().tzinfo or UTC
