"""Only a volume that a row of the journal proves a restore's own is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dockmend.errors import NotFound, Permanent, Temporary
from dockmend.model import Volume
from dockmend.ownership import STILL_MAKING
from dockmend.snapshots import new_volume, restore_marker
from dockmend.snapshots.helper_owner import command_owner
from dockmend.snapshots.manifest import SnapshotError
from dockmend.snapshots.restore import clear_restores
from dockmend.snapshots.restore_marker import RestoreMarker
from dockmend.snapshots.snapshot_store import SnapshotStore
from tests.fakes.owning import INSTANCE, Rows, owning


class Volumes:
    """The volumes of an engine. `used`: names that a container refers to; `lost`: answers that do
    not come."""

    def __init__(self) -> None:
        self.all: dict[str, Volume] = {}
        self.used: set[str] = set()
        self.lost = False

    async def create_volume(self, name: str, driver: str, options: Any, labels: Any) -> Volume:
        self.all.setdefault(name, Volume(name, labels=dict(labels)))
        if self.lost:
            raise Temporary("no answer")
        return self.all[name]

    async def inspect_volume(self, name: str) -> Volume:
        if name not in self.all:
            raise NotFound("no such volume", 404)
        return self.all[name]

    async def remove_volume(self, name: str) -> None:
        if name in self.used:
            raise Permanent("volume is in use", 409)
        del self.all[name]


def dead() -> str:
    return command_owner().rpartition(".")[0] + ".1"  # this process id, another start


async def make(own: Any, name: str, owner: str = "") -> Any:
    return await new_volume.make(
        own, name, "local", {}, {"a": "b", new_volume.BY_LABEL: "old"}, "data@1", owner or dead()
    )


async def test_a_volume_is_claimed_before_it_is_made_and_handed_over_when_it_is_whole():
    engine, rows = Volumes(), Rows()
    own = owning(engine, rows)
    row = await make(own, "fresh")
    labels = engine.all["fresh"].labels
    assert labels.keys() == {"a", new_volume.FROM_LABEL, new_volume.BY_LABEL}
    assert labels[new_volume.BY_LABEL] == row.mark
    assert row.mark.startswith(f"{INSTANCE}/")
    assert list(rows.kept.values()) == [row]
    await new_volume.hand_over(own, row)
    assert (rows.kept, own.objects.rows) == ({}, {})
    assert "fresh" in engine.all


async def test_one_that_somebody_made_just_before_is_theirs(tmp_path: Path):
    engine, rows = Volumes(), Rows()
    engine.all["fresh"] = Volume("fresh", labels={new_volume.FROM_LABEL: "data@1"})
    with pytest.raises(SnapshotError, match="there is a volume fresh already"):
        await make(owning(engine, rows), "fresh")
    assert rows.kept == {}
    assert await clear_restores(owning(engine, rows), SnapshotStore(tmp_path)) == []
    assert "fresh" in engine.all


async def test_one_of_which_the_answer_was_lost_is_found_by_its_row(tmp_path: Path):
    engine, rows = Volumes(), Rows()
    engine.lost = True
    with pytest.raises(Temporary):
        await make(owning(engine, rows), "fresh")
    assert await clear_restores(owning(engine, rows), SnapshotStore(tmp_path)) == ["fresh"]
    assert (engine.all, rows.kept) == ({}, {})


async def test_what_dead_restores_left_is_removed_if_a_row_proves_it(tmp_path: Path):
    engine, rows, store = Volumes(), Rows(), SnapshotStore(tmp_path)
    own = owning(engine, rows)
    for name in ("half", "used", "retold", "gone", "settled"):
        await make(own, name)
    await make(own, "busy", command_owner())
    engine.all["twin"] = Volume("twin", labels=engine.all["half"].labels)
    # made anew by a person
    engine.all["retold"] = Volume("retold", labels=engine.all["half"].labels)
    del engine.all["gone"]
    engine.used.add("used")
    (restore_marker.place(store, "settled").parent).mkdir(parents=True)
    restore_marker.put(store, RestoreMarker("settled", "data@1"))
    assert restore_marker.place(store, "settled").exists()
    assert await clear_restores(own, store) == ["half"]
    assert engine.all.keys() == {"used", "retold", "twin", "settled", "busy"}
    assert {row.name for row in rows.kept.values()} == {"used", "gone", "settled", "busy"}
    engine.used.clear()
    own.clock = lambda: max(row.made_at for row in rows.kept.values()) + STILL_MAKING
    assert await clear_restores(own, store) == ["used"]
    assert {row.name for row in rows.kept.values()} == {"settled", "busy"}
