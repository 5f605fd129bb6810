"""copy on a real engine: between containers and the host's allowed folders, bounded, never through
a link out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.actions.action import ActionContext, ActionFailed
from dockmend.actions.copy_files import copy, settle, staging
from dockmend.engine.client import DockerEngine
from dockmend.rules.action_parameters import Copy
from tests.integration.acting import INCIDENT, Acting
from tests.lab import PrivateEngine


@pytest.fixture
async def acting(docker: PrivateEngine) -> AsyncIterator[Acting]:
    client = DockerEngine(docker.url)
    await client.connect()
    try:
        yield Acting(docker, client)
    finally:
        await client.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


async def context(acting: Acting, root: Path) -> ActionContext:
    subject = await acting.client.inspect("web")
    return dataclasses.replace(acting.context(subject), bind_roots=(root,), state=root.parent)


async def copied(acting: Acting, root: Path, source: str, target: str, **more: str) -> str:
    ctx = await context(acting, root)
    params = Copy.model_validate({"from": source, "to": target, **more})
    return (await copy(ctx, params, await acting.client.inspect("web"))).detail


async def test_there_and_back(acting: Acting, docker: PrivateEngine, root: Path) -> None:
    docker.run("web")
    docker.run("other")
    docker.docker(
        "exec",
        "web",
        "sh",
        "-c",
        "mkdir -p /data/in; echo one >/data/a; echo two >/data/in/b; ln -s a /data/l",
    )

    detail = await copied(acting, root, "{container.name}:/data", str(root))
    await copied(acting, root, str(root / "data"), "other:/tmp")
    await copied(acting, root, "web:/data/a", "other:/tmp/data/in")

    assert detail.startswith(f"copied web:/data to {root} (")
    assert (root / "data/in/b").read_text() == "two\n"
    assert (root / "data/l").readlink() == Path("a")
    assert (
        docker.docker("exec", "other", "cat", "/tmp/data/l", "/tmp/data/in/b", "/tmp/data/in/a")
        == "one\ntwo\none"
    )
    assert [path.name for path in root.iterdir()] == ["data"]


async def test_what_is_too_large_is_not_copied_and_blocks_nobody(
    acting: Acting, docker: PrivateEngine, root: Path
) -> None:
    docker.run("web")
    docker.docker("exec", "web", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=30")
    (root / "big").write_bytes(bytes(30 << 20))

    for source, target in (("web:/big", str(root)), (str(root / "big"), "web:/tmp")):
        with pytest.raises(ActionFailed, match="larger than the step's `limit` of 10 MiB"):
            await copied(acting, root, source, target, limit="10m")

    assert [path.name for path in root.iterdir()] == ["big"]
    await asyncio.wait_for(acting.client.restart("web"), 30)


@pytest.mark.parametrize("evil", ["ln -s /etc/passwd /data/x", "ln -s ../../../../etc /data/x"])
async def test_links_that_lead_out_are_refused_on_the_host(
    acting: Acting, docker: PrivateEngine, root: Path, evil: str
) -> None:
    docker.run("web")
    docker.docker("exec", "web", "sh", "-c", f"mkdir /data; {evil}")

    with pytest.raises(ActionFailed, match="refused to copy"):
        await copied(acting, root, "web:/data", str(root))

    assert list(root.iterdir()) == []


async def test_links_of_the_host_are_not_followed(
    acting: Acting, docker: PrivateEngine, root: Path
) -> None:
    docker.run("web")
    secret = root.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    (root / "out").symlink_to(secret)
    (root / "folder").mkdir()
    (root / "folder/key").symlink_to(secret / "key")
    (root / "a").symlink_to(secret / "key")
    docker.docker("exec", "web", "sh", "-c", "echo mine >/a")

    for source, target in (
        (str(root / "out"), "web:/tmp"),
        ("web:/a", str(root / "out")),
        ("/etc/passwd", "web:/tmp"),
    ):
        with pytest.raises(ActionFailed, match=r"outside the settings' snapshots\.bind_roots"):
            await copied(acting, root, source, target)
    await copied(acting, root, str(root / "folder"), "web:/tmp")
    await copied(acting, root, "web:/a", str(root))

    assert docker.docker("exec", "web", "readlink", "/tmp/folder/key") == str(secret / "key")
    assert (secret / "key").read_text() == "k"
    assert (root / "a").read_text() == "mine\n"  # the link was replaced


async def test_what_cannot_be_is_said(acting: Acting, docker: PrivateEngine, root: Path) -> None:
    docker.run("web")
    (root / "full").mkdir()
    (root / "full/x").write_text("")
    docker.docker("exec", "web", "mkdir", "/full")

    for source, target, why in (
        ("nope:/a", "web:/tmp", "no container"),
        ("web:/nowhere", "web:/tmp", "there is no /nowhere in web"), ("a", "web:/tmp", "neither"),
        (str(root), str(root), "in a container"),
        ("web:/full", str(root / "nope"), "cannot be checked"),
        ("web:/full", str(root), "not empty"),
        ("web:/full", "web:/nowhere", "there is no /nowhere in web"),
    ):  # fmt: skip
        with pytest.raises(ActionFailed, match=why):
            await copied(acting, root, source, target)


async def test_a_dead_dockmends_copy_leaves_nothing_beside_its_place(
    acting: Acting, docker: PrivateEngine, root: Path
) -> None:
    docker.run("web")
    (root / staging(INCIDENT)).mkdir()
    (root / staging(INCIDENT) / "half").write_text("")
    ctx = await context(acting, root)
    acting.undo = {"copy": {"to": str(root), "incident": INCIDENT}}

    settled = await settle(ctx, acting.record("copy", await acting.client.inspect("web")))

    assert not settled.done
    assert list(root.iterdir()) == []
