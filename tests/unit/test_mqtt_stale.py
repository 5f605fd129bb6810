"""What a broker retains is held until the sweep, and no more of it than a host can have left."""

from __future__ import annotations

import pytest

from dockmend.model import Container
from dockmend.settings.sections import Mqtt
from dockmend.tell import mqtt
from dockmend.tell.mqtt import MqttTeller


def test_a_broker_cannot_fill_the_memory_with_retained_topics(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt, "STALE_MOST", 10)
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    for number in range(100):
        teller._note_stale(f"dockmend/host1/container/web-{number}")
    assert len(teller._stale) == 10


@pytest.mark.parametrize(
    "topic", ["dockmend/host2/container/web", "a", "dockmend/host1/container/" + "x" * 5000]
)
def test_what_dockmend_never_retained_is_not_held(topic: str):
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    teller._note_stale(topic)
    assert not teller._stale


def test_what_went_while_the_broker_was_away_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
):
    """Of containers whose names never repeat; what the broker retains of them, the next sweep
    finds."""
    monkeypatch.setattr(mqtt, "REMOVALS_MOST", 10)
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    teller._swept = True
    stays = Container(id="s", name="stays", state="running")
    teller.container(None, stays)
    for number in range(11):
        one = Container(id=f"c{number}", name=f"job-{number}", state="running")
        teller.container(None, one)
        teller.container(one, None)
    assert (list(teller._states.values()), list(teller._unsent), teller._swept) == (
        [stays], ["dockmend/host1/container/stays"], False,
    )  # fmt: skip


def test_few_that_went_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt, "REMOVALS_MOST", 2)
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    teller._swept = True
    one = Container(id="c", name="web", state="running")
    for _ in range(10):  # one name that comes and goes is one topic
        teller.container(None, one)
        teller.container(one, None)
    assert (teller._states, teller._swept) == ({"dockmend/host1/container/web": b""}, True)
    teller._acknowledged("dockmend/host1/container/web", b"")
    assert (teller._states, teller._removals) == ({}, set())
