"""A person's stop that dockmend's own restart undid is done again, whatever is cut off or dies in
between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.actions import containers_recovery
from dockmend.actions.action import ActionFailed
from dockmend.errors import EngineAway, EngineError, Permanent, Temporary
from dockmend.journal.records import ActionRecord, AttemptStage
from dockmend.model import Actor, Container, Event, HealthCheck
from dockmend.pipeline import step_runner as steps_module
from dockmend.pipeline.step_runner import STOPS
from dockmend.rules.action_parameters import RestartParams
from tests.unit.actions.stage import ID
from tests.unit.journal.making import an_incident
from tests.unit.pipeline.clinic import TARGET, WEB, Clinic, clinic, until

AWAY = EngineAway("the connection was cut")


def said(one: Clinic) -> tuple[str | None, str]:
    return one.only().outcome, one.only().reason


BY_PERSON = ("on_purpose", "stopped by a person")


async def back(one: Clinic) -> None:
    one.now += 30
    one.reconciler.engine_back()
    await one.quiet()


@pytest.mark.parametrize(
    "error", [AWAY, Temporary("it has other worries", 500)], ids=["cut", "refused"]
)
@pytest.mark.parametrize("look", [1, 2], ids=["the look", "the look before the stop"])
async def test_a_look_after_the_restart_that_fails_is_made_again(
    error: EngineError, look: int
) -> None:
    async with clinic() as one:
        one.swallow_a_stop()
        restart = one.engine.on["restart"]
        looks = 0

        def fails() -> None:
            nonlocal looks
            looks += 1
            if looks == look:
                raise error

        def then() -> None:
            restart()
            one.engine.on["inspect"] = fails

        one.engine.on["restart"] = then
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        (record,) = one.journal.actions.values()
        assert (record.action, record.outcome) == ("restart", None)
        await back(one)
        assert said(one) == BY_PERSON
        assert [(each.action, each.outcome) for each in one.journal.actions.values()] == [
            ("restart", "done"), ("stop", "done"),
        ]  # fmt: skip
        assert (one.restarts, one.engine.did().count("stop")) == (1, 1)
        assert not one.reconciler.steps.unsettled
        assert not one.reconciler.steps.owed


async def test_a_restart_of_which_the_answer_was_cut_has_its_look_all_the_same() -> None:
    async with clinic() as one:
        one.swallow_a_stop()
        restart = one.engine.on["restart"]

        def cut() -> None:
            restart()
            raise AWAY

        one.engine.on["restart"] = cut
        one.sicken()
        await one.quiet()
        await back(one)
        assert said(one) == BY_PERSON
        assert (one.restarts, one.engine.did().count("stop")) == (1, 1)


async def test_the_restart_is_over_only_once_the_stops_own_intent_is_on_its_way() -> None:
    """Else a dockmend that dies in between leaves nothing that says that a stop is owed."""
    async with clinic() as one:
        one.swallow_a_stop()
        put, puts = one.journal.put_action, []

        def noted(record: ActionRecord) -> None:
            puts.append((record.action, record.outcome))
            put(record)

        one.journal.put_action = noted  # type: ignore[method-assign]
        one.sicken()
        await one.quiet()
        assert puts.index(("stop", None)) < puts.index(("restart", "done"))


def replay(one: Clinic, *actions: str, begun: float) -> None:
    """What the engine remembers of before this start of dockmend; the new run began at `begun`."""
    after = False
    for number, action in enumerate(actions):
        after = after or action == "start"
        at = begun + 0.0005 + number / 1000 if after else begun - 0.1 + number / 1000
        event = Event(
            "container", action, Actor(ID, {"signal": "15", "exitCode": "143"}), int(at * 1e9)
        )
        one.offer(one.mirror.apply(event, one.clock.wall(), "replayed"))


RESTARTED = ("kill", "die", "stop", "start", "restart")


@pytest.mark.parametrize(
    ("heard", "owed"),
    [
        (RESTARTED, False),
        (("kill", "kill", "die", "stop", "stop", "start", "restart"), True),
        (("kill", "kill", "stop", "die", "stop", "start", "restart"), True),
        # the second is told of late
        (("kill", "kill", "die", "stop", "start", "stop", "restart"), True),
        ((*RESTARTED, "kill", "die", "stop"), False),  # it is stopped already
        ((*RESTARTED, "kill", "die", "stop", "start"), False),  # stopped and started since
    ],
    ids=[
        "no stop",
        "a stop",
        "another order",
        "told late",
        "stopped since",
        "stopped and started since",
    ],
)
async def test_a_dockmend_that_died_before_its_look_is_followed_by_one_that_looks(
    heard: tuple[str, ...], owed: bool
) -> None:
    async with clinic() as one:
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.reconciler.stopping = False
        record = ActionRecord(
            id="a9", incident=one.only().id, rule="heal", target=TARGET, attempt=1,
            action="restart", object_id=ID, object_name="web", params={}, began_at=one.now,
            undo={"restart": {"started_at": 900.0, "was_running": True, "stop_timeout": 10.0}},
        )  # fmt: skip
        one.journal.actions[record.id] = record
        one.now += 5
        from dockmend.pipeline import expected_ends

        expected_ends.tell(one.mirror, record)
        begun = one.now
        replay(one, *heard, begun=begun)
        running = heard[-1] != "stop"
        second = heard.count("start") > 1
        one.engine.set(
            state="running" if running else "exited",
            started_at=begun + (0.0085 if second else 0.0), health="healthy" if running else "",
            exit_code=None if running else 143, finished_at=0.0 if running else begun + 0.0075,
        )  # fmt: skip
        one.look()
        one.now += 5
        one.tick()
        one.incidents.update(one.only().id, state="acting", stage=AttemptStage.STEPS, attempts=1)
        one.reconciler.take_up(one.only(), [record], [record])
        await one.quiet()
        assert one.engine.did().count("stop") == int(owed)
        assert (one.engine.did().count("restart"), one.engine.did().count("start")) == (0, 0)
        assert one.mirror.stopped(ID) == (owed or not running)
        assert one.journal.actions["a9"].outcome == "done"


def stopped_by_a_person(one: Clinic) -> None:
    one._stopped()


def killed_by_a_person(one: Clinic) -> None:
    one.emit("kill", signal="9")
    one.emit("die", exitCode="137")
    one.engine.set(state="exited", exit_code=137, finished_at=one.now, health="")


@pytest.mark.parametrize("deed", [stopped_by_a_person, killed_by_a_person])
async def test_a_stop_while_the_intent_is_on_its_way_to_disk_is_the_persons(
    deed: Callable[[Clinic], None],
) -> None:
    """The restart starts what a person has just stopped: dockmend hears of it, and stops it
    again."""
    async with clinic() as one:

        def meanwhile() -> None:
            one.journal.on_commit = lambda: None
            deed(one)

        one.journal.on_commit = meanwhile
        one.sicken()
        await one.quiet()
        assert said(one) == BY_PERSON
        assert one.engine.did().count("stop") == 1
        assert one.mirror.stopped(ID)


async def test_a_crash_while_the_intent_is_on_its_way_to_disk_owes_nothing() -> None:
    async with clinic() as one:

        def meanwhile() -> None:
            one.journal.on_commit = lambda: None
            one.emit("die", exitCode="1")
            one.engine.set(state="exited", exit_code=1, finished_at=one.now, health="")

        one.journal.on_commit = meanwhile
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"
        assert one.engine.did().count("stop") == 0


async def test_two_stops_of_dockmends_own_are_no_persons() -> None:
    """A stop that the engine refuses and does all the same, and the restart after it."""
    text = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: [{stop: {}, on_error: continue}, restart]
"""
    async with clinic(text) as one:

        def late() -> None:
            raise Temporary("it has other worries", 500)

        restart: Any = one.engine.on["restart"]

        def both() -> None:
            one.emit("stop")
            restart()

        one.engine.on["stop"], one.engine.on["restart"] = late, both
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"


