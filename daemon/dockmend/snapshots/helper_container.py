"""The helper container through which a volume is read and written: made, never started, always
removed.

It is made from an image without a single byte, so nothing is pulled and nothing runs; the engine's
archive API then reads and writes what is mounted in it, also on another host. The application's own
container is never asked: while an archive of it is open, its inspect, exec, restart and kill all
hang.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from msgspec import Struct

from dockmend.errors import NotFound
from dockmend.owned import OwnedObject
from dockmend.ownership import Ownership
from dockmend.snapshots.helper_owner import gone

IMAGE = "dockmend-empty:latest"
ROOT = "v"  # the volume is mounted at /v, so an archive's members are v, v/a, …


class HelperSource(Struct, frozen=True):
    """What is mounted: a volume by name, or a folder of the engine's host by path. `name` names its
    snapshots."""

    kind: Literal["volume", "bind"]
    name: str
    path: str = ""


@asynccontextmanager
async def helper(
    own: Ownership, source: HelperSource, owner: str, read_only: bool
) -> AsyncIterator[str]:
    """The id of a helper with `source` at /v; the container is removed on leaving. Raises
    EngineError, JournalError.

    `owner`: the incident, or the command (snapshots/helper_owner.py), that it is made for.
    """
    name = f"dockmend-{re.sub('[^a-zA-Z0-9_.-]', '-', owner)[:80]}-{secrets.token_hex(4)}"
    row = await _create(own, name, _config(source, read_only), owner)
    try:
        yield row.object_id
    finally:
        await own.remove(row)


async def remove_helpers(own: Ownership, owner: str | None = None) -> list[str]:
    """Removes the helpers of `owner`, or (None) those of commands that are no more; returns their
    names. Only what the journal proves to be one is removed. Raises EngineError."""
    removed = []
    for row in own.objects.here("helper"):
        if (row.incident == owner) if owner is not None else gone(row.incident):
            removed += [row.name] if await own.remove(row) else []
    return removed


async def _create(own: Ownership, name: str, config: dict[str, Any], owner: str) -> OwnedObject:
    try:
        return await own.create(name, config, owner, "helper")
    except NotFound:
        await own.engine.load_empty_image(IMAGE)
    return await own.create(name, config, owner, "helper")


def _config(source: HelperSource, read_only: bool) -> dict[str, Any]:
    mount: dict[str, Any] = {"Target": f"/{ROOT}", "ReadOnly": read_only}
    if source.kind == "volume":
        # NoCopy: a fresh volume must not be filled, nor given an owner, from the image.
        mount |= {"Type": "volume", "Source": source.name, "VolumeOptions": {"NoCopy": True}}
    else:
        mount |= {"Type": "bind", "Source": source.path}
    return {
        "Image": IMAGE,
        "Cmd": ["/never-started"],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "Mounts": [mount], "LogConfig": {"Type": "none"}},
    }
