"""Treatment: from a trouble to a closed incident, with everything that can come between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from dockmend.decide import CODES
from dockmend.errors import EngineAway, Permanent, Temporary
from dockmend.journal.records import ActionRecord
from dockmend.mirror.expectations import Expectation
from dockmend.model import Actor, Change, Container, Event, HealthCheck
from dockmend.pipeline.keyed_workers import WorkerSlots
from dockmend.pipeline.step_runner import Intent
from dockmend.pipeline.successors import Successors
from dockmend.rules.loader import load_texts
from tests.unit.pipeline.clinic import (
    HEAL,
    ID,
    TARGET,
    WEB,
    Clinic,
    clinic,
    replace,
    rule_text,
    until,
)

TWICE = rule_text(limits="{attempts: 2 per 15m, backoff: 1s to 2s}")


async def test_a_sick_container_is_restarted_verified_and_closed():
    async with clinic() as one:
        one.sicken()
        await one.quiet()
        incident = one.only()
        assert (incident.outcome, incident.attempts, incident.reason) == (
            "healed",
            1,
            "healthy again",
        )
        assert one.restarts == 1
        (record,) = one.journal.actions.values()
        assert (record.outcome, record.part, record.attempt) == ("done", "then", 1)
        assert one.incidents.open == {}
        echo = one.mirror.entries[ID].echo
        assert echo is None or not echo.covers(one.now + 2)


async def test_without_within_the_check_has_its_own_time_and_half_a_minute():
    """rules.md: start period + (interval + timeout) × (retries + 1) + 30 s."""
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as one:
        one.engine.set(check=HealthCheck(interval=10.0, timeout=5.0, start_period=7.0, retries=2))
        one.health_after = "starting"
        one.sicken()
        await one.quiet()
        assert one.only().reason == "not healthy within 82 s; given up after 1 attempts"


async def test_one_that_got_well_before_its_turn_is_not_touched():
    async with clinic() as one:
        one.sicken()
        one.engine.set(health="healthy")
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("recovered", 0)


async def test_one_that_is_gone_before_its_turn_is_not_touched():
    async with clinic() as one:
        one.sicken()
        del one.engine.containers[ID]
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "recovered",
            "recovered on its own: it is gone",
        )


@pytest.mark.parametrize("is_gone", [False, True], ids=["being removed", "gone"])
async def test_one_that_is_removed_meanwhile_is_no_reason_to_give_up(is_gone: bool):
    """Its successor bears its name, and with it the breaker; even the last attempt there is opens
    none."""

    def remove() -> None:
        one.engine.set(state="removing")
        if is_gone:
            del one.engine.containers[ID]

    async with clinic(HEAL + "    limits: {attempts: 1 per 15m}\n") as one:
        one.engine.trouble["restart"] = Permanent("it is marked for removal", 409)
        one.engine.on["restart"] = remove
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "interrupted",
            "it was removed meanwhile",
        )
        assert one.restarts == 1
        assert one.reconciler.history.of(one.only().rule, one.only().target).breaker_at is None


TIDY = """
version: 1
rules:
  - name: tidy
    when: container.stuck
    match: all
    then: {remove: {force: true}}
    limits: {attempts: none}
