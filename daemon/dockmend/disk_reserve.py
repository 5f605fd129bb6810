"""The part of a disk that large files leave free: snapshots and the journal share one, and with no
journal nothing on this host is healed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

RESERVE = 256 * 1024 * 1024
"""Bytes that are left free: room for the journal's own bound."""
SHARE = 0.05
"""Or this share of the disk, if that is less: a small disk can hold snapshots too."""


class _Usage(Protocol):
    """What os.statvfs tells."""

    @property
    def f_frsize(self) -> int: ...
    @property
    def f_blocks(self) -> int: ...
    @property
    def f_bavail(self) -> int: ...


class DiskReserve:
    """The reserve of the disk that holds `folder`. Asking costs microseconds: it is asked before
    each write.

    `size`: bytes, as the settings say; None: RESERVE, or SHARE of the disk if that is less.
    """

    def __init__(
        self, folder: Path, size: int | None = None, usage: Callable[[Path], _Usage] = os.statvfs
    ) -> None:
        self._folder = folder
        self._size = size
        self._usage = usage

    def require(self, more: int = 0) -> None:
        """Raises OSError (ENOSPC) if less than the reserve would be free once `more` bytes were
        written."""
        disk = self._usage(self._folder)
        kept = self._size or min(RESERVE, int(disk.f_blocks * disk.f_frsize * SHARE))
        if disk.f_bavail * disk.f_frsize - more < kept:
            text = (
                f"less than {kept / 1024**2:.0f} MiB of disk space would be left, which dockmend "
                "keeps free for its journal: free some space"
            )
            raise OSError(errno.ENOSPC, text)
