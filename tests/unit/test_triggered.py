"""`dockmend trigger`: recorded as what a person asked for, and never a way to start what a person
stopped unawares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.errors import DockmendError
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings, until

RULES = """
version: 1
rules:
  - {name: heal, when: container.unhealthy, match: all, exclude: {name: shop-*}, then: restart}
  - {name: begin, when: container.crashed, match: all, then: start}
  - {name: anew, when: container.unhealthy, match: all, then: recreate}
  - {name: go-on, when: container.unhealthy, match: all, then: unpause}
  - {name: shadow, when: container.unhealthy, match: all, then: restart, dry_run: true}
"""
ONE_OFF = {
    "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
    "com.docker.compose.oneoff": "True", "com.docker.compose.config-hash": "abc",
}  # fmt: skip


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    one.add_container("web", health=True)
    one.add_container("vpn")
    one.add_container("guest", network=f"container:{one.container('vpn')['Id']}")
    one.add_container("job", labels=ONE_OFF)
    one.add_container("left-alone", labels={"dockmend.ignore": "true"})
    yield one
    await one.stop()


@pytest.fixture
async def daemon(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(fake, settings(tmp_path, RULES)) as one:
        yield one


async def stopped(fake: FakeEngine, daemon: Daemon, name: str) -> None:
    """A person has stopped it, and dockmend knows."""
    fake.stop_container(name)
    identity = fake.container(name)["Id"]
    await until(lambda: daemon.mirror.stopped(identity), f"{name} counts as stopped")


async def paused(fake: FakeEngine, daemon: Daemon, name: str) -> None:
    fake.pause_container(name, paused=True)
    identity = fake.container(name)["Id"]

    def is_paused() -> bool:
        container = daemon.mirror.container(identity)
        return container is not None and container.state == "paused"

    await until(is_paused, f"{name} counts as paused")


async def refused(daemon: Daemon, rule: str, name: str, *, even_if_stopped: bool = False) -> str:
    with pytest.raises(DockmendError) as error:
        await DaemonCommands(daemon).trigger("uid 0", rule, name, even_if_stopped=even_if_stopped)
    assert error.value.exit_code == 1
    assert daemon.incidents.open == {}
    return str(error.value)


async def asked(daemon: Daemon, rule: str, name: str, *, even_if_stopped: bool = False) -> str:
    """The id of the incident, whose attempt was made."""
    done = await DaemonCommands(daemon).trigger(
        "uid 0 (root)", rule, name, even_if_stopped=even_if_stopped
    )
    identity = str(done["incident"])

    def made() -> bool:
        incident = daemon.incidents.open.get(identity)
        return incident is None or incident.state == "verifying"

    await until(made, "the attempt was made")
    return identity


async def test_of_a_healthy_container_nothing_is_recorded_but_that_a_person_asked(daemon: Daemon):
    identity = await asked(daemon, "heal", "web")
    story = await DaemonCommands(daemon).incident(identity)
    incident = story["incident"]
    assert (incident["trigger"], incident["actor"]) == ("asked", "uid 0 (root)")
    assert "unhealthy" not in str(story)


@pytest.mark.parametrize("rule", ["heal", "begin"])
async def test_what_a_person_stopped_is_not_started(fake: FakeEngine, daemon: Daemon, rule: str):
    await stopped(fake, daemon, "web")
    assert await refused(daemon, rule, "web") == (
        f"rule {rule} does nothing to web: somebody stopped it, and what a person stopped is not "
        "started: `docker start web` starts it, and with --even-if-stopped the rule does"
    )
    assert fake.container("web")["State"]["Status"] == "exited"
    await asked(daemon, rule, "web", even_if_stopped=True)
    assert fake.container("web")["State"]["Status"] == "running"


async def test_what_a_person_paused_does_not_go_on(fake: FakeEngine, daemon: Daemon):
    await paused(fake, daemon, "web")
    assert await refused(daemon, "heal", "web") == (
        "rule heal does nothing to web: it is paused, and what a person paused does not go on by a "
        "rule: `docker unpause web` lets it, and with --even-if-stopped the rule does"
    )
    await asked(daemon, "go-on", "web")
    assert fake.container("web")["State"]["Status"] == "running"


async def test_who_lives_with_an_owner_that_is_down_is_left_as_it_is(
    fake: FakeEngine, daemon: Daemon
):
    await stopped(fake, daemon, "vpn")
    for even in (False, True):
        assert await refused(daemon, "heal", "guest", even_if_stopped=even) == (
            "rule heal does nothing to guest: it lives in the namespaces of vpn, which does not "
            "run: `docker start vpn` first"
        )


async def test_who_is_protected_or_a_one_off_is_not_touched(daemon: Daemon):
    assert await refused(daemon, "heal", "left-alone", even_if_stopped=True) == (
        "rule heal does nothing to left-alone: labelled dockmend.ignore=true"
    )
    assert await refused(daemon, "heal", "job") == (
        "rule heal does not match a container named 'job': it is a one-off of Compose, which only "
        "a rule with `match: {oneoff: true}` is about"
    )


async def test_a_rule_that_starts_nothing_may_act_on_what_is_stopped(
    fake: FakeEngine, daemon: Daemon
):
    await stopped(fake, daemon, "web")
    await asked(daemon, "go-on", "web")
    assert fake.container("web")["State"]["Status"] == "exited"


async def test_a_rule_that_only_shadows_says_so(daemon: Daemon):
    done = await DaemonCommands(daemon).trigger("uid 0", "shadow", "web")
    assert (
        done["text"]
        == "rule shadow is a dry run: what it would do to web is recorded, and nothing is done"
    )


async def test_a_rule_that_is_paused_says_that_it_waits(daemon: Daemon):
    commands = DaemonCommands(daemon)
    await commands.pause("uid 0", container="web")
    done = await commands.trigger("uid 0", "heal", "web")
    assert (
        done["text"]
        == "rule heal treats web as soon as it may: paused by a person until it is resumed"
    )


async def test_what_crashed_runs_after_it_was_made_anew(fake: FakeEngine, daemon: Daemon):
    before = fake.container("web")["Id"]
    fake.crash("web")
    await until(lambda: not daemon.mirror.container(before).running, "the crash is known")  # type: ignore[union-attr]
    await DaemonCommands(daemon).trigger("uid 0", "anew", "web")
    await until(lambda: fake.container("web")["Id"] != before, "it was made anew")
    await until(lambda: fake.container("web")["State"]["Running"], "it runs")
