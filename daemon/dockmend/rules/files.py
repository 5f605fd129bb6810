"""Which rule files there are, who may have written them, and what they hold."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from dockmend.errors import Problem
from dockmend.rules.positions import MAX_BYTES

SUFFIXES = (".yaml", ".yml")


def read_files(
    paths: Path | str | Iterable[Path | str], owner: str | None = None
) -> tuple[dict[str, bytes], list[Problem]]:
    """The contents of the files by path, and what is wrong with those that cannot be used.

    Of a folder every *.yaml and *.yml, without its sub-folders; what editors and package managers leave behind (hidden
    files, `x.yaml~`, `#x.yaml#`, `x.yaml.dpkg-old`) is left alone. `owner`: see loader.load_rules.
    """
    contents: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]:
        try:
            found = rule_files(path)
        except OSError as error:
            problems.append(_unreadable(path, error))
            continue
        for file in found:
            try:
                contents[str(file)] = _read(file, owner)
            except OSError as error:
                problems.append(_unreadable(file, error))
            except _Refused as refused:
                problems.append(Problem(str(file), 1, 1, str(refused)))
    return contents, problems


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(str(path), 1, 1, f"cannot be read: {(error.strerror or str(error)).lower()}")


def rule_files(path: Path) -> list[Path]:
    """The rule files of a folder in the order of their names; a file stands for itself. Raises OSError."""
    if not path.is_dir():
        return [path]
    with os.scandir(path) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name.endswith(SUFFIXES) and not entry.name.startswith((".", "#", "~"))
        )
    return [path / name for name in names]


class _Refused(Exception):
    """A file that must not be used; the text says why and what to do."""


def _read(path: Path, owner: str | None) -> bytes:
    """The file's bytes, one more than allowed where it is too long. Raises OSError, _Refused."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a fifo must not hold the daemon
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise _Refused("is not a regular file")
        if owner is not None:
            _check_owner(path, facts, owner)
        return file.read(MAX_BYTES + 1)


def _check_owner(path: Path, facts: os.stat_result, owner: str) -> None:
    """Root and the user dockmend runs as may write what they like anyway."""
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        whom = "everybody" if facts.st_mode & stat.S_IWOTH else "its group"
        raise _Refused(f"may be written by {whom}, and rules are orders: expected it closed, chmod go-w {path}")
    try:
        wanted = pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise _Refused(f"there is no user {owner}: expected policy.rules_owner to name one") from None
    if facts.st_uid not in (wanted, 0, os.geteuid()):
        expected = f"expected chown {owner} {path}, or policy.rules_owner set"
        raise _Refused(f"belongs to {_user(facts.st_uid)}, not to {owner}: {expected}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
