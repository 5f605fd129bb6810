"""What `dockmend doctor` says of messages and the heartbeat: nothing is sent, and no URL is
shown."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockmend.cli.doctor_checks import DoctorFinding
from dockmend.cli.terminal_text import when
from dockmend.errors import DockmendError

if TYPE_CHECKING:
    from dockmend.settings import Settings
    from dockmend.settings.channels import Channel

PART = "notify"
ELSEWHERE = "its URLs are not known here: a systemd credential, or a variable of the daemon's"


async def channels(whole: Settings, socket: Path | None) -> list[DoctorFinding]:
    """`whole`: the settings with the secrets that can be read here; `socket`: of the daemon, if one
    answers."""
    of_daemon = await asyncio.to_thread(_of_daemon, socket) if socket is not None else None
    found = await _looked_at(whole.channels) if any(each.urls for each in whole.channels) else []
    found += [_without_url(each.name, of_daemon) for each in whole.channels if not each.urls]
    known = {each.name for each in whole.channels}
    found += [_by_variable(row) for row in of_daemon or () if row["name"] not in known]
    found += [each for row in of_daemon or () for each in _failing(row)]
    if whole.heartbeat_url is not None:
        found.append(DoctorFinding("ok", "heartbeat", "its URL can be read"))
    return found


def _of_daemon(socket: Path) -> list[dict[str, Any]] | None:
    """Its channels; None: it is of another version, or does not answer, which another part of the
    answer tells."""
    from dockmend.control.socket_client import SocketClient

    try:
        rows: list[dict[str, Any]] = SocketClient(socket, 10).ask("channels")
    except DockmendError:
        return None
    return rows


async def _looked_at(known: Iterable[Channel]) -> list[DoctorFinding]:
    """Whether apprise can be loaded and understands each URL."""
    from dockmend.notify.sender import Sender
    from dockmend.settings.url_schemes import service_of

    found = []
    async with Sender(time.monotonic, os.environ) as sender:
        for channel in known:
            wrong = []
            for number, url in enumerate(channel.urls, 1):
                verdict = await sender.look(url)
                if not verdict.accepted:
                    where = f"channel {channel.name}, URL {number} ({service_of(url.reveal())})"
                    why = "; ".join(verdict.said) or "it is not understood"
                    wrong.append(
                        DoctorFinding("problem", PART, f"{where}: {why}", _todo(why, url.source))
                    )
            found += wrong
            if channel.urls and not wrong:
                services = ", ".join(service_of(url.reveal()) for url in channel.urls)
                found.append(
                    DoctorFinding(
                        "ok",
                        PART,
                        f"channel {channel.name}: apprise understands its URLs ({services})",
                    )
                )
    return found


def _todo(why: str, file: Path | None) -> str:
    if why.startswith(("no answer within", "the process for messages did not start within")):
        return "nothing was sent: this host is too busy now; ask again, or `dockmend notify --test`"
    if "cannot be loaded" in why or "process" in why:
        return "install dockmend anew, with what it needs: docs/install.md"
    return (
        f"write it as apprise has it, in {file or 'the variable DOCKMEND_NOTIFY_URL'}: "
        "docs/notifications.md"
    )


def _without_url(name: str, of_daemon: list[dict[str, Any]] | None) -> DoctorFinding:
    if any(row["name"] == name for row in of_daemon or ()):
        return DoctorFinding("ok", PART, f"channel {name}: {ELSEWHERE}")
    todo = (
        "if it has none: name a file with `url_file`; if it has, `dockmend notify --test "
        f"{name}` tries it"
    )
    return DoctorFinding("note", PART, f"channel {name}: {ELSEWHERE}", todo)


def _by_variable(row: dict[str, Any]) -> DoctorFinding:
    return DoctorFinding("ok", PART, f"channel {row['name']}: of the daemon's own environment")


def _failing(row: dict[str, Any]) -> list[DoctorFinding]:
    """Which URLs did not accept the last message that the daemon sent there."""
    todo = f"`dockmend notify --test {row['name']}` tries it; the message is tried again for a day"
    return [
        DoctorFinding(
            "problem", PART,
            f"channel {row['name']}, URL {number} ({url['service']}): the last message was not "
            f"accepted, at {when(url['lane']['failed_at'])}: {url['lane']['error']}",
            todo,
        )
        for number, url in enumerate(row["urls"], 1) if url["lane"] is not None
        and url["lane"]["failing"]
    ]  # fmt: skip
