"""What commands speak about: the rules, settings and places of the running daemon, or, without one, those of the files.

A command that read the files while a daemon runs on others would tell of rules that nobody goes by.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockmend.app.host_name import host_name
from dockmend.cli.options import daemon_uid, found_paths, named, settings, tell_aside
from dockmend.own_container import own_containers

if TYPE_CHECKING:
    from dockmend.model import Container
    from dockmend.rules.rule import RuleSet
    from dockmend.settings import Settings

PATIENCE = 10.0
"""Seconds for which the daemon is waited for: a command works without it."""
OVERRULING = ("rules", "config")
"""Flags by which a person asks about other rules or settings than the daemon's."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """`texts`: the rule files as the daemon loaded them, by path; None: no daemon was asked, the files are read.

    `healers`: other healers the daemon knows of; `observes`: it acts on nothing as its rules are wrong; `said`: what
    the answer is based on, for a person. `channels`: names of those for messages; None: a daemon of another version
    does not tell. `own`: ids of the container that dockmend runs in, if any.
    """

    settings: Settings
    said: str
    texts: dict[str, bytes] | None = None
    healers: tuple[str, ...] = ()
    observes: bool = False
    channels: frozenset[str] | None = None
    own: frozenset[str] = frozenset()

    @property
    def host(self) -> str:
        """What rules call the host: the daemon's word, or what it would be."""
        return host_name(self.settings)

    def ruleset(self, containers: Iterable[Container] = ()) -> RuleSet:
        """The rules, the built-in one too. Raises InvalidFiles. `containers`: those of the host, without a daemon."""
        from dockmend.rules.healer_images import foreign_healers
        from dockmend.rules.label_rules import with_label_rules
        from dockmend.rules.loader import load_rules, load_texts

        host, heal = self.host, self.settings.heal
        if self.texts is not None:
            read = load_texts(self.texts, host=host)
            return with_label_rules(read, heal, self.healers, acts=not self.observes)
        folder = self.settings.paths.rules
        owner, runs_as = self.settings.policy.rules_owner, daemon_uid(self.settings.paths.state)
        read = load_rules(
            [folder] if folder.exists() else [], host=host, owner=owner, runs_as=runs_as,
            channels=self.settings.notify,
        )  # fmt: skip
        return with_label_rules(read, heal, foreign_healers(containers))


def in_force(flags: dict[str, Any], *, quiet: bool = False) -> CommandContext:
    """Asks the daemon; if none answers, or flags name other rules, says on standard error what is used instead.

    `quiet`: the command says it itself. Raises InvalidFiles and UsageError for settings that are wrong.
    """
    found = _of_daemon(flags)
    if found is None:
        own = settings(flags)
        found = CommandContext(own, _of_files(flags, own), channels=frozenset(own.notify), own=own_containers())
    if found.texts is None and not quiet:
        tell_aside(found.said)
    return found


def _of_daemon(flags: dict[str, Any]) -> CommandContext | None:
    """None if nobody answers, or a flag asks about other rules or settings."""
    from dockmend.control.socket_client import SocketClient
    from dockmend.errors import DockmendError
    from dockmend.settings import Policy

    if any(flags.get(key) is not None for key in OVERRULING):
        return None
    where = found_paths(flags)
    try:
        told = SocketClient(where.socket, PATIENCE).ask("in_force")
    except DockmendError:
        return None
    rest = {key: value for key, value in flags.items() if key not in ("state", "socket")}
    paths = where.model_copy(
        update={
            "config": Path(told["config"]) if told["config"] else None, "rules": Path(told["rules"]),
            "state": Path(told["state"]),
        }
    )  # fmt: skip
    own = settings(rest).model_copy(
        update={
            "paths": paths, "heal": told["heal"], "policy": Policy.model_validate(told["policy"]),
            "engine": flags.get("engine") or told["engine"], "dry_run": told["dry_run"], "host": told.get("host"),
        }
    )  # fmt: skip
    rate = (int(told["rate"][0]), float(told["rate"][1])) if told["rate"] else None
    own = own.model_copy(update={"limits": own.limits.model_copy(update={"rate": rate})})
    if "reserve" in told:
        own = own.model_copy(update={"snapshots": own.snapshots.model_copy(update={"reserve": told["reserve"]})})
    texts = {path: text.encode("utf-8", "surrogateescape") for path, text in told["texts"].items()}
    channels = frozenset(told["channels"]) if "channels" in told else None
    said, healers = f"the running dockmend, {told['rules']}", tuple(told["healers"])
    itself = frozenset(told["own"]) if "own" in told else own_containers()  # one of another version does not tell
    return CommandContext(own, said, texts, healers, bool(told["observes"]), channels, itself)


def _of_files(flags: dict[str, Any], own: Settings) -> str:
    files = (
        f"rules of {own.paths.rules}, {f'settings of {own.paths.config}' if own.paths.config else 'no settings file'}"
    )
    if any(flags.get(key) is not None for key in OVERRULING):
        return f"as the flags say: {files}; not those of a dockmend that runs"
    return f"no dockmend answers at {found_paths(flags).socket}: {files}"


def state_folder(flags: dict[str, Any]) -> Path:
    """The daemon's state folder, for commands that need no more; the settings file, which not everyone may read, is
    not asked. Without a daemon, the folder that is used is said aside.

    Raises UsageError if there is none: "no snapshots" would be taken for a fact.
    """
    from dockmend.control import pidfiles

    where = found_paths(flags)
    if not pidfiles.running(os.environ) and not named(flags, "state", "socket"):
        tell_aside(f"no dockmend runs here: state folder {where.state}")
    return existing(where.state)


def existing(folder: Path) -> Path:
    """A state folder. Raises UsageError if there is none."""
    from dockmend.control.socket_client import NAME_IT
    from dockmend.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"there is no state folder {folder}: if dockmend runs with another one, {NAME_IT}")
    return folder
