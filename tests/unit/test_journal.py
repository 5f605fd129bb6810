"""The journal: what was acknowledged is there, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.errors import JournalError
from dockmend.journal import schema
from dockmend.journal.reader import connect_reader
from dockmend.journal.records import ActionRecord, Breaker, Incident, Pause
from dockmend.journal.sqlite import DAY, SqliteJournal, read_only
from tests.lab.waiting import eventually_async

NOW = 1_800_000_000.0
WEB = "container:web"


def an_incident(number: int = 1, **changes: Any) -> Incident:
    plain = Incident(
        id=f"i{number:015}", rule="heal", trigger="container.unhealthy", target=WEB, kind="container",
        object_id="c0ffee" + "0" * 58, object_name="web", trouble="c0ffee/1/unhealthy", opened_at=NOW + number,
    )  # fmt: skip
    return replace(plain, **changes)


def an_action(number: int = 1, **changes: Any) -> ActionRecord:
    plain = ActionRecord(
        id=f"a{number:015}", incident="i000000000000001", rule="heal", target=WEB, attempt=1, action="restart",
        object_id="c0ffee", object_name="web", params={"timeout": 10.0}, began_at=NOW + number,
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture
async def journal(tmp_path):
    made = SqliteJournal(tmp_path / "state" / "journal.sqlite3", lambda: NOW)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 512 KiB; needs root, as all of the lab does."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def refusal(journal: SqliteJournal) -> str:
    with pytest.raises(JournalError) as caught:
        await journal.committed()
    return str(caught.value)


def numbers(found: list[Incident]) -> list[int]:
    return [int(each.id[1:]) for each in found]


# ------------------------------------------------------------------------------------------------- written, read back


async def test_records_come_back_as_they_were_put(journal):
    waiting = an_incident(1, state="waiting", due_at=NOW + 30, waiting_for="hold")
    closed = an_incident(2, state="closed", outcome="healed", closed_at=NOW + 5)
    begun = an_action(1, undo={"unpause": True})
    ended = an_action(2, ended_at=NOW + 3, outcome="done", detail="restarted")
    for record in (waiting, closed):
        journal.put_incident(record)
    for action in (begun, ended):
        journal.put_action(action)
    await journal.committed()

    assert await journal.open_incidents() == [waiting]
    assert await journal.recent_incidents(NOW) == [closed]
    assert await journal.recent_incidents(NOW + 6) == []
    assert await journal.open_actions() == [begun]
    assert await journal.story(waiting.id) == (waiting, [begun, ended])
    assert await journal.story("i-none") is None
    assert journal.healthy


async def test_the_last_value_of_a_record_counts(journal):
    for state in ("waiting", "acting", "verifying"):
        journal.put_incident(an_incident(state=state))
    await journal.committed()
    journal.put_incident(an_incident(state="closed", outcome="failed", closed_at=NOW + 9))
    journal.put_action(an_action())
    journal.put_action(an_action(ended_at=NOW + 2, outcome="failed"))
    await journal.committed()
    assert await journal.open_incidents() == []
    assert await journal.open_actions() == []
    assert [record.outcome for record in await journal.recent_incidents(0)] == ["failed"]


async def test_breakers_pauses_and_known_values_are_kept_and_removed(journal):
    breaker, other = Breaker("heal", WEB, NOW, "5 attempts failed"), Breaker("heal", "container:db", NOW)
    everything, one = Pause(None, None, None, "uid 0", NOW), Pause("heal", WEB, NOW + 60, "uid 1000", NOW)
    journal.put_breaker(breaker, "heal", WEB)
    journal.put_breaker(other, "heal", "container:db")
    journal.put_pause(everything)
    journal.put_pause(one)
    journal.put_known("cursor", b"17")
    journal.put_known("container/1", b"\x00\xff")
    await journal.committed()
    assert {b.target: b for b in await journal.breakers()} == {WEB: breaker, "container:db": other}
    assert sorted(await journal.pauses(), key=str) == sorted([everything, one], key=str)
    assert await journal.known() == {"cursor": b"17", "container/1": b"\x00\xff"}

    journal.put_breaker(None, "heal", WEB)
    journal.remove_pause(None, None)
    journal.put_known("container/1", None)
    assert await journal.breakers() == [other]
    assert await journal.pauses() == [one]
    assert await journal.known() == {"cursor": b"17"}


async def test_recent_attempts_are_by_attempt_with_its_begin_and_its_last_outcome(journal):
    journal.put_action(an_action(1, attempt=1, began_at=NOW + 1, ended_at=NOW + 2, outcome="done"))
    journal.put_action(an_action(2, attempt=1, began_at=NOW + 3, ended_at=NOW + 4, outcome="failed"))
    journal.put_action(an_action(3, attempt=2, began_at=NOW + 5))
    journal.put_action(an_action(4, rule="other", incident="i2", began_at=NOW + 4, ended_at=NOW + 5, outcome="done"))
    assert await journal.recent_attempts(NOW) == [
        ("heal", WEB, NOW + 1, "failed"),
        ("other", WEB, NOW + 4, "done"),
        ("heal", WEB, NOW + 5, None),
    ]
    # An attempt that began before is not a recent one because a later step of it is.
    assert [row[2] for row in await journal.recent_attempts(NOW + 2)] == [NOW + 4, NOW + 5]


async def test_a_reset_forgets_attempts_before_it(journal):
    journal.put_action(an_action(1, attempt=1, began_at=NOW + 1))
    journal.put_action(an_action(2, attempt=2, began_at=NOW + 9))
    journal.put_action(an_action(3, attempt=1, rule="other", incident="i2", began_at=NOW + 1))
    journal.put_reset("heal", WEB, NOW + 5)
    assert await journal.recent_attempts(NOW) == [("other", WEB, NOW + 1, None), ("heal", WEB, NOW + 9, None)]


async def test_incidents_for_people_are_found_by_name_id_and_target_newest_first(journal):
    journal.put_incident(an_incident(1))
    journal.put_incident(an_incident(2, object_name="db", object_id="d" * 64, target="compose:shop/db/1"))
    journal.put_incident(an_incident(3, state="closed", outcome="healed", closed_at=NOW + 10))
    assert numbers(await journal.incidents()) == [3, 2, 1]
    assert numbers(await journal.incidents(limit=1)) == [3]
    assert numbers(await journal.incidents(container="web")) == [3, 1]
    assert numbers(await journal.incidents(container="dddddd")) == [2]
    assert numbers(await journal.incidents(container="dddd")) == []
    assert numbers(await journal.incidents(container="compose:shop/db/1")) == [2]
    assert numbers(await journal.incidents(since=NOW + 11)) == [2, 1]  # the open ones were open then too


async def test_names_are_data_never_sql_and_never_unwritable(journal):
    name = "x'); DROP TABLE incidents; --"
    journal.put_incident(an_incident(1, object_name=name))
    journal.put_action(an_action(1, detail="lone \udcff surrogate", params={"path": Path("/x"), "n": {1: 2}}))
    await journal.committed()
    assert [each.object_name for each in await journal.incidents(container=name)] == [name]
    assert [each.detail for each in await journal.open_actions()] == ["lone ? surrogate"]


async def test_only_the_owner_may_read_the_file(journal):
    journal.put_known("cursor", b"1")
    await journal.committed()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in journal.path.parent.iterdir()}
    assert modes == dict.fromkeys(("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"), 0o600)


async def test_what_is_put_together_shares_a_commit(journal):
    before = (await journal.stats())["commits"]
    for number in range(500):
        journal.put_incident(an_incident(number))
    await asyncio.gather(*(journal.committed() for _ in range(50)))
    stats = await journal.stats()
    assert stats["rows"]["incidents"] == 500
    assert stats["commits"] - before <= 2


async def test_what_nobody_waits_for_is_written_soon(journal):
    journal.put_known("cursor", b"1")

    def written():
        with read_only(journal.path) as reader:
            return reader.known() == {"cursor": b"1"}

    assert await eventually_async(written)


async def test_close_writes_what_is_pending(tmp_path):
    journal = SqliteJournal(tmp_path / "j", lambda: NOW)
    await journal.open()
    journal.put_incident(an_incident())
    await journal.close()
    with read_only(tmp_path / "j") as reader:
        assert reader.open_incidents() == [an_incident()]
    with pytest.raises(JournalError, match="closed"):
        journal.put_incident(an_incident())
    assert "journal" not in {thread.name for thread in threading.enumerate()}


# ------------------------------------------------------------------------------------------------------ the disk fails


async def test_on_a_full_disk_nothing_is_acknowledged_and_with_space_all_of_it_is_written(tiny_disk):
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
    with read_only(tiny_disk / "journal.sqlite3") as reader:  # reading goes on, even where no -shm can be made
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
        journal.put_incident(an_incident(reason="newer"))  # while the older one is on its way to the disk
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


# ----------------------------------------------------------------------------------------------------------- killed

KILLED = """
import asyncio, sys
from pathlib import Path
from typing import Any
from dockmend.journal.sqlite import SqliteJournal
from tests.unit.test_journal import an_incident

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
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'daemon'}"}
    with subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(after)][-1]
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith(b"\n"))])
    with read_only(path) as reader:
        written = {int(each.id[1:]) for each in reader.open_incidents()}
    assert written >= set(range(1, acknowledged + 1))
    assert len(written) % 3 == 0  # a transaction is there whole or not at all


