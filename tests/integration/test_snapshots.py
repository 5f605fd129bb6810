"""Snapshots on a real engine: what goes in comes out, compared file by file, and what cannot is
named."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import struct
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.engine.client import DockerEngine
from dockmend.model import HELPER_LABEL
from dockmend.ownership import STILL_MAKING, Ownership
from dockmend.snapshots import new_volume, snapshot_commands
from dockmend.snapshots.archive import Why, take
from dockmend.snapshots.helper_container import HelperSource, helper, remove_helpers
from dockmend.snapshots.manifest import ArchiveFinding, Manifest, SnapshotError
from dockmend.snapshots.restore import VerifiedSnapshot, clear_restores, restore, verify
from dockmend.snapshots.snapshot_store import SnapshotStore
from tests.fakes.owning import INSTANCE, owning
from tests.lab import PrivateEngine

# cap_net_bind_service, effective
SECURITY_CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")

ACL = struct.pack("<I", 2) + b"".join(  # one more user may read it
    struct.pack("<HHI", tag, rights, number)
    for tag, rights, number in (
        (1, 6, 2**32 - 1),
        (2, 4, 1000),
        (4, 4, 2**32 - 1),
        (16, 4, 2**32 - 1),
        (32, 0, 2**32 - 1),
    )
)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return snapshot_commands.store_of(tmp_path / "state")


@pytest.fixture
async def client(docker: PrivateEngine) -> AsyncIterator[DockerEngine]:
    one = DockerEngine(docker.url)
    yield one
    await one.close()


def volume(docker: PrivateEngine, name: str, *options: str) -> Path:
    """A new volume; its folder on this host."""
    docker.docker("volume", "create", *options, name)
    return folder_of(docker, name)


def folder_of(docker: PrivateEngine, name: str) -> Path:
    return Path(json.loads(docker.docker("volume", "inspect", name))[0]["Mountpoint"])


def found(manifest: Manifest, start: str, where: str = "not_kept") -> ArchiveFinding:
    findings: list[ArchiveFinding] = getattr(manifest, where)
    (finding,) = [each for each in findings if each.what.startswith(start)]
    return finding


def odd_tree(root: Path) -> None:
    """Everything the table in docs says about files, in one tree."""
    (root / "plain").write_bytes(b"hello\n")
    (root / "empty").touch()
    (root / "empty dir").mkdir()
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "linked").write_bytes(os.urandom(100_000))
    os.link(root / "deep" / "er" / "linked", root / "deep" / "hard")
    for name, mode, uid, gid in (
        ("setuid", 0o4755, 0, 0),
        ("setgid", 0o2755, 33, 7),
        ("none", 0, 65534, 2**31 - 2),
    ):
        (root / name).write_text(name)
        os.chown(root / name, uid, gid)
        (root / name).chmod(mode)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    odd_names_and_kinds(root)
    for number, each in enumerate(sorted(root.rglob("*"))):
        os.utime(
            each, ns=(10**18, 1_600_000_000_123_456_789 + number * 10**9), follow_symlinks=False
        )
    os.chown(root, 1000, 1001)
    root.chmod(0o2751)
    os.utime(root, (1_500_000_000, 1_500_000_000))


def odd_names_and_kinds(root: Path) -> None:
    os.mkfifo(root / "fifo", 0o620)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "relative").symlink_to("plain")
    (root / "deep" / "up").symlink_to("../plain")
    (root / "deep" / "leaving").symlink_to("../../../outside")
    (root / "dangling").symlink_to("nowhere")
    os.lchown(root / "dangling", 5, 6)
    Path(os.fsdecode(os.fsencode(root) + b"/not utf-8 \xff\xfe")).write_text("x")
    (root / "ünïcode – ☃").write_text("x")
    (root / ("n" * 255)).write_text("long name")
    long = root.joinpath(*["d" * 200] * 3)
    long.mkdir(parents=True)
    (long / ("f" * 200)).write_text("long path")
    (long / "far").symlink_to("t" * 300)
    (root / "capable").write_text("x")
    os.setxattr(root / "capable", "security.capability", SECURITY_CAPABILITY)
    (root / "attributed").write_text("x")
    os.setxattr(root / "attributed", "user.note", b"lost")
    os.setxattr(root / "attributed", "system.posix_acl_access", ACL)
    with (root / "sparse").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"island")
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.closing(listener):
        here = Path.cwd()
        os.chdir(root / "deep")  # a socket's path has room for 107 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)


def described(root: Path) -> dict[str, dict[str, Any]]:
    """All that should come back of a tree, by name relative to it."""
    links: dict[int, str] = {}
    tree: dict[str, dict[str, Any]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode):
            continue
        entry: dict[str, Any] = {
            "mode": oct(status.st_mode), "owner": (status.st_uid, status.st_gid),
            "mtime": int(status.st_mtime),
        }  # fmt: skip
        if stat.S_ISREG(status.st_mode):
            entry |= {
                "content": path.read_bytes(),
                "same as": links.setdefault(status.st_ino, str(path.relative_to(root))),
            }
            with contextlib.suppress(OSError):
                entry["capability"] = os.getxattr(path, "security.capability")
        elif path.is_symlink():
            entry["to"] = str(path.readlink())
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            entry["device"] = status.st_rdev
        tree[os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")] = entry
    return tree


async def test_an_odd_tree_comes_back_as_it_was_and_what_does_not_is_named(docker, client, store):
    odd_tree(root := volume(docker, "odd", "--label", "shop=main"))
    manifest = await snapshot_commands.create(owning(client), store, "odd", time.time)

    assert (await snapshot_commands.verify(store, manifest.id)).problems == ()
    restored = await snapshot_commands.restore(owning(client), store, manifest.id)
    assert restored.volume == f"odd-restored-{manifest.stem}"
    before, after = described(root), described(folder_of(docker, restored.volume))
    assert before.keys() == after.keys()
    for name, entry in before.items():
        assert after[name] == entry, name
    assert len(before) == manifest.files + manifest.directories > 30

    assert found(manifest, "unix sockets").names == ["deep/socket"]
    assert found(manifest, "extended attributes").names == [
        "attributed: user.note",
        "attributed: system.posix_acl_access",
    ]
    assert found(manifest, "sparse files").names == ["sparse"]
    assert found(manifest, "times of modification").count >= 30
    assert found(manifest, "relative symbolic links that leave", "cautions").names == [
        "deep/leaving -> ../../../outside"
    ]
    assert sorted(found(manifest, "device nodes", "cautions").names) == ["loop", "null"]
    assert found(manifest, "hard links", "cautions").count == 1
    assert found(manifest, "names that are not UTF-8", "cautions").names == ["not utf-8 \\xff\\xfe"]
    assert not [each for each in manifest.cautions if each.what.startswith("the volume had")]
    assert manifest.labels == {"shop": "main"}
    assert client_info(docker) == manifest.engine_id
    assert docker.api("GET", "/containers/json?all=1")[1] == []


def client_info(docker: PrivateEngine) -> str:
    return str(docker.api("GET", "/info")[1]["ID"])


async def test_where_the_volume_cannot_be_looked_into_the_losses_are_stated(
    docker, client, store, monkeypatch
):
    volume(docker, "far")
    monkeypatch.setattr("dockmend.snapshots.archive.same_host", lambda *_: False)
    manifest = await snapshot_commands.create(owning(client), store, "far", time.time)
    assert manifest.not_kept == []
    assert any("unix sockets" in limit for limit in manifest.limits)
    assert any("user.*" in limit for limit in manifest.limits)


async def test_labels_come_back_but_not_the_storage_of_the_original(
    docker, client, store, tmp_path
):
    """A volume over a device or share made a second time with the same options would be the
    original itself."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "precious").write_text("as it is now")
    volume(docker, "share", "--label", "a=b", "--label", "com.docker.volume.anonymous=",
           "--opt", "type=none", "--opt", "o=bind", "--opt", f"device={place}")  # fmt: skip
    manifest = await snapshot_commands.create(owning(client), store, "share", time.time)
    assert manifest.options == {"type": "none", "o": "bind", "device": str(place)}
    assert manifest.files == 1
    (place / "precious").write_text("changed since")
    restored = await snapshot_commands.restore(owning(client), store, manifest.id, "fresh")
    assert (place / "precious").read_text() == "changed since"
    assert (folder_of(docker, "fresh") / "precious").read_text() == "as it is now"
    assert "the original's storage is not written over" in restored.notes[0]
    found = json.loads(docker.docker("volume", "inspect", "fresh"))[0]
    assert found["Options"] in (None, {})
    assert found["Labels"].pop("dockmend.restored-by").startswith(f"{INSTANCE}/")
    assert found["Labels"] == {"a": "b", "dockmend.restored-from": manifest.id}


