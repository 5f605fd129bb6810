"""`dockmend doctor`: everything dockmend needs and everything that may stand in its way, each with
what to do."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli import doctor_checks
from dockmend.cli.channel_checks import channels
from dockmend.cli.command_context import OVERRULING, CommandContext, in_force
from dockmend.cli.doctor_checks import DoctorFinding
from dockmend.cli.options import address_of, daemon_uid, engine_of, of_journal, options, owned_of
from dockmend.cli.places import found_paths
from dockmend.cli.terminal_text import emit, say
from dockmend.errors import (
    DockmendError,
    EngineAway,
    EngineError,
    InvalidFiles,
    JournalError,
    NotFound,
    UsageError,
)
from dockmend.own_container import in_container

if TYPE_CHECKING:
    from dockmend.engine.engine_api import Listing
    from dockmend.model import Container
    from dockmend.rules.rule import RuleSet
    from dockmend.settings import Settings

BROKER_PATIENCE = 5.0  # seconds
MARKS = {"ok": "ok      ", "note": "note    ", "problem": "PROBLEM "}


@click.command()
@options("config", "rules", "engine", "state", "socket", "json")
def doctor(as_json: bool, **flags: Any) -> int:
    """Checks engine, rights, disk, clock, broker, messages, rules, labels, other healers; says what
    to do about each.

    Changes nothing. Exit code 1 if something keeps dockmend from doing its work.
    """
    found = asyncio.run(_findings(flags))
    if as_json:
        emit([asdict(each) for each in found])
    else:
        for each in found:
            say(f"{MARKS[each.level]}{each.part:<9} {each.text}")
            if each.todo:
                say(f"{'':<18}→ {each.todo}")
    return 1 if any(each.level == "problem" for each in found) else 0


async def _findings(flags: dict[str, Any]) -> list[DoctorFinding]:
    from dockmend.guards import Guards, idle_protections

    asked, whole, found = _settings(flags)
    settings = asked.settings
    found += _state(settings)
    pid, warned, of_daemon = await _daemon(settings)
    found += of_daemon
    found += _tokens(settings)
    listing, of_engine = await _engine(settings)
    found += of_engine
    found += await _broker(whole)
    found += await channels(whole, settings.paths.socket if pid is not None else None)
    owned = owned_of(settings.paths)
    containers = [each for each in listing.containers if not owned.hides(each)] if listing else []
    rules, texts, of_rules = _rules(asked, containers, warned)
    found += of_rules
    if not any(flags.get(each) is not None for each in OVERRULING):
        named = whole.model_copy(update=_where(settings))
        found += await asyncio.to_thread(_unit, named, pid, rules, containers)
    if listing is not None:
        found += doctor_checks.protection(idle_protections(settings.policy.protect, containers))
        found += doctor_checks.labels(
            containers, [*texts, *settings.policy.protect.labels], asked.channels
        )
        found += doctor_checks.consent(containers)
        found += doctor_checks.left_aside(containers, owned)
        found += doctor_checks.healers(containers)
        if asked.own or not in_container():  # else dockmend's own container is not known
            found += doctor_checks.dockmends(
                containers, Guards(settings.policy, asked.own, owned).is_own
            )
        found += doctor_checks.restart_policies(containers, rules)
    return found


def _where(settings: Settings) -> dict[str, Any]:
    """The places and the engine of these settings, for others."""
    return {
        "paths": settings.paths,
        "engine": settings.engine,
        "engine_found": settings.engine_found,
    }


def _settings(flags: dict[str, Any]) -> tuple[CommandContext, Settings, list[DoctorFinding]]:
    """The daemon's rules and settings, else those of the files; and what the file says now, with
    its secrets.

    If they are wrong the defaults, so that the rest can still be looked at.
    """
    from dockmend.settings import Settings as Plain

    try:
        asked = in_force(flags, quiet=True)
    except UsageError as error:
        plain = CommandContext(
            Plain(paths=found_paths(flags), engine=flags.get("engine")), "the defaults"
        )
        return plain, plain.settings, _wrong(error)
    said = DoctorFinding("ok", "asks", asked.said)
    try:
        whole = _whole(asked, flags)
    except UsageError as error:
        return asked, asked.settings, [said, *_wrong(error)]
    notes = [DoctorFinding("note", "settings", each) for each in whole.warnings]
    where = (
        str(asked.settings.paths.config)
        if asked.settings.paths.config
        else "no settings file: the defaults hold"
    )
    notes = notes or [DoctorFinding("ok", "settings", where)]
    return (
        asked,
        whole,
        [said, *notes, *(DoctorFinding("ok", "settings", each) for each in whole.notes)],
    )


def _whole(asked: CommandContext, flags: dict[str, Any]) -> Settings:
    """What the settings file that is in force says now, with the secrets that can be read here.
    Raises UsageError."""
    from dockmend.settings import load

    rest = dict(flags)
    config, of_daemon = (
        rest.pop("config", None),
        asked.settings.paths.config if asked.texts is not None else None,
    )
    # in a container it is elsewhere
    if config is None and of_daemon is not None and os.access(of_daemon, os.R_OK):
        config = of_daemon
    return load(
        rest, config=config, runs_as=daemon_uid(asked.settings.paths.state), as_daemon=False
    )


def _wrong(error: UsageError) -> list[DoctorFinding]:
    wrong = (
        [str(each) for each in error.problems]
        if isinstance(error, InvalidFiles)
        else str(error).splitlines()
    )
    return [
        DoctorFinding("problem", "settings", each, "mend it: `dockmend run` will not start")
        for each in wrong
    ]


def _state(settings: Settings) -> list[DoctorFinding]:
    """The state folder: there or can be made, writable, with space; and the journal in it."""
    from dockmend.journal.sqlite import read_only

    state = settings.paths.state
    there = next((each for each in (state, *state.parents) if each.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        return [
            DoctorFinding(
                "problem",
                "state",
                f"{there} cannot be written",
                "run as its owner, or name another folder with --state",
            )
        ]
    usage = shutil.disk_usage(there)
    found = [doctor_checks.disk("disk", usage.free, usage.total)]
    if not settings.paths.journal.exists():
        return [
            DoctorFinding("ok", "state", f"{state}: no journal yet, `dockmend run` makes it"),
            *found,
        ]
    try:
        with read_only(settings.paths.journal) as journal:
            stats = journal.stats()
    except JournalError as error:
        todo = "`dockmend run` sets a damaged journal aside and begins a new one"
        return [DoctorFinding("problem", "state", str(error), todo), *found]
    rows = stats["rows"]
    text = (
        f"{state}: {rows['incidents']} incidents, {rows['actions']} actions, "
        f"{stats['bytes'] / 1024**2:.1f} MiB"
    )
    return [DoctorFinding("ok", "state", text), *found]


def _tokens(settings: Settings) -> list[DoctorFinding]:
    """Where the tokens of the HTTP server are, and whether it will take them; makes none."""
    from dockmend.file_trust import Untrusted
    from dockmend.settings.secrets import read_own_secret
    from dockmend.web.tokens import own_files

    found = []
    for path in own_files(settings) if settings.http.listen is not None else ():
        if not path.exists():
            found.append(
                DoctorFinding("ok", "http", f"{path} does not exist yet: `dockmend run` makes it")
            )
            continue
        try:
            read_own_secret(path)
        except (OSError, ValueError, Untrusted) as error:
            why = error.strerror if isinstance(error, OSError) else error
            todo = (
                "the API lets nobody in by it until then: mend the file, or remove it, and "
                "restart dockmend"
            )
            found.append(DoctorFinding("problem", "http", f"the token {path}: {why}", todo))
        else:
            found.append(
                DoctorFinding(
                    "ok", "http", f"the API at {settings.http.listen} takes the token in {path}"
                )
            )
    return found


def _unit(
    settings: Settings, pid: int | None, rules: RuleSet, containers: list[Container]
) -> list[DoctorFinding]:
    """What the sandbox of the systemd unit keeps from the daemon; nothing if the daemon is not that
    unit's."""
    from dockmend.cli.unit import sandbox, unit_properties

    unit = unit_properties(pid)
    if unit is None:
        return []
    acts = {action for rule in rules.rules for action in rule.actions}
    working = {each.labels.get("com.docker.compose.project.working_dir", "") for each in containers}
    projects = [Path(each) for each in sorted(working) if each] if "compose_up" in acts else []
    try:
        url = address_of(settings).url
    except UsageError:
        url = ""
    socket = Path(url.removeprefix("unix://")) if url.startswith("unix://") else None
    return sandbox(unit, settings, socket=socket, execs="exec" in acts, projects=projects)


