"""What runs beside the stream in the daemon: each part is not only written, it is begun and does
its work there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from dockmend.app import daemon, persistence
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.pipeline import self_check
from dockmend.pipeline.step_runner import Intent
from tests.fakes.engine import FakeEngine
from tests.unit.journal.making import an_action, an_incident
from tests.unit.machine import Machine
from tests.unit.test_daemon import RULES, running, settings, until


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


def restarts(fake: FakeEngine) -> int:
    return sum("/restart" in each for each in fake.requests)


async def test_the_self_check_runs_now_and_then(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(self_check, "EVERY", 0.05)
    web = fake.add_container("web", health=True)
    fake.set_health(web, "healthy")
    async with running(fake, settings(tmp_path)) as one:
        one.self_check.race = 0.05
        # unheard of
        fake.container(web)["State"]["Health"] |= {"Status": "unhealthy", "FailingStreak": 1}
        await until(lambda: restarts(fake) == 1, "it was found and restarted")
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
        page = one.metrics.render().decode()
    assert 'dockmend_event_gaps_total{cause="self_check"} 1.0' in page


async def test_what_waits_for_the_budget_is_let_in_as_places_come_free(
    fake: FakeEngine, tmp_path: Path
):
    machine, told = (
        Machine(),
        settings(tmp_path, RULES.replace("backoff: 10ms to 20ms", "backoff: none")),
    )
    told = told.model_copy(update={"limits": told.limits.model_copy(update={"rate": (1, 60.0)})})
    names = ("web", "api")
    for name in names:
        fake.add_container(name, health=True)
        fake.set_health(name, "healthy")
    async with running(fake, told, clock=machine.clock()) as one:
        for name in names:
            fake.set_health(name, "unhealthy")
        waiting = one.incidents.open.values()
        await until(
            lambda: [each.waiting_for for each in waiting].count("budget") == 1, "one of them waits"
        )
        machine.passes(61)
        one.reconciler.action_budget.timers._changed.set()
        await until(lambda: restarts(fake) == 2, "both were restarted")


async def test_old_records_are_removed_now_and_then(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(persistence, "HOUSEKEEPING_EVERY", 0.05)
    monkeypatch.setattr(persistence, "SIZED_EVERY", 0.05)
    long_ago = {
        "opened_at": 1000.0,
        "updated_at": 1001.0,
        "closed_at": 1001.0,
        "state": "closed",
        "outcome": "healed",
    }
    async with running(fake, settings(tmp_path)) as one:
        one.journal.put_incident(an_incident(1, **long_ago))
        await one.journal.committed()
        async with asyncio.timeout(30):
            while await one.journal.story(an_incident(1).id) is not None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)


async def test_a_clock_that_is_set_is_noticed(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(daemon, "CLOCK_EVERY", 0.05)
    machine = Machine()
    with structlog.testing.capture_logs() as lines:
        async with running(fake, settings(tmp_path), clock=machine.clock()):
            machine.set(3600)
            await until(
                lambda: any("the clock was set" in line["event"] for line in lines), "it is told"
            )


async def test_who_waits_for_a_container_looks_again_once_it_is_known_why_it_ended(
    fake: FakeEngine, tmp_path: Path
):
    fake.add_container("web")
    async with running(fake, settings(tmp_path)) as one, asyncio.TaskGroup() as others:
        waiting = others.create_task(one.wakeups.wait("container:web", 3600.0))
        await until(lambda: "container:web" in one.wakeups._waiting, "somebody waits for it")
        (entry,) = one.mirror.entries.values()
        one.mirror.on_settled(entry.container)
        await until(waiting.done, "that one looks again")


async def test_a_helper_that_an_incident_left_goes_once_that_is_closed(
    fake: FakeEngine, tmp_path: Path
):
    web = fake.add_container("web")
    incident = an_incident(id="i0000000000left")
    async with running(fake, settings(tmp_path)) as one:
        row = await one.own.create(
            "tool", {"Image": fake.container(web)["Image"]}, incident.id, "helper"
        )
        assert row.object_id in fake.containers
        one.reconciler.attempt_ends.closed(incident)
        await until(lambda: row.object_id not in fake.containers, "it was removed")


async def test_what_is_left_free_on_the_journals_disk_is_the_settings(
    fake: FakeEngine, tmp_path: Path
):
    """By a rule, and by a command that asks the daemon for its settings."""
    own = settings(tmp_path)
    own = own.model_copy(
        update={"snapshots": own.snapshots.model_copy(update={"reserve": 1 << 60})}
    )
    async with running(fake, own) as one:
        assert (await DaemonCommands(one).in_force())["reserve"] == 1 << 60
        context = one.reconciler.steps._context(Intent(an_action()), an_incident(), None, None)
        assert context.reserve == 1 << 60
