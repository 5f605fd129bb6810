"""What differs between two archives of a volume: two snapshots, or a snapshot and the volume as it
is now.

Both are read side by side, the one that lags behind in the order of their paths first (the engine
writes an archive in that order), and an entry is forgotten as soon as its counterpart was met. So
memory follows neither the content nor the number of files, only what differs: at most `LIMIT`
entries of about half a KiB, then the comparison is given up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

import zstandard

from dockmend.errors import NotFound
from dockmend.ownership import Ownership
from dockmend.snapshots.archive_entries import Detail, DetailScanner, Item
from dockmend.snapshots.helper_container import ROOT, HelperSource, helper
from dockmend.snapshots.joined_threads import to_end
from dockmend.snapshots.manifest import Manifest, SnapshotError, shown
from dockmend.snapshots.restore import decompressed
from dockmend.snapshots.snapshot_store import SnapshotStore
from dockmend.snapshots.tar_headers import TarError

LIMIT = 500_000  # entries held at once: differences, and those that wait for their counterpart
BATCH = 1 << 20  # bytes of an archive looked through at once
Side = AsyncGenerator[list[Item], None]
Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path: `before` is None where it was added, `after` where it was removed."""

    path: bytes
    before: Detail | None
    after: Detail | None

    @property
    def kind(self) -> Kind:
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def what(self) -> tuple[str, ...]:
        """What of a changed one differs: type, content, size, mode, owner, link, device,
        capability."""
        before, after = self.before, self.after
        if before is None or after is None:
            return ()
        return tuple(name for name, of in _ASPECTS if of(before) != of(after))

    def row(self) -> dict[str, object]:
        """The row of `--json`: bytes of a path that are not UTF-8 are in hexadecimal, as in a
        manifest."""
        told = {"path": shown(self.path), "change": self.kind, "what": list(self.what)}
        return {**told, "before": _row(self.before), "after": _row(self.after)}

    def line(self) -> str:
        """For a person."""
        if self.before is None or self.after is None:
            detail = self.before or self.after
            assert detail is not None
            return f"{'+' if self.before is None else '-'} {shown(self.path)} ({_told(detail)})"
        parts = [_step(name, _row(self.before) or {}, _row(self.after) or {}) for name in self.what]
        return f"~ {shown(self.path)}: {', '.join(parts)}"


_ASPECTS: tuple[tuple[str, Callable[[Detail], object]], ...] = (
    ("type", lambda detail: detail.kind),
    ("size", lambda detail: detail.size),
    ("content", lambda detail: detail.sha256),
    ("mode", lambda detail: detail.mode),
    ("owner", lambda detail: (detail.uid, detail.gid)),
    ("link", lambda detail: detail.link),
    ("device", lambda detail: detail.device),
    ("capability", lambda detail: detail.capability),
)


@dataclass(slots=True)
class _Comparison:
    """The differences so far, and what waits for its counterpart on either side."""

    waiting: tuple[dict[bytes, Detail], dict[bytes, Detail]] = field(
        default_factory=lambda: ({}, {})
    )
    found: list[Difference] = field(default_factory=list)

    def take(self, side: int, items: list[Item]) -> None:
        own, others = self.waiting[side], self.waiting[1 - side]
        for path, detail in items:
            other = others.pop(path, None)
            if other is None:
                own[path] = detail
            elif other != detail:
                before, after = (detail, other) if side == 0 else (other, detail)
                self.found.append(Difference(path, before, after))
        if len(self.found) + len(own) + len(others) > LIMIT:
            raise SnapshotError(
                f"more than {LIMIT} entries differ: they are not compared further", again=False
            )

    def result(self) -> list[Difference]:
        before, after = self.waiting
        removed = (Difference(path, detail, None) for path, detail in before.items())
        added = (Difference(path, None, detail) for path, detail in after.items())
        return sorted([*self.found, *removed, *added], key=lambda each: _order(each.path))