"""


@pytest.mark.parametrize("state", ["dead", "removing"])
async def test_a_stop_or_a_removal_explains_nothing_of_what_is_stuck_in_it(state: str):
    """It was stopped, and cannot be removed: that it was stopped is no reason to let it be."""
    async with clinic(TIDY, {"allow": ["remove"]}) as one:
        one.engine.trouble["remove"] = Temporary("unable to remove filesystem", 500)
        one._stopped()
        one.look()
        one.engine.set(state=state)
        one.learn_from(one.engine.containers[ID])
        one.now += 61
        one.tick()
        await one.quiet()
        assert one.only().state == "waiting", one.only().reason
        one.engine.trouble.clear()
        await one.later()
        assert one.only().outcome == "done"


async def test_one_that_is_gone_to_begin_with_is_given_up_where_it_cannot_be_brought_back():
    """Of what is missing, being gone is the trouble and not its end."""
    async with clinic(HEAL.replace("container.unhealthy", "container.missing")) as one:
        one.engine.trouble["restart"] = Permanent("its files are not as they were")
        one.engine.on.clear()
        del one.engine.containers[ID]
        one.emit("destroy")
        one.offer(
            [Change(("container.missing",), "container", WEB, TARGET, f"{ID}/missing", one.clock())]
        )
        await one.quiet()
        assert one.only().outcome == "failed"
        assert "its files are not as they were" in one.only().reason


async def test_an_engine_that_is_away_as_an_attempt_fails_for_good_is_waited_for():
    async with clinic() as one:
        one.engine.trouble["restart"] = Permanent("it is marked for removal", 409)
        one.engine.on["restart"] = lambda: one.engine.trouble.update(inspect=EngineAway("gone"))
        one.sicken()
        await one.quiet()
        assert (one.only().state, one.only().waiting_for) == ("waiting", "engine")
        one.engine.trouble.clear()
        one.engine.on.clear()
        del one.engine.containers[ID]
        one.reconciler.engine_back()
        await one.quiet()
        assert one.only().reason.endswith("it is gone")
        assert one.reconciler.history.of(one.only().rule, one.only().target).breaker_at is None


async def test_a_failed_attempt_is_parked_for_its_backoff_and_the_next_one_heals():
    async with clinic(TWICE) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        parked = one.only()
        assert (parked.state, parked.waiting_for, parked.attempts) == ("waiting", "backoff", 1)
        assert parked.due_at is not None
        assert 0.0 < parked.due_at - one.now <= 1.0
        assert parked.id in one.reconciler.timers
        one.health_after = "healthy"
        await one.later()
        assert (one.only().outcome, one.only().attempts, one.restarts) == ("healed", 2, 2)


async def test_one_that_gets_well_while_its_next_attempt_waits_is_healed_by_the_one_before():
    async with clinic(TWICE) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        one.cure()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_one_without_a_verdict_is_not_verified_over_and_over():
    """Its trouble is gone and its check has not passed yet. After a `reset` there is no attempt to
    wait after."""
    rules = HEAL + "    verify: {within: 1s}\n    limits: {backoff: 30m to 1h}\n"
    async with clinic(rules) as one:
        one.health_after = "starting"
        one.sicken()
        await one.quiet()
        one.history.forget("heal", TARGET)
        await one.later()
        before = one.now

        await one.later(3)

        assert one.now - before >= 60.0
        assert one.only().attempts == 1


async def test_exhausted_attempts_open_the_breaker_and_the_next_trouble_is_suppressed():
    async with clinic(TWICE) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        await one.later()
        assert (one.only().outcome, one.only().reason_code) == ("failed", "exhausted")
        assert one.only().reason == "unhealthy again; given up after 2 attempts"
        assert one.told.breakers == [True]
        assert one.journal.breakers[f"heal {TARGET}"] is not None
        one.cure()
        one.sicken()
        await one.quiet()
        assert (one.last().reason_code, one.restarts) == ("breaker", 2)


async def test_a_ladder_is_climbed_until_a_remedy_heals():
    text = rule_text(
        limits="{attempts: 1 per 15m}",
        escalate='[{publish: {topic: "first"}}, start, restart, {publish: {topic: "never"}}]',
    )
    async with clinic(text) as one:
        one.health_after = "unhealthy"
        one.sicken()
        restart = one.engine.on["restart"]

        def second_time() -> None:
            one.health_after = "healthy" if one.restarts > 1 else "unhealthy"
            restart()

        one.engine.on["restart"] = second_time
        await one.quiet()
        assert one.only().outcome == "healed"
        assert "escalation" in one.only().reason
        assert [topic for topic, _ in one.published] == ["first"]
        assert one.told.breakers == [True]  # it closes once that has lasted
        assert [each.part for each in one.journal.actions.values()] == ["then", *["escalate"] * 3]


async def test_a_container_that_is_healed_too_often_runs_the_ladder_too():
    text = rule_text(
        limits="{attempts: 2 per 15m, backoff: none}", escalate='[{publish: {topic: "flaps"}}]'
    )
    async with clinic(text) as one:
        for _ in range(3):
            one.sicken()
            await one.quiet()
        assert [each.outcome for each in one.journal.incidents.values()] == [
            "healed",
            "healed",
            "failed",
        ]
        assert (one.restarts, [topic for topic, _ in one.published]) == (2, ["flaps"])
        assert one.told.decisions.count(("heal", "suppress", "attempts")) == 1


async def test_escalation_spends_the_hosts_budget():
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[restart]")
    async with clinic(text, budget=(1, 60.0)) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert (one.only().state, one.only().waiting_for, one.only().rung) == (
            "waiting",
            "budget",
            0,
        )
        assert one.restarts == 1
        one.health_after = "healthy"
        await one.places_come_free()
        assert (one.only().outcome, one.restarts) == ("healed", 2)


@pytest.mark.parametrize("more", ["[restart, restart]", "[restart]\n    finally: [start]"])
async def test_each_step_that_changes_something_spends_the_hosts_budget(more: str):
    async with clinic(HEAL.replace("then: restart", f"then: {more}"), budget=(3, 60.0)) as one:
        one.sicken()
        await one.quiet()
        assert one.last().outcome == "healed"
        assert len(one.history.host) == 2
        one.history.targets.clear()
        one.sicken()
        await one.quiet()
        assert (one.last().state, one.last().waiting_for) == ("waiting", "budget")
        await one.places_come_free()
        assert (one.last().outcome, len(one.history.host)) == ("healed", 4)


async def test_the_journal_says_of_an_action_the_time_by_which_the_limits_counted_it():
    """The engine is slow to find a step's target, and not each time as slow: who counts must not
    see one too many."""
    there = "[{restart: {}, target: {name: web}}]"
    text = HEAL.replace("then: restart", f"then: {there}")
    async with clinic(
        text + f"    limits: {{attempts: 1 per 15m}}\n    escalate: {there}\n"
    ) as one:

        def slow() -> None:
            one.now += 0.25

        one.health_after = "unhealthy"
        one.engine.on["inspect"] = slow
        one.sicken()
        await one.quiet()
        one.look()
        await one.quiet()
        begun = list(one.journal.actions.values())
        assert [each.part for each in begun] == ["then", "escalate"]
        assert [each.began_at for each in begun] == list(one.history.host)


@pytest.mark.parametrize("held", [TARGET, "container:shop"], ids=["its old name", "its new name"])
async def test_escalation_heeds_a_pause_of_one_that_was_renamed_meanwhile(held: str):
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[restart]").replace(
        "match: all", "match: {name: web}"
    )
    async with clinic(text) as one:  # under its new name no rule begins anything
        one.health_after = "unhealthy"
        restart = one.engine.on["restart"]

        def renamed() -> None:
            restart()
            one.engine.set(name="shop")
            one.emit("rename", name="shop", oldName="/web")
            one.paused = lambda rule, target: None if target == held else False

        one.engine.on["restart"] = renamed
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, one.only().rung, one.restarts) == ("paused", 0, 1)
        one.paused, one.health_after = False, "healthy"
        one.engine.on["restart"] = restart
        one.reconciler.look_again("paused")
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 2)


async def test_an_escalation_the_policy_does_not_allow_is_not_taken():
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[stop]")
    async with clinic(text, policy={"allow": ["restart"]}) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "failed"
        assert "stop" not in one.engine.did()
        assert ("heal", "suppress", "policy") in one.told.decisions


async def test_shadow_mode_decides_records_and_touches_nothing():
    async with clinic(dry_run=True) as one:
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("dry_run", 0)
        assert "restart" in one.only().reason
        assert one.history.host == type(one.history.host)(maxlen=4096)


async def test_a_persons_stop_during_the_restart_wins():
    async with clinic() as one:
        one.swallow_a_stop()
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")
        assert one.engine.did("remember") == ["restart", "stop"]
        assert one.mirror.stopped(ID)


async def test_one_that_somebody_stopped_while_it_waited_is_not_started():
    async with clinic(rule_text(limits="{backoff: 10s to 20s}")) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        one.now += 2
        one._stopped()
        one.learn_from(one.engine.containers[ID])
        await one.later()
        assert one.restarts == 1
        assert one.only().state == "closed"


async def test_a_pause_holds_back_and_lifting_it_brings_back_at_once():
    async with clinic() as one:
        one.paused = None
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, one.restarts) == ("paused", 0)
        one.paused = False
        one.reconciler.look_again("paused")
        one.reconciler.look_again("paused")  # twice in a row: still one attempt
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_what_somebody_paused_stays_paused_and_is_looked_at_when_it_goes_on():
    async with clinic(rule_text(**{"for": "30s"})) as one:
        one.sicken()
        one.engine.set(state="paused")  # to look at it in peace
        one.emit("pause")
        await one.later()
        assert (one.only().state, one.only().waiting_for, one.restarts) == ("waiting", "paused", 0)
        one.engine.set(state="running")
        one.emit("unpause")
        one.reconciler.look_again("paused")
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


@pytest.mark.parametrize("escalation", [False, True], ids=["attempt", "escalation"])
async def test_one_that_somebody_pauses_while_it_is_verified_is_verified_when_it_goes_on(
    escalation: bool,
):
    """A pause is a person's will: no attempt failed, none is made, and it is not asked again and
    again."""
    more = {"limits": "{attempts: 1 per 15m}", "escalate": "[restart]"} if escalation else {}
    async with clinic(rule_text(**more)) as one:
        last = 2 if escalation else 1

        def restarted() -> None:
            one._restarted()
            if one.restarts == last:
                one.engine.set(state="paused", health="starting")
                one.emit("pause")

        one.engine.on["restart"] = restarted
        one.health_after = "unhealthy" if escalation else "starting"
        one.sicken()
        await one.quiet()
        for _ in range(3):
            assert (one.only().state, one.only().waiting_for, one.restarts) == (
                "waiting",
                "paused",
                last,
            )
            await one.later()
        assert one.only().attempts == 1
        one.engine.set(state="running")
        one.emit("unpause")
        one.cure()
        one.reconciler.look_again("paused")
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", last)


async def test_a_rule_that_unpauses_is_not_held_back_by_the_pause():
    async with clinic(
        rule_text(**{"for": "30s"}).replace("then: restart", "then: [unpause, restart]")
    ) as one:
        one.sicken()
        one.engine.set(state="paused")
        one.emit("pause")
        await one.later()
        assert one.restarts == 1


async def test_one_that_somebody_stopped_during_an_earlier_step_is_not_started_by_a_later_one():
    steps = "then: [{publish: {topic: seen}}, restart]"
    async with clinic(rule_text().replace("then: restart", steps)) as one:
        one.publish = lambda topic, payload, retain=False: one._stopped()  # type: ignore[method-assign]
        one.sicken()
        await one.quiet()
        assert one.restarts == 0
        assert (one.only().outcome, one.only().reason_code) == ("suppressed", "stopped")


async def test_one_whose_stop_comes_after_the_look_that_found_it_ended_is_not_started():
    """The stream may be behind a look: an end that no event told of yet has its second (campaign,
    seed 2026)."""
    steps = "then: [{publish: {topic: seen}}, restart]"
    async with clinic(rule_text().replace("then: restart", steps)) as one:
        wait = one.wakeups.wait

        async def heard_late(target: str, timeout: float, *more: str) -> None:
            await wait(target, timeout / 2, *more)  # by now the end has been told of as a crash
            for action in ("kill", "die", "stop"):
                one.emit(action, signal="15", exitCode="143")

        def stopped_unheard(topic: str, payload: str, retain: bool = False) -> None:
            one.engine.set(state="exited", exit_code=143, finished_at=one.now, health="")

        one.publish, one.wakeups.wait = stopped_unheard, heard_late  # type: ignore[method-assign]
        one.sicken()
        await one.quiet()
        assert one.restarts == 0
        assert (one.only().outcome, one.only().reason_code) == ("suppressed", "stopped")


async def test_an_incident_is_never_treated_before_its_backoff_because_it_was_submitted_twice():
    async with clinic(TWICE) as one:
        one.health_after = "unhealthy"
        one.sicken()
        one.reconciler.submit(one.only().id)
        await one.quiet()
        assert (one.only().waiting_for, one.restarts) == ("backoff", 1)


async def test_what_happened_when_it_is_over_is_told_though_the_object_is_gone():
    text = """
