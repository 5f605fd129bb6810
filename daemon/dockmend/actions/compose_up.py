"""compose_up: `compose up` of the target's project, run as a program, where its files are there and
to be trusted.

Which files those are, labels say, and a label is a stranger's text: one that a container has from
its image does not count, and a file only where nobody but root and dockmend's own user could have
written it. The program gets a list of arguments, no shell, and next to no environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockmend import file_trust
from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    register,
    succeed,
)
from dockmend.actions.command_output import CommandOutput
from dockmend.actions.compose import is_of, project_of
from dockmend.actions.containers import expect_container
from dockmend.actions.containers_recovery import look
from dockmend.errors import EngineAway, EngineError
from dockmend.file_trust import Untrusted
from dockmend.journal.records import ActionRecord
from dockmend.model import COMPOSE_SERVICE, Object, target_of

FILES, FOLDER, VARIABLES = (
    "com.docker.compose.project.config_files", "com.docker.compose.project.working_dir",
    "com.docker.compose.project.environment_file",
)  # fmt: skip
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLUGINS = (
    "/usr/local/libexec/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins",
)  # fmt: skip
"""Where Docker's packages put the compose plugin, which runs as a program of its own too."""
ENDING = 4.0
"""Seconds that the program has to end once it is asked to."""
POLL = 0.2
LINE, NAMES = 1024, 1000
"""Bytes of a line of its output that are looked at, and how many containers that it starts are
remembered."""

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,200}")
_SERVICE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,200}")


@dataclass(frozen=True, slots=True)
class Files:
    """What a project was made from, checked."""

    compose: tuple[str, ...]
    folder: str
    variables: tuple[str, ...]


