"""A group: dependents of an owner are one incident that waits for it, spares whom a person stopped,
and ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.actions import parallel
from dockmend.errors import EngineAway
from dockmend.journal.records import ActionRecord
from dockmend.model import Actor, Container, Event, HealthCheck, group_of
from dockmend.pipeline import groups
from tests.unit.pipeline.clinic import WEB, Clinic, clinic

RULES = """
version: 1
rules:
  - name: rejoin
    when: container.orphaned
    match: {name: "guest*"}
    then: restart_dependents
    limits: {backoff: 1s to 1s}
"""
START = """
  - name: start
    when: container.crashed
    match: {name: "guest*"}
    then: start
"""
OWNER = replace(WEB, id="0" * 64, name="owner", check=HealthCheck(1, 1, 0, 1))
GROUP = "dependents:container:owner"


def guest(number: int, **changes: Any) -> Container:
    plain = replace(
        WEB, id=str(number) * 64, name=f"guest{number}", check=None, health="", started_at=950.0
    )
    return replace(replace(plain, network_mode=f"container:{OWNER.id}"), **changes)


class Town:
    """Several containers of a clinic; what is done to one is heard of, and its state follows."""

    def __init__(self, one: Clinic, *containers: Container) -> None:
        self.one = one
        self.done: list[tuple[str, str]] = []
        self.deaf: set[str] = set()  # names of those whose start is refused
        engine: Any = one.engine
        engine.containers = {each.id: each for each in (WEB, OWNER, *containers)}
        engine.restart, engine.start, engine.stop = self._restart, self._start, self._stop
        one.mirror.relist(list(engine.containers.values()), [], [], one.now, "started")
        one.mirror.on_container = self._changed

    def _changed(self, before: Container | None, after: Container | None) -> None:
        self.one.wakeups.touch(before, after)
        if after is not None and self.one.reconciler.owner_changed(after):
            self.one.offer(())
            self.again = True

    again = False
    health_after = ""  # of the owner, once it was started or restarted

    def emit(self, container_id: str, *actions: str) -> None:
        for action in actions:
            self.one.now += 0.001
            event = Event("container", action,
                Actor(container_id, {"signal": "15", "exitCode": "143"}),
                          int(self.one.clock.wall() * 1e9))  # fmt: skip
            self.one.offer(self.one.mirror.apply(event, self.one.clock.wall()))

    def set(self, container_id: str, **changes: Any) -> None:
        engine = self.one.engine
        engine.containers[container_id] = replace(engine.containers[container_id], **changes)
        self.one.learn_from(engine.containers[container_id])

    def down(self, container_id: str = OWNER.id, *, by_person: bool = False) -> None:
        self.emit(container_id, *(("kill", "die", "stop") if by_person else ("die",)))
        self.set(container_id, state="exited", health="", exit_code=143, finished_at=self.one.now)
        self.one.now += 1
        self.one.tick()
        self.one.look()

    def crash(self, container_id: str) -> None:
        self.emit(container_id, "die")
        self.set(container_id, state="exited", exit_code=1, finished_at=self.one.now)
        self.one.now += 1
        self.one.tick()

    @property
    def began(self) -> float:
        """When what an event has just announced began: the engine stamps it first, and then
        tells."""
        return self.one.clock.wall() - 0.0005

    def up(self, container_id: str = OWNER.id) -> None:
        self.emit(container_id, "start")
        health = "healthy" if self.one.engine.containers[container_id].check else ""
        self.set(
            container_id, state="running", health=health, exit_code=None, started_at=self.began
        )

    async def _restart(self, container_id: str, *_: Any) -> None:
        self._note("restart", container_id)
        self.emit(container_id, "kill", "die", "stop", "start")
        self._runs(container_id)
        self.emit(container_id, "restart")

    async def _stop(self, container_id: str, *_: Any) -> bool:
        self._note("stop", container_id)
        self.emit(container_id, "kill", "die", "stop")
        self.set(container_id, state="exited", exit_code=143, finished_at=self.one.now)
        return True

    async def _start(self, container_id: str) -> None:
        self._note("start", container_id)
        self.emit(container_id, "start")
        self._runs(container_id)

    def _runs(self, container_id: str) -> None:
        health = (
            {"health": self.health_after} if container_id == OWNER.id and self.health_after else {}
        )
        self.set(container_id, state="running", exit_code=None, started_at=self.began, **health)

    def _note(self, action: str, container_id: str) -> None:
        self.done.append((action, self.one.engine.containers[container_id].name))


def members(one: Clinic) -> list[ActionRecord]:
    return [each for each in one.journal.actions.values() if each.part == "member"]


async def test_they_are_one_incident_that_waits_for_its_owner():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2), guest(3))
        town.down()
        await one.quiet()
        waiting = one.only()
        assert (waiting.target, waiting.state, waiting.waiting_for) == (GROUP, "waiting", "owner")
        assert town.done == []
        town.up()
        await one.quiet()
        assert (one.only().outcome, one.only().attempts) == ("healed", 1)
        assert sorted(town.done) == [
            ("restart", "guest1"),
            ("restart", "guest2"),
            ("restart", "guest3"),
        ]
        assert {(each.object_name, each.outcome) for each in members(one)} == {
            (f"guest{number}", "done") for number in (1, 2, 3)
        }


async def test_an_owner_whose_end_the_stream_has_not_told_of_yet_is_waited_for():
    """The stream may be behind: an attempt without the owner would fail, and count (campaign, seed
    2026)."""
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.down()
        await one.quiet()
        town.up()
        engine: Any = one.engine  # it went again, and no event of that has come yet
        engine.containers[OWNER.id] = replace(engine.containers[OWNER.id], state="exited",
            health="", exit_code=0,
                                              finished_at=one.now)  # fmt: skip
        await one.quiet()
        assert (one.only().attempts, one.only().waiting_for, town.done) == (0, "owner", [])


async def test_an_owner_is_waited_for_until_it_is_healthy():
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.down()
        await one.quiet()
        town.emit(OWNER.id, "start")
        town.set(OWNER.id, state="running", health="starting", exit_code=None, started_at=one.now)
        await one.later()
        assert town.done == []
        assert "not healthy" in one.only().reason
        town.set(OWNER.id, health="healthy")
        await one.quiet()
        assert one.only().outcome == "healed"


async def test_a_compose_one_off_in_the_owners_network_is_left_alone():
    """It is nobody's service: to begin it anew is to do its work a second time."""
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2, labels={"com.docker.compose.oneoff": "True"}))
        town.down()
        await one.quiet()
        town.up()
        await one.quiet()
        assert (one.only().target, one.only().outcome) == (GROUP, "healed")
        assert town.done == [("restart", "guest1")]


