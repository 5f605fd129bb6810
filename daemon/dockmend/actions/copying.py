"""copy: files from a container to another or to the host, and back; bounded, and never through a link out of a root.

An archive of a running container that is not read holds the container's lock (inspect, exec and restart hang), so it is
read at once into a file without a name, and only then passed on. A path of the host counts only below the settings'
`snapshots.bind_roots`; what a container may write there must not make dockmend follow it elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dockmend.actions.base import NOT_BEGUN, Action, Container, Context, Done, Failed, Settled, register
from dockmend.actions.limits import size_text
from dockmend.actions.refusals import failed
from dockmend.actions.selection import below_roots
from dockmend.disk_reserve import DiskReserve
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object

CHUNK = 1 << 18
OVERHEAD = 1 << 20
"""Bytes by which a tar may be larger than what it holds, headers and padding, for the files of a usual copy."""


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy. `container` None: a path of the host, as it was resolved."""

    container: Container | None
    path: str

    def __str__(self) -> str:
        return f"{self.container.name}:{self.path}" if self.container else self.path


async def copy(ctx: Context, params: Any, subject: Object) -> Done:
    """Copy what is at `from` into the folder `to`."""
    source, target = await _place(ctx, params.from_), await _place(ctx, params.to)
    if source.container is None and target.container is None:
        raise Failed("one end of a copy is in a container: CONTAINER:/PATH", again=False)
    await ctx.remember({"copy": {"to": None if target.container else target.path, "incident": ctx.incident.id}})
    _have_room(ctx)
    with tempfile.TemporaryFile(dir=ctx.state) as spool:  # without a name: a death leaves nothing
        if source.container is not None:
            await _drain(ctx, source.container, source.path, spool, params.limit)
        else:
            await asyncio.to_thread(pack, source.path, spool, params.limit)
        size = spool.tell()
        if target.container is not None:
            await _fill(ctx, target.container, target.path, spool)
        else:
            await asyncio.to_thread(unpack, spool, Path(target.path), staging(ctx.incident.id), params.limit)
    return Done(f"copied {source} to {target} ({size_text(size)} as a tar)", {"bytes": size})


async def _place(ctx: Context, template: str) -> Place:
    """What `CONTAINER:/PATH` or `/PATH` names. Raises Failed."""
    text = ctx.render(template)
    if text.startswith("/"):
        return Place(None, below_roots(ctx, text))
    name, _, path = text.partition(":")
    if not name or not path.startswith("/"):
        raise Failed(f"{text[:200]!r} is neither CONTAINER:/PATH nor a path of the host", again=False)
    try:
        container = await ctx.engine.inspect(name)
    except NotFound:
        raise Failed(f"there is no container {name[:100]!r}", again=False) from None
    if ctx.forbids is not None and (why := ctx.forbids(container)):
        raise Failed(f"{container.name}: {why}", again=False)
    return Place(container, path)


async def _drain(ctx: Context, container: Container, path: str, spool: IO[bytes], limit: int) -> None:
    try:
        async with ctx.engine.get_archive(container.id, path) as chunks:
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > limit + OVERHEAD:
                    raise _too_large(f"{container.name}:{path}", limit)
                _have_room(ctx, len(chunk))
                await asyncio.to_thread(spool.write, chunk)
    except EngineError as error:
        raise _refused(error, f"copy {container.name}:{path}", container, path) from error


def _have_room(ctx: Context, size: int = 0) -> None:
    """What is copied is kept beside the journal on its way. Raises Failed."""
    try:
        DiskReserve(ctx.state).require(size)
    except OSError as error:
        raise Failed(f"cannot keep in {ctx.state} what is copied: {error.strerror}") from error


async def _fill(ctx: Context, container: Container, path: str, spool: IO[bytes]) -> None:
    spool.seek(0)

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(spool.read, CHUNK):
            yield chunk

    try:
        await ctx.engine.put_archive(container.id, path, chunks())
    except EngineError as error:
        raise _refused(error, f"copy to {container.name}:{path}", container, path) from error


def _refused(error: EngineError, what: str, container: Container, path: str) -> Failed:
    if "could not find the file" in str(error).lower():
        return Failed(f"cannot {what}: there is no {path} in {container.name}", again=False)
    return failed(error, what, container)