version: 1
rules:
  - name: gone
    when: {event: container.destroy}
    match: all
    then: [{publish: {topic: "gone/{container.name}"}}]
"""
    async with clinic(text) as one:
        event = _destroyed(one)
        del one.engine.containers[ID]
        one.dispatcher.offer(event)
        await one.quiet()
        assert (one.only().outcome, one.published) == ("done", [("gone/web", "")])
        assert one.reconciler.live_state.kept == {}


def _destroyed(one: Clinic) -> Change:
    event = Event("container", "destroy", Actor(ID), int(one.now * 1e9))
    web = one.mirror.container(ID)
    return Change(
        ("container.destroy",), "container", web, TARGET, f"{event.key}", one.now, event=event
    )


async def test_the_engines_own_transitions_are_told_without_an_object():
    text = """
version: 1
rules:
  - name: lost
    when: engine.lost
    match: all
    then: [{publish: {topic: "lost"}}]
"""
    async with clinic(text) as one:
        one.offer(one.mirror.engine_lost(one.now))
        await one.quiet()
        assert (one.only().outcome, one.published) == ("done", [("lost", "")])


async def test_every_decision_has_a_known_code():
    async with clinic(TWICE, policy={"protect": {"name": ["db"]}}) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        await one.later()
        one.cure()
        one.sicken()
        await one.quiet()
        assert {reason for _, _, reason in one.told.decisions} <= {"", *CODES}


async def test_stopping_begins_nothing_and_leaves_what_is_verified_to_the_next_start():
    async with clinic() as one:
        one.wakeups.real = True
        one.health_after = "starting"
        one.sicken()
        await until(lambda: one.only().state == "verifying" and one.wakeups._waiting)
        one.reconciler.stop()
        await one.quiet()
        assert one.only().state == "verifying"
        one.reconciler.submit(one.only().id)
        assert not one.lanes.busy(TARGET)


async def test_a_fault_of_dockmends_own_closes_its_incident():
    async with clinic() as one:
        one.engine.trouble["inspect"] = KeyError("a fault")
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason_code) == ("failed", "internal")
        assert [type(error) for error in one.faults] == [KeyError]
        one.faults.clear()


async def test_a_schedule_restarts_what_runs_and_never_what_somebody_stopped():
    text = rule_text(when="{every: 5m}").replace("    when: container.unhealthy\n", "")
    async with clinic(text) as one:
        one._stopped()
        one.learn_from(one.engine.containers[ID])
        one.now += 10
        one.tick()
        web = one.mirror.container(ID)
        one.dispatcher.fire(
            one.rules.rules[0], Change(("every",), "container", web, TARGET, "every/1", one.now)
        )
        await one.quiet()
        assert (one.only().outcome, one.only().reason_code, one.restarts) == (
            "suppressed",
            "stopped",
            0,
        )


async def test_finally_may_do_no_more_than_the_policy_allows():
    async with clinic(rule_text(**{"finally": "[stop]"}), policy={"allow": ["restart"]}) as one:
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"
        assert "stop" not in one.engine.did()


async def test_one_that_lies_down_when_its_next_attempt_is_due_is_not_called_healed():
    async with clinic(TWICE) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "backoff"
        # The engine ended it on its own way down: no trouble of the container's stands, and still
        # it is not well.
        one.engine.set(state="exited", health="", exit_code=143)
        entry = one.mirror.entries[ID]
        entry.kept.standing.clear()
        entry.kept.run.died_at, entry.kept.run.by = one.now, "engine"
        await one.later()
        assert (one.only().outcome, one.restarts) == ("interrupted", 1)


TELLS = """
version: 1
rules:
  - {name: tells, when: container.unhealthy, match: all,
     then: [{publish: {topic: sick}}], limits: {backoff: none}}
  - {name: heal, when: container.unhealthy, match: all,
     then: restart, limits: {attempts: none, backoff: none}}
