"""`dockmend notify`: the channels of the daemon that runs, else those of the files; samples; never
a URL."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Self

import pytest

from dockmend.control import pidfiles
from dockmend.control.pidfiles import PidFile
from dockmend.errors import UsageError
from dockmend.journal.records import OutboxRow
from dockmend.journal.sqlite import SqliteJournal
from dockmend.notify import sender as sending
from dockmend.notify.message import Message
from dockmend.notify.sender import Verdict
from dockmend.settings.channels import LISTED
from dockmend.settings.secrets import Secret
from tests.unit.cli.test_daemon_commands import state  # noqa: F401 - a fixture

SECRET = "hunter2"
KINDS = [kind.value for kind in LISTED]
WELL = {"delivered_at": 1.8e9, "failed_at": None, "error": "", "failing": False}
ILL = {"delivered_at": None, "failed_at": 1.8e9, "error": "error=500", "failing": True}


def row(name: str, *services: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "urls": [{"service": each, "lane": WELL} for each in services],
        "at_once": ["down"], "digest": ["healed"], "off": ["gave_up"], "severity": "warning",
        "quiet": None, "logs": 5, "digest_at": "08:00", "waiting": 0, "next_at": None, **changed,
    }  # fmt: skip


class Receivers:
    """In the place of Sender: what was sent to whom; who does not accept what."""

    def __init__(self) -> None:
        self.got: dict[str, list[Message]] = {}
        self.logs: list[int] = []
        self.refuses: dict[str, str] = {}

    def __call__(self, *_: object) -> Receivers:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def send(self, url: Secret, message: Message, logs: int) -> Verdict:
        self.got.setdefault(url.reveal(), []).append(message)
        self.logs.append(logs)
        if self.refuses.get(url.reveal()) == message.kind.value:
            return Verdict(accepted=False, said=("error=500",))
        return Verdict(accepted=True)


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> Receivers:
    found = Receivers()
    monkeypatch.setattr(sending, "Sender", found)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with two channels, and nobody who runs."""
    for name, urls in (
        ("ops", f"json://{SECRET}@a\nntfy://b/{SECRET}\n"),
        ("home", f"json://c/{SECRET}\n"),
    ):
        (tmp_path / f"{name}.url").write_text(urls)
        (tmp_path / f"{name}.url").chmod(0o600)
    file = tmp_path / "dockmend.yaml"
    file.write_text(
        "notify: {ops: {url_file: ops.url, at_once: [down, needs_you], severity: critical, logs: 2,"
        ' quiet: "22:00-07:00"}, home: {url_file: home.url}}\n'
    )
    return file


# --------------------------------------------------------------------------------- without a daemon


def test_the_channels_of_the_files_are_listed_if_nobody_runs(
    dockmend, config, tmp_path, monkeypatch
):
    monkeypatch.setenv("DOCKMEND_CONFIG", str(config))
    ran = dockmend("notify", "--list", "--state", tmp_path)
    assert ran.code == 0
    assert f"no dockmend answers at {tmp_path}/dockmend.sock: settings of {config}" in ran.err
    ops = ran.out.partition("home\n")[0]
    for line in (
        "ops\n", "  URL 1      json (address hidden)\n", "  URL 2      ntfy (address hidden)\n",
        "  at once    down, needs_you\n",
        "  digest     healed, daily at 08:00\n",
        "  off        gave_up, flapping, resolved, degraded\n", "  severity   at least critical\n",
        "  quiet      22:00-07:00, but for what is critical\n", "  waiting    nothing\n",
    ):  # fmt: skip
        assert line in ops
    assert "  quiet      never\n" in ran.out.partition("home\n")[2]
    assert SECRET not in ran.out + ran.err


async def _left(folder: Path, due: float) -> None:
    journal = SqliteJournal(folder / "journal.sqlite3", time.time)
    await journal.open()
    journal.put_outbox(OutboxRow(1, "ops", "waiting", due, 0, "[]", b"{}"))
    await journal.close()


