"""What this host is called: in MQTT topics, in rules (`host`, `{host}`), in messages.

A name that a person chose wins: the setting `host`, else the system's name. In a container the
system's name is the container's short id, unless somebody chose one (`hostname:`). That tells
nobody which host it is, and the next container has another one: there it is the name that the
engine has for its host (`docker info`).

It is found once, as dockmend starts, so that no topic changes while it runs. What the engine said
is kept in the state folder: after a reboot dockmend is started before its engine answers.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dockmend import folders
from dockmend.errors import EngineError
from dockmend.own_container import in_container
from dockmend.settings.sections import HOST_NAME

if TYPE_CHECKING:
    from dockmend.engine.engine_api import Engine
    from dockmend.settings import Settings

KEPT = "host"
"""The file of the state folder that holds what the engine said last."""
PATIENCE = 5.0
"""Seconds for which the engine is asked, where nothing is known yet: the daemon does not begin
before."""
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


def host_name(settings: Settings) -> str:
    """The name as it is known without asking the engine."""
    if settings.host is not None:
        return settings.host
    system = os.uname().nodename
    return (kept(settings.paths.state) if is_of_a_container(system) else None) or system


async def found(settings: Settings, engine: Engine) -> str:
    """The same; the engine is asked if nobody chose a name and none is kept."""
    name = host_name(settings)
    if not is_of_a_container(name):
        return name
    try:
        async with asyncio.timeout(PATIENCE):
            said = (await engine.connect()).name
    except (EngineError, TimeoutError):
        return name
    keep(settings.paths.state, said)
    return said if _is_fit(said) else name


def is_of_a_container(name: str) -> bool:
    """Whether it is but the id of the container that dockmend runs in."""
    return bool(_SHORT_ID.fullmatch(name)) and in_container()


def keep(state: Path, said: str) -> None:
    """For the next start. Nothing that the engine says goes into a topic or a command unless it is
    a host's name."""
    if is_of_a_container(os.uname().nodename) and _is_fit(said) and said != kept(state):
        with suppress(OSError):  # then the engine is asked again
            folders.replace(state / KEPT, f"{said}\n".encode(), 0o600)


def kept(state: Path) -> str | None:
    """What the engine said last; None if nothing is kept, or it cannot be read."""
    try:
        file = os.open(state / KEPT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as open_file:
            text = open_file.read(1024).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _is_fit(text) else None


def _is_fit(name: str) -> bool:
    return re.fullmatch(HOST_NAME, name) is not None
