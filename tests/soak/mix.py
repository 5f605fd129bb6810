"""The load of a soak: a mix of events at a rate, all from a real engine, cheap enough to run beside
other work.

Most of the rate comes from what costs an engine least (volumes made and destroyed, containers
renamed, image tags); the rest is what dockmend works on: checks that fail, crashes, people's stops
and restarts, networks, execs by the hundred (which the engine filters for dockmend), containers
made and removed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any

from tests.lab import TOOLBOX, PrivateEngine

RULES = """
version: 1
defaults:
  limits: {attempts: 1000 per 1h, backoff: 200ms to 2s}
rules:
  - {name: heal, when: container.unhealthy, match: {labels: {tier: patient}},
     then: {restart: {timeout: 2s}}}
  - {name: revive, when: container.crashed, match: {labels: {tier: worker}},
     then: start, verify: {within: 5s}}
  - {name: reconnect, when: container.network_lost, match: {labels: {tier: networked}},
     then: reconnect_network}
  - {name: renamed, when: {event: container.rename}, match: {name: "none-*"},
     then: {publish: {topic: never}}}
"""
CONFIG = "limits: {rate: 600 per 1m, parallel: 4}\n"
CHECKED = (
    "--health-cmd",
    "test -e /well",
    "--health-interval=4s",
    "--health-timeout=10s",
    "--health-retries=1",
)
STARTS = ("sh", "-c", "touch /well; exec sleep 86400")
NETWORK, SUBNET = "soak", "172.29.78.0/24"
BYSTANDERS, PATIENTS, WORKERS = 12, 3, 2
TICK = 0.05
FAST = 4
"""Threads of the fast part: on a loaded machine a call takes long, and one after another would not
reach the rate."""
CATCH_UP = 10.0
"""Seconds' worth of events that the load may be behind and make up for."""
SLOW_EVENTS = 5.0
"""Events a second that the slow part of the mix makes, about: the fast part makes up the rest."""


class Line:
    """One connection that is kept: a request costs a tenth of one with a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded JSON; tried once more where the engine had closed the connection."""
        raw = json.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if raw is not None else {}
        for again in (True, False):
            try:
                connection = self._connection or self._connect()
                connection.request(method, path, raw, headers)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                self.close()
                if not again:
                    raise
                continue
            return answer.status, json.loads(data) if data.startswith((b"{", b"[")) else None
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        self._connection = http.client.HTTPConnection("docker", timeout=60)
        self._connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.sock.connect(str(self._path))
        return self._connection


