"""`explain` asks the limits what the journal knows: attempts, breakers, pauses."""

from __future__ import annotations

import asyncio
import time

import pytest

from dockmend.cli.explain import _limits
from dockmend.journal.records import ActionRecord, Breaker, Incident, Pause
from dockmend.journal.sqlite import SqliteJournal
from dockmend.settings import Paths, Settings

NOW = time.time()
INCIDENT = Incident(
    id="i1", rule="heal", trigger="container.unhealthy", target="container:web", kind="container",
    object_id="c", object_name="web", trouble="t", opened_at=NOW - 50, state="closed",
    outcome="healed", closed_at=NOW - 40, attempts=1,
)  # fmt: skip
ACTION = ActionRecord(
    id="a1", incident="i1", rule="heal", target="container:web", attempt=1, action="restart",
    object_id="c", object_name="web", params={}, began_at=NOW - 49, ended_at=NOW - 48,
    outcome="done",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    async def write() -> None:
        journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
        await journal.open()
        journal.put_incident(INCIDENT)
        journal.put_action(ACTION)
        journal.put_breaker(Breaker("heal", "container:db", NOW - 5), "heal", "container:db")
        journal.put_pause(Pause(None, "container:held", None, "uid 0", NOW))
        journal.put_pause(Pause("heal", "container:past", NOW - 1, "uid 0", NOW - 9))
        await journal.close()

    asyncio.run(write())
    return Settings(paths=Paths(state=tmp_path))


def test_attempts_breakers_and_pauses_are_read(settings):
    history, host = _limits(settings, NOW)
    web = history.of("heal", "container:web")
    assert list(web.attempts) == [ACTION.began_at]
    assert web.ended_at == INCIDENT.closed_at
    assert history.of("heal", "container:db").breaker_at == NOW - 5
    assert host.paused("heal", "container:held") is None, "until it is resumed"
    assert host.paused("heal", "container:past") is False, "over"
    assert host.budget == (30, 60.0)


def test_without_a_journal_nothing_is_known(tmp_path):
    history, host = _limits(Settings(paths=Paths(state=tmp_path)), NOW)
    assert (history.targets, host.budget) == ({}, (30, 60.0))
