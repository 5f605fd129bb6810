"""Empties a folder whose content a stranger made: nothing outside of it is touched, whatever is in
it.

Names are only ever looked up in folders held open, and no symbolic link is followed, so a link in
place of a folder leads nowhere. A folder within a folder is moved up before it is emptied: depth
costs neither descriptors nor stack.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clear(root: Path) -> int:
    """Removes everything in `root` but not `root` itself; returns how many entries that were.
    Blocks.

    Raises OSError: what cannot be removed (an immutable file, another file system mounted within)
    stays, with an unknown part of the rest.
    """
    top = os.open(root, _FOLDER)
    try:
        aside = _names()
        removed = 0
        while names := os.listdir(top):  # noqa: PTH208 - of a descriptor
            for name in names:
                removed += _remove(top, name, aside)
        return removed
    finally:
        os.close(top)


def _remove(top: int, name: str, aside: Iterator[str]) -> int:
    """Removes an entry of `top`; folders in it are moved to `top`. Returns the number of entries
    that are gone."""
    if _unlinked(top, name):
        return 1
    gone = 0
    folder = os.open(name, _FOLDER, dir_fd=top)
    try:
        if os.fstat(folder).st_dev != os.fstat(top).st_dev:
            raise OSError(f"{name} is another file system, mounted within")
        for each in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if _unlinked(folder, each):
                gone += 1
            else:
                os.rename(each, next(aside), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)
    return gone + 1


def _unlinked(folder: int, name: str) -> bool:
    """False where `name` is a folder. Linux alone says EISDIR, and never unlinks one."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    return True


def _names() -> Iterator[str]:
    """Names that no entry has."""
    token = secrets.token_hex(8)
    return (f".dockmend-{token}-{number}" for number in count())
