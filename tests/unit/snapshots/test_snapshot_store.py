"""The store: a snapshot is there whole or not at all, whatever dies when."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dockmend.snapshots.manifest import Manifest, SnapshotError
from dockmend.snapshots.snapshot_store import Draft, SnapshotStore

AT = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def manifest(draft: Draft, **more: object) -> Manifest:
    fields = {
        "taken_at": AT,
        "sha256": "0" * 64,
        "bytes": 3,
        "compressed_bytes": 3,
        "files": 1,
        "directories": 1,
    }
    return Manifest(id=draft.id, volume=draft.volume, **{**fields, **more})  # type: ignore[arg-type]


def make(store: SnapshotStore, volume: str = "data", at: float = AT, **more: object) -> Manifest:
    with store.begin(volume, at) as draft:
        draft.file.write(b"abc")
        made = manifest(draft, taken_at=at, **more)
        draft.commit(made)
    return made


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "state" / "snapshots")


def test_what_was_committed_is_there(store: SnapshotStore):
    made = make(store, rule="nightly")
    assert store.snapshots() == [made]
    assert store.load("data@20231114T221320") == made
    with store.open(made.id) as file:
        assert file.read() == b"abc"
    assert made.row() == {
        "id": "data@20231114T221320", "volume": "data", "time": "2023-11-14T22:13:20Z",
        "bytes": 3, "files": 1, "rule": "nightly", "incident": None,
    }  # fmt: skip
    assert files(store.root) == ["data/20231114T221320.json", "data/20231114T221320.tar.zst"]
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [store.root, *store.root.rglob("*")]
    }
    assert set(modes.values()) == {0o700, 0o600}


def test_nothing_is_there_before_the_commit(store: SnapshotStore):
    with store.begin("data", AT) as draft:
        draft.file.write(b"abc")
        assert store.snapshots() == []
    assert files(store.root) == []


def test_two_in_one_second_have_two_names(store: SnapshotStore):
    first = make(store)
    with store.begin("data", AT) as second, store.begin("data", AT) as third:
        assert [first.id, second.id, third.id] == [
            "data@20231114T221320", "data@20231114T221320-2", "data@20231114T221320-3",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("failing", "number"),
    [("fsync", 1), ("fsync", 2), ("fsync", 3), ("fsync", 4), ("rename", 1), ("rename", 2)],
)
def test_a_full_disk_leaves_nothing(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch, failing: str, number: int
):
    real = {"fsync": os.fsync, "rename": Path.rename}[failing]
    calls = 0

    def fails(*arguments):
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(28, "No space left on device")
        return real(*arguments)  # type: ignore[operator]

    with store.begin("data", AT) as draft:
        monkeypatch.setattr(
            *((os, "fsync", fails) if failing == "fsync" else (Path, "rename", fails))
        )
        draft.file.write(b"abc")
        with pytest.raises(OSError, match="No space"):
            draft.commit(manifest(draft))
    assert files(store.root) == []
    assert store.snapshots() == []


CRASH = """
import os, sys
from pathlib import Path
from tests.unit.snapshots.test_snapshot_store import make
from dockmend.snapshots.snapshot_store import SnapshotStore

root, last = sys.argv[1], int(sys.argv[2])
seen = 0

def step():
    global seen
    seen += 1
    if seen == last:
        os._exit(9)

def audit(event, arguments):
    changes = event in ("open", "os.rename", "os.mkdir", "os.remove")
    if changes and any(root in str(each) for each in arguments):
        step()

