"""A snapshot for which there is no room: refused before it begins, removed where it would have gone
too far."""

from __future__ import annotations

import dataclasses
import io
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dockmend import disk_reserve
from dockmend.actions import volumes
from dockmend.actions.action import ActionFailed
from dockmend.model import Mount, Volume
from tests.unit.actions.stage import ID, WEB, Script, Stage

MIB = 1024 * 1024
PLACE = "/var/lib/docker/volumes/data/_data"
WRITER = msgspec.structs.replace(WEB, mounts=(Mount("volume", "data", PLACE, "/data"),))
ASKED = SimpleNamespace(volumes=None, consistency="pause", keep=None)
TOTAL = 1000


def archive() -> bytes:
    """A volume with one file of 8 MiB that does not become smaller."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        top = tarfile.TarInfo("v")
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        member = tarfile.TarInfo("v/large")
        member.size = 8 * MIB
        tar.addfile(member, io.BytesIO(os.urandom(member.size)))
    return file.getvalue()


class Reading(Script):
    """The engine of a host on which `web` writes to the volume."""

    content = archive()

    async def connect(self) -> None:
        return None

    async def listing(self) -> Any:
        return SimpleNamespace(whole=lambda: (self.containers[ID],))

    async def inspect_volume(self, name: str) -> Volume:
        return Volume(name)

    async def inspect_raw(self, container: str) -> Any:
        return {"Mounts": [{"Type": "volume", "Name": "data", "Source": PLACE, "RW": True}]}

    async def pause(self, container: str) -> None:
        self._called("pause")
        self.set(state="paused")

    async def unpause(self, container: str) -> None:
        self._called("unpause")
        self.set(state="running")

    async def create(self, name: str, config: Any) -> str:
        self._called("create")
        self.containers["helper"] = msgspec.structs.replace(WEB, id="helper", name=name)
        return "helper"

    @asynccontextmanager
    async def get_archive(self, container: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            for begin in range(0, len(self.content), MIB):
                yield self.content[begin : begin + MIB]

        yield chunks()


def on_a_disk(monkeypatch: pytest.MonkeyPatch, state: Path, free: int) -> None:
    """The state folder's disk has so many MiB free, less what lies in the folder."""

    def usage(folder: Path) -> Any:
        used = sum(each.stat().st_size for each in state.rglob("*") if each.is_file())
        return SimpleNamespace(f_frsize=1, f_blocks=TOTAL * MIB, f_bavail=free * MIB - used)

    monkeypatch.setattr(disk_reserve.DiskReserve.__init__, "__defaults__", (None, usage))


async def snapshot(state: Path, reserve: int | None = None) -> tuple[Reading, str]:
    """The engine afterwards, and what was said."""
    engine = Reading(containers={ID: WRITER})
    context = dataclasses.replace(Stage(engine=engine).context, state=state, reserve=reserve)
    try:
        done = await volumes.snapshot_volume(context, ASKED, WRITER)
    except ActionFailed as failed:
        return engine, f"{failed} (again: {failed.again})"
    return engine, done.detail


def left(state: Path) -> list[str]:
    return [each.name for each in state.rglob("*") if each.is_file()]


async def test_with_less_free_than_the_reserve_no_container_is_held_still_for_it(
    tmp_path, monkeypatch
):
    on_a_disk(monkeypatch, tmp_path, TOTAL // 20 - 1)
    engine, said = await snapshot(tmp_path)
    assert "less than 50 MiB of disk space would be left" in said
    assert "again: True" in said, "there may be room by then"
    assert engine.did("remember") == []
    assert left(tmp_path) == []


async def test_one_that_would_go_below_the_reserve_is_broken_off_and_removed(tmp_path, monkeypatch):
    on_a_disk(monkeypatch, tmp_path, TOTAL // 20 + 4)
    engine, said = await snapshot(tmp_path)
    assert "less than 50 MiB of disk space would be left" in said
    assert engine.did("remember") == ["pause", "create", "remove", "unpause"]
    assert left(tmp_path) == []


async def test_the_setting_says_how_much_is_left(tmp_path, monkeypatch):
    on_a_disk(monkeypatch, tmp_path, 40)
    assert "less than 50 MiB" in (await snapshot(tmp_path))[1]
    assert "less than 39 MiB" in (await snapshot(tmp_path, 39 * MIB))[1]
    assert (await snapshot(tmp_path, 16 * MIB))[1].startswith("snapshot data@")
    assert len(left(tmp_path)) == 2
