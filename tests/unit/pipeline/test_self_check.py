"""The self-check: what was missed is found, once and beyond a race; what is left alone for a reason
stays so."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any, cast

import pytest

from dockmend.engine.engine_api import Listing
from dockmend.errors import NotFound
from dockmend.model import Container
from dockmend.observer import Observer
from dockmend.pipeline.self_check import SelfCheck
from tests.unit.pipeline.clinic import HEAL, ID, WEB, Clinic, clinic, replace, rule_text


class Gaps(Observer):
    def __init__(self) -> None:
        self.causes: list[str] = []

    def gap(self, cause: str) -> None:
        self.causes.append(cause)


class Asked:
    """The engine: its list may be another than what inspect says a moment later."""

    def __init__(self, one: Clinic) -> None:
        self.one = one
        self.listed: Iterable[Container] | None = None

    async def listing(self) -> Listing:
        listed = tuple(
            self.listed if self.listed is not None else self.one.engine.containers.values()
        )
        return Listing(listed, (), (), self.one.now, self.one.now)

    async def inspect(self, container_id: str) -> Container:
        found = self.one.engine.containers.get(container_id)
        if found is None:
            raise NotFound("no such container", 404)
        return found


def check_of(one: Clinic) -> tuple[SelfCheck, Gaps, Asked]:
    gaps, asked = Gaps(), Asked(one)
    one.dispatcher.open = True
    check = SelfCheck(
        cast("Any", asked), one.mirror, one.dispatcher, one.reconciler, gaps, one.clock.wall,
        random.Random(1), one.offer, lambda: True, race=0.0,
    )  # fmt: skip
    return check, gaps, asked


async def test_where_all_agree_nothing_is_found():
    async with clinic() as one:
        check, gaps, _ = check_of(one)
        assert await check.once() == 0
        assert gaps.causes == []


async def test_a_change_that_no_event_told_of_is_found_and_healed():
    async with clinic() as one:
        check, gaps, _ = check_of(one)
        one.engine.set(health="unhealthy")
        assert await check.once() == 1
        await one.quiet()
        assert (one.only().outcome, one.restarts, gaps.causes) == ("healed", 1, ["self_check"])
        assert await check.once() == 0


async def test_a_race_is_no_find():
    async with clinic() as one:
        check, gaps, asked = check_of(one)
        asked.listed = [replace(WEB, health="unhealthy")]  # it was, when the list was made
        assert await check.once() == 0
        assert (gaps.causes, one.journal.incidents) == ([], {})


async def test_one_that_is_removed_before_its_answer_comes_is_no_find_and_does_not_come_back():
    async with clinic() as one:
        check, gaps, asked = check_of(one)
        dead = replace(WEB, state="dead", health="")
        asked.listed = [dead]

        async def inspect(container_id: str) -> Container:
            one.offer(one.mirror.gone(ID, one.now))
            return dead

        asked.inspect = inspect  # type: ignore[method-assign]
        assert await check.once() == 0
        assert one.mirror.container(ID) is None
        assert gaps.causes == []


async def test_one_that_is_gone_is_let_go():
    async with clinic() as one:
        check, gaps, _ = check_of(one)
        one.engine.containers.clear()
        assert await check.once() == 1
        assert one.mirror.container(ID) is None
        assert gaps.causes == ["self_check"]


async def test_a_trouble_that_stands_although_its_incident_says_well_is_treated():
    async with clinic() as one:
        check, gaps, _ = check_of(one)
        one.sicken()
        await one.quiet()
        one.sicken()
        # as if it had been told of it
        one.incidents.remember_answered("heal", one.mirror.standing()[0].trouble)
        for incident in list(one.incidents.open):
            one.reconciler.attempt_ends.drop(incident, "recovered", "it was not")
        await one.quiet()
        assert one.restarts == 1
        assert await check.once() == 1
        await one.quiet()
        await one.later()  # limits hold: its backoff
        assert (one.last().outcome, one.restarts, gaps.causes) == ("healed", 2, ["self_check"])


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (HEAL, {"protect": {"name": ["web"]}}),
        (rule_text(dry_run="true"), None),
        (rule_text(**{"if": "container.name == 'db'"}), None),
        (rule_text(**{"for": "1h"}), None),
        (rule_text(when="{transition: container.unhealthy, times: 3 within 10s}").replace(
            "    when: container.unhealthy\n", ""), None),
    ],
    ids=["protected", "shadow", "condition", "for", "times"],
)  # fmt: skip
async def test_what_is_left_alone_for_a_reason_stays_so(text: str, policy: dict[str, Any] | None):
    async with clinic(text, policy) as one:
        check, gaps, _ = check_of(one)
        one.sicken()
        await one.quiet()
        for _ in range(3):
            assert await check.once() == 0
            await one.quiet()
        assert (one.restarts, gaps.causes) == (0, [])


async def test_an_open_breaker_answers_for_its_trouble():
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as one:
        check, gaps, _ = check_of(one)
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert await check.once() == 0
        assert (one.restarts, gaps.causes) == (1, [])


async def test_a_pause_answers_for_what_waits():
    async with clinic() as one:
        check, gaps, _ = check_of(one)
        one.paused = None
        one.sicken()
        await one.quiet()
        assert await check.once() == 0
        assert (one.restarts, gaps.causes) == (0, [])


async def test_an_open_incident_that_nothing_would_wake_is_woken():
    async with clinic(rule_text(**{"for": "1h"})) as one:
        check, gaps, _ = check_of(one)
        one.sicken()
        assert one.reconciler.forgotten() == []
        one.reconciler.timers.drop(one.only().id)  # a fault of dockmend's own
        assert await check.once() == 1
        await one.quiet()
        assert (one.only().outcome, gaps.causes) == ("healed", ["self_check"])
