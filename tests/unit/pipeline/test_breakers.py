"""Breakers: open once, silent then, half-open by a timer, closed once that lasts."""

from __future__ import annotations

import pytest
import structlog

from dockmend.app.given_up import given_up as given_up_on
from dockmend.model import Change
from dockmend.pipeline import breakers
from tests.unit.pipeline.clinic import HEAL, ID, TARGET, Clinic, clinic, rule_text

TWICE = rule_text(
    limits="{attempts: 2 per 15m, backoff: 1s to 300s}",
    escalate='[{publish: {topic: "lost {container.name}"}}]',
)


async def given_up(one: Clinic) -> None:
    """Two attempts fail; the breaker opens and is escalated."""
    one.health_after = "unhealthy"
    one.sicken()
    await one.quiet()
    await one.later()
    assert (one.restarts, one.told.breakers, len(one.published)) == (2, [True], 1)
    assert one.incidents.open == {}


async def test_what_still_stands_is_tried_once_when_the_breaker_is_half_open():
    async with clinic(TWICE) as one:
        await given_up(one)
        opened = one.history.of("heal", TARGET).breaker_at
        one.health_after = "healthy"
        await one.breaker_due()
        assert opened is not None
        assert one.now >= opened + 900
        assert (one.restarts, one.last().outcome, one.last().attempts) == (3, "healed", 1)


async def test_a_try_that_fails_leaves_it_open_and_is_not_escalated_again(
    monkeypatch: pytest.MonkeyPatch,
):
    lines = structlog.testing.CapturingLogger()
    monkeypatch.setattr(breakers, "log", lines)
    async with clinic(TWICE) as one:
        await given_up(one)
        for tries in (3, 4):
            await one.breaker_due()
            assert (one.restarts, one.last().outcome, one.last().reason_code) == (
                tries,
                "failed",
                "exhausted",
            )
            assert one.incidents.open == {}
            assert one.history.of("heal", TARGET).breaker_at == one.now
        assert (one.told.breakers, len(one.published)) == ([True], 1)
        tried = ["a breaker is half-open: what still stands is tried once", "a breaker stays open"]
        assert [line.args[0] for line in lines.calls if line.method_name == "info"] == tried * 2


async def test_it_closes_once_what_healed_has_lasted():
    async with clinic(TWICE) as one:
        await given_up(one)
        one.health_after = "healthy"
        await one.breaker_due()
        healed_at = one.history.of("heal", TARGET).healed_at
        assert healed_at is not None
        assert (one.told.breakers, one.journal.breakers[f"heal {TARGET}"] is None) == (
            [True],
            False,
        )
        await one.breaker_due()
        assert one.now >= healed_at + 300
        assert one.told.breakers == [True, False]
        assert one.journal.breakers == {f"heal {TARGET}": None}
        assert one.reconciler.breakers.timers._at == {}
        one.now += 1000
        one.sicken()
        await one.quiet()
        assert one.last().outcome == "healed"


async def test_what_did_not_last_is_not_tried_again_at_once():
    async with clinic(TWICE) as one:
        await given_up(one)
        one.health_after = "healthy"
        await one.breaker_due()
        one.now += 100
        one.sicken()
        await one.quiet()
        assert (one.restarts, one.last().outcome, one.last().reason_code) == (
            3,
            "suppressed",
            "breaker",
        )
        assert "did not stay well" in one.last().reason
        assert one.history.of("heal", TARGET).breaker_at == one.now
        await one.breaker_due()
        assert (one.restarts, one.last().outcome) == (4, "healed")


async def test_one_that_got_well_without_dockmend_is_closed_after_a_stable_while():
    async with clinic(TWICE) as one:
        await given_up(one)
        one.cure()
        await one.breaker_due()
        assert one.restarts == 2
        await one.breaker_due()
        assert one.told.breakers == [True, False]


async def test_while_it_is_open_one_record_counts_what_comes():
    async with clinic(TWICE) as one:
        await given_up(one)
        known = len(one.journal.incidents)
        for _ in range(5):
            one.cure()
            one.sicken()
            await one.quiet()
        assert len(one.journal.incidents) == known + 1
        assert (one.last().reason_code, one.last().count) == ("breaker", 5)
        # the metric counts each
        assert one.told.decisions.count(("heal", "suppress", "breaker")) == 5
        assert one.engine.did().count("restart") == 2


async def test_a_half_open_one_lets_a_new_trouble_through_once():
    async with clinic(TWICE) as one:
        one.history.of("heal", TARGET).breaker_at = one.now - 901
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.told.breakers) == ("healed", [])


async def test_a_person_who_asks_is_told_that_it_is_open():
    async with clinic(TWICE) as one:
        await given_up(one)
        asked = Change(
            ("container.unhealthy",),
            "container",
            one.mirror.container_named("web"),
            TARGET,
            "t",
            one.now,
        )
        refused = one.dispatcher.asked(one.rules.rules[0], asked, "uid 0")
        assert getattr(refused, "code", "") == "breaker"
        assert one.incidents.open == {}


async def test_a_reset_forgets_its_timers():
    async with clinic(TWICE) as one:
        await given_up(one)
        one.history.forget("heal", TARGET)
        one.reconciler.breakers.drop("heal", TARGET)
        assert one.reconciler.breakers.timers._at == {}
        one.cure()
        one.health_after = "healthy"
        one.sicken()
        await one.quiet()
        assert one.last().outcome == "healed"


async def test_after_a_start_each_open_one_is_planned_again():
    async with clinic(TWICE) as one:
        one.history.of("heal", TARGET).breaker_at = one.now - 10_000  # it was down meanwhile
        one.history.of("gone", TARGET).breaker_at = one.now
        one.sicken()
        await one.quiet()
        one.incidents.open.clear()
        one.reconciler.breakers.plan()
        assert list(one.reconciler.breakers.timers._at) == [f"heal\n{TARGET}"]


async def test_one_of_a_label_is_closed_if_what_is_there_again_does_not_ask():
    async with clinic(HEAL.replace("match: all", "match: {name: nobody}"), heal="labelled") as one:
        labels = {"dockmend.heal": "true", "dockmend.heal.attempts": "1 per 15m"}
        one.engine.set(labels=labels)
        one.learn_from(one.engine.containers[ID])
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert [
            each.rule for each in given_up_on(one.history, one.mirror, one.reconciler.rules)
        ] == ["label:heal"]
        one.engine.set(labels={})
        one.learn_from(one.engine.containers[ID])
        assert given_up_on(one.history, one.mirror, one.reconciler.rules) == []
        await one.breaker_due()
        assert one.history.of("label:heal", TARGET).breaker_at is None
        assert one.restarts == 1
