"""Guests of what an attempt restarts are part of it: brought back, verified, nobody else's trouble
meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from dockmend.errors import EngineAway, Permanent, Temporary
from dockmend.journal.records import ActionRecord, AttemptStage
from dockmend.model import Container
from tests.unit.pipeline.clinic import Clinic, clinic
from tests.unit.pipeline.test_groups import OWNER, Town, guest

HEAL = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: {name: owner}
    then: restart
    limits: {backoff: 1s to 1s}
"""
REJOIN = """
  - name: rejoin
    when: container.orphaned
    match: {name: "guest*"}
    then: restart_dependents
    limits: {backoff: 1s to 1s}
  - name: start
    when: container.crashed
    match: {name: "guest*"}
    then: start
    limits: {backoff: 1s to 1s}
"""


def sicken(one: Clinic, town: Town) -> None:
    town.emit(OWNER.id, "health_status: unhealthy")
    town.set(OWNER.id, health="unhealthy")


def restarts_make_well(town: Town) -> None:
    """As an owner whose check passes once it was started anew."""
    engine: Any = town.one.engine
    restart, start = engine.restart, engine.start

    async def restarted(container_id: str, *more: Any) -> None:
        await restart(container_id, *more)
        if container_id == OWNER.id:
            town.set(OWNER.id, health="healthy")

    async def started(container_id: str) -> None:
        await start(container_id)
        if container_id == OWNER.id:
            town.set(OWNER.id, health="healthy")

    engine.restart, engine.start = restarted, started


def of_part(one: Clinic, part: str) -> list[ActionRecord]:
    return [each for each in one.journal.actions.values() if each.part == part]


async def test_unlabelled_guests_come_back_with_what_was_restarted():
    async with clinic(HEAL) as one:
        town = Town(one, guest(1), guest(2), guest(3))
        town.down(guest(3).id, by_person=True)
        restarts_make_well(town)
        sicken(one, town)
        await one.quiet()
        assert town.done[0] == ("restart", "owner")
        assert sorted(town.done[1:]) == [("restart", "guest1"), ("restart", "guest2")]
        assert (one.only().outcome, one.only().members) == ("healed", (guest(1).id, guest(2).id))
        assert one.only().reason == "healthy again; guest1, guest2 well again"
        (step,) = of_part(one, "guests")
        assert (step.action, step.object_name, step.outcome) == (
            "restart_dependents",
            "owner",
            "done",
        )


async def test_healthy_is_asked_of_guests_only_if_they_have_a_health_check():
    """`verify: {state: healthy}`, as the shipped rule has it, is about the container that the rule
    matches."""
    async with clinic(
        HEAL.replace("then: restart", "then: restart\n    verify: {state: healthy}")
    ) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        sicken(one, town)
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "healed",
            "healthy again; guest1 well again",
        )


async def test_an_attempt_without_guests_asks_the_engine_nothing_more():
    async with clinic(HEAL) as one:
        town = Town(one)
        restarts_make_well(town)
        asked: list[str] = []
        inspect = one.engine.inspect

        async def counted(container_id: str, *more: Any) -> Container:
            asked.append(container_id)
            return await inspect(container_id, *more)

        one.engine.inspect = counted  # type: ignore[assignment, method-assign]
        sicken(one, town)
        await one.quiet()
        assert one.only().outcome == "healed"
        # before the attempt, for a stop that was lost, and before its verification
        assert len(asked) == 3
        assert of_part(one, "guests") == []


