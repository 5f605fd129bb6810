"""`dockmend notify`: where messages go and how it goes with them, and a sample of each kind to see
what arrives."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli.options import daemon_uid, options, settings, tell_aside
from dockmend.cli.places import found_paths
from dockmend.cli.terminal_text import emit, say, when
from dockmend.errors import JournalError, Unreachable, UsageError

if TYPE_CHECKING:
    from dockmend.control.socket_client import SocketClient
    from dockmend.settings import Paths, Settings

NONE = (
    "no channel is configured: name one under `notify` in the settings, or set DOCKMEND_NOTIFY_URL"
)
Send = Callable[[str, int, str], Awaitable[tuple[bool, tuple[str, ...]]]]
"""Hands a sample to a URL: channel, number of the URL from 0, kind. Whether it was accepted, and
what was said."""


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """Of one URL, numbered from 1. `accepted`: kinds whose sample was accepted; `refused`: the
    first that was not, after which nothing more was sent. `said`: what the library logged, each
    line once."""

    channel: str
    url: int
    service: str
    accepted: tuple[str, ...]
    refused: str | None
    said: tuple[str, ...]


@click.command()
@options("config", "state", "socket", "json")
@click.option("--list", "lists", is_flag=True, help="The channels, and how it goes with them.")
@click.option(
    "--test",
    "tests",
    is_flag=True,
    help="Send a sample of each kind; exit 1 if one was not accepted.",
)
@click.argument("channel", required=False)
def notify(lists: bool, tests: bool, channel: str | None, as_json: bool, **flags: Any) -> int:
    """Where messages go, with --list; with --test a sample of each kind is sent there.

    Without CHANNEL all of them. What is sent does not go through the outbox, says that it is a
    test, and goes to each URL whatever kinds, severity and quiet hours the channel has. URLs are
    not shown.
    """
    if lists is tests:
        raise UsageError(
            "say what is to be done: `dockmend notify --list` or `dockmend notify --test [CHANNEL]`"
        )
    where = found_paths(flags, changes=tests)
    client, rows = _of_daemon(where, flags)
    own = None if client is not None else _of_files(flags, where)
    rows = _rows(own) if own is not None else rows
    rows = _chosen(rows, channel)
    if lists:
        _tell_channels(rows, as_json)
        return 0
    if not rows:
        raise UsageError(NONE)
    outcomes = asyncio.run(_try_all(rows, client, own, as_json))
    if as_json:
        emit([asdict(each) for each in outcomes])
    return 0 if all(each.refused is None for each in outcomes) else 1


# ------------------------------------------------------------------------------------- who is asked


def _of_daemon(
    where: Paths, flags: dict[str, Any]
) -> tuple[SocketClient | None, list[dict[str, Any]]]:
    """The daemon and its channels; None if there is none, or a flag asks about other settings.
    Raises Unreachable."""
    from dockmend.control import pidfiles
    from dockmend.control.socket_client import SocketClient

    if flags.get("config") is not None:
        return None, []
    client = SocketClient(where.socket)
    try:
        return client, client.ask("channels")
    except Unreachable:
        # One that runs and cannot be asked has channels that are not known here.
        if any(Path(each.socket) == where.socket for each in pidfiles.running(os.environ)):
            raise
        return None, []


def _of_files(flags: dict[str, Any], where: Paths) -> Settings:
    own = settings({"config": flags.get("config")}, secrets=True, runs_as=daemon_uid(where.state))
    own = own.model_copy(update={"paths": where.model_copy(update={"config": own.paths.config})})
    files = (
        f"settings of {own.paths.config}"
        if own.paths.config
        else "no settings file, only the environment"
    )
    if flags.get("config") is not None:
        tell_aside(f"as the flags say: {files}; not those of a dockmend that runs")
    else:
        tell_aside(f"no dockmend answers at {where.socket}: {files}")
    return own


def _rows(own: Settings) -> list[dict[str, Any]]:
    """As the daemon would answer, as far as files can tell."""
    import msgspec

    from dockmend.notify.listing import channel_row

    due = _waiting(own.paths)
    return [
        msgspec.to_builtins(channel_row(each, due.get(each.name, []) if due is not None else None))
        for each in own.channels
    ]


def _waiting(paths: Paths) -> dict[str, list[float]] | None:
    """By channel when each message of the outbox is due; None: the journal cannot be read."""
    from dockmend.journal.sqlite import read_only

    if not paths.journal.exists():
        return {}
    found: dict[str, list[float]] = {}
    try:
        with read_only(paths.journal) as journal:
            for row in journal.outbox():
                found.setdefault(row.channel, []).append(row.due_at)
    except JournalError:
        return None
    return found


def _chosen(rows: list[dict[str, Any]], channel: str | None) -> list[dict[str, Any]]:
    if channel is None:
        return rows
    from dockmend.rules.language_error import did_you_mean

    names = [row["name"] for row in rows]
    if not names:
        raise UsageError(NONE)
    if channel not in names:
        near = did_you_mean(channel, names)
        raise UsageError(
            f"there is no channel {channel!r}{near}: the channels are {', '.join(names)}"
        )
    return [row for row in rows if row["name"] == channel]


# ------------------------------------------------------------------------------------------- --test


async def _try_all(
    rows: Sequence[dict[str, Any]], client: SocketClient | None, own: Settings | None, as_json: bool
) -> list[TestOutcome]:
    outcomes = []
    async with AsyncExitStack() as stack:
        send = _by_daemon(client) if client is not None else await _by_hand(own, stack)
        for row in rows:
            for number, url in enumerate(row["urls"]):
                outcome = await _try(send, row["name"], number, url["service"])
                outcomes.append(outcome)
                if not as_json:
                    _tell_outcome(outcome)
    return outcomes


def _by_daemon(client: SocketClient) -> Send:
    async def send(channel: str, url: int, kind: str) -> tuple[bool, tuple[str, ...]]:
        found = await asyncio.to_thread(
            client.ask, "notify_test", channel=channel, url=url, kind=kind
        )
        return bool(found["accepted"]), tuple(found["said"])

    return send


async def _by_hand(own: Settings | None, stack: AsyncExitStack) -> Send:
    from dockmend.app.host_name import host_name
    from dockmend.app.message_writer import local
    from dockmend.notify.sample_messages import sample
    from dockmend.notify.sender import Sender
    from dockmend.notify.wording import Where
    from dockmend.settings.channels import Kind

    assert own is not None
    channels, where = {each.name: each for each in own.channels}, Where(host_name(own), local)
    sender = await stack.enter_async_context(Sender(time.monotonic, os.environ))

    async def send(channel: str, url: int, kind: str) -> tuple[bool, tuple[str, ...]]:
        to = channels[channel]
        verdict = await sender.send(to.urls[url], sample(Kind(kind), time.time(), where), to.logs)
        return verdict.accepted, verdict.said

    return send


async def _try(send: Send, channel: str, url: int, service: str) -> TestOutcome:
    """One sample after the other; what does not accept one is not sent the others, which would fail
    as well."""
    from dockmend.settings.channels import LISTED

    kinds: list[str] = []
    said: dict[str, None] = {}
    for kind in LISTED:
        accepted, lines = await send(channel, url, kind.value)
        said.update(dict.fromkeys(lines))
        if not accepted:
            return TestOutcome(channel, url + 1, service, tuple(kinds), kind.value, tuple(said))
        kinds.append(kind.value)
    return TestOutcome(channel, url + 1, service, tuple(kinds), None, tuple(said))


def _tell_outcome(outcome: TestOutcome) -> None:
    who = f"{outcome.channel}, URL {outcome.url} ({outcome.service})"
    if outcome.refused is None:
        say(f"{who}: accepted: {', '.join(outcome.accepted)}")
    else:
        before = f"; accepted before: {', '.join(outcome.accepted)}" if outcome.accepted else ""
        say(f"{who}: NOT ACCEPTED: {outcome.refused}{before}; nothing more was sent there")
    for line in outcome.said:
        say(f"  {line}")


# ------------------------------------------------------------------------------------------- --list


def _tell_channels(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit(rows)
        return
    if not rows:
        say(NONE)
    for row in rows:
        say(row["name"])
        for number, url in enumerate(row["urls"], 1):
            say(f"  URL {number:<7}{url['service']} (address hidden){_how(url['lane'])}")
        digest = (
            f"{_joined(row['digest'])}, daily at {row['digest_at']}" if row["digest"] else "none"
        )
        quiet = f"{row['quiet']}, but for what is critical" if row["quiet"] else "never"
        say(f"  at once    {_joined(row['at_once'])}")
        say(f"  digest     {digest}")
        say(f"  off        {_joined(row['off'])}")
        say(f"  severity   at least {row['severity']}")
        say(f"  quiet      {quiet}")
        say(f"  log lines  {row['logs']} at most")
        say(f"  waiting    {_waits(row)}")


def _how(lane: dict[str, Any] | None) -> str:
    """How it goes with a URL, by the daemon that sends to it."""
    if lane is None:
        return ""
    at = lane["delivered_at"]
    told = (
        f": last delivered {when(at)}"
        if at is not None
        else ": nothing delivered since dockmend started"
    )
    if lane["failed_at"] is None:
        return told
    again = ", it is tried again" if lane["failing"] else ""
    return f"{told}; last error {when(lane['failed_at'])}: {lane['error']}{again}"


def _waits(row: dict[str, Any]) -> str:
    if row["waiting"] is None:
        return "unknown: the journal cannot be read"
    if not row["waiting"]:
        return "nothing"
    count = "1 message" if row["waiting"] == 1 else f"{row['waiting']} messages"
    return f"{count}, the first due {when(row['next_at'])}"


def _joined(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) or "none"
