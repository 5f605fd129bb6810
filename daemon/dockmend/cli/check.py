"""`dockmend check` and `dockmend schema`: what is wrong with rules and settings, before they are
used."""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dockmend import file_trust
from dockmend.cli.command_context import OVERRULING, with_engine_of
from dockmend.cli.options import address_of, daemon_uid, options, paths, settings, tell_aside
from dockmend.cli.places import PATIENCE, Place, place
from dockmend.cli.terminal_text import clean, emit, say
from dockmend.control.socket_client import SocketClient
from dockmend.errors import InvalidFiles, Problem, UsageError

if TYPE_CHECKING:
    from dockmend.rules.rule import RuleSet
    from dockmend.settings import Policy, Settings


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@options("config", "rules", "state", "engine", "json")
@click.option(
    "--content-only",
    is_flag=True,
    help="Do not judge who may write the files: they will lie elsewhere.",
)
def check(files: tuple[Path, ...], as_json: bool, content_only: bool, **flags: Any) -> int:
    """Validates rule files (or folders of them) and settings files; without a PATH those of the
    dockmend that runs, or without one those that `run` would use.

    What `run` would refuse because others may write it, is an error here too. Exit code 1, and
    every error of every file as PATH:LINE:COLUMN on standard error, if something is wrong. Warnings
    are shown too, but are no reason to fail.
    """
    running = None if files else _running(flags)
    if running is not None:
        flags = {**flags, **running.flags}
    writers = None if content_only else _writers(flags)
    if files:
        configs = [path for path in files if _holds_settings(path)]
        folder: list[Path] = [path for path in files if path not in configs]
        problems, own = _settings_problems(configs, writers), None
    else:
        folder, problems, own = _of_the_run(flags, writers, running)
        problems += _state(flags, writers) if writers is not None else []
        configs = []
    found, more = _rules(folder, writers, own, running) if folder else (None, [])
    problems += more
    if running is not None and not folder:
        problems += running.told_elsewhere()
    if found is not None and own is not None:
        problems += _not_allowed(found, own.policy)
    problems = sorted(set(problems))  # a folder above both rules and settings is told of once
    errors = [problem for problem in problems if problem.level == "error"]
    if writers is not None and writers.daemon != os.geteuid():
        click.echo(
            f"judged for the user {_user(writers.daemon)}, as whom dockmend runs: {writers.why}",
            err=True,
        )
    if running is not None:
        tell_aside(running.said(bool(errors)))
    if as_json:
        emit([_row(problem) for problem in problems])
    for problem in problems if not as_json else ():
        click.echo(clean(problem), err=True)
    if errors:
        return 1
    if not as_json:
        count = len(found.rules) if found is not None else 0
        what = (
            _counted(count, "rule")
            if folder or not configs
            else _counted(len(configs), "settings file")
        )
        say(f"fine: {what}" + (f", with {_counted(len(problems), 'warning')}" if problems else ""))
    return 0


@dataclass(frozen=True, slots=True)
class _Running:
    """The dockmend that runs: `flags` lead to its folders and its settings file, `told` is its
    answer to `in_force`, `problems` are those of its last load of the rules, `rejected` why its
    rules are not those of the folder."""

    place: Place
    flags: dict[str, Any]
    told: Mapping[str, Any]
    problems: tuple[str, ...]
    rejected: str | None

    @property
    def channels(self) -> frozenset[str] | None:
        """Names of its channels; None: a daemon of another version does not tell."""
        return frozenset(self.told["channels"]) if "channels" in self.told else None

    def said(self, wrong: bool) -> str:
        """What is looked at, and what the daemon goes by. `wrong`: errors are found now."""
        whose = self.place.whose.strip(" ()") or "of the dockmend that runs"
        files = f"rules of {self.told['rules']}, settings {self.told['config'] or 'by default'}"
        if self.rejected is None:
            return f"{files}: {whose}"
        more = "" if wrong else "; they can be read now: `dockmend reload` puts them in force"
        return f"{files}: {whose}, which rejected these rules: {self.rejected}{more}"

    def told_elsewhere(self) -> list[Problem]:
        """What the daemon says of a folder that cannot be seen from here, as that of a container.
        Nothing where it has no files either."""
        folder = str(self.told["rules"])
        found = [
            Problem.of_file(folder, each, "warning" if ": warning: " in each else "error")
            for each in self.problems
        ]
        if self.told["texts"] and not found:
            text = "is not to be seen from here; the dockmend that runs found nothing wrong in it"
            found.append(Problem.of_file(folder, text, "warning"))
        return found


def _running(flags: dict[str, Any]) -> _Running | None:
    """The dockmend that runs, if its files are asked about: flags may name others."""
    if any(flags.get(key) is not None for key in OVERRULING):
        return None
    at = place(flags)
    told = at.asked()
    if told is None:
        return None
    client = SocketClient(at.paths.socket, PATIENCE)
    problems, degraded = client.ask("rules")["problems"], client.ask("status")["degraded"]
    config = Path(told["config"]) if told["config"] else None
    # that of a container is elsewhere
    here = config if config is not None and os.access(config, os.R_OK) else None
    known = {"rules": Path(told["rules"]), "state": at.paths.state, "config": here}
    return _Running(at, known, told, tuple(problems), degraded.get("rules"))


