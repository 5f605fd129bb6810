"""What the sandbox of dockmend's systemd unit takes away from it, as `dockmend doctor` tells.

The doctor runs in a shell, outside of that sandbox: what it can read and write itself says nothing
about the daemon. So it asks systemd for the unit's properties, drop-ins included, and judges by
them.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dockmend.cli.doctor_checks import DoctorFinding
from dockmend.settings import Settings

UNIT = "dockmend.service"
PROPERTIES = (
    "LoadState", "NeedDaemonReload", "MainPID", "User", "DynamicUser", "Group",
    "SupplementaryGroups", "Environment", "MemoryMax", "TasksMax", "ProcSubset", "ProtectProc",
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateNetwork", "RestrictAddressFamilies",
    "StateDirectory", "RuntimeDirectory", "ReadWritePaths", "BindPaths",
)  # fmt: skip
PATIENCE = 5.0
"""Seconds that systemd has for its answer."""
LEAST_MEMORY = 160 * 1024**2
"""Bytes: 90 MiB with 1,000 containers, and what a snapshot and a full page of metrics take beside
it."""
LEAST_TASKS = 64
HOMES = ("/home", "/root", "/run/user")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - named, not used
SYSTEM = ("/usr", "/boot", "/efi", "/etc")  # what ProtectSystem=full makes read-only


def unit_properties(daemon: int | None) -> dict[str, str] | None:
    """The unit's properties; None if there is no such unit, or if the daemon that answers is not
    the unit's.

    `daemon`: process id of the daemon that answers; None if none does.
    """
    try:
        asked = subprocess.run(  # noqa: S603 - the words are our own
            ["systemctl", "show", UNIT, f"--property={','.join(PROPERTIES)}"],  # noqa: S607 - where the host has it
            check=False, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    if asked.returncode != 0 or found.get("LoadState") != "loaded":
        return None
    return found if daemon is None or found.get("MainPID") == str(daemon) else None


def sandbox(
    unit: Mapping[str, str],
    settings: Settings,
    *,
    socket: Path | None,
    execs: bool,
    projects: Iterable[Path] = (),
) -> list[DoctorFinding]:
    """What is missing in the unit, each with the line that gives it back.

    `socket`: the engine's, None if it is no unix socket; `execs`: a rule runs commands in
    containers; `projects`: folders of Compose projects that a rule's `compose_up` reads.
    """
    needed = {
        **_needed(settings),
        **{f"the Compose project {each.name}": each for each in projects},
    }
    found = [
        *_stale(unit), *_reads(unit, needed), *_writes(unit, settings), *_memory(unit),
        *_network(unit, settings), *_engine(unit, socket), *_proc(unit, execs),
    ]  # fmt: skip
    return found or [
        DoctorFinding("ok", "unit", f"{UNIT}: its sandbox leaves dockmend what it needs")
    ]


def _edit(*lines: str) -> str:
    return f"`systemctl edit {UNIT}`, [Service], {' and '.join(lines)}; then restart it"


def _stale(unit: Mapping[str, str]) -> Iterator[DoctorFinding]:
    if unit.get("NeedDaemonReload") == "yes":
        yield DoctorFinding(
            "note",
            "unit",
            f"{UNIT} was changed on disk and not read again",
            "`systemctl daemon-reload`",
        )


def _below(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _words(unit: Mapping[str, str], name: str) -> list[str]:
    return unit.get(name, "").split()


def _writable(unit: Mapping[str, str]) -> tuple[str, ...]:
    """Folders that the unit makes writable again."""
    own = [f"/var/lib/{each.partition(':')[0]}" for each in _words(unit, "StateDirectory")]
    own += [f"/run/{each.partition(':')[0]}" for each in _words(unit, "RuntimeDirectory")]
    return (*own, *(each.lstrip("-+") for each in _words(unit, "ReadWritePaths")), *_bound(unit))


def _bound(unit: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        each.lstrip("-").split(":")[1] for each in _words(unit, "BindPaths") if ":" in each
    )


def _needed(settings: Settings) -> dict[str, Path]:
    """What the daemon reads, by what it is."""
    paths = settings.paths
    found = {
        "the rules": paths.rules,
        "the state folder": paths.state,
        "the command socket": paths.socket,
    }
    if paths.config is not None:
        found["the settings"] = paths.config
    if settings.engine_root is not None:
        found["engine_root"] = settings.engine_root
    found |= {f"the bind root {each}": each for each in settings.snapshots.bind_roots}
    base = paths.config.parent if paths.config is not None else Path()
    found |= {what: base / path for what, path in _secrets(settings).items() if path is not None}
    return {what: path.absolute() for what, path in found.items()}


def _secrets(settings: Settings) -> dict[str, Path | None]:
    """The files of secrets that the settings name."""
    mqtt, http = settings.mqtt, settings.http
    return {
        **{f"the URLs of channel {name}": each.url_file for name, each in settings.notify.items()},
        "the URL of the heartbeat": settings.heartbeat_url_file,
        "the broker's password": mqtt.password_file if mqtt is not None else None,
        "the token": http.token_file,
        "the token that may look": http.read_token_file,
    }


def _reads(unit: Mapping[str, str], needed: Mapping[str, Path]) -> Iterator[DoctorFinding]:
    homes, tmp = unit.get("ProtectHome", "no"), unit.get("PrivateTmp", "no")
    for what, path in needed.items():
        if _below(path, *_bound(unit)):
            continue
        if homes in ("yes", "tmpfs") and _below(path, *HOMES):
            text = f"{what}, {path}, cannot be seen by dockmend: ProtectHome={homes}"
            yield DoctorFinding(
                "problem", "unit", text, f"move it, or {_edit(f'BindPaths={path}:{path}')}"
            )
        elif tmp not in ("no", "") and _below(path, *TEMPORARY):
            text = f"{what}, {path}, is another one for dockmend: PrivateTmp={tmp}"
            yield DoctorFinding("problem", "unit", text, f"move it out of {TEMPORARY[0]}")


def _writes(unit: Mapping[str, str], settings: Settings) -> Iterator[DoctorFinding]:
    system = unit.get("ProtectSystem", "no")
    homes = unit.get("ProtectHome", "no")
    writable = _writable(unit)
    places = {
        "the state folder": settings.paths.state.absolute(),
        "the folder of the command socket": settings.paths.socket.absolute().parent,
        **{f"the bind root {each}": each for each in settings.snapshots.bind_roots},
    }
    for what, path in places.items():
        if _below(path, *writable):
            continue
        by = ""
        if system == "strict" and not _below(path, *TEMPORARY, "/dev", "/proc", "/sys"):
            by = "ProtectSystem=strict"
        elif (system == "full" and _below(path, *SYSTEM)) or (
            system == "yes" and _below(path, *SYSTEM[:3])
        ):
            by = f"ProtectSystem={system}"
        elif homes == "read-only" and _below(path, *HOMES):
            by = "ProtectHome=read-only"
        if by:
            text = f"{what}, {path}, is read-only for dockmend: {by}"
            yield DoctorFinding("problem", "unit", text, _edit(f"ReadWritePaths={path}"))


def _number(unit: Mapping[str, str], name: str) -> float:
    text = unit.get(name, "infinity")
    return float(text) if text.isdecimal() else float("inf")


def _memory(unit: Mapping[str, str]) -> Iterator[DoctorFinding]:
    memory, tasks = _number(unit, "MemoryMax"), _number(unit, "TasksMax")
    if memory < LEAST_MEMORY:
        text = (
            f"MemoryMax= gives dockmend {memory / 1024**2:.0f} MiB, and the kernel ends it "
            "beyond that"
        )
        yield DoctorFinding("problem", "unit", text, _edit("MemoryMax=512M"))
    if tasks < LEAST_TASKS:
        text = (
            f"TasksMax={tasks:.0f}: steps that need a thread or a process fail (snapshots, copies)"
        )
        yield DoctorFinding("problem", "unit", text, _edit("TasksMax=256"))


def _network(unit: Mapping[str, str], settings: Settings) -> Iterator[DoctorFinding]:
    wanted = [
        what
        for what, there in (
            ("the HTTP pages", settings.http.listen is not None),
            ("the MQTT broker", settings.mqtt is not None),
            ("the services for messages", bool(settings.notify)),
            ("the heartbeat's monitor", settings.heartbeat_url_file is not None),
        )
        if there
    ]
    if not wanted:
        return
    if unit.get("PrivateNetwork") == "yes":
        text = f"{' and '.join(wanted)} cannot be reached: PrivateNetwork=yes"
        yield DoctorFinding("problem", "unit", text, _edit("PrivateNetwork=no"))
    families = _words(unit, "RestrictAddressFamilies")
    if families and not families[0].startswith("~") and "AF_INET" not in families:
        text = f"{' and '.join(wanted)} cannot be reached: RestrictAddressFamilies= lacks AF_INET"
        yield DoctorFinding(
            "problem", "unit", text, _edit("RestrictAddressFamilies=AF_INET AF_INET6")
        )


def _engine(unit: Mapping[str, str], socket: Path | None) -> Iterator[DoctorFinding]:
    """Whether the unit's user may use the engine's socket; only known for a socket of root's and a
    group."""
    user = "a user of its own" if unit.get("DynamicUser") == "yes" else unit.get("User", "")
    if user in ("", "root", "0"):
        return
    without = (
        "of a stop while it was down, only the restart policy tells it whether that was a person's"
    )
    text = f"dockmend runs as {user}, who cannot read the engine's own files: {without}"
    yield DoctorFinding("note", "unit", text, _edit("User=root") + " if that matters")
    if socket is None:
        return
    try:
        owner = socket.stat()
    except OSError:
        return
    if owner.st_mode & stat.S_IWOTH or _named(owner.st_uid, "user") == user:
        return
    group = _named(owner.st_gid, "group")
    if not owner.st_mode & stat.S_IWGRP or group not in _groups_of(unit):
        text = f"dockmend runs as {user}, who may not use {socket} (of the group {group})"
        yield DoctorFinding("problem", "unit", text, _edit(f"SupplementaryGroups={group}"))


def _named(number: int, kind: str) -> str:
    import grp
    import pwd

    try:
        return pwd.getpwuid(number).pw_name if kind == "user" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _groups_of(unit: Mapping[str, str]) -> set[str]:
    """Groups that the unit's process has: those the unit names, and those the user has on this
    host."""
    import pwd

    found = {*_words(unit, "SupplementaryGroups"), unit.get("Group", "")}
    try:
        user = pwd.getpwnam(unit.get("User", ""))
    except KeyError:
        return found
    return found | {_named(each, "group") for each in os.getgrouplist(user.pw_name, user.pw_gid)}


def _proc(unit: Mapping[str, str], execs: bool) -> Iterator[DoctorFinding]:
    told = any(each.startswith("DOCKMEND_BOOT=") for each in _words(unit, "Environment"))
    if unit.get("ProcSubset") == "pid" and not told:
        text = (
            "that the clock was set between two runs of dockmend is not seen: ProcSubset=pid "
            "hides the boot's id"
        )
        yield DoctorFinding("problem", "unit", text, _edit("Environment=DOCKMEND_BOOT=%b"))
    if execs and (hides := unit.get("ProtectProc", "default")) != "default":
        text = (
            "a command of an exec step that takes too long is ended by the container's `sh`, and "
            f"not if it has none: ProtectProc={hides} hides the processes of containers"
        )
        yield DoctorFinding(
            "note",
            "unit",
            text,
            _edit("ProtectProc=default") + " if such containers are among them",
        )
