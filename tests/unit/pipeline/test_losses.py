"""Losing the engine or the journal in the middle: nothing is done unwritten, nothing twice, nothing
is left behind."""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

import pytest

from dockmend.actions.action import REGISTRY, ActionContext, ActionResult
from dockmend.app.persistence import Persistence
from dockmend.engine.engine_api import Engine, Listing
from dockmend.errors import EngineAway, JournalError, Permanent
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord, AttemptStage
from dockmend.model import Change, Container, Endpoint, Mount, Network, Volume
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.pipeline.write_retry import KEPT, WriteRetry
from dockmend.settings import Policy
from tests.unit.pipeline.clinic import HEAL, ID, TARGET, Clinic, clinic, replace, rule_text

AWAY = EngineAway("nobody answers")
STEPS = rule_text(
    then='[{publish: {topic: "one"}}, restart, {publish: {topic: "two"}}]',
    finally_='[{publish: {topic: "end"}}]'
).replace("    then: restart\n", "").replace("finally_", "finally")  # fmt: skip


def topics(one: Clinic) -> list[str]:
    return [topic for topic, _ in one.published]


def away_after(one: Clinic, call: str) -> None:
    """The engine takes the call, does it, and is gone before it answers."""
    work = one.engine.on.get(call, lambda: None)

    def do() -> None:
        one.engine.on[call] = work
        work()
        raise AWAY

    one.engine.on[call] = do


async def test_an_engine_that_is_away_before_an_attempt_costs_no_attempt():
    async with clinic() as one:
        one.engine.trouble["inspect"] = AWAY
        one.sicken()
        await one.quiet()
        assert (one.only().state, one.only().waiting_for, one.only().attempts) == (
            "waiting",
            "engine",
            0,
        )
        assert not one.history.host
        one.engine.trouble.clear()
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_an_action_that_went_through_while_the_engine_went_is_settled_and_not_repeated():
    async with clinic() as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        assert [each.outcome for each in one.journal.actions.values()] == [None]
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.only().attempts, one.restarts) == ("healed", 1, 1)
        assert [each.outcome for each in one.journal.actions.values()] == ["done"]
        assert one.reconciler.steps.unsettled == {}


async def test_an_action_that_did_not_go_through_is_a_new_attempt_and_asks_the_limits():
    async with clinic(rule_text(limits="{attempts: 2 per 15m, backoff: none}")) as one:
        one.engine.on.clear()
        one.engine.trouble["restart"] = AWAY
        one.sicken()
        for _ in range(4):  # a step that takes the engine down each time is not repeated for ever
            await one.quiet()
            one.now += 60
            one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("failed", 2)
        assert one.told.breakers == [True]


async def test_what_was_done_of_an_attempt_is_not_done_again_when_the_engine_is_back():
    async with clinic(STEPS) as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        assert topics(one) == ["one"]
        assert one.reconciler.attempt_ends.states.get(one.only().id).steps_done == 1
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts, topics(one)) == (
            "healed",
            1,
            ["one", "two", "end"],
        )
        assert not one.reconciler.attempt_ends.states.get(one.last().id).begun


LACKING = {
    "no thread": RuntimeError("can't start new thread"),
    "no memory": MemoryError(),
    "no file": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.mark.parametrize("what", LACKING)
async def test_a_host_that_has_nothing_left_for_an_action_fails_the_attempt_and_it_is_tried_again(
    what: str,
):
    async with clinic() as one:
        restarted = one.engine.on["restart"]

        def refused() -> None:
            one.engine.on["restart"] = restarted
            raise LACKING[what]

        one.engine.on["restart"] = refused
        one.sicken()
        await one.quiet()
        (record,) = one.journal.actions.values()
        assert (record.outcome, record.detail.startswith("restart: the host ")) == ("failed", True)
        assert (one.only().state, one.only().waiting_for) == ("waiting", "backoff")
        await one.later()
        assert (one.only().outcome, one.only().attempts) == ("healed", 2)


@pytest.mark.parametrize("what", LACKING)
async def test_a_host_that_has_nothing_left_to_settle_with_is_asked_again(what: str):
    async with clinic() as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        one.engine.trouble["inspect"] = [LACKING[what]]
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().state, "the host" in one.only().reason) == ("waiting", True)
        await one.later()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_what_is_done_of_an_attempt_after_the_engine_was_away_is_counted_then():
    """It may have been away for longer than the budget looks back."""
    text = HEAL.replace("then: restart", "then: [restart, restart]\n    finally: [start]")
    async with clinic(text) as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        assert len(one.history.host) == 3
        one.now += 600
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 2)
        assert sum(at > one.now - 300 for at in one.history.host) == 2


