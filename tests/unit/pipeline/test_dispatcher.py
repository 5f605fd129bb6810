"""Intake: which rule answers a trouble, once, and what becomes of what comes up meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.model import Actor, Change, Event, Volume
from dockmend.pipeline import dispatcher as module
from tests.unit.pipeline.clinic import ID, TARGET, Clinic, clinic, rule_text, until

TWO = """
version: 1
rules:
  - {name: low, when: container.unhealthy, match: all, then: restart}
  - {name: high, priority: 5, when: container.unhealthy, match: all, then: restart}
  - {name: tells, when: container.unhealthy, match: all, then: [{publish: {topic: sick}}]}
"""


def change(one: Clinic, trouble: str, **more: Any) -> Change:
    given: dict[str, Any] = {
        "triggers": ("container.unhealthy",), "kind": "container",
        "subject": one.mirror.container(ID), "target": TARGET, "trouble": trouble, "at": one.now,
    }  # fmt: skip
    return Change(**{**given, **more})


async def test_one_trouble_is_answered_once_however_often_it_is_offered():
    async with clinic() as one:
        one.sicken()
        for _ in range(3):
            one.offer(one.mirror.standing())
        await one.quiet()
        one.offer(one.mirror.standing())
        assert len(one.journal.incidents) == 1


async def test_one_remedy_acts_and_all_that_tell_do():
    async with clinic(TWO) as one:
        one.sicken()
        await one.quiet()
        assert {each.rule for each in one.journal.incidents.values()} == {"high", "tells"}
        assert (one.restarts, one.published) == (1, [("sick", "")])
        assert ("low", "suppress", "other_rule") in one.told.decisions


@pytest.mark.parametrize("mode", ["single", "queued"])
async def test_a_trouble_that_comes_while_the_winner_treats_the_target_is_not_the_next_rules(
    mode: str,
):
    """As a container that is unhealthy again after its restart: the attempts of two rules would add
    up."""
    async with clinic(TWO.replace("priority: 5", f"priority: 5, mode: {mode}")) as one:
        engine: Any = one.engine
        plain, seen = engine.restart, ["again", "and again"]

        async def restart(*given: Any) -> None:
            await plain(*given)
            if seen:
                one.offer([change(one, seen.pop())])

        engine.restart = restart
        one.sicken()
        await one.quiet()
        assert {each.rule for each in one.journal.incidents.values()} == {"high", "tells"}
        assert ("low", "suppress", "other_rule") in one.told.decisions


async def test_the_last_trouble_of_a_rule_that_gives_up_is_not_the_next_rules_either():
    """It came while the winner treated the target, and is offered again once that is over."""
    async with clinic(
        TWO.replace("priority: 5", "priority: 5, limits: {attempts: 1 per 1h}")
    ) as one:
        engine: Any = one.engine
        plain = engine.restart

        async def restart(*given: Any) -> None:
            await plain(*given)
            last = change(one, "again")
            one.offer([last])
            one.incidents.remember_answered("high", last.trouble)

        engine.restart = restart
        one.sicken()
        await one.quiet()
        one.offer([change(one, "again")])
        await one.quiet()
        assert {each.rule for each in one.journal.incidents.values()} == {"high", "tells"}


async def test_a_lower_rule_that_treats_the_target_does_not_keep_the_winner_from_acting():
    text = TWO.replace(
        "name: low, when: container.unhealthy",
        "name: low, when: [container.exited, container.unhealthy]",
    )
    async with clinic(text) as one:
        one.offer([change(one, "t1", triggers=("container.exited",)), change(one, "t2")])
        await one.quiet()
        assert {each.rule for each in one.journal.incidents.values()} == {"low", "high", "tells"}


async def test_a_rule_that_lost_a_trouble_leaves_it_alone_after_a_restart_too():
    async with clinic(TWO) as one:
        one.sicken()
        await one.quiet()
        (treated,) = [each for each in one.journal.incidents.values() if each.rule == "high"]
        assert treated.over == ("low",)
    async with clinic(TWO) as two:
        two.incidents.remember(treated)
        two.sicken()
        await two.quiet()
        assert {each.rule for each in two.journal.incidents.values()} == {"tells"}
        assert two.restarts == 0


async def test_a_shadow_rule_does_not_keep_a_live_one_from_acting():
    async with clinic(TWO.replace("priority: 5", "priority: 5, dry_run: true")) as one:
        one.sicken()
        await one.quiet()
        outcomes = {each.rule: each.outcome for each in one.journal.incidents.values()}
        assert outcomes == {"high": "dry_run", "low": "healed", "tells": "done"}


@pytest.mark.parametrize(
    ("more", "outcome"),
    [({"recovered": True}, "recovered"), ({"on_purpose": True, "note": "again"}, "on_purpose")],
)
async def test_what_is_over_or_meant_is_recorded_and_not_treated(
    more: dict[str, Any], outcome: str
):
    async with clinic() as one:
        one.offer([change(one, "t1", **more)])
        await one.quiet()
        assert (one.only().outcome, one.restarts) == (outcome, 0)


async def test_the_same_suppression_within_the_hour_only_counts():
    async with clinic(policy={"protect": {"name": ["web"]}}) as one:
        for number in range(3):
            one.offer([change(one, f"t{number}")])
        assert (one.only().outcome, one.only().count) == ("suppressed", 3)
        one.now += 3601
        one.offer([change(one, "t9")])
        assert len(one.journal.incidents) == 2


async def test_a_condition_that_cannot_be_answered_suppresses_and_says_so():
    text = rule_text(**{"if": "container.exit_code > 1"})
    async with clinic(text) as one:
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason_code) == ("suppressed", "condition_error")
        assert "exit_code" in one.only().reason


TIMES = rule_text(when="{transition: container.unhealthy, times: 3 within 10s}").replace(
    "    when: container.unhealthy\n", ""
)


async def test_times_counts_troubles_and_not_how_often_one_is_offered():
    async with clinic(TIMES) as one:
        for trouble, seconds in (("t1", 1), ("t1", 1), ("t1", 1), ("t2", 1)):
            one.offer([change(one, trouble)])
            one.now += seconds
        assert one.incidents.open == {}
        one.offer([change(one, "t3")])
        assert len(one.incidents.open) == 1


async def test_times_looks_no_further_back_than_its_window():
    async with clinic(TIMES) as one:
        for trouble, seconds in (("t1", 6), ("t2", 6), ("t3", 1)):
            one.offer([change(one, trouble)])
            one.now += seconds
        assert one.incidents.open == {}
        one.offer([change(one, "t4")])
        assert len(one.incidents.open) == 1


async def test_what_times_counts_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "COUNTED_KEPT", 10)
    async with clinic(TIMES) as one:
        for number in range(100):
            one.offer([change(one, f"t{number}", target=f"container:w{number}")])
        assert len(one.dispatcher._seen) == 10
        assert ("heal", 0, "container:w99") in one.dispatcher._seen


HOLD = rule_text(**{"for": "30s"})


async def test_for_waits_from_when_it_began_and_what_still_stands_then_is_treated():
    async with clinic(HOLD) as one:
        one.sicken()
        began = one.now
        one.now += 10
        assert (one.only().waiting_for, one.only().due_at) == ("for", began + 30)
        await one.later()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_a_new_trouble_takes_the_place_of_one_that_waits_and_is_treated_once():
    async with clinic(HOLD) as one:
        one.sicken()
        one.now += 10
        one.cure()
        one.sicken()
        first, second = one.journal.incidents.values()
        assert (first.outcome, second.state) == ("recovered", "waiting")
        assert second.due_at is not None
        assert second.due_at > one.now + 29
        await one.later()
        assert one.restarts == 1
        assert len(one.journal.incidents) == 2
        assert one.reconciler.timers._at == {}


async def test_networks_are_troubles_side_by_side():
    text = rule_text(when="container.network_lost", **{"for": "1s"}).replace(
        "    when: container.unhealthy\n", ""
    )
    async with clinic(text) as one:
        more = {"triggers": ("container.network_lost",)}
        one.offer([change(one, "a", network="a", **more), change(one, "b", network="b", **more)])
        assert [each.network for each in one.incidents.open.values()] == ["a"]
        assert list(one.dispatcher._refused[TARGET]) == ["b"]


async def test_what_came_up_while_an_incident_was_open_is_offered_again_when_it_closes():
    async with clinic(rule_text(limits="{attempts: none, backoff: 1s to 1s}")) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "backoff"
        one.cure()
        one.sicken()
        assert len(one.journal.incidents) == 1
        one.health_after = "healthy"
        await one.quiet()  # that it was well woke what waited
        assert one.incidents.open == {}
        assert one.dispatcher._refused == {}
        assert one.mirror.standing() == []


QUEUED, RESTART = (
    f"""
