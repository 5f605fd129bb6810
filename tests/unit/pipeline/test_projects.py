"""A Compose project that an attempt restarts: its other members are part of that, and it is not
done once for each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dockmend.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, HealthCheck
from tests.unit.pipeline.clinic import WEB, Clinic, clinic, replace
from tests.unit.pipeline.test_groups import Town

RULES = """
version: 1
rules:
  - name: group
    when: container.unhealthy
    match: {compose: {project: shop}}
    then: compose_restart
"""


def member(number: int, project: str = "shop") -> Container:
    name = f"{project}-s{number}-1"
    labels = {COMPOSE_PROJECT: project, COMPOSE_SERVICE: f"s{number}"}
    return replace(
        WEB,
        id=str(number) * 64,
        name=name,
        labels=labels,
        started_at=950.0,
        check=HealthCheck(1, 1, 0, 1),
    )


class Project(Town):
    """A start makes well."""

    def __init__(self, one: Clinic, *members: Container) -> None:
        super().__init__(one, *members)
        self.sick: set[str] = set()  # ids of those that stay unhealthy

    def sicken(self, container: Container) -> None:
        self.one.engine.containers[container.id] = replace(
            self.one.engine.containers[container.id], health="unhealthy"
        )
        self.emit(container.id, "health_status: unhealthy")
        self.one.look()

    async def _start(self, container_id: str) -> None:
        await super()._start(container_id)
        self.set(container_id, health="unhealthy" if container_id in self.sick else "healthy")


def restarts(one: Clinic) -> list[tuple[str, str | None]]:
    return [
        (each.object_name, each.outcome)
        for each in one.journal.actions.values()
        if each.action == "compose_restart"
    ]


def ends(one: Clinic) -> dict[str, tuple[str | None, str]]:
    return {
        each.object_name: (each.outcome, each.reason) for each in one.journal.incidents.values()
    }


@pytest.mark.parametrize("then", ["compose_restart", "[unpause, compose_restart]"])
async def test_two_that_are_unhealthy_at_once_have_their_project_restarted_once(then: str) -> None:
    async with clinic(RULES.replace("compose_restart", then)) as one:
        project = Project(one, member(1), member(2))
        project.sicken(member(1))
        project.sicken(member(2))
        await one.quiet()
        assert restarts(one) == [("shop-s1-1", "done")]
        assert [name for action, name in project.done if action == "start"] == [
            "shop-s1-1",
            "shop-s2-1",
        ]
        one.reconciler.look_again("owner")  # its closing woke the other one already
        await one.quiet()
        assert ends(one)["shop-s1-1"][0] == "healed"
        assert ends(one)["shop-s2-1"] == ("recovered", "recovered with what was treated beside it")
        assert not one.reconciler.steps.living.together


async def test_what_becomes_unhealthy_in_the_middle_of_it_is_treated_after_it() -> None:
    """Else the project would be stopped as it is being started."""
    first, second = member(1), member(2)
    second = replace(
        second,
        labels={**second.labels, "com.docker.compose.depends_on": "s1:service_started:false"},
    )
    async with clinic(RULES) as one:
        project = Project(one, first, second)
        start: Any = one.engine.start

        async def started(container_id: str) -> None:
            await start(container_id)
            if container_id == first.id and len(project.done) == 3:
                one.now += 5
                project.sicken(first)
                for _ in range(100):  # time for what it must not begin
                    await asyncio.sleep(0)

        one.engine.start = started  # type: ignore[assignment, method-assign]
        project.sicken(second)
        await one.quiet()
        once = [
            ("stop", second.name),
            ("stop", first.name),
            ("start", first.name),
            ("start", second.name),
        ]
        assert project.done[:4] == once
        assert restarts(one) == [(second.name, "done"), (first.name, "done")]


async def test_another_project_does_not_wait() -> None:
    async with clinic(RULES.replace("project: shop", "project: '*'")) as one:
        project = Project(one, member(1), member(2, "bar"))
        project.sicken(member(1))
        project.sicken(member(2, "bar"))
        await one.quiet()
        assert restarts(one) == [("shop-s1-1", "done"), ("bar-s2-1", "done")]


async def test_one_that_is_unhealthy_after_it_all_the_same_is_treated() -> None:
    async with clinic(RULES + "    verify: none\n") as one:
        project = Project(one, member(1), member(2))
        project.sick.add(member(2).id)
        project.sicken(member(1))
        project.sicken(member(2))
        await one.quiet()
        assert [name for name, _ in restarts(one)][:2] == ["shop-s1-1", "shop-s2-1"]