@pytest.mark.parametrize("then", ["restart", "[stop, start]"])
async def test_a_one_off_that_lives_alone_in_what_is_restarted_is_left_alone_and_named(then: str):
    rule = (
        f"version: 1\nrules: [{{name: a, when: container.unhealthy, match: {{name: owner}}, "
        f"then: {then}}}]"
    )
    async with clinic(rule) as one:
        town = Town(one, guest(2, labels={"com.docker.compose.oneoff": "True"}))
        town.health_after = "healthy"
        one.engine.containers[OWNER.id] = replace(
            one.engine.containers[OWNER.id], health="unhealthy"
        )
        town.emit(OWNER.id, "health_status: unhealthy")
        one.look()
        await one.quiet()
        assert {name for _, name in town.done} == {"owner"}
        assert one.only().reason == "healthy again; guest2 is left alone: it is a Compose one-off"
        (record,) = [
            each for each in one.journal.actions.values() if each.action == "restart_dependents"
        ]
        assert (record.part, record.detail) == (
            "guests",
            "guest2 was left alone: it is a Compose one-off",
        )


async def test_who_was_stopped_by_a_person_is_left_alone():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down(guest(2).id, by_person=True)
        town.down()
        town.up()
        await one.quiet()
        assert town.done == [("restart", "guest1")]
        assert one.only().outcome == "healed"
        (record,) = [
            each for each in one.journal.actions.values() if each.action == "restart_dependents"
        ]
        assert "guest2 was left alone: somebody stopped it" in record.detail


