"""What the running daemon tells a real broker and a real Prometheus."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable

from tests.integration.healing import UNHEALTHY, daemon
from tests.integration.stories import closed
from tests.lab import Broker, PrivateEngine, Prometheus, check_metrics, eventually

HOST = os.uname().nodename
PREFIX = f"dockmend/{HOST}"


def settings(broker: Broker) -> str:
    return f"mqtt: {{host: {broker.host}, port: {broker.port}}}\n"


def retained(broker: Broker, topic: str, wanted: Callable[[str], bool] = bool) -> str:
    """What a client that comes now is given for a topic, once it is what is wanted."""

    def look() -> str:
        with broker.subscribe(topic) as subscription:
            payload = eventually(lambda: subscription.payloads(topic), 2)[-1]
        return payload if wanted(payload) else ""

    return eventually(look, what=f"retained {topic}")


def test_a_broker_is_told_of_status_states_and_incidents(
    docker: PrivateEngine, broker: Broker
) -> None:
    docker.patient("web")
    with (
        broker.subscribe() as everything,
        daemon(docker, UNHEALTHY, config=settings(broker)) as one,
    ):
        everything.wait_for(f"{PREFIX}/status", "online")
        state = json.loads(retained(broker, f"{PREFIX}/container/web"))
        assert (state["name"], state["state"], state["health"]) == ("web", "running", "healthy")

        docker.sicken("web", wait=False)
        (healed,) = closed(one, outcome="healed")
        told = eventually(
            lambda: [
                row
                for row in map(json.loads, everything.payloads(f"{PREFIX}/incident"))
                if row["state"] == "closed"
            ]
        )
        assert [(row["id"], row["outcome"]) for row in told] == [(healed.id, "healed")]
        seen = [
            json.loads(row)["health"]
            for row in everything.payloads(f"{PREFIX}/container/web")
            if row
        ]
        assert "unhealthy" in seen
        triggers = [json.loads(row)["triggers"] for row in everything.payloads(f"{PREFIX}/event")]
        assert ["container.unhealthy"] in triggers

        docker.docker("rm", "--force", "web")
        everything.wait_for(f"{PREFIX}/container/web", "")
        assert one.stop() == 0
        everything.wait_for(f"{PREFIX}/status", "offline")
    assert retained(broker, f"{PREFIX}/status") == "offline"


def test_the_last_will_speaks_for_a_killed_daemon(docker: PrivateEngine, broker: Broker) -> None:
    with (
        broker.subscribe() as everything,
        daemon(docker, UNHEALTHY, config=settings(broker)) as one,
    ):
        everything.wait_for(f"{PREFIX}/status", "online")
        one.kill()
        everything.wait_for(f"{PREFIX}/status", "offline")
    assert retained(broker, f"{PREFIX}/status") == "offline"


def test_a_broker_that_is_away_holds_nothing_up_and_is_told_anew(
    docker: PrivateEngine, broker: Broker
) -> None:
    docker.patient("web")
    with daemon(docker, UNHEALTHY, config=settings(broker)) as one:
        retained(broker, f"{PREFIX}/container/web")
        broker.kill()
        eventually(lambda: one.metric("dockmend_mqtt_connected") == 0)
        docker.sicken("web", wait=False)
        closed(one, outcome="healed")
        assert one.status("/readyz") == 200

        broker.start()  # it has forgotten everything
        assert retained(broker, f"{PREFIX}/status") == "online"
        state = json.loads(
            retained(broker, f"{PREFIX}/container/web", lambda text: "healthy" in text)
        )
        assert state["state"] == "running"
        eventually(lambda: one.metric("dockmend_mqtt_connected") == 1)


def test_no_broker_at_the_start_is_no_reason_not_to_heal(
    docker: PrivateEngine, broker: Broker
) -> None:
    docker.patient("web")
    broker.terminate()
    with daemon(docker, UNHEALTHY, config=settings(broker)) as one:
        docker.sicken("web", wait=False)
        closed(one, outcome="healed")
        broker.start()
        assert retained(broker, f"{PREFIX}/status") == "online"


def test_a_real_prometheus_sees_a_heal(
    docker: PrivateEngine, prometheus: Callable[[str], Prometheus]
) -> None:
    docker.patient("web")
    docker.run("bystander")
    with daemon(docker, UNHEALTHY) as one:
        assert check_metrics(one.metrics()) == ""
        scraper = prometheus(f"127.0.0.1:{one.port}")

        def value(expression: str) -> float | None:
            found = scraper.query(expression)
            return float(found[0]["value"][1]) if found else None

        def is_(expression: str, wanted: float) -> bool:
            return value(expression) == wanted

        docker.sicken("web", wait=False)
        closed(one, outcome="healed")
        page = one.metrics()
        assert check_metrics(page) == ""
        assert docker.inspect("web")["Id"][:12] not in page

        expected = {
            "dockmend_engine_up": 1,
            'dockmend_heals_total{rule="heal",outcome="healed"}': 1,
            'dockmend_actions_total{rule="heal",action="restart",outcome="done"}': 1,
            'dockmend_time_to_heal_seconds_count{rule="heal"}': 1,
            'sum(dockmend_incidents_open{rule="heal"})': 0,
            'dockmend_decisions_total{rule="heal",decision="act"}': 1,
            'dockmend_matches_total{rule="heal"}': 1,
            'sum(dockmend_containers{state="running"})': 2,
            'dockmend_containers{state="running",health="healthy"}': 1,
            'count(up{job="dockmend"} == 1)': 1,
        }
        for expression, wanted in expected.items():
            assert eventually(
                functools.partial(is_, expression, wanted), what=f"{expression} is {wanted}"
            )
        assert value("count(dockmend_unhealed)") is None
        assert (value('dockmend_time_to_heal_seconds_sum{rule="heal"}') or 0) > 0.1
