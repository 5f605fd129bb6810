"""Snapshots by the action, in this process or in one that is killed: `python -m
tests.integration.snapshotting JOB`.

As a process it prints what the action remembers as one line of JSON when that would be on disk, and
`done` at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dockmend.actions.action import ActionContext, ActionResult
from dockmend.engine.client import DockerEngine
from dockmend.model import Container, Network, Volume
from dockmend.rules.action_parameters import Keep, SnapshotVolume
from dockmend.snapshots.snapshot_store import SnapshotStore
from tests.fakes.owning import FileRows
from tests.integration.acting import Acting
from tests.lab import PrivateEngine


@dataclass
class Snapshotting(Acting):
    """Acting with a state folder; `remembered_while`: which containers were paused as it
    remembered."""

    state: Path = Path("/nonexistent")
    bind_roots: tuple[Path, ...] = ()
    remembered_while: list[list[str]] = field(default_factory=list)

    @property
    def store(self) -> SnapshotStore:
        return SnapshotStore(self.state / "snapshots")

    def context(self, subject: Container | Network | Volume) -> ActionContext:
        if isinstance(subject, Volume):
            subject = Container(id="", name=subject.name)
        base = super().context(subject)

        async def remember(undo: Mapping[str, Any]) -> None:
            listing = self.docker.docker(
                "ps", "--filter", "status=paused", "--format", "{{.Names}}"
            ).split()
            self.remembered_while.append(listing)
            await base.remember(undo)

        return replace(base, state=self.state, bind_roots=self.bind_roots, remember=remember)

    async def snapshot(
        self, name: str, consistency: str = "live", last: int | None = None, **params: Any
    ) -> ActionResult:
        keep = Keep(last=last) if last is not None else None
        what = SnapshotVolume(consistency=consistency, keep=keep, **params)  # type: ignore[arg-type]
        return await self.run("snapshot_volume", what, name)

    def left_behind(self) -> list[str]:
        """Helpers and half-written files: there should be none."""
        helpers = self.docker.docker(
            "ps", "--all", "--filter", "label=dockmend.helper", "--format", "{{.Names}}"
        ).split()
        return helpers + [str(path) for path in self.store.root.rglob("*.partial")]


class Told(Snapshotting):
    """Tells what it remembers instead of keeping it."""

    def context(self, subject: Container | Network | Volume) -> ActionContext:
        async def remember(undo: Mapping[str, Any]) -> None:
            print(json.dumps(undo), flush=True)

        return replace(super().context(subject), remember=remember)


async def main(job: dict[str, str]) -> None:
    client = DockerEngine(job["url"])
    try:
        told = Told(PrivateEngine.__new__(PrivateEngine), client, state=Path(job["state"]))
        told.rows = FileRows(told.state / "owned.json")
        await told.snapshot(job["container"], "pause")
    finally:
        await client.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