async def test_what_befalls_guests_by_the_attempt_is_no_other_rules_trouble():
    """One is orphaned, another ends for it: both are the attempt's to bring back, and no second
    incident's."""
    shares_processes = replace(guest(2), network_mode="bridge", pid_mode=f"container:{OWNER.id}")
    async with clinic(HEAL + REJOIN) as one:
        town = Town(one, guest(1), shares_processes)
        restarts_make_well(town)
        plain: Any = one.engine.restart

        async def restart(container_id: str, *more: Any) -> None:
            if container_id == OWNER.id:
                town.emit(shares_processes.id, "die")  # the kernel kills what shares its processes
                town.set(shares_processes.id, state="exited", exit_code=137, finished_at=one.now)
                one.now += 1
                one.tick()
            await plain(container_id, *more)

        one.engine.restart = restart  # type: ignore[assignment, method-assign]
        sicken(one, town)
        await one.quiet()
        assert [each.rule for each in one.journal.incidents.values()] == ["heal"]
        assert sorted(town.done[1:]) == [("restart", "guest1"), ("start", "guest2")]
        assert one.only().outcome == "healed"


async def test_what_links_to_the_one_that_is_treated_is_not_started_before_that_runs():
    """The engine refuses that: two quick attempts would be all that it gets."""
    linked = guest(1, network_mode="", links=("/owner:/guest1/alias",))
    async with clinic(HEAL.replace("then: restart", "then: [stop, start]") + REJOIN) as one:
        town = Town(one, linked)
        restarts_make_well(town)
        stop: Any = one.engine.stop
        start: Any = one.engine.start

        async def crashes_meanwhile(container_id: str, *more: Any) -> bool:
            ended: bool = await stop(container_id, *more)
            town.crash(linked.id)
            for _ in range(200):  # time for what it must not begin
                await asyncio.sleep(0)
            return ended

        async def started(container_id: str) -> None:
            if container_id == linked.id and not one.engine.containers[OWNER.id].running:
                town.done.append(("refused", "guest1"))
                raise Temporary(
                    "Cannot link to a non running container: /owner AS /guest1/alias", 500
                )
            await start(container_id)

        one.engine.stop, one.engine.start = crashes_meanwhile, started  # type: ignore[assignment, method-assign]
        sicken(one, town)
        await one.quiet()
        assert town.done == [("stop", "owner"), ("start", "owner"), ("start", "guest1")]
        assert {each.outcome for each in one.journal.incidents.values()} == {"healed"}


async def test_a_guest_that_does_not_come_back_is_not_called_healed_and_is_offered_to_the_rules():
    async with clinic(HEAL + REJOIN) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        plain: Any = one.engine.restart
        refused: list[str] = []

        async def restart(container_id: str, *more: Any) -> None:
            if container_id == guest(1).id and len(refused) < 3:
                refused.append(container_id)
                raise Permanent("the engine says no")
            await plain(container_id, *more)

        one.engine.restart = restart  # type: ignore[assignment, method-assign]
        sicken(one, town)
        await one.quiet()
        first, second = one.journal.incidents.values()
        assert (first.rule, first.outcome, first.reason_code) == ("heal", "failed", "guests")
        assert "guest1" in first.reason
        assert (second.rule, second.outcome) == ("rejoin", "healed")
        # the owner was not restarted for that again
        assert town.done == [("restart", "owner"), ("restart", "guest1")]


async def test_a_rejoin_that_waits_for_the_owner_leaves_its_guests_to_the_attempt_at_the_owner():
    rules = (
        HEAL.replace("container.unhealthy", "container.crashed").replace("restart", "start")
        + REJOIN
    )
    async with clinic(rules) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        town.crash(OWNER.id)
        await one.quiet()
        outcomes = {each.rule: each.outcome for each in one.journal.incidents.values()}
        assert outcomes == {"heal": "healed", "rejoin": "recovered"}
        assert town.done == [("start", "owner"), ("restart", "guest1")]


async def test_what_an_engine_that_went_away_left_undone_is_gone_on_with():
    """The owner is not restarted twice, and the guest is brought back once the engine answers."""
    async with clinic(HEAL) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        plain: Any = one.engine.restart

        async def away(container_id: str, *more: Any) -> None:
            if container_id == guest(1).id:
                one.engine.restart = plain  # type: ignore[method-assign]
                await plain(container_id, *more)
                raise EngineAway("gone")
            await plain(container_id, *more)

        one.engine.restart = away  # type: ignore[assignment, method-assign]
        sicken(one, town)
        await one.quiet()
        assert one.only().state == "waiting"
        await one.later()
        assert town.done == [("restart", "owner"), ("restart", "guest1")]
        assert (one.only().outcome, one.only().attempts) == ("healed", 1)


