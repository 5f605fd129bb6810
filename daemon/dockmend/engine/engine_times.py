"""The engine's times."""

from __future__ import annotations

from datetime import datetime


def epoch(text: str | None) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0.0 for the engine's zero time, for none and for
    nonsense."""
    if not text or text.startswith("0001-"):
        return 0.0
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0.0