async def test_an_engine_that_goes_while_an_attempt_is_verified_does_not_have_it_repeated():
    text = rule_text(when="container.healthy").replace("    when: container.unhealthy\n", "")
    async with clinic(text) as one:
        one.sicken()
        # a moment, no trouble: nothing but what is remembered keeps it from being treated again
        one.cure()
        looks = [None, None, AWAY]
        one.engine.trouble["inspect"] = looks
        await one.quiet()
        one.engine.trouble.clear()
        while one.only().state == "waiting":
            one.reconciler.engine_back()
            await one.quiet()
        assert (one.journal.incidents[min(one.journal.incidents)].outcome, one.restarts) == (
            "healed",
            1,
        )


async def test_an_engine_that_goes_while_the_ladder_is_climbed_does_not_have_a_rung_climbed_twice():
    text = rule_text(limits="{attempts: 1 per 15m}", escalate='[{publish: {topic: "up"}}, restart]')
    async with clinic(text) as one:
        one.health_after = "unhealthy"
        restart = one.engine.on["restart"]

        def second_goes() -> None:
            if one.restarts == 2:
                one.health_after = "healthy"
                restart()
                raise AWAY
            restart()

        one.engine.on["restart"] = second_goes
        one.sicken()
        await one.quiet()
        assert (one.only().state, one.only().waiting_for, one.only().rung) == (
            "waiting",
            "engine",
            1,
        )
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts, topics(one)) == ("healed", 2, ["up"])


LAST = rule_text(**{"finally": '[{publish: {topic: "one"}}, pause, {publish: {topic: "two"}}]'})


async def test_finally_that_loses_the_engine_goes_on_and_changes_nothing_about_the_attempt():
    async with clinic(LAST) as one:
        one.engine.trouble["pause"] = AWAY
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, one.only().stage, topics(one)) == (
            "engine",
            AttemptStage.STEPS,
            ["one"],
        )
        one.engine.trouble.clear()
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.restarts, one.only().attempts) == ("healed", 1, 1)
        assert (one.engine.did("restart"), topics(one)) == (["pause", "pause"], ["one", "two"])
        assert not one.reconciler.attempt_ends.states.get(one.last().id).begun


async def test_finally_that_loses_the_journal_goes_on_and_a_failed_attempt_stays_failed():
    async with clinic(LAST + "    limits: {attempts: 1 per 15m}\n") as one:
        one.engine.trouble["restart"] = Permanent("no", 400)
        one.engine.on["restart"] = lambda: setattr(one.journal, "broken", True)
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, one.restarts, topics(one)) == ("journal", 1, ["one"])
        one.journal.broken = False
        await one.later()
        assert (one.only().outcome, one.restarts, one.only().attempts) == ("failed", 1, 1)
        assert (topics(one), one.engine.did("restart")) == (["one", "two"], ["pause"])
        assert "restart: cannot restart web: no" in one.only().reason
        assert one.reconciler.attempt_ends.states.get(one.last().id).failure is None


@pytest.mark.parametrize("lost", ["engine", "journal"])
async def test_a_death_while_an_attempt_waits_does_not_have_its_steps_done_again(lost: str):
    """It waits between two steps: no intent is open that would tell of it."""
    text = rule_text(then='[{publish: {topic: "one"}}, kill, {publish: {topic: "two"}}, restart]')
    async with clinic(text.replace("    then: restart\n", "")) as one:
        if lost == "journal":
            one.engine.on["kill"] = lambda: setattr(one.journal, "broken", True)
        else:
            one.engine.on["kill"] = lambda: one.engine.trouble.update(inspect=AWAY)
        one.sicken()
        await one.quiet()
        waiting, records = one.only(), list(one.journal.actions.values())
        assert (waiting.state, waiting.waiting_for, waiting.attempts) == ("waiting", lost, 1)
        assert [each for each in records if each.outcome is None] == []
    async with clinic(text.replace("    then: restart\n", "")) as two:
        two.engine.containers = one.engine.containers
        two.learn_from(one.engine.containers[ID])
        two.sicken()
        two.reconciler.stop()
        await two.quiet()
        two.reconciler.stopping = False
        two.incidents.open.clear()
        two.journal.incidents.clear()
        two.incidents.adopt(waiting)
        two.reconciler.take_up(waiting, [], records)
        await two.later()
        assert (two.only().outcome, two.only().attempts) == ("healed", 1)
        assert (topics(one), topics(two)) == (["one", "two"], [])
        assert two.engine.did() == ["restart"]


async def test_nothing_is_done_while_the_intent_cannot_be_written_and_it_costs_no_attempt():
    async with clinic(rule_text(limits="{attempts: 2 per 15m}")) as one:
        one.journal.broken = True
        one.sicken()
        await one.quiet()
        for _ in range(5):
            assert (one.only().waiting_for, one.only().attempts, one.restarts) == ("journal", 0, 0)
            await one.later()
        assert not one.history.host
        (record, *_) = one.journal.actions.values()
        assert (record.outcome, record.detail) == (
            "interrupted",
            "nothing was done unwritten: the disk is full",
        )
        one.journal.broken = False
        await one.later()
        assert (one.only().outcome, one.restarts, one.told.breakers) == ("healed", 1, [])


