"""What commands speak about: the rules, settings and places of the running daemon, or, without one,
those of the files.

A command that read the files while a daemon runs on others would tell of rules that nobody goes by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dockmend.app.host_name import host_name
from dockmend.cli.options import address_of, daemon_uid, settings, tell_aside
from dockmend.cli.places import Place, engine_told, place
from dockmend.errors import UsageError
from dockmend.own_container import own_containers

if TYPE_CHECKING:
    from dockmend.model import Container
    from dockmend.rules.rule import RuleSet
    from dockmend.settings import Settings

OVERRULING = ("rules", "config")
"""Flags by which a person asks about other rules or settings than the daemon's."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """`texts`: the rule files as the daemon loaded them, by path; None: no daemon was asked, the
    files are read.

    `healers`: other healers the daemon knows of; `observes`: it acts on nothing as its rules are
    wrong; `said`: what the answer is based on, for a person. `channels`: names of those for
    messages; None: a daemon of another version does not tell. `own`: ids of the container that
    dockmend runs in, if any.
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
        """The rules, the built-in one too. Raises InvalidFiles. `containers`: those of the host,
        without a daemon."""
        from dockmend.rules.healer_images import foreign_healers
        from dockmend.rules.label_rules import with_label_rules
        from dockmend.rules.loader import load_rules, load_texts

        host, heal = self.host, self.settings.heal
        if self.texts is not None:
            read = load_texts(self.texts, host=host)
            return self._as_run(with_label_rules(read, heal, self.healers, acts=not self.observes))
        folder = self.settings.paths.rules
        owner, runs_as = self.settings.policy.rules_owner, daemon_uid(self.settings.paths.state)
        read = load_rules(
            [folder] if folder.exists() else [], host=host, owner=owner, runs_as=runs_as,
            channels=self.settings.notify,
        )  # fmt: skip
        return self._as_run(with_label_rules(read, heal, foreign_healers(containers)))

    def _as_run(self, rules: RuleSet) -> RuleSet:
        """The settings' `dry_run` holds for each rule, as if it said so itself."""
        if not self.settings.dry_run:
            return rules
        return replace(rules, rules=tuple(replace(each, dry_run=True) for each in rules.rules))


def in_force(
    flags: dict[str, Any], *, quiet: bool = False, changes: bool = False
) -> CommandContext:
    """Asks the daemon; if none answers, or flags name other rules, says on standard error what is
    used instead.

    State folder and engine stay those of the daemon that runs, also if it does not answer. `quiet`:
    the command says it itself. `changes`: see `place`. Raises InvalidFiles and UsageError for
    settings that are wrong.
    """
    at = place(flags, changes=changes)
    overruled = any(flags.get(key) is not None for key in OVERRULING)
    # then nothing more is to be asked
    known = overruled and at.daemon is not None and at.daemon.engine
    told = at.told if known else at.asked()
    found = (
        _of_daemon(flags, at, told)
        if told is not None and not overruled
        else _of_files(flags, at, told)
    )
    if found.texts is None and not quiet:
        tell_aside(found.said)
    return found