async def test_what_hangs_on_a_dependent_is_stopped_before_it_and_started_after():
    deep = replace(
        WEB, id="4" * 64, name="deep", check=None, health="", started_at=960.0,
        network_mode="bridge", labels={"dockmend.depends-on": "guest1"},
    )  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, guest(1), deep)
        town.down()
        town.up()
        await one.quiet()
        assert town.done == [("stop", "deep"), ("restart", "guest1"), ("start", "deep")]
        assert one.only().outcome == "healed"


async def test_one_that_could_not_join_is_started_though_it_does_not_run():
    error = "cannot join network namespace of a non running container: 0000"
    async with clinic(RULES) as one:
        town = Town(one, guest(1, state="exited", exit_code=128, error=error))
        await one.quiet()
        one.offer(one.mirror.relist(one.engine.containers.values(), [], [], one.now, "relisted"))
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        assert town.done == [("start", "guest1")]
        assert one.only().outcome == "healed"


async def test_one_that_another_remedy_started_meanwhile_is_not_restarted():
    error = "cannot join network namespace of a non running container: 0000"
    async with clinic(RULES) as one:
        town = Town(one, guest(1, state="exited", exit_code=128, error=error))
        await one.quiet()
        inspect, looks = one.engine.inspect, []

        async def started_by_others(container_id: str, *more: Any) -> Container:
            looks.append(container_id)
            # the first look is the incident's own, the second the step's
            if looks.count(guest(1).id) == 2:
                town.up(guest(1).id)
            return await inspect(container_id, *more)

        one.engine.inspect = started_by_others  # type: ignore[assignment, method-assign]
        one.offer(one.mirror.relist(one.engine.containers.values(), [], [], one.now, "relisted"))
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        assert town.done == []
        assert one.only().outcome == "healed"


async def test_an_owner_that_never_comes_is_given_up_and_one_that_comes_late_is_answered():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        await one.quiet()
        for _ in range(70):
            if one.only().state == "closed":
                break
            await one.later()
        given_up = one.only()
        assert (given_up.outcome, given_up.reason_code) == ("failed", "owner")
        assert "did not come back within 30 min" in given_up.reason
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        assert len(one.journal.incidents) == 1  # what stands is not told again
        town.up()
        assert town.again
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        assert one.last().outcome == "healed"
        assert sorted(town.done) == [("restart", "guest1"), ("restart", "guest2")]


async def test_of_owners_that_were_given_up_the_oldest_is_waited_for_anew(
    monkeypatch: pytest.MonkeyPatch,
):
    """Else its dependents would be left alone when it comes back."""
    monkeypatch.setattr(groups, "GIVEN_UP_KEPT", 1)
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.down()
        await one.quiet()
        for _ in range(70):
            if one.only().state == "closed":
                break
            await one.later()
        another = replace(one.only(), id="i9", target=group_of("container:another"), trouble="t")
        one.reconciler.groups._give_up("container:another", another, one.rules.rules[0])
        assert list(one.reconciler.groups.given_up) == ["container:another"]
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        assert one.last().waiting_for == "owner"


async def test_of_owners_whose_return_is_awaited_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(groups, "AWAITED_KEPT", 3)
    async with clinic(RULES) as one:
        for number in range(10):
            one.reconciler.groups._await(f"container:{number}")
            assert f"container:{number}" in one.reconciler.groups.awaited
        assert len(one.reconciler.groups.awaited) <= 3


@pytest.mark.parametrize("rule", ["restart", "start"])
async def test_rules_that_treat_each_alone_do_so(rule: str):
    async with clinic(RULES.replace("restart_dependents", rule)) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        await one.quiet()
        assert {each.target for each in one.journal.incidents.values()} == {
            "container:guest1",
            "container:guest2",
        }
        assert town.done == []


