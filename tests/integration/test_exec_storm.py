"""Twenty thousand exec events while twenty containers break: all are healed, and the engine is as
quick as without."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Self

from tests.integration.healing import CRASHED, daemon
from tests.integration.stories import all_told, closed, incidents
from tests.lab import PrivateEngine, Recorder

EXECS = 20_000
WORKERS = 4
SAMPLE = 6_000  # of them, for the comparison
PATIENTS = 20
SETTINGS = "heal: off\nlimits: {rate: none}\n"


class Api:
    """One kept connection to the engine: what is timed is the engine, not the connecting."""

    def __init__(self, engine: PrivateEngine) -> None:
        self._connection = http.client.HTTPConnection("docker", timeout=60)
        self._connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.sock.settimeout(60)
        self._connection.sock.connect(str(engine.socket))

    def call(self, method: str, path: str, body: object = None) -> int:
        raw = json.dumps(body).encode() if body is not None else None
        self._connection.request(
            method, path, raw, {"Content-Type": "application/json"} if raw else {}
        )
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        self._connection.close()


class Storm:
    """Workers that create execs in a container, each an event, until there were so many."""

    def __init__(self, engine: PrivateEngine, container: str, count: int) -> None:
        self.engine = engine
        self.path = f"/containers/{container}/exec"
        self.created = 0
        self._each = count // WORKERS
        self._threads = [threading.Thread(target=self._blow, daemon=True) for _ in range(WORKERS)]

    @property
    def blows(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(120)

    def _blow(self) -> None:
        with contextlib.closing(Api(self.engine)) as api:
            for _ in range(self._each):
                if api.call("POST", self.path, {"Cmd": ["true"]}) == 201:
                    self.created += 1


def answer_times(engine: PrivateEngine, storm: Storm, path: str) -> Iterator[float]:
    """How long the engine takes to answer a small question while the storm blows: seconds."""
    with contextlib.closing(Api(engine)) as api:
        while storm.blows:
            began = time.perf_counter()
            assert api.call("GET", path) == 200
            yield time.perf_counter() - began


def test_an_exec_storm_hides_nothing(docker: PrivateEngine) -> None:
    docker.run("noisy")
    names = [f"job{number}" for number in range(PATIENTS)]
    for name in names:
        docker.run(name)
    with Recorder(docker) as events, daemon(docker, CRASHED, config=SETTINGS) as one:
        with Storm(docker, "noisy", EXECS) as storm:
            for name in names:
                os.kill(int(docker.inspect(name)["State"]["Pid"]), signal.SIGKILL)
            assert storm.blows
            closed(one, PATIENTS, timeout=90, outcome="healed")
        assert storm.created == EXECS
        assert sorted(incident.object_name for incident in incidents(one)) == sorted(names)
        assert [name for name in names if docker.state(name) != "running"] == []
        assert {name: events.actions(name, "start") for name in names} == {
            name: ["start"] for name in names
        }
        assert one.metric("dockmend_event_gaps_total") == 0
        assert "exec_" not in one.metrics()
        all_told(one)


def test_the_engine_is_as_quick_with_dockmend_as_without(docker: PrivateEngine) -> None:
    """Only the stream's cost is compared: a heal is work for the engine, whoever asks for it."""
    docker.run("bystander")
    # one each: an inspect and an exec take the longer, the more execs a container has had
    docker.run("without")
    docker.run("with")
    with Storm(docker, "without", SAMPLE) as storm:
        without = list(answer_times(docker, storm, "/containers/bystander/json"))
    with daemon(docker, CRASHED, config=SETTINGS), Storm(docker, "with", SAMPLE) as storm:
        watched = list(answer_times(docker, storm, "/containers/bystander/json"))
    assert min(len(without), len(watched)) > 200
    before, after = statistics.median(without), statistics.median(watched)
    told = f"an inspect took {after * 1000:.2f} ms with dockmend, {before * 1000:.2f} ms without"
    assert after < 1.5 * before + 0.002, told