@dataclass(frozen=True, slots=True)
class _Writers:
    """Whose files `run` would read: `daemon` is its uid, known by `why`; `rules` owns the rule
    files."""

    daemon: int
    why: str
    rules: str = "root"


def _writers(flags: dict[str, Any]) -> _Writers:
    state = paths(flags).state
    try:
        owner = settings(flags, secrets=False, runs_as=daemon_uid(state)).policy.rules_owner
    except UsageError:
        owner = "root"  # what is wrong with the settings is told with the rest
    return _Writers(daemon_uid(state), f"the owner of {state}", owner)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _of_the_run(
    flags: dict[str, Any], writers: _Writers | None, running: _Running | None
) -> tuple[list[Path], list[Problem], Settings | None]:
    """What `run` would read: the rules' folder, what is wrong with the settings, and the settings
    if nothing is."""
    from dockmend.rules.rule_files import without_folder

    try:
        found = settings(
            flags, secrets=True, runs_as=writers.daemon if writers is not None else None
        )
    except InvalidFiles as error:
        rules = paths(flags).rules
        return ([rules] if rules.exists() else []), list(error.problems), None
    if running is not None and flags.get("engine") is None:
        found, _ = with_engine_of(found, running.place, running.told)
    warnings = [
        Problem.of_file(str(found.paths.config or "settings"), each, "warning")
        for each in found.warnings
    ]
    if (warned := address_of(found).warning) is not None:
        warnings.append(Problem.of_file(str(found.paths.config or "settings"), warned, "warning"))
    folder = found.paths.rules
    if not folder.exists() and not (running is not None and running.told_elsewhere()):
        if flags.get("rules") is not None and running is None:
            raise UsageError(f"there is no folder or file {folder}")
        warnings.append(Problem.of_file(str(folder), without_folder(found.heal), "warning"))
    return ([folder] if folder.exists() else []), warnings, found


def _state(flags: dict[str, Any], writers: _Writers) -> list[Problem]:
    """Why `run` would not use the state folder."""
    from dockmend import folders
    from dockmend.app.lock import unusable

    state = paths(flags).state
    try:
        folders.require_fit(state, runs_as=writers.daemon)
    except file_trust.Untrusted as error:
        return [Problem.of_file(str(state), f"the state folder {unusable(error)}")]
    except OSError as error:
        return [Problem.of_file(str(state), f"the state folder cannot be used: {error.strerror}")]
    return []


def _settings_problems(files: list[Path], writers: _Writers | None) -> list[Problem]:
    from dockmend.settings import check_file

    owners = file_trust.trusted_uids(runs_as=writers.daemon) if writers is not None else None
    return [problem for path in files for problem in check_file(path, owners)]


def _rules(
    files: list[Path],
    writers: _Writers | None,
    own: Settings | None,
    running: _Running | None = None,
) -> tuple[RuleSet | None, list[Problem]]:
    """`own`: the settings that the rules are read with; None: not known, so that any channel may be
    named. `running`: who knows its channels and its host's name itself."""
    from dockmend.app.host_name import host_name
    from dockmend.rules.loader import load_rules

    owner, runs_as = (writers.rules, writers.daemon) if writers is not None else (None, None)
    try:
        channels: Collection[str] | None = own.notify if own is not None else None
        host = host_name(own) if own is not None else os.uname().nodename
        if running is not None:
            channels, host = running.channels, running.told.get("host") or host
        found = load_rules(files, host=host, owner=owner, runs_as=runs_as, channels=channels)
    except InvalidFiles as error:
        return None, list(error.problems)
    return found, list(found.warnings)


def _not_allowed(found: RuleSet, policy: Policy) -> list[Problem]:
    """Warnings for steps that the settings' policy will refuse."""
    return [
        Problem(
            rule.path,
            rule.line,
            1,
            f"the settings' policy does not allow {step.action}",
            rule.name,
            "warning",
        )
        for rule in found.rules
        for step in (*rule.then, *rule.finally_, *rule.escalate)
        if not policy.allows(step.action)
    ]


def _holds_settings(path: Path) -> bool:
    """A settings file by its name, or by keys that only settings have."""
    from dockmend.rules import located_yaml
    from dockmend.settings.sections import FileSettings

    if path.name in ("dockmend.yaml", "dockmend.yml"):
        return True
    try:
        with path.open("rb") as file:
            data = located_yaml.decode(str(path), file.read(located_yaml.MAX_BYTES + 1)).data
    except OSError:
        return False
    return (
        isinstance(data, dict)
        and "rules" not in data
        and not data.keys().isdisjoint(FileSettings.model_fields)
    )


def _row(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path, "line": problem.line or None, "column": problem.column or None,
        "level": problem.level, "rule": problem.rule, "message": problem.message,
    }  # fmt: skip


@click.command()
@click.argument("what", type=click.Choice(["rules", "config"]), default="rules")
@options("state")
def schema(what: str, **_: Any) -> int:
    """Prints the JSON Schema of rule files (rules, the default) or of the settings file (config),
    for editors."""
    if what == "rules":
        from dockmend.rules.rule_schema import json_schema

        emit(json_schema())
    else:
        from dockmend.settings import schema as settings_schema

        emit(settings_schema())
    return 0
