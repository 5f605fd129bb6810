"""The frame around every command: the list of them, and how whatever goes wrong becomes a sentence
and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from dockmend import __version__
from dockmend.cli.terminal_text import clean
from dockmend.errors import DockmendError, InvalidFiles

USAGE = 2
INTERRUPTED = 130
PIPE_CLOSED = 141  # what a shell shows for a program that SIGPIPE ended

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run_command", "Watch an engine and mend what breaks: the daemon."),
    "check": ("check", "Validate rules and settings."),
    "schema": ("check", "Print the JSON Schema of rules or of the settings."),
    "rules": (
        "socket_commands",
        "The rules of the running daemon: state, last fired, breakers, errors.",
    ),
    "coverage": ("coverage", "Every container: by which rule it is covered, or why by none."),
    "graph": ("graph_command", "Which container hangs on which: text, Mermaid, DOT."),
    "explain": ("explain", "What would happen, touching nothing."),
    "record": ("record", "The engine's events, one line of JSON each."),
    "status": ("socket_commands", "How the running daemon is."),
    "incidents": (
        "incidents_command",
        "What broke and what was done; with an ID, one incident's story.",
    ),
    "pause": (
        "socket_commands",
        "Do nothing for a while: in all, by one rule, or to one container.",
    ),
    "resume": ("socket_commands", "End a pause."),
    "reset": ("socket_commands", "Close a rule's breaker for a target and forget its attempts."),
    "reload": ("socket_commands", "Read the rules again, all or nothing."),
    "trigger": ("socket_commands", "Let a rule act on an object now."),
    "notify": ("notify_command", "Where messages go; send a sample of each kind."),
    "snapshots": ("snapshots", "Snapshots of volumes: list, create, verify, diff, restore, prune."),
    "demo": ("demo", "Break a throw-away container on this host's engine and see it healed."),
    "doctor": (
        "doctor",
        "Check engine, rights, disk, clock, broker, messages, rules, labels, other healers.",
    ),
}
"""Name -> (module of dockmend.cli, one line of help): the help page is shown without importing any
of them."""

LATER = frozenset({"test", "images", "rights", "fleet", "migrate"})
"""Commands that the interface names and this version does not have."""


class CommandGroup(click.Group):
    """The group of all commands, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dockmend.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            if args[0] in LATER:
                ctx.fail(f"not yet in this version: {args[0]}")
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            ctx.fail(f"there is no command {clean(args[0])!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Watches a Docker Engine and mends what breaks: containers, networks, volumes; by rules, "
    "and with proof.",
    epilog="Exit codes: 0 done, 1 it ran and the answer is no, 2 usage or configuration, 3 nobody "
    "answers.",
)
@click.version_option(__version__, prog_name="dockmend", message="%(prog)s %(version)s")
def root() -> None:
    """Holds the commands; does nothing by itself."""


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line; returns the exit code. Whatever goes wrong, a person reads one
    sentence."""
    try:
        result = root.main(args=list(arguments), prog_name="dockmend", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - a person never sees a traceback
        return _answer(_foremost(error))
    return result if isinstance(result, int) else 0


def _foremost(error: BaseException) -> BaseException:
    """Of tasks that failed together the failure that says most: what nobody expected before what is
    said on purpose."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_foremost(each) for each in error.exceptions]
    return next((each for each in leaves if not isinstance(each, DockmendError)), leaves[0])


def _answer(error: BaseException) -> int:
    """Tells a person what went wrong; returns the exit code."""
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, DockmendError):
        return _said(error)
    if isinstance(error, BrokenPipeError):
        _no_more_output()
        return PIPE_CLOSED
    if isinstance(error, OSError):
        _tell(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    else:
        what = str(error).partition("\n")[0][:200]
        _tell(
            f"internal error: {type(error).__name__}: {what}: please report it; DOCKMEND_DEBUG=1 "
            "shows the details"
        )
    return _debug(error, 1)


def _usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    context = getattr(error, "ctx", None)
    hint = f" (`{context.command_path} --help` explains it)" if context is not None else ""
    _tell(f"{error.format_message()}{hint}")
    if context is not None:
        _tell(context.get_usage(), prefix=False)
    return USAGE


def _said(error: DockmendError) -> int:
    if isinstance(error, InvalidFiles):
        for problem in error.problems:
            _tell(str(problem), prefix=False)
    else:
        _tell(str(error))
    return _debug(error, error.exit_code)


def _debug(error: BaseException, code: int) -> int:
    if os.environ.get("DOCKMEND_DEBUG"):
        import traceback

        traceback.print_exception(error)
    return code


def _tell(text: str, prefix: bool = True) -> None:
    """One message on stderr, however hostile the text and however closed the stream."""
    try:
        lines = "\n".join(clean(line) for line in text.splitlines())
        click.echo(f"dockmend: {lines}" if prefix else lines, err=True)
    except OSError:
        pass


def _no_more_output() -> None:
    """Keeps the interpreter's last flush from complaining about the pipe that is gone."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
