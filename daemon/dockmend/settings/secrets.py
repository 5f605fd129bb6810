"""Secrets come from files or systemd credentials only, and no way of showing a settings object shows them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from dockmend import file_trust

LARGEST = 64 * 1024  # bytes; a token file that is larger is some other file


class Secret:
    """A text that is only ever told to whoever asks for it by `reveal()`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


def read_secret(path: Path, owners: frozenset[int]) -> tuple[Secret, str | None]:
    """The secret in a file, its last newline left out, and a warning if others can read it.

    `owners`: the uids that it and every folder above it must belong to: whoever may write a token, has it.
    Raises OSError, Untrusted, or ValueError with what is wrong with the content (never the content itself).
    """
    with file_trust.opened(path, owners) as descriptor:
        raw = file_trust.content(descriptor, path, LARGEST + 1)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if len(raw) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 1024} KiB: that is no secret of a line")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not text:
        raise ValueError("is empty")
    if "\n" in text or "\0" in text:
        raise ValueError("has more than one line")
    warning = (
        f"{path} is readable by everyone on this host (mode {mode:04o}): chmod 600 it" if mode & stat.S_IROTH else None
    )
    return Secret(text), warning