async def test_what_was_given_up_in_the_middle_goes_on_where_it_was():
    """Killed with one restarted, one stopped and one untouched: the next dockmend finishes, and
    repeats nothing."""
    deep = replace(
        WEB, id="4" * 64, name="deep", check=None, health="", started_at=960.0,
        network_mode="bridge", labels={"dockmend.depends-on": "guest2"},
    )  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2), deep)
        town.down()
        await one.quiet()
        incident = one.only()
        town.up()
        one.reconciler.timers.drop(incident.id)
        for action in ("die", "start"):
            town.emit(guest(1).id, action)
        town.set(guest(1).id, state="running", exit_code=None, started_at=one.now)
        one.mirror.acted(deep.id, one.now, one.now + 60)
        town.down(deep.id)
        record = ActionRecord(
            id="a1", incident=incident.id, rule="rejoin", target=GROUP, attempt=1,
            action="restart_dependents", object_id=guest(1).id, object_name="guest1", params={},
            began_at=one.now - 1,
            undo={"dependents": {"root": OWNER.id, "asked": {}, "halted": [deep.id]}},
        )  # fmt: skip
        one.incidents.update(incident.id, state="acting", attempts=1, waiting_for="", due_at=None)
        one.reconciler.take_up(one.only(), [record])
        await one.quiet()
        assert town.done == [("restart", "guest2"), ("start", "deep")]
        assert one.only().outcome == "healed"
        assert one.journal.actions["a1"].outcome == "done"


async def test_one_whose_start_took_longer_than_its_owners_restart_is_restarted():
    """Well by its times, and in a namespace that is gone: its own start had been asked for before
    (seed 2064)."""
    async with clinic(RULES + START) as one:
        town = Town(one, guest(1))
        start: Any = one.engine.start

        async def owner_begins_anew(container_id: str) -> None:
            one.engine.start = start  # type: ignore[method-assign]
            town.emit(OWNER.id, "die", "start")
            town.set(OWNER.id, started_at=one.now)
            await start(container_id)

        one.engine.start = owner_begins_anew  # type: ignore[assignment, method-assign]
        town.crash(guest(1).id)
        await one.quiet()
        assert town.done == [("start", "guest1"), ("restart", "guest1")]
        assert {
            each.outcome for each in one.journal.incidents.values() if each.target == GROUP
        } == {"healed"}


async def test_a_person_who_stops_one_just_before_its_turn_is_heeded():
    deep = replace(
        WEB, id="4" * 64, name="deep", check=None, health="", started_at=960.0,
        network_mode="bridge", labels={"dockmend.depends-on": "guest1"},
    )  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2), deep)
        town.down()
        restart: Any = one.engine.restart

        async def stopped_meanwhile(container_id: str, *more: Any) -> None:
            one.engine.restart = restart  # type: ignore[method-assign]
            for each in (guest(1), guest(2)):
                if each.id != container_id:
                    town.down(each.id, by_person=True)
            await restart(container_id, *more)

        one.engine.restart = stopped_meanwhile  # type: ignore[assignment, method-assign]
        limit, parallel.AT_ONCE = parallel.AT_ONCE, 1
        try:
            town.up()
            await one.quiet()
        finally:
            parallel.AT_ONCE = limit
        assert [each for each in town.done if each[0] == "restart"] in (
            [("restart", "guest1")],
            [("restart", "guest2")],
        )
        assert ("start", "guest1") not in town.done
        assert ("start", "guest2") not in town.done
        (record,) = [
            each for each in one.journal.actions.values() if each.action == "restart_dependents"
        ]
        assert "was left alone: somebody stopped it meanwhile" in record.detail


async def test_one_that_others_hang_on_and_a_person_stops_before_its_turn_is_left_down():
    deep = replace(
        WEB, id="4" * 64, name="deep", check=None, health="", started_at=960.0,
        network_mode="bridge", labels={"dockmend.depends-on": "guest1"},
    )  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, guest(1), deep)
        town.down()
        stop: Any = one.engine.stop

        async def stopped_meanwhile(container_id: str, *more: Any) -> bool:
            ended: bool = await stop(container_id, *more)
            town.down(guest(1).id, by_person=True)
            return ended

        one.engine.stop = stopped_meanwhile  # type: ignore[assignment, method-assign]
        town.up()
        await one.quiet()
        assert town.done == [("stop", "deep"), ("start", "deep")]