"""


async def test_what_only_tells_costs_the_hosts_budget_nothing():
    async with clinic(TELLS, budget=(2, 60.0)) as one:
        for _ in range(2):
            one.sicken()
            await one.quiet()
        assert (one.restarts, len(one.published)) == (2, 2)
        assert len(one.history.host) == 2
        one.sicken()
        await one.quiet()
        assert len(one.published) == 3
        assert [each.waiting_for for each in one.incidents.open.values()] == ["budget"]


async def renamed_while_it_waits(one: Clinic) -> None:
    """An attempt failed; before the next one a person gives the container another name, and it
    ends."""
    one.health_after = "unhealthy"
    one.sicken()
    await one.quiet()
    assert (one.only().waiting_for, one.restarts) == ("backoff", 1)
    one.engine.set(name="shop")
    one.emit("rename", name="shop", oldName="/web")
    one.emit("die", exitCode="1")
    one.engine.set(state="exited", exit_code=1, finished_at=one.now, health="")
    one.look()
    one.now += 1.0  # nobody stopped it: it crashed
    one.tick()
    await one.quiet()
    assert (one.only().waiting_for, one.restarts) == ("backoff", 1)
    one.health_after = "healthy"


ANY_END = rule_text(limits="{attempts: 5 per 15m, backoff: 60s to 2m}").replace(
    "container.unhealthy", "[container.unhealthy, container.crashed]"
)


@pytest.mark.parametrize("mode", ["single", "queued"])
async def test_a_container_that_is_renamed_in_the_middle_of_an_incident_has_no_second_one(
    mode: str,
):
    async with clinic(f"{ANY_END}    mode: {mode}\n") as one:
        await renamed_while_it_waits(one)
        await one.later()
        assert (one.only().outcome, one.only().target, one.restarts) == ("healed", TARGET, 2)
        assert one.incidents._by_container == {}


async def test_what_comes_up_of_a_renamed_container_is_treated_once_its_incident_is_over():
    async with clinic(ANY_END) as one:
        await renamed_while_it_waits(one)
        one.reconciler.attempt_ends.close(one.only().id, "failed", "given up")
        await one.quiet()
        assert (one.last().outcome, one.last().target, one.restarts) == (
            "healed",
            "container:shop",
            2,
        )


async def test_what_only_tells_keeps_nothing_from_being_healed():
    slow = TELLS.replace("[{publish: {topic: sick}}]", "[{wait: {time: 1h}}]").replace(
        "unhealthy", "started", 1
    )
    async with clinic(slow) as one:
        for number in range(8):  # twice as many as may change something at a time
            web, target = replace(WEB, id=f"{number:064}"), f"container:w{number}"
            one.offer(
                [Change(("container.started",), "container", web, target, f"t{number}", one.now)]
            )
        await until(lambda: [each.state for each in one.incidents.open.values()] == ["acting"] * 8)
        one.sicken()
        await until(
            lambda: any(each.outcome == "healed" for each in one.journal.incidents.values())
        )
        assert one.restarts == 1


async def test_a_rule_that_came_to_shadow_touches_nothing_more():
    async with clinic(rule_text(**{"for": "30s"})) as one:
        one.sicken()
        one.reconciler.rules.use(
            load_texts({"r.yaml": rule_text(dry_run="true", **{"for": "30s"})}, host="host")
        )
        await one.later()
        assert (one.only().outcome, one.restarts) == ("dry_run", 0)


async def test_what_stands_under_another_name_when_it_is_given_up_is_what_its_record_names():
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "failed"
        assert [change.trouble for change in one.mirror.standing()] == [one.only().trouble]


@asynccontextmanager
async def nothing_free(one: Clinic) -> AsyncIterator[WorkerSlots]:
    """Every place under the host's cap is taken, until it is left."""
    slots = one.reconciler.caps.of(changes=True)
    async with AsyncExitStack() as others:
        for _ in range(4):
            await others.enter_async_context(slots.taken(0.0))
        yield slots


