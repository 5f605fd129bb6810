"""What the running daemon says of its channels, and the samples that it sends."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from dockmend.app.daemon import Daemon
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.app.host_name import kept
from dockmend.cli import execute
from dockmend.errors import UsageError
from dockmend.notify import sender as sending
from dockmend.notify.message import Message
from dockmend.notify.sender import Verdict
from dockmend.settings import Settings
from dockmend.settings.channel_settings import NotifyChannel
from dockmend.settings.secrets import Secret
from tests.fakes.engine import FakeEngine
from tests.unit.notify.making import a_message
from tests.unit.test_daemon import running, settings, until

SECRET = "hunter2"


class Receivers:
    """In the place of Sender."""

    got: list[tuple[str, Message]]

    def __init__(self, *_: object) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def send(self, url: Secret, message: Message, logs: int) -> Verdict:
        self.got.append((url.reveal(), message))
        return Verdict("json" not in url.reveal(), ("said",))


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    monkeypatch.setattr(sending, "Sender", Receivers)
    Receivers.got = []
    fake = await FakeEngine(tmp_path).start()
    fake.add_container("web", labels={"dockmend.notify": "opps"})
    fake.add_container("db", labels={"dockmend.notify": "ops, home"})
    own: Settings = settings(tmp_path).model_copy(
        update={"notify": {"ops": NotifyChannel(), "home": NotifyChannel()}}
    )
    own._urls.update({
        "ops": (Secret(f"ntfy://a/{SECRET}"), Secret(f"json://b/{SECRET}")),
        "home": (Secret(f"ntfy://c/{SECRET}"),),
    })  # fmt: skip
    async with running(fake, own) as one:
        yield one
    await fake.stop()


async def test_it_says_how_it_goes_with_each_url_and_names_none(daemon: Daemon):
    daemon.message_delivery.outbox.put("ops", a_message(), daemon.clock())
    delivery = daemon.message_delivery.delivery
    assert delivery is not None
    await until(lambda: delivery.lanes["ops"][1].failing, "the second URL does not accept it")
    found: list[dict[str, Any]] = await DaemonCommands(daemon).channels()
    ops, home = found
    first, second = (each["lane"] for each in ops["urls"])
    assert [each["service"] for each in ops["urls"]] == ["ntfy", "json"]
    assert abs(first["delivered_at"] - daemon.clock.wall()) < 60
    assert (second["delivered_at"], second["error"], second["failing"]) == (None, "said", True)
    assert (ops["waiting"], home["waiting"]) == (1, 0)
    assert home["urls"][0]["lane"]["delivered_at"] is None
    assert SECRET not in json.dumps(found)


async def test_it_sends_a_sample_to_one_url(daemon: Daemon):
    commands = DaemonCommands(daemon)
    delivery = daemon.message_delivery.delivery
    assert delivery is not None
    await until(lambda: delivery._sending is not None, "it sends")
    assert await commands.notify_test("uid 0", "ops", 0, "healed") == {
        "accepted": True,
        "said": ["said"],
    }
    assert await commands.notify_test("uid 0", "ops", 1, "down") == {
        "accepted": False,
        "said": ["said"],
    }
    assert [(url, message.title) for url, message in Receivers.got] == [
        (f"ntfy://a/{SECRET}", "TEST ✅ example healed in 1.4 s (2nd time today)"),
        (f"json://b/{SECRET}", "TEST 🔴 example is down"),
    ]


@pytest.mark.parametrize(("system", "host"), [("0123456789ab", "fake"), ("nas", "nas")])
async def test_in_a_container_without_a_name_messages_name_the_engines_host(
    system: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Though the engine did not answer as dockmend started: then topics and rules have the id until
    the next start."""
    monkeypatch.setattr("dockmend.app.host_name.in_container", lambda: True)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=system))
    fake = await FakeEngine(tmp_path).start()
    one: Settings = settings(tmp_path).model_copy(update={"notify": {"ops": NotifyChannel()}})
    async with running(fake, one) as daemon:
        await until(daemon._listed.is_set, "the engine was listed")
        assert daemon.where.host == host
        assert daemon.telling is not None
        assert daemon.telling._where is daemon.where
        assert daemon.host == system
        assert (await DaemonCommands(daemon).in_force())["host"] == system
    assert kept(one.paths.state) == ("fake" if system != host else None)
    await fake.stop()


@pytest.mark.parametrize(
    ("channel", "url", "kind", "said"),
    [
        ("opps", 0, "down", "the channels are ops, home"),
        ("ops", 2, "down", "the channels are ops, home"),
        ("ops", -1, "down", "the channels are ops, home"),
        ("ops", 0, "told", "there is one of down, gave_up, "),
        ("ops", 0, "x", "there is one of down, gave_up, "),
    ],
)
async def test_of_what_does_not_exist_no_sample_is_sent(channel, url, kind, said, daemon: Daemon):
    with pytest.raises(UsageError) as error:
        await DaemonCommands(daemon).notify_test("uid 0", channel, url, kind)
    assert said in str(error.value)
    assert Receivers.got == []


async def test_a_label_that_names_a_channel_that_there_is_not_is_counted_and_shown(
    daemon: Daemon, capfd: pytest.CaptureFixture[str]
):
    await until(lambda: len(list(daemon.mirror.containers())) == 2, "both are listed")
    assert list(daemon.label_errors.counts()) == [("web", 1)]
    state = str(daemon.settings.paths.state)
    own = ["--state", state, "--socket", str(daemon.settings.paths.socket), "--json"]
    for command, wrong in (("coverage", "labels"), ("doctor", "text")):
        capfd.readouterr()
        await asyncio.to_thread(execute, [command, *own])
        rows = json.loads(capfd.readouterr().out)
        told = [str(row[wrong]) for row in rows if "there is no channel" in str(row[wrong])]
        assert len(told) == 1, command
        assert (
            'dockmend.notify=opps: there is no channel "opps" (did you mean "ops"?): expected '
            "home, ops" in told[0]
        )
