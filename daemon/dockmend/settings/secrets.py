"""Secrets come from files or systemd credentials only, and no way of showing a settings object
shows them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import NoReturn

from dockmend import file_trust

LARGEST = 64 * 1024  # bytes; a token file that is larger is some other file
TOKEN_BYTES = 32  # of randomness in a token that dockmend makes


class Secret:
    """A text that is only ever told to whoever asks for it by `reveal()`.

    `source`: the file it was read from, to tell a person where it is; None: it was made in memory.
    """

    __slots__ = ("_text", "source")

    def __init__(self, text: str, source: Path | None = None) -> None:
        self._text = text
        self.source = source

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

    `owners`: the uids that it and every folder above it must belong to: whoever may write a token,
    has it. Raises OSError, Untrusted, or ValueError with what is wrong with the content (never the
    content itself).
    """
    raw, warning = _content(path, owners)
    return Secret(_line(raw), path), warning


def read_lines(path: Path, owners: frozenset[int]) -> tuple[list[tuple[int, Secret]], str | None]:
    """As `read_secret`, of a file with a secret in each line: (number of the line, secret); blank
    lines and those that begin with # count for nothing."""
    raw, warning = _content(path, owners)
    lines = ((number, line.strip()) for number, line in enumerate(_text(raw).splitlines(), 1))
    return [
        (number, Secret(line, path)) for number, line in lines if line and not line.startswith("#")
    ], warning


def _content(path: Path, owners: frozenset[int]) -> tuple[bytes, str | None]:
    with file_trust.opened(path, owners) as descriptor:
        raw = file_trust.content(descriptor, path, LARGEST + 1)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    warning = (
        f"{path} is readable by everyone on this host (mode {mode:04o}): chmod 600 it"
        if mode & stat.S_IROTH
        else None
    )
    return raw, warning


def own_secret(path: Path) -> Secret:
    """The token in a file that dockmend keeps for itself; the file is made if it does not exist.

    Raises as `read_own_secret`.
    """
    with contextlib.suppress(FileExistsError):
        _make(path)
    return read_own_secret(path)


def read_own_secret(path: Path) -> Secret:
    """The token in a file that dockmend made, which nobody but root and its own user may write or
    read.

    Raises OSError, Untrusted, or ValueError with what is wrong with the file.
    """
    with file_trust.opened(path, file_trust.trusted_uids()) as descriptor:
        raw = file_trust.content(descriptor, path, LARGEST + 1)
        if mode := stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise ValueError(f"is open to others (mode {mode:04o}): chmod 600 it, or remove it")
    return Secret(_line(raw), path)


def _make(path: Path) -> None:
    """Writes a new token. Another name first: a start that dies here must not leave half a
    token."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: a file that exists already stays as it is.
        os.link(temporary, path, follow_symlinks=False)
    finally:
        temporary.unlink(missing_ok=True)


def _text(raw: bytes) -> str:
    """What a file of secrets holds. Raises ValueError."""
    if len(raw) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 1024} KiB: that is no secret of a line")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def _line(raw: bytes) -> str:
    """The one line of text that a file of a secret holds. Raises ValueError."""
    text = _text(raw).rstrip("\r\n")
    if not text:
        raise ValueError("is empty")
    if "\n" in text or "\0" in text:
        raise ValueError("has more than one line")
    return text
