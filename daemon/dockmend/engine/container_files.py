"""The engine's own files, `DockerRootDir/containers/ID/config.v2.json`: what no answer of its API
tells.

A file counts only if it is of the same container, run and end as the inspect answer beside which it
is read. That also proves that the disk is this engine's. It is read in a thread of its own, as a
disk may hang: while it does, nothing is known, and nobody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from dockmend.model import Container, Int64

from .engine_times import epoch

T = TypeVar("T")

DEADLINE = 5.0
"""Seconds for one reading; a disk that takes longer hangs."""
AT_ONCE = 64
"""Files of one reading."""
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of one file: an ordinary one has 3 to 20 KiB, most of it labels and environment."""
FILE = "config.v2.json"
_ID = frozenset("0123456789abcdef")


class FileState(Struct):
    Running: bool = False
    ExitCode: Int64 = 0
    StartedAt: str = ""
    FinishedAt: str = ""


class FileEndpoint(Struct):
    DesiredMacAddress: str | None = None


class FileNetworks(Struct):
    Networks: dict[str, FileEndpoint | None] | None = None


class ContainerFile(Struct):
    """The fields of the file that are needed; None where the engine that wrote it does not know the
    field."""

    ID: str
    State: FileState
    HasBeenManuallyStopped: bool | None = None
    NetworkSettings: FileNetworks | None = None

    def fits(self, seen: Container) -> bool:
        """Whether it is of the container, the run and the end that an inspect answer tells of."""
        same = seen.id == self.ID and epoch(self.State.StartedAt) == seen.started_at
        if (
            not same
            or epoch(self.State.FinishedAt) != seen.finished_at
            or self.State.Running != seen.running
        ):
            return False
        return seen.exit_code is None or seen.running or self.State.ExitCode == seen.exit_code

    @property
    def desired_macs(self) -> dict[str, str]:
        """The MAC addresses that were configured, by the network's name; "" if none was."""
        networks = self.NetworkSettings.Networks if self.NetworkSettings is not None else None
        return {
            name: each.DesiredMacAddress
            for name, each in (networks or {}).items()
            if each is not None and each.DesiredMacAddress is not None
        }


_decoder = msgspec.json.Decoder(ContainerFile)


class ContainerFiles:
    """Reads below `root`, the engine's data folder. `trouble`: why the last reading told nothing,
    "" where it did."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trouble = ""
        self._hanging: threading.Thread | None = None

    async def of(self, seen: Container) -> ContainerFile | None:
        """The file beside an inspect answer; None where it cannot be read, or is of another run."""
        return (await self.of_all((seen,))).get(seen.id)

    async def of_all(self, containers: Iterable[Container]) -> dict[str, ContainerFile]:
        """The same for many, by id; those that tell nothing are left out."""
        wanted, found = list(containers), dict[str, ContainerFile]()
        for begin in range(0, len(wanted), AT_ONCE):
            part = wanted[begin : begin + AT_ONCE]
            read = await self._aside(lambda part=part: _read(self.root, [each.id for each in part]))  # type: ignore[misc]
            if read is None:
                break
            files, self.trouble = read
            found.update(
                (each.id, files[each.id])
                for each in part
                if each.id in files and files[each.id].fits(each)
            )
        return found

    async def engine_started_at(self) -> float:
        """When the engine began (wall seconds): it makes its folder `runtimes` anew each time. 0.0:
        not known."""
        return await self._aside(lambda: _changed_at(self.root / "runtimes")) or 0.0

    async def _aside(self, work: Callable[[], T]) -> T | None:
        """The result of `work` in a thread; None where that hangs, or one before it still does."""
        if self._hanging is not None and self._hanging.is_alive():
            return None
        self._hanging = None
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def tell(value: T) -> None:
            if not result.done():
                result.set_result(value)

        def run() -> None:
            value = work()
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, value)

        # A daemon: a disk that hangs must not keep dockmend from ending either.
        thread = threading.Thread(target=run, name="engine's files", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread is left
            self.trouble = str(error)
            return None
        try:
            async with asyncio.timeout(DEADLINE):
                return await result
        except TimeoutError:
            self._hanging = thread
            self.trouble = f"{self.root} did not answer within {DEADLINE:g} s"
            return None


def _read(root: Path, ids: Sequence[str]) -> tuple[Mapping[str, ContainerFile], str]:
    """Those that can be read, and why one could not."""
    found: dict[str, ContainerFile] = {}
    try:
        folder = os.open(root / "containers", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return found, f"{root / 'containers'}: {error.strerror}"
    trouble = ""
    try:
        for container_id in ids:
            try:
                found[container_id] = _decoder.decode(_bytes_of(folder, container_id))
            except FileNotFoundError:
                trouble = trouble or f"{root / 'containers'} has no container {container_id[:12]}"
            except (
                OSError,
                msgspec.MsgspecError,
                ValueError,
                RecursionError,
                MemoryError,
            ) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                trouble = f"{root / 'containers' / container_id / FILE}: {why}"
    finally:
        os.close(folder)
    return found, trouble


def _bytes_of(folder: int, container_id: str) -> bytes:
    """Raises OSError; ValueError where it is no such file as the engine writes. No link is followed
    below `folder`."""
    if len(container_id) != 64 or not _ID.issuperset(container_id):
        raise ValueError("no container's id")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    own = os.open(container_id, flags | os.O_DIRECTORY, dir_fd=folder)
    try:
        file = os.open(FILE, flags | os.O_NONBLOCK, dir_fd=own)
    finally:
        os.close(own)
    with open(file, "rb") as opened:  # noqa: PTH123 - a descriptor
        told = os.fstat(file)
        if not stat.S_ISREG(told.st_mode):
            raise ValueError("not a plain file")
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return data


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