async def test_a_journal_that_breaks_in_the_middle_of_an_action_leaves_it_to_be_settled():
    """What was done is known from what was written before it; ended as untouched, it would stay
    half-done."""
    async with clinic(rule_text(limits="{attempts: 2 per 15m}")) as one:
        written = 0

        def breaks() -> None:
            nonlocal written
            written += 1
            one.journal.broken = written == 1

        real = REGISTRY["restart"]

        async def twice(ctx: ActionContext, params: Any, subject: Any) -> ActionResult:
            await ctx.remember(
                {"restart": {"was_running": True, "started_at": subject.started_at, "at": one.now}}
            )
            await ctx.engine.stop(subject.id)
            await ctx.remember(
                {"restart": {"was_running": True, "started_at": subject.started_at, "at": one.now}}
            )
            raise AssertionError("the disk takes nothing")

        one.journal.on_commit = breaks
        one.sicken()
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(REGISTRY, "restart", dataclasses.replace(real, run=twice))
            await one.quiet()
        (incident,) = one.incidents.open.values()
        assert (incident.waiting_for, incident.attempts, one.engine.did()[-1]) == (
            "journal",
            1,
            "stop",
        )
        (record,) = one.journal.actions.values()
        assert (record.outcome, record.untouched) == (None, False)
        one.journal.broken = False
        await one.later()
        assert (one.only().outcome, one.only().attempts) == ("healed", 1)
        assert "start" in one.engine.did()


async def test_an_attempt_that_dockmends_death_cut_off_before_anything_was_done_was_none():
    async with clinic(rule_text(limits="{attempts: 2 per 15m}")) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.history.attempted("heal", TARGET, one.now)  # as it is read back from the journal
        await resume(one, ["then None"], action="restart")
        assert (one.only().outcome, one.only().attempts, one.restarts) == ("healed", 1, 1)
        assert len(one.history.of("heal", TARGET).attempts) == 1
        assert len(one.history.host) == 1
        assert [each.untouched for each in one.journal.actions.values()] == [True, False]


async def test_an_attempt_of_two_actions_that_was_none_gives_both_places_back():
    async with clinic(HEAL.replace("then: restart", "then: [restart, restart]")) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.history.attempted("heal", TARGET, one.now, actions=2)  # as it is counted within a run
        await resume(one, ["then None"], action="restart")
        assert (one.only().outcome, one.restarts, len(one.history.host)) == ("healed", 2, 2)


async def test_an_end_that_was_taken_for_a_restart_that_never_came_is_not_let_lie():
    """The engine went down between the intent and the call, and what it stopped looked like
    dockmend's own doing."""
    async with clinic(rule_text(limits="{attempts: 2 per 15m}")) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.mirror.expect(ID, "restart")
        one._stopped()
        one.look()
        assert one.mirror.taken_down(ID)
        one.history.attempted("heal", TARGET, one.now)
        await resume(one, ["then None"], action="restart")
        assert (one.only().outcome, one.restarts) == ("healed", 1)
        assert len(one.history.of("heal", TARGET).attempts) == 1


async def test_a_journal_that_takes_no_more_stops_actions_and_ends_nothing():
    async with clinic() as one:
        one.journal.full = True
        one.sicken()
        await one.quiet()
        (incident,) = one.incidents.open.values()
        assert (incident.waiting_for, one.restarts, one.journal.incidents) == ("journal", 0, {})
        one.journal.full = False
        await one.later()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_an_outcome_that_the_journal_refuses_is_written_later_and_the_action_not_repeated():
    async with clinic() as one:
        restart = one.engine.on["restart"]

        def full_afterwards() -> None:
            restart()
            one.journal.full = True

        one.engine.on["restart"] = full_afterwards
        one.sicken()
        await one.quiet()
        assert one.incidents.open == {}
        assert [each.outcome for each in one.journal.actions.values()] == [None]
        one.journal.full = False
        persistence(one).persist()
        assert [each.outcome for each in one.journal.actions.values()] == ["done"]
        assert (one.only().outcome, one.restarts) == ("healed", 1)


def persistence(one: Clinic) -> Persistence:
    cursor = EventCursor(1, "container", "die", ID)
    journal: Any = one.journal
    return Persistence(
        journal, one.incidents.backlog, one.mirror, one.told, one.clock, lambda: cursor
    )


async def test_last_known_state_that_could_not_be_written_is_written_later():
    async with clinic() as one:
        kept = persistence(one)
        one.journal.full = True
        kept.persist()
        kept.persist()
        assert one.journal.known == {}
        assert one.told.ill == {"journal": "the disk is full: nothing is done"}
        one.journal.full = False
        kept.persist()
        assert set(one.journal.known) == {f"container/{ID}", f"identity/{ID}", "cursor", "stamp"}
        assert one.told.ill == {"journal": None}


