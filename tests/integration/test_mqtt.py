"""MQTT against a real broker: what another client sees, through the broker's death and
dockmend's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dockmend.journal.records import Incident
from dockmend.model import Change, Container
from dockmend.settings.secrets import Secret
from dockmend.settings.sections import Mqtt, MqttTls
from dockmend.tell.mqtt import OUTBOX_MESSAGES, MqttTeller
from tests.lab import Broker, eventually, eventually_async
from tests.lab.programs import end, free_port, listening

WEB = Container(
    "1" * 64, "web", image="nginx:1", state="running", health="healthy", started_at=1_800_000_000.0
)
INCIDENT = Incident(
    id="i1", rule="heal", trigger="container.unhealthy", target="container:web", kind="container",
    object_id=WEB.id, object_name="web", trouble="t", opened_at=1_800_000_000.5,
)  # fmt: skip
CHANGE = Change(("container.unhealthy",), "container", WEB, "container:web", "t", 1_800_000_000.5)


class Told:
    """What the teller said about itself."""

    def __init__(self) -> None:
        self.states: list[tuple[bool, str]] = []
        self.dropped = 0

    def state(self, up: bool, why: str) -> None:
        self.states.append((up, why))

    def drop(self, count: int) -> None:
        self.dropped += count


@contextlib.asynccontextmanager
async def running(teller: MqttTeller) -> AsyncIterator[None]:
    task = asyncio.Task(teller.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def a_teller(port: int, told: Told | None = None, **settings: object) -> MqttTeller:
    told = told or Told()
    mqtt = Mqtt.model_validate({"host": "127.0.0.1", "port": port, **settings})
    return MqttTeller(
        mqtt, None, "host1", on_state=told.state, on_drop=told.drop, backoff=(0.05, 0.2), settle=0.2
    )


async def seen(broker: Broker, topic: str, payload: str | None = None) -> str:
    """What a client that comes now is given for a topic."""
    with broker.subscribe(topic) as subscription:
        return (await asyncio.to_thread(subscription.wait_for, topic, payload)).payload


async def test_states_events_and_incidents_are_seen(broker):
    teller = a_teller(broker.port)
    with broker.subscribe() as everything:
        async with running(teller):
            teller.container(None, WEB)
            teller.change(CHANGE)
            teller.incident(INCIDENT)
            teller.publish("seen/web", '{"a": 1}')
            teller.publish("seen/+/#", "no wildcards")
            await asyncio.to_thread(everything.wait_for, "seen/_/_")
            status = await seen(broker, "dockmend/host1/status")
            state = json.loads(await seen(broker, "dockmend/host1/container/web"))
        await asyncio.to_thread(everything.wait_for, "dockmend/host1/status", "offline")
        event = json.loads(everything.payloads("dockmend/host1/event")[0])
        incident = json.loads(everything.payloads("dockmend/host1/incident")[0])
    assert status == "online"
    assert state == {
        "name": "web", "id": WEB.id, "state": "running", "health": "healthy", "image": "nginx:1",
        "since": "2027-01-15T08:00:00.000Z", "exit_code": None, "restart_count": 0, "networks": [],
    }  # fmt: skip
    assert event["triggers"] == ["container.unhealthy"]
    assert event["name"] == "web"
    assert incident["id"] == "i1"
    assert incident["opened_at"] == "2027-01-15T08:00:00.500Z"
    assert incident["closed_at"] is None
    assert everything.payloads("seen/web") == ['{"a": 1}']
    assert await seen(broker, "dockmend/host1/status") == "offline"  # retained


async def retained(broker: Broker, teller: MqttTeller) -> set[str]:
    """Names under container/ that the broker holds, once everything was sent."""
    await eventually_async(lambda: not teller._unsent and not teller._outbox)
    broker.publish("marker", "x", retain=True)
    with broker.subscribe() as everything:
        await asyncio.to_thread(everything.wait_for, "marker")
        await eventually_async(lambda: everything.payloads(f"{teller.prefix}/status"))
        return {
            message.topic.rpartition("/")[2]
            for message in everything.messages
            if message.topic.startswith(f"{teller.prefix}/container/") and message.payload
        }


async def test_states_go_with_their_container_and_follow_its_name(broker):
    teller = a_teller(broker.port)
    async with running(teller):
        db = Container("2" * 64, "db", state="running")
        teller.container(None, WEB)
        teller.container(None, db)
        assert await retained(broker, teller) == {"web", "db"}
        teller.container(db, None)
        renamed = replace(WEB, name="old_web")
        teller.container(WEB, renamed)
        assert await retained(broker, teller) == {"old_web"}
        # Compose's way: the old one is renamed, the new one takes its name, the old one goes.
        new = replace(WEB, id="3" * 64, name="web")
        teller.container(None, new)
        teller.container(renamed, None)
        assert await retained(broker, teller) == {"web"}
        assert json.loads(await seen(broker, "dockmend/host1/container/web"))["id"] == new.id
        # Told in the other order: the old one's end does not take the new one's state with it.
        newest = replace(new, id="4" * 64)
        teller.container(None, newest)
        teller.container(new, None)
        assert await retained(broker, teller) == {"web"}
        teller.container(None, replace(WEB, id="5" * 64, name="a/b+c#d\0e"))
        assert await retained(broker, teller) == {"web", "a_b_c_d_e"}


async def test_a_broker_that_was_killed_and_came_back_empty_is_told_everything_again(broker):
    told = Told()
    teller = a_teller(broker.port, told)
    async with running(teller):
        teller.container(None, WEB)
        assert await seen(broker, "dockmend/host1/container/web")
        broker.kill()
        await eventually_async(lambda: not teller.connected_to_broker)
        teller.container(WEB, replace(WEB, health="unhealthy"))
        for number in range(OUTBOX_MESSAGES + 7):
            teller.incident(replace(INCIDENT, id=f"i{number}"))
        broker.start()
        assert (
            json.loads(await seen(broker, "dockmend/host1/container/web"))["health"] == "unhealthy"
        )
        assert await seen(broker, "dockmend/host1/status") == "online"
        await eventually_async(lambda: not teller._outbox)
    assert told.dropped == 7  # the oldest
    assert (True, "") in told.states
    assert any(not up and why for up, why in told.states)


async def test_what_was_said_while_the_broker_was_away_arrives_in_order(broker):
    broker.terminate()
    teller = a_teller(broker.port)
    async with running(teller):
        await eventually_async(lambda: not teller.connected_to_broker)
        for number in range(100):
            teller.incident(replace(INCIDENT, id=f"i{number}"))
        broker.start()
        with broker.subscribe() as everything:
            await asyncio.to_thread(everything.wait_for, "dockmend/host1/status", "online")
            for number in range(100, 200):
                teller.incident(replace(INCIDENT, id=f"i{number}"))
            topic = f"{teller.prefix}/incident"
            await eventually_async(
                lambda: everything.payloads(topic) and "i199" in everything.payloads(topic)[-1]
            )
            ids = [json.loads(payload)["id"] for payload in everything.payloads(topic)]
    assert ids == [f"i{number}" for number in range(200)][-len(ids) :]
    assert len(ids) >= 100


async def test_a_broker_that_hangs_holds_up_nobody(broker):
    teller = a_teller(broker.port)
    async with running(teller):
        await eventually_async(lambda: teller.connected_to_broker)
        broker.pause()
        for number in range(3 * OUTBOX_MESSAGES):
            teller.incident(replace(INCIDENT, id=f"i{number}"))
            teller.container(WEB, replace(WEB, restart_count=number))
        assert len(teller._outbox) <= OUTBOX_MESSAGES
        assert len(teller._unsent) <= 2
        broker.resume()
        await eventually_async(lambda: not teller._outbox and not teller._unsent)
        last = f'"restart_count":{3 * OUTBOX_MESSAGES - 1}'
        assert last in await seen(broker, "dockmend/host1/container/web")


async def test_states_left_by_an_earlier_run_are_removed_once_the_engine_was_listed(broker):
    broker.publish("dockmend/host1/container/long-gone", "{}", retain=True)
    broker.publish("dockmend/host1/container/web", "{}", retain=True)
    broker.publish("dockmend/host1/other", "{}", retain=True)
    teller = a_teller(broker.port)
    async with running(teller):
        await eventually_async(lambda: len(teller._stale) == 2)
        assert await retained(broker, teller) == {"long-gone", "web"}
        teller.connected(True)
        teller.container(None, WEB)
        await eventually_async(lambda: teller._swept and b"" not in teller._states.values())
        assert await retained(broker, teller) == {"web"}
    assert await seen(broker, "dockmend/host1/other") == "{}"


PROCESS = """
import asyncio, sys
from dockmend.settings.sections import Mqtt
from dockmend.tell.mqtt import MqttTeller