def test_what_waits_in_the_journal_is_listed_without_a_daemon(dockmend, config, tmp_path):
    asyncio.run(_left(tmp_path, 1.8e9))
    ran = dockmend("notify", "--list", "--state", tmp_path, "--config", config, "--json")
    assert [(each["name"], each["waiting"], each["next_at"]) for each in json.loads(ran.out)] == [
        ("ops", 1, 1.8e9), ("home", 0, None),
    ]  # fmt: skip
    assert f"as the flags say: settings of {config}" in ran.err
    (tmp_path / "journal.sqlite3").write_bytes(b"no journal")
    ran = dockmend("notify", "--list", "--state", tmp_path, "--config", config)
    assert "  waiting    unknown: the journal cannot be read\n" in ran.out


def test_a_sample_of_each_kind_goes_to_every_url(dockmend, config, tmp_path, receivers):
    ran = dockmend("notify", "--test", "--state", tmp_path, "--config", config)
    assert ran.code == 0
    accepted = f"accepted: {', '.join(KINDS)}\n"
    assert (
        ran.out == f"ops, URL 1 (json): {accepted}ops, URL 2 (ntfy): {accepted}home, URL 1 (json): "
        f"{accepted}"
    )
    assert set(receivers.got) == {f"json://{SECRET}@a", f"ntfy://b/{SECRET}", f"json://c/{SECRET}"}
    for messages in receivers.got.values():
        assert [each.kind.value for each in messages] == KINDS
        assert all(each.title.startswith("TEST ") for each in messages)
    assert receivers.logs == [2] * 14 + [5] * 7
    assert SECRET not in ran.out + ran.err


def test_one_channel_is_tried_alone(dockmend, config, tmp_path, receivers):
    assert dockmend("notify", "--test", "home", "--state", tmp_path, "--config", config).code == 0
    assert set(receivers.got) == {f"json://c/{SECRET}"}


def test_what_does_not_accept_a_sample_gets_no_other_and_it_is_said_why(
    dockmend, config, tmp_path, receivers
):
    receivers.refuses = {f"json://{SECRET}@a": "flapping"}
    ran = dockmend("notify", "--test", "ops", "--state", tmp_path, "--config", config)
    assert ran.code == 1
    assert ran.out == (
        "ops, URL 1 (json): NOT ACCEPTED: flapping; accepted before: down, gave_up; nothing more "
        "was sent there\n"
        f"  error=500\nops, URL 2 (ntfy): accepted: {', '.join(KINDS)}\n"
    )
    ran = dockmend("notify", "--test", "ops", "--state", tmp_path, "--config", config, "--json")
    assert ran.code == 1
    assert json.loads(ran.out)[0] == {
        "channel": "ops", "url": 1, "service": "json", "accepted": ["down", "gave_up"],
        "refused": "flapping", "said": ["error=500"],
    }  # fmt: skip


@pytest.mark.parametrize("what", ["--test", "--list"])
def test_an_unknown_channel_is_an_error_that_lists_the_known_ones(
    what, dockmend, config, tmp_path, receivers
):
    ran = dockmend("notify", what, "opps", "--state", tmp_path, "--config", config)
    assert (ran.code, ran.out) == (2, "")
    assert (
        "there is no channel 'opps' (did you mean \"ops\"?): the channels are ops, home\n"
        in ran.err
    )
    assert receivers.got == {}


def test_without_a_channel_it_is_said_how_to_make_one(dockmend, tmp_path, receivers):
    ran = dockmend("notify", "--test", "--state", tmp_path)
    assert ran.code == 2
    assert (
        "no channel is configured: name one under `notify` in the settings, or set "
        "DOCKMEND_NOTIFY_URL" in ran.err
    )
    ran = dockmend("notify", "--list", "--state", tmp_path)
    assert (ran.code, "no channel is configured" in ran.out) == (0, True)
    assert dockmend("notify", "--list", "--state", tmp_path, "--json").out == "[]\n"


@pytest.mark.parametrize("flags", [(), ("--list", "--test")])
def test_what_is_to_be_done_has_to_be_said(flags, dockmend):
    ran = dockmend("notify", *flags)
    assert ran.code == 2
    assert "`dockmend notify --list` or `dockmend notify --test [CHANNEL]`" in ran.err


