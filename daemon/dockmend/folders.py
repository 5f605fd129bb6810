"""Folders in which dockmend writes: its state, its sockets, its pid files and locks.

Who may write in such a folder, or in one above it, can put a link or a file of theirs in the place
of dockmend's: what dockmend then empties, makes readable or believes is another file. So a state
folder that others can change is not used, and a file is written under a name that leads nowhere
else.
"""

from __future__ import annotations

import os
from pathlib import Path

from dockmend import file_trust
from dockmend.file_trust import Untrusted


def made(folder: Path, mode: int, *, shared: bool = False) -> Path:
    """The folder, made with `mode` if it does not exist, with those above it; see `require_own`.

    Raises OSError, Untrusted.
    """
    folder = folder.absolute()
    require_fit(folder, shared=shared)
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    require_own(folder, shared=shared)
    return folder


def require_fit(folder: Path, *, shared: bool = False, runs_as: int | None = None) -> None:
    """As `require_own`, also of one that is still to be made; makes nothing. Raises OSError,
    Untrusted."""
    folder = folder.absolute()
    # Nothing is made below what others can change: it would be made where their link leads.
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    require_own(existing, shared=shared or existing != folder, runs_as=runs_as)


def require_own(folder: Path, *, shared: bool = False, runs_as: int | None = None) -> None:
    """Raises Untrusted if another user than root and dockmend's own can change what is in a folder;
    OSError.

    `shared`: it may be one such as /tmp, where others make files and cannot replace dockmend's.
    `runs_as`: the uid of the daemon; None: this process's.
    """
    seen = file_trust.check(folder, file_trust.trusted_uids(runs_as=runs_as))
    if seen.st_mode & 0o022 and not shared:
        raise Untrusted(
            str(folder),
            "may be written by everybody: name a folder in it, or give it the mode 0700",
        )


def replace(path: Path, content: bytes, mode: int) -> None:
    """Puts a file there, whole or not at all; a link with its name is replaced, not followed.
    Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
    temporary.replace(path)