@pytest.mark.parametrize("escalation", [False, True], ids=["an attempt", "a rung of the ladder"])
async def test_one_that_somebody_stopped_while_a_place_was_waited_for_is_not_started(
    escalation: bool,
):
    """What was looked at before a place came free may be seconds old by then (campaign, seed
    2083)."""
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[restart]")
    async with clinic(text) as one:
        one.wakeups.real = escalation
        if escalation:
            one.engine.trouble["restart"] = [Permanent("no"), None]
        async with nothing_free(one) as slots:
            one.sicken()
            await until(lambda: slots._waiting)
            if escalation:
                await _the_attempt_and_then_the_rung(slots)
            one._stopped()
        await one.quiet()
        assert one.restarts == int(escalation)
        assert one.only().outcome == ("on_purpose" if escalation else "recovered")


async def test_one_that_somebody_paused_while_a_place_was_waited_for_stays_paused():
    """It is looked at again once there is a place: no event of the pause has come yet."""
    async with clinic() as one:
        async with nothing_free(one) as slots:
            one.sicken()
            await until(lambda: slots._waiting)
            one.engine.set(state="paused")
        await one.quiet()
        assert (one.restarts, one.only().waiting_for) == (0, "paused")


async def _the_attempt_and_then_the_rung(slots: WorkerSlots) -> None:
    """One place for the attempt, which is taken again before the rung has it."""
    slots._give()
    await until(lambda: not slots._waiting)
    await slots._take(-1.0)
    await until(lambda: slots._waiting)


