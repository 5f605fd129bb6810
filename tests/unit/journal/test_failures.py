"""The journal: what was acknowledged is there, whatever happens to the process or the disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dockmend.errors import JournalError
from dockmend.journal.sqlite import SqliteJournal, read_only
from tests.lab.waiting import eventually_async
from tests.unit.journal.making import NOW, an_incident, fill, refusal


async def test_on_a_full_disk_nothing_is_acknowledged_and_with_space_all_of_it_is_written(
    tiny_disk,
):
    journal = SqliteJournal(tiny_disk / "journal.sqlite3", lambda: NOW)
    await journal.open()
    journal.put_incident(an_incident(1))
    await journal.committed()
    filler = tiny_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)

    journal.put_incident(an_incident(2, reason="y" * 50_000))
    with pytest.raises(JournalError, match="disk is full: free some space"):
        await journal.committed()
    assert not journal.healthy
    assert "full" in journal.failure
    journal.put_incident(an_incident(2, reason="newer", state="acting"))
    journal.put_incident(an_incident(3, reason="y" * 50_000))

    filler.unlink()
    assert await eventually_async(lambda: journal.healthy)  # by itself: nobody asks for a commit
    found = {each.id: each for each in await journal.open_incidents()}
    assert len(found) == 3
    assert found[an_incident(2).id].reason == "newer"
    await journal.close()


async def test_on_a_disk_gone_read_only_it_says_so_and_recovers(tiny_disk):
    journal = SqliteJournal(tiny_disk / "journal.sqlite3", lambda: NOW)
    await journal.open()
    await journal.close()
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(JournalError, match="read-only"):
        await SqliteJournal(tiny_disk / "journal.sqlite3", lambda: NOW).open()
    # reading goes on, even where no -shm can be made
    with read_only(tiny_disk / "journal.sqlite3") as reader:
        assert reader.open_incidents() == []
    subprocess.run(["mount", "-o", "remount,rw", tiny_disk], check=True)
    await journal.open()
    journal.put_incident(an_incident())
    await journal.committed()
    assert journal.healthy
    await journal.close()


async def test_a_lock_held_by_somebody_else_is_a_failure_that_ends_with_the_lock(journal):
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.put_incident(an_incident(reason="older"))
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(refusal(journal))
        await eventually_async(lambda: journal._writer._busy)
        # while the older one is on its way to the disk
        journal.put_incident(an_incident(reason="newer"))
    assert "holds its lock" in refused.result()
    assert journal.failure != ""
    other.execute("ROLLBACK")
    other.close()
    await journal.committed()
    assert journal.healthy
    assert [each.reason for each in await journal.open_incidents()] == ["newer"]


async def test_a_file_removed_while_open_is_noticed_and_made_again(journal):
    journal.put_incident(an_incident(1))
    await journal.committed()
    for path in list(journal.path.parent.iterdir()):
        path.unlink()
    journal.put_incident(an_incident(2))
    await journal.committed()
    with read_only(journal.path) as reader:
        assert [each.id for each in reader.open_incidents()] == [an_incident(2).id]


async def test_beyond_the_bound_a_put_is_refused_and_known_keys_still_pass(tmp_path):
    journal = SqliteJournal(tmp_path / "j", lambda: NOW, bound=3)
    await journal.open()
    blocker = sqlite3.connect(tmp_path / "j", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    journal.put_known("first", b"")
    with pytest.raises(JournalError, match="lock"):
        await journal.committed()
    for number in range(2):
        journal.put_incident(an_incident(number))
    with pytest.raises(JournalError, match="cannot keep up"):
        journal.put_incident(an_incident(9))
    assert not journal.healthy
    journal.put_incident(an_incident(1, state="acting"))
    blocker.execute("ROLLBACK")
    blocker.close()
    await journal.committed()
    assert journal.failure == ""
    assert [each.state for each in await journal.open_incidents()] == ["waiting", "acting"]
    await journal.close()


async def test_a_record_that_can_never_be_written_does_not_hold_up_the_others(journal):
    journal.put_incident(an_incident(1, object_name="lone \udcff surrogate"))
    journal.put_incident(an_incident(2))
    with pytest.raises(JournalError, match="cannot be written"):
        await journal.committed()
    await journal.committed()
    assert [each.id for each in await journal.open_incidents()] == [an_incident(2).id]
    assert (await journal.stats())["discarded"] == 1


async def test_a_cancelled_wait_leaves_the_journal_working(journal):
    journal.put_incident(an_incident(1))
    async with asyncio.timeout(5):
        task = asyncio.Task(journal.committed())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await journal.committed()
    assert len(await journal.open_incidents()) == 1


# ------------------------------------------------------------------------------------------- killed

KILLED = """
import asyncio, sys
from pathlib import Path
from typing import Any
from dockmend.journal.sqlite import SqliteJournal
from tests.unit.journal.making import an_incident

async def main():
    journal = SqliteJournal(Path(sys.argv[1]), lambda: 0.0)
    await journal.open()
    number = 0
    while True:
        for _ in range(3):
            number += 1
            journal.put_incident(an_incident(number))
        await journal.committed()
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 40])
def test_what_was_acknowledged_is_there_after_sigkill(tmp_path, after):
    path = tmp_path / "journal.sqlite3"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'daemon'}"}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(after)][-1]
        process.send_signal(signal.SIGKILL)
        acknowledged = max(
            [acknowledged, *(int(line) for line in process.stdout if line.endswith(b"\n"))]
        )
    with read_only(path) as reader:
        written = {int(each.id[1:]) for each in reader.open_incidents()}
    assert written >= set(range(1, acknowledged + 1))
    assert len(written) % 3 == 0  # a transaction is there whole or not at all
