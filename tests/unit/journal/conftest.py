"""The journals that tests write."""

from __future__ import annotations

import subprocess

import pytest

from dockmend.journal.sqlite import SqliteJournal
from tests.unit.journal.making import NOW


@pytest.fixture
async def journal(tmp_path):
    made = SqliteJournal(tmp_path / "state" / "journal.sqlite3", lambda: NOW)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 512 KiB; needs root, as all of the lab does."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", folder], check=True
    )
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