asyncio.run(MqttTeller(Mqtt(host="127.0.0.1", port=int(sys.argv[1])), None, "host1").run())
"""


async def test_the_last_will_says_offline_when_dockmend_is_killed(broker):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "daemon")}
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(broker.port)], env=environment
    ) as process:
        try:
            assert await seen(broker, "dockmend/host1/status", "online") == "online"
        finally:
            process.send_signal(signal.SIGKILL)
    assert await seen(broker, "dockmend/host1/status", "offline") == "offline"


async def test_a_wrong_password_is_said_and_the_right_one_works():
    broker = Broker(username="dockmend", password="right")
    broker.start()
    told = Told()
    mqtt = Mqtt(host="127.0.0.1", port=broker.port, username="dockmend", prefix="home/docker/")
    try:
        async with running(
            MqttTeller(mqtt, Secret("wrong"), "h", on_state=told.state, backoff=(0.05, 0.1))
        ):
            await eventually_async(lambda: any("authori" in why.lower() for _, why in told.states))
        async with running(MqttTeller(mqtt, Secret("right"), "h", on_state=told.state)):
            assert await seen(broker, "home/docker/status", "online")
    finally:
        broker.stop()
    assert "right" not in str(told.states)
    assert "wrong" not in str(told.states)


@pytest.fixture
def tls_broker(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A mosquitto that speaks TLS only: its port, and the folder of its certificates."""
    port = free_port()
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", *subject],
        check=True, capture_output=True,
    )  # fmt: skip
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(
        f"listener {port} 127.0.0.1\nuser root\nallow_anonymous true\npersistence false\n"
        f"certfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["mosquitto", "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        eventually(lambda: listening(port), what="mosquitto listens")
        yield port, tmp_path
    finally:
        end(process)


# paho leaves the socket of a handshake that failed to the garbage collector, which closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls_checks_the_brokers_certificate(tls_broker):
    port, folder = tls_broker
    told, strange = Told(), Told()
    trusted = Mqtt(host="127.0.0.1", port=port, tls=MqttTls(ca=folder / "cert.pem"))
    async with running(MqttTeller(trusted, None, "h", on_state=told.state)):
        await eventually_async(lambda: (True, "") in told.states)
    unknown = Mqtt(host="127.0.0.1", port=port, tls=MqttTls())
    async with running(MqttTeller(unknown, None, "h", on_state=strange.state, backoff=(0.05, 0.1))):
        await eventually_async(
            lambda: any("certificate" in why.lower() for _, why in strange.states)
        )
    assert not any(up for up, _ in strange.states)


async def test_a_certificate_that_is_not_there_is_said_and_tried_again(tls_broker):
    port, folder = tls_broker
    told = Told()
    mqtt = Mqtt(host="127.0.0.1", port=port, tls=MqttTls(ca=folder / "later.pem"))
    async with running(MqttTeller(mqtt, None, "h", on_state=told.state, backoff=(0.05, 0.1))):
        await eventually_async(lambda: any("No such file" in why for _, why in told.states))
        (folder / "later.pem").write_bytes((folder / "cert.pem").read_bytes())
        await eventually_async(lambda: (True, "") in told.states)


async def test_what_was_on_its_way_when_the_broker_died_is_sent_again(broker):
    teller = a_teller(broker.port)
    async with running(teller):
        await eventually_async(lambda: teller.connected_to_broker and not teller._unsent)
        broker.pause()
        teller.publish("kept", "not lost", retain=True)
        teller.container(None, WEB)
        # handed to the socket, unanswered
        await eventually_async(lambda: not teller._outbox and not teller._unsent)
        broker.kill()
        broker.start()
        assert await seen(broker, "kept") == "not lost"
        assert json.loads(await seen(broker, "dockmend/host1/container/web"))["name"] == "web"


async def acknowledged(teller: MqttTeller, topic: str, text: str) -> None:
    await eventually_async(
        lambda: not teller._unsent and text.encode() in teller._sent.get(topic, b"")
    )


async def test_what_changes_nothing_is_not_published_again(broker):
    teller, topic = a_teller(broker.port), "dockmend/host1/container/web"
    with broker.subscribe("dockmend/#") as everything:
        async with running(teller):
            for health in ("starting", "starting", "unhealthy"):
                teller.container(
                    WEB, replace(WEB, health=health, created_at=float(len(everything.messages)))
                )
                await acknowledged(teller, topic, health)
        await asyncio.to_thread(everything.wait_for, "dockmend/host1/status", "offline")
        states = [json.loads(payload)["health"] for payload in everything.payloads(topic)]
    assert states == ["starting", "unhealthy"]
