"""The journal: what was acknowledged comes back as it was put, whoever reads it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from dockmend.errors import JournalError
from dockmend.journal.reader import connect_reader
from dockmend.journal.records import Breaker, ClosedIncident, Pause
from dockmend.journal.sqlite import SqliteJournal, read_only
from tests.lab.waiting import eventually_async
from tests.unit.journal.making import NOW, WEB, an_action, an_incident, listed, numbers


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


async def test_what_is_put_together_is_written_together(journal):
    """While something is put together the writer's thread can begin no transaction."""

    def may_begin() -> bool:
        lock = journal._writer._lock
        return lock.acquire(blocking=False) and lock.release() is None

    with journal.together():
        journal.put_action(an_action(1))
        assert not await asyncio.to_thread(may_begin)
        journal.put_known("x", b"y")
    await journal.committed()
    assert await journal.known_value("x") == b"y"
    assert await journal.open_actions() == [an_action(1)]
    assert await asyncio.to_thread(may_begin)


async def test_of_what_is_put_together_nothing_is_written_if_one_of_it_cannot_be(journal):
    def put() -> None:
        with journal.together():
            journal.put_action(an_action(1))
            journal.put_known("x", b"after")
            raise JournalError("the journal cannot keep up")

    journal.put_known("x", b"before")
    with pytest.raises(JournalError):
        put()
    await journal.committed()
    assert await journal.known_value("x") == b"before"
    assert await journal.open_actions() == []


