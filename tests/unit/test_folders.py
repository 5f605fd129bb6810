"""Folders that another user can change: nothing of theirs, and nothing that a link of theirs names,
is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend import folders
from dockmend.app.lock import locked
from dockmend.control.pidfiles import announced, running
from dockmend.control.socket_server import listen
from dockmend.errors import JournalError, UsageError
from dockmend.file_trust import Untrusted
from dockmend.journal.migrations import open_beside, open_for_writing

STRANGER = 12345
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make a folder that belongs to another user"
)


def of_a_stranger(folder: Path) -> None:
    os.chown(folder, STRANGER, STRANGER)


def of_a_group(folder: Path) -> None:
    folder.chmod(0o775)


def below_a_stranger(folder: Path) -> None:
    os.chown(folder.parent, STRANGER, STRANGER)


def by_the_link_of_a_stranger(folder: Path) -> None:
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    os.chown(folder, STRANGER, STRANGER, follow_symlinks=False)


Spoil = Callable[[Path], None]
SPOILT = pytest.mark.parametrize(
    "spoil", [of_a_stranger, of_a_group, below_a_stranger, by_the_link_of_a_stranger]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "state"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("root's own")
    path.chmod(0o644)
    return path


def untouched(precious: Path) -> bool:
    return precious.read_text() == "root's own" and precious.stat().st_mode & 0o777 == 0o644


@SPOILT
def test_a_state_folder_that_others_can_change_is_not_used(
    folder: Path, precious: Path, spoil: Spoil
):
    (folder / "lock").symlink_to(precious)
    spoil(folder)
    with (
        pytest.raises(UsageError, match=r"the state folder .* cannot be used: .* `ch(own|mod) "),
        locked(folder),
    ):
        pass
    assert untouched(precious)


def test_nor_is_one_made_below_it(folder: Path):
    of_a_stranger(folder)
    with pytest.raises(UsageError, match="belongs to"), locked(folder / "a" / "b"):
        pass
    assert not list(folder.iterdir())


@SPOILT
@pytest.mark.parametrize("open_it", [open_for_writing, open_beside])
def test_nor_is_a_journal_in_it(
    folder: Path, precious: Path, spoil: Spoil, open_it: Callable[[Path], object]
):
    if open_it is open_beside:
        open_for_writing(folder / "journal.sqlite3")[0].close()
    else:
        (folder / "journal.sqlite3").symlink_to(precious)
    spoil(folder)
    with pytest.raises(JournalError, match="others could have written it"):
        open_it(folder / "journal.sqlite3")
    assert untouched(precious)


@SPOILT
def test_nor_a_command_socket_made_in_it(folder: Path, spoil: Spoil):
    spoil(folder)
    with pytest.raises(UsageError, match=r"the command socket .* cannot be made"):
        listen(folder / "dockmend.sock")
    assert not (folder / "dockmend.sock").exists()


@SPOILT
def test_nor_a_pid_file(folder: Path, tmp_path: Path, spoil: Spoil):
    daemons = folder / "daemons"
    daemons.mkdir()
    spoil(daemons)
    environ = {"DOCKMEND_RUNTIME": str(folder)}
    with announced(tmp_path / "s", tmp_path, environ) as done:
        assert not done
        assert running(environ) == []
    assert not list(daemons.iterdir())


def test_a_socket_may_lie_where_everybody_makes_files_and_a_state_folder_may_not(folder: Path):
    folder.chmod(0o1777)
    listen(folder / "dockmend.sock").close()
    with pytest.raises(UsageError, match="name a folder in it"), locked(folder):
        pass
    with locked(folder / "mine"):
        assert (folder / "mine").stat().st_mode & 0o777 == 0o700


def test_a_link_with_the_name_of_the_draft_is_not_written_through(folder: Path, precious: Path):
    (folder / ".x.new").symlink_to(precious)
    (folder / "x").symlink_to(precious)
    folders.replace(folder / "x", b"new", 0o644)
    assert untouched(precious)
    assert not (folder / "x").is_symlink()
    assert (folder / "x").read_bytes() == b"new"


def test_the_link_of_root_to_another_disk_is_followed(folder: Path):
    (folder / "disk").mkdir(mode=0o700)
    (folder / "link").symlink_to("disk")
    assert folders.made(folder / "link", 0o700) == folder / "link"
    of_a_stranger(folder / "disk")
    with pytest.raises(Untrusted):
        folders.made(folder / "link", 0o700)


def test_a_working_folder_that_is_gone_does_not_matter_to_a_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert folders.made(tmp_path / "state", 0o700).is_dir()
    folders.require_own(tmp_path / "state")