async def test_an_existing_volume_is_never_written_to(docker, client, store):
    root = volume(docker, "data")
    manifest = await snapshot_commands.create(owning(client), store, "data", time.time)
    (root / "since").write_text("x")
    with pytest.raises(SnapshotError, match="there is a volume data already"):
        await snapshot_commands.restore(owning(client), store, manifest.id, "data")
    assert (root / "since").exists()


async def test_no_volume_is_made_by_asking_for_one_that_is_not_there(docker, client, store):
    with pytest.raises(SnapshotError, match="there is no volume nothing"):
        await snapshot_commands.create(owning(client), store, "nothing", time.time)
    assert docker.docker("volume", "ls", "-q") == ""
    assert await snapshot_commands.list_(store) == []


async def test_a_damaged_archive_is_refused_before_anything_is_made(docker, client, store):
    root = volume(docker, "data")
    (root / "random").write_bytes(os.urandom(1 << 20))
    manifest = await snapshot_commands.create(owning(client), store, "data", time.time)
    path = store.root / "data" / f"{manifest.stem}.tar.zst"
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damage, said in (
        (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "damaged|sha256"),
        (whole[:middle], "damaged"),
        (b"", "damaged"),
        (whole + b"more", "damaged|bytes compressed"),
    ):
        path.write_bytes(damage)
        (problem, *_) = (await snapshot_commands.verify(store, manifest.id)).problems
        with pytest.raises(SnapshotError, match=said):
            await snapshot_commands.restore(owning(client), store, manifest.id)
        assert problem
    path.unlink()
    with pytest.raises(SnapshotError, match=r"the archive of data@.* is missing"):
        await snapshot_commands.restore(owning(client), store, manifest.id)
    assert docker.docker("volume", "ls", "-q") == "data"


