"""The engine's own files: what of them counts, and that nothing in them or around them leads astray
or holds us up."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dockmend.engine import container_files
from dockmend.engine.container_files import FILE, ContainerFiles
from dockmend.engine.engine_times import epoch
from dockmend.model import Container

ID = "a1" * 32
STARTED, ENDED = "2026-12-01T10:00:00.123456789Z", "2026-12-01T10:05:00.5Z"


def seen(container_id: str = ID, **fields: Any) -> Container:
    told: dict[str, Any] = {"state": "exited", "exit_code": 143}
    told |= {"started_at": epoch(STARTED), "finished_at": epoch(ENDED)}
    return Container(id=container_id, name="web", **(told | fields))


def write(
    root: Path, container_id: str = ID, *, state: dict[str, Any] | None = None, **fields: Any
) -> Path:
    folder = root / "containers" / container_id
    folder.mkdir(parents=True)
    told = {"Running": False, "ExitCode": 143, "StartedAt": STARTED, "FinishedAt": ENDED, "Pid": 0}
    networks = {
        "shop": {"DesiredMacAddress": "02:11:22:33:44:55", "Aliases": None},
        "lane": {"DesiredMacAddress": ""},
    }
    content = {
        "ID": container_id, "State": told | (state or {}), "HasBeenManuallyStopped": True,
        "NetworkSettings": {"Networks": networks | {"none": None}}, "Config": {"Env": ["A=1"]},
    } | fields  # fmt: skip
    (folder / FILE).write_text(json.dumps(content))
    return folder / FILE


async def test_a_file_tells_of_the_run_and_the_end_that_inspect_tells_of(tmp_path: Path) -> None:
    write(tmp_path)
    files = ContainerFiles(tmp_path)
    found = await files.of(seen())
    assert found is not None
    assert found.HasBeenManuallyStopped is True
    assert found.desired_macs == {"shop": "02:11:22:33:44:55", "lane": ""}
    assert files.trouble == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"started_at": epoch(STARTED) + 1},
        {"finished_at": epoch(ENDED) + 1},
        {"exit_code": 137},
        {"state": "running", "exit_code": None},
    ],
)
async def test_a_file_of_another_run_or_engine_tells_nothing(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    write(tmp_path)
    assert await ContainerFiles(tmp_path).of(seen(**fields)) is None


async def test_a_file_of_another_container_tells_nothing(tmp_path: Path) -> None:
    write(tmp_path, ID="b2" * 32)
    assert await ContainerFiles(tmp_path).of(seen()) is None


async def test_a_running_one_is_compared_without_its_exit_code(tmp_path: Path) -> None:
    write(tmp_path, state={"Running": True, "ExitCode": 0})
    found = await ContainerFiles(tmp_path).of(seen(state="running", exit_code=None))
    assert found is not None


@pytest.mark.parametrize("container_id", ["../" + "a" * 61, "A1" * 32, "a1" * 31, "", "a1" * 33])
async def test_what_is_no_id_opens_nothing(tmp_path: Path, container_id: str) -> None:
    files = ContainerFiles(tmp_path)
    (tmp_path / "containers").mkdir()
    assert await files.of(seen(container_id)) is None
    assert "no container's id" in files.trouble


async def test_no_link_is_followed(tmp_path: Path) -> None:
    real = write(tmp_path / "other")
    own = tmp_path / "containers" / ID
    own.mkdir(parents=True)
    (own / FILE).symlink_to(real)
    assert await ContainerFiles(tmp_path).of(seen()) is None
    (own / FILE).unlink()
    own.rmdir()
    own.symlink_to(real.parent)
    assert await ContainerFiles(tmp_path).of(seen()) is None


async def test_a_pipe_and_a_file_beyond_measure_and_nonsense_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path)
    files = ContainerFiles(tmp_path)
    monkeypatch.setattr(container_files, "MOST_BYTES", 10)
    assert await files.of(seen()) is None
    assert "more than 10 bytes" in files.trouble
    monkeypatch.undo()
    for nonsense in (b"", b"{", b"[]", b'{"ID": 1}', b"\xff", b"[" * 100_000):
        file.write_bytes(nonsense)
        assert await files.of(seen()) is None
    file.unlink()
    os.mkfifo(file)
    assert await files.of(seen()) is None
    assert "not a plain file" in files.trouble


async def test_one_that_cannot_be_read_takes_nothing_from_the_others(tmp_path: Path) -> None:
    other = "b2" * 32
    write(tmp_path)
    write(tmp_path, other).write_text("{")
    files = ContainerFiles(tmp_path)
    assert list(await files.of_all([seen(other), seen(), seen("c3" * 32)])) == [ID]
    assert other in files.trouble


async def test_more_than_are_read_at_once(tmp_path: Path) -> None:
    ids = [f"{number:064x}" for number in range(2 * container_files.AT_ONCE + 1)]
    for each in ids:
        write(tmp_path, each)
    assert list(await ContainerFiles(tmp_path).of_all(map(seen, ids))) == ids


async def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    files, answers = ContainerFiles(tmp_path), threading.Event()
    real, asked = container_files._read, []

    def hangs(*arguments: Any) -> Any:
        asked.append(arguments)
        answers.wait()
        return real(*arguments)

    monkeypatch.setattr(container_files, "_read", hangs)
    monkeypatch.setattr(container_files, "DEADLINE", 0.01)
    assert await files.of(seen()) is None
    assert await files.of(seen()) is None  # at once: no second thread waits for that disk
    assert len(asked) == 1
    assert "did not answer" in files.trouble
    answers.set()
    assert files._hanging is not None
    files._hanging.join()
    monkeypatch.setattr(container_files, "DEADLINE", 5.0)
    assert await files.of(seen()) is not None
    assert files.trouble == ""


async def test_when_the_engine_began(tmp_path: Path) -> None:
    files = ContainerFiles(tmp_path)
    assert await files.engine_started_at() == 0.0
    (tmp_path / "runtimes").mkdir()
    os.utime(tmp_path / "runtimes", (1000.5, 1000.5))
    assert await files.engine_started_at() == 1000.5
