"""The daemon whole, against the fake engine: it heals, it survives its journal, it ends without a
false word."""

from __future__ import annotations

import asyncio
import getpass
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.app.http_answers import HttpAnswers
from dockmend.engine.client import DockerEngine
from dockmend.errors import JournalError, UsageError
from dockmend.journal.sqlite import SqliteJournal
from dockmend.mirror import conditions
from dockmend.settings import Settings
from dockmend.timekeeping import Clock
from tests.fakes.engine import FakeEngine, Fault
from tests.fakes.refusal import Refusal

RULES = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    limits: {backoff: 10ms to 20ms}
"""


def settings(folder: Path, rules: str = RULES) -> Settings:
    (folder / "rules.d").mkdir(exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "rules.d" / "rules.yaml").write_text(rules)
    paths = {
        "rules": folder / "rules.d",
        "state": folder / "state",
        "socket": folder / "state" / "s",
    }
    return Settings.model_validate({
        "heal": "off", "paths": paths, "http": {"listen": None},
        "policy": {"rules_owner": getpass.getuser()},
    })  # fmt: skip


async def until(holds: Callable[[], Any], what: str) -> None:
    """Waits for something to hold, ten seconds at most."""
    deadline = time.monotonic() + 10
    for _ in iter(lambda: time.monotonic() < deadline, False):
        with suppress(Refusal):  # while one is made anew, no container has its name for a moment
            if holds():
                return
        await asyncio.sleep(0.01)
    pytest.fail(f"it never came about that {what}")


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


@asynccontextmanager
async def running(
    fake: FakeEngine,
    told: Settings,
    journal: SqliteJournal | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Daemon]:
    engine = DockerEngine(fake.url, root=told.engine_root)
    journal = journal or SqliteJournal(told.paths.journal, time.time)
    one = Daemon(told, engine, journal, clock=clock or Clock(), dice=random.Random(1))
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(one.run(stop, 5.0))
            await until(one._listed.is_set, "the daemon has listed its engine")
            try:
                yield one
            finally:
                stop.set()
    finally:
        await engine.close()


async def incidents(one: Daemon) -> list[dict[str, Any]]:
    return await DaemonCommands(one).incidents()


async def test_it_heals_and_ends_without_a_word_about_a_lost_engine(
    fake: FakeEngine, tmp_path: Path
):
    web = fake.add_container("web", health=True)
    with structlog.testing.capture_logs() as lines:
        async with running(fake, settings(tmp_path)) as one:
            fake.set_health(web, "unhealthy")
            await until(
                lambda: fake.container(web)["State"]["Health"]["Status"] == "starting",
                "it was restarted",
            )
            fake.set_health(web, "healthy")
            await until(lambda: not one.incidents.open, "the incident is closed")
            (row,) = await incidents(one)
            assert row["outcome"] == "healed"
    assert [line for line in lines if "lost" in str(line)] == []
    assert one.degraded == {}


async def test_no_answer_is_without_bounds(fake: FakeEngine, tmp_path: Path):
    fake.add_container("web")
    fake.add_container("app")
    async with running(fake, settings(tmp_path)) as one:
        commands, source = DaemonCommands(one), HttpAnswers(one)
        for limit in (0, -1, 1001):
            with pytest.raises(UsageError, match="from 1 to 1000"):
                await commands.incidents(limit=limit)
        (first, row), (_, other) = source.containers(None)
        assert (row["name"], other["name"]) == ("app", "web")
        assert [row["name"] for _, row in source.containers(first)] == ["web"]
        rest, rows = await source.rules(None)
        names = [cursor for cursor, _ in rows]
        assert names == [row["name"] for row in (await commands.rules())["rules"]]
        assert set(rest) == {"problems", "loaded_at"}
        assert [cursor for cursor, _ in (await source.rules(names[0]))[1]] == names[1:]
        with pytest.raises(UsageError, match="cursor"):
            await source.rules("no such rule")
        with pytest.raises(UsageError, match="cursor"):
            await source.incidents(None, None, "nonsense", 10)


async def test_a_lost_engine_is_told_and_its_return_too(fake: FakeEngine, tmp_path: Path):
    async with running(fake, settings(tmp_path)) as one:
        await fake.stop()
        await until(lambda: not one.watch.up, "the loss is known")
        await until(lambda: "engine" in one.degraded, "it is degraded")
        await fake.start()
        await until(lambda: one.watch.up, "it is back")
        assert "engine" not in one.degraded


async def test_the_rules_counters_are_shown_before_they_first_match(
    fake: FakeEngine, tmp_path: Path
):
    async with running(fake, settings(tmp_path)) as one:
        assert (
            'dockmend_heals_total{outcome="healed",rule="heal"} 0.0'
            in one.metrics.render().decode()
        )
        told = one.settings.paths.rules / "rules.yaml"
        told.write_text(RULES.replace("name: heal", "name: other"))
        await one.reloading.now()
        assert (
            'dockmend_heals_total{outcome="healed",rule="other"} 0.0'
            in one.metrics.render().decode()
        )


class FullJournal(SqliteJournal):
    """A journal that takes nothing while `full`."""

    full = False

    def _put(self, *args: Any) -> None:
        if self.full:
            raise JournalError("20000 records wait for the disk")
        super()._put(*args)

    @property
    def healthy(self) -> bool:
        return not self.full and super().healthy


async def test_it_lives_through_a_journal_that_takes_nothing_and_acts_when_it_does(
    fake: FakeEngine, tmp_path: Path
):
    web = fake.add_container("web", health=True)
    told = settings(tmp_path)
    journal = FullJournal(told.paths.journal, time.time)
    async with running(fake, told, journal) as one:
        journal.full = True
        fake.set_health(web, "unhealthy")
        await until(lambda: "journal" in one.degraded, "it says that it is degraded")
        assert "nothing is done" in (HttpAnswers(one).ready()["journal"] or "")
        await until(
            lambda: any(each.waiting_for == "journal" for each in one.incidents.open.values()),
            "it waits",
        )
        assert not any("/restart" in request for request in fake.requests)
        journal.full = False
        one.reconciler.look_again("journal")
        await until(
            lambda: fake.container(web)["State"]["Health"]["Status"] == "starting",
            "it was restarted",
        )
        fake.set_health(web, "healthy")
        await until(lambda: not one.incidents.open, "the incident is closed")
        await until(lambda: "journal" not in one.degraded, "it is well")
        assert HttpAnswers(one).ready() == {"stream": None, "rules": None, "journal": None}
        (row,) = await incidents(one)
        assert (row["outcome"], row["attempts"]) == ("healed", 1)


async def test_what_was_interrupted_is_settled_at_the_next_start(fake: FakeEngine, tmp_path: Path):
    web = fake.add_container("web", health=True, StopTimeout=0)
    told = settings(tmp_path)
    fake.faults.append(Fault("POST .*/restart", "hang"))
    async with running(fake, told) as one:
        fake.set_health(web, "unhealthy")
        await until(
            lambda: any("/restart" in each for each in fake.requests), "the restart was asked for"
        )
        one.reconciler.lanes._idle.set()  # it is not waited for
    assert [each.state for each in one.incidents.open.values()] == ["acting"]
    async with running(fake, told) as two:
        await until(
            lambda: fake.container(web)["State"]["Health"]["Status"] == "starting",
            "it is restarted after all",
        )
        fake.set_health(web, "healthy")
        await until(lambda: not two.incidents.open, "the incident is closed")
        (row,) = await incidents(two)
        story = await DaemonCommands(two).incident(row["id"])
        assert row["outcome"] == "healed"
        assert [each["outcome"] for each in story["actions"]] == ["interrupted", "done"]


async def test_wrong_rules_stay_out_and_are_told(fake: FakeEngine, tmp_path: Path):
    async with running(fake, settings(tmp_path)) as one:
        (one.settings.paths.rules / "rules.yaml").write_text("version: 1\nrules: [{name: x}]\n")
        one.reloading.ask()
        await until(lambda: one.rules.problems, "the problems are known")
        assert [rule.name for rule in one.rules.current.rules] == ["heal"]
        assert "dockmend_rules_reload_success 0.0" in one.metrics.render().decode()


async def test_what_the_first_list_showed_is_on_disk_before_anybody_is_told_that_it_watches(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else a dockmend that dies just then takes what ends meanwhile for history (campaign)."""
    monkeypatch.setattr("dockmend.journal.writer.LINGER", 1.0)
    fake.add_container("web")
    told = settings(tmp_path)
    async with running(fake, told):
        with closing(sqlite3.connect(f"file:{told.paths.journal}?mode=ro", uri=True)) as journal:
            (known,) = journal.execute(
                "SELECT count(*) FROM known WHERE key LIKE 'container%'"
            ).fetchone()
    assert known == 1


async def test_what_is_removed_is_news_if_a_rule_is_about_it_and_is_forgotten_if_nobody_misses_it(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conditions, "SUCCESSOR_WAIT", 0.1)
    for name in ("web", "other", "done"):
        fake.add_container(name)
    fake.add_container("builder", start=False)
    rules = RULES.replace("match: all", "match: {name: [web, done]}")

    def missing() -> list[tuple[str, str]]:
        told = [(str(line["log_level"]), str(line["event"])) for line in lines]
        return sorted((level, text.split()[0]) for level, text in told if " is missing:" in text)

    with structlog.testing.capture_logs() as lines:
        async with running(fake, settings(tmp_path, rules)) as one:
            for name, code in (("web", 1), ("other", 1), ("done", 0)):
                fake.crash(name, code)
            await until(
                lambda: not any(each.running for each in one.mirror.containers()), "all have ended"
            )
            one.history.of("heal", "container:done").breaker_at = one.clock()
            for name in ("builder", "done", "other", "web"):
                fake.remove_container(name, force=True, volumes=False)
            await until(lambda: len(missing()) >= 2, "the log names both")
            assert missing() == [("debug", "other"), ("info", "web")]
            assert one.history.of("heal", "container:done").breaker_at is None
