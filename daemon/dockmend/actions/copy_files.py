"""copy: files from a container to another or to the host, and back; bounded, and never through a
link out of a root.

An archive of a running container that is not read holds the container's lock (inspect, exec and
restart hang), so it is read at once into a file without a name, and only then passed on. A path of
the host counts only below the settings' `snapshots.bind_roots`; what a container may write there
must not make dockmend follow it elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    register,
)
from dockmend.actions.engine_refusals import failed
from dockmend.actions.set_limits import size_text
from dockmend.actions.volume_selection import below_roots
from dockmend.disk_reserve import DiskReserve
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object

CHUNK = 1 << 18
DEEPEST = 200
"""Folders within each other that are copied; each is held open meanwhile."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OVERHEAD = 1 << 20
"""Bytes by which a tar may be larger than what it holds, headers and padding, for the files of a
usual copy."""


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """One end of a copy. `container` None: a path of the host, as it was resolved."""

    container: Container | None
    path: str

    def __str__(self) -> str:
        return f"{self.container.name}:{self.path}" if self.container else self.path


async def copy(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Copy what is at `from` into the folder `to`."""
    source, target = await _place(ctx, params.from_), await _place(ctx, params.to)
    if source.container is None and target.container is None:
        raise ActionFailed("one end of a copy is in a container: CONTAINER:/PATH", again=False)
    await ctx.remember(
        {"copy": {"to": None if target.container else target.path, "incident": ctx.incident.id}}
    )
    _have_room(ctx)
    with tempfile.TemporaryFile(dir=ctx.state) as spool:  # without a name: a death leaves nothing
        if source.container is not None:
            await _drain(ctx, source.container, source.path, spool, params.limit)
        else:
            room = DiskReserve(ctx.state, ctx.reserve)
            await asyncio.to_thread(
                pack, source.path, cast("IO[bytes]", Bounded(spool, room)), params.limit
            )
        size = spool.tell()
        if target.container is not None:
            await _fill(ctx, target.container, target.path, spool)
        else:
            await asyncio.to_thread(
                unpack, spool, Path(target.path), staging(ctx.incident.id), params.limit
            )
    return ActionResult(
        f"copied {source} to {target} ({size_text(size)} as a tar)", {"bytes": size}
    )


async def _place(ctx: ActionContext, template: str) -> CopyPlace:
    """What `CONTAINER:/PATH` or `/PATH` names. Raises ActionFailed."""
    text = ctx.render(template)
    if text.startswith("/"):
        return CopyPlace(None, below_roots(ctx, text))
    name, _, path = text.partition(":")
    if not name or not path.startswith("/"):
        raise ActionFailed(
            f"{text[:200]!r} is neither CONTAINER:/PATH nor a path of the host", again=False
        )
    try:
        container = await ctx.engine.inspect(name)
    except NotFound:
        raise ActionFailed(f"there is no container {name[:100]!r}", again=False) from None
    if ctx.forbids is not None and (why := ctx.forbids(container)):
        raise ActionFailed(f"{container.name}: {why}", again=False)
    return CopyPlace(container, path)


async def _drain(
    ctx: ActionContext, container: Container, path: str, spool: IO[bytes], limit: int
) -> None:
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


def _have_room(ctx: ActionContext, size: int = 0) -> None:
    """What is copied is kept beside the journal on its way. Raises ActionFailed."""
    try:
        DiskReserve(ctx.state, ctx.reserve).require(size)
    except OSError as error:
        raise ActionFailed(
            f"cannot keep in {ctx.state} what is copied: {error.strerror}"
        ) from error


async def _fill(ctx: ActionContext, container: Container, path: str, spool: IO[bytes]) -> None:
    spool.seek(0)

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(spool.read, CHUNK):
            yield chunk

    try:
        await ctx.engine.put_archive(container.id, path, chunks())
    except EngineError as error:
        raise _refused(error, f"copy to {container.name}:{path}", container, path) from error


def _refused(error: EngineError, what: str, container: Container, path: str) -> ActionFailed:
    if "could not find the file" in str(error).lower():
        return ActionFailed(f"cannot {what}: there is no {path} in {container.name}", again=False)
    return failed(error, what, container)


def _too_large(what: str, limit: int) -> ActionFailed:
    return ActionFailed(
        f"{what} is larger than the step's `limit` of {size_text(limit)}", again=False
    )


# ----------------------------------------------------------------------------------------- the host
def _opened(folder: Path) -> int:
    """A folder, held open. Raises ActionFailed where its path was bent since it was resolved."""
    try:
        held = os.open(folder, _FOLDER)
    except OSError as error:
        raise ActionFailed(f"{folder} is not a folder: {error.strerror}", again=False) from error
    if Path(f"/proc/self/fd/{held}").readlink() != folder:
        os.close(held)
        raise ActionFailed(f"{folder} was moved meanwhile", again=False)
    return held


class Bounded:
    """A file for tarfile to write to, as long as the disk's reserve is left."""

    def __init__(self, file: IO[bytes], reserve: DiskReserve) -> None:
        self._file = file
        self._reserve = reserve
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        self._reserve.require(len(data))
        return self._file.write(data)


def pack(path: str, spool: IO[bytes], limit: int) -> None:
    """The tar of a file or folder of the host. Links are copied as links and never followed. Raises
    ActionFailed."""
    top = Path(path)
    with tarfile.open(fileobj=spool, mode="w", format=tarfile.PAX_FORMAT) as tar:
        parent = _opened(top.parent)
        try:
            _pack_one(tar, parent, top.name, top.name, limit, path)
        except OSError as error:  # what a container wrote there may go again at any time
            raise ActionFailed(f"cannot copy {path}: {error.strerror or error}") from error
        finally:
            os.close(parent)


def _pack_one(
    tar: tarfile.TarFile, folder: int, name: str, inside: str, limit: int, what: str
) -> None:
    if inside.count("/") > DEEPEST:
        raise ActionFailed(f"{what} holds folders more than {DEEPEST} deep", again=False)
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
        opened = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                return  # a fifo in the place of the file that was seen
            member.size = os.fstat(file.fileno()).st_size
            if tar.offset + member.size > limit + OVERHEAD:
                raise _too_large(what, limit)
            tar.addfile(member, file)
    elif stat.S_ISDIR(seen.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            for each in sorted(os.listdir(below)):  # noqa: PTH208 - an open folder has no path
                _pack_one(tar, below, each, f"{inside}/{each}", limit, what)
        finally:
            os.close(below)


def staging(incident: str) -> str:
    """The name of the folder beside the target in which a copy is made, before it takes its
    place."""
    return f".dockmend-copy-{incident}"


def unpack(spool: IO[bytes], target: Path, aside: str, limit: int) -> None:
    """Into an existing folder; each entry takes its place at once, or not at all. Raises
    ActionFailed.

    A container may share the folder, and put a link in the place of whatever is in it, at any time.
    So nothing is done by path: each folder is opened in the one that is held open, and each file is
    made where nothing is yet. What would lead out of the copy (links, absolute names, `..`) and
    devices are refused; owners become dockmend's own user.
    """
    spool.seek(0)
    folder = _opened(target)
    try:
        shutil.rmtree(aside, ignore_errors=True, dir_fd=folder)
        os.mkdir(aside, 0o700, dir_fd=folder)
        try:
            own = os.open(aside, _FOLDER, dir_fd=folder)
            try:
                _extract(spool, own, limit, str(target))
                for name in os.listdir(own):  # noqa: PTH208 - the same
                    os.rename(name, name, src_dir_fd=own, dst_dir_fd=folder)
            finally:
                os.close(own)
        finally:
            shutil.rmtree(aside, ignore_errors=True, dir_fd=folder)
    except OSError as error:
        raise ActionFailed(f"cannot copy into {target}: {error.strerror or error}") from error
    finally:
        os.close(folder)


def _extract(spool: IO[bytes], into: int, limit: int, what: str) -> None:
    total = 0
    try:
        with tarfile.open(fileobj=spool) as tar:
            for member in tar:
                total += member.size
                if total > limit:
                    raise _too_large(what, limit)
                _make(tar, member, into)
    except (
        tarfile.TarError,
        _LeadsOut,
        OverflowError,
    ) as error:
        # A time beyond what this host's files may have.
        raise ActionFailed(
            f"refused to copy into {what}: {str(error)[:200]}", again=False
        ) from error


class _LeadsOut(Exception):
    """A member of an archive that is no file, folder or link within what is copied."""


def _make(tar: tarfile.TarFile, member: tarfile.TarInfo, into: int) -> None:
    """One member, below the folder that is held open. Raises OSError, TarError, _LeadsOut."""
    parts = _parts(member.name, member.name)
    if not parts:
        return
    with _below(into, parts[:-1], make=True) as folder:
        name = parts[-1]
        if member.isdir():
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
        elif member.issym():
            os.symlink(_link_target(len(parts) - 1, member), name, dir_fd=folder)
        elif member.islnk():
            linked = _parts(member.linkname, f"{member.name} -> {member.linkname}")
            if not linked:
                raise _LeadsOut(f"{member.name!r} is a link to a folder")
            with _below(into, linked[:-1], make=False) as beside:
                os.link(
                    linked[-1], name, src_dir_fd=beside, dst_dir_fd=folder, follow_symlinks=False
                )
        elif member.isreg() and (content := tar.extractfile(member)) is not None:
            made = os.open(
                name,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=folder,
            )
            with os.fdopen(made, "wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
                # as tarfile's data filter: nobody else may write it
                os.fchmod(made, member.mode & 0o755 | 0o600)
                file.flush()
                os.utime(made, (member.mtime, member.mtime))
        else:
            raise _LeadsOut(f"{member.name!r} is a device or another special file")


def _parts(path: str, shown: str) -> list[str]:
    """The names along a path that stays within what is copied. Raises _LeadsOut."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/"):
        raise _LeadsOut(f"{shown!r} is an absolute path")
    if ".." in parts:
        raise _LeadsOut(f"{shown!r} leads out of its folder")
    return parts


def _link_target(depth: int, member: tarfile.TarInfo) -> str:
    """Where a link may lead: up to what is copied at most, and `..` at its beginning only.

    Behind a name it would be counted from wherever that leads, as another link may be there. Raises
    _LeadsOut.
    """
    names = [part for part in member.linkname.split("/") if part not in ("", ".")]
    up = next((place for place, name in enumerate(names) if name != ".."), len(names))
    if up > depth:
        raise _LeadsOut(f"{member.name!r} is a link that leads out of what is copied")
    _parts(
        "/".join(names[up:]) if not member.linkname.startswith("/") else "/",
        f"{member.name} -> {member.linkname}",
    )
    return member.linkname


@contextlib.contextmanager
def _below(top: int, parts: Sequence[str], *, make: bool) -> Iterator[int]:
    """A folder below one that is held open, reached name by name and through no link. Raises
    OSError."""
    here = os.dup(top)
    try:
        for part in parts:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
            inner = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        yield here
    finally:
        os.close(here)


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """What was half copied is copied anew; what lay beside its place goes."""
    before = record.undo.get("copy")
    if not isinstance(before, dict):
        return NOT_BEGUN
    if before["to"]:
        try:
            where = Path(below_roots(ctx, str(before["to"])))
        except ActionFailed:
            return Settled(done=False, detail="it may have been copied in part; its target is gone")
        await asyncio.to_thread(_clear, where, staging(str(before["incident"])))
    return Settled(done=False, detail="it may have been copied in part, and is copied anew")


def _clear(target: Path, aside: str) -> None:
    # it was moved: whoever did that has what was half copied
    with contextlib.suppress(ActionFailed):
        folder = _opened(target)
        try:
            shutil.rmtree(aside, ignore_errors=True, dir_fd=folder)
        finally:
            os.close(folder)


def register_all() -> None:
    """Put copy into the registry."""
    register(Action("copy", copy, settle, touches=False))
