"""Large files leave the journal room on the disk that they share."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.disk_reserve import RESERVE, DiskReserve
from dockmend.snapshots.archive import Compress

MIB = 1024 * 1024


def disk(total: int, free: int, size: int | None = None) -> DiskReserve:
    """A disk of so many MiB."""
    told: Any = SimpleNamespace(f_frsize=4096, f_blocks=total * 256, f_bavail=free * 256)
    return DiskReserve(Path("/disk"), size, lambda folder: told)


@pytest.mark.parametrize(
    ("total", "free", "more", "room"),
    [
        (100_000, 256, 0, True),
        (100_000, 255, 0, False),
        (100_000, 300, 45 * MIB, False),
        (1_000, 50, 0, True),  # of a small disk a twentieth
        (1_000, 49, 0, False),
        (1_000, 0, 0, False),
    ],
)
def test_a_large_disk_keeps_256_mib_free_and_a_small_one_a_twentieth(
    total: int, free: int, more: int, room: bool
):
    assert RESERVE == 256 * MIB
    if room:
        disk(total, free).require(more)
        return
    with pytest.raises(OSError, match="free some space") as caught:
        disk(total, free).require(more)
    assert caught.value.errno == errno.ENOSPC


def test_the_setting_stands_over_both():
    disk(1_000, 20, 16 * MIB).require(4 * MIB)
    with pytest.raises(OSError, match="less than 16 MiB of disk space would be left"):
        disk(1_000, 20, 16 * MIB).require(5 * MIB)
    with pytest.raises(OSError, match="less than 2048 MiB"):
        disk(100_000, 2_000, 2048 * MIB).require()


def test_an_archive_ends_where_the_reserve_begins():
    written = io.BytesIO()
    told: Any = SimpleNamespace(f_frsize=1, f_blocks=1000 * MIB, f_bavail=52 * MIB)

    def usage(folder: Path) -> Any:
        told.f_bavail = 52 * MIB - written.tell()
        return told

    stage = Compress(written, DiskReserve(Path("/disk"), None, usage))
    content = os.urandom(40 * MIB)  # does not become smaller
    with pytest.raises(OSError, match="for its journal"):
        in_pieces(stage, content)
    assert written.tell() <= 2 * MIB


def in_pieces(stage: Compress, content: bytes) -> None:
    for begin in range(0, len(content), MIB):
        stage.process(content[begin : begin + MIB])