def test_late_records_are_bounded_and_only_the_last_of_each_is_kept():
    late, written = WriteRetry(), []
    full = True

    def put(key: int) -> Any:
        def do() -> None:
            if full:
                raise JournalError("full")
            written.append(key)

        return do

    for key in range(KEPT + 5):
        late.write(key, put(key))
        late.write(key, put(key))
    assert len(late) == KEPT
    with pytest.raises(JournalError):
        late.catch_up()
    full = False
    late.catch_up()
    assert written == list(range(5, KEPT + 5))
    assert len(late) == 0


async def test_what_dockmends_death_left_open_is_settled_once_and_goes_on():
    async with clinic(STEPS) as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        (record,) = [each for each in one.journal.actions.values() if each.action == "restart"]
        story = (one.only(), list(one.journal.actions.values()))
    async with clinic(STEPS) as two:
        two.learn_from(one.engine.containers[ID])
        two.engine.containers = one.engine.containers
        two.now = one.now + 60
        two.incidents.adopt(replace(story[0], state="acting"))
        two.reconciler.take_up(story[0], [record], story[1])
        await two.quiet()
        assert (two.only().outcome, two.restarts, topics(two)) == ("healed", 0, ["two", "end"])


FIRM = rule_text(
    then='[{stop: {}, on_error: continue}, {publish: {topic: "one"}}, restart]',
    finally_='[{publish: {topic: "end"}}, {publish: {topic: "very end"}}]',
    limits="{attempts: 2 per 15m, backoff: none}",
).replace("    then: restart\n", "").replace("finally_", "finally")  # fmt: skip
DEATHS = {  # outcomes by part as the journal holds them at the death -> what the next dockmend does
    "after a step that failed and may": (["then failed"], ["one", "end", "very end"], 1, 1),
    "between two steps": (["then failed", "then done"], ["end", "very end"], 1, 1),
    "after `then`": (["then done", "then done", "then done"], ["end", "very end"], 0, 1),
    "in `finally`": (["then done", "then done", "then done", "finally done"], ["very end"], 0, 1),
    "in a step of `finally`": (["then done", "then done", "then done", "finally None"],
        ["very end"], 0, 1),
    "after `finally`": (["then done", "then done", "then done", "finally done", "finally failed"],
        [], 0, 1),
    "after a step that failed": (
        ["then done", "then done", "then failed"], ["end", "very end", "one", "end", "very end"], 1,
        2
    ),
    "in `finally`, the attempt having failed": (
        ["then done", "then done", "then failed", "finally done"],
        ["very end", "one", "end", "very end"], 1, 2
    ),
    "after a step that was cut short and made again": (
        ["then failed", "then interrupted", "then done", "after done"], ["end", "very end"], 1, 1
    ),
}  # fmt: skip


@pytest.mark.parametrize("death", DEATHS)
async def test_no_step_is_run_again_that_was_run_when_dockmend_died(death: str):
    held, told, restarts, attempts = DEATHS[death]
    async with clinic(FIRM) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        if not restarts:  # it went through: what is left is to be told
            one.cure()
        await resume(one, held)
        if one.only().state == "waiting":
            await one.later()
        assert (one.only().outcome, topics(one)) == ("healed", told)
        assert (one.restarts, one.only().attempts) == (restarts, attempts)


# what the journal holds at the death -> what is told of `finally` where nothing may be done any
# more
GONE = {
    "in `then`": (["then failed", "then done"], ["end", "very end"]),
    "in its first step": (["then None"], ["end", "very end"]),
    "in `finally`": (["then done", "then done", "then done", "finally done"], ["very end"]),
    "in `finally`, the attempt having failed": (["then failed"] * 3 + ["finally done"],
        ["very end"]),
    "after `finally`": (["then done", "then done", "then done", "finally done", "finally failed"],
        []),
}  # fmt: skip


async def resume(one: Clinic, held: list[str], action: str = "publish") -> None:
    """A new dockmend takes up an attempt of which the journal holds these parts and outcomes."""
    first = one.incidents.update(
        one.only().id, state="acting", stage=AttemptStage.STEPS, attempts=1
    )
    record = ActionRecord(
        id="a", incident=first.id, rule="heal", target=TARGET, attempt=1, action=action,
        object_id=ID, object_name="web", params={}, began_at=one.now,
    )  # fmt: skip
    past: list[ActionRecord] = []
    for number, line in enumerate(held):
        part, outcome = line.split()
        more: Any = {"part": part, "outcome": None if outcome == "None" else outcome}
        past.append(replace(record, id=f"a{number}", **more))
    one.reconciler.stopping = False
    one.reconciler.take_up(first, [each for each in past if each.outcome is None], past)
    await one.quiet()


@pytest.mark.parametrize("death", GONE)
async def test_finally_runs_once_where_what_an_attempt_was_about_is_gone_after_the_death(
    death: str,
):
    held, told = GONE[death]
    async with clinic(FIRM) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.engine.containers.clear()
        await resume(one, held)
        assert (one.only().state, topics(one), one.restarts) == ("closed", told, 0)
        parts = [each.part for each in one.journal.actions.values() if each.id not in ("a0", "a1")]
        assert parts == ["finally"] * len(told)
        assert not one.reconciler.attempt_ends.states.get(one.last().id).begun