async def test_a_stop_beside_a_groups_own_is_heeded_if_it_is_heard_after_the_members_start():
    """Of two stops at once the engine tells of the second late; the member was started in
    between."""
    deep = replace(
        WEB, id="4" * 64, name="deep", check=None, health="", started_at=960.0,
        network_mode="bridge", labels={"dockmend.depends-on": "guest1"},
    )  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, guest(1), deep)
        town.down()
        start: Any = one.engine.start

        async def told_late(container_id: str) -> None:
            if container_id != deep.id:
                await start(container_id)
                return
            town.done.append(("start", "deep"))
            one.now += 0.5
            containers = one.engine.containers
            containers[deep.id] = replace(
                containers[deep.id], state="running", exit_code=None, started_at=one.now
            )
            asyncio.get_running_loop().call_later(0.05, town.emit, deep.id, "stop", "start")

        one.engine.start = told_late  # type: ignore[assignment, method-assign]
        town.up()
        await one.quiet()
        assert town.done == [
            ("stop", "deep"),
            ("restart", "guest1"),
            ("start", "deep"),
            ("stop", "deep"),
        ]
        assert one.mirror.stopped(deep.id)


async def test_members_are_judged_by_the_engines_clock_where_that_was_set():
    """The engine stamps by the wall clock, which somebody set back; attempts are counted by one
    that nobody can set."""
    checked = guest(1, check=HealthCheck(1, 1, 0, 1), health="healthy")
    async with clinic(RULES.replace("limits: {", "limits: {attempts: 1 per 15m, ")) as one:
        one.set_by = -10.0
        town = Town(one, checked)
        restart: Any = one.engine.restart

        async def unhealthy_again(container_id: str, *more: Any) -> None:
            await restart(container_id, *more)
            town.set(container_id, health="unhealthy")

        one.engine.restart = unhealthy_again  # type: ignore[assignment, method-assign]
        town.down()
        town.up()
        before = one.now
        await one.quiet()
        assert (one.only().outcome, one.only().attempts) == ("failed", 1)
        assert "guest1: unhealthy again" in one.only().reason
        assert one.now - before < 10


async def test_one_whose_start_is_told_of_long_after_its_answer_was_lost_is_restarted():
    """By then the echo of what dockmend did is over; when it asked is not forgotten."""
    async with clinic(RULES + START) as one:
        town = Town(one, guest(1))
        start: Any = one.engine.start

        async def cut(container_id: str) -> None:
            one.engine.start = start  # type: ignore[method-assign]
            raise EngineAway("the connection was cut")

        one.engine.start = cut  # type: ignore[assignment, method-assign]
        town.crash(guest(1).id)
        await one.quiet()
        one.now += 2
        town.emit(OWNER.id, "die", "start")
        town.set(OWNER.id, started_at=town.began)
        one.now += 1
        town.up(guest(1).id)
        one.reconciler.engine_back()
        await one.quiet()
        assert town.done == [("restart", "guest1")]


@pytest.mark.parametrize("done", [True, False], ids=["the engine did it", "it did not"])
async def test_a_members_stop_that_is_done_again_and_cut_off_is_the_persons(done: bool):
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        restart: Any = one.engine.restart
        stop: Any = one.engine.stop

        async def stopped_meanwhile(container_id: str, *more: Any) -> None:
            if container_id == guest(1).id:
                town.emit(container_id, "stop")
            await restart(container_id, *more)

        async def cut(container_id: str, *more: Any) -> bool:
            one.engine.stop = stop  # type: ignore[method-assign]
            if done:
                await stop(container_id, *more)
            raise EngineAway("the connection was cut")

        one.engine.restart, one.engine.stop = stopped_meanwhile, cut  # type: ignore[assignment, method-assign]
        town.up()
        await one.quiet()
        assert one.only().waiting_for == "engine"
        one.now += 30
        one.reconciler.engine_back()
        await one.quiet()
        assert ("start", "guest1") not in town.done
        assert one.mirror.stopped(guest(1).id)
        assert town.done.count(("restart", "guest2")) == 1
        assert one.only().outcome == "healed"
        assert {each.outcome for each in one.journal.actions.values()} <= {"done", "interrupted"}