async def test_records_are_read_in_pages(journal):
    # Two of one second: the id decides.
    incidents = [an_incident(number, opened_at=NOW + number // 2) for number in range(5)]
    actions = [
        an_action(number, incident=incidents[0].id, began_at=NOW + number // 2)
        for number in range(5)
    ]
    for incident in incidents:
        journal.put_incident(incident)
    for action in actions:
        journal.put_action(action)
    seen, after = [], None
    while found := await journal.incidents(limit=2, after=after):
        seen += found
        after = (found[-1].opened_at, found[-1].id)
    assert seen == sorted(incidents, key=lambda each: (each.opened_at, each.id), reverse=True)
    assert len(await journal.incidents(limit=100)) == 5
    done, behind = [], None
    while found := (await journal.story(incidents[0].id, 2, behind))[1]:
        done += found
        behind = (found[-1].began_at, found[-1].id)
    assert done == actions


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
    breaker, other = (
        Breaker("heal", WEB, NOW, "5 attempts failed"),
        Breaker("heal", "container:db", NOW),
    )
    everything, one = (
        Pause(None, None, None, "uid 0", NOW),
        Pause("heal", WEB, NOW + 60, "uid 1000", NOW),
    )
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


async def test_recent_attempts_are_by_attempt_with_its_begin(journal):
    journal.put_action(an_action(1, attempt=1, began_at=NOW + 1, ended_at=NOW + 2, outcome="done"))
    journal.put_action(
        an_action(
            2, attempt=1, began_at=NOW + 3, ended_at=NOW + 4, outcome="failed", action="publish"
        )
    )
    journal.put_action(an_action(3, attempt=2, began_at=NOW + 5))
    journal.put_action(
        an_action(
            4, rule="other", incident="i2", began_at=NOW + 4, ended_at=NOW + 5, outcome="done"
        )
    )
    assert await listed(journal.recent_attempts(NOW)) == [
        ("heal", WEB, NOW + 1),
        ("other", WEB, NOW + 4),
        ("heal", WEB, NOW + 5),
    ]
    # An attempt that began before is not a recent one because a later step of it is.
    assert [row[2] for row in await listed(journal.recent_attempts(NOW + 2))] == [NOW + 4, NOW + 5]


async def test_which_object_was_treated_last_is_told_by_target(journal):
    journal.put_incident(
        an_incident(
            1, object_id="a", attempts=2, state="closed", outcome="failed", closed_at=NOW + 1
        )
    )
    journal.put_incident(an_incident(2, object_id="b", attempts=1, opened_at=NOW + 2))
    journal.put_incident(an_incident(3, object_id="c", attempts=0, opened_at=NOW + 3))
    assert await listed(journal.treated(NOW - 9)) == [(WEB, "b")]
    assert await listed(journal.treated(NOW + 2.5)) == []


async def test_an_attempt_is_its_own_steps_and_a_step_is_one_with_all_its_members(journal):
    journal.put_action(
        an_action(
            1, attempt=1, began_at=NOW + 1, ended_at=NOW + 2, outcome="done", action="publish"
        )
    )
    journal.put_action(an_action(2, attempt=1, began_at=NOW + 3, outcome="failed", part="escalate"))
    journal.put_action(
        an_action(3, attempt=0, incident="i2", began_at=NOW + 4, part="escalate", action="start")
    )
    for number, part in enumerate(("member", "after", "finally"), start=5):
        journal.put_action(
            an_action(number, attempt=number % 2, incident="i2", began_at=NOW + number, part=part)
        )
    assert await listed(journal.recent_attempts(NOW)) == [
        ("heal", WEB, NOW + 1),
        ("heal", WEB, NOW + 7),
    ]
    steps = [(NOW + 1, "publish"), (NOW + 3, "restart"), (NOW + 4, "start"), (NOW + 7, "restart")]
    assert await listed(journal.recent_steps(NOW)) == steps
    assert await listed(journal.recent_steps(NOW + 3.5)) == steps[2:]


async def test_what_ended_untouched_is_not_counted_whatever_was_counted_before(journal):
    journal.put_action(an_action(1, attempt=1, began_at=NOW + 1))
    await journal.committed()
    assert len(await listed(journal.recent_attempts(NOW))) == 1
    journal.put_action(
        an_action(
            1, attempt=1, began_at=NOW + 1, ended_at=NOW + 2, outcome="failed", untouched=True
        )
    )
    assert await listed(journal.recent_attempts(NOW)) == []
    assert await listed(journal.recent_steps(NOW)) == []


async def test_a_cooldown_begins_with_the_last_incident_that_did_something(journal):
    journal.put_incident(
        an_incident(1, state="closed", closed_at=NOW + 5, outcome="healed", attempts=1)
    )
    journal.put_incident(
        an_incident(2, state="closed", closed_at=NOW + 3, outcome="healed", attempts=1)
    )
    journal.put_incident(an_incident(3, state="closed", closed_at=NOW + 9, outcome="suppressed"))
    journal.put_incident(an_incident(4, rule="other", attempts=1))
    assert await listed(journal.cooldowns(NOW)) == [("heal", WEB, NOW + 5)]
    assert await listed(journal.cooldowns(NOW + 6)) == []
    journal.put_reset("heal", WEB, NOW + 6)
    assert await listed(journal.cooldowns(NOW)) == []


async def test_the_newest_closed_incidents_are_told_oldest_first_without_their_records(
    journal, monkeypatch
):
    monkeypatch.setattr("dockmend.journal.sqlite.READ_AT_ONCE", 2)
    for number in range(1, 8):
        journal.put_incident(an_incident(
            number, state="closed", closed_at=NOW + number, outcome="failed",
            trouble=f"c0ffee/{number}/end", reason_code="owner", over=("other",),
        ))  # fmt: skip
    journal.put_incident(an_incident(9))
    await journal.committed()
    with contextlib.closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("UPDATE incidents SET body = x'00'")
        connection.commit()
    told = await listed(journal.closed_incidents(NOW, 5))
    assert [each.trouble for each in told] == [f"c0ffee/{number}/end" for number in range(3, 8)]
    assert told[0] == ClosedIncident("heal", WEB, "c0ffee/3/end", "failed", "owner", ("other",))
    assert len(await listed(journal.closed_incidents(NOW + 6, 5))) == 2
    assert len(await listed(journal.closed_incidents(NOW, 50))) == 7


async def test_when_each_rule_was_last_triggered(journal):
    journal.put_incident(an_incident(1))
    journal.put_incident(an_incident(4, state="closed", closed_at=NOW + 9, outcome="healed"))
    journal.put_incident(an_incident(2, rule="other"))
    assert await journal.last_opened(NOW) == {"heal": NOW + 4, "other": NOW + 2}
    assert await journal.last_opened(NOW + 3) == {"heal": NOW + 4}


async def test_a_reset_forgets_attempts_before_it(journal):
    journal.put_action(an_action(1, attempt=1, began_at=NOW + 1))
    journal.put_action(an_action(2, attempt=2, began_at=NOW + 9))
    journal.put_action(an_action(3, attempt=1, rule="other", incident="i2", began_at=NOW + 1))
    journal.put_reset("heal", WEB, NOW + 5)
    assert await listed(journal.recent_attempts(NOW)) == [
        ("other", WEB, NOW + 1), ("heal", WEB, NOW + 9)
    ]  # fmt: skip
    # what was done was done, and the host's budget knows
    assert len(await listed(journal.recent_steps(NOW))) == 3


async def test_incidents_for_people_are_found_by_name_id_and_target_newest_first(journal):
    journal.put_incident(an_incident(1))
    journal.put_incident(
        an_incident(2, object_name="db", object_id="d" * 64, target="compose:shop/db/1")
    )
    journal.put_incident(an_incident(3, state="closed", outcome="healed", closed_at=NOW + 10))
    assert numbers(await journal.incidents()) == [3, 2, 1]
    assert numbers(await journal.incidents(limit=1)) == [3]
    assert numbers(await journal.incidents(container="web")) == [3, 1]
    assert numbers(await journal.incidents(container="dddddd")) == [2]
    assert numbers(await journal.incidents(container="dddd")) == []
    assert numbers(await journal.incidents(container="compose:shop/db/1")) == [2]
    # the open ones were open then too
    assert numbers(await journal.incidents(since=NOW + 11)) == [2, 1]


async def test_names_are_data_never_sql_and_never_unwritable(journal):
    name = "x'); DROP TABLE incidents; --"
    journal.put_incident(an_incident(1, object_name=name))
    journal.put_action(
        an_action(1, detail="lone \udcff surrogate", params={"path": Path("/x"), "n": {1: 2}})
    )
    await journal.committed()
    assert [each.object_name for each in await journal.incidents(container=name)] == [name]
    assert [each.detail for each in await journal.open_actions()] == ["lone ? surrogate"]


async def test_only_the_owner_may_read_the_file(journal):
    journal.put_known("cursor", b"1")
    await journal.committed()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in journal.path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"), 0o600
    )


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


# -------------------------------------------------------------------------------- beside the daemon


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


def test_reading_without_a_journal_says_where_it_looked(tmp_path):
    with pytest.raises(JournalError, match="there is no journal at"):
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
        columns = (
            "rule, target, object_id, object_name, state, outcome, opened_at, closed_at, due_at"
        )
        body = """'{"state": "of a later version"}'"""
        other.execute(
            f"INSERT INTO incidents (id, {columns}, body) SELECT 'i2', {columns}, {body} FROM "
            "incidents"
        )
    other.close()
    assert [each.id for each in await journal.open_incidents()] == [an_incident(1).id]
