"""`dockmend check` and `dockmend schema`: what is wrong with rules and settings, before they are used."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli.options import options, settings
from dockmend.cli.text import clean, emit, say
from dockmend.errors import InvalidFiles, Problem, UsageError

if TYPE_CHECKING:
    from dockmend.rules.model import RuleSet
    from dockmend.settings import Policy


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@options("config", "rules", "state", "engine", "json")
def check(files: tuple[Path, ...], as_json: bool, **flags: Any) -> int:
    """Validates rule files (or folders of them) and settings files; without a PATH those that `run` would use.

    Exit code 1, and every error of every file as PATH:LINE:COLUMN on standard error, where something is wrong.
    Warnings are shown too, but are no reason to fail.
    """
    if files:
        configs = [path for path in files if _holds_settings(path)]
        folder: list[Path] = [path for path in files if path not in configs]
        problems, policy = _settings_problems(configs), None
        owner = None
    else:
        folder, problems, policy, owner = _of_the_run(flags)
        configs = []
    found, more = _rules(folder, owner) if folder else (None, [])
    problems += more
    if found is not None and policy is not None:
        problems += _not_allowed(found, policy)
    errors = [problem for problem in problems if problem.level == "error"]
    if as_json:
        emit([_row(problem) for problem in sorted(problems)])
    for problem in sorted(problems) if not as_json else ():
        click.echo(clean(problem), err=True)
    if errors:
        return 1
    if not as_json:
        count = len(found.rules) if found is not None else 0
        what = _counted(count, "rule") if folder or not configs else _counted(len(configs), "settings file")
        say(f"fine: {what}" + (f", with {_counted(len(problems), 'warning')}" if problems else ""))
    return 0


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _of_the_run(flags: dict[str, Any]) -> tuple[list[Path], list[Problem], Policy | None, str | None]:
    """What `run` would read: the rules' folder, what is wrong with the settings, their policy, the rules' owner."""
    from dockmend.settings import find_paths

    try:
        found = settings(flags, secrets=True)
    except InvalidFiles as error:
        paths = find_paths({key: value for key, value in flags.items() if key in ("rules", "state")})
        return ([paths.rules] if paths.rules.exists() else []), list(error.problems), None, None
    warnings = [Problem(str(found.paths.config or "settings"), 1, 1, each, level="warning") for each in found.warnings]
    folder = found.paths.rules
    if not folder.exists():
        if flags.get("rules") is not None:
            raise UsageError(f"there is no folder or file {folder}")
        warnings.append(
            Problem(str(folder), 1, 1, "does not exist: only the built-in rule is in force", level="warning")
        )
    return ([folder] if folder.exists() else []), warnings, found.policy, found.policy.rules_owner


def _settings_problems(files: list[Path]) -> list[Problem]:
    from dockmend.settings import check_file

    return [problem for path in files for problem in check_file(path)]


def _rules(files: list[Path], owner: str | None) -> tuple[RuleSet | None, list[Problem]]:
    from dockmend.rules.loader import load_rules

    try:
        found = load_rules(files, host=socket.gethostname(), owner=owner)
    except InvalidFiles as error:
        return None, list(error.problems)
    return found, list(found.warnings)


def _not_allowed(found: RuleSet, policy: Policy) -> list[Problem]:
    """Warnings for steps that the settings' policy will refuse."""
    return [
        Problem(rule.path, rule.line, 1, f"the settings' policy does not allow {step.action}", rule.name, "warning")
        for rule in found.rules
        for step in (*rule.then, *rule.finally_, *rule.escalate)
        if not policy.allows(step.action)
    ]


def _holds_settings(path: Path) -> bool:
    """A settings file by its name, or by keys that only settings have."""
    from dockmend.rules import positions
    from dockmend.settings.model import FileSettings

    if path.name in ("dockmend.yaml", "dockmend.yml"):
        return True
    try:
        with path.open("rb") as file:
            data = positions.decode(str(path), file.read(positions.MAX_BYTES + 1)).data
    except OSError:
        return False
    return isinstance(data, dict) and "rules" not in data and not data.keys().isdisjoint(FileSettings.model_fields)


def _row(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path, "line": problem.line, "column": problem.column, "level": problem.level,
        "rule": problem.rule, "message": problem.message,
    }  # fmt: skip


@click.command()
@click.argument("what", type=click.Choice(["rules", "config"]), default="rules")
@options("state")
def schema(what: str, **_: Any) -> int:
    """Prints the JSON Schema of rule files (rules, the default) or of the settings file (config), for editors."""
    if what == "rules":
        from dockmend.rules.schema import json_schema

        emit(json_schema())
    else:
        from dockmend.settings import schema as settings_schema

        emit(settings_schema())
    return 0