async def test_a_stop_that_a_dead_dockmend_owed_to_a_person_comes_before_the_rest_of_its_group():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        await one.quiet()
        incident = one.only()
        town.up()
        one.reconciler.timers.drop(incident.id)
        for action in ("die", "start"):
            town.emit(guest(1).id, action)
        town.set(guest(1).id, state="running", exit_code=None, started_at=town.began)
        outer = ActionRecord(
            id="a1", incident=incident.id, rule="rejoin", target=GROUP, attempt=1,
            action="restart_dependents", object_id=guest(1).id, object_name="guest1", params={},
            began_at=one.now - 1,
            undo={"dependents": {"root": OWNER.id, "asked": {}, "halted": []}},
        )  # fmt: skip
        before = {"stop": {"started_at": one.engine.containers[guest(1).id].started_at}}
        owed = replace(outer, id="a2", action="stop", part="after", undo=before, began_at=one.now)
        one.now += 30
        one.incidents.update(incident.id, state="acting", attempts=1, waiting_for="", due_at=None)
        one.reconciler.take_up(one.only(), [outer, owed])
        await one.quiet()
        assert town.done == [("stop", "guest1"), ("restart", "guest2")]
        assert one.mirror.stopped(guest(1).id)
        assert one.only().outcome == "healed"


# --- which object is which ------------------------------------------------------------------------

NEW_OWNER = replace(OWNER, id="a" * 64, started_at=1001.0, created_at=1001.0)


async def test_an_owner_that_is_gone_is_called_by_its_name_and_not_by_its_target():
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "vpn",
              "com.docker.compose.container-number": "1"}  # fmt: skip
    async with clinic(RULES) as one:
        town = Town(one, replace(OWNER, name="shop-vpn-1", labels=labels), guest(1))
        town.down()
        await one.quiet()
        town.emit(OWNER.id, "destroy")
        del one.engine.containers[OWNER.id]
        await one.later()
        waiting = one.only()
        assert waiting.target == "dependents:compose:shop/vpn/1"
        assert waiting.reason == "shop-vpn-1, whose network it shares, is gone: it is waited for"


async def test_an_owner_that_nobody_knows_is_said_at_once_and_never_waited_for():
    async with clinic(RULES) as one:
        stray = guest(1, network_mode=f"container:{'d' * 64}")
        town = Town(one, stray)
        one.offer(one.mirror.relist(one.engine.containers.values(), [], [], one.now, "relisted"))
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        told = one.only()
        assert (told.target, told.outcome) == (f"dependents:unknown:{'d' * 12}", "failed")
        assert (told.reason_code, told.attempts) == ("unknown_owner", 0)
        assert "guest1" in told.reason
        assert town.done == []
        for change in one.mirror.standing():
            one.dispatcher.again(change)
        await one.quiet()
        assert len(one.journal.incidents) == 1  # once is enough
        # Once something tells what it was called, the owner of that name is the one, and is waited
        # for.
        town.down()
        event = Event(
            "container", "destroy", Actor("d" * 64, {"name": "owner"}), int(one.clock.wall() * 1e9)
        )
        one.offer(one.mirror.apply(event, one.clock.wall()))
        one.offer(one.mirror.relist(one.engine.containers.values(), [], [], one.now, "relisted"))
        await one.quiet()
        assert (one.last().target, one.last().waiting_for) == (GROUP, "owner")


async def test_members_that_are_gone_are_not_said_to_have_been_stopped_and_nothing_was_healed():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        await one.quiet()
        restart: Any = one.engine.restart

        async def then_removed(container_id: str, *more: Any) -> None:
            await restart(container_id, *more)
            town.emit(container_id, "kill", "die", "destroy")
            del one.engine.containers[container_id]

        one.engine.restart = then_removed  # type: ignore[assignment, method-assign]
        town.up()
        await one.quiet()
        assert one.only().outcome == "interrupted"
        assert one.only().reason == "guest1 is gone; guest2 is gone"


