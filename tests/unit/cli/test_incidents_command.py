"""`dockmend incidents` from a journal that a daemon left: the list, one story, and what is cut or
missing."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.cli import incidents_command
from dockmend.cli.incidents_command import _row, story
from dockmend.control.control_api import MOST_INCIDENTS
from dockmend.control.socket_client import Refused, SocketClient
from dockmend.errors import UsageError
from dockmend.journal.records import ActionRecord, Incident
from dockmend.journal.sqlite import SqliteJournal

NOW = time.time()
HEALED = Incident(
    id="i0000000000000aaa", rule="heal", trigger="container.unhealthy", target="container:web",
    kind="container", object_id="c" * 64, object_name="web", trouble="t", opened_at=NOW - 100.0,
    state="closed", outcome="healed", reason="healthy again", closed_at=NOW - 97.5, attempts=1,
)  # fmt: skip
RESTART = ActionRecord(
    id="a0000000000000aaa", incident=HEALED.id, rule="heal", target="container:web", attempt=1,
    action="restart", object_id="c" * 64, object_name="web", params={}, began_at=NOW - 99.9,
    ended_at=NOW - 99.5, outcome="done", detail="restarted in 0.4 s",
)  # fmt: skip
OPEN = replace(
    HEALED, id="i0000000000000bbb", object_name="db", target="container:db", opened_at=NOW - 10,
    state="waiting", outcome=None, closed_at=None, reason="", waiting_for="backoff", due_at=NOW + 5,
)  # fmt: skip
HOSTILE = replace(
    HEALED,
    id="i0000000000000ccc",
    object_name="\x1b[31mweb",
    opened_at=NOW - 86400 * 3,
    closed_at=NOW - 86400 * 3,
)


@pytest.fixture
def state(tmp_path):
    async def write() -> None:
        journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
        await journal.open()
        for incident in (HEALED, OPEN, HOSTILE):
            journal.put_incident(incident)
        journal.put_action(RESTART)
        await journal.close()

    asyncio.run(write())
    return tmp_path


def test_the_list_is_newest_first_and_harmless(dockmend, state):
    ran = dockmend("incidents", "--state", state)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", OPEN.id, HEALED.id, HOSTILE.id]
    assert "healed" in lines[2]
    assert "healthy again" in lines[2]
    assert "\x1b" not in ran.out


class Socket(SocketClient):
    """A daemon that bounds its answers, as seen by who may not read the journal."""

    def ask(self, command, limit=100, **more):
        if command == "incident":
            raise Refused("there is no such incident", 2)
        if not 1 <= limit <= MOST_INCIDENTS:
            raise Refused(f"limit is a number from 1 to {MOST_INCIDENTS}", 2)
        return [msgspec.to_builtins(HEALED)] * limit


def test_who_may_only_use_the_socket_finds_incidents_by_name_and_is_told_of_the_bound(capsys):
    daemon = incidents_command._Daemon(Socket(Path()))
    with pytest.raises(UsageError):  # the command takes it for a container's name then
        incidents_command._found(daemon, "web")
    capsys.readouterr()
    assert len(daemon.incidents(limit=5000)) == MOST_INCIDENTS
    assert "shows 1000 incidents at most" in capsys.readouterr().err
    assert len(daemon.incidents(limit=20)) == 20
    assert capsys.readouterr().err == ""


def test_json_has_every_field_of_the_record(dockmend, state):
    rows = json.loads(dockmend("incidents", "--json", "--state", state).out)
    assert [row["id"] for row in rows] == [OPEN.id, HEALED.id, HOSTILE.id]
    assert set(rows[0]) == set(Incident.__struct_fields__)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--container", "web"), [HEALED.id]),
        (("--container", "container:db"), [OPEN.id]),
        (("--since", "1d"), [OPEN.id, HEALED.id]),
        (("--limit", "1"), [OPEN.id]),
        (("--container", "nobody"), []),
    ],
)
def test_the_list_can_be_narrowed(arguments, expected, dockmend, state):
    rows = json.loads(dockmend("incidents", "--json", *arguments, "--state", state).out)
    assert [row["id"] for row in rows] == expected


def test_a_story_is_told_in_order_with_durations(dockmend, state):
    ran = dockmend("incidents", HEALED.id, "--state", state)
    steps = [line.split()[1] for line in ran.out.splitlines()[3:]]
    assert steps == ["seen", "decided", "did", "verified", "closed"]
    assert "restart in 0.40 s: restarted in 0.4 s" in ran.out
    assert "healed, 2.5 s after it was seen, attempts: 1" in ran.out


def test_a_story_of_what_goes_on(dockmend, state):
    ran = dockmend("incidents", OPEN.id, "--state", state)
    assert "waiting for backoff, looked at again" in ran.out


def test_what_is_under_way_and_what_failed():
    failed = replace(
        RESTART, outcome="failed", detail="no such image", ended_at=RESTART.began_at + 1
    )
    running = replace(
        RESTART,
        id="a0000000000000bbb",
        attempt=2,
        outcome=None,
        ended_at=None,
        began_at=NOW - 3,
        detail="",
    )
    lines = list(
        story(replace(OPEN, state="acting", waiting_for="", due_at=None), [failed, running], NOW)
    )
    assert any("FAILED    restart" in line and "no such image" in line for line in lines)
    assert any("did       restart" in line and "under way for 3.0 s" in line for line in lines)


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        ("recovered", "recovered on its own", "recovered on its own, as soon as it was seen"),
        (
            "recovered",
            "recovered on its own: it is gone",
            "recovered on its own, as soon as it was seen: it is gone",
        ),
        (
            "recovered",
            "recovered with the other",
            "recovered with the other, as soon as it was seen",
        ),
        (
            "dry_run",
            "dry run: would have done restart",
            "dry run, as soon as it was seen: would have done restart",
        ),
        ("suppressed", "it is paused", "left alone, as soon as it was seen: it is paused"),
    ],
)
def test_what_outcome_and_reason_both_say_is_said_once(outcome, reason, said):
    changed = replace(
        OPEN,
        state="closed",
        closed_at=OPEN.opened_at,
        outcome=outcome,
        reason=reason,
        attempts=0,
        waiting_for="",
    )
    assert list(story(changed, [], NOW))[-1].split("  closed    ")[1] == said
    assert f"{_row(changed, NOW)[5]}: {_row(changed, NOW)[7]}".removesuffix(": ") == said.replace(
        ", as soon as it was seen", ""
    )


def test_no_time_at_all_is_not_told():
    began = replace(
        RESTART,
        began_at=OPEN.opened_at,
        ended_at=OPEN.opened_at,
        detail="",
        object_name=OPEN.object_name,
    )
    lines = list(story(OPEN, [began], NOW))
    assert [line.partition("  ")[2] for line in lines[4:6]] == [
        "decided   attempt 1",
        "did       restart",
    ]


def test_an_id_may_be_cut_where_it_is_unique(dockmend, state):
    assert (
        "Incident i0000000000000aaa"
        in dockmend("incidents", "i0000000000000a", "--state", state).out
    )
    ran = dockmend("incidents", "i000", "--state", state)
    assert (ran.code, ran.out) == (2, "")
    assert "3 incidents begin with i000" in ran.err


def test_an_incident_that_does_not_exist(dockmend, state):
    ran = dockmend("incidents", "nope", "--state", state)
    assert ran.code == 2
    assert "there is no incident nope" in ran.err


def test_without_a_journal_and_a_daemon_it_is_said_what_was_looked_at_and_which_flag_names_another(
    dockmend, tmp_path
):
    for arguments in ((), ("web",), ("--container", "web"), ("--json",)):
        ran = dockmend("incidents", *arguments, "--state", tmp_path)
        assert ran.code == 3
        assert ran.err == (
            f"dockmend: there is no journal at {tmp_path}/journal.sqlite3, and no dockmend answers "
            f"at {tmp_path}/dockmend.sock: name its state folder with --state DIR: that of `make "
            "run` is `state` in the folder it was started in\n"
        )


def test_a_journal_that_is_damaged_is_not_said_to_be_missing(dockmend, tmp_path):
    (tmp_path / "journal.sqlite3").write_bytes(b"no journal" * 100)
    ran = dockmend("incidents", "--state", tmp_path)
    assert ran.code == 1
    assert f"the journal {tmp_path}/journal.sqlite3 cannot be read" in ran.err


def test_one_story_as_json(dockmend, state):
    told = json.loads(dockmend("incidents", HEALED.id, "--json", "--state", state).out)
    assert told["incident"]["id"] == HEALED.id
    assert [each["action"] for each in told["actions"]] == ["restart"]


@pytest.mark.parametrize(
    "recorded", ["asked", "container.unhealthy"], ids=["now", "by an earlier version"]
)
def test_what_a_person_asked_for_is_shown_as_that_and_not_as_a_trouble(
    dockmend, tmp_path, recorded: str
):
    asked = replace(
        HEALED,
        trigger=recorded,
        actor="uid 0 (root)",
        note="asked for by uid 0 (root)",
        even_if_stopped=True,
    )
    later = replace(HEALED, id="i0000000000000ddd", opened_at=NOW - 50.0, closed_at=NOW - 49.0)

    async def write() -> None:
        journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
        await journal.open()
        for incident in (asked, later):
            journal.put_incident(incident)
        await journal.close()

    asyncio.run(write())
    listed = dockmend("incidents", "--state", tmp_path).out.splitlines()
    assert ["container.unhealthy" in line for line in listed[1:]] == [True, False]
    assert "asked for by uid 0 (root)" in listed[2]
    told = "\n".join(story(asked, [RESTART], NOW))
    assert "asked for by uid 0 (root), also if somebody stopped or paused it" in told
    assert "container.unhealthy" not in told
    earlier = dockmend("incidents", later.id, "--state", tmp_path).out.splitlines()[-1]
    assert f"{asked.id}  asked for by uid 0 (root) → healed" in earlier
