"""All commands work in one place: state folder and engine of the daemon that runs, whether it
answers or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dockmend.cli.command_context import in_force, state_folder
from dockmend.cli.options import address_of
from dockmend.cli.places import place
from dockmend.control import pidfiles
from dockmend.control.pidfiles import PidFile
from dockmend.engine.discover import TLS, EngineAddress
from tests.unit.cli.test_daemon_commands import IN_FORCE, Scripted, state  # noqa: F401 - a fixture

FILES = TLS(Path("/certs/ca.pem"), Path("/certs/cert.pem"), Path("/certs/key.pem"))
FAR = EngineAddress("https://nas:2376", FILES, "docker context 'nas'")
NEAR = "unix:///of/the/shell.sock"


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell in which docker would ask another engine than the daemon does."""
    monkeypatch.setenv("DOCKER_HOST", NEAR)
    monkeypatch.setenv("DOCKMEND_RUNTIME", str(tmp_path / "run"))
    monkeypatch.delenv("DOCKMEND_STATE", raising=False)
    monkeypatch.delenv("DOCKMEND_SOCKET", raising=False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The state folder of a daemon that runs and does not answer."""
    folder = tmp_path / "of the daemon"
    folder.mkdir()
    found = [PidFile(7, "1", str(folder / "dockmend.sock"), str(folder), FAR.told())]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    return folder


def asked_engine(flags: dict[str, Any]) -> tuple[str, TLS | None]:
    address = address_of(in_force(flags, quiet=True).settings)
    return address.url, address.tls


def test_an_engine_that_the_daemon_found_in_its_own_environment_is_asked_with_its_certificates(
    state,  # noqa: F811
    capsys,
):
    folder, daemon = state
    daemon.answers["in_force"] = {**IN_FORCE, "engine": FAR.url, "engine_found": FAR.told()}
    assert asked_engine({"state": folder}) == (FAR.url, FILES)
    assert asked_engine({"state": folder, "engine": "unix:///named.sock"}) == (
        "unix:///named.sock",
        None,
    )
    assert capsys.readouterr().err == ""


def test_the_daemons_certificates_hold_and_not_those_of_the_shell(state, monkeypatch):  # noqa: F811
    folder, daemon = state
    clear = EngineAddress("tcp://nas:2375")
    daemon.answers["in_force"] = {**IN_FORCE, "engine": clear.url, "engine_found": clear.told()}
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert asked_engine({"state": folder}) == ("tcp://nas:2375", None)


def test_a_daemon_that_does_not_tell_its_engine_is_said(state, capsys):  # noqa: F811
    folder, daemon = state
    daemon.answers["in_force"] = {**IN_FORCE, "engine": None}  # of another version
    assert asked_engine({"state": folder}) == (NEAR, None)
    assert f"does not say which engine it uses; asked is {NEAR}" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{}, {"rules": Path("/mine")}, {"config": "mine.yaml"}])
def test_state_folder_and_engine_stay_those_of_a_daemon_that_does_not_answer(
    more, silent, tmp_path, capsys
):
    (tmp_path / "mine.yaml").write_text("heal: off\n")
    flags = {key: tmp_path / value if key == "config" else value for key, value in more.items()}
    found = in_force(flags).settings
    assert (found.paths.state, state_folder(flags)) == (silent, silent)
    assert asked_engine(flags) == (FAR.url, FILES)
    said = capsys.readouterr().err
    where = (
        f"state folder {silent} (of the dockmend that runs, process 7), engine {FAR.url}, as "
        "the dockmend that runs"
    )
    assert where in said.splitlines()[0]


def test_settings_that_a_flag_names_may_name_another_engine(silent, tmp_path):
    (tmp_path / "mine.yaml").write_text("engine: tcp://other:2375\n")
    found = in_force({"config": tmp_path / "mine.yaml"}, quiet=True).settings
    assert (address_of(found).url, found.paths.state) == ("tcp://other:2375", silent)


def test_the_folder_that_is_named_is_used_also_if_the_daemon_calls_it_otherwise(state):  # noqa: F811
    folder, daemon = state
    daemon.answers["in_force"] = {**IN_FORCE, "state": "/in/its/container"}
    assert in_force({"state": folder}).settings.paths.state == folder


def test_a_socket_alone_leads_to_the_state_folder_of_its_daemon(state, monkeypatch, tmp_path):  # noqa: F811
    folder, daemon = state
    other = tmp_path / "state"
    other.mkdir()
    daemon.answers["in_force"] = {**IN_FORCE, "state": str(other)}
    monkeypatch.setenv("DOCKMEND_SOCKET", str(folder / "dockmend.sock"))
    assert (in_force({}).settings.paths.state, state_folder({})) == (other, other)
    found = [PidFile(7, "1", str(folder / "dockmend.sock"), str(tmp_path))]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    assert (in_force({}).settings.paths.state, state_folder({})) == (tmp_path, tmp_path)


def test_a_state_folder_leads_to_the_socket_of_its_daemon(silent, monkeypatch):
    found = [PidFile(7, "1", "/elsewhere/sock", str(silent)), PidFile(8, "1", "/b/sock", "/b")]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    at = place({"state": silent}, changes=True)
    assert (at.paths.state, at.paths.socket, at.daemon) == (
        silent,
        Path("/elsewhere/sock"),
        found[0],
    )


@pytest.mark.parametrize(
    "command",
    [
        ("create", "v"),
        ("restore", "v@1"),
        ("restore", "v@1", "--in-place", "--yes"),
        ("prune", "--keep", "1"),
    ],
)
def test_with_two_daemons_snapshots_changes_nothing_and_names_both(
    command, silent, dockmend, monkeypatch
):
    found = [*pidfiles.running(os.environ), PidFile(8, "1", "/b/sock", "/b")]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    ran = dockmend("snapshots", *command)
    assert ran.code == 2
    assert f"2 dockmends run here: say which with --state {silent} or --state /b" in ran.err
    ran = dockmend("snapshots", "prune", "--keep", "1", "--dry-run")  # changes nothing
    assert (ran.code, f"this is the one in {silent}" in ran.err) == (0, True)


def test_a_pid_file_says_which_engine_its_daemon_uses(tmp_path):
    environ = {"DOCKMEND_RUNTIME": str(tmp_path)}
    with pidfiles.announced(tmp_path / "sock", tmp_path, environ, FAR.told()):
        [found] = pidfiles.running(environ)
    assert EngineAddress.as_told(found.engine, FAR.source) == FAR
    assert EngineAddress.as_told(EngineAddress("https://a:1").told(), "default") == EngineAddress(
        "https://a:1"
    )
