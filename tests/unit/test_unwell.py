"""What is unwell: every container that is meant to run, covered by a rule or not, until it is well,
stopped or gone."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.app.open_troubles import OpenTroubles
from dockmend.app.unwell import Unwell, cause_of, meant_to_run, unwell
from dockmend.mirror import Mirror
from dockmend.model import Actor, Change, Container, Event, HealthCheck
from dockmend.notify.message import Kind, Severity
from dockmend.tell.metrics import Metrics
from tests.unit.pipeline.clinic import HEAL, TARGET, WEB, Clinic, clinic

NEVER = HEAL.replace("when: container.unhealthy", "when: container.missing")


def shown(one: Clinic, *, covered: bool = False) -> list[tuple[str, str, bool]]:
    found = unwell(one.mirror, lambda change: covered, lambda container: False, one.clock.wall())
    return [(each.object_name, each.cause, each.covered) for each in found]


async def test_what_no_rule_is_about_is_shown_until_it_is_well():
    async with clinic(NEVER) as one:
        assert shown(one) == []
        one.sicken()
        await one.quiet()
        assert one.incidents.open == {}
        assert shown(one) == [("web", "unhealthy", False)]
        assert shown(one, covered=True) == [("web", "unhealthy", True)]
        one.cure()
        await one.quiet()
        assert shown(one) == []


async def test_what_a_person_stops_is_not_unwell():
    async with clinic(NEVER) as one:
        one.sicken()
        await one.quiet()
        one.emit("kill", signal="15")
        one.emit("die", exitCode="143")
        one.emit("stop")
        one.engine.set(state="exited", health="", finished_at=one.now, exit_code=143)
        one.look()
        await one.quiet()
        one.now += 5.0
        one.tick()
        await one.quiet()
        assert shown(one) == []


async def test_what_a_person_paused_shows_once_it_goes_on():
    async with clinic(NEVER) as one:
        one.sicken()
        await one.quiet()
        one.emit("pause")
        one.engine.set(state="paused")
        one.look()
        assert shown(one) == []
        one.emit("unpause")
        one.engine.set(state="running")
        one.look()
        await one.quiet()
        assert shown(one) == [("web", "unhealthy", False)]


def ended(one: Clinic, container: Container) -> None:
    """One that runs ends by itself with exit code 1."""
    died = Event("container", "die", Actor(container.id, {"exitCode": "1"}), int(one.now * 1e9))
    one.mirror.apply(died, one.now)
    one.mirror.observe(
        replace(container, state="exited", exit_code=1, finished_at=one.now), one.now
    )
    one.now += 5
    one.tick()


async def test_a_task_whose_place_another_took_is_not_unwell():
    labels = {"com.docker.swarm.service.name": "shop", "com.docker.swarm.task.name": "shop.1.x"}
    first, second = (
        replace(WEB, id=digit * 64, name=f"shop.1.{digit}", labels=labels, health="healthy")
        for digit in "12"
    )
    async with clinic(NEVER) as one:
        one.mirror.relist([WEB, first], [], [], one.now, "started")
        ended(one, first)
        assert shown(one) == [("shop.1.1", "crashed", False)]
        one.mirror.observe(second, one.now)
        assert shown(one) == []


async def test_one_that_the_engine_restarts_again_and_again_is_unwell_also_while_it_runs():
    async with clinic(NEVER) as one:
        one.engine.set(restart_policy="always")
        one.learn_from(one.engine.containers[WEB.id])
        for _ in range(6):
            one.now += 1
            one.emit("die", exitCode="1")
            one.now += 1
            one.emit("start")
            one.engine.set(state="running", started_at=one.now, health="starting")
            one.look()
            await one.quiet()
        assert shown(one) == [("web", "looping", False)]
        one.cure()
        one.now += 130
        one.tick()
        assert shown(one) == []


async def test_what_is_dockmends_own_is_nobodys_trouble():
    async with clinic(NEVER) as one:
        one.sicken()
        await one.quiet()
        assert (
            unwell(one.mirror, lambda change: False, lambda container: True, one.clock.wall()) == []
        )


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ({}, False),
        ({"restart_policy": "no"}, False),
        ({"restart_policy": "unless-stopped"}, True),
        ({"restart_policy": "on-failure"}, True),
        ({"check": HealthCheck()}, True),
        (
            {"labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}},
            True,
        ),
        ({"labels": {"dockmend.heal": "true"}}, True),
        ({"image_labels": {"dockmend.heal": "true"}}, False),
        ({"labels": {"com.docker.compose.oneoff": "True"}, "restart_policy": "always"}, False),
    ],
)
def test_a_plain_job_is_not_meant_to_run(more: dict[str, object], meant: bool):
    assert meant_to_run(replace(Container(id="1" * 64, name="web"), **more)) is meant


@pytest.mark.parametrize(
    ("triggers", "cause", "said"),
    [
        (("container.unhealthy",), None, "unhealthy"),
        (("container.crashed", "container.exited"), "crashed", "crashed"),
        (("container.left_down", "container.exited"), "left_down", "left_down"),
        (("container.completed", "container.exited"), "completed", ""),
        (("container.stopped", "container.exited"), "stopped", ""),
        (("container.restart_loop",), None, "looping"),
        (("container.orphaned",), None, ""),
        (("container.network_lost",), None, ""),
    ],
)
def test_a_persons_stop_and_a_job_that_is_done_are_no_cause(
    triggers: tuple[str, ...], cause: Any, said: str
):
    assert cause_of(Change(triggers, "container", None, TARGET, "t", 0.0, cause=cause)) == said


def test_the_metric_is_bounded_whatever_strangers_call_their_containers():
    page = (
        Metrics("1")
        .render(unwell=[(f"web{number}", "crashed", False) for number in range(1000)])
        .decode()
    )
    assert page.count("dockmend_unwell{") == 100
    assert 'dockmend_unwell{cause="crashed",container="web0",covered="no"} 1.0' in page


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (
            {"state": "created", "started_at": 0.0, "error": "port is already allocated"},
            ["not_started"],
        ),
        # shown, and wakes nobody
        ({"health": "starting", "check": HealthCheck(retries=1_000_000)}, []),
    ],
    ids=["its start failed", "its check gives no verdict"],
)
def test_what_of_it_a_person_is_told(fields: dict[str, object], messages: list[str]):
    mirror, now = Mirror(), 1000.0
    web = replace(WEB, restart_policy="always", health="", check=None)
    mirror.relist([replace(web, **fields)], [], [], now, "started")
    later = now + 86400.0

    def found() -> list[Unwell]:
        return unwell(mirror, lambda change: False, lambda container: False, later)

    assert len(found()) == 1
    troubles = OpenTroubles(
        mirror, found, list, lambda target: False, lambda container: False,
        lambda rule: Severity.WARNING, lambda: True, lambda: True, lambda: later, {},
    )  # fmt: skip
    assert [(each.kind, each.cause) for each in troubles.standing()] == [
        (Kind.DOWN, each) for each in messages
    ]
