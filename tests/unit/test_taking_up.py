"""What a new dockmend makes of the journal of the one before it."""

from __future__ import annotations

import time
from pathlib import Path

from dockmend.app.taking_up import Times, history_of
from dockmend.journal.records import ActionRecord
from dockmend.journal.sqlite import SqliteJournal


def step(number: int, action: str, at: float, attempt: int = 1) -> ActionRecord:
    return ActionRecord(
        id=f"a{number}", incident=f"i{number}", rule="r", target="container:web", attempt=attempt, action=action,
        object_id="c" * 64, object_name="web", params={}, began_at=at, ended_at=at + 1, outcome="done",
    )  # fmt: skip


async def test_the_hosts_budget_is_spent_by_attempts_that_changed_something(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        for number, action in enumerate(("restart", "publish", "wait", "of_another_version")):
            journal.put_action(step(number, action, 1000.0 + number))
        history = await history_of(journal, Times(0.0, 1100.0))
    finally:
        await journal.close()
    assert list(history.host) == [1000.0, 1003.0]
    assert list(history.of("r", "container:web").attempts) == [1000.0, 1001.0, 1002.0, 1003.0]