def _of_daemon(flags: dict[str, Any], at: Place, told: Mapping[str, Any]) -> CommandContext:
    from dockmend.settings import Policy

    paths = at.paths.model_copy(
        update={
            "config": Path(told["config"]) if told["config"] else None,
            "rules": Path(told["rules"]),
        }
    )
    own = settings({key: value for key, value in flags.items() if key not in ("state", "socket")})
    own = own.model_copy(
        update={
            "paths": paths, "heal": told["heal"], "policy": Policy.model_validate(told["policy"]),
            "dry_run": told["dry_run"], "host": told.get("host"),
        }
    )  # fmt: skip
    rate = (int(told["rate"][0]), float(told["rate"][1])) if told["rate"] else None
    own = own.model_copy(update={"limits": own.limits.model_copy(update={"rate": rate})})
    if "reserve" in told:  # one of another version does not tell
        own = own.model_copy(
            update={"snapshots": own.snapshots.model_copy(update={"reserve": told["reserve"]})}
        )
    if flags.get("engine") is None:
        own, by_daemon = with_engine_of(own, at, told)
        if not by_daemon:
            tell_aside(
                "the running dockmend does not say which engine it uses; asked is "
                f"{_engine_text(own)}"
            )
    texts = {path: text.encode("utf-8", "surrogateescape") for path, text in told["texts"].items()}
    channels = frozenset(told["channels"]) if "channels" in told else None
    said, healers = f"the running dockmend, {told['rules']}", tuple(told["healers"])
    # one of another version does not tell
    itself = frozenset(told["own"]) if "own" in told else own_containers()
    return CommandContext(own, said, texts, healers, bool(told["observes"]), channels, itself)


def _of_files(flags: dict[str, Any], at: Place, told: Mapping[str, Any] | None) -> CommandContext:
    own = settings({key: value for key, value in flags.items() if key not in ("state", "socket")})
    own = own.model_copy(update={"paths": at.paths.model_copy(update={
        "config": own.paths.config, "rules": own.paths.rules})})  # fmt: skip
    if flags.get("engine") is not None or (
        flags.get("config") is not None and own.engine is not None
    ):
        by_daemon = False
    else:
        own, by_daemon = with_engine_of(own, at, told)
    said = _said(flags, own, at) + (", as the dockmend that runs" if by_daemon else "")
    return CommandContext(own, said, channels=frozenset(own.notify), own=own_containers())


def with_engine_of(
    own: Settings, at: Place, told: Mapping[str, Any] | None
) -> tuple[Settings, bool]:
    """The settings with the engine of the daemon, and whether it is known."""
    used = engine_told(told.get("engine_found")) if told is not None else None
    if used is None and at.daemon is not None:
        used = engine_told(at.daemon.engine)
    if used is not None:
        own = own.model_copy(update={"engine_found": used, "engine": used.url})
    elif told is not None and told["engine"]:
        own = own.model_copy(update={"engine": told["engine"]})
    else:
        return own, False
    if told is not None and told.get("engine_root") is not None:
        own = own.model_copy(update={"engine_root": Path(told["engine_root"])})
    return own, True


def _said(flags: dict[str, Any], own: Settings, at: Place) -> str:
    files = (
        f"rules of {own.paths.rules}, "
        f"{f'settings of {own.paths.config}' if own.paths.config else 'no settings file'}"
    )
    where = f"state folder {own.paths.state}{at.whose}, engine {_engine_text(own)}"
    if any(flags.get(key) is not None for key in OVERRULING):
        return f"as the flags say: {files}; not those of a dockmend that runs; {where}"
    return f"no dockmend answers at {at.paths.socket}: {files}; {where}"


def _engine_text(own: Settings) -> str:
    try:
        return address_of(own).url
    except UsageError as error:
        return f"none ({error})"  # who asks the engine is told so, too


def state_folder(flags: dict[str, Any], *, changes: bool = False) -> Path:
    """The state folder, as `in_force` finds it, for commands that need no more; the settings file,
    which not everyone may read, is not asked. Without a daemon, the folder that is used is said
    aside. `changes`: see `place`.

    Raises UsageError if there is none: "no snapshots" would be taken for a fact.
    """
    at = place(flags, changes=changes)
    if at.daemon is None and at.told is None and not at.named:
        tell_aside(f"no dockmend runs here: state folder {at.paths.state}")
    return existing(at.paths.state)


def existing(folder: Path) -> Path:
    """A state folder. Raises UsageError if there is none."""
    from dockmend.control.socket_client import NAME_IT

    if not folder.is_dir():
        raise UsageError(
            f"there is no state folder {folder}: if dockmend runs with another one, {NAME_IT}"
        )
    return folder
