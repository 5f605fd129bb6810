"""`during` and `not_during`: what begins outside a rule's hours waits for them, and is treated if
it stands then."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.clinic import clinic, rule_text

OPENS = 3600.0  # the clinic's clock begins at 1000 s, a quarter past midnight
NIGHT = rule_text(during='"01:00-02:00 UTC"')
TWO = """
version: 1
rules:
  - {name: night, priority: 9, during: "01:00-02:00 UTC", when: container.unhealthy,
     match: all, then: restart}
  - {name: later, during: "01:30-02:00 UTC", when: container.unhealthy, match: all, then: restart}
  - {name: tells, during: "01:10-02:00 UTC", when: container.unhealthy, match: all,
     then: [{publish: {topic: sick}}]}
"""


async def test_a_trouble_outside_the_hours_waits_and_is_treated_when_they_begin():
    async with clinic(NIGHT) as one:
        one.sicken()
        await one.quiet()
        waiting = one.only()
        assert (waiting.state, waiting.waiting_for, waiting.due_at) == ("waiting", "window", OPENS)
        assert (
            "outside its hours (01:00-02:00 UTC), which begin 1970-01-01 01:00 UTC"
            in waiting.reason
        )
        assert one.told.decisions == [("heal", "wait", "window")]
        await one.later()
        assert one.now >= OPENS
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_what_is_over_before_the_hours_begin_is_closed_at_once_and_not_treated():
    async with clinic(NIGHT) as one:
        one.sicken()
        one.cure()
        container = one.mirror.container(one.only().object_id)
        assert container is not None
        one.reconciler.changed(container)
        await one.quiet()
        assert (one.only().outcome, one.restarts, one.reconciler.timers._at) == ("recovered", 0, {})
        assert one.reconciler.attempt_ends.put_off == set()


async def test_what_changes_and_still_stands_goes_on_waiting():
    async with clinic(NIGHT) as one:
        one.sicken()
        container = one.mirror.container(one.only().object_id)
        assert container is not None
        one.reconciler.changed(container)
        await one.quiet()
        assert (one.only().waiting_for, one.only().due_at) == ("window", OPENS)
        await one.later()
        assert one.restarts == 1


async def test_an_attempt_that_fails_as_the_hours_end_is_followed_by_none_before_the_next():
    async with clinic(rule_text(during='"00:10-00:18 UTC"', limits="{backoff: 1s to 1s}")) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert (one.restarts, one.only().waiting_for) == (1, "backoff")
        one.now = 1080.0
        await one.later()
        assert (one.restarts, one.only().waiting_for, one.only().due_at) == (
            1,
            "window",
            86400 + 600.0,
        )


async def test_of_remedies_that_wait_for_their_hours_the_first_to_begin_acts():
    async with clinic(TWO) as one:
        one.sicken()
        await one.quiet()
        assert {each.rule: each.due_at for each in one.incidents.open.values()} == {
            "night": OPENS,
            "tells": 4200.0,
        }
        await one.later()  # the other one is woken as it is well
        assert {each.rule: each.outcome for each in one.journal.incidents.values()} == {
            "night": "healed", "tells": "recovered"
        }  # fmt: skip
        assert (one.restarts, one.published) == (1, [])


async def test_what_only_tells_says_so_when_its_hours_begin_where_it_still_stands():
    async with clinic(
        TWO.replace("name: night", "name: night, enabled: false").replace("01:30", "01:50")
    ) as one:
        one.sicken()
        await one.later()
        assert (one.restarts, one.published) == (0, [("sick", "")])


async def test_a_remedy_that_may_act_now_comes_before_one_that_may_not():
    text = (
        TWO
        + "  - {name: now, priority: -5, when: container.unhealthy, match: all, then: restart}\n"
    )
    async with clinic(text) as one:
        one.sicken()
        await one.quiet()
        outcomes = {each.rule: each.outcome for each in one.journal.incidents.values()}
        assert outcomes == {"now": "healed", "tells": "recovered"}
        assert ("night", "suppress", "other_rule") in one.told.decisions


async def test_for_and_the_hours_both_hold():
    async with clinic(rule_text(during='"00:17-02:00 UTC"', **{"for": "2m"})) as one:
        one.sicken()
        assert one.only().waiting_for == "for"
        assert one.only().due_at == pytest.approx(1120, abs=1)
    async with clinic(rule_text(during='"00:10-00:17 UTC"', **{"for": "2m"})) as one:
        one.sicken()
        await one.later()
        assert (one.restarts, one.only().waiting_for) == (0, "window")


async def test_a_person_who_asks_does_not_wait_for_the_hours():
    async with clinic(NIGHT) as one:
        one.sicken()
        for incident_id in list(one.incidents.open):
            one.reconciler.attempt_ends.drop(incident_id, "recovered", "")
        change = one.mirror.standing()[0]
        one.dispatcher.asked(one.rules.rules[0], change, "uid 0")
        await one.quiet()
        assert (one.last().outcome, one.restarts) == ("healed", 1)


async def test_hours_go_by_the_clock_on_the_wall_also_when_that_is_set():
    async with clinic(NIGHT) as one:
        one.sicken()
        one.set_by = OPENS - one.now  # somebody sets it to the beginning of the hours
        one.reconciler.look_again("window")
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)
    async with clinic(NIGHT) as two:
        two.set_by = 600.0  # as far ahead as it will be all along
        two.sicken()
        await two.quiet()
        assert two.only().due_at == pytest.approx(OPENS - 600.0, abs=1)
        await two.later()
        assert (two.only().outcome, two.restarts) == ("healed", 1)


async def test_a_ladder_waits_for_the_hours_and_is_climbed_when_they_begin():
    text = rule_text(
        during='"00:10-00:18 UTC"',
        limits="{attempts: 1 per 15m}",
        escalate='[{publish: {topic: "up"}}, restart]',
    )
    async with clinic(text) as one:
        restart = one.engine.on["restart"]

        def late() -> None:
            restart()
            one.now = max(one.now, 1080.0)  # the attempt outlasts the hours

        one.engine.on["restart"] = late
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        waiting = one.only()
        assert (waiting.rung, waiting.waiting_for, waiting.due_at) == (1, "window", 86400 + 600.0)
        assert (one.published, one.restarts) == ([("up", "")], 1)  # what tells goes by no hours
        one.health_after = "healthy"
        await one.later()
        assert (one.only().outcome, one.restarts, len(one.published)) == ("healed", 2, 1)


async def test_a_ladder_goes_by_not_during_too():
    text = rule_text(
        not_during='"00:18-01:00 UTC"', limits="{attempts: 1 per 15m}", escalate="[restart]"
    )
    async with clinic(text) as one:
        restart = one.engine.on["restart"]

        def late() -> None:
            restart()
            one.now = max(one.now, 1080.0)

        one.engine.on["restart"] = late
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        assert (one.only().rung, one.only().waiting_for, one.only().due_at) == (0, "window", OPENS)
        assert one.restarts == 1


async def test_a_ladder_that_a_person_asked_for_goes_by_no_hours():
    text = rule_text(
        during='"02:00-03:00 UTC"', limits="{attempts: 1 per 15m}", escalate="[restart]"
    )
    async with clinic(text) as one:
        one.health_after = "unhealthy"
        one.sicken()
        for incident_id in list(one.incidents.open):
            one.reconciler.attempt_ends.drop(incident_id, "recovered", "")
        one.dispatcher.asked(one.rules.rules[0], one.mirror.standing()[0], "uid 0")
        await one.quiet()
        assert (one.last().outcome, one.restarts) == ("failed", 2)