async def test_a_failed_restore_leaves_no_volume(docker, client, store, monkeypatch):
    """The archive is exchanged for another sound one after it was verified."""
    root = volume(docker, "data")
    (root / "random").write_bytes(os.urandom(3 << 20))
    first = await snapshot_commands.create(owning(client), store, "data", time.time)
    (root / "random").write_bytes(os.urandom(3 << 20))
    second = await snapshot_commands.create(owning(client), store, "data", time.time)
    folder = store.root / "data"

    def exchanged(store: SnapshotStore, id: str) -> VerifiedSnapshot:
        verified = verify(store, id)
        (folder / f"{second.stem}.tar.zst").replace(folder / f"{first.stem}.tar.zst")
        return verified

    monkeypatch.setattr("dockmend.snapshots.restore.verify", exchanged)
    with pytest.raises(SnapshotError, match="changed while it was restored"):
        await restore(own := owning(client), store, first.id, "fresh")
    assert docker.docker("volume", "ls", "-q") == "data"
    assert docker.api("GET", "/containers/json?all=1")[1] == []
    assert own.objects.rows == {}


async def test_a_restore_that_was_killed_is_cleared_away(docker, client, store):
    """Only what a row proves, also among volumes that say the same of themselves as a restore's."""
    from dockmend.snapshots import helper_owner

    volume(docker, "data")
    alive = helper_owner.command_owner()
    dead = alive.rpartition(".")[0] + ".1"  # this process id, another start
    own = owning(client)
    for name, whose in (
        ("half", dead),
        ("removed", dead),
        ("used", dead),
        ("retold", dead),
        ("busy", alive),
    ):
        await new_volume.make(own, name, "local", {}, {}, "data@1", whose)
    labels = json.loads(docker.docker("volume", "inspect", "half"))[0]["Labels"]
    copied = [each for pair in labels.items() for each in ("--label", "=".join(pair))]
    docker.docker("volume", "create", *copied, "twin")  # no row is of it
    docker.docker("volume", "rm", "removed", "retold")
    docker.docker("volume", "create", *copied, "retold")  # by a person since, of the same name
    docker.run("user", "--volume", "used:/x")
    own.clock = lambda: time.time() + STILL_MAKING
    assert await clear_restores(own, store) == ["half"]
    assert sorted(docker.docker("volume", "ls", "-q").split()) == [
        "busy",
        "data",
        "retold",
        "twin",
        "used",
    ]
    assert sorted(row.name for row in own.objects.rows.values()) == ["busy", "used"]
    docker.docker("rm", "--force", "user")
    assert await clear_restores(own, store) == ["used"]


async def test_a_volume_that_somebody_makes_just_then_is_neither_filled_nor_removed(
    docker, client, store, monkeypatch
):
    volume(docker, "data")
    manifest = await snapshot_commands.create(owning(client), store, "data", time.time)
    own = owning(client)
    claim = own.claim

    async def beaten(*arguments: Any, **more: Any) -> Any:
        row = await claim(*arguments, **more)
        if row.kind == "volume":
            docker.docker(
                "volume", "create", "--label", f"dockmend.restored-from={manifest.id}", row.name
            )
        return row

    monkeypatch.setattr(
        Ownership, "claim", lambda self, *arguments, **more: beaten(*arguments, **more)
    )
    with pytest.raises(SnapshotError, match="there is a volume fresh already"):
        await restore(own, store, manifest.id, "fresh")
    assert sorted(docker.docker("volume", "ls", "-q").split()) == ["data", "fresh"]
    assert list(folder_of(docker, "fresh").iterdir()) == []
    assert own.objects.rows == {}


