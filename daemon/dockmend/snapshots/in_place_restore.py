"""Gives a volume the content of a snapshot: what it held is kept first, and put back should
anything go wrong.

The order is what makes it safe: whatever may refuse is asked first, then what is there is kept and
read back, then the mark is written (restore_marker.py), and only then is anything removed. Then the
volume is compared with the snapshot. Where dockmend dies in between, the next command puts right
what it finds (`settle`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from dockmend.engine.engine_api import Engine, EngineInfo
from dockmend.errors import DockmendError, EngineAway, EngineError, NotFound, Unreachable
from dockmend.model import Container, Volume
from dockmend.owned import OwnedObject
from dockmend.ownership import Ownership
from dockmend.snapshots import new_volume, restore_marker
from dockmend.snapshots.archive import Why, take
from dockmend.snapshots.diff import Difference, compare, of_snapshot, of_volume
from dockmend.snapshots.helper_container import HelperSource, helper
from dockmend.snapshots.joined_threads import to_end
from dockmend.snapshots.manifest import Manifest, SnapshotError
from dockmend.snapshots.omissions import INEXACT, readable_root, same_host
from dockmend.snapshots.restore import Restored, body, verify
from dockmend.snapshots.restore_marker import RestoreMarker
from dockmend.snapshots.safe_rmtree import clear
from dockmend.snapshots.snapshot_store import SnapshotStore

_NO_VOLUME = (
    "There is no such volume, as before (storage that outlives its volume may hold a "
    "part of the snapshot now)."
)
_NAMED = 5  # differences or containers named in a sentence


class StrandedRestore(SnapshotError, Unreachable):
    """The engine went away in the midst of it."""


@dataclass(frozen=True, slots=True)
class InPlaceRestore:
    """What one exchange of contents works with; `owner`: whom the helpers are made for."""

    own: Ownership
    store: SnapshotStore
    owner: str
    info: EngineInfo | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def engine(self) -> Engine:
        return self.own.engine


async def restore_in_place(work: InPlaceRestore, id: str, clock: Callable[[], float]) -> Restored:
    """The volume that `id` is of gets its content, and nothing else stays in it. `clock`: wall
    seconds.

    Raises SnapshotError: refused and nothing was touched, or failed and what was there before was
    put back (or not: the sentence says which); EngineError, OSError before anything was touched.
    """
    manifest = await asyncio.to_thread(work.store.load, id)
    if manifest.source != "volume":
        raise SnapshotError(
            f"{id} is of the folder {manifest.path}, not of a volume: restore it into a fresh one "
            "with --to",
            again=False,
        )
    with restore_marker.held(work.store, manifest.volume):
        await _refuse_users(work, manifest.volume)
        await _whole(work, id)
        mark = await _prepare(work, manifest, clock)
        try:
            await _fill(work, manifest)
        except BaseException as error:
            await _failed(work, mark, error)
            raise
        await _handed_over(work, mark.volume)
        await to_end(restore_marker.end, work.store, mark.volume)
    work.notes.extend(
        f"not in the snapshot: {finding.count} {finding.what}" for finding in manifest.not_kept
    )
    return Restored(manifest, manifest.volume, tuple(work.notes), mark.safety)


async def settle(work: InPlaceRestore, but: str | None = None) -> list[str]:
    """Puts back what volumes held whose exchange was interrupted; returns sentences. One that
    cannot be settled now (a container runs with it) keeps its mark. `but`: a volume that is about
    to be restored anew. Raises EngineAway."""
    told = []
    for volume in await asyncio.to_thread(restore_marker.marked, work.store):
        if volume == but:
            continue
        try:
            with restore_marker.held(work.store, volume):
                mark = restore_marker.read(work.store, volume)
                if mark is not None:
                    await _put_back(work, mark)
                    told.append(f"{volume}: an interrupted restore was undone")
        except EngineAway:
            raise
        except restore_marker.RestoreRunning:
            continue  # it is under way
        except (SnapshotError, EngineError, OSError) as error:
            told.append(f"{volume}: an interrupted restore could not be undone: {error}")
    return told


# ----------------------------------------------------------------------------- before it is touched
async def _prepare(
    work: InPlaceRestore, manifest: Manifest, clock: Callable[[], float]
) -> RestoreMarker:
    """Everything up to the point of no return: the volume is there, can be cleared, and what it
    holds is kept."""
    volume = await _present(work, manifest.volume)
    earlier = await asyncio.to_thread(restore_marker.read, work.store, manifest.volume)
    if earlier is not None and earlier.safety and await _exists(work, earlier.safety):
        return await _taken_up(work, earlier, manifest, volume)
    if earlier is not None and (
        volume is None or any(new_volume.proves(row, volume) for row in _rows(work, volume.name))
    ):
        await _unmake(work, earlier)
        volume = None
    if volume is None:
        return await _made(work, manifest)
    await to_end(restore_marker.end, work.store, volume.name)  # it tells of nothing that is there
    return await _keep(work, volume, manifest.id, clock)


async def _keep(
    work: InPlaceRestore, volume: Volume, id: str, clock: Callable[[], float]
) -> RestoreMarker:
    """What the volume holds is kept and read back; only then is the mark put down."""
    await _folder(work, volume)
    source = HelperSource("volume", volume.name)
    safety = await take(work.own, work.store, source, Why(work.owner), clock, work.info)
    try:
        await _whole(work, safety.id)
        await _refuse_users(work, volume.name)
        mark = RestoreMarker(volume.name, id, safety.id)
        await to_end(restore_marker.put, work.store, mark)
    except BaseException:
        with contextlib.suppress(SnapshotError, OSError):
            await to_end(work.store.remove, safety.id)
        raise
    work.notes.append(f"what {volume.name} held before is kept as {safety.id}")
    for each in safety.not_kept:
        word = "not kept exactly" if each.what in INEXACT else "gone for good"
        work.notes.append(f"{word}: {each.count} {each.what} of what it held")
    work.notes.extend(f"may be lost, of what it held: {limit}" for limit in safety.limits)
    return mark


async def _taken_up(
    work: InPlaceRestore, earlier: RestoreMarker, manifest: Manifest, volume: Volume | None
) -> RestoreMarker:
    """An interrupted restore is done anew; what is kept is what was there before the first one."""
    if volume is not None:
        await _folder(work, volume)
    mark = RestoreMarker(earlier.volume, manifest.id, earlier.safety)
    await to_end(restore_marker.put, work.store, mark)
    work.notes.append(
        f"a restore of {mark.volume} had been interrupted; what it held before that is kept as "
        f"{mark.safety}"
    )
    return mark


async def _made(work: InPlaceRestore, manifest: Manifest) -> RestoreMarker:
    """A volume that is gone is made as it was; it must be without content, since nothing is kept
    then."""
    mark = RestoreMarker(manifest.volume, manifest.id)
    await to_end(restore_marker.put, work.store, mark)
    try:
        await new_volume.make(
            work.own,
            manifest.volume,
            manifest.driver,
            manifest.options,
            manifest.labels,
            manifest.id,
            work.owner,
        )
        empty = await _empty(work, manifest.volume)
    except BaseException as error:
        await _failed(work, mark, error)
        raise
    if not empty:  # its storage outlives it: removing the volume might remove that
        await _handed_over(work, manifest.volume)
        await to_end(restore_marker.end, work.store, manifest.volume)
        raise SnapshotError(
            f"{manifest.volume} was made anew by driver {manifest.driver} and holds files already: "
            "nothing of them was touched. The same command again keeps them in a snapshot and "
            "replaces them",
            again=False,
        )
    work.notes.append(
        f"{manifest.volume} was missing: it was made anew by driver {manifest.driver}"
    )
    return mark


async def _whole(work: InPlaceRestore, id: str) -> None:
    verified = await asyncio.to_thread(verify, work.store, id)
    if verified.problems:
        raise SnapshotError(
            f"{id} is not whole, so nothing was touched: {'; '.join(verified.problems)}",
            again=False,
        )


async def _refuse_users(work: InPlaceRestore, name: str) -> None:
    volume = await _present(work, name) or Volume(name=name)
    users = [each for each in await references(work.engine, volume) if each.running]
    if users:
        raise SnapshotError(
            f"{name} is in use by {_names(users)}: stop {'them' if len(users) > 1 else 'it'} first",
            again=False,
        )


async def references(engine: Engine, volume: Volume) -> list[Container]:
    """Containers in any state that have the volume mounted, or (by path) its folder or one within
    it."""
    containers = (await engine.listing()).whole()
    return [
        each
        for each in containers
        if any(_shows(volume, mount.name, mount.source) for mount in each.mounts)
    ]


def _shows(volume: Volume, name: str, source: str) -> bool:
    if name:
        return name == volume.name
    folders = [volume.mountpoint, volume.options.get("device", "")]
    places = [Path(os.path.normpath(folder)) for folder in folders if folder.startswith("/")]
    return any(Path(os.path.normpath(source)).is_relative_to(place) for place in places)


async def _folder(work: InPlaceRestore, volume: Volume) -> Path | None:
    """The volume's folder where it can be cleared from here; None where the volume must be made
    anew for that.

    Raises SnapshotError where neither is possible.
    """
    elsewhere = (
        sorted({"type", "device"} & volume.options.keys()) if volume.driver == "local" else []
    )
    async with helper(
        work.own, HelperSource("volume", volume.name), work.owner, read_only=True
    ) as container:
        raw = await work.engine.inspect_raw(container)
        if same_host(raw, volume.mountpoint):
            mounted = volume.driver != "local" or bool(elsewhere)
            folder = readable_root(volume.mountpoint, mounted)
            if folder is not None and os.geteuid() == 0 and os.access(folder, os.W_OK):
                return folder
    instead = (
        "restore into a fresh volume with --to, or run dockmend as root on the engine's own host"
    )
    if elsewhere:
        raise SnapshotError(
            f"the content of {volume.name} lies elsewhere (its driver's options "
            f"{', '.join(elsewhere)}) and cannot be "
            "cleared from here: restore into a fresh volume with --to", again=False,
        )  # fmt: skip
    if users := await references(work.engine, volume):
        raise SnapshotError(
            f"the folder of {volume.name} cannot be written from here, and the volume cannot be "
            f"made anew while {_names(users)} refer to it: remove those containers, "
            f"{instead}", again=False,
        )  # fmt: skip
    return None


# -------------------------------------------------------------------------------------- touching it
async def _fill(work: InPlaceRestore, manifest: Manifest) -> None:
    """The volume gets exactly what the snapshot holds, and is compared with it. Called with the
    mark put down."""
    name = manifest.volume
    volume = await _present(work, name)
    if volume is None:
        volume = await work.engine.create_volume(
            name, manifest.driver, manifest.options, manifest.labels
        )
    if not await _empty(work, name):
        await _clear(work, volume)
    async with helper(
        work.own, HelperSource("volume", name), work.owner, read_only=False
    ) as container:
        await work.engine.put_archive(container, "/", body(work.store, manifest))
    differences = await compare(
        of_snapshot(work.store, manifest), of_volume(work.own, name, work.owner)
    )
    if differences:
        raise SnapshotError(
            f"{len(differences)} entries are not as in the snapshot: {_lines(differences)}"
        )


async def _clear(work: InPlaceRestore, volume: Volume) -> None:
    folder = await _folder(work, volume)
    if folder is not None:
        await to_end(clear, folder)
    else:
        await work.engine.remove_volume(volume.name)
        await work.engine.create_volume(volume.name, volume.driver, volume.options, volume.labels)
    if not await _empty(work, volume.name):
        raise SnapshotError(f"{volume.name} could not be emptied (driver {volume.driver})")


async def _failed(work: InPlaceRestore, mark: RestoreMarker, error: BaseException) -> None:
    """Puts back what was there; raises the sentence that says so, or returns where `error` says
    enough."""
    kept = f" It is also kept as {mark.safety}." if mark.safety else ""
    try:
        await _put_back(work, mark)
    except (DockmendError, OSError) as second:
        kind = StrandedRestore if isinstance(second, EngineAway) else SnapshotError
        left = f"; it is kept as {mark.safety}" if mark.safety else ""
        raise kind(
            f"{mark.snapshot} could not be restored in place: {_said(error)}. What {mark.volume} "
            f"held before could not be put back: {_said(second)}{left}. The next `dockmend "
            "snapshots restore` or `create` tries again",
            again=False,
        ) from error
    if isinstance(error, Exception):
        back = "What it held before was put back." if mark.safety else _NO_VOLUME
        raise SnapshotError(
            f"{mark.snapshot} could not be restored in place: {_said(error)}. {back}{kept}",
            again=False,
        ) from error


async def _put_back(work: InPlaceRestore, mark: RestoreMarker) -> None:
    """As it was before; the mark goes when it is. Raises SnapshotError, EngineError, OSError."""
    await _refuse_users(work, mark.volume)
    if mark.safety:
        await _fill(work, await asyncio.to_thread(work.store.load, mark.safety))
        await to_end(restore_marker.end, work.store, mark.volume)
    else:
        await _unmake(work, mark)


async def _unmake(work: InPlaceRestore, mark: RestoreMarker) -> None:
    """Removes the volume that was made; one that no row of the journal proves is somebody
    else's."""
    for row in _rows(work, mark.volume):
        await new_volume.remove(work.own, row)
    await to_end(restore_marker.end, work.store, mark.volume)


