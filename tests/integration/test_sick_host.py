"""A host on which everything fails at once: healed at the rate that the settings allow, and said
once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.integration.healing import CRASHED, UNHEALTHY, actions_seen, daemon
from tests.integration.inside import Inside, Ward, inside
from tests.integration.stories import all_told, closed, incidents, stories
from tests.lab import PrivateEngine, eventually
from tests.lab.waiting import eventually_async

MANY, BUDGET = 200, 30


def at_most(times: list[float], count: int, within: float) -> bool:
    """No window of that many seconds holds more."""
    return all(sum(start <= at < start + within for at in times) <= count for start in times)


def restarted(ward: Ward, count: int) -> bool:
    """How many of those that failed were: their guests come back with them, and cost nothing
    more."""
    return sum(times for name, times in ward.restarts.items() if name.startswith("web")) == count


def waits(one: Inside, count: int) -> bool:
    """Whether so many wait for the budget, and nothing else is open: the stream may still be
    telling of some, and who waits for its lane has not asked yet."""
    waiting = [(each.state, each.waiting_for) for each in one.daemon.incidents.open.values()]
    return waiting == [("waiting", "budget")] * count


async def test_two_hundred_at_once_are_healed_at_the_hosts_rate_the_most_depended_upon_first(
    tmp_path: Path,
) -> None:
    """By a clock that the test moves: seven minutes pass in seconds."""
    ward = Ward(tmp_path)
    await ward.start()
    names = [f"web{number:03}" for number in range(MANY)]
    ward.patient(*names)
    owner = str(ward.container("web150")["Id"])
    sidecars = [f"sidecar{number}" for number in range(3)]
    for each in sidecars:
        ward.add_container(each, HostConfig={"NetworkMode": f"container:{owner}"})
    rules = UNHEALTHY.replace("{backoff: 100ms to 1s}", "{backoff: none}")
    try:
        async with inside(ward, tmp_path, rules) as one:
            ward.sicken(*names)
            for minute in range(1, 8):
                expected = min(MANY, minute * BUDGET)
                await eventually_async(partial(restarted, ward, expected), 60)
                await eventually_async(partial(waits, one, MANY - expected), 60)
                assert restarted(ward, expected)
                one.passes(61)
            told = await one.closed(MANY, outcome="healed")
            assert len(told) == MANY
            assert ward.restarts == dict.fromkeys([*names, *sidecars], 1)
            begun = sorted((actions[0].began_at, incident.object_name)
                for incident, actions in await one.stories()
                           if actions)  # fmt: skip
            assert at_most([at for at, _ in begun], BUDGET, 60.0)
            assert "web150" in [name for _, name in begun[:BUDGET]]
            (line,) = [each for each in one.daemon.metrics.render().decode().splitlines()
                       if each.startswith("dockmend_budget_suppressed_total")]  # fmt: skip
            assert line == f"dockmend_budget_suppressed_total {float(MANY - BUDGET)}"
    finally:
        await ward.stop()


ONCE = "[ -e /was ] && exec sleep 86400; touch /was; until [ -e /cue/go ]; do sleep 1; done; exit 3"
"""Crashes when it is told to, the first time it runs."""


@pytest.mark.timeout(600)
def test_thirty_on_a_real_engine_are_healed_at_the_rate_and_said_once(
    docker: PrivateEngine,
) -> None:
    names = [f"web{number:02}" for number in range(30)]
    for name in names:
        docker.run(name, "--volume", "cue:/cue", command=("sh", "-c", ONCE))
    with daemon(docker, CRASHED, config="limits: {rate: 10 per 10s}\n") as one:
        docker.docker("run", "--rm", "--volume", "cue:/cue", "toolbox", "touch", "/cue/go")
        closed(one, len(names), timeout=300.0, outcome="healed")
        begun = sorted(actions[0].began_at for _, actions in stories(one) if actions)
        assert len(begun) == len(names)
        assert at_most(begun, 10, 10.0)
        all_told(one)
        said = [row for row in one.log if row.get("id") == "budget_exhausted"]
        assert 1 <= len(said) <= 4  # once for each time that nothing had waited before
        assert [row for row in one.log if "used up" in json.dumps(row)] == said
        assert one.metric("dockmend_budget_suppressed_total") >= 10
    assert {docker.state(name) for name in names} == {"running"}


def test_on_a_real_engine_each_step_is_an_action_and_none_stops_in_the_middle(
    docker: PrivateEngine,
) -> None:
    """Of three actions an hour an attempt of two leaves one: the next one waits, after a restart of
    dockmend too."""
    names = ("web", "api")
    for name in names:
        docker.patient(name)
    rules = UNHEALTHY.replace("then: restart", "then: [stop, start]")
    with daemon(docker, rules, config="limits: {rate: 3 per 1h}\n") as one:
        began = docker.now()
        for name in names:
            docker.sicken(name)
        (healed,) = closed(one, 1, timeout=60.0, outcome="healed")
        for again in (True, False):
            eventually(
                lambda: (
                    [each.waiting_for for each in incidents(one) if each.closed_at is None]
                    == ["budget"]
                )
            )
            if again:
                one.stop()
                one.start()
        for name in names:
            seen = actions_seen(docker, name, began, "stop", "start")
            assert seen == (["stop", "start"] if name == healed.object_name else [])
