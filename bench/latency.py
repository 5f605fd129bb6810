"""From the engine's `unhealthy` event to its `kill` event, by the engine's own stamps: dockmend
against a raw healer.

The floor is the smallest honest healer: aiodocker, the event, one inspect, one committed row, the
restart. Both heal the same containers on the same private engine, in turns. `python
bench/latency.py [ROUNDS]` (root)
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually

RULES = """
version: 1
rules:
  - {name: heal, when: container.unhealthy, match: all, then: restart,
     limits: {attempts: none, backoff: none, rate: none}}
"""
SETTINGS = "limits: {rate: none}\nheal: off\n"


async def raw_healer(url: str, database: str) -> None:
    """Reads events, and for each unhealthy one: inspect, commit a row, restart."""
    import aiodocker  # noqa: PLC0415 - only the process that is the raw healer loads it

    rows = sqlite3.connect(database)
    rows.execute("PRAGMA journal_mode=WAL")
    rows.execute("PRAGMA synchronous=FULL")
    rows.execute("CREATE TABLE intents (id TEXT, at REAL)")
    rows.commit()
    docker = aiodocker.Docker(url=url, api_version="v1.45")
    filters = json.dumps({"event": ["health_status"]})
    async with docker._query("events", params={"filters": filters}, timeout=None) as response:
        print("ready", flush=True)
        async for line in response.content:
            event = json.loads(line)
            if event["Action"] != "health_status: unhealthy":
                continue
            container = docker.containers.container(event["Actor"]["ID"])
            found = await container.show()
            if found["State"]["Health"]["Status"] != "unhealthy":
                continue
            rows.execute("INSERT INTO intents VALUES (?, ?)", (event["Actor"]["ID"], time.time()))
            rows.commit()
            await container.restart()


def rounds(engine: PrivateEngine, count: int) -> list[float]:
    """Milliseconds from unhealthy to kill, for `count` breaks one after the other."""
    taken = []
    for _ in range(count):
        began = engine.now()
        engine.sicken("web", wait=False)
        eventually(
            partial(engine.events, since=began, type="container", event="restart"),
            20.0,
            what="it is restarted",
        )
        engine.await_health("web", "healthy")
        seen = engine.events(since=began, type="container", container="web")
        sick = next(row["timeNano"] for row in seen if row["Action"] == "health_status: unhealthy")
        kill = next(
            row["timeNano"] for row in seen if row["Action"] == "kill" and row["timeNano"] > sick
        )
        taken.append((kill - sick) / 1e6)
    return taken


def by_raw(engine: PrivateEngine, count: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        healer = subprocess.Popen(
            [sys.executable, __file__, "raw", engine.url, f"{folder}/rows.sqlite3"],
            stdout=subprocess.PIPE,
        )
        try:
            assert healer.stdout is not None
            healer.stdout.readline()
            return rounds(engine, count)
        finally:
            healer.kill()
            healer.wait()


def by_dockmend(engine: PrivateEngine, count: int) -> list[float]:
    one = Daemon(engine.url, rules={"bench.yaml": RULES}, config=SETTINGS)
    try:
        one.start()
        return rounds(engine, count)
    finally:
        one.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    engine = PrivateEngine()
    floor: list[float] = []
    ours: list[float] = []
    try:
        engine.start()
        engine.patient("web")
        for _ in range(4):
            floor += by_raw(engine, count)
            ours += by_dockmend(engine, count)
    finally:
        engine.stop()
    print("| who | p50 ms | p90 ms | n |\n| --- | --- | --- | --- |")
    for who, taken in (("raw healer", floor), ("dockmend", ours)):
        print(
            f"| {who} | {statistics.median(taken):.1f} | "
            f"{statistics.quantiles(taken, n=10)[8]:.1f} | {len(taken)} |"
        )
    print(f"\nRatio of the medians: {statistics.median(ours) / statistics.median(floor):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["raw"]:
        asyncio.run(raw_healer(sys.argv[2], sys.argv[3]))
    else:
        main()