# ------------------------------------------------------------------------------------------ the file, old or damaged


def damaged(path: Path, how: str) -> None:
    connection, _ = schema.open_for_writing(path)
    connection.executemany("INSERT INTO known VALUES (?, ?)", [(f"container/{n}", b"x" * 2000) for n in range(100)])
    connection.close()
    content = bytearray(path.read_bytes())
    if how == "garbage":
        content[:] = b"not a database at all, but long enough to be taken for one " * 50
    elif how == "cut":
        del content[len(content) // 2 :]
    else:
        content[8192 : 8192 + 40_000] = b"\xff" * 40_000
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["garbage", "cut", "pages"])
async def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(tmp_path, how):
    path = tmp_path / "journal.sqlite3"
    damaged(path, how)
    kept = path.read_bytes()
    journal = SqliteJournal(path, lambda: NOW)
    await journal.open()
    journal.put_incident(an_incident())
    await journal.committed()
    assert journal.set_aside is not None
    assert journal.set_aside.name.startswith("journal.sqlite3.corrupt-")
    assert journal.set_aside.read_bytes() == kept
    assert len(await journal.open_incidents()) == 1
    await journal.close()


def test_setting_aside_twice_within_a_second_keeps_both(tmp_path):
    path = tmp_path / "journal.sqlite3"
    places = set()
    for _ in range(2):
        damaged(path, "garbage")
        connection, aside = schema.open_for_writing(path)
        connection.close()
        places.add(aside)
        assert aside is not None
        assert aside.exists()
    assert len(places) == 2


