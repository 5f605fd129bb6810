"""Events through read, mirror, match and decide, against the floor of reading and decoding alone.

The floor and dockmend read the same bytes from the same kind of socket in the same run. Every rule
is on one of two triggers with name globs of its own, and each container has one rule for each,
however many rules there are: the work that is compared is the same. "open": an incident stays open
once its rule decided to act, as in a daemon that is at work, and further changes of its target are
decided against it. "open and close": each is closed at once, so that every single transition is
matched, decided, opened and closed. EVENTS stays below what the reader buffers (64 MB): a host that
sends faster than anybody reads would be a gap. `python bench/events.py [EVENTS]`
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dockmend.app.memory_trimming import rest_the_collector
from dockmend.decide import ACT, History, Host, limits
from dockmend.engine.client import DockerEngine
from dockmend.guards import Guards
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.observer import Observer, Observers
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.list_watch import ListWatch
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import RuleSet
from dockmend.tell.metrics import Metrics
from dockmend.timekeeping import Clock

_T = TypeVar("_T")
HERE = Path(__file__).parent
CONTAINERS = 200


def rules(count: int) -> RuleSet:
    lines = ["version: 1", "rules:"]
    shares = min(count // 2, CONTAINERS)
    for number in range(count):
        trigger, share = ("container.unhealthy", "container.healthy")[number % 2], number // 2
        # of no container where there are enough
        mine = range(share, CONTAINERS, shares) if share < shares else [share]
        names = ", ".join(f"'svc-{which:04d}-*'" for which in mine)
        lines.append(
            f"  - {{name: r{number}, when: {trigger}, match: {{name: [{names}]}}, then: restart, "
            "limits: {attempts: none, backoff: none}}"
        )
    return load_texts({"bench.yaml": "\n".join(lines)}, host="bench")


class NoJournal:
    def put_incident(self, incident: Incident) -> None: ...


class Decides:
    """Where treatment would begin: asks the limits, counts, and closes."""

    def __init__(self, ruleset: RuleSet, leave_open: bool) -> None:
        self.leave_open = leave_open
        self.rules = {rule.name: rule for rule in ruleset.rules}
        self.history, self.host = History(), Host(budget=None)
        self.incidents: Incidents
        self.acts = 0

    def submit(self, incident_id: str) -> None:
        incident = self.incidents.open[incident_id]
        verdict = limits(
            self.rules[incident.rule], incident.target, self.history, self.host, incident.opened_at
        )
        self.acts += verdict is ACT
        if self.leave_open:
            self.incidents.update(incident_id, state="acting")
        else:
            self.incidents.close(incident_id, "done", "decided")

    def keep(self, incident: Incident, subject: object) -> None: ...
    def hold(self, incident: Incident, wait: object) -> None: ...
    def supersede(self, incident_id: str, reason: str) -> None: ...
    def renew(self, subject: object) -> None: ...
    def refuses(self, rule: object, target: str) -> None: ...
    def in_the_way(self, rule: object, subject: object, *, even_if_stopped: bool) -> None: ...
    def follows_from(self, change: object) -> None: ...
    def removed(self, target: str) -> None: ...
    def needed_no_more(self, container: object) -> None: ...


class Rate(NamedTuple):
    """Events a second by the clock on the wall, and a second of this process's own CPU time: on an
    idle machine they are much the same, on a busy one only the second can be compared."""

    wall: float
    cpu: float


async def dockmend(
    socket: str, count: int, ruleset: RuleSet, leave_open: bool
) -> tuple[Rate, int, int]:
    engine = DockerEngine(f"unix://{socket}")
    observer = Observers(metrics := Metrics("bench"))
    dice = random.Random(1)
    treats = Decides(ruleset, leave_open)
    treats.incidents = incidents = Incidents(NoJournal(), observer, Clock(), dice)  # type: ignore[arg-type]
    dispatcher = Dispatcher(incidents, treats, Guards(), observer, "bench")
    dispatcher.use(ruleset)
    mirror = Mirror(on_container=observer.container)
    seen = 0
    begun = ended = (0.0, 0.0)
    done = asyncio.Event()
    changes = 0

    class Counting(Observer):
        def events_read(self, events: Sequence[object], now: float) -> None:
            nonlocal seen, ended
            seen += len(events)
            if seen == count:
                ended = moment()
                done.set()

        def change(self, change: object) -> None:
            nonlocal changes, begun
            changes += 1
            if changes == 1:  # with the first of all events
                begun = moment()

    counting = Counting()
    both = Observers(metrics, counting)
    dispatcher.observer = both
    watch = ListWatch(engine, mirror, dispatcher.offer_all, both, time.time, dice)
    task = asyncio.get_running_loop().create_task(watch.run())
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.close()
    assert changes >= count // 3, changes
    assert treats.acts == (CONTAINERS * 2 if leave_open else count // 3), treats.acts
    return rate(count, begun, ended), changes, treats.acts


def moment() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def rate(count: int, begun: tuple[float, float], ended: tuple[float, float]) -> Rate:
    return Rate(*(count / (after - before) for before, after in zip(begun, ended, strict=True)))


async def floor(socket: str, count: int) -> Rate:
    """Read, split, decode: nothing else."""
    engine = DockerEngine(f"unix://{socket}")
    await engine.connect()
    seen, begun = 0, (0.0, 0.0)
    async with engine.events() as stream:
        while seen < count:
            batch = await stream.batch()
            assert batch is not None
            if not seen:
                begun = moment()
            seen += len(batch.events)
        ended = moment()
    await engine.close()
    return rate(count, begun, ended)


def with_host(count: int, run: Callable[[str], Coroutine[Any, Any, _T]]) -> _T:
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        host = subprocess.Popen(
            [sys.executable, str(HERE / "fake_host.py"), socket, str(CONTAINERS), str(count)],
            stdout=subprocess.PIPE,
        )
        try:
            assert host.stdout is not None
            host.stdout.readline()
            return asyncio.run(run(socket))
        finally:
            host.terminate()
            host.wait()


def main() -> None:
    rest_the_collector()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    sets = {size: rules(size) for size in (10, 1000, 10_000)}
    figures: dict[str, list[Rate]] = {}
    for _ in range(5):
        figures.setdefault("floor: read and decode", []).append(
            with_host(count, lambda socket: floor(socket, count))
        )
        for size, ruleset in sets.items():
            for leave_open in (True, False):
                decided = partial(dockmend, count=count, ruleset=ruleset, leave_open=leave_open)
                found, changes, acts = with_host(count, decided)
                name = f"{size} rules, {'open' if leave_open else 'open and close'}"
                figures.setdefault(name, []).append(found)
                speed = f"{found.wall:,.0f}/s, {found.cpu:,.0f} a second of CPU"
                print(f"{name}: {speed}, {changes} transitions, {acts} decided to act", flush=True)
    print(
        "\n| what | events/s (median of 5) | events a second of CPU | of the floor's |\n| --- | "
        "--- | --- | --- |"
    )
    base = statistics.median(each.cpu for each in figures["floor: read and decode"])
    for what, rates in figures.items():
        wall, cpu = (
            statistics.median(each.wall for each in rates),
            statistics.median(each.cpu for each in rates),
        )
        print(f"| {what} | {wall:,.0f} | {cpu:,.0f} | {cpu / base:.2f} |")
    for mode in ("open", "open and close"):
        few, most = (figures[f"{size} rules, {mode}"] for size in (10, 10_000))
        ratio = statistics.median(one.cpu / other.cpu for one, other in zip(few, most, strict=True))
        print(f"\n10,000 rules cost {ratio:.2f} times what 10 cost per event ({mode}).")


if __name__ == "__main__":
    main()
