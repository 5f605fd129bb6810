"""One dockmend for each state folder: two would act twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dockmend import folders
from dockmend.errors import UsageError
from dockmend.file_trust import Untrusted


def unusable(error: Untrusted) -> str:
    """What is said of a state folder that others can change; `check` says the same."""
    return f"cannot be used: {error.place} {error}; or name another with --state"


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the lock of a state folder; makes the folder (0700) where there is none. Raises
    UsageError, also if others can change what is in it: the journal there proves what dockmend may
    remove."""
    try:
        folders.made(state, 0o700)
        handle = os.open(
            state / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except Untrusted as error:
        raise UsageError(f"the state folder {state} {unusable(error)}") from None
    except OSError as error:
        raise UsageError(
            f"the state folder {state} cannot be used: {error.strerror}; name another with --state"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise UsageError(f"another dockmend runs on {state}: process {owner}") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