def _too_large(what: str, limit: int) -> Failed:
    return Failed(f"{what} is larger than the step's `limit` of {size_text(limit)}", again=False)


# ------------------------------------------------------------------------------------------------------------- the host
def _opened(folder: Path) -> int:
    """A folder, held open; Failed where its path was bent since it was resolved."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Failed(f"{folder} is not a folder: {error.strerror}", again=False) from error
    if Path(f"/proc/self/fd/{held}").readlink() != folder:
        os.close(held)
        raise Failed(f"{folder} was moved meanwhile", again=False)
    return held


def pack(path: str, spool: IO[bytes], limit: int) -> None:
    """The tar of a file or folder of the host. Links are copied as links and never followed. Raises Failed."""
    top = Path(path)
    with tarfile.open(fileobj=spool, mode="w", format=tarfile.PAX_FORMAT) as tar:
        parent = _opened(top.parent)
        try:
            _pack_one(tar, parent, top.name, top.name, limit, path)
        finally:
            os.close(parent)


def _pack_one(tar: tarfile.TarFile, folder: int, name: str, inside: str, limit: int, what: str) -> None:
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    member = tarfile.TarInfo(inside)
    member.mode, member.uid, member.gid = stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid
    member.mtime = int(seen.st_mtime)
    if tar.offset + seen.st_size > limit + OVERHEAD:
        raise _too_large(what, limit)
    if stat.S_ISLNK(seen.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
        tar.addfile(member)
    elif stat.S_ISREG(seen.st_mode):
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
            member.size = os.fstat(file.fileno()).st_size
            if tar.offset + member.size > limit + OVERHEAD:
                raise _too_large(what, limit)
            tar.addfile(member, file)
    elif stat.S_ISDIR(seen.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for each in sorted(os.listdir(below)):  # noqa: PTH208 - an open folder has no path
                _pack_one(tar, below, each, f"{inside}/{each}", limit, what)
        finally:
            os.close(below)


def staging(incident: str) -> str:
    """The name of the folder beside the target in which a copy is made, before it takes its place."""
    return f".dockmend-copy-{incident}"


def unpack(spool: IO[bytes], target: Path, aside: str, limit: int) -> None:
    """Into an existing folder; each entry takes its place at once, or not at all. Raises Failed.

    What leads out of it (links, absolute names, `..`) is refused (tarfile's data filter), and owners become dockmend's
    own user. A link that was put into the folder meanwhile is replaced and not followed.
    """
    spool.seek(0)
    folder = _opened(target)
    try:
        shutil.rmtree(aside, ignore_errors=True, dir_fd=folder)
        os.mkdir(aside, 0o700, dir_fd=folder)
        try:
            own = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                _extract(spool, Path(f"/proc/self/fd/{own}"), limit, str(target))
                for name in os.listdir(own):  # noqa: PTH208 - the same
                    os.rename(name, name, src_dir_fd=own, dst_dir_fd=folder)
            finally:
                os.close(own)
        finally:
            shutil.rmtree(aside, ignore_errors=True, dir_fd=folder)
    except OSError as error:
        raise Failed(f"cannot copy into {target}: {error.strerror or error}") from error
    finally:
        os.close(folder)


def _extract(spool: IO[bytes], into: Path, limit: int, what: str) -> None:
    total = 0
    try:
        with tarfile.open(fileobj=spool) as tar:
            for member in tar:
                total += member.size
                if total > limit:
                    raise _too_large(what, limit)
                tar.extract(member, into, filter="data")
    except tarfile.TarError as error:
        raise Failed(f"refused to copy into {what}: {str(error)[:200]}", again=False) from error


async def settle(ctx: Context, record: ActionRecord) -> Settled:
    """What was half copied is copied anew; what lay beside its place goes."""
    before = record.undo.get("copy")
    if not isinstance(before, dict):
        return NOT_BEGUN
    if before["to"]:
        try:
            where = Path(below_roots(ctx, str(before["to"])))
        except Failed:
            return Settled(done=False, detail="it may have been copied in part; its target is gone")
        await asyncio.to_thread(shutil.rmtree, where / staging(str(before["incident"])), ignore_errors=True)
    return Settled(done=False, detail="it may have been copied in part, and is copied anew")


def register_all() -> None:
    """Put copy into the registry."""
    register(Action("copy", copy, settle, kinds=(), touches=False))