async def compose_up(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Bring services up; those that a person stopped, and those that are protected, are not named
    to it."""
    container = expect_container(subject, "compose_up")
    project = project_of(container, "compose_up")
    if not _PROJECT.fullmatch(project):
        raise ActionFailed(f"{project[:100]!r} is no name of a Compose project", again=False)
    if not ctx.engine.url.startswith("unix:"):
        raise ActionFailed(
            "cannot compose_up: the engine is on another host, and so are the project's files",
            again=False,
        )
    files = await asyncio.to_thread(checked, _labels(ctx, container, project))
    program = found_program()
    services, spared = _services(ctx, container, project, params.services)
    command = [
        program, "--ansi", "never", "--progress", "plain", "--project-name", project,
        "--project-directory", files.folder,
        *(part for each in files.compose for part in ("--file", each)),
        *(part for each in files.variables for part in ("--env-file", each)),
        "up", "--detach", "--no-build", "--pull", "never", "--no-deps", "--no-recreate", "--",
        *services,
    ]  # fmt: skip
    await ctx.remember({"compose_up": {"until": ctx.clock() + ctx.timeout}})
    began_at = ctx.clock()
    code, output, started = await _run(ctx, command)
    spared += await _stopped_meanwhile(ctx, project, started, began_at)
    said = "".join(f"; {each}" for each in spared)
    if code != 0:
        raise ActionFailed(
            f"compose up of {project} ended with exit code {code}{output.told()}{said}"
        )
    await _brought_back(ctx, container)
    return ActionResult(f"compose up of {project} ({', '.join(services)}){output.told()}{said}")


async def _brought_back(ctx: ActionContext, missing: Container) -> None:
    """Where it was gone, what Compose made of its service took its place, under its name or
    another."""
    target = target_of(missing)
    try:
        if await look(ctx, missing.id) is not None:
            return
        found = await look(ctx, missing.name)
    except EngineAway:
        raise
    except EngineError:
        # It goes on refusing: what the stream told has to do, as Compose has done its work.
        if ctx.view.container(missing.id) is not None:
            return
        found = None
    if found is None or target_of(found) != target:
        found = ctx.view.of_target(target)
    if found is not None and found.id != missing.id:
        await succeed(ctx, missing.id, found.id)


async def _stopped_meanwhile(
    ctx: ActionContext, project: str, started: Started, since: float
) -> list[str]:
    """What a person stopped while the program ran, and it began again, is stopped again; who that
    was."""
    mine = [
        each
        for each in ctx.view.containers()
        if is_of(each, project) and each.name in started.names
    ]
    return [
        f"{each.name} was stopped again: somebody stopped it meanwhile"
        for each in mine
        if await ctx.obey(each, since)
    ]


def _labels(ctx: ActionContext, container: Container, project: str) -> Mapping[str, str]:
    """Its own, or where they are not known any more (it is missing), those of another of the
    project."""
    others = (each for each in ctx.view.containers() if is_of(each, project))
    told = (
        each.labels
        for each in (container, *others)
        if FILES in each.labels and FOLDER in each.labels
    )
    return next(told, container.labels)


def found_program() -> str:
    """Compose as a program of its own. Raises ActionFailed."""
    program = shutil.which("docker-compose", path=":".join([PATH, *PLUGINS]))
    if program is None:
        raise ActionFailed(
            "compose is not installed: install docker-compose or the compose plugin", again=False
        )
    return program


def _services(
    ctx: ActionContext, container: Container, project: str, wanted: Iterable[str] | None
) -> tuple[list[str], list[str]]:
    """The services to bring up, and whom it leaves alone and why. Raises ActionFailed where none is
    left."""
    mine = [each for each in ctx.view.containers() if is_of(each, project)]
    known = {each.labels.get(COMPOSE_SERVICE, "") for each in (*mine, container)}
    left_out: dict[str, str] = {}
    for each in mine:
        why = ctx.forbids(each) if ctx.forbids is not None else None
        if (
            why is None
            and not each.running
            and ctx.view.stopped(each.id)
            and not ctx.view.taken_down(each.id)
        ):
            why = "somebody stopped it"
        if each.state == "paused":
            why = "somebody paused it"
        if why is None and wanted is None and each.state == "exited" and each.exit_code == 0:
            why = "it has done its work"
        if why is not None:
            left_out[each.labels.get(COMPOSE_SERVICE, "")] = f"{each.name} was left alone: {why}"
    asked = sorted(known) if wanted is None else list(wanted)
    services = [each for each in asked if each not in left_out and _SERVICE.fullmatch(each)]
    if not services:
        raise ActionFailed(
            f"nothing of project {project} is to be brought up: {'; '.join(left_out.values())}",
            again=False,
        )
    return services, [left_out[each] for each in asked if each in left_out]


# ---------------------------------------------------------------------------------------- the files
def checked(labels: Mapping[str, str]) -> Files:
    """The project's files as its labels name them. Raises ActionFailed where one is missing or not
    to be trusted."""
    compose = [each for each in labels.get(FILES, "").split(",") if each]
    folder = labels.get(FOLDER, "")
    variables = [each for each in labels.get(VARIABLES, "").split(",") if each]
    if not compose or not folder:
        raise ActionFailed(
            "its labels do not tell which files the project was made from", again=False
        )
    place = _plain(folder)
    if place == Path("/"):
        raise ActionFailed(
            "its labels name / as the project's folder: expected a folder of its own", again=False
        )
    trust(place, stat.S_ISDIR)
    for each in (*compose, *variables):
        if place not in _plain(each).parents:
            raise ActionFailed(
                f"{each[:200]} is not below the project's folder {folder[:200]}", again=False
            )
        trust(Path(each), stat.S_ISREG)
    beside = place / ".env"
    if beside.exists() or beside.is_symlink():
        trust(beside, stat.S_ISREG)
    return Files(tuple(compose), folder, tuple(variables))


def _plain(path: str) -> Path:
    """Raises ActionFailed."""
    found = Path(path)
    if not found.is_absolute() or ".." in found.parts:
        raise ActionFailed(f"{path[:200]} is no full path of a file", again=False)
    return found


def trust(path: Path, kind: Callable[[int], bool]) -> None:
    """Raises ActionFailed unless only root and dockmend's own user could have written what is at
    `path`, and it is of that kind."""
    shown = str(path)[:200]
    try:
        seen = file_trust.check(path, file_trust.trusted_uids(), links=False)
    except Untrusted as error:
        raise ActionFailed(
            f"{shown} is not trusted: {error.place[:200]} {error}", again=False
        ) from error
    except OSError as error:
        raise ActionFailed(
            f"{shown}: {error.strerror or 'cannot be looked at'}", again=False
        ) from error
    if not kind(seen.st_mode):
        raise ActionFailed(
            f"{shown} is no {'folder' if kind is stat.S_ISDIR else 'file'}", again=False
        )


# -------------------------------------------------------------------------------------- the program
class Started:
    """The containers that the program says it starts, from lines such as " Container shop-web-1
    Starting"."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._rest = b""

    def add(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[-LINE:]
        for line in lines:
            words = line[:LINE].decode(errors="replace").split()
            if (
                len(words) == 3
                and words[0] == "Container"
                and words[2] == "Starting"
                and len(self.names) < NAMES
            ):
                self.names.add(words[1])


async def _run(ctx: ActionContext, command: list[str]) -> tuple[int, CommandOutput, Started]:
    """To its end; whatever cuts it short ends it, and what it began."""
    environment = {
        "PATH": PATH,
        "DOCKER_HOST": ctx.engine.url,
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:  # no memory, no process, no file descriptor left
        raise ActionFailed(
            f"{command[0]} could not be started: {error.strerror or error}"
        ) from error
    output, started = CommandOutput(), Started()
    assert process.stdout is not None
    try:
        await ctx.remember(
            {"compose_up": {"until": ctx.clock() + ctx.timeout, "process": identity(process.pid)}}
        )
        while piece := await process.stdout.read(1 << 16):
            output.add(piece)
            started.add(piece)
        return await process.wait(), output, started
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            async with asyncio.timeout(ENDING):
                await process.wait()
        except ProcessLookupError:
            return
        except TimeoutError:
            continue
        return


def identity(pid: int) -> str:
    """A process by its number and the time of its start, which no other has; "" where there is
    none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{pid}/{fields[19]}"


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """The program outlives dockmend: it has the time it was given, and is then ended. `up` bears
    repetition."""
    before = record.undo.get("compose_up")
    if not isinstance(before, dict) or not before.get("process"):
        return NOT_BEGUN
    known = str(before["process"])
    pid = int(known.partition("/")[0])
    while identity(pid) == known:
        if ctx.clock() >= float(before["until"]):
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.killpg(pid, signal.SIGKILL)
            return Settled(
                done=False, detail="compose up had run for longer than it may, and was ended"
            )
        await asyncio.sleep(POLL)
    return Settled(
        done=False,
        detail="compose up had been under way; it is done anew, which changes nothing that is well",
    )


def register_all() -> None:
    """Put compose_up into the registry."""
    register(Action("compose_up", compose_up, settle, touches=False))
