"""A crash loop: what ended by itself after a while has to run for longer before it counts as
healed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.model import HealthCheck
from dockmend.pipeline import run_stability
from dockmend.pipeline.run_stability import RunStability
from tests.unit.pipeline.clinic import HEAL, ID, TARGET, WEB, Clinic, clinic
from tests.unit.pipeline.test_groups import RULES, Town, guest

START = """
version: 1
rules:
  - name: heal
    when: [container.crashed, container.oom_killed, container.exited]
    match: all
    then: start
    limits: {attempts: 3 per 15m, backoff: 1s to 2s}
"""
CHECK = HealthCheck(interval=5.0, timeout=5.0, start_period=0.0, retries=1)


def crash(one: Clinic, code: int = 7) -> None:
    """The run in hand ends by itself, now."""
    one.engine.set(state="exited", exit_code=code, finished_at=one.now, health="")
    one.emit("die", exitCode=str(code))
    one.look()
    one.now += 1.5  # whose doing it was is settled
    one.tick()


def start(one: Clinic, checked: bool) -> None:
    """Its run began just now."""
    check = CHECK if checked else None
    one.engine.set(check=check, health="healthy" if checked else "", started_at=one.now)
    one.health_after = "healthy" if checked else ""
    entry = one.mirror.entries[ID]
    entry.kept.container, entry.kept.run.started_at = one.engine.containers[ID], one.now


def dies_after(one: Clinic, *runs: float, code: int = 7) -> None:
    """Each run that begins from now on ends by itself after so many seconds; those after them
    last."""
    left, ends_at = list(runs), [0.0]
    began, tick = one._began, one.tick

    def begin() -> None:
        began()
        ends_at[0] = one.now + left.pop(0) if left else 0.0

    def ticks() -> None:
        if ends_at[0] and one.now >= ends_at[0]:
            one.now, ends_at[0] = ends_at[0], 0.0
            one.engine.set(state="exited", exit_code=code, finished_at=one.now, health="")
            one.emit("die", exitCode=str(code))
            one.look()
        tick()

    one._began, one.tick = begin, ticks  # type: ignore[method-assign]
    wait = one.wakeups.wait

    async def in_small_steps(target: str, timeout: float, *more: str) -> None:
        await wait(target, min(timeout, 0.25), *more)

    one.wakeups.wait = in_small_steps  # type: ignore[method-assign]


async def to_its_end(one: Clinic) -> None:
    await one.quiet()
    while one.incidents.open:
        await one.later()


@pytest.mark.parametrize("checked", [False, True], ids=["running", "healthy"])
async def test_a_loop_is_one_incident_that_is_given_up_and_never_called_healed(checked: bool):
    async with clinic(START) as one:
        start(one, checked)
        dies_after(one, *[15.0] * 10)
        one.now += 15.0
        crash(one)
        await to_its_end(one)
        incident = one.only()
        assert (incident.outcome, incident.reason_code, incident.attempts) == (
            "failed",
            "exhausted",
            3,
        )
        assert (
            incident.reason
            == "it ended with exit code 7 again, after 15 s; given up after 3 attempts"
        )
        assert incident.lasted == pytest.approx(15.0, abs=0.1)


@pytest.mark.parametrize("checked", [False, True], ids=["running", "healthy"])
async def test_one_that_runs_for_longer_than_before_is_healed(checked: bool):
    async with clinic(START) as one:
        start(one, checked)
        dies_after(one, 20.0)
        one.now += 15.0
        crash(one)
        await to_its_end(one)
        incident = one.only()
        assert (incident.outcome, incident.attempts) == ("healed", 2)
        longer = "running for 32 s, longer than the run that ended (20 s)"
        assert incident.reason == (f"healthy again, and {longer}" if checked else longer)


async def test_what_has_to_run_for_long_holds_up_no_other_container():
    """It waits in the lane of its own target, and takes no place of those that may be acted on at
    the same time."""
    async with clinic(START, parallel=1) as one:
        start(one, checked=False)
        one.now += 59.9
        verified: list[float] = []
        wait = one.wakeups.wait

        async def waits(target: str, timeout: float, *more: str) -> None:
            if one.incidents.of("heal", target).state == "verifying":  # type: ignore[union-attr] # it is what waits
                async with asyncio.timeout(5), one.reconciler.caps.of(changes=True).taken(0.0):
                    verified.append(one.now)
                assert [lane for lane in (TARGET, "container:db") if one.lanes.busy(lane)] == [
                    TARGET
                ]
            await wait(target, timeout, *more)

        one.wakeups.wait = waits  # type: ignore[method-assign]
        crash(one)
        await to_its_end(one)
        assert one.only().outcome == "healed"
        assert one.now - verified[0] > 85.0


@pytest.mark.parametrize(
    ("ran", "needs"), [(0.01, 2.0), (15.0, 24.5), (59.9, 91.9), (61.0, 2.0), (86400.0, 2.0)]
)
async def test_how_long_it_has_to_run_goes_by_how_long_it_ran(ran: float, needs: float):
    async with clinic(START) as one:
        start(one, checked=False)
        one.now += ran
        crash(one)
        await one.quiet()
        assert one.only().outcome == "healed"
        started_at = one.engine.containers[ID].started_at
        assert one.now - started_at == pytest.approx(needs, abs=0.1)
        assert one.only().reason.startswith("running for") is (needs > 2.1)


async def test_within_of_the_rule_is_the_longest_that_is_waited():
    async with clinic(START + "    verify: {within: 5s}\n") as one:
        start(one, checked=False)
        one.now += 30.0
        crash(one)
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("healed", "running")
        assert one.now - one.engine.containers[ID].started_at == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("code", [0, 137], ids=["it ended well, and is to run", "out of memory"])
async def test_every_end_that_is_a_trouble_counts(code: int):
    async with clinic(START) as one:
        start(one, checked=False)
        one.now += 10.0
        if code:
            one.emit("oom")
        crash(one, code)
        await one.quiet()
        assert one.only().cause == ("oom_killed" if code else "completed")
        assert one.only().lasted == pytest.approx(10.0, abs=0.2)
        assert one.now - one.engine.containers[ID].started_at == pytest.approx(17.0, abs=0.2)


async def test_what_the_engine_took_down_with_it_is_no_loop():
    text = START.replace(
        "[container.crashed, container.oom_killed, container.exited]", "container.left_down"
    )
    async with clinic(text) as one:
        start(one, checked=False)
        one.now += 15.0
        one.offer(one.mirror.engine_lost(one.now))
        one.mirror.engine_renewed(one.now, one.now + 1.0, kept_containers=False)
        one.engine.set(state="exited", exit_code=143, finished_at=one.now + 0.5)
        one.now += 5.0
        one.learn_from(one.engine.containers[ID])
        one.now += 5.0
        one.tick()
        await one.quiet()
        assert (one.only().trigger, one.only().lasted, one.only().reason) == (
            "container.left_down",
            0.0,
            "running",
        )


async def test_an_unhealthy_one_is_healed_as_soon_as_it_is_healthy_unless_it_ended_in_between():
    async with clinic(HEAL + "    limits: {backoff: 1s to 2s}\n") as one:
        one.sicken()
        await one.quiet()
        assert one.only().outcome == "healed"
        assert one.now - one.engine.containers[ID].started_at < 1.0
    async with clinic(HEAL + "    limits: {backoff: 1s to 2s}\n") as one:
        one.health_after = "starting"
        dies_after(one, 8.0)
        one.sicken()
        await one.quiet()
        assert one.only().waiting_for == "backoff"
        assert one.only().lasted == pytest.approx(8.0, abs=0.3)
        assert "it ended with exit code 7, after 8 s" in one.only().reason
        one.health_after = "healthy"
        await one.later()
        assert (one.only().outcome, one.only().attempts) == ("healed", 2)
        assert one.now - one.engine.containers[ID].started_at == pytest.approx(14.0, abs=0.5)


async def test_how_long_it_ran_outlives_dockmend():
    async with clinic(START) as one:
        start(one, checked=False)
        one.now += 15.0
        crash(one)
        dies_after(one)
        wait = one.wakeups.wait

        async def ends(target: str, timeout: float, *more: str) -> None:
            one.reconciler.stop()

        one.wakeups.wait = ends  # type: ignore[method-assign]
        await one.quiet()
        left = one.only()
        assert left.state == "verifying"
        assert left.lasted == pytest.approx(15.0, abs=0.1)
        kept = one.mirror.known(ID)
        async with clinic(START) as after:
            after.mirror = Mirror()
            after.now = one.now
            after.engine.containers = one.engine.containers
            after.build(after.lanes)
            assert kept is not None
            after.engine.containers = one.engine.containers
            after.learn_from(one.engine.containers[ID])
            after.incidents.adopt(left)
            after.reconciler.take_up(left, (), list(one.journal.actions.values()))
            await after.quiet()
            assert after.last().outcome == "healed"
            assert after.now - one.now == pytest.approx(24.5, abs=0.1)
        one.wakeups.wait = wait  # type: ignore[method-assign]


async def test_a_run_that_the_engine_begins_anew_does_not_go_on_from_the_one_before():
    """Restart policy: what runs for 1 s, six times, has not run for 6 s."""
    async with clinic(START) as one:
        start(one, checked=False)
        one.now += 4.0
        crash(one)
        restarts = iter(range(1000))
        wait = one.wakeups.wait

        async def begun_anew(target: str, timeout: float, *more: str) -> None:
            await wait(target, min(timeout, 1.0), *more)
            next(restarts)
            one.engine.set(started_at=one.now, state="running")
            one.emit("start")
            one.look()

        one.wakeups.wait = begun_anew  # type: ignore[method-assign]
        await one.quiet()
        assert one.only().state == "waiting"
        assert "not running for 8 s without a break within 38 s" in one.only().reason


async def test_a_member_of_a_group_that_ends_is_a_trouble_of_its_own_and_there_the_loop_counts():
    rules = RULES + START.replace("version: 1\nrules:\n", "").replace(
        "match: all", 'match: {name: "guest*"}'
    )
    async with clinic(rules) as one:
        town = Town(one, guest(1))
        engine: Any = one.engine
        wait, restart, dying = one.wakeups.wait, engine.restart, list[str]()

        async def restarted(container_id: str, *more: Any) -> None:
            await restart(container_id, *more)
            dying.append(container_id)

        async def dies(target: str, timeout: float, *more: str) -> None:
            """Once, 1.5 s after the group restarted it."""
            await wait(target, 1.5 if dying else timeout, *more)
            for container_id in dying:
                town.crash(container_id)
            dying.clear()

        engine.restart, one.wakeups.wait = restarted, dies  # type: ignore[method-assign]
        town.down()
        await one.quiet()
        town.up()
        await to_its_end(one)
        group, own = one.journal.incidents.values()
        assert group.rule == "rejoin"
        assert (own.rule, own.outcome) == ("heal", "healed")
        assert own.lasted == pytest.approx(1.5, abs=0.1)
        assert own.reason == "running for 4 s, longer than the run that ended (2 s)"


def test_a_run_counts_from_when_it_was_first_seen_and_another_begins_anew():
    steady = RunStability(begun=100.0, seconds=10.0)
    assert not steady.reached(WEB, 104.0)
    assert steady.due(104.0) == 110.0
    assert steady.reached(WEB, 110.0)
    again = replace(WEB, started_at=WEB.started_at + 5.0)
    assert not steady.reached(again, 111.0)
    assert steady.due(111.0) == 121.0
    assert steady.reached(again, 121.0)
    assert steady.due(121.0) is None


def test_only_what_ran_longer_is_said_to_have_run_longer():
    assert run_stability.longer_text(0.0, 2.0) == ""
    assert run_stability.longer_text(86400.0, 2.0) == ""
    assert (
        run_stability.longer_text(15.0, 24.5) == "for 24 s, longer than the run that ended (15 s)"
    )
