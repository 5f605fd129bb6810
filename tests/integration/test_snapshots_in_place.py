"""Comparing with a snapshot, and restoring one in place, on a real engine: what goes wrong is put
back as it was."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.engine.client import DockerEngine
from dockmend.errors import EngineAway, Unreachable
from dockmend.ownership import Ownership
from dockmend.snapshots import in_place_restore, restore_marker, snapshot_commands
from dockmend.snapshots.archive import take
from dockmend.snapshots.manifest import SnapshotError
from dockmend.snapshots.restore import body
from dockmend.snapshots.snapshot_store import SnapshotStore
from tests.fakes.owning import INSTANCE, FileRows, owning
from tests.integration.exchanging import POINTS
from tests.integration.test_snapshots import described, folder_of, odd_tree, volume
from tests.lab import PrivateEngine

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return snapshot_commands.store_of(tmp_path / "state")


@pytest.fixture
async def client(docker: PrivateEngine) -> AsyncIterator[DockerEngine]:
    one = DockerEngine(docker.url)
    yield one
    await one.close()


def own(client: DockerEngine, store: SnapshotStore) -> Ownership:
    """What commands on this state folder have made."""
    return owning(client, FileRows(store.root.parent / "owned.json"))


def vandalise(root: Path) -> None:
    (root / "plain").write_text("changed")
    (root / "added").mkdir()
    (root / "added" / "file").write_text("added")
    (root / "empty").unlink()
    (root / "setuid").chmod(0o600)
    (root / "relative").unlink()
    (root / "relative").symlink_to("/")
    root.chmod(0o700)


def nothing_left(docker: PrivateEngine, store: SnapshotStore) -> None:
    assert docker.docker("ps", "--all", "--quiet", "--filter", "label=dockmend.helper") == ""
    assert [path.name for path in (store.root / ".in-place").iterdir()] == []
    assert not list(store.root.rglob("*.partial"))
    rows = FileRows(store.root.parent / "owned.json").kept
    assert [row.name for row in rows.values() if row.kind == "volume"] == []


async def in_its_place(client: DockerEngine, store: SnapshotStore, snapshot: str) -> Any:
    return await snapshot_commands.restore_in_place(own(client, store), store, snapshot, time.time)


# --------------------------------------------------------------------------------------------- diff
async def test_a_volume_differs_from_its_snapshot_by_what_was_done_to_it(docker, client, store):
    odd_tree(root := volume(docker, "data"))
    first = await snapshot_commands.create(own(client, store), store, "data", time.time)
    assert await snapshot_commands.diff(store, first.id, None, own(client, store)) == []
    vandalise(root)
    found = {
        os.fsdecode(each.path): each
        for each in await snapshot_commands.diff(store, first.id, None, own(client, store))
    }
    assert {name: (each.kind, each.what) for name, each in found.items()} == {
        ".": ("changed", ("mode",)),
        "added": ("added", ()),
        "added/file": ("added", ()),
        "empty": ("removed", ()),
        "plain": ("changed", ("size", "content")),
        "relative": ("changed", ("owner", "link")),  # the group is the folder's: it has setgid
        "setuid": ("changed", ("mode",)),
    }
    assert found["relative"].line() == "~ relative: owner 0:0 → 0:1001, link plain → /"
    second = await snapshot_commands.create(own(client, store), store, "data", time.time)
    assert [
        each.path for each in await snapshot_commands.diff(store, first.id, second.id, None)
    ] == sorted(os.fsencode(name) for name in found)
    assert await snapshot_commands.diff(store, second.id, second.id, None) == []
    nothing = docker.docker("ps", "--all", "--quiet")
    assert nothing == ""


async def test_what_cannot_be_compared_is_said_and_nothing_is_made(docker, client, store):
    root = volume(docker, "data")
    (root / "a").write_bytes(os.urandom(3 << 20))
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    docker.docker("volume", "rm", "data")
    with pytest.raises(SnapshotError, match="there is no volume data"):
        await snapshot_commands.diff(store, manifest.id, None, own(client, store))
    assert docker.docker("volume", "ls", "-q") == ""
    archive = store.root / "data" / f"{manifest.stem}.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(SnapshotError, match="is damaged"):
        await snapshot_commands.diff(store, manifest.id, manifest.id, None)


# ----------------------------------------------------------------------------------------- in place
async def test_an_odd_tree_comes_back_in_place_and_nothing_else_stays(docker, client, store):
    odd_tree(root := volume(docker, "odd", "--label", "shop=main"))
    before, made = described(root), docker.docker("volume", "inspect", "odd")
    manifest = await snapshot_commands.create(own(client, store), store, "odd", time.time)
    vandalise(root)
    vandalised = described(root)
    docker.docker("create", "--name", "stopped", "-v", "odd:/data", "toolbox")

    restored = await in_its_place(client, store, manifest.id)
    assert described(root) == before
    assert docker.docker("volume", "inspect", "odd") == made
    assert restored.volume == "odd"
    assert f"what odd held before is kept as {restored.safety}" in restored.notes
    assert any(note.startswith("not in the snapshot: 1 unix sockets") for note in restored.notes)
    assert any("gone for good: 2 extended attributes" in note for note in restored.notes)
    nothing_left(docker, store)

    again = await in_its_place(client, store, restored.safety)
    assert described(root) == vandalised
    assert again.safety not in (manifest.id, restored.safety)
    nothing_left(docker, store)


@pytest.mark.parametrize("how", ["running", "paused", "by its folder"])
async def test_refused_while_a_container_uses_it(docker, client, store, how):
    root = volume(docker, "data")
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    (root / "since").write_text("x")
    (root / "within").mkdir()
    mount = f"{root / 'within'}:/data" if how == "by its folder" else "data:/data"
    docker.docker(
        "run", "--detach", "--init", "--name", "app", "-v", mount, "toolbox", "sleep", "1000"
    )
    if how == "paused":
        docker.docker("pause", "app")
    with pytest.raises(SnapshotError, match="data is in use by app: stop it first"):
        await in_its_place(client, store, manifest.id)
    assert (root / "since").exists()
    assert [each.id for each in await snapshot_commands.list_(store)] == [manifest.id]
    nothing_left(docker, store)


async def test_one_that_starts_while_its_content_is_kept_is_seen(
    docker, client, store, monkeypatch
):
    root = volume(docker, "data")
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    (root / "since").write_text("x")

    async def starts(*arguments: Any) -> Any:
        docker.docker(
            "run",
            "--detach",
            "--init",
            "--name",
            "app",
            "-v",
            "data:/data",
            "toolbox",
            "sleep",
            "1000",
        )
        return await take(*arguments)

    monkeypatch.setattr(in_place_restore, "take", starts)
    with pytest.raises(SnapshotError, match="in use by app"):
        await in_its_place(client, store, manifest.id)
    assert (root / "since").exists()
    assert [each.id for each in await snapshot_commands.list_(store)] == [manifest.id]
    nothing_left(docker, store)


async def test_a_missing_volume_is_made_as_it_was(docker, client, store):
    root = volume(docker, "data", "--label", "shop=main")
    (root / "a").write_text("x")
    before = described(root)
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    docker.docker("volume", "rm", "data")
    restored = await in_its_place(client, store, manifest.id)
    assert restored.safety == ""
    assert "data was missing: it was made anew by driver local" in restored.notes
    assert described(folder_of(docker, "data")) == before
    made = json.loads(docker.docker("volume", "inspect", "data"))[0]
    assert made["Labels"].pop("dockmend.restored-by").startswith(f"{INSTANCE}/")
    assert made["Labels"] == {"shop": "main", "dockmend.restored-from": manifest.id}
    nothing_left(docker, store)


async def test_storage_that_outlived_its_volume_is_not_written_over(
    docker, client, store, tmp_path
):
    place = tmp_path / "place"
    place.mkdir()
    (place / "precious").write_text("x")
    options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={place}")
    volume(docker, "share", *options)
    manifest = await snapshot_commands.create(own(client, store), store, "share", time.time)
    docker.docker("volume", "rm", "share")
    (place / "precious").write_text("changed since")
    with pytest.raises(
        SnapshotError, match="was made anew by driver local and holds files already"
    ):
        await in_its_place(client, store, manifest.id)
    with pytest.raises(
        SnapshotError, match=r"lies elsewhere \(its driver's options device, type\)"
    ):
        await in_its_place(client, store, manifest.id)
    assert (place / "precious").read_text() == "changed since"
    nothing_left(docker, store)
    (place / "precious").unlink()
    docker.docker("volume", "rm", "share")
    await in_its_place(client, store, manifest.id)
    assert (place / "precious").read_text() == "x"


async def test_out_of_reach_the_volume_is_made_anew(docker, client, store, monkeypatch):
    odd_tree(root := volume(docker, "data", "--label", "shop=main"))
    before = described(root)
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    vandalise(root)
    monkeypatch.setattr(in_place_restore, "same_host", lambda *_: False)
    docker.docker("create", "--name", "stopped", "-v", "data:/data", "toolbox")
    with pytest.raises(SnapshotError, match="while stopped refer to it: remove those containers"):
        await in_its_place(client, store, manifest.id)
    assert (root / "added").exists()
    nothing_left(docker, store)
    docker.docker("rm", "stopped")
    restored = await in_its_place(client, store, manifest.id)
    assert described(folder_of(docker, "data")) == before
    assert json.loads(docker.docker("volume", "inspect", "data"))[0]["Labels"] == {"shop": "main"}
    assert restored.safety
    nothing_left(docker, store)


async def test_a_damaged_snapshot_touches_nothing(docker, client, store):
    root = volume(docker, "data")
    (root / "a").write_bytes(os.urandom(1 << 20))
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    archive = store.root / "data" / f"{manifest.stem}.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-5])
    (root / "since").write_text("x")
    with pytest.raises(SnapshotError, match="is not whole, so nothing was touched"):
        await in_its_place(client, store, manifest.id)
    assert (root / "since").exists()
    nothing_left(docker, store)


# ------------------------------------------------------------------------------------ it goes wrong
class Fails(DockerEngine):
    """Fails `times` times to take an archive, after its first bytes."""

    times = 1
    error: Exception = OSError(errno.EIO, os.strerror(errno.EIO))

    async def put_archive(
        self, container: str, path: str, body: AsyncIterator[bytes], encoding: str = "identity"
    ) -> None:
        if not self.times:
            return await super().put_archive(container, path, body, encoding)
        self.times -= 1

        async def some() -> AsyncIterator[bytes]:
            yield await anext(body)
            raise self.error

        return await super().put_archive(container, path, some(), encoding)


@pytest.fixture
async def failing(docker: PrivateEngine) -> AsyncIterator[Fails]:
    one = Fails(docker.url)
    yield one
    await one.close()


async def changed(
    docker: PrivateEngine, client: DockerEngine, store: SnapshotStore
) -> tuple[Path, str, dict[str, Any]]:
    """A volume, the id of a snapshot of it, and what it holds since; larger than what is sent at
    once."""
    odd_tree(root := volume(docker, "data"))
    (root / "large").write_bytes(os.urandom(5 << 20))
    manifest = await snapshot_commands.create(own(client, store), store, "data", time.time)
    vandalise(root)
    return root, manifest.id, described(root)


async def test_a_failure_puts_back_what_was_there_and_says_so(docker, client, failing, store):
    root, wanted, before = await changed(docker, client, store)
    with pytest.raises(
        SnapshotError, match=r"could not be restored in place: .*What it held before was put back"
    ) as told:
        await in_its_place(failing, store, wanted)
    assert described(root) == before
    (_, safety) = await snapshot_commands.list_(store)
    assert f"It is also kept as {safety.id}." in str(told.value)
    nothing_left(docker, store)


async def test_a_cancelled_one_puts_back_what_was_there(docker, client, store, monkeypatch):
    root, wanted, before = await changed(docker, client, store)
    cleared = asyncio.Event()
    real = client.put_archive

    async def stalls(*arguments: Any) -> None:
        if cleared.is_set():
            await real(*arguments)
            return
        cleared.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "put_archive", stalls)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(in_its_place(client, store, wanted))
        await cleared.wait()
        task.cancel()
    assert task.cancelled()
    assert described(root) == before
    nothing_left(docker, store)


async def test_a_restore_that_does_not_compare_is_undone(docker, client, store, monkeypatch):
    root, wanted, before = await changed(docker, client, store)

    async def other(store: SnapshotStore, manifest: Any) -> AsyncIterator[bytes]:
        async for chunk in body(store, manifest):
            yield chunk
        if manifest.id == wanted:
            (root / "late").write_text("x")

    monkeypatch.setattr(in_place_restore, "body", other)
    with pytest.raises(
        SnapshotError,
        match=r"entries are not as in the snapshot: .*What it held before was put back",
    ):
        await in_its_place(client, store, wanted)
    assert described(root) == before
    nothing_left(docker, store)


async def test_where_it_cannot_be_put_back_the_next_command_does(docker, client, failing, store):
    root, wanted, before = await changed(docker, client, store)
    failing.times = 2
    with pytest.raises(
        SnapshotError, match=r"What data held before could not be put back: .*; it is kept as"
    ) as told:
        await in_its_place(failing, store, wanted)
    (_, safety) = await snapshot_commands.list_(store)
    assert safety.id in str(told.value)
    with pytest.raises(SnapshotError, match=f"{safety.id} stays"):
        await snapshot_commands.remove(store, safety.id)

    docker.docker(
        "run", "--detach", "--init", "--name", "app", "-v", "data:/data", "toolbox", "sleep", "1000"
    )
    with pytest.raises(
        SnapshotError, match="data is being restored, or a restore of it was interrupted"
    ):
        await snapshot_commands.create(own(client, store), store, "data", time.time)
    assert restore_marker.read(store, "data") is not None
    docker.docker("rm", "--force", "app")
    volume(docker, "other")
    await snapshot_commands.create(own(client, store), store, "other", time.time)
    assert described(root) == before
    nothing_left(docker, store)


async def test_an_engine_that_goes_away_is_told_as_such(
    docker, client, failing, store, monkeypatch
):
    _, wanted, _ = await changed(docker, client, store)
    failing.error = EngineAway("gone")

    async def gone(*_: Any) -> Any:
        if not failing.times:
            raise EngineAway("cannot reach the engine")
        return await client.inspect_volume("data")

    monkeypatch.setattr(failing, "inspect_volume", gone)
    with pytest.raises(Unreachable, match="could not be put back: cannot reach the engine"):
        await in_its_place(failing, store, wanted)
    assert restore_marker.read(store, "data") is not None


# ------------------------------------------------------------------------------------------- killed
def killed_at(
    docker: PrivateEngine, store: SnapshotStore, wanted: str, point: str, far: bool = False
) -> None:
    """A restore in place by another process that is killed once it is there."""
    job = {
        "url": docker.url,
        "state": str(store.root.parent),
        "id": wanted,
        "point": point,
        "far": "yes" if far else "",
    }
    paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "daemon")))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.exchanging", json.dumps(job)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reached\n"
    finally:
        process.kill()
        process.communicate()


def far(point: str) -> bool:
    return point in ("removed", "made")


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_a_second_run_puts_it_right(docker, client, store, point):
    root, wanted, before = await changed(docker, client, store)
    kept_before = len(await snapshot_commands.list_(store))
    killed_at(docker, store, wanted, point, far(point))
    restored = await in_its_place(client, store, wanted)
    assert await snapshot_commands.diff(store, wanted, None, own(client, store)) == []
    assert not (root / "added").exists()
    nothing_left(docker, store)
    # What was there before the first run is still to be had.
    assert len(await snapshot_commands.list_(store)) == kept_before + (2 if point == "kept" else 1)
    await in_its_place(client, store, restored.safety)
    assert described(root) == before


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_another_command_undoes_it(docker, client, store, point):
    root, wanted, before = await changed(docker, client, store)
    killed_at(docker, store, wanted, point, far(point))
    volume(docker, "other")
    await snapshot_commands.create(own(client, store), store, "other", time.time)
    assert described(root) == before
    nothing_left(docker, store)


@pytest.mark.parametrize("point", ["marked", "made", "half sent", "sent"])
async def test_killed_while_a_missing_volume_is_made(docker, client, store, point):
    _, wanted, _ = await changed(docker, client, store)
    docker.docker("volume", "rm", "data")
    killed_at(docker, store, wanted, point)
    volume(docker, "other")
    await snapshot_commands.create(own(client, store), store, "other", time.time)
    assert docker.docker("volume", "ls", "-q") == "other"
    killed_at(docker, store, wanted, point)
    await in_its_place(client, store, wanted)
    assert await snapshot_commands.diff(store, wanted, None, own(client, store)) == []
    nothing_left(docker, store)


async def test_one_at_a_time(docker, client, store):
    root, wanted, before = await changed(docker, client, store)
    with (
        restore_marker.held(store, "data"),
        pytest.raises(SnapshotError, match="being restored by another dockmend"),
    ):
        await in_its_place(client, store, wanted)
    assert described(root) == before
    with contextlib.suppress(FileNotFoundError):
        assert [path.name for path in (store.root / ".in-place").iterdir()] == []