async def test_finally_runs_where_the_rest_came_to_be_forbidden_while_dockmend_was_dead():
    async with clinic(FIRM) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.engine.set(labels={"dockmend.ignore": "true"})
        await resume(one, ["then failed", "then done"])
        assert (one.only().outcome, one.only().reason_code) == ("suppressed", "ignored")
        assert (topics(one), one.restarts) == (["end", "very end"], 0)


async def test_finally_starts_nothing_that_a_person_stopped_while_dockmend_was_dead():
    text = rule_text(
        then='[{publish: {topic: "one"}}, restart]', finally_='[start, {publish: {topic: "end"}}]'
    ).replace("    then: restart\n", "").replace("finally_", "finally")  # fmt: skip
    async with clinic(text) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.emit("kill", signal="15")
        one.emit("die", exitCode="143")
        one.emit("stop")
        one.engine.set(state="exited", exit_code=143, finished_at=one.now, health="")
        one.look()
        await resume(one, ["then done"])
        assert (one.only().outcome, one.only().reason_code) == ("on_purpose", "stopped")
        assert (topics(one), one.engine.did()) == (["end"], [])


async def test_finally_starts_what_its_own_attempt_stopped():
    text = rule_text(then="stop", finally_="[start]", verify="none").replace(
        "    then: restart\n", ""
    )
    async with clinic(text.replace("finally_", "finally")) as one:
        one.sicken()
        await one.quiet()
        assert one.engine.did() == ["stop", "start"]


async def test_an_attempt_that_was_cut_short_too_often_runs_finally_before_it_is_given_up():
    text = FIRM.replace("2 per 15m", "1 per 15m")
    async with clinic(text) as one:
        one.engine.on.clear()
        one.engine.trouble["restart"] = AWAY
        one.sicken()
        for _ in range(3):
            await one.quiet()
            one.now += 60
            one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, topics(one), one.told.breakers) == (
            "failed",
            ["one", "end", "very end"],
            [True],
        )


async def test_an_attempt_that_waits_for_the_engine_runs_finally_before_it_gives_way():
    async with clinic(FIRM + "    mode: restart\n") as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.reconciler.supersede(one.only().id, "it was triggered again")
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("interrupted", "it was triggered again")
        assert topics(one) == ["one", "end", "very end"]


async def test_a_first_step_that_was_cut_short_is_settled_before_its_incident_gives_way():
    """Else its intent stays open in the journal, and what it left half-done stays so until the next
    start."""
    text = rule_text(then="[stop, start]", finally_='{publish: {topic: "end"}}', mode="restart")
    async with clinic(
        text.replace("    then: restart\n", "").replace("finally_", "finally")
    ) as one:
        away_after(one, "stop")
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.reconciler.supersede(one.only().id, "it was triggered again")
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("interrupted", "it was triggered again")
        assert [each.outcome for each in one.journal.actions.values()] == ["done", "done"]
        assert topics(one) == ["end"]
        assert not one.reconciler.steps.unsettled
        assert not one.reconciler.steps.living.touched


async def test_one_that_gives_way_while_it_waits_for_the_engine_keeps_nobodys_guests():
    """A guest that waits for the attempt at its owner would wait for ever."""
    async with clinic(rule_text(mode="restart")) as one:
        away_after(one, "restart")
        one.sicken()
        await one.quiet()
        assert (one.only().state, bool(one.reconciler.steps.living.touched)) == ("waiting", True)
        one.reconciler.supersede(one.only().id, "it was triggered again")
        await one.quiet()
        assert one.only().outcome == "interrupted"
        assert not one.reconciler.steps.living.touched


LOOKS = {
    "connect", "ping", "events", "marker_present", "networks", "volumes", "images", "close", "url",
    "archive_info", "logs", "read_archive", "overflowed", "addresses",
}  # fmt: skip


class Refuses:
    """An engine that answers every look from the script and refuses to be changed."""

    def __init__(self, clinic: Clinic) -> None:
        self.url, self.changed, self._clinic = "unix:///nowhere", False, clinic

    def __getattr__(self, name: str) -> Any:
        if name in LOOKS or name.startswith("inspect"):
            return getattr(self._clinic.engine, name, self._nothing)

        async def change(*args: Any, **named: Any) -> None:
            self.changed = True
            raise AWAY

        return change

    async def listing(self) -> Listing:
        return Listing(
            tuple(self._clinic.engine.containers.values()), (), (Volume("data"),), 0.0, 0.0
        )

    async def inspect_raw(self, container: str) -> dict[str, Any]:
        return {"Image": "sha256:1", "Config": {"Image": "shop:1"}}

    async def inspect_image_raw(self, image: str) -> dict[str, Any]:
        return {"Id": "sha256:1"}

    async def inspect_image(self, image: str) -> Any:
        return () if image == "toolbox" else await self._clinic.engine.inspect_image(image)

    async def _nothing(self, *args: Any, **named: Any) -> tuple[()]:
        return ()


