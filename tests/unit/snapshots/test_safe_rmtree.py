"""Emptying a folder a stranger filled: everything in it goes, nothing outside of it does."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dockmend.snapshots import safe_rmtree
from dockmend.snapshots.safe_rmtree import clear


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def test_an_empty_folder_stays(root):
    assert clear(root) == 0
    assert root.is_dir()


def test_everything_goes_and_links_lead_nowhere(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (root / "file").write_text("x")
    (root / "deep" / "er" / "still").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_text("x")
    (root / "to a folder").symlink_to(outside)
    (root / "deep" / "up").symlink_to("../../outside")
    (root / "dangling").symlink_to("nowhere")
    os.link(outside / "precious", root / "hard")
    os.mkfifo(root / "fifo")
    (root / "deep" / "empty").mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\n")).write_text("x")
    assert clear(root) == 12
    assert list(root.iterdir()) == []
    assert (outside / "precious").read_text() == "x"


def test_depth_costs_nothing(root):
    """Deeper than there are descriptors, than recursion goes, and than a path may be long."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert clear(root) == 3000
    assert list(root.iterdir()) == []


def test_a_folder_that_becomes_a_link_while_it_is_cleared_is_not_followed(
    root, tmp_path, monkeypatch
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (root / "folder").mkdir()
    real = safe_rmtree._unlinked

    def swapped(folder: int, name: str) -> bool:
        gone = real(folder, name)
        if name == "folder" and not gone:
            (root / "folder").rmdir()
            (root / "folder").symlink_to(outside)
        return gone

    monkeypatch.setattr(safe_rmtree, "_unlinked", swapped)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        clear(root)
    assert (outside / "precious").read_text() == "x"


def test_the_root_must_be_a_folder_itself(root, tmp_path):
    (root / "kept").write_text("x")
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        clear(tmp_path / "link")
    assert (root / "kept").exists()


def test_what_is_written_meanwhile_goes_too(root, monkeypatch):
    (root / "first").write_text("x")
    written = threading.Event()
    real = safe_rmtree._unlinked

    def writes(folder: int, name: str) -> bool:
        if not written.is_set():
            written.set()
            (root / "late").write_text("x")
        return real(folder, name)

    monkeypatch.setattr(safe_rmtree, "_unlinked", writes)
    assert clear(root) == 2
    assert list(root.iterdir()) == []