async def _daemon(settings: Settings) -> tuple[int | None, list[str], list[DoctorFinding]]:
    """The process id of the daemon that answers, what it was warned of as it read its rules, and
    how it is."""
    from dockmend.control.socket_client import SocketClient

    client = SocketClient(settings.paths.socket, 10)
    try:
        status = await asyncio.to_thread(client.ask, "status")
        problems = (await asyncio.to_thread(client.ask, "rules"))["problems"]
    except DockmendError as error:
        return (
            None,
            [],
            [
                DoctorFinding(
                    "note", "daemon", str(error), "start it with `dockmend run`, or as a service"
                )
            ],
        )
    text = f"process {status['pid']}, version {status['version']}"
    found = [DoctorFinding("ok", "daemon", text)]
    found += [
        doctor_checks.degraded(part, why, problems) for part, why in status["degraded"].items()
    ]
    return int(status["pid"]), [each for each in problems if ": warning: " in each], found


async def _engine(settings: Settings) -> tuple[Listing | None, list[DoctorFinding]]:
    """Reachable, its version, what we may do, its clock; and everything it holds."""
    try:
        engine, warned = engine_of(settings), address_of(settings).warning
    except UsageError as error:
        return None, [DoctorFinding("problem", "engine", str(error), "mend the address")]
    in_clear = (
        [DoctorFinding("note", "engine", warned, "use TLS, or the unix socket")] if warned else []
    )
    of_journal(engine, settings.paths)
    try:
        info = await engine.connect()
        listing = await engine.listing()
        from dockmend.app.engine_lock import holder_of, runtime_folder

        found = [
            *doctor_checks.engine(engine.url, info),
            *in_clear,
            await _rights(engine),
            doctor_checks.clock_skew(engine.ahead),
        ]
        found.append(await _files(engine, listing))
        folders = (runtime_folder(os.environ), settings.paths.state)
        found += doctor_checks.acting(holder_of(info.identity, folders), settings.paths.state)
    except EngineAway as error:
        todo = "start the engine, or name it with --engine or DOCKER_HOST"
        if "permission denied" in str(error):
            todo = (
                "`usermod --append --groups docker NAME`, log in again; for a container "
                "`--group-add`: docs/install.md"
            )
        return None, [DoctorFinding("problem", "engine", str(error), todo)]
    except EngineError as error:
        return None, [
            DoctorFinding(
                "problem", "engine", str(error), "run as root, or as a member of the group docker"
            )
        ]
    else:
        return listing, found
    finally:
        await engine.close()


