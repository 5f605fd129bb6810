from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from dockmend.actions import notify_publish_wait
from dockmend.actions.action import ActionFailed, ActionResult
from dockmend.errors import EngineAway, NotFound, Temporary
from dockmend.model import HealthCheck, Volume
from dockmend.rules.action_parameters import Notify
from dockmend.settings import Mqtt
from dockmend.tell.mqtt import MqttTeller
from tests.unit.actions.stage import ID, WEB, Stage

CHECKED = replace(WEB, check=HealthCheck(), health="starting")


def message(topic: str, payload: str = "", retain: bool = False) -> SimpleNamespace:
    return SimpleNamespace(topic=topic, payload=payload, retain=retain)


async def test_notify_hands_over_what_the_rule_says():
    asked = []

    def tell(*said):
        asked.append(said)
        return ActionResult("told ops")

    context = dataclasses.replace(Stage().context, tell=tell)
    params = Notify.model_validate({"message": "{container.name} is slow", "to": "ops"})
    done = await notify_publish_wait.notify(context, params, WEB)
    assert asked == [("{container.name} is slow", None, ("ops",))]
    assert done.detail == "told ops"


@pytest.mark.parametrize(
    ("undo", "done", "detail"),
    [
        ({}, False, "nobody had been told yet"),
        ({"told": ["ops", "home"]}, True, "told ops, home"),
        ({"told": []}, True, "told nobody: no channel takes it"),
    ],
)
async def test_a_notify_that_was_cut_short_is_done_again_only_if_its_message_was_not_put(
    undo, done, detail
):
    stage = Stage()
    settled = await notify_publish_wait.settle_notify(stage.context, stage.record("notify", undo))
    assert (settled.done, settled.untouched, settled.detail) == (done, not done, detail)


async def test_publish_hands_over_what_was_rendered():
    stage = Stage()

    done = await notify_publish_wait.publish(
        stage.context, message("seen/{container.name}", '{"who": "{container.name}"}', True), WEB
    )

    assert stage.published == [("seen/web", '{"who": "web"}', True)]
    assert done.detail == "published to seen/web"


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("a/b", "seen/a_b/x"),
        ("+", "seen/_/x"),
        ("a#", "seen/a_/x"),
        ("a\x00b", "seen/a_b/x"),
        ("é", "seen/é/x"),
    ],
)
async def test_a_field_never_chooses_another_topic(name, topic):
    stage = Stage(fields={"container.name": name})

    await notify_publish_wait.publish(stage.context, message("seen/{container.name}/x"), WEB)

    assert stage.published[0][0] == topic


async def test_slashes_inside_a_field_are_no_levels_of_the_template():
    stage = Stage(fields={"container.labels[a/b]": "c/d"})

    await notify_publish_wait.publish(stage.context, message("seen/{container.labels[a/b]}/x"), WEB)

    assert stage.published[0][0] == "seen/c_d/x"


@pytest.mark.parametrize(
    ("topic", "name"),
    [("{container.name}", ""), ("{container.name}/x", "$SYS"), ("x/{container.name}", "y" * 2000)],
)
async def test_what_is_no_topic_is_refused(topic, name):
    stage = Stage(fields={"container.name": name})

    with pytest.raises(ActionFailed, match="topic") as failure:
        await notify_publish_wait.publish(stage.context, message(topic), WEB)

    assert not failure.value.again
    assert stage.published == []


async def test_a_payload_that_would_not_be_sent_fails_its_step():
    """Else its record said that it was published, and nothing but a counter told that it was
    not."""
    dropped: list[int] = []
    teller = MqttTeller(Mqtt(host="broker"), None, "nas", on_drop=dropped.append)
    stage = Stage(fields={"container.name": "é" * 32_768})
    context = dataclasses.replace(stage.context, teller=teller)

    done = await notify_publish_wait.publish(context, message("x", "{container.name}"), WEB)
    assert (done.detail, dropped) == ("published to x", [])
    stage.fields["container.name"] += "e"
    with pytest.raises(ActionFailed, match="the payload for x is longer than 64 KiB") as failure:
        await notify_publish_wait.publish(context, message("x", "{container.name}"), WEB)
    assert not failure.value.again
    assert dropped == []


async def test_settling_a_message_does_not_send_it_again():
    stage = Stage()

    assert (await notify_publish_wait.settle_publish(stage.context, stage.record("publish"))).done
    assert not (await notify_publish_wait.settle_wait(stage.context, stage.record("wait"))).done
    assert stage.published == []


# ------------------------------------------------------------------------------------------ waiting
def until(state: str, within: float = 60.0) -> SimpleNamespace:
    return SimpleNamespace(time=None, until=state, within=within)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_publish_wait, "LOOK_EVERY", 0.001)


async def test_wait_for_a_time():
    done = await notify_publish_wait.wait(
        Stage().context, SimpleNamespace(time=0.01, until=None, within=None), Volume(name="data")
    )

    assert done.detail == "waited 0.01 s"


async def test_wait_until_healthy():
    stage = Stage()
    stage.engine.containers[ID] = CHECKED
    healths = iter(["starting", "unhealthy", "healthy"])
    stage.engine.on["inspect"] = lambda: stage.engine.set(health=next(healths))

    done = await notify_publish_wait.wait(stage.context, until("healthy"), CHECKED)

    assert done.detail.startswith("it is healthy after ")
    assert len(stage.engine.calls) == 3


async def test_wait_until_running_outlasts_an_engine_that_is_away():
    stage = Stage()
    stage.engine.trouble["inspect"] = [EngineAway("away"), Temporary("busy")]

    await notify_publish_wait.wait(stage.context, until("running"), WEB)

    assert len(stage.engine.calls) == 3


async def test_wait_ends_in_time_and_says_how_it_is():
    stage = Stage()
    stage.engine.containers[ID] = replace(CHECKED, health="unhealthy")

    with pytest.raises(
        ActionFailed, match=r"web is not healthy after 0\.02 s: it is running and unhealthy"
    ) as failure:
        await notify_publish_wait.wait(stage.context, until("healthy", 0.02), CHECKED)

    assert failure.value.again


async def test_wait_for_what_can_never_be():
    with pytest.raises(ActionFailed, match="has no health check") as failure:
        await notify_publish_wait.wait(Stage().context, until("healthy"), WEB)
    assert not failure.value.again
    with pytest.raises(ActionFailed, match="is for containers, and data is none"):
        await notify_publish_wait.wait(Stage().context, until("running"), Volume(name="data"))


async def test_wait_for_what_is_gone():
    stage = Stage()
    stage.engine.trouble["inspect"] = NotFound(f"inspect: No such container: {ID}", 404)

    with pytest.raises(ActionFailed, match="web is gone"):
        await notify_publish_wait.wait(stage.context, until("running"), WEB)


async def test_wait_can_be_cancelled():
    stage = Stage()
    stage.engine.set(state="exited")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await notify_publish_wait.wait(stage.context, until("running"), WEB)