OTHER = Container(
    id="a" * 64, name="app", state="running", health="healthy", started_at=900.0, created_at=900.0,
    check=HealthCheck(1, 1, 0, 1),
)  # fmt: skip
ANOTHERS = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: {name: app}
    then: [{restart: {}, target: {name: web}}, {publish: {topic: told}}]
"""


@pytest.mark.parametrize("cut", [None, "the restart", "the look", "the stop"])
async def test_a_stop_of_another_container_than_its_own_ends_no_incident(cut: str | None) -> None:
    """`web` is stopped again for the person; what the rule does for `app` goes on, cut short or
    not."""
    async with clinic(ANOTHERS) as one:
        one.engine.containers[OTHER.id] = OTHER
        one.mirror.relist([WEB, OTHER], [], [], one.now, "started")
        one.swallow_a_stop()
        restart, stop = one.engine.on["restart"], one.engine.on["stop"]

        def raises() -> None:
            one.engine.on.pop("inspect")
            raise AWAY

        def restarted() -> None:
            restart()
            if cut == "the restart":
                raise AWAY
            if cut == "the look":
                one.engine.on["inspect"] = raises

        def stopped() -> None:
            one.engine.on["stop"] = stop
            stop()
            raise AWAY

        one.engine.on["restart"] = restarted
        if cut == "the stop":
            one.engine.on["stop"] = stopped
        one.engine.containers[OTHER.id] = replace(OTHER, health="unhealthy")
        one.now += 1
        event = Event(
            "container", "health_status: unhealthy", Actor(OTHER.id, {}), int(one.now * 1e9)
        )
        one.offer(one.mirror.apply(event, one.clock.wall()))
        one.look()
        await one.quiet()
        if cut is not None:
            assert one.only().waiting_for == "engine"
            await back(one)
        assert (one.restarts, one.engine.did().count("stop"), one.mirror.stopped(ID)) == (
            1,
            1,
            True,
        )
        assert (one.only().outcome, one.published) == ("done", [("told", "")])


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_persons_restart_that_overlaps_that_of_a_guest_is_no_stop(restarted: bool) -> None:
    """Two `stop` events are heard first either way; the person's own `restart` event tells, a
    moment later."""
    async with clinic() as one:
        one.swallow_a_stop()
        restart = one.engine.on["restart"]

        def overlapped() -> None:
            restart()
            if restarted:
                asyncio.get_running_loop().call_later(0.01, one.emit, "restart")

        one.engine.on["restart"] = overlapped
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        steps = one.reconciler.steps
        done = await steps._part(
            one.only(), None, "restart", RestartParams.model_construct(timeout=None), WEB
        )
        assert one.engine.did().count("stop") == int(not restarted)
        assert ("stopped by a person" in done.detail) is not restarted
        assert not steps.owed
        assert [each.outcome for each in one.journal.actions.values()] == ["done"] * (
            1 if restarted else 2
        )


async def test_a_stop_that_is_owed_to_a_guest_outlives_the_end_of_the_groups_time() -> None:
    async with clinic() as one:
        one.swallow_a_stop()
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        steps = one.reconciler.steps
        member = partial(
            steps._part,
            one.only(),
            None,
            "restart",
            RestartParams.model_construct(timeout=None),
            WEB,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(member())
            await until(lambda: steps.owed)
            task.cancel()
        assert task.cancelled()
        assert not steps.owed
        (record,) = steps.unsettled[one.only().id]
        assert (record.action, record.outcome) == ("restart", None)


REFUSED = Temporary("it has other worries", 500)


@pytest.mark.parametrize(
    ("refused", "stops", "then"),
    [
        ([REFUSED, None], 2, "stopped"),
        ([REFUSED] * STOPS, STOPS, "lost"),
        ([Permanent("no such thing", 400)], 1, "lost"),
    ],
    ids=["once", "always", "for good"],
)
async def test_a_stop_that_is_owed_to_a_guest_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, refused: list[Any], stops: int, then: str
) -> None:
    monkeypatch.setattr(steps_module, "STOP_RETRY", 0.0)
    async with clinic() as one:
        one.swallow_a_stop()
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.engine.trouble["stop"] = list(refused)
        stop = one.engine.on["stop"]
        one.engine.on["stop"] = lambda: None if one.engine.trouble["stop"][0] else stop()
        steps = one.reconciler.steps
        member = partial(
            steps._part,
            one.only(),
            None,
            "restart",
            RestartParams.model_construct(timeout=None),
            WEB,
        )
        if then == "lost":
            with pytest.raises(ActionFailed, match="web: stop: "):
                await member()
        else:
            assert "stopped by a person meanwhile" in (await member()).detail
        assert one.engine.did().count("stop") == stops
        assert one.mirror.stopped(ID) is (then == "stopped")
        assert not steps.owed


async def test_a_guest_that_somebody_started_since_is_not_stopped_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps_module, "STOP_RETRY", 0.0)
    async with clinic() as one:
        one.swallow_a_stop()
        one.sicken()
        one.reconciler.stop()
        await one.quiet()
        one.engine.trouble["stop"] = [REFUSED, None]

        def stopped_and_started() -> None:
            one._stopped()
            one._began()

        one.engine.on["stop"] = stopped_and_started
        steps = one.reconciler.steps
        done = await steps._part(
            one.only(), None, "restart", RestartParams.model_construct(timeout=None), WEB
        )
        assert (done.detail, one.engine.did().count("stop")) == ("restarted", 1)
        assert not one.mirror.stopped(ID)


async def test_what_is_taken_up_twice_is_settled_once() -> None:
    async with clinic() as one:
        record = ActionRecord(
            id="a9", incident="i1", rule="heal", target=TARGET, attempt=1, action="restart",
            object_id=ID, object_name="web", params={}, began_at=one.now,
        )  # fmt: skip
        for _ in range(2):
            one.reconciler.steps.leave_unsettled(record)
        assert one.reconciler.steps.unsettled == {"i1": [record]}


async def test_a_stop_that_was_asked_for_before_dockmends_call_and_done_before_it_arrives() -> None:
    """Then dockmend's call finds it down and sends no signal: one stop is told of, which is the
    person's."""
    async with clinic() as one:
        restart = one.engine.on["restart"]

        def a_person_asks() -> None:
            if not one.engine.did("restart"):
                one.emit("kill", signal="15")
                one.now += 0.01
                one.journal.on_commit = lambda: None

        def arrives() -> None:
            one.now += 0.005  # the call is under way
            for action in ("die", "stop"):
                one.emit(action, exitCode="0")
            one.engine.set(state="exited", exit_code=0, health="", finished_at=one.now)
            restart()

        one.journal.on_commit = a_person_asks
        one.engine.on["restart"] = arrives
        one.sicken()
        await one.quiet()
        assert said(one) == BY_PERSON
        assert one.engine.did("remember") == ["restart", "stop"]


