"""What a broker retains is held until the sweep, and no more of it than a host can have left."""

from __future__ import annotations

import pytest

from dockmend.settings.model import Mqtt
from dockmend.tell import mqtt
from dockmend.tell.mqtt import MqttTeller


def test_a_broker_cannot_fill_the_memory_with_retained_topics(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mqtt, "STALE_MOST", 10)
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    for number in range(100):
        teller._note_stale(f"dockmend/host1/container/web-{number}")
    assert len(teller._stale) == 10


@pytest.mark.parametrize("topic", ["dockmend/host2/container/web", "a", "dockmend/host1/container/" + "x" * 5000])
def test_what_dockmend_never_retained_is_not_held(topic: str):
    teller = MqttTeller(Mqtt(host="broker"), None, "host1")
    teller._note_stale(topic)
    assert not teller._stale