# ---------------------------------------------------------------------------------- with the daemon


def test_the_daemon_that_runs_is_asked_for_its_channels(dockmend, state):  # noqa: F811 - the fixture
    folder, daemon = state
    lanes = [{"service": "ntfy", "lane": WELL}, {"service": "json", "lane": ILL}]
    daemon.answers["channels"] = [
        row("ops", urls=lanes, waiting=3, next_at=1.8e9),
        row("home", "mailto"),
    ]
    ran = dockmend("notify", "--list", "--state", folder)
    assert (ran.code, ran.err) == (0, "")
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1.8e9))
    assert f"  URL 1      ntfy (address hidden): last delivered {at}\n" in ran.out
    assert (
        f"  URL 2      json (address hidden): nothing delivered since dockmend started; "
        f"last error {at}: error=500, it is tried again\n"
    ) in ran.out
    assert f"  waiting    3 messages, the first due {at}\n" in ran.out
    assert json.loads(dockmend("notify", "--list", "home", "--state", folder, "--json").out) == [
        row("home", "mailto")
    ]


def test_the_daemon_that_runs_sends_the_samples(dockmend, state, receivers):  # noqa: F811
    folder, daemon = state
    daemon.answers |= {
        "channels": [row("ops", "ntfy", "json"), row("home", "json")],
        "notify_test": {"accepted": True, "said": ["WARNING: slow"]},
    }
    ran = dockmend("notify", "--test", "ops", "--state", folder)
    accepted = f"accepted: {', '.join(KINDS)}\n  WARNING: slow\n"
    assert (ran.code, ran.out) == (0, f"ops, URL 1 (ntfy): {accepted}ops, URL 2 (json): {accepted}")
    asked = [given for name, given in daemon.calls if name == "notify_test"]
    assert [(each["channel"], each["url"], each["kind"]) for each in asked] == [
        ("ops", url, kind) for url in (0, 1) for kind in KINDS
    ]
    assert all(each["actor"].startswith("uid ") for each in asked)
    assert receivers.got == {}
    daemon.answers["notify_test"] = {"accepted": False, "said": ["no"]}
    assert dockmend("notify", "--test", "--state", folder).code == 1


def test_a_daemon_that_runs_and_cannot_be_asked_is_not_passed_over(
    dockmend, config, tmp_path, receivers, monkeypatch
):
    """Its channels may be others than those of the files: what is tried would prove nothing."""
    monkeypatch.setenv("DOCKMEND_CONFIG", str(config))
    found = [PidFile(os.getpid(), "1", str(tmp_path / "dockmend.sock"), str(tmp_path))]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    ran = dockmend("notify", "--test")
    assert (ran.code, receivers.got) == (3, {})


def test_a_daemon_of_another_version_says_so_itself(dockmend, state):  # noqa: F811
    folder, daemon = state
    daemon.answers["channels"] = UsageError("unknown command 'channels'")
    ran = dockmend("notify", "--list", "--state", folder)
    assert (ran.code, "unknown command 'channels'" in ran.err) == (2, True)


def test_samples_are_sent_by_one_daemon_only(dockmend, state, monkeypatch):  # noqa: F811
    folder, _ = state
    found = [
        PidFile(1, "1", str(folder / "dockmend.sock"), str(folder)),
        PidFile(2, "2", "/b/sock", "/b"),
    ]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    ran = dockmend("notify", "--test")
    assert (ran.code, "2 dockmends run here: say which" in ran.err) == (2, True)


def test_a_settings_file_that_is_named_is_asked_and_not_the_daemon(
    dockmend,
    state,  # noqa: F811
    config,
    receivers,
):
    folder, daemon = state
    ran = dockmend("notify", "--list", "--state", folder, "--config", config)
    assert (ran.code, daemon.calls) == (0, [])
    assert [line for line in ran.out.splitlines() if not line.startswith(" ")] == ["ops", "home"]
