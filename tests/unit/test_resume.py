"""What a new dockmend makes of the journal of the one before it."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import structlog

from dockmend.app.resume import (
    CONTAINER,
    IDENTITY,
    NETWORK,
    Known,
    Times,
    history_of,
    known_state,
    take_up,
    tell_own_doing,
)
from dockmend.decide import Host, budget
from dockmend.journal.records import ActionRecord, Incident
from dockmend.journal.sqlite import SqliteJournal
from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import ContainerRun
from dockmend.mirror.own_doing import ACTED_KEPT, SPANS_KEPT
from dockmend.model import Actor, Container, Event
from dockmend.observer import Observers
from dockmend.pipeline import expected_ends
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import KeyedWorkers
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.timekeeping import Clock

REMOVAL = {"remove": {"was_running": False, "started_at": 1000.0}}


def step(number: int, action: str, at: float, attempt: int = 1, **more: Any) -> ActionRecord:
    return ActionRecord(
        id=f"a{number}", incident=f"i{number}", rule="r", target="container:web", attempt=attempt,
        action=action, object_id="c" * 64, object_name="web", params={}, began_at=at,
        ended_at=at + 1, outcome="done", **more,
    )  # fmt: skip


async def test_the_hosts_budget_is_spent_by_each_step_that_changed_something(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        for number, action in enumerate(("restart", "publish", "wait", "of_another_version")):
            journal.put_action(step(number, action, 1000.0 + number))
        # of the attempt before it
        journal.put_action(msgspec.structs.replace(step(9, "stop", 1005.0), incident="i3"))
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


async def told(tmp_path: Path, *records: ActionRecord) -> Mirror:
    """What a new dockmend's mirror is told of steps of an open incident, where the container ran
    since 1000 s."""
    mirror = Mirror()
    web = Container(id="c" * 64, name="web", state="running", started_at=1000.0, created_at=900.0)
    mirror.relist([web], [], [], 1001.0, "started")
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        journal.put_incident(Incident(
            id="i1", rule="r", trigger="container.unhealthy", target="container:web",
            kind="container", object_id=web.id, object_name="web", trouble="t", opened_at=1000.0,
            attempts=1, state="acting",
        ))  # fmt: skip
        for record in records:
            journal.put_action(record)
        await journal.committed()
        await tell_own_doing(journal, mirror, Known())
    finally:
        await journal.close()
    return mirror


@pytest.mark.parametrize(("part", "own"), [("then", True), ("after", False)])
async def test_a_stop_that_was_done_again_for_a_person_is_not_dockmends_own(
    tmp_path: Path, part: str, own: bool
):
    mirror = await told(tmp_path, msgspec.structs.replace(step(1, "stop", 1010.0), part=part))
    assert mirror.ended_by_dockmend("c" * 64, mirror.entries["c" * 64].kept.run, 1010.5) is own


@pytest.mark.parametrize(
    ("began_at", "outcome", "asked_at"),
    [(1010.0, None, 1010.0), (1010.0, "done", 0.0), (995.0, None, 0.0)],
    ids=["without an outcome", "done", "known to have begun"],
)  # fmt: skip
async def test_what_the_dockmend_before_asked_for_is_known_until_it_begins(
    tmp_path: Path, began_at: float, outcome: Any, asked_at: float
):
    mirror = await told(
        tmp_path, msgspec.structs.replace(step(1, "start", began_at), outcome=outcome)
    )
    assert (
        mirror.asked_at(mirror.entries["c" * 64], ContainerRun(started_at=1012.0), 1013.0)
        == asked_at
    )


@pytest.mark.parametrize(
    ("outcome", "taken"), [(None, True), ("done", True), ("failed", False), ("interrupted", False)]
)  # fmt: skip
async def test_a_removal_that_dockmend_was_at_is_nobodys_trouble_and_one_that_failed_is_over(
    tmp_path: Path, outcome: Any, taken: bool
):
    """Else `container.missing` would never be told of a container that somebody removes later."""
    mirror = await told(
        tmp_path, msgspec.structs.replace(step(1, "remove", 1010.0, undo=REMOVAL), outcome=outcome)
    )
    mirror.apply(Event("container", "destroy", Actor("c" * 64), int(1020e9)), 1020.0)
    told_of = [trigger for change in mirror.tick(1040.0) for trigger in change.triggers]
    assert ("container.missing" not in told_of) is taken


@pytest.mark.parametrize("moved", [0.0, 3600.0, -3600.0])
async def test_what_dockmend_ended_is_its_own_by_the_clock_before_it_was_set_and_after(
    tmp_path: Path, moved: float
):
    mirror = Mirror()
    record = step(
        1, "restart", 1010.0, undo={"restart": {"started_at": 1000.0, "stop_timeout": 10.0}}
    )
    expected_ends.tell(mirror, record, moved)
    for at in (1010.5, 1010.5 + moved):
        assert mirror.ended_by_dockmend("c" * 64, ContainerRun(started_at=1000.0), at)


@pytest.mark.parametrize("back", [True, False])
async def test_a_successor_is_ended_by_dockmend_only_to_put_the_old_one_back(
    tmp_path: Path, back: bool
):
    """While it is to prove well, whoever stops it is a person."""
    undo = {
        "step": "verify",
        "new": "d" * 64,
        "at": 1010.0,
        "started_at": 1000.0,
        "stop_timeout": 10.0,
        "back": back,
    }
    record = msgspec.structs.replace(
        step(1, "recreate", 1005.0, undo={"recreate": undo}), ended_at=None, outcome=None
    )
    mirror = await told(tmp_path, record)
    assert mirror.ended_by_dockmend("d" * 64, ContainerRun(started_at=1009.0), 1012.0) is back
    assert mirror.ended_by_dockmend("c" * 64, ContainerRun(started_at=1000.0), 1007.0)


def test_what_dockmend_ended_is_remembered_of_so_many_containers():
    mirror = Mirror()
    for number in range(2 * ACTED_KEPT):
        mirror.acted(f"{number:064x}", 1000.0, 1001.0)
    for _ in range(100):
        mirror.acted("c" * 64, 1000.0, 1001.0)
    assert (len(mirror._acted), len(mirror._acted["c" * 64])) == (ACTED_KEPT, SPANS_KEPT)


async def test_last_known_state_of_another_version_is_said_to_be_left_out(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    mirror = Mirror()
    try:
        for kind in (CONTAINER, NETWORK, IDENTITY):
            journal.put_known(f"{kind}x", b"of another version")
        await journal.committed()
        with structlog.testing.capture_logs() as said:
            await known_state(journal, mirror, Clock())
    finally:
        await journal.close()
    assert sorted(each["key"] for each in said) == [
        f"{kind}x" for kind in sorted((CONTAINER, NETWORK, IDENTITY))
    ]
    assert not mirror.entries


@pytest.mark.parametrize("outcome", ["done", None], ids=["done", "cut short"])
async def test_who_took_anothers_place_is_known_before_anything_is_heard(
    tmp_path: Path, outcome: Any
):
    """The events that are replayed next may tell of the removal of both."""
    undo = {"heir": {"old": "c" * 64, "new": "d" * 64}}
    record = msgspec.structs.replace(
        step(1, "recreate", 1010.0, undo=undo), outcome=outcome, part="member"
    )
    mirror = await told(tmp_path, record)
    assert mirror.identities.heir_of("c" * 64) == "d" * 64
    new = Container(id="d" * 64, name="web", state="running", started_at=1020.0, created_at=1010.0)
    mirror.observe(new, 1021.0)
    assert "d" * 64 in mirror.changed


async def test_a_start_knows_what_was_answered_and_of_what_is_there_how_it_ended(tmp_path: Path):
    """Of containers that are gone no trouble can stand: how the last of theirs ended is not
    asked."""
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    now = time.time()
    try:
        for number, target in enumerate(("container:web", "container:job-1", "network:lan")):
            journal.put_incident(Incident(
                id=f"i{number}", rule="r", trigger="container.crashed", target=target,
                kind="container", object_id="c", object_name="web", trouble=f"{target}/end",
                opened_at=now - 60, state="closed", outcome="failed", closed_at=now - 50,
            ))  # fmt: skip
        mirror = Mirror()
        mirror.relist(
            [Container(id="c" * 64, name="web", state="running", started_at=900.0)], [], [], 1000.0
        )
        incidents = Incidents(journal, Observers(), time.time, random.Random(1))
        reconciler: Any = SimpleNamespace(rules=RulesInForce(mirror), mirror=mirror)
        await take_up(journal, incidents, reconciler, Times(0.0, now))
    finally:
        await journal.close()
    assert all(
        incidents.answered("r", f"{each}/end")
        for each in ("container:web", "container:job-1", "network:lan")
    )
    assert (
        incidents.last_of("r", "container:web") == incidents.last_of("r", "network:lan") == "failed"
    )
    assert incidents.last_of("r", "container:job-1") is None


async def test_a_step_of_a_closed_incident_that_takes_its_time_holds_up_nothing_but_its_target(
    tmp_path: Path,
):
    """The engine may be at a stop for as long as the container's stop timeout says, which has no
    bound."""
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    over, met, said = asyncio.Event(), asyncio.Event(), []

    async def settle(record: ActionRecord, incident: Incident, rule: Any) -> None:
        said.append(f"{record.part} of {incident.id}")
        await over.wait()

    async def settled(incident_id: str) -> None:
        said.append(f"{incident_id} is settled, in hand: {incidents.in_hand(incident_id)}")

    try:
        for number, state in ((1, "closed"), (2, "waiting")):
            outcome: Any = "interrupted" if state == "closed" else None
            journal.put_incident(
                Incident(
                    id=f"i{number}",
                    rule="r",
                    trigger="container.crashed",
                    target="container:web",
                    kind="container",
                    object_id="c" * 64,
                    object_name="web",
                    trouble="t",
                    opened_at=1000.0,
                    state=state,  # type: ignore[arg-type] # one of its states
                    outcome=outcome,
                    closed_at=1010.0 if outcome else None,
                    waiting_for="backoff",
                )
            )
        for number, part in ((3, "then"), (4, "member")):
            left = msgspec.structs.replace(
                step(number, "restart", 1005.0, part=part), outcome=None, ended_at=None
            )
            journal.put_action(msgspec.structs.replace(left, incident="i1"))
        incidents = Incidents(journal, Observers(), time.time, random.Random(1))
        mirror = Mirror()
        async with KeyedWorkers(lambda lane, error: said.append(repr(error))) as lanes:
            reconciler: Any = SimpleNamespace(
                rules=RulesInForce(mirror), mirror=mirror, lanes=lanes, incidents=incidents,
                stopping=False, steps=SimpleNamespace(settle=settle, owed={}),
                take_up=lambda incident,
                *rest: lanes.submit(incident.target, partial(treats, incident)),
            )  # fmt: skip

            async def treats(incident: Incident) -> None:
                said.append(f"{incident.id} is treated")

            async def another() -> None:
                said.append("another target is treated")
                met.set()

            async with asyncio.timeout(5):
                await take_up(journal, incidents, reconciler, Times(0.0, 1100.0), settled=settled)
                assert incidents.in_hand("i1")  # what was made for it is not removed meanwhile
                lanes.submit("container:db", another)
                await met.wait()
                assert said == ["member of i1", "another target is treated"]
                over.set()
                assert await lanes.drained(5.0)
    finally:
        await journal.close()
    assert said[2:] == ["then of i1", "i1 is settled, in hand: False", "i2 is treated"]


async def test_the_steps_of_a_closed_incident_are_left_to_the_next_start_when_dockmend_ends(
    tmp_path: Path,
):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    try:
        journal.put_incident(Incident(
            id="i1", rule="r", trigger="t", target="container:web", kind="container", object_id="c",
            object_name="web", trouble="t", opened_at=1000.0, state="closed", outcome="interrupted",
            closed_at=1010.0,
        ))  # fmt: skip
        journal.put_action(
            msgspec.structs.replace(step(1, "restart", 1005.0), outcome=None, ended_at=None)
        )
        incidents = Incidents(journal, Observers(), time.time, random.Random(1))
        asked: list[Any] = []
        mirror = Mirror()
        async with KeyedWorkers(lambda lane, error: asked.append(error)) as lanes:
            reconciler: Any = SimpleNamespace(
                rules=RulesInForce(mirror), mirror=mirror, lanes=lanes, incidents=incidents,
                stopping=True, steps=SimpleNamespace(settle=asked.append, owed={}),
            )  # fmt: skip
            await take_up(journal, incidents, reconciler, Times(0.0, 1100.0))
            assert await lanes.drained(5.0)
    finally:
        await journal.close()
    assert asked == []
