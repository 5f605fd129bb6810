"""The mark of a restore in place: one at a time, whole or not there, known for a leftover by its
lock."""

from __future__ import annotations

import pytest

from dockmend.snapshots import restore_marker, snapshot_commands
from dockmend.snapshots.manifest import SnapshotError
from dockmend.snapshots.restore_marker import RestoreMarker
from dockmend.snapshots.snapshot_store import SnapshotStore


@pytest.fixture
def store(tmp_path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots")


def test_a_mark_is_put_replaced_read_and_ended(store):
    assert restore_marker.read(store, "data") is None
    assert restore_marker.marked(store) == []
    with restore_marker.held(store, "data"):
        restore_marker.put(store, RestoreMarker("data", "data@1"))
        restore_marker.put(store, RestoreMarker("data", "data@1", "data@2"))
        assert restore_marker.read(store, "data") == RestoreMarker("data", "data@1", "data@2")
        assert restore_marker.marked(store) == ["data"]
        assert restore_marker.needed(store) == {"data@2": "data"}
        restore_marker.end(store, "data")
        restore_marker.end(store, "data")
    assert restore_marker.marked(store) == []
    assert list(store.root.rglob("*data*")) == []


def test_one_at_a_time_for_each_volume(store):
    with restore_marker.held(store, "data"), restore_marker.held(store, "other"):
        with (
            pytest.raises(SnapshotError, match="data is being restored by another dockmend"),
            restore_marker.held(store, "data"),
        ):
            pass
        restore_marker.put(store, RestoreMarker("data", "data@1"))
    with restore_marker.held(store, "data"):  # the lock is gone, the mark is not
        assert restore_marker.marked(store) == ["data"]


def test_a_mark_that_cannot_be_read_is_said_and_stays(store):
    with restore_marker.held(store, "data"):
        restore_marker.put(store, RestoreMarker("data", "data@1"))
    restore_marker.place(store, "data").write_bytes(b"{")
    with pytest.raises(SnapshotError, match=r"in-place/data: .*Look at the volume"):
        restore_marker.read(store, "data")
    assert restore_marker.place(store, "data").exists()


async def test_the_safety_snapshot_of_an_unfinished_restore_cannot_be_removed(store):
    with restore_marker.held(store, "data"):
        restore_marker.put(
            store, RestoreMarker("data", "data@20200101T000000", "data@20200101T000001")
        )
    with pytest.raises(
        SnapshotError, match=r"data@20200101T000001 stays: it is what data held before"
    ):
        await snapshot_commands.remove(store, "data@20200101T000001")


def test_the_stores_own_cleaning_leaves_marks_alone(store):
    with restore_marker.held(store, "data"):
        restore_marker.put(store, RestoreMarker("data", "data@1"))
        assert store.clean() == []
        assert store.snapshots() == []
    assert restore_marker.marked(store) == ["data"]