async def test_a_persons_stop_that_the_engine_refuses_to_do_again_is_asked_for_again():
    """It was lost in dockmend's own restart: a refusal of the moment (500) must not undo it
    (campaign, seed 2061)."""
    async with clinic() as one:
        one.swallow_a_stop()
        stop, refusals = one.engine.on["stop"], 3

        def refused() -> None:
            nonlocal refusals
            refusals -= 1
            if refusals >= 0:
                raise Temporary("the engine has other worries", 500)
            stop()

        one.engine.on["stop"] = refused
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")
        assert [each.outcome for each in one.journal.actions.values()] == [
            "done",
            *["failed"] * 3,
            "done",
        ]
        assert one.mirror.stopped(ID)


async def test_a_persons_stop_that_can_never_be_done_again_is_told():
    async with clinic() as one:
        one.swallow_a_stop()
        del one.engine.on["stop"]
        one.engine.trouble["stop"] = Temporary("the engine has other worries", 500)
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason_code) == ("failed", "stopped")
        assert "could not be done again" in one.only().reason
        assert one.engine.did("remember").count("stop") == 5


@pytest.mark.parametrize("again", [True, False], ids=["and may be tried again", "for good"])
async def test_the_last_attempt_fails_as_a_person_stops_it_and_that_is_no_reason_to_give_up(
    again: bool,
):
    """`docker stop` had just killed it, and whose doing that was came after the step had failed:
    "did not heal"."""

    def stopped() -> None:
        now = one.clock.wall()
        one.engine.set(state="exited", exit_code=137, finished_at=now)
        one.emit("kill", signal="15")
        one.emit("kill", signal="9")
        one.emit("die", exitCode="137")
        one.emit("stop")

    async with clinic(HEAL + "    limits: {attempts: 1 per 15m}\n") as one:
        one.engine.trouble["restart"] = (
            Temporary("not now", 500) if again else Permanent("it is not running", 409)
        )
        one.engine.on["restart"] = stopped
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")
        assert one.reconciler.history.of(one.only().rule, one.only().target).breaker_at is None


async def test_what_a_person_stops_while_it_is_escalated_did_not_fail_to_heal():
    def stopped() -> None:
        one.engine.set(state="exited", exit_code=137, finished_at=one.clock.wall())
        for action, more in (
            ("kill", {"signal": "15"}),
            ("die", {"exitCode": "137"}),
            ("stop", {}),
        ):
            one.emit(action, **more)

    async with clinic(HEAL + "    limits: {attempts: 1 per 15m}\n    escalate: [pause]\n") as one:
        one.engine.trouble["restart"] = Permanent("it will not", 409)
        one.engine.trouble["pause"] = Permanent("it is not running", 409)
        one.engine.on["pause"] = stopped
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")


async def test_one_that_is_removed_while_its_last_attempt_is_verified_is_no_reason_to_give_up():
    async with clinic(HEAL + "    limits: {attempts: 1 per 15m}\n") as one:
        one.health_after, wait = "starting", one.wakeups.wait

        async def removed(target: str, timeout: float, *more: str) -> None:
            one.engine.containers.pop(ID, None)
            one.emit("destroy")
            await wait(target, timeout, *more)

        one.sicken()
        one.wakeups.wait = removed  # type: ignore[method-assign]
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "interrupted",
            "it was removed meanwhile",
        )
        assert one.reconciler.history.of(one.only().rule, one.only().target).breaker_at is None


