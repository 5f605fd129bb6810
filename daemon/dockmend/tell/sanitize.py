"""Strangers' text made fit for where it is told: a terminal, a topic. Names, labels and messages
are anybody's."""

from __future__ import annotations

from datetime import UTC, datetime

LONGEST_LEVEL = 200  # characters of a topic's level


def shown(text: str, most: int = 400) -> str:
    r"""For a terminal or a log: one line, at most `most` characters, no control characters
    (`\x1b`), nothing hidden."""
    whole, text = len(text) <= most, text[:most]
    if whole and text.isprintable():
        return text
    told = [char if char.isprintable() else char.encode("unicode_escape").decode() for char in text]
    if whole and sum(map(len, told)) <= most:
        return "".join(told)
    kept, room = [], most - 1
    for each in told:  # an escape stays whole
        room -= len(each)
        if room < 0:
            break
        kept.append(each)
    return "".join((*kept, "…"))


def topic_level(name: str) -> str:
    """A name as one level of an MQTT topic: no separator, no wildcard, nothing a broker refuses."""
    safe = "".join(
        "_" if char in "/+#" or not char.isprintable() else char for char in name[:LONGEST_LEVEL]
    )
    return safe or "_"


def iso(at: float | None) -> str | None:
    """Wall seconds as ISO 8601 in UTC with milliseconds; None for none (0 is the engine's
    "never")."""
    if not at:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
