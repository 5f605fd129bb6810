"""The end of dockmend: in order within ten seconds, whatever hangs; the next start mends what was
left."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.healing import UNHEALTHY, actions_seen, closed
from tests.lab import Broker, Daemon, PrivateEngine, eventually
from tests.lab.proxy import HoldingProxy

Makes = Callable[..., Daemon]
RESTART = r"POST /v[0-9.]+/containers/.*/restart"
ENDED_HARD = "ended hard"

DISK_THAT_HANGS = """
import os, time
from dockmend.journal.writer import Writer
commit = Writer._commit
def hang(*args):
    while os.path.exists(os.environ["HANGING_DISK"]):
        time.sleep(0.05)
    return commit(*args)
Writer._commit = hang
"""


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def outcomes(one: Daemon) -> list[str | None]:
    """Of all actions, as the journal has them."""
    with closing(
        sqlite3.connect(f"file:{one.state / 'journal.sqlite3'}?mode=ro", uri=True)
    ) as journal:
        return [row[0] for row in journal.execute("SELECT outcome FROM actions ORDER BY began_at")]


def told_of_broker(one: Broker) -> str:
    return f"mqtt: {{host: 127.0.0.1, port: {one.port}, prefix: shut}}\n"


def test_an_idle_one_ends_in_order(docker: PrivateEngine, daemon: Makes, broker: Broker):
    one = daemon(docker.url, rules={"rules.yaml": UNHEALTHY}, config=told_of_broker(broker))
    with broker.subscribe("shut/status") as heard:
        heard.wait_for("shut/status", "online")
        assert one.stop() == 0
        heard.wait_for("shut/status", "offline")
    # it was said, not left to the last will
    assert "will" not in broker.log.casefold().split("disconnected")[-1]
    assert ENDED_HARD not in one.text


def test_an_action_that_can_end_does(docker: PrivateEngine, daemon: Makes):
    """The restart of a container that is deaf to SIGTERM takes its stop timeout, and that is waited
    for."""
    well = ("sh", "-c", "touch /well; exec sleep 86400")
    docker.run("deaf", "--health-cmd", "test -e /well", "--health-interval=200ms",
        "--health-retries=1",
               "--stop-timeout", "2", command=well, init=False)  # fmt: skip
    docker.await_health("deaf", "healthy")
    one = daemon(docker.url, rules={"rules.yaml": UNHEALTHY})
    began = docker.now()
    docker.sicken("deaf", wait=False)
    eventually(lambda: actions_seen(docker, "deaf", began, "kill"), what="it is being restarted")
    assert one.stop() == 0
    assert outcomes(one) == ["done"]
    one.start()
    closed(one, "healed", name="deaf")
    assert actions_seen(docker, "deaf", began, "restart") == ["restart"]


@pytest.mark.parametrize("what", ["engine", "engine and broker", "engine, broker and disk"])
def test_whatever_hangs(
    docker: PrivateEngine,
    proxy: HoldingProxy,
    daemon: Makes,
    broker: Broker,
    tmp_path: Path,
    what: str,
):
    (tmp_path / "sitecustomize.py").write_text(DISK_THAT_HANGS)
    hanging = tmp_path / "hanging"
    docker.patient("web")
    one = daemon(
        proxy.url, rules={"rules.yaml": UNHEALTHY}, config=told_of_broker(broker), start=False
    )
    one.environment |= {"HANGING_DISK": str(hanging)}
    plain = one._environment()["PYTHONPATH"]
    one.environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{plain}"
    one.start()
    eventually(lambda: one.metric("dockmend_mqtt_connected") == 1, what="the broker is told")
    held = proxy.hold(RESTART, "before")
    docker.sicken("web")
    held.wait()
    if "broker" in what:
        broker.pause()
    if "disk" in what:
        hanging.touch()
    try:
        ended = one.stop(60)
    finally:
        broker.resume()
        hanging.unlink(missing_ok=True)
    assert ended in (0, 1)  # not -9: the lab had to kill nothing
    assert outcomes(one) == [None]  # begun, and nobody says how it ended
    proxy.release()
    one.start()
    closed(one, "healed", name="web")
    assert outcomes(one) == ["interrupted", "done"]


def test_an_engine_that_is_frozen(own_engine: Callable[..., PrivateEngine], daemon: Makes):
    engine = own_engine()
    engine.patient("web")
    one = daemon(engine.url, rules={"rules.yaml": UNHEALTHY})
    engine.pause()
    try:
        assert one.stop(60) == 0
        one.start(ready=False)  # and where it never answered
        eventually(lambda: one.status("/healthz") == 200, what="it runs")
        assert one.stop(60) == 0
    finally:
        engine.resume()


def test_a_second_signal_ends_at_once(
    docker: PrivateEngine, proxy: HoldingProxy, daemon: Makes, broker: Broker
):
    docker.patient("web")
    one = daemon(proxy.url, rules={"rules.yaml": UNHEALTHY}, config=told_of_broker(broker))
    held = proxy.hold(RESTART, "before")
    docker.sicken("web")
    held.wait()
    with broker.subscribe("shut/status") as heard:
        heard.wait_for("shut/status", "online")
        os.kill(one.pid, signal.SIGTERM)
        eventually(lambda: "running actions may end" in one.text, what="it is stopping")
        os.kill(one.pid, signal.SIGINT)
        assert one.wait() == 1
        heard.wait_for("shut/status", "offline")  # by its last will
    assert "a second signal: ended at once" in one.text
    assert "actions still ran" not in one.text  # it did not wait for them
    proxy.release()
    one.start()
    closed(one, "healed", name="web")
    assert outcomes(one) == ["interrupted", "done"]
