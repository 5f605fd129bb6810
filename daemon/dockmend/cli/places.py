"""Where a command works: which state folder, which daemon and which engine. Every command goes by
this one answer, so that two of them never speak about different places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockmend.cli.options import paths, tell_aside
from dockmend.errors import DockmendError, UsageError

if TYPE_CHECKING:
    from dockmend.control.pidfiles import PidFile
    from dockmend.control.socket_client import SocketClient
    from dockmend.settings import EngineFound, Paths

PATIENCE = 10.0
"""Seconds for which the daemon is waited for: a command works without it."""


@dataclass(frozen=True, slots=True)
class Place:
    """`paths`: those of the daemon; without one, those of flags and variables. `daemon`: its pid
    file, if it has one. `told`: its answer to `in_force`, if it had to be asked for the folder.
    `named`: a flag or a variable says it.
    """

    paths: Paths
    daemon: PidFile | None = None
    told: Mapping[str, Any] | None = None
    named: bool = False

    def asked(self) -> Mapping[str, Any] | None:
        """What the daemon uses: rules, settings, engine. None: nobody answers."""
        if self.told is not None:
            return self.told
        return _asked(self.paths.socket)

    @property
    def whose(self) -> str:
        """Of whom the state folder is, in brackets after its name; "" if nothing but flags and
        variables tells."""
        if self.daemon is not None:
            return f" (of the dockmend that runs, process {self.daemon.pid})"
        return " (of the dockmend that runs)" if self.told is not None else ""


def place(flags: Mapping[str, Any], *, changes: bool = False) -> Place:
    """`changes`: the command changes something. With several daemons UsageError then, which names
    them."""
    from dockmend.control import pidfiles

    where = paths(dict(flags))
    by_state, by_socket = _named(flags, "state"), _named(flags, "socket")
    daemons = pidfiles.running(os.environ)
    if by_state or by_socket:
        daemons = [each for each in daemons if not by_state or _same(each.state, where.state)]
        daemons = [each for each in daemons if not by_socket or _same(each.socket, where.socket)]
        found = daemons[0] if len(daemons) == 1 else None
    else:
        found = _chosen(daemons, where, changes)
    if found is not None:
        known = {"state": where.state if by_state else Path(found.state)}
        known["socket"] = where.socket if by_socket else Path(found.socket)
        return Place(where.model_copy(update=known), found, named=by_state)
    # it answers, and no pid file says where its folder is
    told = _asked(where.socket) if not by_state else None
    if told is not None:
        where = where.model_copy(update={"state": Path(told["state"])})
    return Place(where, None, told, by_state)


def _chosen(daemons: list[PidFile], where: Paths, changes: bool) -> PidFile | None:
    if not daemons:
        return None
    chosen = next((each for each in daemons if _same(each.socket, where.socket)), daemons[0])
    if len(daemons) > 1 and changes:
        names = " or ".join(f"--state {each.state}" for each in daemons)
        raise UsageError(f"{len(daemons)} dockmends run here: say which with {names}")
    if len(daemons) > 1:
        others = ", ".join(f"--state {each.state}" for each in daemons if each is not chosen)
        tell_aside(
            f"{len(daemons)} dockmends run here; this is the one in {chosen.state}; for another: "
            f"{others}"
        )
    return chosen


def _asked(socket: Path) -> Mapping[str, Any] | None:
    from dockmend.control.socket_client import SocketClient

    try:
        told: Mapping[str, Any] = SocketClient(socket, PATIENCE).ask("in_force")
    except DockmendError:
        return None
    return told


def _named(flags: Mapping[str, Any], key: str) -> bool:
    """Whether a flag or an environment variable gives this setting."""
    return flags.get(key) is not None or bool(os.environ.get(f"DOCKMEND_{key.upper()}"))


def _same(one: str, other: Path) -> bool:
    if Path(one) == other.absolute():
        return True
    with suppress(OSError):
        return Path(one).samefile(other)
    return False


def found_paths(flags: Mapping[str, Any], *, changes: bool = False) -> Paths:
    """As `place`, for commands that only need to know where things lie."""
    return place(flags, changes=changes).paths


def client(flags: Mapping[str, Any], *, changes: bool = False) -> SocketClient:
    """The running daemon's socket, found without flags if one daemon runs on this host. `changes`:
    see `place`."""
    from dockmend.control.socket_client import SocketClient

    return SocketClient(found_paths(flags, changes=changes).socket)


def engine_told(found: Mapping[str, Any] | None) -> EngineFound | None:
    """The engine as a daemon or its pid file tells it; None: of another version, which does not
    tell."""
    from pydantic import ValidationError

    from dockmend.settings import EngineFound

    with suppress(ValidationError):
        return EngineFound.model_validate(found)
    return None