async def test_helpers_of_dead_commands_are_removed_and_of_living_ones_not(docker, client):
    from dockmend.snapshots import helper_owner

    volume(docker, "data")
    own = owning(client)
    alive, incident = helper_owner.command_owner(), "i0123456789abcde"
    dead = alive.rpartition(".")[0] + ".1"
    async with contextlib.AsyncExitStack() as stack:
        for each in (alive, incident, dead):
            await stack.enter_async_context(
                helper(own, HelperSource("volume", "data"), each, read_only=True)
            )
        assert len(await remove_helpers(own)) == 1
        assert len(await remove_helpers(own, incident)) == 1
        (left,) = docker.api("GET", "/containers/json?all=1")[1]
        assert left["Labels"] == {HELPER_LABEL: f"{INSTANCE}/{alive}"}
        assert left["State"] == "created"
    assert docker.api("GET", "/containers/json?all=1")[1] == []


async def test_nothing_is_a_helper_that_no_row_says_was_made(docker, client):
    from dockmend.snapshots import helper_owner

    dead = helper_owner.command_owner().rpartition(".")[0] + ".1"
    for name, label in (("app", dead), ("other", f"{INSTANCE}/{dead}"), ("third", "i0")):
        docker.run(name, "--label", f"{HELPER_LABEL}={label}")
    own = owning(client)
    assert await remove_helpers(own) == await remove_helpers(own, "i0") == []
    assert {row["State"] for row in docker.api("GET", "/containers/json?all=1")[1]} == {"running"}


async def test_a_file_that_shrinks_while_it_is_read_is_no_snapshot(docker, client, store):
    """The engine ends such an archive early and says nothing (200, a clean end): the end mark is
    what tells."""
    root = volume(docker, "data")
    (root / "a large").write_bytes(os.urandom(64 << 20))
    (root / "b after").write_text("lost if nobody looks")

    class Shrinks(DockerEngine):
        @contextlib.asynccontextmanager
        async def get_archive(
            self, container: str, path: str
        ) -> AsyncIterator[AsyncIterator[bytes]]:
            async with super().get_archive(container, path) as chunks:
                first = await anext(chunks)
                os.truncate(root / "a large", 1 << 20)

                async def rest() -> AsyncIterator[bytes]:
                    yield first
                    async for chunk in chunks:
                        yield chunk

                yield rest()

    shrinking = Shrinks(docker.url)
    try:
        with pytest.raises(SnapshotError, match="was cut short after v/a large"):
            await snapshot_commands.create(owning(shrinking), store, "data", time.time)
    finally:
        await shrinking.close()
    assert await snapshot_commands.list_(store) == []
    assert not list(store.root.rglob("*.partial"))
    assert docker.api("GET", "/containers/json?all=1")[1] == []


async def test_cancelled_in_mid_stream_leaves_nothing(docker, client, store):
    root = volume(docker, "data")
    (root / "large").write_bytes(os.urandom(64 << 20))
    reached = asyncio.Event()

    class Stalls(DockerEngine):
        @contextlib.asynccontextmanager
        async def get_archive(
            self, container: str, path: str
        ) -> AsyncIterator[AsyncIterator[bytes]]:
            async with super().get_archive(container, path) as chunks:

                async def some() -> AsyncIterator[bytes]:
                    for _ in range(8):
                        yield await anext(chunks)
                    reached.set()
                    await asyncio.Event().wait()

                yield some()

    stalling = Stalls(docker.url)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                take(owning(stalling), store, HelperSource("volume", "data"), Why("i1"), time.time)
            )
            await reached.wait()
            task.cancel()
    finally:
        await stalling.close()
    assert task.cancelled()
    assert await snapshot_commands.list_(store) == []
    assert not [path for path in store.root.rglob("*") if path.is_file()]
    assert docker.api("GET", "/containers/json?all=1")[1] == []


@pytest.mark.parametrize(
    "failing", ["Compress.process", "Compress.finish", "Draft.sync", "Draft.commit"]
)
async def test_a_full_disk_is_said_and_leaves_nothing(docker, client, store, monkeypatch, failing):
    root = volume(docker, "data")
    (root / "large").write_bytes(os.urandom(8 << 20))

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"dockmend.snapshots.archive.{failing}", full)
    with pytest.raises(
        SnapshotError, match=r"cannot write the snapshot below .*snapshots: No space left on device"
    ):
        await snapshot_commands.create(owning(client), store, "data", time.time)
    assert list(store.root.iterdir()) == []
    assert docker.api("GET", "/containers/json?all=1")[1] == []


async def test_any_tar_program_reads_it(docker, client, store, tmp_path):
    root = volume(docker, "data")
    (root / "file").write_text("content")
    manifest = await snapshot_commands.create(owning(client), store, "data", time.time)
    plain = tmp_path / "plain.tar"
    import zstandard

    with store.open(manifest.id) as packed, plain.open("wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    with tarfile.open(plain) as tar:
        assert tar.getnames() == ["v", "v/file"]
    assert plain.stat().st_size == manifest.bytes
