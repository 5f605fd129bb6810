"""What doctor says of the sandbox of the systemd unit."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dockmend.cli import unit as units
from dockmend.cli.doctor_checks import DoctorFinding
from dockmend.cli.unit import PROPERTIES, UNIT, sandbox, unit_properties
from dockmend.settings import Paths, Settings

SHIPPED = Path(__file__).resolve().parents[3] / "systemd" / UNIT


def shipped(**changes: str) -> dict[str, str]:
    """The properties of the unit as it is shipped, in the words of `systemctl show`."""
    file = configparser.ConfigParser(strict=False, interpolation=None)
    file.optionxform = str  # type: ignore[assignment,method-assign]
    file.read(SHIPPED)
    found = {name: file["Service"].get(name, "") for name in PROPERTIES}
    memory = str(int(found["MemoryMax"].removesuffix("M")) * 1024**2)
    return {
        **found,
        "LoadState": "loaded",
        "NeedDaemonReload": "no",
        "MainPID": "42",
        "MemoryMax": memory,
        **changes,
    }


def told(
    unit: dict[str, str], settings: Settings | None = None, **more: Any
) -> list[DoctorFinding]:
    return sandbox(unit, settings or Settings(), **{"socket": None, "execs": False, **more})


def test_the_unit_as_it_is_shipped_takes_nothing_away():
    (found,) = told(shipped())
    assert (found.level, found.part) == ("ok", "unit")


@pytest.mark.parametrize(
    ("changes", "settings", "text", "todo"),
    [
        (
            {},
            {"paths": {"state": Path("/srv/state")}},
            "the state folder, /srv/state, is read-only",
            "ReadWritePaths=/srv/s",
        ),
        (
            {"ProtectSystem": "full"},
            {"paths": {"state": Path("/etc/s")}},
            "ProtectSystem=full",
            "ReadWritePaths=/etc/s",
        ),
        (
            {},
            {"snapshots": {"bind_roots": ["/srv/data"]}},
            "the bind root /srv/data, /srv/data, is r",
            "=/srv/data",
        ),
        (
            {},
            {"paths": {"rules": Path("/home/me/rules.d")}},
            "the rules, /home/me/rules.d, cannot be seen",
            "BindPaths=/home",
        ),
        (
            {},
            {"notify": {"ops": {"url_file": "/home/me/ops.url"}}},
            "the URLs of channel ops, /home/me/ops.url, cannot be seen",
            "BindPaths=/home/me/ops.url",
        ),
        (
            {},
            {"heartbeat_url_file": "/tmp/beat"},
            "the URL of the heartbeat, /tmp/beat, is another one",
            "move it out",
        ),
        (
            {"PrivateNetwork": "yes"},
            {"http": {"listen": None}, "notify": {"ops": {}}, "heartbeat_url_file": "/etc/beat"},
            "the services for messages and the heartbeat's monitor cannot be reached",
            "PrivateNetwork=no",
        ),
        (
            {},
            {"paths": {"rules": Path("/tmp/rules.d")}},
            "is another one for dockmend: PrivateTmp=yes",
            "move it out",
        ),
        (
            {"Environment": ""},
            {},
            "ProcSubset=pid hides the boot's id",
            "Environment=DOCKMEND_BOOT=%b",
        ),
        ({"MemoryMax": str(64 * 1024**2)}, {}, "gives dockmend 64 MiB", "MemoryMax=512M"),
        ({"TasksMax": "8"}, {}, "TasksMax=8", "TasksMax=256"),
        ({"PrivateNetwork": "yes"}, {}, "the HTTP pages cannot be reached", "PrivateNetwork=no"),
        (
            {"RestrictAddressFamilies": "AF_UNIX"},
            {},
            "lacks AF_INET",
            "RestrictAddressFamilies=AF_INET AF_INET6",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_line_that_gives_it(
    changes: dict[str, str], settings: dict[str, Any], text: str, todo: str
):
    (found,) = told(shipped(**changes), Settings.model_validate(settings))
    assert found.level == "problem"
    assert text in found.text
    assert todo in found.todo


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"ReadWritePaths": "-/srv"}, Paths(state=Path("/srv/state"))),
        ({"BindPaths": "/home/me:/home/me:rbind"}, Paths(rules=Path("/home/me/rules.d"))),
        ({"ProtectHome": "no"}, Paths(rules=Path("/home/me/rules.d"))),
        ({"ProtectSystem": "full"}, Paths(state=Path("/srv/state"))),
        ({"StateDirectory": "mend:alias"}, Paths(state=Path("/var/lib/mend"))),
    ],
)
def test_what_a_drop_in_gives_back_is_not_missing(changes: dict[str, str], paths: Paths):
    (found,) = told(shipped(**changes), Settings(paths=paths))
    assert found.level == "ok", found


def test_a_user_who_may_not_use_the_engines_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    socket = tmp_path / "docker.sock"
    socket.touch()
    socket.chmod(0o660)
    names = {os.getuid(): "root", os.getgid(): "docker"}
    monkeypatch.setattr(
        units, "_named", lambda number, kind: "docker" if kind == "group" else names[number]
    )
    for changes in ({"User": "stranger"}, {"DynamicUser": "yes"}):
        note, problem = told(shipped(**changes), socket=socket)
        assert (note.level, problem.level) == ("note", "problem")
        assert f"may not use {socket} (of the group docker)" in problem.text
        assert "SupplementaryGroups=docker" in problem.todo
        (note,) = told(shipped(**changes, SupplementaryGroups="docker"), socket=socket)
        assert "cannot read the engine's own files" in note.text


def test_what_only_some_rules_need():
    (note,) = told(shipped(ProtectProc="invisible"), execs=True)
    assert (note.level, "hides the processes of containers" in note.text) == ("note", True)
    (problem,) = told(shipped(), projects=[Path("/srv/shop"), Path("/home/me/shop")])
    assert "the Compose project shop, /home/me/shop, cannot be seen" in problem.text


@pytest.mark.parametrize(
    ("daemon", "answer", "there"),
    [
        (42, "LoadState=loaded\nMainPID=42\n", True),
        (None, "LoadState=loaded\nMainPID=0\n", True),
        (7, "LoadState=loaded\nMainPID=42\n", False),  # that daemon is not the unit's
        (None, "LoadState=not-found\nMainPID=0\n", False),
    ],
)
def test_only_the_units_own_daemon_is_judged_by_it(
    monkeypatch: pytest.MonkeyPatch, daemon: int | None, answer: str, there: bool
):
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, answer, "")
    )
    assert (unit_properties(daemon) is not None) is there


def test_a_host_without_systemd(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert unit_properties(None) is None
