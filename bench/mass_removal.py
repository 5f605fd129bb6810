"""How long the event loop is held up while half of the containers of a host are removed at once.

The daemon runs in this process on a host of canned answers, with rules that answer a removal and a
crash. A turn of the loop is timed by the CPU time of its thread, so that a busy machine counts
less. Floor: the same while nothing happens. `python bench/mass_removal.py [CONTAINERS]`
"""

from __future__ import annotations

import asyncio
import getpass
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dockmend.app.daemon import Daemon
from dockmend.app.memory_trimming import rest_the_collector
from dockmend.engine.client import DockerEngine
from dockmend.journal.sqlite import SqliteJournal
from dockmend.settings import Settings
from dockmend.tell.log import configure
from dockmend.timekeeping import Clock

HERE = Path(__file__).parent
RULES = """
version: 1
rules:
  - name: gone
    when: container.missing
    match: all
    then: {publish: {topic: gone, payload: "{container.name}"}}
  - {name: crashed, when: container.crashed, match: all, then: restart}
  - {name: lost, when: container.network_lost, match: all, then: reconnect_network}
"""
SUCCESSOR_WAIT = 10.0
NOTABLE = 20.0  # milliseconds; shorter turns are not told apart


class Turns:
    """The longest turns of the event loop: one turn is all that it does between two looks at its
    sockets.

    In milliseconds of CPU time, with the longest call of the turn and how many calls it had.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.longest: list[tuple[float, int, float, str]] = []
        self._begun = time.thread_time()
        self._calls: list[tuple[float, str]] = []
        self._run, self._select = asyncio.Handle._run, loop._selector.select  # type: ignore[attr-defined]
        turns = self

        def timed(handle: asyncio.Handle) -> None:
            before = time.thread_time()
            turns._run(handle)
            turns._calls.append((time.thread_time() - before, handle))  # type: ignore[arg-type]

        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]
        loop._selector.select = self._looked  # type: ignore[attr-defined]

    def _looked(self, timeout: float | None = None) -> object:
        took = (time.thread_time() - self._begun) * 1000
        if took > NOTABLE:
            longest, handle = max(self._calls, key=lambda call: call[0], default=(0.0, ""))
            self.longest.append((took, len(self._calls), longest * 1000, repr(handle)[:200]))
        self._calls.clear()
        found = self._select(timeout)
        self._begun = time.thread_time()
        return found

    def taken(self) -> list[tuple[float, int, float, str]]:
        """Those since the last time, the longest first."""
        found, self.longest = sorted(self.longest, reverse=True), []
        return found


def settings(folder: Path) -> Settings:
    (folder / "rules.d").mkdir()
    (folder / "state").mkdir()
    (folder / "rules.d" / "rules.yaml").write_text(RULES)
    paths = {
        "rules": folder / "rules.d",
        "state": folder / "state",
        "socket": folder / "state" / "s",
    }
    return Settings.model_validate({
        "heal": "off", "paths": paths, "http": {"listen": None},
        "policy": {"rules_owner": getpass.getuser()},
    })  # fmt: skip


def tell(what: str, turns: Turns) -> None:
    found = turns.taken()
    print(
        f"| {what} | {f'{found[0][0]:.0f} ms' if found else f'under {NOTABLE:.0f} ms'} |",
        flush=True,
    )
    for took, calls, longest, name in found[:4]:
        print(
            f"    {took:.0f} ms, {calls} calls, the longest {longest:.0f} ms: {name}",
            file=sys.stderr,
        )


async def measure(containers: int, folder: Path) -> None:
    turns = Turns(asyncio.get_running_loop())
    socket = folder / "engine"
    host = subprocess.Popen(
        [sys.executable, str(HERE / "fake_host.py"), str(socket), str(containers), "0"],
        stdout=subprocess.PIPE,
    )
    assert host.stdout is not None
    host.stdout.readline()
    told = settings(folder)
    engine = DockerEngine(f"unix://{socket}")
    clock = Clock()
    daemon = Daemon(
        told, engine, SqliteJournal(told.paths.journal, clock), clock=clock, dice=random.Random(1)
    )
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(daemon.run(stop, 1.0))
            try:
                await remove_half(daemon, host, turns, containers)
            finally:
                stop.set()
    finally:
        await engine.close()
        host.kill()
        host.wait()


async def remove_half(
    daemon: Daemon, host: subprocess.Popen[bytes], turns: Turns, containers: int
) -> None:
    await until(lambda: daemon.listed)
    await asyncio.sleep(3.0)
    print(f"| {containers} containers | longest turn of the loop |\n| --- | --- |")
    tell("start", turns)
    await asyncio.sleep(5.0)
    tell("idle (floor)", turns)
    host.send_signal(signal.SIGUSR1)
    await until(lambda: len(daemon.mirror.entries) <= containers - containers // 2)
    await asyncio.sleep(SUCCESSOR_WAIT / 2)
    tell("the removal of half of them", turns)
    await until(lambda: not daemon.mirror.leaving and not daemon.incidents.open)
    await asyncio.sleep(2.0)
    tell("that nothing took their place", turns)
    rows = (await daemon.journal.stats())["outcomes"]
    print(f"incidents by outcome: {rows}", file=sys.stderr)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - there is no event for what is measured from outside
        await asyncio.sleep(0.05)


def main() -> None:
    containers = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    configure("json")
    rest_the_collector()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(containers, Path(folder)))


if __name__ == "__main__":
    main()
