"""The flags commands share, and what they lead to: settings, paths, the running daemon, an
engine."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dockmend.errors import UsageError

if TYPE_CHECKING:
    from dockmend.engine.client import DockerEngine
    from dockmend.engine.discover import EngineAddress
    from dockmend.engine.engine_api import Engine, EngineInfo
    from dockmend.mirror.identities import Identities
    from dockmend.owned import OwnedObjects
    from dockmend.ownership import Ownership
    from dockmend.settings import Paths, Settings

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "config": click.option("--config", type=_FILE, metavar="FILE",
        help="Settings [/etc/dockmend/dockmend.yaml]."),
    "rules": click.option("--rules", type=_FILE, metavar="DIR", help="Folder of rules "
    "[/etc/dockmend/rules.d]."),
    "state": click.option("--state", type=_FILE, metavar="DIR",
        help="State folder [/var/lib/dockmend]."),
    "socket": click.option("--socket", type=_FILE, metavar="PATH", help="Command socket "
    "[DIR/dockmend.sock]."),
    "engine": click.option("--engine", metavar="URL", help="The engine [as the docker command "
    "finds it]."),
    "json": click.option("--json", "as_json", is_flag=True, help="JSON instead of a table."),
}  # fmt: skip


def options(*names: str) -> Callable[[Function], Function]:
    """The named flags; a command's function gets those of settings as **flags (see `settings`)."""

    def add(function: Function) -> Function:
        for name in reversed(names):
            function = _OPTIONS[name](function)
        return function

    return add


def settings(flags: dict[str, Any], secrets: bool = False, runs_as: int | None = None) -> Settings:
    """The settings under these flags. Files of secrets are read only with `secrets`: not everyone
    may.

    `runs_as`: the uid of the daemon, whose files count beside root's; None: this process's.
    """
    from dockmend.settings import load

    _warnings_to_stderr()
    rest = dict(flags)
    return load(rest, config=rest.pop("config", None), secrets=secrets, runs_as=runs_as)


def daemon_uid(state: Path) -> int:
    """As whom dockmend runs on this host: the owner of its state folder; before there is one, who
    asks."""
    try:
        return state.stat().st_uid
    except OSError:
        return os.geteuid()


def paths(flags: dict[str, Any]) -> Paths:
    """Where things lie under these flags; the settings file, which not everyone may read, is not
    asked."""
    from dockmend.settings import find_paths

    _warnings_to_stderr()
    return find_paths(
        {
            key: value
            for key, value in flags.items()
            if key in ("state", "socket", "rules", "config")
        }
    )


def _warnings_to_stderr() -> None:
    """What a library logs while a command runs; standard output is the answer's alone. `run` sets
    up its own log."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def tell_aside(text: str) -> None:
    """A line on standard error that says what an answer is based on: standard output is the
    answer's alone."""
    from dockmend.cli.terminal_text import clean

    click.echo(clean(text), err=True)


def address_of(found: Settings) -> EngineAddress:
    """Where the daemon found the engine, else where the settings (or docker's own environment) say
    it is. Raises UsageError."""
    from dockmend.engine.discover import EngineAddress, discover

    if found.engine_found is not None:
        return EngineAddress.as_told(
            found.engine_found.model_dump(), "as the running dockmend found it"
        )
    return discover(os.environ, Path.home(), found.engine)


def engine_of(found: Settings) -> DockerEngine:
    """The engine the settings (or docker's own environment) name; nothing is connected yet."""
    from dockmend.engine.client import DockerEngine
    from dockmend.guards import trusted

    return DockerEngine.at(
        address_of(found), trusted=trusted(lambda: found.policy), root=found.engine_root
    )


def of_journal(engine: Engine, found: Paths) -> None:
    """Has the journal of these paths prove which names are dockmend's doing."""
    from dockmend.mirror.proven_names import ProvenNames

    engine.names = ProvenNames(owned_of(found), identities_of(found))


def with_engine(found: Settings, work: Callable[[Engine], Awaitable[T]]) -> T:
    """Runs `work`, which only looks, with a connected engine and gives the connection back."""
    from dockmend.engine.read_only_gate import ActingSwitch, gated

    async def run() -> T:
        engine = engine_of(found)
        of_journal(engine, found.paths)
        try:
            await engine.connect()
            return await work(gated(engine, ActingSwitch(why_not="this command only looks")))
        finally:
            await engine.close()

    return asyncio.run(run())


def owned_of(found: Paths) -> OwnedObjects:
    """What the journal of these paths proves to be dockmend's own; nothing if it cannot be read."""
    from dockmend.errors import JournalError
    from dockmend.journal.sqlite import read_only
    from dockmend.owned import OwnedObjects

    try:
        with read_only(found.journal) as journal:
            return OwnedObjects(journal.instance(), journal.owned())
    except JournalError:
        return OwnedObjects()


def identities_of(found: Paths) -> Identities:
    """What the journal of these paths tells of containers that are gone; nothing if it cannot be
    read."""
    import msgspec

    from dockmend.app.resume import IDENTITY
    from dockmend.errors import JournalError
    from dockmend.journal.sqlite import read_only
    from dockmend.mirror.identities import Identities

    identities = Identities()
    with suppress(JournalError), read_only(found.journal) as journal:
        for key in journal.known_keys(IDENTITY):
            with suppress(msgspec.MsgspecError):  # of another version
                identities.restore(key.removeprefix(IDENTITY), journal.known_value(key) or b"")
    return identities


@asynccontextmanager
async def owning(found: Settings) -> AsyncIterator[Ownership]:
    """An engine under these settings and, of their journal, what dockmend made on it: for commands
    that make helpers.

    The journal is opened when the engine is first asked for: who is refused before that makes no
    state folder.
    """
    from dockmend.journal.sqlite import SqliteJournal
    from dockmend.ownership import Ownership

    class OfJournal(Ownership):
        async def connect(self) -> EngineInfo:
            await engine.connect()  # without an engine no journal is made
            await journal.open()
            self.objects.load(await journal.instance(), await journal.owned())
            engine.names = self.objects
            return await Ownership.connect(self)

    engine = engine_of(found)
    journal = SqliteJournal(found.paths.journal, time.time, beside=True)
    try:
        yield OfJournal(engine, journal, time.time)
    finally:
        await journal.close()
        await engine.close()


def seconds(text: str | None, flag: str) -> float | None:
    """A duration flag in seconds; zero is refused, as `pause --for 0s` says nothing."""
    if text is None:
        return None
    from dockmend.rules.durations import some

    try:
        return some(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