version: 1
rules:
  - name: told
    when: {{event: container.oom}}
    match: all
    mode: {mode}
    limits: {{attempts: none, backoff: none}}
    then: [{{wait: {{time: 1h}}}}, {{publish: {{topic: done}}}}]
"""
    for mode in ("queued", "restart")
)


def oom(one: Clinic) -> None:
    one.now += 1
    event = Event("container", "oom", Actor(ID), int(one.now * 1e9))
    one.offer([change(one, str(event.key), triggers=("container.oom",), event=event)])


async def test_queued_triggers_run_one_after_another_each_once():
    async with clinic(QUEUED.replace("time: 1h", "time: 10ms")) as one:
        for _ in range(3):
            oom(one)
        again = one.dispatcher._queued["told", TARGET][0]
        one.offer([again, again])
        assert len(one.dispatcher._queued["told", TARGET]) == 2
        assert len(one.incidents.open) == 1
        await one.quiet()
        assert [each.outcome for each in one.journal.incidents.values()] == ["done"] * 3
        assert len(one.published) == 3
        assert one.dispatcher._queued == {}


async def test_the_queue_is_bounded_and_goes_with_its_rule():
    async with clinic(QUEUED.replace("time: 1h", "time: 10ms")) as one:
        for _ in range(100):
            oom(one)
        assert len(one.dispatcher._queued["told", TARGET]) == module.QUEUED_AT_MOST
        one.dispatcher.use(type(one.rules)())
        await one.quiet()
        assert one.dispatcher._queued == {}
        assert len(one.published) == 1


async def test_restart_gives_way_to_a_new_trouble_while_it_is_being_verified():
    async with clinic(rule_text(mode="restart")) as one:
        one.wakeups.real = True
        one.health_after = "starting"
        one.sicken()
        await until(lambda: one.only().state == "verifying" and one.wakeups._waiting)
        first = one.only().id
        one.health_after = "healthy"
        one.now += 5
        one.wakeups.real = False
        one.sicken()
        await one.quiet()
        assert one.journal.incidents[first].outcome == "interrupted"
        assert one.last().outcome == "healed"
        assert (one.restarts, one.incidents.open) == (2, {})


async def test_a_change_that_is_suppressed_does_not_end_what_runs():
    async with clinic(rule_text(mode="restart", **{"for": "30s"})) as one:
        one.sicken()
        one.offer([change(one, "meant", on_purpose=True)])
        assert [each.trouble for each in one.incidents.open.values()] != []
        assert next(iter(one.incidents.open.values())).state == "waiting"


async def test_what_a_person_asks_for_is_guarded_all_the_same():
    async with clinic(policy={"protect": {"name": ["web"]}}) as one:
        refused = one.dispatcher.asked(one.rules.rules[0], change(one, "asked"), "uid 0")
        assert getattr(refused, "code", "") == "protected"
        assert one.incidents.open == {}
    async with clinic(HOLD) as one:
        asked = one.dispatcher.asked(one.rules.rules[0], change(one, "asked"), "uid 0")
        assert getattr(asked, "actor", "") == "uid 0"
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_what_is_gone_is_not_remembered_for_the_matching():
    async with clinic(TWO) as one:
        for number in range(100):
            gone = Volume(name=f"v{number}")
            one.dispatcher.offer(
                Change(
                    ("volume.missing",),
                    "volume",
                    gone,
                    f"volume:v{number}",
                    f"v{number}/missing",
                    one.clock(),
                )
            )
        assert one.dispatcher.matcher._volumes == {}
