"""The systemd unit is understood by systemd, and sandboxed as tightly as a healer that talks to the
engine can be."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "dockmend.service"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as installed, its command replaced by one that exists on every machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/dockmend/bin/dockmend", "/usr/bin/true"))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], check=False, capture_output=True, text=True, timeout=30
    )


def test_systemd_has_nothing_to_say_about_it(installed: Path):
    verdict = analyze("verify", "--man=no", str(installed))
    assert (verdict.returncode, verdict.stdout, verdict.stderr) == (0, "", "")


def test_a_misspelt_line_would_be_noticed(installed: Path):
    installed.write_text(installed.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", "--man=no", str(installed)).stderr


def test_it_is_sandboxed(installed: Path):
    verdict = analyze(
        "security", "--offline=true", "--threshold=20", "--json=short", str(installed)
    )
    assert verdict.returncode == 0, verdict.stdout
    open_rows = {row["json_field"] for row in json.loads(verdict.stdout) if row["set"] is False}
    assert not open_rows & {
        "NoNewPrivileges",
        "ProtectSystem",
        "PrivateTmp",
        "CapabilityBoundingSet_CAP_SYS_ADMIN",
    }


def test_it_tells_systemd_how_it_is():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["NotifyAccess"] == "main"
    assert int(service["WatchdogSec"]) == 30
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
    assert service["ExecReload"] == "/opt/dockmend/bin/dockmend reload"
    assert service["LimitCORE"] == "0"


MOVED = """
import time
from dockmend.timekeeping import Clock
before = Clock(lambda: time.time() - 3600.0)  # the clock was an hour slow when dockmend last ran
print(round(Clock().moved_since(before.stamp())))
"""
"""Prints by how many seconds the clock was set between two runs, as far as dockmend can tell."""


@pytest.mark.parametrize(
    ("told", "moved"), [(True, "3600"), (False, "0")], ids=["as the unit has it", "untold"]
)
def test_a_clock_that_is_set_between_two_runs_is_seen_in_the_units_sandbox(told: bool, moved: str):
    unit = UNIT.read_text()
    assert "ProcSubset=pid" in unit
    variables = [
        line.removeprefix("Environment=")
        for line in unit.splitlines()
        if line.startswith("Environment=")
    ]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    environment = dict(each.replace("%b", boot).split("=", 1) for each in variables) if told else {}
    sandboxed = (
        "mount -t proc -o subset=pid proc /proc && ! test -e /proc/sys && exec "
        + shlex.join([sys.executable, "-c", MOVED])
    )
    run = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", sandboxed],
        check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip
    assert (run.stdout.strip(), run.stderr) == (moved, "")
