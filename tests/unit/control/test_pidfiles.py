"""Pid files: a command finds the daemon that runs on this host, and no one that another user made
up."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from dockmend.control import pidfiles
from dockmend.control.pidfiles import PidFile, announced, running
from dockmend.processes import pid_namespace, started


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"DOCKMEND_RUNTIME": str(tmp_path / "run")}


def write(environ: dict[str, str], entry: PidFile, name: str = "1.json") -> Path:
    [folder] = pidfiles.folders(environ)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(msgspec.json.encode(entry))
    path.chmod(0o644)
    return path


def test_a_daemon_is_found_while_it_runs(environ, tmp_path):
    with announced(tmp_path / "sock", tmp_path / "state", environ) as written:
        assert written
        assert running(environ) == [
            PidFile(
                os.getpid(), started(os.getpid()), str(tmp_path / "sock"), str(tmp_path / "state"),
                namespace=pid_namespace(),
            )
        ]  # fmt: skip
    assert running(environ) == []


def test_a_daemon_that_was_killed_is_not_found_and_its_file_goes_with_the_next_start(
    environ, tmp_path
):
    # the id now belongs to another process
    later = write(environ, PidFile(os.getpid(), "1", "/sock", "/state"))
    nobody = write(environ, PidFile(2**22 + 1, "5", "/sock", "/state"), "2.json")
    assert running(environ) == []
    with announced(tmp_path / "sock", tmp_path / "state", environ):
        assert not nobody.exists()
        assert not later.exists()


def test_a_daemon_of_another_container_is_none_of_this_and_keeps_its_file(environ, tmp_path):
    there = PidFile(os.getpid(), started(os.getpid()), "/sock", "/state", namespace="1")
    path = write(environ, there, "2.json")
    dead = write(environ, PidFile(2**22 + 1, "5", "/sock", "/state", namespace="1"), "3.json")
    assert running(environ) == []
    with announced(tmp_path / "sock", tmp_path / "state", environ):
        # whether it runs can only be known there
        assert (path.exists(), dead.exists()) == (True, True)
        write(environ, there, f"{os.getpid()}.json")
    assert (path.parent / f"{os.getpid()}.json").exists(), "it is another's by now"


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_may_write_does_not_count(environ, mode):
    path = write(environ, PidFile(os.getpid(), started(os.getpid()), "/evil", "/evil"))
    path.chmod(mode)
    assert running(environ) == []


def test_a_file_of_another_user_does_not_count(environ, monkeypatch):
    write(environ, PidFile(os.getpid(), started(os.getpid()), "/evil", "/evil"))
    own = os.fstat

    def given_away(descriptor: int) -> os.stat_result:
        fields = list(own(descriptor))
        fields[4] = 4711  # st_uid
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", given_away)
    assert running(environ) == []


def test_a_link_and_what_is_no_pid_file_do_not_count(environ, tmp_path):
    path = write(environ, PidFile(os.getpid(), started(os.getpid()), "/evil", "/evil"))
    moved = path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(moved)
    (path.parent / "2.json").write_text("[1, 2")
    (path.parent / "3.json").write_text('{"pid": 1, "started": "x", "socket": "", "state": ""}')
    assert running(environ) == []


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_run(tmp_path):
    (tmp_path / "file").write_text("")
    with announced(
        tmp_path / "sock", tmp_path / "state", {"DOCKMEND_RUNTIME": str(tmp_path / "file")}
    ) as written:
        assert not written


def test_without_a_variable_the_hosts_folder_and_the_sessions_are_read():
    found = pidfiles.folders({"XDG_RUNTIME_DIR": "/run/user/1000"})
    assert found == [Path("/run/dockmend/daemons"), Path("/run/user/1000/dockmend/daemons")]