async def test_a_look_for_a_stop_that_another_program_undid_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(containers_recovery, "LOOK_WAITS", (0.0, 0.0))
    async with clinic() as one:
        for action in ("kill", "die", "stop", "start"):
            one.emit(action, signal="15", exitCode="143")
        one.engine.set(started_at=one.now - 0.0001)
        one.engine.trouble["inspect"] = [Temporary("too many open files", 500)] * 2
        incident = an_incident(object_id=ID)
        assert await one.reconciler.steps._obey(incident, None, WEB, 0.0)
        assert "stop" in one.engine.did()


async def test_a_signal_of_long_ago_that_the_container_ignored_is_no_stop_that_is_owed() -> None:
    """A person may send TERM to what does not listen to it; it is restarted as ever when it is
    unhealthy later."""
    async with clinic() as one:
        one.emit("kill", signal="15")
        one.now += 3600.0
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"
        assert one.engine.did("remember") == ["restart"]


@pytest.mark.parametrize("step", [0.0, 3600.0, -3600.0], ids=["not set", "set forth", "set back"])
async def test_dockmends_own_signal_is_no_persons_whatever_becomes_of_the_wall_clock(
    step: float,
) -> None:
    async with clinic() as one:
        restart = one.engine.on["restart"]

        def arrives() -> None:
            restart()
            one.set_by += step

        one.engine.on["restart"] = arrives
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"
        assert one.engine.did("remember") == ["restart"]


async def test_a_stop_for_a_person_of_which_the_stream_tells_after_its_answer_has_its_outcome() -> (
    None
):
    """Until then the run looks as if it still undid that person's stop."""
    async with clinic() as one:
        one.swallow_a_stop()
        stop = one.engine.on["stop"]

        def told_late() -> None:
            one.engine.set(state="exited", exit_code=143, finished_at=one.now, health="")
            asyncio.get_running_loop().call_later(0.05, stop)

        one.engine.on["stop"] = told_late
        one.sicken()
        await one.quiet()
        assert said(one) == BY_PERSON
        assert [(each.action, each.outcome) for each in one.journal.actions.values()] == [
            ("restart", "done"), ("stop", "done"),
        ]  # fmt: skip
        assert not one.reconciler.steps.owed
