"""snapshot_volume on a real engine: which volumes, what is held still, and what is left after a
death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.actions.action import REGISTRY, ActionFailed
from dockmend.engine.client import DockerEngine
from dockmend.rules.action_parameters import SnapshotVolume
from dockmend.snapshots.manifest import Manifest
from dockmend.snapshots.restore import verify
from dockmend.snapshots.snapshot_store import Draft
from tests.fakes.owning import FileRows
from tests.integration.acting import INCIDENT
from tests.integration.snapshotting import Snapshotting
from tests.lab import PrivateEngine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def acting(docker: PrivateEngine, tmp_path: Path) -> AsyncIterator[Snapshotting]:
    client = DockerEngine(docker.url)
    try:
        yield Snapshotting(docker, client, rule="nightly", state=tmp_path / "state")
    finally:
        await client.close()


def fill(docker: PrivateEngine, volume: str, mib: int) -> None:
    (folder(docker, volume) / "noise").write_bytes(os.urandom(mib << 20))


def folder(docker: PrivateEngine, volume: str) -> Path:
    return Path(json.loads(docker.docker("volume", "inspect", volume))[0]["Mountpoint"])


def volumes(acting: Snapshotting) -> list[str]:
    return [each.volume for each in acting.store.snapshots()]


async def test_all_volumes_of_a_container_and_no_bind_mount(acting, docker, tmp_path):
    docker.run("web", "-v", "data:/data", "-v", "/anonymous", "-v", f"{tmp_path}:/bound")
    docker.docker("exec", "web", "sh", "-c", "echo hello >/data/file; echo hi >/anonymous/file")

    done = await acting.snapshot("web")

    anonymous = next(
        name for name in docker.docker("volume", "ls", "-q").split() if len(name) == 64
    )
    assert sorted(volumes(acting)) == sorted(["data", anonymous])
    (data,) = [each for each in acting.store.snapshots() if each.volume == "data"]
    assert (data.rule, data.incident, data.consistency, data.files) == (
        "nightly",
        INCIDENT,
        "live",
        1,
    )
    assert data.id in done.detail
    fact = next(each for each in done.facts["snapshots"] if each["volume"] == "data")
    assert fact["bytes"] == data.bytes
    assert acting.left_behind() == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(["shop-*"], ["shop-a", "shop-b"]), (["/-b$/"], ["shop-b"]), (["other"], ["other"]),
        (["/mnt/a"], ["shop-a"]),
     (["shop-a", "*-a"], ["shop-a"]), (["{container.name}-x"], ["web-x"])],
)  # fmt: skip
async def test_volumes_by_name_pattern_and_place(acting, docker, wanted, expected):
    docker.run(
        "web",
        "-v",
        "shop-a:/mnt/a",
        "-v",
        "shop-b:/mnt/b",
        "-v",
        "other:/mnt/c",
        "-v",
        "web-x:/mnt/d",
    )
    await acting.snapshot("web", volumes=wanted)
    assert volumes(acting) == expected


async def test_a_volume_it_does_not_have(acting, docker):
    docker.run("web", "-v", "shop-a:/mnt/a")
    with pytest.raises(ActionFailed, match="web has no volume 'shop-z'; it has: shop-a") as failed:
        await acting.snapshot("web", volumes=["shop-z"])
    assert not failed.value.again
    docker.run("bare")
    with pytest.raises(ActionFailed, match="bare has no volumes"):
        await acting.snapshot("bare")


async def test_a_volume_as_the_subject(acting, docker):
    docker.docker("volume", "create", "alone")
    subject = await acting.client.inspect_volume("alone")
    await REGISTRY["snapshot_volume"].run(
        acting.context(subject), SnapshotVolume(consistency="live"), subject
    )
    assert volumes(acting) == ["alone"]


async def test_pause_holds_every_writer_still_and_nobody_else(acting, docker):
    docker.run("web", "-v", "data:/data")
    docker.run("worker", "-v", "data:/other/place")
    # the volume's folder, past the engine's books
    docker.run("sneaky", "-v", f"{folder(docker, 'data')}:/bind")
    docker.run("reader", "-v", "data:/data:ro")
    docker.run("stranger", "-v", "elsewhere:/data")
    docker.run("ignored", "-v", "data:/data", "--label", "dockmend.ignore=true")
    docker.run("held", "-v", "data:/data")
    docker.docker("pause", "held")
    fill(docker, "data", 8)
    since = docker.now()

    await acting.snapshot("web", "pause")

    def named(action: str) -> list[str]:
        return sorted(
            each["Actor"]["Attributes"]["name"]
            for each in docker.events(since=since, type="container", event=action)
        )

    assert named("pause") == named("unpause") == ["sneaky", "web", "worker"]
    assert acting.remembered_while == [["held"]]  # on disk before the first one was paused
    assert docker.state("held") == "paused"
    (manifest,) = acting.store.snapshots()
    assert sorted(manifest.paused) == ["sneaky", "web", "worker"]
    (caution,) = [each for each in manifest.cautions if "could write" in each.what]
    assert caution.names == ["ignored: labelled dockmend.ignore=true"]
    assert acting.left_behind() == []


async def test_what_was_paused_goes_on_when_the_snapshot_fails(acting, docker, monkeypatch):
    docker.run("web", "-v", "data:/data")
    fill(docker, "data", 8)
    seen: list[str] = []

    def full(self: object, data: bytes) -> None:
        seen.append(docker.state("web"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dockmend.snapshots.archive.Compress.process", full)
    with pytest.raises(ActionFailed, match="No space left on device"):
        await acting.snapshot("web", "pause")
    assert seen == ["paused"]
    assert docker.state("web") == "running"
    assert volumes(acting) == acting.left_behind() == []


async def test_of_several_volumes_all_are_kept_or_none(acting, docker, monkeypatch):
    docker.run("web", "-v", "one:/one", "-v", "two:/two")
    subject = await acting.client.inspect("web")
    record = acting.record("snapshot_volume", subject)
    real = Draft.commit

    def commit(self: Draft, manifest: Manifest) -> None:
        if acting.store.snapshots():
            raise OSError(5, "Input/output error")
        real(self, manifest)

    monkeypatch.setattr(Draft, "commit", commit)
    with pytest.raises(ActionFailed, match="Input/output error"):
        await acting.snapshot("web")
    assert volumes(acting) == []

    monkeypatch.setattr(Draft, "commit", real)
    await acting.snapshot("web")
    first, second = acting.store.snapshots()
    acting.store.remove(second.id)  # as if dockmend had died between the two
    settled = await acting.settle(replace(record, undo=acting.undo))
    assert not settled.done
    assert volumes(acting) == []
    assert first.volume == "one"


async def test_one_that_ends_before_it_is_paused_is_no_obstacle(acting, docker, monkeypatch):
    docker.run("web", "-v", "data:/data")
    docker.run("brief", "-v", "data:/data")
    real = DockerEngine.pause

    async def pause(self: DockerEngine, container: str) -> None:
        if (await self.inspect(container)).name == "brief":
            await docker.adocker("kill", "brief")
        await real(self, container)

    monkeypatch.setattr(DockerEngine, "pause", pause)
    await acting.snapshot("web", "pause")
    assert volumes(acting) == ["data"]
    assert (docker.state("web"), docker.state("brief")) == ("running", "exited")


async def test_bind_mounts_only_when_named_and_below_the_roots(acting, docker, tmp_path):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    for each in (allowed / "site", secret):
        each.mkdir(parents=True)
        (each / "file").write_text("x")
    (allowed / "bent").symlink_to(secret)
    docker.run(
        "web",
        "-v",
        f"{allowed / 'site'}:/site",
        "-v",
        f"{secret}:/secret",
        "-v",
        f"{allowed / 'bent'}:/bent",
    )

    with pytest.raises(ActionFailed, match="bind_roots allows none"):
        await acting.snapshot("web", volumes=["/site"])
    acting.bind_roots = (allowed,)
    with pytest.raises(ActionFailed, match="is outside the settings"):
        await acting.snapshot("web", volumes=["/secret"])
    with pytest.raises(
        ActionFailed, match=rf"is outside the settings' snapshots.bind_roots .it is {secret}"
    ):
        await acting.snapshot("web", volumes=["/bent"])
    assert volumes(acting) == []

    await acting.snapshot("web", volumes=[str(allowed / "site")])
    (manifest,) = acting.store.snapshots()
    assert (manifest.source, manifest.path, manifest.files) == ("bind", str(allowed / "site"), 1)
    assert manifest.volume.startswith("bind-site-")


async def test_a_path_bent_while_it_is_read_is_thrown_away(acting, docker, tmp_path, monkeypatch):
    site, secret = tmp_path / "allowed" / "site", tmp_path / "secret"
    site.mkdir(parents=True)
    secret.mkdir()
    docker.run("web", "-v", f"{site}:/site")
    acting.bind_roots = (tmp_path / "allowed",)
    real = DockerEngine.create

    async def create(self: DockerEngine, name: str | None, config: Any) -> str:
        if not site.is_symlink():
            site.rmdir()
            site.symlink_to(secret)
        return await real(self, name, config)

    monkeypatch.setattr(DockerEngine, "create", create)
    with pytest.raises(ActionFailed, match="is outside the settings"):
        await acting.snapshot("web", volumes=["/site"])
    assert volumes(acting) == acting.left_behind() == []


async def test_keep_leaves_the_newest_of_this_rule(acting, docker):
    docker.run("web", "-v", "data:/data")
    acting.rule = "other"
    await acting.snapshot("web")
    acting.rule = "nightly"
    made = [(await acting.snapshot("web", last=2)).facts for _ in range(4)]
    ids = [fact["snapshots"][0]["id"] for fact in made]
    assert [fact["removed"] for fact in made] == [[], [], [ids[0]], [ids[1]]]
    assert [each.id for each in acting.store.snapshots() if each.rule == "nightly"] == ids[2:]
    assert len(acting.store.snapshots()) == 3


@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.3, 1.0, 3.0])
async def test_killed_at_any_moment_nothing_is_left_paused_or_half_written(acting, docker, after):
    docker.run("web", "-v", "data:/data")
    docker.run("worker", "-v", "data:/data")
    fill(docker, "data", 48)
    subject = await acting.client.inspect("web")
    job = {"url": docker.url, "state": str(acting.state), "container": "web"}
    record = acting.record("snapshot_volume", subject)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.snapshotting", json.dumps(job),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        undo = json.loads(await process.stdout.readline())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after):  # the moment of death is what is tested
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()

    acting.rows = FileRows(acting.state / "owned.json")
    settled = await acting.settle(replace(record, undo=undo))

    assert (docker.state("web"), docker.state("worker")) == ("running", "running")
    assert acting.left_behind() == []
    assert len(volumes(acting)) == int(settled.done)
    if not settled.done:
        await acting.snapshot("web", "pause")
    assert volumes(acting) == ["data"]
    assert verify(acting.store, acting.store.snapshots()[0].id).problems == ()


async def test_an_intent_that_never_began_is_settled_as_not_done(acting, docker):
    docker.run("web", "-v", "data:/data")
    subject = await acting.client.inspect("web")
    settled = await acting.settle(acting.record("snapshot_volume", subject))
    assert not settled.done
    assert settled.detail == "interrupted before the snapshot was whole"
