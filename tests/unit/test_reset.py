"""`dockmend reset`: the command that a message says works with the name that it says, and one that
resets nothing says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.errors import DockmendError
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings

RULES = """
version: 1
rules:
  - {name: rejoin, when: container.orphaned, match: all, then: restart_dependents}
"""
GROUP = "dependents:container:vpn"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    fake = await FakeEngine(tmp_path).start()
    fake.add_container("vpn")
    fake.add_container("torrent", network=f"container:{fake.container('vpn')['Id']}")
    fake.add_container("web")
    async with running(fake, settings(tmp_path, RULES)) as one:
        yield one
    await fake.stop()


def give_up(daemon: Daemon, target: str) -> None:
    rule = daemon.rule("rejoin")
    assert rule is not None
    daemon.reconciler.breakers.open(rule, target, "it was tried 5 times")


@pytest.mark.parametrize("name", ["torrent", "vpn", GROUP])
async def test_the_breaker_of_a_group_closes_by_the_name_of_a_guest_or_of_the_owner(
    daemon: Daemon, name: str
):
    give_up(daemon, GROUP)
    done = await DaemonCommands(daemon).reset("uid 0", "rejoin", name)
    assert done["text"] == f"reset rule rejoin for {GROUP}"
    assert ("rejoin", GROUP) not in daemon.history.targets


async def test_own_attempts_and_those_of_the_group_are_reset_together(daemon: Daemon):
    give_up(daemon, GROUP)
    daemon.history.attempted("rejoin", "container:torrent", daemon.clock())
    done = await DaemonCommands(daemon).reset("uid 0", "rejoin", "torrent")
    assert done["text"] == f"reset rule rejoin for container:torrent and {GROUP}"
    assert daemon.history.targets == {}


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("web", "container:web"),
        ("torrent", "container:torrent"),
        ("container:torrent", "container:torrent"),
    ],
)
async def test_a_reset_of_what_is_not_counted_says_so(daemon: Daemon, name: str, targets: str):
    if name != "torrent":
        give_up(daemon, GROUP)  # that of others is left alone
    before = dict(daemon.history.targets)
    with pytest.raises(DockmendError) as error:
        await DaemonCommands(daemon).reset("uid 0", "rejoin", name)
    assert str(error.value) == (
        "there is nothing to reset: rule rejoin has no open breaker and no counted attempt for "
        f"{targets}; `dockmend status` lists the open breakers"
    )
    assert daemon.history.targets == before