async def _files(engine: Any, listing: Listing) -> DoctorFinding:
    """Whether the engine's own files can be read, tried with those of all containers."""
    ran = [each for each in listing.containers if each.started_at]
    if engine.files is None:
        return doctor_checks.engine_files(None, "", len(ran), 0)
    read = len(await engine.files.of_all(ran))
    return doctor_checks.engine_files(engine.files.root, engine.files.trouble, len(ran), read)


async def _rights(engine: Any) -> DoctorFinding:
    """Whether containers may be started, found out with one that does not exist: 404 says they may.

    Its name is of chance: nobody can have a container of that name made, to have it started.
    """
    try:
        await engine.start(f"dockmend-doctor-asks-for-nobody-{secrets.token_hex(16)}")
    except NotFound:
        return DoctorFinding("ok", "rights", "may list, inspect and start containers")
    except EngineError as error:
        todo = (
            "a proxy in front of the engine's socket must let POST to /containers and "
            "/networks through"
        )
        return DoctorFinding("problem", "rights", f"may look but not act: {error}", todo)
    return DoctorFinding("ok", "rights", "may list, inspect and start containers")


async def _broker(settings: Settings) -> list[DoctorFinding]:
    """A real connection to the broker, with the credentials that `run` would use."""
    mqtt = settings.mqtt
    if mqtt is None:
        return []
    import ssl

    import aiomqtt

    where = f"{mqtt.host}:{mqtt.effective_port}"
    try:
        context = None
        if mqtt.tls is not None:
            context = ssl.create_default_context(cafile=str(mqtt.tls.ca) if mqtt.tls.ca else None)
            if mqtt.tls.cert is not None:
                context.load_cert_chain(mqtt.tls.cert, mqtt.tls.key)
        password = settings.mqtt_password.reveal() if settings.mqtt_password else None
        async with (
            asyncio.timeout(BROKER_PATIENCE),
            aiomqtt.Client(
                mqtt.host,
                mqtt.effective_port,
                username=mqtt.username,
                password=password,
                tls_context=context,
                timeout=BROKER_PATIENCE,
            ),
        ):
            return [DoctorFinding("ok", "broker", f"{where}: connected")]
    except TimeoutError:
        why = f"no answer within {BROKER_PATIENCE:g} s"
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        why = str(error)
    todo = (
        "check mqtt.host, port, tls, username and password_file; healing goes on without the broker"
    )
    return [DoctorFinding("problem", "broker", f"{where}: {why}", todo)]


def _rules(
    asked: CommandContext, containers: list[Any], warned: list[str]
) -> tuple[Any, list[str], list[DoctorFinding]]:
    """The rules, the texts of their files, and what is wrong with them. `warned`: what the daemon
    was warned of."""
    from dockmend.rules.rule import RuleSet
    from dockmend.rules.rule_files import read_files

    folder = asked.settings.paths.rules
    contents = asked.texts
    if contents is None:
        contents = read_files(folder)[0] if folder.exists() else {}
    texts = [text.decode(errors="replace") for text in contents.values()]
    try:
        rules = asked.ruleset(containers)
    except InvalidFiles as error:
        todo = "mend them: a reload changes nothing and a start uses the last good set until then"
        return (
            RuleSet(),
            texts,
            [DoctorFinding("problem", "rules", str(each), todo) for each in error.problems],
        )
    notes = [
        DoctorFinding("note", "rules", each)
        for each in dict.fromkeys([*map(str, rules.warnings), *warned])
    ]
    own = sum(1 for rule in rules.rules if not rule.builtin)
    builtin = own != len(rules.rules)
    if asked.texts is not None or folder.exists():
        said = f"{folder}: {own} rules{', and those of the labels' if builtin else ''}"
    else:
        said = (
            f"{folder} does not exist: there is "
            f"{'what labels ask for only' if builtin else 'no rule at all'}"
        )
    return rules, texts, [DoctorFinding("ok", "rules", said), *notes]