def add_note(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE breakers ADD COLUMN note TEXT NOT NULL DEFAULT 'old'")


def fails_halfway(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE breakers")
    raise sqlite3.OperationalError("power cut")


def test_an_empty_file_of_version_0_gets_the_schema(tmp_path):
    path = tmp_path / "journal.sqlite3"
    path.touch(0o644)
    connection, aside = schema.open_for_writing(path)
    assert aside is None
    assert schema.version_of(connection) == len(schema.MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM incidents").fetchone() == (0,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection.close()


def test_migrations_run_in_order_once_and_keep_what_is_there(tmp_path):
    connection, _ = schema.open_for_writing(tmp_path / "j", schema.MIGRATIONS)
    connection.execute("INSERT INTO breakers VALUES ('heal', 'container:web', 1.0, '')")
    newer = (*schema.MIGRATIONS, add_note)
    assert schema.migrate(connection, newer) == len(newer)
    assert schema.migrate(connection, newer) == len(newer)
    assert connection.execute("SELECT target, note FROM breakers").fetchall() == [("container:web", "old")]
    connection.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path):
    connection, _ = schema.open_for_writing(tmp_path / "j")
    with pytest.raises(sqlite3.OperationalError, match="power cut"):
        schema.migrate(connection, (*schema.MIGRATIONS, fails_halfway))
    assert schema.version_of(connection) == len(schema.MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM breakers").fetchone() == (0,)
    connection.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite3"
    connection, _ = schema.open_for_writing(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="newer dockmend"):
        await SqliteJournal(path, lambda: NOW).open()
    with pytest.raises(JournalError, match="schema 99"):
        connect_reader(path)
    assert not list(tmp_path.glob("*.corrupt-*"))
    with contextlib.closing(sqlite3.connect(path)) as untouched:
        assert untouched.execute("PRAGMA user_version").fetchone() == (99,)


# ---------------------------------------------------------------------------------------------------------- retention


async def test_prune_removes_what_no_limit_needs_and_nothing_else(journal):
    old = NOW - 40 * DAY

    def closed(number: int, **changes: Any) -> Incident:
        return an_incident(number, **{"state": "closed", "opened_at": old, "closed_at": old + 5, **changes})

    gone = [closed(1), closed(2, rule="other")]
    kept = [
        closed(3, closed_at=NOW - 60),  # of the last day
        closed(4),  # an attempt of the last day
        closed(5),  # a step that never ended: it is to be settled
        closed(6, rule="broken"),  # its breaker is open
        an_incident(7, opened_at=old),  # still open
    ]
    for record in (*gone, *kept):
        journal.put_incident(record)
    journal.put_action(an_action(1, incident=gone[0].id, began_at=old, ended_at=old + 1, outcome="done"))
    journal.put_action(an_action(4, incident=kept[1].id, began_at=NOW - 100, ended_at=NOW - 99, outcome="failed"))
    journal.put_action(an_action(5, incident=kept[2].id, began_at=old))
    journal.put_breaker(Breaker("broken", WEB, old + 5), "broken", WEB)
    journal.put_reset("heal", WEB, old)
    journal.put_pause(Pause("heal", None, old, "uid 0", old - 60))
    journal.put_pause(Pause(None, None, None, "uid 0", old))

    assert await journal.prune(NOW) == 2
    assert {each.id for each in await journal.incidents()} == {each.id for each in kept}
    assert await journal.story(gone[0].id) is None
    stats = await journal.stats()
    assert stats["rows"]["actions"] == 2
    assert [pause.until for pause in await journal.pauses()] == [None]
    assert await journal.prune(NOW) == 0


async def test_prune_goes_through_more_than_one_transaction(journal):
    for number in range(450):
        journal.put_incident(an_incident(number, state="closed", closed_at=NOW - 3 * DAY))
    assert await journal.prune(NOW - 4 * DAY) == 0
    assert await journal.prune(NOW - 2 * DAY) == 450
    assert await journal.incidents() == []


# ------------------------------------------------------------------------------------------------ beside the daemon


async def test_commands_read_while_the_daemon_writes(journal):
    seen: list[int] = []
    done = threading.Event()

    def read_on():
        while not done.is_set():
            with read_only(journal.path) as reader:
                seen.append(len(reader.open_incidents()))

    reading = asyncio.get_running_loop().run_in_executor(None, read_on)
    try:
        for number in range(100):
            journal.put_incident(an_incident(number))
            await journal.committed()
        await eventually_async(lambda: seen and seen[-1] == 100)
    finally:
        done.set()
        await reading
    assert seen == sorted(seen)  # nothing acknowledged is ever unseen again


def test_reading_without_a_journal_says_what_to_do(tmp_path):
    with pytest.raises(JournalError, match="has `dockmend run` been started"):
        connect_reader(tmp_path / "journal.sqlite3")
    (tmp_path / "journal.sqlite3").write_bytes(b"no database " * 100)
    with pytest.raises(JournalError, match="cannot be read"):
        connect_reader(tmp_path / "journal.sqlite3")


async def test_a_command_cannot_write(journal):
    with read_only(journal.path) as reader, pytest.raises(JournalError, match="readonly"):
        reader._rows("DELETE FROM incidents", ())


async def test_a_row_that_cannot_be_read_does_not_hide_the_others(journal):
    journal.put_incident(an_incident(1))
    await journal.committed()
    other = sqlite3.connect(journal.path)
    with other:
        other.execute("INSERT INTO incidents SELECT 'i2', rule, target, object_id, object_name, state, outcome, "
                      "opened_at, closed_at, due_at, '{\"state\": \"of a later version\"}' FROM incidents")  # fmt: skip
    other.close()
    assert [each.id for each in await journal.open_incidents()] == [an_incident(1).id]
