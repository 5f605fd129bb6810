"""The helper container through which a volume is read and written: made, never started, always removed.

It is made from an image without a single byte, so nothing is pulled and nothing runs; the engine's archive API then
reads and writes what is mounted in it, also on another host. The application's own container is never asked: while an
archive of it is open, its inspect, exec, restart and kill all hang.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from msgspec import Struct

from dockmend.engine.api import Engine
from dockmend.errors import EngineError, NotFound
from dockmend.model import HELPER_LABEL
from dockmend.snapshots.owner import gone

IMAGE = "dockmend-empty:latest"
ROOT = "v"  # the volume is mounted at /v, so an archive's members are v, v/a, …


class Source(Struct, frozen=True):
    """What is mounted: a volume by name, or a folder of the engine's host by path. `name` names its snapshots."""

    kind: Literal["volume", "bind"]
    name: str
    path: str = ""


@asynccontextmanager
async def helper(engine: Engine, source: Source, owner: str, read_only: bool) -> AsyncIterator[str]:
    """The id of a helper with `source` at /v; the container is removed on leaving. Raises EngineError.

    The name follows from owner and source, so that one that an interrupted call left behind is known again.
    """
    name = _name(owner, source, read_only)
    config = _config(source, owner, read_only)
    try:
        yield await _create(engine, name, config)
    finally:
        with contextlib.suppress(NotFound):
            await engine.remove(name, force=True)


async def remove_helpers(engine: Engine, owner: str | None = None) -> list[str]:
    """Removes the helpers of `owner`, or (None) those of commands that are no more; returns their names."""
    removed = []
    for container in await engine.helpers():
        label = container.labels.get(HELPER_LABEL, "")
        if (label == owner) if owner is not None else gone(label):
            with contextlib.suppress(NotFound):
                await engine.remove(container.id, force=True)
            removed.append(container.name)
    return removed


async def _create(engine: Engine, name: str, config: dict[str, Any]) -> str:
    try:
        return await engine.create(name, config)
    except NotFound:
        await engine.load_empty_image(IMAGE)
    except EngineError as error:
        if error.status != 409:
            raise
        with contextlib.suppress(NotFound):
            await engine.remove(name, force=True)
    return await engine.create(name, config)


def _name(owner: str, source: Source, read_only: bool) -> str:
    digest = hashlib.sha256(f"{owner}\0{source.kind}\0{source.path or source.name}\0{read_only}".encode()).hexdigest()
    return f"dockmend-{re.sub('[^a-zA-Z0-9_.-]', '-', owner)[:80]}-{digest[:8]}"


def _config(source: Source, owner: str, read_only: bool) -> dict[str, Any]:
    mount: dict[str, Any] = {"Target": f"/{ROOT}", "ReadOnly": read_only}
    if source.kind == "volume":
        # NoCopy: a fresh volume must not be filled, nor given an owner, from the image.
        mount |= {"Type": "volume", "Source": source.name, "VolumeOptions": {"NoCopy": True}}
    else:
        mount |= {"Type": "bind", "Source": source.path}
    return {
        "Image": IMAGE,
        "Cmd": ["/never-started"],
        "Labels": {HELPER_LABEL: owner},
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount], "LogConfig": {"Type": "none"}},
    }
