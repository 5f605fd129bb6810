"""What a new dockmend makes of the journal of the one before it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from dockmend.app.taking_up import Times, history_of
from dockmend.decide import Host, budget
from dockmend.journal.records import ActionRecord
from dockmend.journal.sqlite import SqliteJournal


def step(number: int, action: str, at: float, attempt: int = 1, **more: Any) -> ActionRecord:
    return ActionRecord(
        id=f"a{number}", incident=f"i{number}", rule="r", target="container:web", attempt=attempt, action=action,
        object_id="c" * 64, object_name="web", params={}, began_at=at, ended_at=at + 1, outcome="done",
        **more,
    )  # fmt: skip


async def test_the_hosts_budget_is_spent_by_each_step_that_changed_something(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        for number, action in enumerate(("restart", "publish", "wait", "of_another_version")):
            journal.put_action(step(number, action, 1000.0 + number))
        journal.put_action(msgspec.structs.replace(step(9, "stop", 1005.0), incident="i3"))  # of the attempt before it
        history = await history_of(journal, Times(0.0, 1100.0))
    finally:
        await journal.close()
    assert list(history.host) == [1000.0, 1003.0, 1005.0]
    assert list(history.of("r", "container:web").attempts) == [1000.0, 1001.0, 1002.0, 1003.0]


async def test_what_ended_before_anything_was_done_is_counted_by_no_limit(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        journal.put_action(step(1, "restart", 1000.0, untouched=True))
        journal.put_action(step(2, "restart", 1010.0))
        history = await history_of(journal, Times(0.0, 1040.0))
    finally:
        await journal.close()
    assert list(history.of("r", "container:web").attempts) == [1010.0]
    assert list(history.host) == [1010.0]


async def test_the_hosts_budget_is_spent_by_what_escalation_changed(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        journal.put_action(step(1, "restart", 1000.0))
        journal.put_action(step(2, "publish", 1010.0, part="escalate"))
        journal.put_action(step(3, "recreate", 1020.0, part="escalate"))
        journal.put_action(step(4, "restart", 1030.0))
        history = await history_of(journal, Times(0.0, 1040.0))
    finally:
        await journal.close()
    assert list(history.of("r", "container:web").attempts) == [1000.0, 1030.0]
    spent = budget(history, Host((3, 60.0)), 1040.0)
    assert spent is not None
    assert spent.until == 1060.0  # when the oldest of the three leaves the window
    assert budget(history, Host((4, 60.0)), 1040.0) is None
