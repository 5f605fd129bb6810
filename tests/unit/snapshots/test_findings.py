"""What a snapshot says it could not keep, and what it cautions of."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dockmend.snapshots import helper_owner, omissions
from dockmend.snapshots.archive_contents import Collected, Contents
from dockmend.snapshots.manifest import NAMES, ArchiveFinding
from dockmend.snapshots.omissions import readable_root, same_host, walk
from dockmend.snapshots.safe_rmtree import clear
from dockmend.snapshots.tar_headers import TarEntry


def entry(name: str, kind: bytes = b"0", link: str = "") -> TarEntry:
    return TarEntry(name.encode("utf-8", "surrogateescape"), kind, 0, link.encode(), 0o644)


def found(findings: list[ArchiveFinding], start: str) -> ArchiveFinding | None:
    return next((each for each in findings if each.what.startswith(start)), None)


@pytest.mark.parametrize(
    ("name", "link", "leaves"),
    [
        ("v/a", "b", False), ("v/a", ".", False), ("v/a", "..", True), ("v/a", "../v/b", False),
        ("v/d/a", "..", False), ("v/d/a", "../..", True), ("v/d/a", "../../v", False),
        ("v/d/a", "../../vv", True), ("v/a", "/etc/passwd", False), ("v/a", "./../../etc", True),
        ("v/d/a", "x/../../../out", True), ("v/a", "x/..", False),
    ],
)  # fmt: skip
def test_relative_links_that_leave_the_volume(name, link, leaves):
    contents = Contents()
    contents.add(entry("v/", b"5"))
    contents.add(entry(name, b"2", link))
    finding = found(contents.cautions(), "relative symbolic links that leave")
    assert (finding is not None) == leaves
    if finding:
        assert finding.names == [f"{name.removeprefix('v/')} -> {link}"]


def test_counts_are_whole_and_names_are_bounded():
    contents = Contents()
    contents.add(entry("v/", b"5"))
    for number in range(NAMES + 5):
        contents.add(entry(f"v/{number}", b"3"))
    finding = found(contents.cautions(), "device nodes")
    assert finding is not None
    assert (finding.count, len(finding.names)) == (NAMES + 5, NAMES)
    assert (contents.files, contents.directories, contents.entries) == (NAMES + 5, 1, NAMES + 6)


def test_a_name_that_is_not_utf_8_is_shown_and_told_of():
    contents = Contents()
    contents.add(entry("v/\udcff", b"0"))
    finding = found(contents.cautions(), "names that are not UTF-8")
    assert finding is not None
    assert finding.names == ["\\xff"]


def test_the_walk_names_what_the_archive_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    (tmp_path / "dense").write_bytes(os.urandom(10_000))
    (tmp_path / "link").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "fifo")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    os.utime(tmp_path, (1, 1))
    looked = walk(tmp_path)
    assert looked.entries == 6  # the root, below, sparse, dense, link, fifo
    assert looked.not_kept == [
        ArchiveFinding("unix sockets", 1, ["below/socket"]),
        ArchiveFinding("sparse files: their holes were filled with zeros", 1, ["sparse"]),
    ]


def test_a_path_that_exists_is_no_proof_of_the_same_host(tmp_path: Path):
    """Every host has the same paths: what counts is the folder of the container made a moment
    ago."""
    mountpoint = tmp_path / "volumes" / "data" / "_data"
    mountpoint.mkdir(parents=True)
    helper = {
        "Id": "c" * 64,
        "GraphDriver": {"Data": {"UpperDir": str(tmp_path / "overlay2" / "x" / "diff")}},
    }
    assert not same_host(helper, str(mountpoint))
    (tmp_path / "containers" / ("c" * 64)).mkdir(parents=True)
    assert same_host(helper, str(mountpoint))
    assert not same_host({"Id": "d" * 64, "GraphDriver": None}, str(mountpoint))
    assert not same_host({}, "")


def test_a_volume_that_is_only_there_while_mounted_is_not_looked_into(tmp_path: Path):
    assert readable_root(str(tmp_path), mounted=False) == tmp_path
    assert readable_root(str(tmp_path), mounted=True) is None
    assert readable_root("/", mounted=True) == Path("/")
    assert readable_root("", mounted=False) is None
    assert readable_root("relative", mounted=False) is None
    assert readable_root(str(tmp_path / "absent"), mounted=False) is None


def test_owners():
    mine = helper_owner.command_owner()
    assert not helper_owner.gone(mine)
    kind, here, pid, _started = mine.split(".")
    assert helper_owner.gone(f"{kind}.{here}.{pid}.1")
    assert helper_owner.gone(f"{kind}.{here}.4194305.1")  # beyond the kernel's highest process id
    # another host's: nothing is known about it
    assert not helper_owner.gone(f"{kind}.elsewhere-1.{pid}.1")
    assert not helper_owner.gone("i0123456789abcde")
    assert not helper_owner.gone("command.x")


@pytest.mark.parametrize("swapped", [b"a", b"a/b"])
def test_a_link_that_takes_a_folders_place_while_it_is_looked_through_leads_nowhere(
    tmp_path: Path, swapped: bytes
) -> None:
    """A container writes into its volume meanwhile: the names of the host's files are not its
    business."""
    root, host = tmp_path / "v", tmp_path / "host"
    (root / "a" / "b" / "c").mkdir(parents=True)
    (host / "b" / "c").mkdir(parents=True)
    for folder in (host, host / "b", host / "b" / "c"):
        (folder / "secret").touch()
    seen = []
    unreadable = Collected("folders")
    for _, _, name, _ in omissions._walk(root, unreadable):
        seen.append(name)
        if name == swapped:
            folder = root / os.fsdecode(swapped)
            folder.rename(tmp_path / "away")
            folder.symlink_to(host if swapped == b"a" else host / "b")
    assert [name for name in seen if b"secret" in name] == []
    assert unreadable.count == 1


def test_what_lies_deeper_than_a_path_reaches_is_said_and_not_looked_into(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("x" * 9, dir_fd=here)
        inner = os.open("x" * 9, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    found = walk(tmp_path)
    clear(tmp_path)
    # the root, and 410 of which the last is named by more than 4,096 bytes
    assert found.entries == 411
    assert [(each.what, each.count) for each in found.not_kept if "folders" in each.what] == [
        ("folders that could not be looked into", 1)
    ]
