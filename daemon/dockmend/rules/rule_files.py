"""Which rule files there are, who may have written them, and what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dockmend import file_trust
from dockmend.errors import Problem
from dockmend.file_trust import Share, UnknownOwner, Untrusted
from dockmend.rules.located_yaml import MAX_BYTES

SUFFIXES = (".yaml", ".yml")

_Owners = frozenset[int] | None


def without_folder(heal: str) -> str:
    """What is said if the folder of the rules does not exist. `heal`: the setting."""
    return (
        f"does not exist: {'no rule is' if heal == 'off' else 'only those of the labels are'} "
        "in force"
    )


def read_files(
    paths: Path | str | Iterable[Path | str], owner: str | None = None, runs_as: int | None = None
) -> tuple[dict[str, bytes], list[Problem]]:
    """The contents of the files by path, and what is wrong with those that cannot be used.

    Of a folder every *.yaml and *.yml, without its sub-folders; what editors and package managers
    leave behind (hidden files, `x.yaml~`, `#x.yaml#`, `x.yaml.dpkg-old`) is left alone. `owner`,
    `runs_as`: see loader.load_rules. What others may write and counts all the same is among the
    problems as a warning.
    """
    contents: dict[str, bytes] = {}
    problems: list[Problem] = []
    for path in [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]:
        try:
            owners = file_trust.trusted_uids(owner, runs_as) if owner is not None else None
            share = _share(owner)
            if path.is_dir():
                for name, read in _folder(path, owners, share):
                    _note(path / name, read, contents, problems)
            else:
                _note(path, _one(path, owners, share), contents, problems)
            problems += _passed(share)
        except UnknownOwner as error:
            problems.append(
                Problem.of_file(str(path), f"{error}: expected policy.rules_owner to name one")
            )
        except (OSError, Untrusted) as error:
            problems.append(_problem(path, error))
    return contents, problems


def _share(owner: str | None) -> Share | None:
    """A uid as `policy.rules_owner` stands for a share of a NAS; a user by name can close what is
    theirs, and so can root."""
    uid = int(owner) if owner is not None and owner.isascii() and owner.isdecimal() else 0
    return Share(uid) if uid else None


def _passed(share: Share | None) -> list[Problem]:
    if share is None or not share.passed:
        return []
    what = f"this and {len(share.passed) - 1} more" if len(share.passed) > 1 else "this"
    why = (
        f"others than user {share.uid} may write {what}, which counts as policy.rules_owner is "
        f"{share.uid}: whoever can write there gives dockmend orders; `chmod -R go-w` mends that, "
        "if the file system keeps modes"
    )
    return [Problem.of_file(share.passed[0], why, "warning")]


_Read = bytes | OSError | Untrusted
"""A file's bytes, one more than allowed if it is too long, or why there are none."""


def _note(path: Path, read: _Read, contents: dict[str, bytes], problems: list[Problem]) -> None:
    if isinstance(read, bytes):
        contents[str(path)] = read
    else:
        problems.append(_problem(path, read))


def _problem(path: Path, error: OSError | Untrusted) -> Problem:
    if isinstance(error, OSError):
        return Problem.of_file(
            str(path), f"cannot be read: {(error.strerror or str(error)).lower()}"
        )
    return Problem.of_file(error.place, error.for_rules())


def rule_names(folder: Path | int) -> list[str]:
    """The names of a folder's rule files in their order. Raises OSError."""
    with os.scandir(folder) as entries:
        names = [str(entry.name) for entry in entries]
    return sorted(
        name for name in names if name.endswith(SUFFIXES) and not name.startswith((".", "#", "~"))
    )


def _one(path: Path, owners: _Owners, share: Share | None = None) -> _Read:
    try:
        return file_trust.read(path, owners, MAX_BYTES + 1, share)
    except (OSError, Untrusted) as error:
        return error


def _folder(path: Path, owners: _Owners, share: Share | None) -> Iterator[tuple[str, _Read]]:
    """The rule files of a folder by name, all from the one folder that was judged. Raises OSError,
    Untrusted."""
    if owners is None:
        for name in rule_names(path):
            yield name, _one(path / name, None)
        return
    with file_trust.opened(path, owners, share=share) as place:
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
        try:
            for name in rule_names(folder):
                try:
                    with file_trust.opened_in(folder, path, name, owners, share) as trusted:
                        yield name, file_trust.content(trusted, path / name, MAX_BYTES + 1)
                except (OSError, Untrusted) as error:
                    yield name, error
        finally:
            os.close(folder)
