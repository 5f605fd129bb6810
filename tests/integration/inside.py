"""The whole daemon in the test's own process, on a fake engine whose containers a test can break at
will."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dockmend.app.daemon import Daemon
from dockmend.engine.client import DockerEngine
from dockmend.journal.records import ActionRecord, Incident
from dockmend.journal.sqlite import SqliteJournal
from dockmend.settings import Settings
from tests.fakes.engine import FakeEngine
from tests.integration.stories import stories
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually_async
from tests.unit.machine import Machine


class Ward(FakeEngine):
    """A fake engine whose patients have health checks: a restart cures those that are not
    `incurable`.

    `restarts`: how often each was restarted. An incurable one gets well with the restart that is
    counted down to 0.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.restarts: dict[str, int] = {}
        self.incurable: dict[str, int] = {}

    def patient(self, *names: str, **options: Any) -> None:
        for name in names:
            self.add_container(name, health=True, **options)

    def sicken(self, *names: str) -> None:
        for name in names:
            self.set_health(name, "unhealthy")

    def restart_container(self, name: str, number: int = signal.SIGTERM) -> None:
        super().restart_container(name, number)
        plain = str(self.container(name)["Name"][1:])
        self.restarts[plain] = self.restarts.get(plain, 0) + 1
        self.incurable[plain] = self.incurable.get(plain, 1) - 1
        if "Health" in self.container(name)["State"]:
            self.set_health(name, "unhealthy" if self.incurable[plain] > 0 else "healthy")


class Inside:
    """A running daemon, and what its journal tells."""

    def __init__(self, daemon: Daemon, state: Path, machine: Machine) -> None:
        self.daemon = daemon
        self.state = state
        self.machine = machine

    def passes(self, seconds: float) -> None:
        """So much time passes at once: what is due by then is done, and nothing is due before,
        however busy it is."""
        self.machine.passes(seconds)
        reconciler = self.daemon.reconciler
        for timers in (
            reconciler.timers,
            reconciler.action_budget.timers,
            reconciler.breakers.timers,
        ):
            timers._changed.set()
        if self.daemon.telling is not None:
            self.daemon.telling._changed.set()

    async def stories(self, **wanted: object) -> list[tuple[Incident, list[ActionRecord]]]:
        await self.daemon.journal.committed()
        return stories(self.state, **wanted)

    async def incidents(self, **wanted: object) -> list[Incident]:
        return [incident for incident, _ in await self.stories(**wanted)]

    async def closed(self, count: int = 1, **wanted: object) -> list[Incident]:
        """Waits for so many incidents that are closed."""
        return await self.having(count, state="closed", **wanted)

    async def having(self, count: int = 1, **wanted: object) -> list[Incident]:
        async def look() -> list[Incident]:
            found = await self.incidents(**wanted)
            return found if len(found) >= count else []

        try:
            return await eventually_async(look, what=f"{count} incident(s) {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}; all: {await self.incidents()}") from None


@asynccontextmanager
async def inside(
    ward: Ward | PrivateEngine,
    folder: Path,
    rules: str,
    machine: Machine | None = None,
    *,
    ready: bool = True,
    **settings: Any,
) -> AsyncIterator[Inside]:
    """Ready when entered: the first list was taken up. `machine`: that of an earlier run, whose
    time goes on. `ready`: False if the engine is away."""
    machine = machine or Machine()
    (folder / "rules.d").mkdir(exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "rules.d" / "rules.yaml").write_text(rules)
    paths = {
        "rules": folder / "rules.d",
        "state": folder / "state",
        "socket": folder / "state" / "dockmend.sock",
    }
    told = {"heal": "off", "http": {"listen": None}, "paths": paths, **settings}
    engine = DockerEngine(ward.url)
    journal = SqliteJournal(folder / "state" / "journal.sqlite3", time.time)
    daemon = Daemon(
        Settings.model_validate(told), engine, journal, clock=machine.clock(), dice=random.Random(1)
    )
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run(stop, 1.0))
            try:
                await eventually_async(
                    lambda: hasattr(daemon, "dispatcher") and (daemon.dispatcher.open or not ready),
                    what="it is ready",
                )
                yield Inside(daemon, folder / "state", machine)
            finally:
                stop.set()
    finally:
        await engine.close()
