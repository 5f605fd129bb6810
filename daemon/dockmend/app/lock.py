"""One dockmend for each state folder: two would act twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dockmend.errors import UsageError


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the lock of a state folder; makes the folder (0700) where there is none. Raises UsageError."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
