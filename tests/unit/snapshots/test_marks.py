"""The mark of a restore in place: one at a time, whole or not there, known for a leftover by its lock."""

from __future__ import annotations

import pytest

from dockmend.snapshots import commands, marks
from dockmend.snapshots.manifest import SnapshotError
from dockmend.snapshots.marks import Mark
from dockmend.snapshots.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "snapshots")


def test_a_mark_is_put_replaced_read_and_ended(store):
    assert marks.read(store, "data") is None
    assert marks.marked(store) == []
    with marks.held(store, "data"):
        marks.put(store, Mark("data", "data@1"))
        marks.put(store, Mark("data", "data@1", "data@2"))
        assert marks.read(store, "data") == Mark("data", "data@1", "data@2")
        assert marks.marked(store) == ["data"]
        assert marks.needed(store) == {"data@2": "data"}
        marks.end(store, "data")
        marks.end(store, "data")
    assert marks.marked(store) == []
    assert list(store.root.rglob("*data*")) == []


def test_one_at_a_time_for_each_volume(store):
    with marks.held(store, "data"), marks.held(store, "other"):
        with (
            pytest.raises(SnapshotError, match="data is being restored by another dockmend"),
            marks.held(store, "data"),
        ):
            pass
        marks.put(store, Mark("data", "data@1"))
    with marks.held(store, "data"):  # the lock is gone, the mark is not
        assert marks.marked(store) == ["data"]


def test_a_mark_that_cannot_be_read_is_said_and_stays(store):
    with marks.held(store, "data"):
        marks.put(store, Mark("data", "data@1"))
    marks.place(store, "data").write_bytes(b"{")
    with pytest.raises(SnapshotError, match=r"in-place/data: .*Look at the volume"):
        marks.read(store, "data")
    assert marks.place(store, "data").exists()


async def test_the_safety_snapshot_of_an_unfinished_restore_cannot_be_removed(store):
    with marks.held(store, "data"):
        marks.put(store, Mark("data", "data@20200101T000000", "data@20200101T000001"))
    with pytest.raises(SnapshotError, match=r"data@20200101T000001 stays: it is what data held before"):
        await commands.remove(store, "data@20200101T000001")


def test_the_stores_own_cleaning_leaves_marks_alone(store):
    with marks.held(store, "data"):
        marks.put(store, Mark("data", "data@1"))
        assert store.clean() == []
        assert store.snapshots() == []
    assert marks.marked(store) == ["data"]
