"""What is known of a container reaches the journal with the incident that rests on it, not up to a
second later."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from dockmend.app import persistence
from dockmend.app.persistence import PROBED_EVERY, Persistence
from dockmend.decide import History
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Actor, Container, Event
from dockmend.observer import Observers
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.incidents import Incidents
from dockmend.rules.loader import load_texts
from dockmend.timekeeping import Clock

ID = "c" * 64
RULES = "{version: 1, rules: [{name: heal, when: container.crashed, match: all, then: start}]}"


class Journal:
    """Remembers what it was given, in order."""

    healthy = True

    def __init__(self) -> None:
        self.given: list[tuple[str, Any]] = []

    def put_incident(self, incident: Incident) -> None:
        self.given.append(("incident", incident.id))

    def put_known(self, key: str, value: bytes | None) -> None:
        self.given.append((key, value))


def test_a_new_incident_takes_its_containers_state_with_it() -> None:
    journal: Any = Journal()
    mirror = Mirror()
    incidents = Incidents(journal, Observers(), lambda: 2000.0, random.Random(1))
    incidents.began = Persistence(
        journal,
        incidents.backlog,
        mirror,
        Observers(),
        Clock(lambda: 2000.0, lambda: 1000.0),
        EventCursor,
    ).began
    running = Container(id=ID, name="web", state="running", started_at=900.0)
    mirror.relist([running], [], [], 1000.0, "started")
    mirror.changed.clear()
    list(
        mirror.apply(
            Event("container", "die", Actor(ID, {"exitCode": "1"}), 1_001_000_000_000), 1001.0
        )
    )
    ended = Container(
        id=ID, name="web", state="exited", started_at=900.0, finished_at=1001.0, exit_code=1
    )
    mirror.observe(ended, 1001.1)
    (crashed,) = (
        change for change in mirror.tick(1010.0) if "container.crashed" in change.triggers
    )

    incidents.begin(load_texts({"r.yaml": RULES}, host="lab").rules[0], crashed, dry_run=False)

    (told, kept) = journal.given
    assert told[0] == "incident"
    assert kept[0].endswith(ID)
    again = Mirror()
    again.restore(kept[1])
    assert again.stands(ID, crashed.trouble), "a dockmend that dies now finds the trouble again"


def test_something_is_written_now_and_then_though_nothing_changes() -> None:
    """A disk that takes nothing is known before it is needed."""
    journal: Any = Journal()
    journal.set_aside = None
    now, cursor = [1000.0], EventCursor()
    incidents = Incidents(journal, Observers(), lambda: now[0], random.Random(1))
    one = Persistence(
        journal,
        incidents.backlog,
        Mirror(),
        Observers(),
        Clock(lambda: now[0], lambda: now[0]),
        lambda: cursor,
    )
    one.persist()
    written = len(journal.given)
    assert written
    one.persist()
    assert len(journal.given) == written
    now[0] += PROBED_EVERY
    one.persist()
    assert len(journal.given) == 2 * written


class Sized(Journal):
    """A journal that is as large as a test says, and takes down how it was made smaller."""

    size = 0

    async def prune(self, before: float, counted_since: float) -> int:
        self.given.append(("prune", now_of(before)))
        return 0

    async def prune_rules(self, most: int) -> int:
        return 0

    async def used(self) -> int:
        return self.size

    async def prune_to(self, most_bytes: int) -> int:
        self.given.append(("prune_to", most_bytes))
        self.size = most_bytes
        return 1


def now_of(before: float) -> float:
    return before + persistence.KEEP_JOURNAL


async def test_the_size_is_looked_at_between_two_rounds_of_housekeeping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood fills the disk within minutes: the hourly round would come too late."""
    monkeypatch.setattr(persistence, "SIZED_EVERY", 0.0)
    journal: Any = Sized()
    now, elapsed = 2000.0, [0.0]
    incidents = Incidents(journal, Observers(), lambda: now, random.Random(1))
    one = Persistence(
        journal,
        incidents.backlog,
        Mirror(),
        Observers(),
        Clock(lambda: now + elapsed[0], lambda: elapsed[0]),
        EventCursor,
    )

    async def round_(what: str, count: int) -> None:
        while [each for each, _ in journal.given].count(what) < count:  # noqa: ASYNC110 - it comes at the next turn
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.housekeeping(History(), lambda: 900.0))
        # soon after the start: what restarts more often than hourly is kept small too
        await round_("prune", 1)
        journal.size = persistence.MOST_BYTES + 1
        await round_("prune_to", 1)
        assert [each for each, _ in journal.given] == ["prune", "prune_to"]
        assert journal.given[-1] == (
            "prune_to",
            int(persistence.MOST_BYTES * persistence.PRUNED_TO),
        )
        elapsed[0] += persistence.HOUSEKEEPING_EVERY
        await round_("prune", 2)
        task.cancel()
    assert len(journal.given) == 3