def _rows(work: InPlaceRestore, volume: str) -> list[OwnedObject]:
    return new_volume.rows_of(work.own, volume)


async def _handed_over(work: InPlaceRestore, volume: str) -> None:
    """Before the mark goes: without it, a row would be taken for that of a half-filled volume."""
    for row in _rows(work, volume):
        await new_volume.hand_over(work.own, row)


async def _present(work: InPlaceRestore, name: str) -> Volume | None:
    try:
        return await work.engine.inspect_volume(name)
    except NotFound:
        return None


async def _exists(work: InPlaceRestore, id: str) -> bool:
    try:
        await asyncio.to_thread(work.store.load, id)
    except SnapshotError:
        return False
    return True


async def _empty(work: InPlaceRestore, name: str) -> bool:
    async with aclosing(of_volume(work.own, name, work.owner)) as batches:
        async for batch in batches:
            if any(path != b"." for path, _ in batch):
                return False
    return True


def _names(containers: Sequence[Container]) -> str:
    names = sorted(each.name for each in containers)
    return ", ".join(names[:_NAMED]) + (
        f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    )


def _lines(differences: Sequence[Difference]) -> str:
    return "; ".join(each.line() for each in differences[:_NAMED]) + (
        "; …" if len(differences) > _NAMED else ""
    )


def _said(error: BaseException) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    return str(error).removesuffix(".") or type(error).__name__
