"""A person's stop that dockmend's own restart undid is done again, whatever is cut off or dies in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dockmend.errors import EngineAway, EngineError, Temporary
from dockmend.journal.records import ActionRecord
from dockmend.model import Actor, Event
from tests.unit.actions.stage import ID
from tests.unit.pipeline.clinic import TARGET, Clinic, clinic

AWAY = EngineAway("the connection was cut")


def said(one: Clinic) -> tuple[str | None, str]:
    return one.only().outcome, one.only().reason


BY_PERSON = ("on_purpose", "stopped by a person")


async def back(one: Clinic) -> None:
    one.now += 30
    one.treatment.engine_back()
    await one.quiet()


@pytest.mark.parametrize("error", [AWAY, Temporary("it has other worries", 500)], ids=["cut", "refused"])
@pytest.mark.parametrize("look", [1, 2], ids=["the look", "the look before the stop"])
async def test_a_look_after_the_restart_that_fails_is_made_again(error: EngineError, look: int) -> None:
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
        assert not one.treatment.steps.unsettled
        assert not one.treatment.steps.owed


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
        event = Event("container", action, Actor(ID, {"signal": "15", "exitCode": "143"}), int(at * 1e9))
        one.offer(one.mirror.apply(event, one.clock.wall(), "replayed"))


RESTARTED = ("kill", "die", "stop", "start", "restart")


@pytest.mark.parametrize(
    ("heard", "owed"),
    [
        (RESTARTED, False),
        (("kill", "kill", "die", "stop", "stop", "start", "restart"), True),
        (("kill", "kill", "stop", "die", "stop", "start", "restart"), True),
        (("kill", "kill", "die", "stop", "start", "stop", "restart"), True),  # the second is told of late
        ((*RESTARTED, "kill", "die", "stop"), False),  # it is stopped already
        ((*RESTARTED, "kill", "die", "stop", "start"), False),  # stopped and started since
    ],
    ids=["no stop", "a stop", "another order", "told late", "stopped since", "stopped and started since"],
)
async def test_a_dockmend_that_died_before_its_look_is_followed_by_one_that_looks(
    heard: tuple[str, ...], owed: bool
) -> None:
    async with clinic() as one:
        one.sicken()
        one.treatment.stop()
        await one.quiet()
        one.treatment.stopping = False
        record = ActionRecord(
            id="a9", incident=one.only().id, rule="heal", target=TARGET, attempt=1, action="restart", object_id=ID,
            object_name="web", params={}, began_at=one.now,
            undo={"restart": {"started_at": 900.0, "was_running": True, "stop_timeout": 10.0}},
        )  # fmt: skip
        one.journal.actions[record.id] = record
        one.now += 5
        from dockmend.pipeline import own_ends

        own_ends.tell(one.mirror, record)
        begun = one.now
        replay(one, *heard, begun=begun)
        running = heard[-1] != "stop"
        second = heard.count("start") > 1
        one.engine.set(
            state="running" if running else "exited", started_at=begun + (0.0085 if second else 0.0),
            health="healthy" if running else "", exit_code=None if running else 143,
            finished_at=0.0 if running else begun + 0.0075,
        )  # fmt: skip
        one.look()
        one.now += 5
        one.tick()
        one.incidents.update(one.only().id, state="acting", attempts=1)
        one.treatment.take_up(one.only(), [record], [record])
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
async def test_a_stop_while_the_intent_is_on_its_way_to_disk_is_the_persons(deed: Callable[[Clinic], None]) -> None:
    """The restart starts what a person has just stopped: dockmend hears of it, and stops it again."""
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
