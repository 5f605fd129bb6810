"""The daemon whole, with a journal that is damaged, too large, or that of another host: none of
them does harm."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app.daemon_commands import DaemonCommands
from dockmend.app.persistence import DAY, MOST_BYTES, REMEMBERED
from dockmend.decide import History, looks_back
from dockmend.journal.sqlite import read_only
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import RuleLimits
from tests.fakes.engine import FakeEngine, Fault
from tests.unit.journal.making import an_incident
from tests.unit.machine import Machine
from tests.unit.test_daemon import RULES, running, settings, until


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


def changing(fake: FakeEngine) -> list[str]:
    return [each for each in fake.requests if not each.startswith("GET") and "/exec" not in each]


async def test_a_damaged_journal_is_set_aside_and_said_for_a_day(fake: FakeEngine, tmp_path: Path):
    web, machine, told = fake.add_container("web", health=True), Machine(), settings(tmp_path)
    async with running(fake, told, clock=machine.clock()):
        pass
    # else it heals the file
    told.paths.journal.with_name(told.paths.journal.name + "-wal").unlink(missing_ok=True)
    told.paths.journal.write_bytes(random.Random(1).randbytes(200_000))
    async with running(fake, told, clock=machine.clock()) as one:
        one.persistence.persist()
        status = await DaemonCommands(one).status()
        assert "set aside as journal.sqlite3.corrupt-" in status["degraded"]["record"]
        assert "dockmend_journal_set_aside_total 1.0" in one.metrics.render().decode()
        fake.set_health(web, "unhealthy")  # it heals all the same
        await until(
            lambda: fake.container(web)["State"]["Health"]["Status"] == "starting",
            "it was restarted",
        )
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
        machine.passes(REMEMBERED + 1)
        one.persistence.persist()
        assert "record" not in one.degraded


async def test_the_journal_of_another_host_does_nothing_to_this_one(
    fake: FakeEngine, tmp_path: Path
):
    """Containers of the same names, other ids: what was half-done and what waited there is over
    here."""
    rules = RULES + "  - {name: slow, when: container.crashed, match: all, for: 1h, then: start}\n"
    web = fake.add_container("web", health=True, StopTimeout=0)
    fake.add_container("db", restart="no")
    there = settings(tmp_path, rules)
    fake.faults.append(Fault("POST .*/restart", "hang"))
    async with running(fake, there) as one:
        fake.set_health(web, "unhealthy")
        fake.crash("db")
        await until(
            lambda: any("/restart" in each for each in fake.requests), "the restart was asked for"
        )
        await until(
            lambda: any(each.waiting_for == "for" for each in one.incidents.open.values()),
            "db waits",
        )
        one.reconciler.lanes._idle.set()  # it is not waited for
    here_folder = tmp_path / "here"
    here_folder.mkdir()
    here = settings(here_folder, rules)
    shutil.copy(there.paths.journal, here.paths.journal)
    other = await FakeEngine(here_folder).start()
    try:
        mine = other.add_container("web", health=True)
        other.add_container("db", restart="no")
        async with running(other, here) as two:
            await until(
                lambda: not any(each.state != "waiting" for each in two.incidents.open.values()),
                "it is settled",
            )
            assert changing(other) == []
            for incident in list(two.incidents.open.values()):
                two.reconciler.submit(incident.id)
            await until(lambda: not two.incidents.open, "all is closed")
            assert changing(other) == []
            other.set_health(mine, "unhealthy")
            await until(
                lambda: other.container(mine)["State"]["Health"]["Status"] == "starting",
                "it was restarted",
            )
            other.set_health(mine, "healthy")
            await until(lambda: not two.incidents.open, "the incident is closed")
    finally:
        await other.stop()


async def test_incidents_are_readable_while_it_runs_and_when_it_does_not(
    fake: FakeEngine, tmp_path: Path
):
    web, told = fake.add_container("web", health=True), settings(tmp_path)
    async with running(fake, told) as one:
        fake.set_health(web, "unhealthy")
        await until(
            lambda: fake.container(web)["State"]["Health"]["Status"] == "starting",
            "it was restarted",
        )
        await one.journal.committed()
        with read_only(told.paths.journal) as reader:
            assert [each.object_name for each in reader.incidents()] == ["web"]
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
    with read_only(told.paths.journal) as reader:
        assert [each.outcome for each in reader.incidents()] == ["healed"]


async def test_a_journal_that_grows_too_large_forgets_earlier_but_not_what_a_limit_asks(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rules = RULES.replace("{backoff: 10ms to 20ms}", "{cooldown: 6d, backoff: none}")
    web, told = fake.add_container("web", health=True), settings(tmp_path, rules)
    async with running(fake, told) as one:
        now = one.clock()
        for number, age in enumerate((1, 3, 5, 10, 20, 40)):
            record = an_incident(
                number, state="closed", opened_at=now - age * DAY, closed_at=now - age * DAY
            )
            one.journal.put_incident(record)
        assert one.rules.looks_back == 6 * DAY
        await one.persistence.tidy(one.history, one.rules.looks_back)
        assert len(await one.journal.incidents()) == 5
        fake.set_health(web, "unhealthy")
        await until(lambda: len(changing(fake)) == 1, "it was restarted")
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
        assert MOST_BYTES > 1_000_000
        monkeypatch.setattr("dockmend.app.persistence.MOST_BYTES", 1)
        await one.persistence.tidy(one.history, one.rules.looks_back)
        assert await one.journal.incidents() == []
    async with running(fake, told) as two:
        fake.set_health(web, "unhealthy")
        await until(
            lambda: [each.waiting_for for each in two.incidents.open.values()] == ["cooldown"],
            "it waits",
        )
    assert len(changing(fake)) == 1


async def test_the_hosts_budget_is_remembered_for_as_long_as_it_counts(
    fake: FakeEngine, tmp_path: Path
):
    web, machine, told = fake.add_container("web", health=True), Machine(), settings(tmp_path)
    told = told.model_copy(
        update={"limits": told.limits.model_copy(update={"rate": (1, 20 * DAY)})}
    )
    async with running(fake, told, clock=machine.clock()) as one:
        assert one.rules.looks_back == 20 * DAY
        fake.set_health(web, "unhealthy")
        await until(lambda: len(changing(fake)) == 1, "it was restarted")
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
    machine.passes(9 * DAY)
    async with running(fake, told, clock=machine.clock()) as two:
        fake.set_health(web, "unhealthy")
        await until(
            lambda: [each.waiting_for for each in two.incidents.open.values()] == ["budget"],
            "it waits",
        )
    assert len(changing(fake)) == 1


def test_how_far_back_limits_look():
    assert looks_back(RuleLimits()) == 900.0
    assert looks_back(RuleLimits(cooldown=DAY, attempts=None, rate=(1, 2 * DAY))) == 2 * DAY
    longest = load_texts(
        {"r.yaml": RULES.replace("{backoff: 10ms to 20ms}", "{attempts: 3 per 9d}")}, host="h"
    )
    assert looks_back(longest.rules[0].limits) == 9 * DAY
    history = History()
    history.attempted("heal", "container:web", 0.0)
    history.trim(8 * DAY, 9 * DAY)
    assert history.targets
    history.trim(8 * DAY)
    assert not history.targets
