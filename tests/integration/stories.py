"""What a daemon's journal tells, read from its file beside it: cheap enough to be polled."""

from __future__ import annotations

from pathlib import Path

from dockmend.journal.reader import read_only
from dockmend.journal.records import ActionRecord, Incident
from tests.lab import Daemon, eventually
from tests.lab.waiting import LIMIT

Story = tuple[Incident, list[ActionRecord]]


def stories(one: Daemon | Path, **wanted: object) -> list[Story]:
    """Incidents whose fields have these values, with their actions; the oldest first. A path: of a
    state folder."""
    path = (one if isinstance(one, Path) else one.state) / "journal.sqlite3"
    if not path.exists():
        return []
    with read_only(path) as reader:
        found = [
            each
            for each in reader.incidents(limit=1000)
            if all(getattr(each, k) == v for k, v in wanted.items())
        ]
        told = [reader.story(each.id) for each in sorted(found, key=lambda each: each.id)]
    return [each for each in told if each is not None]


def incidents(one: Daemon, **wanted: object) -> list[Incident]:
    return [incident for incident, _ in stories(one, **wanted)]


def closed(one: Daemon, count: int = 1, timeout: float = LIMIT, **wanted: object) -> list[Incident]:
    """Waits for so many incidents that are closed."""

    def look() -> list[Incident]:
        found = incidents(one, state="closed", **wanted)
        return found if len(found) >= count else []

    try:
        return eventually(look, timeout, what=f"{count} closed incident(s) {wanted}")
    except AssertionError as error:
        raise AssertionError(f"{error}; all: {incidents(one)}") from None


def all_told(one: Daemon) -> None:
    """Nothing in the journal is open: no incident, no intent without its outcome."""
    for incident, actions in stories(one):
        assert incident.state == "closed", incident
        assert incident.outcome is not None, incident
        assert incident.closed_at, incident
        for action in actions:
            assert action.ended_at is not None, action
            assert action.outcome is not None, action