REMEDIES = {
    "restart": "restart", "start": "start", "stop": "stop", "kill": "kill", "pause": "pause",
    "unpause": "unpause", "commit_image": "{commit_image: {repository: kept, tag: x}}",
    "reconnect_network": "reconnect_network", "create_network": "{create_network: {name: lane}}",
    "connect_network": "{connect_network: {network: shop}}",
    "disconnect_network": "{disconnect_network: {network: back}}",
    "recreate": "{recreate: {image: same}}", "restart_dependents": "restart_dependents",
    "snapshot_volume": "{snapshot_volume: {volumes: [data], consistency: pause}}",
    "remove": "{remove: {force: true}}", "set_limits": "{set_limits: {memory: 64m}}",
    "exec": "{exec: {command: [ls]}}", "run": "{run: {image: toolbox}}",
    "compose_restart": "compose_restart",
}  # fmt: skip


def test_every_registered_remedy_is_in_the_table():
    needs_a_disk = {"copy", "compose_up"}  # tests/integration/test_copying.py, test_compose_up.py
    assert set(REGISTRY) - {"notify", "publish", "wait"} - needs_a_disk == set(REMEDIES)
    assert {name for name in dir(Engine) if not name.startswith("_")} >= {"restart", "commit"}


@pytest.mark.parametrize("writable", [True, False], ids=["written", "unwritten"])
@pytest.mark.parametrize("action", sorted(REMEDIES))
async def test_no_remedy_changes_anything_before_its_intent_is_on_disk(action: str, writable: bool):
    """With the disk dead the engine is never asked for a change; with it alive the change follows
    the commit."""
    text = rule_text(then=f"[{REMEDIES[action]}]").replace("    then: restart\n", "")
    async with clinic(text) as one:
        engine = Refuses(one)
        one.reconciler.steps.engine = one.reconciler.steps.own.engine = engine
        one.reconciler.steps.guards = Guards(Policy(allow=tuple(REMEDIES)))
        commits: list[bool] = []
        one.journal.on_commit = lambda: commits.append(engine.changed)
        one.journal.broken = not writable
        subject = _patient(one, action)
        incident = one.incidents.begin(one.rules.rules[0], _change(one, subject), dry_run=False)
        step = one.rules.rules[0].then[0]
        with pytest.raises(Exception) as raised:  # noqa: PT011 - which error it is differs from action to action
            await one.reconciler.steps.run(incident, one.rules.rules[0], step, subject)
        if writable:
            assert commits[:1] == [False]
            assert engine.changed
        else:
            assert isinstance(raised.value, JournalError)
            assert not engine.changed


def _patient(one: Clinic, action: str) -> Container:
    state = {"start": "exited", "unpause": "paused"}.get(action, "running")
    health = "" if state == "exited" else "healthy"
    patient = replace(
        one.engine.containers[ID],
        state=state,
        health=health,
        mounts=(Mount("volume", "data", "/v", "/data"),),
    )
    if action == "compose_restart":
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
        patient = replace(patient, labels=labels)
    if action == "disconnect_network":
        patient = replace(patient, networks={"back": Endpoint("n2")})
    one.engine.containers[ID] = patient
    one.learn_from(patient)
    if action == "restart_dependents":
        guest = replace(
            patient, id="d" * 64, name="guest", network_mode=f"container:{ID}", mounts=()
        )
        one.engine.containers[guest.id] = guest
        one.learn_from(guest)
    if action in ("reconnect_network", "connect_network"):
        one.engine.networks["shop"] = Network("n1", "shop")
        one.mirror.observe_networks([Network("n1", "shop")], one.now)
        one.learn_from(replace(patient, networks={"shop": Endpoint("n1")}))
        one.learn_from(patient)
    return patient


def _change(one: Clinic, subject: Container) -> Any:
    network = "shop" if one.engine.networks else None
    return Change(
        ("container.unhealthy",), "container", subject, TARGET, "t", one.now, network=network
    )


async def test_what_is_left_of_an_attempt_is_done_once_though_the_trouble_comes_back_meanwhile():
    async with clinic(STEPS + "    limits: {attempts: 1 per 15m}\n") as one:
        del one.engine.on["restart"]
        one.engine.trouble["restart"] = AWAY
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, topics(one)) == ("engine", ["one"])
        one.engine.set(health="healthy")
        one.emit("health_status: healthy")

        def tell(topic: str, payload: str, retain: bool = False) -> None:
            one.published.append((topic, payload))
            one.sicken()

        one.publish = tell  # type: ignore[method-assign]
        one.now += 60
        one.reconciler.engine_back()
        await one.quiet()
        assert topics(one) == ["one", "end"]