class Mix:
    """Makes the fleet, then events until `stop`; `done` counts what was done, by kind."""

    def __init__(self, engine: PrivateEngine, rate: float) -> None:
        self.engine = engine
        self.rate = rate
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self.engine_cpu = 0.0  # seconds that dockerd used, once the load has ended
        self._stop = threading.Event()
        parts = [*(partial(self._fast, part) for part in range(FAST)), self._slow]
        self._threads = [threading.Thread(target=self._guarded, args=(part,)) for part in parts]

    def make_fleet(self) -> None:
        engine = self.engine
        engine.docker("network", "create", "--subnet", SUBNET, NETWORK)
        for number in range(PATIENTS):
            engine.run(f"patient-{number}", "--label", "tier=patient", *CHECKED, command=STARTS)
        for number in range(WORKERS):
            engine.run(f"worker-{number}", "--label", "tier=worker")
        engine.run(
            "connected", "--label", "tier=networked", "--network", NETWORK, "--ip", "172.29.78.9"
        )
        engine.run("served")  # by people, who stop and start it
        for number in range(BYSTANDERS):
            engine.docker("create", "--name", f"bystander-{number}", TOOLBOX)

    def start(self) -> Mix:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(90)

    def _guarded(self, part: Callable[[Line], None]) -> None:
        line = Line(self.engine.socket)
        try:
            part(line)
        except Exception as error:  # noqa: BLE001 - whatever ended the load ends the soak's claim: it is told
            self.failed.append(repr(error))
        finally:
            line.close()

    # --- the rate ---------------------------------------------------------------------------------

    def _fast(self, part: int, line: Line) -> None:
        """One event a call; as many as the clock says are due. Each part has volumes and containers
        of its own."""
        calls = self._cheap(part, line)
        begun, made, wanted = time.monotonic(), 0.0, max(0.0, self.rate - SLOW_EVENTS) / FAST
        while not self._stop.wait(TICK):
            due = (time.monotonic() - begun) * wanted
            made = max(made, due - wanted * CATCH_UP)
            while made < due and not self._stop.is_set():
                self.done[next(calls)] += 1
                made += 1

    def _cheap(self, part: int, line: Line) -> Iterator[str]:
        names = [f"bystander-{number}" for number in range(part, BYSTANDERS, FAST)]
        for number in count():
            line.ask("POST", "/volumes/create", {"Name": f"soak-{part}-{number}"})
            yield "volume create"
            line.ask("DELETE", f"/volumes/soak-{part}-{number}")
            yield "volume destroy"
            if number % 4 == 0:
                index = number // 4 % len(names)
                new = f"bystander-{part}-{index}-{number}"
                line.ask("POST", f"/containers/{names[index]}/rename?name={new}")
                names[index] = new
                yield "container rename"
            if number % 4 == 2:
                line.ask("POST", f"/images/{TOOLBOX}/tag?repo=soaked&tag=t{part}-{number}")
                yield "image tag"
                line.ask("DELETE", f"/images/soaked:t{part}-{number}")
                yield "image untag"
            # what dockmend remembers of containers that are gone (1,024) is full in 5 minutes
            if number % 16 == 1:
                made = line.ask("POST", "/containers/create", {"Image": TOOLBOX})[1]
                yield "container create"
                line.ask("DELETE", f"/containers/{made['Id']}?v=1")
                yield "container destroy"

    # --- what dockmend works on -------------------------------------------------------------------

    def _slow(self, line: Line) -> None:
        """Every second one thing; each kind comes round in its turn."""
        turns = cycle((
            self._sicken, self._crash, self._stopped_and_started, self._sicken, self._reconnected,
            self._crash, self._execs, self._lost_network,
        ))  # fmt: skip
        for number in count():
            if self._stop.wait(1.0):
                return
            turn = next(turns)
            self.done[turn.__name__.strip("_").replace("_", " ")] += 1
            turn(line, number)

    def _sicken(self, line: Line, number: int) -> None:
        self._inside(
            line,
            f"patient-{number // 3 % PATIENTS}",
            lambda root: (root / "well").unlink(missing_ok=True),
        )

    def _crash(self, line: Line, number: int) -> None:
        state = line.ask("GET", f"/containers/worker-{number // 4 % WORKERS}/json")[1]["State"]
        if state["Running"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state["Pid"], signal.SIGKILL)

    def _stopped_and_started(self, line: Line, number: int) -> None:
        line.ask("POST", "/containers/served/stop?t=2")
        line.ask("POST", "/containers/served/start")

    def _reconnected(self, line: Line, number: int) -> None:
        line.ask("POST", f"/networks/{NETWORK}/connect", {"Container": "served"})
        line.ask("POST", f"/networks/{NETWORK}/disconnect", {"Container": "served"})

    def _lost_network(self, line: Line, number: int) -> None:
        """Once in eleven minutes dockmend's to mend: a second time within ten would be a person's
        will."""
        if number % 664 == 7:
            line.ask("POST", f"/networks/{NETWORK}/disconnect", {"Container": "connected"})

    def _execs(self, line: Line, number: int) -> None:
        for _ in range(100):
            line.ask("POST", "/containers/served/exec", {"Cmd": ["true"]})

    def _inside(self, line: Line, name: str, act: Callable[[Path], object]) -> None:
        """Past the engine: an exec would be one more event."""
        state = line.ask("GET", f"/containers/{name}/json")[1]["State"]
        if state["Running"]:
            with contextlib.suppress(OSError):
                act(Path(f"/proc/{state['Pid']}/root"))
