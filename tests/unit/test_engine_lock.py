"""One dockmend acts on an engine: the lock, and whose turn it is."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockmend.app.engine_lock import EngineLock, holder_of, holder_path, lock_path
from dockmend.app.leadership import Leadership
from dockmend.cli import doctor_checks
from dockmend.errors import UsageError
from dockmend.processes import started

ENGINE = "ABCD:../EFGH"


def lock(tmp_path: Path, name: str) -> EngineLock:
    return EngineLock(tmp_path / "run", tmp_path / name)


def test_the_second_is_told_who_acts_and_may_when_that_one_ends(tmp_path: Path):
    first, second = lock(tmp_path, "a"), lock(tmp_path, "b")
    assert first.take(ENGINE) is None
    assert first.take(ENGINE) is None  # it is held already
    holder = second.take(ENGINE)
    assert holder is not None
    assert holder.state == str(tmp_path / "a")
    assert holder_of(ENGINE, (tmp_path / "run",)) == holder
    first.release()
    assert second.take(ENGINE) is None


def test_each_engine_has_its_own_lock_within_the_folder(tmp_path: Path):
    assert lock(tmp_path, "a").take(ENGINE) is None
    assert lock(tmp_path, "b").take("another") is None
    assert lock_path(ENGINE, tmp_path).parent == tmp_path / "engines"


def test_the_lock_of_another_engine_is_given_up(tmp_path: Path):
    first, second = lock(tmp_path, "a"), lock(tmp_path, "b")
    first.take(ENGINE)
    first.take("another")
    assert second.take(ENGINE) is None


def test_without_a_runtime_folder_it_lies_in_the_state_folder(tmp_path: Path):
    (tmp_path / "run").write_text("no folder")
    first = lock(tmp_path, "a")
    assert first.take(ENGINE) is None
    assert lock_path(ENGINE, tmp_path / "a").exists()
    (tmp_path / "b").write_text("no folder")
    with pytest.raises(UsageError, match="the lock of the engine cannot be made"):
        lock(tmp_path, "b").take(ENGINE)


def test_a_file_that_was_removed_is_made_and_locked_again(tmp_path: Path):
    first, second = lock(tmp_path, "a"), lock(tmp_path, "b")
    first.take(ENGINE)
    lock_path(ENGINE, tmp_path / "run").unlink()  # systemd removes the folder of a unit that ends
    assert not first.held
    assert second.take(ENGINE) is None
    assert first.take(ENGINE) is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_another_user_cannot_hold_the_lock_and_learns_who_does(tmp_path: Path):
    path = lock_path(ENGINE, tmp_path / "run")
    path.parent.mkdir(parents=True)
    path.touch(mode=0o644)  # as an earlier version made it
    first = lock(tmp_path, "a")
    assert first.take(ENGINE) is None
    tried = """
import fcntl, os, sys
os.setgroups([]), os.setgid(65534), os.setuid(65534)
open(sys.argv[2]).close()
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
except PermissionError:
    print("cannot open it")
except BlockingIOError:
    print("waits for it")
"""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    # This interpreter may lie where another user cannot reach it, so the system's own is run.
    given = [
        "/usr/bin/python3",
        "-S",
        "-c",
        tried,
        str(path),
        str(holder_path(ENGINE, tmp_path / "run")),
    ]
    said = subprocess.run(given, capture_output=True, text=True, check=True)
    assert said.stdout == "cannot open it\n"


def test_nobody_acts_by_the_file_of_one_that_is_no_more(tmp_path: Path):
    path = holder_path(ENGINE, tmp_path / "run")
    path.parent.mkdir(parents=True)
    for content in (b"", b"no json", b'{"pid": 1, "started": "0", "state": "/x"}'):
        path.write_bytes(content)
        assert holder_of(ENGINE, (tmp_path / "run", tmp_path / "none")) is None


# -------------------------------------------------------------- two containers, one folder of locks
@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[EngineLock]:
    """The lock of a dockmend in another container, by whose process ids nothing can be said
    here."""
    one = lock(tmp_path, "a")
    (tmp_path / "a").mkdir()
    assert one.take(ENGINE) is None
    noted = holder_path(ENGINE, tmp_path / "run")
    told = {
        **json.loads(noted.read_bytes()),
        "pid": 1,
        "started": "0",
        "namespace": "1",
        "state": "/its/own/view",
    }
    noted.write_text(json.dumps(told))
    yield one
    one.release()


def test_one_of_another_container_acts_while_it_holds_the_lock(
    elsewhere: EngineLock, tmp_path: Path
):
    holder = holder_of(ENGINE, (tmp_path / "run",))
    assert holder is not None
    assert (holder.elsewhere, holder.doubtful) == (True, False)
    assert (
        holder.told == "process 1, state folder /its/own/view in another container, or on its host"
    )
    [finding] = doctor_checks.acting(holder, tmp_path / "b")
    assert finding.level == "note"
    # it is the same folder, whatever it is called there
    [finding] = doctor_checks.acting(holder, tmp_path / "a")
    assert finding.level == "ok"
    assert lock(tmp_path, "b").take(ENGINE) is not None, "a look at the lock does not take it"
    elsewhere.release()
    assert holder_of(ENGINE, (tmp_path / "run",)) is None


def test_a_process_of_this_container_is_not_taken_for_one_of_another(
    elsewhere: EngineLock, tmp_path: Path
):
    noted = holder_path(ENGINE, tmp_path / "run")
    told = {**json.loads(noted.read_bytes()), "pid": os.getpid(), "started": started(os.getpid())}
    noted.write_text(json.dumps(told))
    elsewhere.release()
    assert holder_of(ENGINE, (tmp_path / "run",)) is None


def test_who_may_not_ask_the_lock_is_told_that_it_is_not_known(
    elsewhere: EngineLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = os.open

    def refused(path: Path, *rest: int) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError
        return own(path, *rest)

    monkeypatch.setattr(os, "open", refused)
    holder = holder_of(ENGINE, (tmp_path / "run",))
    assert holder is not None
    [finding] = doctor_checks.acting(holder, tmp_path / "b")
    assert (finding.level, "not known" in finding.text) == ("note", True)


# -------------------------------------------------------------------------------------------- turns
def test_without_a_lock_it_is_always_its_turn():
    assert Leadership(None).look(ENGINE)


def test_a_second_one_is_built_anew_as_one_that_watches_and_again_when_its_turn_comes(
    tmp_path: Path,
):
    first, second = Leadership(lock(tmp_path, "a")), lock(tmp_path, "b")
    assert first.look(ENGINE)
    thought_it_acts = Leadership(second)
    assert not thought_it_acts.look(ENGINE)
    assert thought_it_acts.over.is_set()

    watches = Leadership(second, thought_it_acts.holder)
    assert str(tmp_path / "a") in watches.why_not
    assert watches.look(ENGINE)
    assert not watches.over.is_set()

    first._lock.release()  # type: ignore[union-attr]
    assert not watches.look(ENGINE)
    assert watches.over.is_set()
    assert (acts := Leadership(second, watches.holder)).look(ENGINE)
    assert acts.why_not == ""


async def test_it_looks_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dockmend.app.leadership.EVERY", 0.01)
    first, second = lock(tmp_path, "a"), lock(tmp_path, "b")
    first.take(ENGINE)
    watches = Leadership(second, second.take(ENGINE))
    watches.look(ENGINE)
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(watches.run())
        first.release()
        await watches.over.wait()
        looking.cancel()
