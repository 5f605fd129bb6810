"""A journal of every earlier schema is taken over whole."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.errors import JournalError
from dockmend.journal import migrations
from dockmend.journal.reader import connect_reader
from dockmend.journal.records import ActionRecord, AttemptStage, Breaker, ClosedIncident
from dockmend.journal.sqlite import SqliteJournal
from dockmend.owned import OwnedObject
from tests.unit.journal.making import NOW, WEB, an_action, listed

HERE = Path(__file__).parent


def left_by(number: int, path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((HERE / f"schema-{number}.sql").read_text())
    return path


def test_there_is_a_journal_of_each_earlier_schema():
    assert sorted(int(each.stem.partition("-")[2]) for each in HERE.glob("schema-*.sql")) == list(
        range(1, len(migrations.MIGRATIONS))
    )


@pytest.mark.parametrize("number", range(1, len(migrations.MIGRATIONS)))
async def test_everything_is_there_after_the_migration(tmp_path: Path, number: int):
    path = left_by(number, tmp_path / "journal.sqlite3")
    with pytest.raises(JournalError, match=f"schema {number}"):
        connect_reader(path)
    journal = SqliteJournal(path, lambda: NOW + 60)
    await journal.open()
    assert journal.set_aside is None
    assert (await journal.stats())["schema"] == len(migrations.MIGRATIONS)
    (waiting,) = await journal.open_incidents()
    assert (waiting.object_name, waiting.state) == ("web", "waiting")
    (closed,) = await journal.recent_incidents(NOW)
    assert (closed.outcome, closed.attempts) == ("failed", 1)
    assert await listed(journal.recent_attempts(NOW)) == [("heal", WEB, NOW + 1)]
    assert (await listed(journal.recent_steps(NOW)))[0] == (NOW + 1, "restart")
    assert await listed(journal.cooldowns(NOW)) == [("heal", WEB, NOW + 9)]
    (known,) = await listed(journal.closed_incidents(NOW, 10))
    assert known == ClosedIncident("heal", WEB, closed.trouble, "failed", "", ())
    assert await journal.breakers() == [Breaker("heal", WEB, NOW + 9, "it failed")]
    assert [pause.until for pause in await journal.pauses()] == [NOW + 3600]
    assert set(await journal.known()) == {"schedule/nightly/0"}
    assert await journal.owned() == []
    assert re.fullmatch("[0-9a-hjkmnp-tv-z]{10}", await journal.instance())
    journal.put_breaker(Breaker("heal", WEB, NOW, "again", NOW + 5), "heal", WEB)
    await journal.committed()
    assert (await journal.breakers())[0].healed_at == NOW + 5
    await journal.close()


async def test_of_an_earlier_schema_only_what_limits_count_is_counted(tmp_path: Path):
    journal = SqliteJournal(left_by(2, tmp_path / "journal.sqlite3"), lambda: NOW + 60)
    await journal.open()
    assert await listed(journal.recent_steps(NOW)) == [(NOW + 1, "restart"), (NOW + 6, "stop")]
    await journal.close()


async def test_a_state_folder_keeps_its_id_and_others_have_another(tmp_path: Path):
    ids = []
    for name in ("a", "a", "b"):
        journal = SqliteJournal(tmp_path / name / "journal.sqlite3", lambda: NOW)
        await journal.open()
        ids.append(await journal.instance())
        await journal.close()
    assert ids[0] == ids[1] != ids[2]


async def test_a_row_outlives_its_incident_and_a_command_sees_and_writes_rows_beside_the_daemon(
    tmp_path: Path,
):
    path = tmp_path / "journal.sqlite3"
    made = OwnedObject("o1", "container", "tool", "engine", "i1", "job", NOW, "c1")
    daemon, command = (
        SqliteJournal(path, lambda: NOW),
        SqliteJournal(path, lambda: NOW, beside=True),
    )
    await daemon.open()
    daemon.put_owned(made)
    await daemon.committed()
    await command.open()
    assert await command.owned() == [made]
    command.put_owned(replace(made, id="o2"))
    command.remove_owned("o1")
    await command.committed()
    await command.close()
    await daemon.prune(NOW + 1e9, counted_since=NOW + 1e9)
    assert [row.id for row in await daemon.owned()] == ["o2"]
    await daemon.close()


@pytest.mark.parametrize("number", range(1, len(migrations.MIGRATIONS)))
async def test_a_command_does_not_migrate_what_a_daemon_may_be_writing(tmp_path: Path, number: int):
    path = left_by(number, tmp_path / "journal.sqlite3")
    with pytest.raises(JournalError, match=f"schema {number}"):
        await SqliteJournal(path, lambda: NOW, beside=True).open()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert migrations.version_of(connection) == number


async def test_secrets_of_earlier_records_are_taken_out(tmp_path: Path):
    """Of all records, and of what the file holds beside them."""
    path = left_by(4, tmp_path / "journal.sqlite3")
    params = {"command": ["psql", "hunter2"], "env": {"PGPASSWORD": "hunter2"}}
    detail, undo = "exit code 1: it got hunter2", {"exec": {"mark": "m"}}
    action = an_action(9, incident="i000000000000001", params=params, detail=detail, undo=undo)
    broken = b'{"params": {"env": '
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        row = connection.execute("SELECT * FROM actions").fetchone()
        for number, body in ((action.id, msgspec.json.encode(action)), ("a9", broken)):
            values = (number, action.incident, *row[2:-1], body)
            connection.execute(f"INSERT INTO actions VALUES ({', '.join('?' * len(row))})", values)
        connection.execute(
            'UPDATE incidents SET body = CAST(replace(CAST(body AS TEXT), \'"reason":""\', '
            '\'"reason":"exec: it got hunter2"\') AS BLOB) WHERE id = ?',
            (action.incident,),
        )
    journal = SqliteJournal(path, lambda: NOW + 60)
    await journal.open()
    (waiting,) = await journal.open_incidents()
    assert waiting.reason == "exec: it got ***"
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        bodies = dict(connection.execute("SELECT id, body FROM actions"))
    assert bodies["a9"] == broken  # what cannot be read is left as it is
    found = msgspec.json.decode(bodies[action.id], type=ActionRecord)
    clean = {"command": ["psql", "***"], "env": {"PGPASSWORD": "***"}}
    assert found == replace(action, params=clean, detail="exit code 1: it got ***")
    assert b"hunter2" not in path.read_bytes()


@pytest.mark.parametrize(
    ("state", "more", "stage"),
    [
        ("waiting", {"midway": False}, AttemptStage.IDLE),
        ("waiting", {"midway": True}, AttemptStage.STEPS),
        ("waiting", {"midway": True, "rung": 1}, AttemptStage.MADE),
        ("acting", {"midway": False}, AttemptStage.STEPS),
        ("verifying", {}, AttemptStage.MADE),
        ("verifying", {"rung": 2}, AttemptStage.MADE),
    ],
)
async def test_the_stage_of_an_open_incident_follows_from_what_said_it_before(
    tmp_path: Path, state: str, more: dict[str, object], stage: AttemptStage
):
    path = left_by(6, tmp_path / "journal.sqlite3")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        (body,) = connection.execute(
            "SELECT body FROM incidents WHERE closed_at IS NULL"
        ).fetchone()
        record = {**msgspec.json.decode(body), "state": state, **more}
        connection.execute(
            "UPDATE incidents SET state = ?, body = ? WHERE closed_at IS NULL",
            (state, msgspec.json.encode(record)),
        )
    journal = SqliteJournal(path, lambda: NOW + 60)
    await journal.open()
    (taken_over,) = await journal.open_incidents()
    assert (taken_over.state, taken_over.stage, taken_over.rung) == (state, stage, more.get("rung"))
    await journal.close()
