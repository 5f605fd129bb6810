"""A restore in place that comes to a point and stays there, to be killed: `python -m
tests.integration.exchanging JOB`.

It prints `reached` at that point and never goes on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.engine.client import DockerEngine
from dockmend.snapshots import in_place_restore, snapshot_commands
from dockmend.snapshots.archive import take
from dockmend.snapshots.diff import compare
from tests.fakes.owning import FileRows, owning

POINTS = ("kept", "marked", "cleared", "half sent", "sent", "compared", "removed", "made")
"""After: the safety snapshot, the mark, the clearing, the first bytes, all of them, the comparison;
the volume's own removal and making, where its folder is out of reach."""


def reached() -> None:
    print("reached", flush=True)


def stay() -> None:
    reached()
    threading.Event().wait()


class Stalling(DockerEngine):
    """An engine's client that stays at a point."""

    point = ""

    async def put_archive(
        self, container: str, path: str, body: AsyncIterator[bytes], encoding: str = "identity"
    ) -> None:
        async def some() -> AsyncIterator[bytes]:
            yield await anext(body)
            reached()
            await asyncio.Event().wait()

        await super().put_archive(
            container, path, some() if self.point == "half sent" else body, encoding
        )
        if self.point == "sent":
            stay()

    async def remove_volume(self, name: str) -> None:
        await super().remove_volume(name)
        if self.point == "removed":
            stay()

    async def create_volume(self, name: str, *rest: Any, **more: Any) -> Any:
        made = await super().create_volume(name, *rest, **more)
        if self.point == "made":
            stay()
        return made


def stall_after(patch: pytest.MonkeyPatch, what: str) -> None:
    """The function of `in_place` that `what` names stays instead of returning."""
    module, _, name = what.rpartition(".")
    owner = getattr(in_place_restore, module) if module else in_place_restore
    real = getattr(owner, name)

    def stalls(*arguments: Any, **more: Any) -> Any:
        real(*arguments, **more)
        stay()

    patch.setattr(owner, name, stalls)


async def main(job: dict[str, str]) -> None:
    client = Stalling(job["url"])
    client.point = job["point"]
    patch = pytest.MonkeyPatch()
    if job.get("far"):
        patch.setattr(in_place_restore, "same_host", lambda *_: False)
    if job["point"] == "marked":
        stall_after(patch, "restore_marker.put")
    elif job["point"] == "cleared":
        stall_after(patch, "clear")
    elif job["point"] == "kept":

        async def takes(*arguments: Any) -> Any:
            await take(*arguments)
            stay()

        patch.setattr(in_place_restore, "take", takes)
    elif job["point"] == "compared":

        async def compares(*arguments: Any) -> Any:
            await compare(*arguments)
            stay()

        patch.setattr(in_place_restore, "compare", compares)
    own = owning(client, FileRows(Path(job["state"]) / "owned.json"))
    store = snapshot_commands.store_of(Path(job["state"]))
    await snapshot_commands.restore_in_place(own, store, job["id"], time.time)
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
