"""The journal's file: damaged, old, newer than we are, or full of what nobody needs any more."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import structlog

from dockmend.errors import JournalError
from dockmend.journal import migrations
from dockmend.journal.reader import connect_reader
from dockmend.journal.records import Breaker, Incident, Pause
from dockmend.journal.sqlite import SqliteJournal
from dockmend.journal.writer import PAGES, Writer
from tests.lab.waiting import eventually_async
from tests.unit.journal.making import NOW, WEB, an_action, an_incident, listed, numbers

DAY = 86400.0


def damaged(path: Path, how: str) -> None:
    connection, _ = migrations.open_for_writing(path)
    connection.executemany(
        "INSERT INTO known VALUES (?, ?)", [(f"container/{n}", b"x" * 2000) for n in range(100)]
    )
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
async def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(tmp_path, how, monkeypatch):
    lines = structlog.testing.CapturingLogger()
    monkeypatch.setattr(migrations, "log", lines)
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
    (said,) = lines.calls
    assert (said.method_name, said.kwargs["set_aside"]) == ("error", str(journal.set_aside))
    assert "the journal is damaged" in said.args[0]
    assert len(await journal.open_incidents()) == 1
    await journal.close()


def test_setting_aside_twice_within_a_second_keeps_both(tmp_path):
    path = tmp_path / "journal.sqlite3"
    places = set()
    for _ in range(2):
        damaged(path, "garbage")
        connection, aside = migrations.open_for_writing(path)
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
    connection, aside = migrations.open_for_writing(path)
    assert aside is None
    assert migrations.version_of(connection) == len(migrations.MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM incidents").fetchone() == (0,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection.close()


def test_migrations_run_in_order_once_and_keep_what_is_there(tmp_path):
    connection, _ = migrations.open_for_writing(tmp_path / "j", migrations.MIGRATIONS)
    connection.execute("INSERT INTO breakers VALUES ('heal', 'container:web', 1.0, '', NULL)")
    newer = (*migrations.MIGRATIONS, add_note)
    assert migrations.migrate(connection, newer) == len(newer)
    assert migrations.migrate(connection, newer) == len(newer)
    assert connection.execute("SELECT target, note FROM breakers").fetchall() == [
        ("container:web", "old")
    ]
    connection.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path):
    connection, _ = migrations.open_for_writing(tmp_path / "j")
    with pytest.raises(sqlite3.OperationalError, match="power cut"):
        migrations.migrate(connection, (*migrations.MIGRATIONS, fails_halfway))
    assert migrations.version_of(connection) == len(migrations.MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM breakers").fetchone() == (0,)
    connection.close()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite3"
    connection, _ = migrations.open_for_writing(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="newer dockmend"):
        await SqliteJournal(path, lambda: NOW).open()
    with pytest.raises(JournalError, match="schema 99"):
        connect_reader(path)
    assert not list(tmp_path.glob("*.corrupt-*"))
    with contextlib.closing(sqlite3.connect(path)) as untouched:
        assert untouched.execute("PRAGMA user_version").fetchone() == (99,)


# ---------------------------------------------------------------------------------------- retention


def closed(number: int, **changes: Any) -> Incident:
    old = NOW - 40 * DAY
    return an_incident(
        number, **{"state": "closed", "opened_at": old, "closed_at": old + number, **changes}
    )


async def test_prune_removes_what_is_old_and_nothing_that_is_open(journal):
    old = NOW - 40 * DAY
    gone = [closed(1), closed(2, rule="other")]
    kept = [
        closed(3, closed_at=NOW - 60),  # of the last day
        closed(5),  # a step that never ended: it is to be settled
        closed(6, rule="broken"),  # its breaker is open
        an_incident(7, opened_at=old),  # still open
    ]
    for record in (*gone, *kept):
        journal.put_incident(record)
    journal.put_action(
        an_action(1, incident=gone[0].id, began_at=old, ended_at=old + 1, outcome="done")
    )
    journal.put_action(an_action(5, incident=kept[1].id, began_at=old))
    journal.put_breaker(Breaker("broken", WEB, old + 5), "broken", WEB)
    journal.put_reset("heal", WEB, old)
    journal.put_pause(Pause("heal", None, old, "uid 0", old - 60))
    journal.put_pause(Pause(None, None, None, "uid 0", old))

    assert await journal.prune(NOW - DAY, NOW - 7 * DAY) == 2
    assert {each.id for each in await journal.incidents()} == {each.id for each in kept}
    assert await journal.story(gone[0].id) is None
    stats = await journal.stats()
    assert stats["rows"]["actions"] == 1
    assert [pause.until for pause in await journal.pauses()] == [None]
    assert await journal.prune(NOW - DAY, NOW - 7 * DAY) == 0


async def test_prune_goes_through_more_than_one_transaction(journal):
    for number in range(450):
        journal.put_incident(an_incident(number, state="closed", closed_at=NOW - 3 * DAY))
    assert await journal.prune(NOW - 4 * DAY, NOW) == 0
    assert await journal.prune(NOW - 2 * DAY, NOW) == 450
    assert await journal.incidents() == []


async def test_what_limits_count_outlives_the_incidents_and_goes_by_its_own_age(journal):
    began = NOW - 100
    journal.put_incident(closed(1, closed_at=NOW - 90, outcome="failed", attempts=1))
    journal.put_action(
        an_action(1, incident=closed(1).id, began_at=began, ended_at=NOW - 99, outcome="failed")
    )
    journal.put_breaker(Breaker("heal", WEB, NOW - 90), "heal", WEB)
    assert await journal.prune_to(1) == 1
    assert await journal.incidents() == []
    assert await listed(journal.recent_attempts(NOW - DAY)) == [("heal", WEB, began)]
    assert await listed(journal.recent_steps(NOW - DAY)) == [(began, "restart")]
    assert await listed(journal.cooldowns(NOW - DAY)) == [("heal", WEB, NOW - 90)]
    assert len(await journal.breakers()) == 1
    await journal.prune(NOW - DAY, NOW - 95)
    assert await listed(journal.recent_attempts(NOW - DAY)) == []
    assert await listed(journal.cooldowns(NOW - DAY)) == [("heal", WEB, NOW - 90)]
    await journal.prune(NOW - DAY, NOW)
    assert await listed(journal.cooldowns(NOW - DAY)) == []


async def test_the_size_holds_however_young_the_incidents_are_and_the_oldest_go_first(journal):
    for number in range(1, 901):
        journal.put_incident(
            closed(number, opened_at=NOW, closed_at=NOW + number, reason="x" * 4000)
        )
    await journal.committed()
    bound = await journal.used() // 2
    removed = await journal.prune_to(bound)
    assert await journal.used() <= bound
    left = numbers(await journal.incidents(limit=1000))
    assert left == list(range(900, removed, -1))
    assert await journal.prune_to(bound) == 0


async def test_no_size_takes_what_is_open_or_is_still_to_be_settled(journal):
    unsettled = closed(2)
    journal.put_incident(an_incident(1, opened_at=NOW - 40 * DAY))
    journal.put_incident(unsettled)
    journal.put_incident(closed(3))
    journal.put_action(an_action(2, incident=unsettled.id, began_at=NOW - 40 * DAY))
    assert await journal.prune_to(1) == 1
    assert await journal.prune_rules(0) == 0
    assert sorted(numbers(await journal.incidents())) == [1, 2]
    assert len(await journal.open_actions()) == 1


async def test_a_rule_that_floods_takes_no_others_place(journal):
    for number in range(1, 501):
        journal.put_incident(closed(number, rule="flood", target=f"container:job-{number}"))
    journal.put_incident(closed(501, closed_at=NOW - 50 * DAY))
    journal.put_incident(an_incident(502, rule="flood", opened_at=NOW - 60 * DAY))
    assert await journal.prune_rules(100) == 400
    left = await journal.incidents(limit=1000)
    assert sorted(numbers([each for each in left if each.rule == "flood"])) == [
        *range(401, 501),
        502,
    ]
    assert numbers([each for each in left if each.rule == "heal"]) == [501]


@pytest.mark.parametrize("by", ["rule", "size"])
async def test_a_target_that_floods_takes_no_others_place(journal, by: str):
    journal.put_incident(closed(1, target="container:db", reason="x" * 3000))
    for number in range(2, 402):
        journal.put_incident(closed(number, target="container:noisy", reason="x" * 3000))
    if by == "rule":
        assert await journal.prune_rules(150) == 251
    else:
        await journal.committed()
        assert await journal.prune_to(int(await journal.used() * 0.7)) == 200
    assert 1 in numbers(await journal.incidents(limit=1000))


def free_pages(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


async def test_a_journal_that_was_large_gives_its_disk_back(journal):
    """More than one slice, and the file itself is smaller in the end."""
    for number in range(2 * PAGES):
        journal.put_incident(
            an_incident(number, state="closed", closed_at=NOW - 3 * DAY, reason="x" * 8000)
        )
    await journal.committed()
    with contextlib.closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    before = journal.path.stat().st_size
    assert before > 2 * PAGES * 8000
    assert await journal.prune(NOW - 2 * DAY, NOW) == 2 * PAGES
    await eventually_async(
        lambda: journal.path.stat().st_size < before / 10, what="the file is small again"
    )
    assert free_pages(journal.path) == 0
    assert journal.healthy


async def test_records_are_written_while_the_file_is_made_smaller(journal, monkeypatch):
    monkeypatch.setattr(Writer, "_give_back", lambda self: True)  # it never comes to an end
    assert await journal.prune(NOW, NOW) == 0
    journal.put_incident(an_incident(1))
    await journal.committed()
    assert len(await journal.incidents()) == 1


async def test_nothing_of_what_was_deleted_is_left_in_the_file(journal):
    secret = "correct-horse-battery-staple"
    for number in range(40):
        journal.put_known(f"definition/{number}", f"PASSWORD={secret}{number} ".encode() * 100)
    await journal.committed()
    with contextlib.closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert secret.encode() in journal.path.read_bytes()
    for number in range(40):
        journal.put_known(f"definition/{number}", None)
    await journal.committed()
    with contextlib.closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert secret.encode() not in journal.path.read_bytes()


def test_of_the_damaged_journals_the_newest_are_kept(tmp_path: Path):
    path = tmp_path / "journal.sqlite3"
    aside: list[Path] = []
    for number in range(migrations.SET_ASIDE_KEPT + 2):
        damaged(path, "garbage")
        connection, moved = migrations.open_for_writing(path)
        connection.close()
        assert moved is not None
        moved.with_name(moved.name + "-wal").touch()
        os.utime(moved, (1e9 + number, 1e9 + number))
        aside.append(moved)
        path.unlink()
    assert sorted(tmp_path.glob("*.corrupt-*")) == sorted(
        each.with_name(each.name + suffix)
        for each in aside[-migrations.SET_ASIDE_KEPT :]
        for suffix in ("", "-wal")
    )
