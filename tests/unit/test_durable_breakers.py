"""The daemon whole: an open breaker outlives it, is shown and not told again, and tries once when
its rest is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from dockmend.app.daemon import Daemon
from tests.fakes.engine import FakeEngine
from tests.unit.machine import Machine
from tests.unit.test_daemon import RULES, running, settings, until

ONCE = RULES.replace(
    "{backoff: 10ms to 20ms}", "{attempts: 1 per 1h, backoff: 10ms to 5m}"
).replace("    then: restart\n", "    then: restart\n    verify: {within: 1s}\n")
TARGET = "container:web"


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


def restarts(fake: FakeEngine) -> int:
    return sum("/restart" in each for each in fake.requests)


async def gives_up(one: Daemon, fake: FakeEngine, web: str) -> None:
    fake.set_health(web, "unhealthy")
    await until(lambda: restarts(fake) == 1, "it was restarted")
    fake.set_health(web, "unhealthy")
    await until(lambda: one.history.of("heal", TARGET).breaker_at is not None, "its breaker opens")
    await until(lambda: not one.incidents.open, "the incident is closed")


async def test_an_open_breaker_outlives_dockmend_and_is_not_told_again(
    fake: FakeEngine, tmp_path: Path
):
    web, machine, told = fake.add_container("web", health=True), Machine(), settings(tmp_path, ONCE)
    with structlog.testing.capture_logs() as lines:
        async with running(fake, told, clock=machine.clock()) as one:
            await gives_up(one, fake, web)
    assert any("gives up" in line["event"] for line in lines)
    with structlog.testing.capture_logs() as lines:
        async with running(fake, told, clock=machine.clock()) as two:
            assert 'dockmend_breakers_open{rule="heal"} 1.0' in two.metrics.render().decode()
            fake.set_health(web, "healthy")
            fake.set_health(web, "unhealthy")
            await until(
                lambda: ("heal", TARGET, "breaker") in two.incidents._folded,
                "what comes is suppressed",
            )
    assert not any("gives up" in line["event"] for line in lines)
    assert restarts(fake) == 1


@pytest.mark.parametrize("down", [False, True])
async def test_what_stands_is_tried_once_when_its_rest_is_over(
    fake: FakeEngine, tmp_path: Path, down: bool
):
    """Nothing is told anew: it was unhealthy all the while, and dockmend may have been down when
    the time came."""
    web, machine, told = fake.add_container("web", health=True), Machine(), settings(tmp_path, ONCE)
    async with running(fake, told, clock=machine.clock()) as one:
        await gives_up(one, fake, web)
        if not down:
            machine.passes(3601)
            one.reconciler.breakers.timers._changed.set()
            await until(lambda: restarts(fake) == 2, "it was tried once more")
            fake.set_health(web, "healthy")
            await until(lambda: not one.incidents.open, "the incident is closed")
    if down:
        machine.passes(3601)
    async with running(fake, told, clock=machine.clock()) as two:
        await until(lambda: restarts(fake) == 2, "it was tried once more")
        fake.set_health(web, "healthy")
        await until(lambda: not two.incidents.open, "the incident is closed")
        assert two.history.of("heal", TARGET).breaker_at is not None  # it is to last
        machine.passes(301)
        two.reconciler.breakers.timers._changed.set()
        await until(lambda: two.history.of("heal", TARGET).breaker_at is None, "it closes")
        assert 'dockmend_breakers_open{rule="heal"} 0.0' in two.metrics.render().decode()
    assert restarts(fake) == 2