real = os.fsync
os.fsync = lambda descriptor: (step(), real(descriptor))
sys.addaudithook(audit)
make(SnapshotStore(Path(root)))
"""


def test_death_at_every_step_leaves_a_whole_snapshot_or_none(tmp_path: Path):
    """Steps are counted from outside (audit events of the interpreter), so a new one is covered
    without being named."""
    died = 0
    for last in range(1, 60):
        store = SnapshotStore(tmp_path / str(last))
        code = subprocess.run(
            [sys.executable, "-c", CRASH, str(store.root), str(last)], check=False
        ).returncode
        for each in store.snapshots():
            with store.open(each.id) as file:
                assert file.read() == b"abc"
        whole = len(store.snapshots())
        store.clean()
        assert len(files(store.root)) == 2 * whole
        assert make(store).volume == "data"  # and the next one goes its way
        if code == 0:
            assert whole == 1
            break
        assert code == 9
        died += 1
    else:
        pytest.fail("the writer never came to its end")
    assert died > 10


def test_clean_leaves_work_in_progress_alone(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch):
    """Also in the moment between the two renames: the lock follows the file."""
    real = Path.rename
    cleaned: list[list[str]] = []

    def rename(path: Path, target: Path) -> Path:
        cleaned.append(store.clean())
        result = real(path, target)
        cleaned.append(store.clean())
        return result

    with store.begin("data", AT) as draft:
        assert store.clean() == []
        monkeypatch.setattr(Path, "rename", rename)
        draft.commit(manifest(draft))
    assert cleaned == [[], [], [], []]
    assert len(store.snapshots()) == 1


def test_clean_removes_leftovers_and_nothing_else(store: SnapshotStore):
    make(store)
    folder = store.root / "data"
    for name in (
        "20200101T000000.tar.zst.partial",
        "20200101T000001.tar.zst",
        "20200101T000002.json.partial",
        "notes.txt",
    ):
        (folder / name).write_text("x")
    (store.root / "other").mkdir()
    assert sorted(store.clean()) == [
        "data/20200101T000000.tar.zst.partial", "data/20200101T000001.tar.zst",
        "data/20200101T000002.json.partial",
    ]  # fmt: skip
    assert files(store.root) == [
        "data/20231114T221320.json",
        "data/20231114T221320.tar.zst",
        "data/notes.txt",
    ]
    assert not (store.root / "other").exists()


def test_keep_counts_one_rule_and_one_volume(store: SnapshotStore):
    mine = [make(store, at=AT + number, rule="nightly").id for number in range(4)]
    make(store, at=AT + 9, rule="other")
    make(store, "logs", at=AT, rule="nightly")
    assert store.keep("nightly", "data", 2) == mine[:2]
    assert [each.id for each in store.snapshots()] == [
        mine[2],
        mine[3],
        "data@20231114T221329",
        "logs@20231114T221320",
    ]


def test_remove(store: SnapshotStore):
    made = make(store)
    store.remove(made.id)
    assert not (store.root / "data").exists()
    with pytest.raises(SnapshotError, match="there is no snapshot data@20231114T221320"):
        store.remove(made.id)


@pytest.mark.parametrize(
    "id",
    [
        "data", "@20231114T221320", "../data@20231114T221320", "data@../../etc",
        "a/b@20231114T221320", ".@20231114T221320", "data@20231114T221320\n",
        "data\n@20231114T221320", "-x@20231114T221320", "x" * 256 + "@20231114T221320",
        "d@\u0662\u0660231114T221320",
    ],
)  # fmt: skip
def test_an_id_never_becomes_a_path(store: SnapshotStore, id: str):
    for method in (store.load, store.open, store.remove):
        with pytest.raises(SnapshotError, match="no snapshot's id"):
            method(id)


@pytest.mark.parametrize("volume", ["", "..", ".restoring", "a/b", "a\0b", "-a", "x" * 256])
def test_a_volume_never_becomes_a_path(store: SnapshotStore, volume: str):
    with pytest.raises(SnapshotError, match="cannot be a volume's name"):
        store.begin(volume, AT)


def test_a_manifest_that_was_spoilt_is_told_of(store: SnapshotStore):
    made = make(store)
    path = store.root / "data" / "20231114T221320.json"
    path.write_text('{"id": 1}')
    with pytest.raises(
        SnapshotError, match="is no manifest of a snapshot: Expected `str`, got `int`"
    ):
        store.load(made.id)
    path.write_bytes(made.encode().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(SnapshotError, match="this one is too old"):
        store.load(made.id)


def test_of_incident(store: SnapshotStore):
    make(store, at=AT - 100, incident="i1")
    later = make(store, at=AT, incident="i1")
    make(store, "logs", at=AT, incident="i2")
    assert store.of_incident("i1", AT - 1) == [later]