async def compare(before: Side, after: Side) -> list[Difference]:
    """What turned `before` into `after`, by path. Raises SnapshotError, EngineError, OSError."""
    comparison = _Comparison()
    sides: list[Side | None] = [before, after]
    reached: list[list[bytes]] = [[], []]
    async with aclosing(before), aclosing(after):
        while any(sides):
            behind = (
                1 if sides[0] is None or (sides[1] is not None and reached[1] < reached[0]) else 0
            )
            side = sides[behind]
            assert side is not None
            items = await anext(side, None)
            if items is None:
                sides[behind] = None
            elif items:
                reached[behind] = _order(items[-1][0])
                comparison.take(behind, items)
        return comparison.result()


async def of_snapshot(store: SnapshotStore, manifest: Manifest) -> Side:
    """A snapshot's entries, batch by batch. Raises SnapshotError where the archive is damaged or
    missing."""
    scanner = DetailScanner(manifest.root)
    digest = hashlib.sha256()

    def look(chunks: Iterator[bytes]) -> list[Item] | None:
        data = next(chunks, None)
        if data is None:
            scanner.finish()
            return None
        digest.update(data)
        scanner.feed(data)
        return scanner.taken()

    with await asyncio.to_thread(store.open, manifest.id) as file:
        chunks = decompressed(file)
        try:
            while (items := await to_end(look, chunks)) is not None:
                yield items
        except (zstandard.ZstdError, TarError) as error:
            raise SnapshotError(
                f"the archive of {manifest.id} is damaged: {error}", again=False
            ) from error
    yield scanner.taken()
    if digest.hexdigest() != manifest.sha256:
        raise SnapshotError(
            f"{manifest.id} is not what its manifest says (sha256): it is damaged", again=False
        )


async def of_volume(own: Ownership, volume: str, owner: str) -> Side:
    """The entries of a volume as it is, batch by batch, through a helper that is made for `owner`.

    Raises SnapshotError where there is no such volume or its archive was cut; EngineError.
    """
    engine = own.engine
    try:
        # an engine asked to mount one that does not exist makes it
        await engine.inspect_volume(volume)
    except NotFound:
        raise SnapshotError(f"there is no volume {volume} on this engine", again=False) from None
    scanner = DetailScanner(ROOT)
    async with (
        helper(own, HelperSource("volume", volume), owner, read_only=True) as container,
        engine.get_archive(container, f"/{ROOT}") as chunks,
    ):
        try:
            held = bytearray()
            async for chunk in chunks:
                held += chunk
                if len(held) >= BATCH:
                    await to_end(scanner.feed, bytes(held))
                    held.clear()
                    yield scanner.taken()
            await to_end(scanner.feed, bytes(held))
            scanner.finish()
        except TarError as error:
            raise SnapshotError(
                f"{volume}: {error}. A file that shrinks while it is read does that: try again"
            ) from error
        yield scanner.taken()


def _order(path: bytes) -> list[bytes]:
    """The engine walks a folder by the bytes of its names and goes into each as it comes."""
    return [] if path == b"." else path.split(b"/")


def _row(detail: Detail | None) -> dict[str, object] | None:
    if detail is None:
        return None
    row: dict[str, object] = {
        "type": detail.kind, "mode": f"{detail.mode:04o}", "owner": f"{detail.uid}:{detail.gid}",
        "size": detail.size,
    }  # fmt: skip
    if detail.sha256:
        row["content"] = detail.sha256.hex()
    if detail.kind in ("hard link", "symbolic link"):
        row["link"] = shown(detail.link)
    if detail.device is not None:
        row["device"] = "{}:{}".format(*detail.device)
    if detail.capability:
        row["capability"] = detail.capability.hex()
    return row


def _told(detail: Detail) -> str:
    if detail.kind in ("hard link", "symbolic link"):
        return f"{detail.kind} to {shown(detail.link)}"
    return f"{detail.size} bytes" if detail.kind == "file" else detail.kind


def _step(name: str, before: dict[str, object], after: dict[str, object]) -> str:
    if name == "content":
        return name  # two hashes tell a person nothing; `--json` has them
    return f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