async def test_a_dockmend_that_died_before_it_came_to_the_guests_goes_on_with_them():
    async with clinic(HEAL) as one:
        town = Town(one, guest(1))
        one.paused = True
        sicken(one, town)
        await one.quiet()
        incident, one.paused = one.only(), False
        one.reconciler.timers.drop(incident.id)
        town.emit(OWNER.id, "kill", "die", "stop", "start")
        town.set(OWNER.id, state="running", health="healthy", started_at=town.began)
        done = ActionRecord(
            id="a1", incident=incident.id, rule="heal", target=incident.target, attempt=1,
            action="restart", object_id=OWNER.id, object_name="owner", params={},
            began_at=one.now - 1, ended_at=one.now, outcome="done",
        )  # fmt: skip
        one.incidents.update(
            incident.id,
            state="acting",
            stage=AttemptStage.STEPS,
            attempts=1,
            waiting_for="",
            due_at=None,
        )
        one.reconciler.take_up(one.only(), [], [done])
        await one.quiet()
        assert town.done == [("restart", "guest1")]
        assert one.only().outcome == "healed"


async def test_what_would_cut_off_an_ignored_guest_is_not_done():
    ignored = guest(1, labels={"dockmend.ignore": "true"})
    async with clinic(HEAL) as one:
        town = Town(one, ignored, guest(2))
        sicken(one, town)
        await one.quiet()
        assert (one.only().outcome, one.only().reason_code, town.done) == (
            "suppressed",
            "cut_off",
            [],
        )
        assert one.only().reason == (
            "restart would cut off what lives in the namespaces of owner and must be left alone: "
            "guest1 (labelled dockmend.ignore=true); allow dockmend to bring it back, or say "
            "`cut_off: true` in rule heal"
        )


async def test_a_rule_may_say_that_it_cuts_off():
    ignored = guest(1, labels={"dockmend.ignore": "true"})
    async with clinic(HEAL + "    cut_off: true\n") as one:
        town = Town(one, ignored, guest(2))
        restarts_make_well(town)
        sicken(one, town)
        await one.quiet()
        assert town.done == [("restart", "owner"), ("restart", "guest2")]
        assert one.only().outcome == "healed"


async def test_an_ignored_guest_that_is_cut_off_already_keeps_nothing_from_being_done():
    ignored = guest(1, labels={"dockmend.ignore": "true"})
    crashed = HEAL.replace("container.unhealthy", "container.crashed").replace("restart", "start")
    async with clinic(crashed) as one:
        town = Town(one, ignored)
        town.crash(OWNER.id)
        await one.quiet()
        assert town.done == [("start", "owner")]


async def test_a_step_of_escalation_brings_guests_back_as_well():
    limits = "limits: {backoff: 1s to 1s}"
    rules = HEAL.replace("then: restart", "then: unpause\n    escalate: restart")
    async with clinic(rules.replace(limits, "limits: {attempts: 1 per 15m}")) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        sicken(one, town)
        await one.quiet()
        assert town.done == [("restart", "owner"), ("restart", "guest1")]
        assert one.only().reason == "healthy again; guest1 well again, by restart of its escalation"


async def test_what_finally_starts_again_has_its_guests():
    rules = HEAL.replace("then: restart", "then: stop\n    finally: start")
    async with clinic(rules) as one:
        town = Town(one, guest(1))
        restarts_make_well(town)
        sicken(one, town)
        await one.quiet()
        assert town.done == [("stop", "owner"), ("start", "owner"), ("restart", "guest1")]
