"""An owner that a person stopped: its dependents stand down, whatever befalls them by it, until it
is back."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.clinic import Clinic, clinic
from tests.unit.pipeline.test_groups import GROUP, OWNER, RULES, START, Town, guest

TELL = """
  - name: alarm
    when: [container.crashed, container.orphaned]
    match: {name: "guest*"}
    severity: critical
    then: {publish: {topic: "broken/{container.name}"}}
"""


def offer_what_stands(one: Clinic) -> None:
    for change in one.mirror.standing():
        one.dispatcher.again(change)


async def test_dependents_stand_down_and_the_owners_return_brings_them_back():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down(by_person=True)
        await one.quiet()
        # it may be a restart
        assert (one.only().state, one.only().waiting_for) == ("waiting", "owner")
        await one.later()
        down = one.only()
        assert (down.outcome, down.reason_code, down.severity) == (
            "on_purpose",
            "owner_stopped",
            "info",
        )
        assert down.reason.startswith("owner stopped by a person: owner does not run")
        offer_what_stands(one)
        await one.quiet()
        assert len(one.journal.incidents) == 1  # said once
        town.up()
        assert town.again
        offer_what_stands(one)
        await one.quiet()
        assert (one.last().target, one.last().outcome) == (GROUP, "healed")
        assert sorted(town.done) == [("restart", "guest1"), ("restart", "guest2")]


async def test_a_persons_restart_is_told_as_a_restart_and_is_one_incident():
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.emit(OWNER.id, "kill", "die", "stop")
        await one.quiet()
        town.emit(OWNER.id, "start")
        town.set(
            OWNER.id, state="running", health="starting", exit_code=None, started_at=town.began
        )
        town.emit(OWNER.id, "restart")
        town.set(OWNER.id, health="healthy")
        await one.quiet()
        assert (one.only().outcome, one.only().note) == (
            "healed", "owner, whose network it shares, was restarted by a person",
        )  # fmt: skip
        assert town.done == [("restart", "guest1")]


async def test_an_owner_that_crashed_is_waited_for_as_ever():
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.crash(OWNER.id)
        await one.quiet()
        await one.later()
        assert (one.only().state, one.only().waiting_for) == ("waiting", "owner")


@pytest.mark.parametrize("shares", ["network_mode", "pid_mode", "ipc_mode"])
async def test_a_dependent_that_ends_for_it_is_no_crash_and_is_started_once_the_owner_is_back(
    shares: str,
):
    lives = {"network_mode": "bridge"} | {shares: f"container:{OWNER.id}"}
    async with clinic(RULES + START + TELL) as one:
        town = Town(one, guest(1, **lives))
        town.down(by_person=True)
        town.crash(guest(1).id)
        await one.quiet()
        while any(each.state != "closed" for each in one.journal.incidents.values()):
            await one.later()
        told = {(each.outcome, each.reason_code) for each in one.journal.incidents.values()}
        assert told - {("recovered", "")} == {("on_purpose", "owner_stopped")}
        assert (one.published, town.done) == ([], [])
        town.up()
        assert town.again
        offer_what_stands(one)
        await one.quiet()
        assert ("start", "guest1") in town.done


async def test_a_dependent_that_a_person_stopped_as_well_is_told_as_stopped():
    rules = TELL.replace("[container.crashed, container.orphaned]", "container.stopped")
    async with clinic("version: 1\nrules:\n" + rules) as one:
        town = Town(one, guest(1))
        town.down(by_person=True)
        town.down(guest(1).id, by_person=True)
        await one.quiet()
        assert one.published == [("broken/guest1", one.published[0][1])]


STOPS = """
  - name: take down
    when: container.unhealthy
    match: {name: owner}
    then: stop
"""


async def test_dependents_of_an_owner_that_a_rule_stopped_stand_down_and_come_back_with_it():
    async with clinic(RULES + STOPS) as one:
        town = Town(one, guest(1))
        town.set(OWNER.id, health="unhealthy")
        town.emit(OWNER.id, "health_status: unhealthy")
        await one.quiet()
        one.now += 5
        one.tick()
        one.look()
        offer_what_stands(one)
        await one.quiet()
        told = {
            each.rule: (each.outcome, each.reason_code) for each in one.journal.incidents.values()
        }
        assert told == {"take down": ("done", ""), "rejoin": ("on_purpose", "owner_stopped")}
        assert one.last().reason.startswith("owner stopped by a rule: owner does not run")
        town.up()
        assert town.again
        offer_what_stands(one)
        await one.quiet()
        assert (one.last().target, one.last().outcome) == (GROUP, "healed")
        assert town.done == [("stop", "owner"), ("restart", "guest1")]