async def test_a_rule_that_only_starts_does_not_wait_for_the_health_of_one_that_ran_already():
    """It has nothing to do with it, and the rule that has waits in the same lane (campaign, seed
    2052)."""
    text = rule_text(limits="{attempts: 2 per 15m, backoff: 1s to 1s}").replace(
        "container.unhealthy", "container.crashed"
    )
    async with clinic(text.replace("then: restart", "then: start")) as one:
        one.health_after = "unhealthy"
        one.emit("die", exitCode="1")
        one.engine.set(state="exited", exit_code=1, finished_at=one.now, health="")
        one.look()
        one.now += 1
        one.tick()
        await one.quiet()
        began_at = one.now
        await one.later()
        assert [each.detail for each in one.journal.actions.values()] == [
            "started",
            "it ran already",
        ]
        assert (one.only().outcome, one.only().reason) == (
            "failed",
            "unhealthy again; given up after 2 attempts",
        )
        assert one.now - began_at < 5


@pytest.mark.parametrize("escalates", [False, True], ids=["the next step", "the next rung"])
async def test_what_somebody_pauses_during_an_earlier_step_stays_paused_and_goes_on_with_it(
    escalates: bool,
):
    """A snapshot takes its time: who pauses the container meanwhile is heeded, and the attempt goes
    on later."""
    text = rule_text().replace("then: restart", "then: [{publish: {topic: seen}}, restart]")
    if escalates:
        text = rule_text(
            limits="{attempts: 1 per 15m}", escalate="[{publish: {topic: seen}}, restart]"
        )
    async with clinic(text) as one:

        def pause(topic: str, payload: str, retain: bool = False) -> None:
            one.engine.set(state="paused")
            one.emit("pause")
            one.published.append((topic, payload))

        one.publish = pause  # type: ignore[method-assign]
        one.engine.trouble["restart"] = [Permanent("no"), None] if escalates else []
        one.sicken()
        await one.quiet()
        assert (one.restarts, one.only().state, one.only().waiting_for) == (
            int(escalates),
            "waiting",
            "paused",
        )
        await one.later(2)
        # for as long as it is
        assert (one.restarts, one.only().waiting_for) == (int(escalates), "paused")
        assert len(one.history.host) == 1  # and a look costs nothing
        one.engine.set(state="running")
        one.emit("unpause")
        await one.quiet()
        assert (one.only().outcome, one.restarts, len(one.published)) == (
            "healed",
            1 + int(escalates),
            1,
        )
        assert one.only().attempts == 1


@pytest.mark.parametrize("stopped", [True, False], ids=["the engine did it", "it did not"])
async def test_a_persons_stop_of_which_the_answer_was_lost_is_carried_through(stopped: bool):
    """It is the person's whatever became of the answer: nobody starts what it ended, and nobody
    forgets it."""
    async with clinic() as one:
        one.swallow_a_stop()
        stop = one.engine.on["stop"]

        def cut() -> None:
            one.engine.on["stop"] = stop
            if stopped:
                stop()
            raise EngineAway("the connection was cut")

        one.engine.on["stop"] = cut
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.now += 30  # longer than a stop takes
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")
        assert (one.restarts, one.engine.did().count("stop")) == (1, 1 if stopped else 2)
        assert len(one.journal.actions) == (2 if stopped else 3)
        assert one.mirror.stopped(ID)
        assert one.reconciler.steps.unsettled == {}


async def test_a_person_who_starts_again_what_is_to_be_stopped_again_is_heeded():
    async with clinic() as one:
        one.swallow_a_stop()

        def started_by_person() -> None:
            one.engine.set(started_at=one.now + 1)
            raise Temporary("the engine has other worries", 500)

        one.engine.on["stop"] = started_by_person
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "on_purpose",
            "a person stopped it, and started it again",
        )
        assert one.engine.did().count("stop") == 1


async def test_a_ladder_that_pauses_does_not_wait_for_its_own_pause():
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[pause, restart]")
    async with clinic(text) as one:
        one.engine.trouble["restart"] = [Permanent("no"), None]
        one.engine.on["pause"] = lambda: one.engine.set(state="paused")
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 2)


async def test_a_rung_whose_look_afterwards_is_cut_off_is_not_climbed_twice():
    text = rule_text(limits="{attempts: 1 per 15m}", escalate="[restart]")
    async with clinic(text) as one:
        one.engine.trouble["restart"] = [Permanent("no"), None]
        inspect, cuts = one.engine.inspect, [EngineAway("the connection was cut")]

        async def cut_after_the_rung(container_id: str, *more: Any) -> Container:
            if one.restarts == 2 and cuts:
                raise cuts.pop()
            return await inspect(container_id, *more)

        one.engine.inspect = cut_after_the_rung  # type: ignore[assignment, method-assign]
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 2)


