"""Images and archives, held against Docker Engine itself and against the fake."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from dockmend.errors import NotFound

from .labs import Lab
from .watching import watching


async def test_a_commit_carries_its_labels_and_leaves_the_container_running(lab: Lab) -> None:
    await lab.run("web", labels={"tier": "web"})
    tricky = 'a "quoted" $value \\ with\nlines=and LABEL x=y'
    async with watching(lab) as seen:
        identity = await lab.client.commit(
            "web", "kept", "one", message="why", author="dockmend", labels={"dockmend.rule": tricky}
        )
        await seen.action("unpause")
    assert seen.actions() == ["pause", "commit", "unpause"]
    image = await lab.client.inspect_image("kept:one")
    assert (image.id, image.tags) == (identity, ("kept:one",))
    assert image.labels == {"tier": "web", "dockmend.rule": tricky}
    assert [found.id for found in await lab.client.images({"dockmend.rule": tricky})] == [identity]
    assert await lab.client.images({"dockmend.rule": "other"}) == ()
    assert (await lab.client.inspect("web")).state == "running"
    assert (await lab.client.inspect_raw("web"))["Config"]["Labels"] == {"tier": "web"}
    await lab.client.remove_image("kept:one")
    with pytest.raises(NotFound):
        await lab.client.inspect_image("kept:one")


async def test_an_empty_image_that_is_loaded_many_times_at_once_is_one_image(lab: Lab) -> None:
    names = ("dockmend-empty:latest", "dockmend-empty:other")
    for _ in range(5):
        await asyncio.gather(*(lab.client.load_empty_image(name) for name in names * 4))
        images = [image for image in await lab.client.images() if "toolbox" not in str(image.tags)]
        # Podman puts a host before
        called = sorted([tag.rpartition("/")[2] for tag in image.tags] for image in images)
        assert called == [[name] for name in names]
        for image in images:
            await lab.client.remove_image(image.id)
    await lab.client.load_empty_image(names[0])
    made = await lab.client.create(
        "never-started", {"Image": names[0], "Cmd": ["-"], "NetworkDisabled": True}
    )
    assert (await lab.client.inspect(made)).state == "created"


async def test_a_volume_is_read_and_written_through_a_helper_that_never_starts(lab: Lab) -> None:
    client = lab.client
    await client.create_volume("from", labels={"a": "b"})
    await client.create_volume("to")
    assert (await client.inspect_volume("from")).labels == {"a": "b"}
    content = _tar({"v/hello": b"hello\n" * 100_000, "v/folder/deep": b"deep"})
    await client.put_archive(await _helper(lab, "from"), "/", _pieces(content))
    async with client.get_archive(await _helper(lab, "from"), "/v") as chunks:
        archive = b"".join([chunk async for chunk in chunks])
    assert archive.endswith(bytes(1024))
    target = await _helper(lab, "to")
    await client.put_archive(target, "/", _pieces(archive))
    async with client.get_archive(target, "/v") as chunks:
        again = b"".join([chunk async for chunk in chunks])
    assert _files(again) == {"v/hello": b"hello\n" * 100_000, "v/folder/deep": b"deep"}
    assert {container.state for container in (await client.listing()).containers} == {"created"}


async def test_an_archive_that_is_left_early_holds_nothing(lab: Lab) -> None:
    await lab.client.create_volume("from")
    helper = await _helper(lab, "from")
    await lab.client.put_archive(helper, "/", _pieces(_tar({"v/big": bytes(3_000_000)})))
    async with lab.client.get_archive(helper, "/v") as chunks:
        assert await anext(chunks)
    async with asyncio.timeout(10):
        await lab.client.remove(helper, force=True)
    with pytest.raises(NotFound):
        await lab.client.inspect(helper)


async def test_an_archive_of_what_is_not_there(lab: Lab) -> None:
    helper = await _helper(lab, "from")
    with pytest.raises(NotFound):
        async with lab.client.get_archive(helper, "/nowhere"):
            pass
    with pytest.raises(NotFound):
        await lab.client.put_archive("nope", "/", _pieces(_tar({})))


async def test_a_body_that_breaks_comes_out_as_itself(lab: Lab) -> None:
    helper = await _helper(lab, "to")

    async def broken() -> AsyncIterator[bytes]:
        yield _tar({"v/some": b"x" * 100})[:512]
        raise LookupError("the disk")

    with pytest.raises(LookupError, match="the disk"):
        await lab.client.put_archive(helper, "/", broken())
    await lab.client.ping()


async def _helper(lab: Lab, volume: str) -> str:
    mounts = [{"Type": "volume", "Source": volume, "Target": "/v"}]
    body = {"Image": "toolbox:latest", "Cmd": ["-"], "NetworkDisabled": True}
    return await lab.client.create(None, {**body, "HostConfig": {"Mounts": mounts}})


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def _tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            entry.name: file.read() for entry in tar if (file := tar.extractfile(entry)) is not None
        }