async def test_what_the_dockmend_before_was_verifying_is_judged_from_when_its_attempt_began():
    """Its last note is later than the start that it did: an `unhealthy` since is a verdict all the
    same (seed 2052)."""
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as one:
        one.health_after = "unhealthy"
        one.sicken()
        await one.quiet()
        first, past = one.only(), list(one.journal.actions.values())
    async with clinic(rule_text(limits="{attempts: 1 per 15m}")) as two:
        began = past[0].began_at + 0.5
        two.now = began + 2
        two.engine.set(started_at=began, health="unhealthy")
        two.mirror.observe(two.engine.containers[ID], two.now)
        taken_up = replace(
            first,
            state="verifying",
            rung=None,
            reason="",
            outcome=None,
            closed_at=None,
            updated_at=began + 1,
        )
        two.incidents.adopt(taken_up)
        none = replace(past[0], id="a0", untouched=True, began_at=began - 100)
        two.reconciler.take_up(taken_up, [], [none, *past])
        assert two.reconciler.attempt_ends.states.get(first.id).began_at == past[0].began_at
        await two.quiet()
        assert (two.only().outcome, two.only().reason) == (
            "failed",
            "unhealthy again; given up after 1 attempts",
        )
        assert two.now - began < 6


@pytest.mark.parametrize("seconds", [0.3, 12.0], ids=["at once", "after its stop timeout"])
async def test_what_a_cut_stop_ends_is_dockmends_own_and_is_started_again(seconds: float):
    """A backup stops, copies and starts: an answer that was lost must not leave the database
    down."""
    text = rule_text(then="[stop, {publish: {topic: copied}}, start]").replace(
        "    then: restart\n", ""
    )
    async with clinic(text) as one:

        def cut() -> None:
            raise AWAY

        one.engine.on["stop"] = cut
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.now += seconds
        for action in ("kill", "die", "stop"):
            one.emit(action, signal="15", exitCode="143")
        one.engine.set(state="exited", exit_code=143, finished_at=one.now, health="")
        one.look()
        one.now += 1
        one.tick()
        one.reconciler.engine_back()
        await one.quiet()
        assert topics(one) == ["copied"]
        assert one.engine.did("remember") == ["stop", "start"]
        assert one.only().outcome == "healed"


async def test_what_somebody_paused_while_an_attempt_was_cut_off_goes_on_in_its_middle():
    async with clinic(STEPS + "    limits: {attempts: 1 per 15m}\n") as one:
        away_after(one, "inspect")  # the look before the second step
        one.engine.on.pop("inspect")
        looks, inspect = 0, one.engine.inspect

        async def cut(container_id: str, *more: Any) -> Container:
            nonlocal looks
            looks += 1
            if looks == 2:
                raise AWAY
            return await inspect(container_id, *more)

        one.engine.inspect = cut  # type: ignore[assignment, method-assign]
        one.sicken()
        await one.quiet()
        assert (one.only().waiting_for, topics(one)) == ("engine", ["one"])
        one.engine.set(state="paused")
        one.emit("pause")
        # As where it was cut off within a step.
        one.reconciler.attempt_ends.states.of(one.only().id).finally_owed = True
        one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().waiting_for, topics(one)) == ("paused", ["one"])
        one.engine.set(state="running")
        one.emit("unpause")
        one.reconciler.look_again("paused")
        await one.quiet()
        assert (topics(one), one.only().outcome, one.restarts) == (
            ["one", "two", "end"],
            "healed",
            1,
        )


async def test_a_persons_stop_and_start_while_what_is_left_is_done_is_a_new_attempt():
    """What is done to it then is counted, and done to it as it is by then."""
    async with clinic(STEPS) as one:
        one.publish, told = (lambda *_, **__: None), one.published  # type: ignore[method-assign]
        away_after(one, "restart")
        one.sicken()
        await one.quiet()

        def person(topic: str, payload: str, retain: bool = False) -> None:
            told.append((topic, payload))
            if topic == "end" and len(told) == 1:
                one.engine.set(state="running", health="healthy", started_at=one.now)
                one.emit("start")

        one.publish = person  # type: ignore[method-assign]
        one._stopped()
        one.reconciler.engine_back()
        await one.quiet()
        assert topics(one) == ["end"]
        assert (one.only().state, one.only().attempts, one.restarts) == ("closed", 1, 1)


async def test_a_stop_for_a_person_that_is_cut_off_twice_leaves_no_step_without_an_end():
    async with clinic() as one:
        one.swallow_a_stop()
        stop, cuts = one.engine.on["stop"], 2

        def cut() -> None:
            nonlocal cuts
            cuts -= 1
            if cuts >= 0:
                raise AWAY
            stop()

        one.engine.on["stop"] = cut
        one.sicken()
        for _ in range(3):
            await one.quiet()
            one.now += 30
            one.reconciler.engine_back()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("on_purpose", "stopped by a person")
        assert [each.outcome for each in one.journal.actions.values()] == [
            "done",
            "interrupted",
            "interrupted",
            "done",
        ]
        assert one.reconciler.steps.unsettled == {}