async def test_who_was_removed_meanwhile_is_named_beside_those_that_are_well():
    async with clinic(RULES) as one:
        town = Town(one, guest(1), guest(2))
        town.down()
        await one.quiet()
        restart: Any = one.engine.restart

        async def then_removed(container_id: str, *more: Any) -> None:
            await restart(container_id, *more)
            if container_id == guest(2).id:
                town.emit(container_id, "kill", "die", "destroy")
                del one.engine.containers[container_id]

        one.engine.restart = then_removed  # type: ignore[assignment, method-assign]
        town.up()
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == (
            "healed",
            "guest1 well again; guest2 is gone",
        )


async def test_a_group_is_not_finished_while_one_that_was_named_is_not_where_its_owner_is():
    """dockmend died with a member on its list: that nobody is left who needs anything proves
    nothing of that one."""
    async with clinic(RULES) as one:
        town = Town(one, guest(1))
        town.down()
        await one.quiet()
        incident = one.only()
        one.reconciler.timers.drop(incident.id)
        # It shares the network of one that is gone, and the mirror believes it well.
        engine: Any = one.engine
        engine.containers["e" * 64] = replace(
            guest(1), id="e" * 64, name="job", network_mode=f"container:{'d' * 64}"
        )
        record = ActionRecord(
            id="a1", incident=incident.id, rule="rejoin", target=GROUP, attempt=1,
            action="restart_dependents", object_id=guest(1).id, object_name="guest1", params={},
            began_at=one.now - 1,
            undo={"dependents": {"root": OWNER.id, "asked": {}, "halted": [],
                    "members": ["e" * 64]}},
        )  # fmt: skip
        town.up()
        one.incidents.update(incident.id, state="acting", attempts=1, waiting_for="", due_at=None)
        one.reconciler.take_up(one.only(), [record])
        await one.quiet()
        assert one.journal.actions["a1"].outcome == "interrupted"
        assert (
            "job is not in the network that its owner has now" in one.journal.actions["a1"].detail
        )


NOTHING = RULES.replace('name: "guest*"', "name: nobody")
ASKS = {"dockmend.rejoin": "true"}


@pytest.mark.parametrize(
    ("of_owner", "of_second", "done"),
    [
        ({}, {}, ["guest1"]),
        (ASKS, {}, ["guest1", "guest2", "guest3"]),
        (ASKS, {"dockmend.rejoin": "false"}, ["guest1"]),
    ],
)
async def test_by_labels_only_those_that_ask_are_brought_back(
    of_owner: dict[str, str], of_second: dict[str, str], done: list[str]
):
    async with clinic(NOTHING, heal="labelled") as one:
        behind = replace(
            guest(3), network_mode="bridge", ipc_mode=f"container:{OWNER.id}", labels=of_second
        )
        town = Town(one, guest(1, labels=ASKS), guest(2, labels=of_second), behind)
        town.set(OWNER.id, labels=of_owner)
        town.down()
        town.up()
        await one.quiet()
        assert sorted(town.done) == [("restart", name) for name in done]
        incident = one.only()
        assert (incident.rule, incident.outcome) == ("label:rejoin", "healed")


async def test_a_wait_for_the_owner_is_over_if_the_one_that_comes_does_not_ask():
    async with clinic(NOTHING, heal="labelled") as one:
        town = Town(one, guest(1))
        town.set(OWNER.id, labels=ASKS)
        town.down()
        await one.quiet()
        assert one.only().waiting_for == "owner"
        town.set(OWNER.id, labels={})
        town.up()
        await one.quiet()
        assert town.done == []
        assert (one.only().outcome, one.only().reason) == (
            "interrupted",
            "the labels that asked for it are gone",
        )


async def test_an_owner_that_asked_and_is_gone_is_waited_for():
    """Between the removal of the old one and the first look at the new one nobody is there who
    bears the label."""
    async with clinic(NOTHING, heal="labelled") as one:
        town = Town(one, guest(1))
        town.set(OWNER.id, labels=ASKS)
        town.down()
        town.emit(OWNER.id, "destroy")
        engine: Any = one.engine
        del engine.containers[OWNER.id]
        await one.quiet()
        assert (one.only().state, one.only().waiting_for) == ("waiting", "owner")