@pytest.mark.parametrize("when", ["as it is looked at", "while it waits"])
async def test_one_that_is_paused_in_its_middle_gives_way_to_the_next_trigger_of_its_rule(
    when: str,
):
    text = rule_text(then="[{publish: {topic: one}}, restart]", mode="restart").replace(
        "    then: restart\n", ""
    )
    async with clinic(text + "    finally: {publish: {topic: end}}\n") as one:

        def pause(topic: str, payload: str, retain: bool = False) -> None:
            one.published.append((topic, payload))
            one.engine.set(state="paused")
            one.emit("pause")

        one.publish = pause  # type: ignore[method-assign]
        inspect = one.engine.inspect

        async def superseded(container_id: str, *more: Any) -> Container:
            if one.published and when == "as it is looked at":
                one.reconciler.supersede(one.only().id, "its rule was triggered again")
            return await inspect(container_id, *more)

        one.engine.inspect = superseded  # type: ignore[assignment, method-assign]
        one.sicken()
        await one.quiet()
        if when == "while it waits":
            assert one.only().waiting_for == "paused"
            one.reconciler.supersede(one.only().id, "its rule was triggered again")
            await one.quiet()
        assert [topic for topic, _ in one.published] == ["one", "end"]
        assert (one.only().outcome, one.only().reason) == (
            "interrupted",
            "its rule was triggered again",
        )
        assert one.restarts == 0


async def test_a_run_of_what_an_action_made_is_asked_for_until_it_has_begun():
    """A recreation proves the new one well for a minute: a start by a person after that is none of
    its doing."""
    async with clinic() as one:
        made = "d" * 64
        record = ActionRecord(
            id="a1", incident="i1", rule="heal", target=TARGET, attempt=1, action="recreate",
            object_id="e" * 64, object_name="web", params={}, began_at=one.now,
        )  # fmt: skip
        one.reconciler.steps._asks(
            Intent(record, echoes={ID: Expectation("recreate"), made: Expectation("recreate")})
        )
        assert one.mirror._asked == {made: one.now}


# --- which object is which ------------------------------------------------------------------------

HEIR = replace(WEB, id="9" * 64, started_at=1001.0, created_at=1001.0)
TWO_RULES = (
    HEAL
    + """
  - name: second
    when: container.network_lost
    match: all
    then: reconnect_network
    limits: {backoff: 60s to 60s}
"""
)


async def test_another_of_the_same_name_is_not_healed_by_what_was_done_to_the_one_before():
    async with clinic() as one:

        def replaced() -> None:
            one.emit("destroy")
            del one.engine.containers[ID]
            one.engine.containers[HEIR.id] = HEIR
            one.offer(one.mirror.observe(HEIR, one.clock.wall()))

        one.engine.on["restart"] = replaced
        one.sicken()
        await one.quiet()
        assert (one.only().outcome, one.only().object_id) == ("interrupted", ID)
        assert "removed" in one.only().reason or "gone" in one.only().reason


async def test_open_incidents_of_every_rule_follow_an_heir_and_are_on_disk_with_it():
    async with clinic(TWO_RULES) as one:
        one.dispatcher.open = True
        rule = one.rules.by_name("second")
        assert rule is not None
        change = Change(
            ("container.network_lost",), "container", WEB, TARGET, "t", one.now, network="lane"
        )
        incident = one.incidents.begin(rule, change, dry_run=False)
        heirs = Successors(one.mirror, one.incidents)
        one.mirror.observe(HEIR, one.clock.wall())
        heirs.succeed(ID, HEIR.id)
        assert one.incidents.open[incident.id].object_id == HEIR.id
        assert one.journal.incidents[incident.id].object_id == HEIR.id
        assert one.incidents.about("second", replace(change, subject=HEIR)) is not None
        heirs.succeed(ID, HEIR.id)  # told twice, it is the same
        one.incidents.close(incident.id, "done", "")
        assert one.incidents.open == {}


async def test_one_that_is_renamed_while_it_is_verified_is_seen_to_be_well_at_once():
    async with clinic() as one:
        one.wakeups.real = True
        one.health_after = "starting"
        one.sicken()
        await until(lambda: one.only().state == "verifying" and one.wakeups._waiting)
        one.engine.set(name="another")
        one.emit("rename", name="another")
        await until(lambda: "container:another" in one.wakeups._waiting)
        one.cure()
        await until(lambda: one.only().state == "closed")
        assert one.only().outcome == "healed"


async def test_one_that_ends_while_its_health_is_awaited_has_failed_once_it_is_known_why():
    """An end changes the record a moment before its cause is settled: both are looked at."""
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as one:
        one.wakeups.real = True
        one.health_after = "starting"
        one.sicken()
        await until(lambda: one.only().state == "verifying" and one.wakeups._waiting)
        one.now += 10.0  # later than a look that comes by itself
        waits = one.wakeups._waiting[TARGET][0]
        one.engine.set(state="exited", exit_code=7, finished_at=one.now, health="")
        one.emit("die", exitCode="7")
        one.look()
        await until(
            lambda: TARGET in one.wakeups._waiting and one.wakeups._waiting[TARGET][0] is not waits
        )
        assert one.only().state == "verifying"
        one.now += 1.5
        one.tick()
        await until(lambda: one.only().state == "closed")
        assert "it ended with exit code 7" in one.only().reason
