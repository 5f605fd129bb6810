"""What a person asks the running daemon for: of what does not exist, nothing is done and it is
said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.errors import DockmendError, UsageError
from dockmend.settings import EngineFound
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    fake = await FakeEngine(tmp_path).start()
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    fake.add_container("web", health=True)
    fake.add_container("shop-web-1", labels=compose)
    async with running(fake, settings(tmp_path)) as one:
        yield one
    await fake.stop()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wbe", "dockmend knows no container 'wbe' (did you mean \"web\"?)"),
        (
            "container:web2",
            (
                "dockmend knows nothing of the target 'container:web2' (did you mean "
                '"container:web"?)'
            ),
        ),
        ("compose:shop/wbe/1", '(did you mean "compose:shop/web/1"?)'),
        ("zzz", "dockmend knows no container 'zzz'"),
    ],
)
async def test_what_does_not_exist_is_neither_paused_nor_resumed_nor_reset(
    daemon: Daemon, name: str, said: str
):
    commands = DaemonCommands(daemon)
    for asked in (
        commands.pause("uid 0", container=name), commands.resume("uid 0", container=name),
        commands.reset("uid 0", "heal", name),
    ):  # fmt: skip
        with pytest.raises(DockmendError) as error:
            await asked
        assert said in str(error.value)
        assert error.value.exit_code == 1
    assert daemon.pauses.in_force() == []


async def test_a_rule_that_does_not_exist_is_not_paused(daemon: Daemon):
    with pytest.raises(
        DockmendError, match=r"there is no rule 'haal' .did you mean .heal"
    ) as error:
        await DaemonCommands(daemon).pause("uid 0", rule="haal")
    assert error.value.exit_code == 1


@pytest.mark.parametrize("name", ["web", "container:web", "shop-web-1", "compose:shop/web/1"])
async def test_what_exists_is_paused_by_its_name_or_its_target(daemon: Daemon, name: str):
    commands = DaemonCommands(daemon)
    await commands.pause("uid 0", container=name)
    assert (await commands.resume("uid 0", container=name))["text"].startswith("resumed ")


@pytest.mark.parametrize("seconds", [0, -1.0, 1e12])
async def test_a_pause_of_no_time_is_refused(daemon: Daemon, seconds: Any):
    with pytest.raises(UsageError, match="more than no time and ten years at most"):
        await DaemonCommands(daemon).pause("uid 0", for_=seconds)
    assert daemon.pauses.in_force() == []


async def test_resuming_everything_names_what_stays_paused(daemon: Daemon):
    commands = DaemonCommands(daemon)
    await commands.pause("uid 0")
    await commands.pause("uid 0", container="web")
    done = await commands.resume("uid 0")
    assert done["text"] == "resumed everything; still paused: container:web"


async def test_why_it_acts_on_nothing_is_told_and_a_pause_of_one_rule_is_no_reason(daemon: Daemon):
    commands = DaemonCommands(daemon)
    await commands.pause("uid 0", rule="heal")
    assert (await commands.status())["not_acting"] == {}
    await commands.pause("uid 0")
    daemon.rules.observes = True
    daemon.journal._writer.healthy = False  # type: ignore[attr-defined]
    assert set((await commands.status())["not_acting"]) == {"paused", "rules", "journal"}
    daemon.journal._writer.healthy = True  # type: ignore[attr-defined]
    daemon.rules.observes = False
    await commands.resume("uid 0")
    assert (await commands.status())["not_acting"] == {}


async def test_beside_another_healer_it_is_told_that_labels_heal_nothing(daemon: Daemon):
    commands = DaemonCommands(daemon)
    assert (await commands.status())["not_acting"] == {}
    daemon.rules.healers = ("a", "b", "c", "d")
    assert (await commands.status())[
        "not_acting"
    ] == {}  # without rules of labels it changes nothing
    daemon.rules.settings = daemon.rules.settings.model_copy(update={"heal": "labelled"})
    daemon.rules.again()
    assert (await commands.status())["not_acting"] == {
        "another_healer": "label:heal only says what it would do while another healer runs here: "
        "a, b, c and 1 more"
    }
    daemon.rules.healers = ()
    assert (await commands.status())["not_acting"] == {}


async def test_whoever_may_use_the_socket_is_not_told_the_secrets_of_the_rules(daemon: Daemon):
    text = (
        b"version: 1\nrules:\n- {then: [{exec: {command: [dump], env: {PGPASSWORD: "
        b"hunter2}}}]}  # hunter2\n"
    )
    daemon.rules.use(daemon.rules.current, {"a.yaml": text})
    told = await DaemonCommands(daemon).in_force()
    assert "PGPASSWORD" in told["texts"]["a.yaml"]
    assert "hunter2" not in told["texts"]["a.yaml"]


async def test_a_command_is_told_the_engine_that_the_daemon_found_wherever_it_found_it(
    daemon: Daemon,
):
    daemon.engine.url = "https://nas:2376"
    used = EngineFound(url="https://nas:2376", tls=True, ca="/certs/ca.pem")
    daemon.settings = daemon.settings.model_copy(update={"engine_found": used})
    told = await DaemonCommands(daemon).in_force()
    assert (told["engine"], told["engine_found"]) == ("https://nas:2376", used.model_dump())