@pytest.mark.parametrize(
    "undo", [{}, {"stop": {"started_at": 990.0}}], ids=["nothing written", "another run"]
)
@pytest.mark.parametrize("since", [True, False], ids=["begun since", "the run it was"])
async def test_a_stop_that_is_owed_to_a_person_ends_the_run_that_was_meant(
    undo: dict[str, Any], since: bool
):
    """The dockmend before died as it did the stop again; the person may have started it since."""
    async with clinic() as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.reconciler.stopping = False
        began_at = one.now + 1
        one.engine.set(started_at=began_at + 1 if since else 990.0, health="healthy")
        one.emit("health_status: healthy")
        record = ActionRecord(
            id="a9", incident=one.only().id, rule="heal", target=TARGET, attempt=1, action="stop",
            object_id=ID, object_name="web", params={}, began_at=began_at, part="after", undo=undo,
        )  # fmt: skip
        one.incidents.update(one.only().id, state="acting", stage=AttemptStage.STEPS, attempts=1)
        one.now += 30
        one.reconciler.take_up(one.only(), [record])
        await one.quiet()
        assert one.engine.did().count("stop") == int(not since)
        assert one.mirror.stopped(ID) is not since


async def test_an_attempt_that_was_cut_off_and_whose_container_is_gone_was_interrupted():
    async with clinic(STEPS) as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        del one.engine.containers[ID]
        await resume(one, ["then done"])
        assert (one.only().outcome, one.only().reason) == ("interrupted", "it is gone")
        assert topics(one).count("end") == 1


async def test_a_removal_that_was_never_done_hides_none_of_somebody_else():
    """The journal tells of the intent, so its end is taken for dockmend's own until it is known
    what became of it."""
    async with clinic() as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        undo = {
            "remove": {
                "was_running": True,
                "state": "running",
                "started_at": 900.0,
                "volumes": False,
            }
        }
        record = ActionRecord(
            id="a1", incident=one.only().id, rule="heal", target=TARGET, attempt=1, action="remove",
            object_id=ID, object_name="web", params={}, began_at=one.now, undo=undo,
        )  # fmt: skip
        one.mirror.taken_away.add(ID)
        settled = await one.reconciler.steps.settle(record, one.only(), None)
        assert (settled.done, one.mirror.taken_away) == (False, set())


@pytest.mark.parametrize("restarted", [True, False], ids=["restarted by a person", "as it was"])
@pytest.mark.parametrize(
    ("step", "to_take_back"),
    [
        ('publish: {topic: "one"}', False), ("wait: {time: 1s}", False),
        ("set_limits: {pids: 9}", False), ("connect_network: {network: shop}", True),
        ("disconnect_network: {network: shop}", True),
    ],
)  # fmt: skip
async def test_an_attempt_that_goes_on_later_leaves_alone_what_is_well_in_somebody_elses_run(
    step: str, to_take_back: bool, restarted: bool,
):  # fmt: skip
    """A second dockmend came to its next turn minutes later, and restarted what was well (campaign,
    seed 11). But what was taken out of a network for the attempt does not stay so for that."""
    action = step.partition(":")[0]
    text = rule_text(then=f"[{{{step}}}, restart]", finally_='[{publish: {topic: "end"}}]')
    async with clinic(
        text.replace("    then: restart\n", "").replace("finally_", "finally")
    ) as one:
        one.paused = True
        one.sicken()
        await one.quiet()
        incident, one.paused = one.only(), False
        one.reconciler.timers.drop(incident.id)
        done = ActionRecord(
            id="a1", incident=incident.id, rule="heal", target=incident.target, attempt=1,
            action=action, object_id=ID, object_name="web", params={}, began_at=one.now,
            ended_at=one.now, outcome="done",
        )  # fmt: skip
        one.now += 60.0
        if restarted:
            one._restarted()
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
        assert one.restarts == int(to_take_back or not restarted)
        assert (one.only().outcome, topics(one)) == ("healed", ["end"])


async def test_a_start_knows_that_an_incident_is_to_give_way_and_that_finally_is_owed():
    """Both were known to the process alone: the next one ran two incidents of one trouble beside
    each other, or left out `finally`."""
    async with clinic(FIRM) as one:
        one.paused = True
        one.sicken()
        await one.quiet()
        incident = one.only()
        one.reconciler.attempt_ends.states.of(incident.id).finally_owed = True
        one.reconciler.supersede(incident.id, "its rule was triggered again")
        kept = one.incidents.open[incident.id]
        one.reconciler.attempt_ends.states.drop(incident.id)  # the process died
        one.reconciler.take_up(kept, [], [])
        state = one.reconciler.attempt_ends.states.get(incident.id)
        assert (state.superseded_by, state.finally_owed) == ("its rule was triggered again", True)
