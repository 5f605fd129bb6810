"""Processes by their ids: one that is hidden is not taken for one that has ended."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from dockmend import processes
from dockmend.control.pidfiles import PidFile, announced, folders
from dockmend.processes import ended, started
from dockmend.snapshots import helper_owner

NOBODY = 2**22 + 1
"""Beyond the kernel's highest process id."""


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a service with ProtectProc=invisible, of a user of its own."""
    mine = os.getpid()
    monkeypatch.setattr(
        processes, "Path", lambda path: Path("/nowhere") if str(mine) in path else Path(path)
    )


def test_one_that_runs_and_one_that_is_no_more():
    mine = os.getpid()
    assert not ended(mine, started(mine))
    assert ended(mine, "1"), "the id is another's now"
    assert ended(NOBODY, "1")
    assert ended(10**30, "1")


def test_what_a_hidden_command_made_is_not_abandoned(hidden: None):
    mine, begun = os.getpid(), "4711"
    assert started(mine) == ""
    assert not ended(mine, begun)
    kind, here, _, _ = helper_owner.command_owner().split(".")
    assert not helper_owner.gone(f"{kind}.{here}.{mine}.{begun}")
    assert helper_owner.gone(f"{kind}.{here}.{NOBODY}.{begun}")


def test_the_pid_file_of_a_hidden_daemon_stays(hidden: None, tmp_path: Path):
    environ = {"DOCKMEND_RUNTIME": str(tmp_path / "run")}
    (folder,) = folders(environ)
    folder.mkdir(parents=True)
    (folder / "other.json").write_bytes(
        msgspec.json.encode(PidFile(os.getpid(), "4711", "/sock", "/state"))
    )
    (folder / "other.json").chmod(0o644)
    with announced(tmp_path / "sock", tmp_path / "state", environ):
        assert (folder / "other.json").exists()
