"""copy to the host: whatever a container does to the folder meanwhile, nothing is written outside
of it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.actions.copy_files import Bounded, pack, staging, unpack
from dockmend.disk_reserve import DiskReserve

ASIDE = staging("i1")
MIB = 1 << 20


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode, made.mtime = kind, link, size, 0o4777, 1000
    return made


def archive(*members: tarfile.TarInfo) -> io.BytesIO:
    spool = io.BytesIO()
    with tarfile.open(fileobj=spool, mode="w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"x" * each.size))
    return spool


USUAL = (
    member("app", tarfile.DIRTYPE), member("app/d", tarfile.DIRTYPE), member("app/d/f1", size=3),
    member("app/d/f2", size=3), member("app/d/l", tarfile.SYMTYPE, "../d/f1"),
    member("app/d/h", tarfile.LNKTYPE, "app/d/f1"),
    member("app/d/e", tarfile.DIRTYPE), member("app/d/e/f3", size=3), member("app/z", size=3),
)  # fmt: skip


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "e").mkdir()
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def test_what_is_copied(target: Path) -> None:
    unpack(archive(*USUAL), target, ASIDE, MIB)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "app", "app/d", "app/d/e", "app/d/e/f3", "app/d/f1", "app/d/f2", "app/d/h", "app/d/l",
        "app/z",
    ]  # fmt: skip
    assert (target / "app/d/l").readlink() == Path("../d/f1")
    assert (target / "app/d/h").read_bytes() == b"xxx"
    seen = (target / "app/d/f2").stat()
    assert (seen.st_mode & 0o7777, seen.st_mtime) == (0o755, 1000)


@pytest.mark.parametrize("step", range(40))
def test_a_folder_that_is_swapped_for_a_link_at_any_step_leads_nowhere(
    target: Path, step: int
) -> None:
    folder, outside = target / ASIDE / "app" / "d", target.parent / "outside"

    class AtStep(io.BytesIO):
        """A spool, of which each use from the moment on at which the folder is there is a step."""

        count = 0

        def _use(self) -> None:
            if folder.is_dir() and not folder.is_symlink():
                if self.count == step:
                    folder.rename(target / "stolen")
                    folder.symlink_to(outside)
                self.count += 1

        def read(self, *args: Any) -> bytes:
            self._use()
            return super().read(*args)

        def seek(self, *args: Any) -> int:
            self._use()
            return super().seek(*args)

    said = "cannot copy into"
    try:
        unpack(AtStep(archive(*USUAL).getvalue()), target, ASIDE, MIB)
    except ActionFailed as failed:
        said = str(failed)
    assert sorted(path.name for path in outside.rglob("*")) == ["e"]
    assert said.startswith("cannot copy into")
    assert not (target / ASIDE).exists()


@pytest.mark.parametrize(
    ("evil", "why"),
    [
        ((member("/etc/x", size=1),), "is an absolute path"),
        ((member("../x", size=1),), "leads out of its folder"),
        ((member("a/../../x", size=1),), "leads out of its folder"),
        ((member("l", tarfile.SYMTYPE, "/etc"),), "is an absolute path"),
        ((member("l", tarfile.SYMTYPE, ".."),), "a link that leads out"),
        ((member("a/l", tarfile.SYMTYPE, "../../x"),), "a link that leads out"),
        ((member("l", tarfile.SYMTYPE, "."), member("m", tarfile.SYMTYPE, "l/l/../..")),
            "leads out of its folder"),
        ((member("h", tarfile.LNKTYPE, "/etc/passwd"),), "is an absolute path"),
        ((member("h", tarfile.LNKTYPE, "../x"),), "leads out of its folder"),
        ((member("dev", tarfile.CHRTYPE),), "is a device"),
        ((member("fifo", tarfile.FIFOTYPE),), "is a device"),
        ((member("l", tarfile.SYMTYPE, "d"), member("l/x", size=1)), "Not a directory"),
        ((member("f", size=1), member("f", size=1)), "File exists"),
    ],
)  # fmt: skip
def test_what_would_lead_out_is_refused_and_nothing_stays(
    target: Path, evil: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(ActionFailed, match=why):
        unpack(archive(member("good", size=1), *evil), target, ASIDE, MIB)
    assert list(target.iterdir()) == []


def test_a_time_that_the_host_cannot_hold_is_refused(target: Path) -> None:
    late = member("late")
    late.mtime = 2**63
    late.pax_headers = {"mtime": str(2**63)}
    with pytest.raises(ActionFailed, match="refused"):
        unpack(archive(late), target, staging("i1"), 1 << 20)
    assert list(target.iterdir()) == []


def test_a_fifo_in_the_place_of_a_file_does_not_hold_the_reader(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "f").write_bytes(b"x")
    really = os.open

    def opened(path: Any, *args: Any, **options: Any) -> int:
        if path == "f":
            (target / "f").unlink()
            os.mkfifo(target / "f")
        return really(path, *args, **options)

    monkeypatch.setattr("dockmend.actions.copy_files.os.open", opened)
    spool = io.BytesIO()
    pack(str(target), spool, MIB)
    assert b"target" in spool.getvalue()


def test_folders_without_end_are_refused(target: Path) -> None:
    deep = target
    for _ in range(210):
        deep /= "d"
    deep.mkdir(parents=True)
    with pytest.raises(ActionFailed, match="more than 200 deep"):
        pack(str(target), io.BytesIO(), MIB)


def test_what_is_copied_from_the_host_leaves_the_journal_its_room(target: Path) -> None:
    """It is kept beside the journal on its way."""
    (target / "large").write_bytes(b"x" * 4 * MIB)
    spool = io.BytesIO()

    def usage(folder: Path) -> Any:
        return SimpleNamespace(
            f_frsize=1, f_blocks=1000 * MIB, f_bavail=52 * MIB - len(spool.getvalue())
        )

    with pytest.raises(
        ActionFailed, match=r"cannot copy .*: less than 50 MiB of disk space would be left"
    ):
        pack(str(target), Bounded(spool, DiskReserve(target, None, usage)), 64 * MIB)  # type: ignore[arg-type] # what tarfile uses of a file
    assert len(spool.getvalue()) <= 2 * MIB
