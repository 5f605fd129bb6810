"""The settings file as it was read: its data, where each key and value stands, and every problem
found so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dockmend import file_trust
from dockmend.errors import Problem
from dockmend.file_trust import Untrusted
from dockmend.rules import located_yaml

Location = tuple[str | int, ...]


class SettingsDocument:
    """`data` is what the file holds, or {}; an empty path stands for no file at all."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._root: located_yaml.Node | None = None

    def problem(self, location: Location, message: str, key: bool = False) -> None:
        """Notes what is wrong with the value at `location` (or its key); where it is absent, with
        what would hold it"""
        node = self._root
        for index, step in enumerate(location):
            last = index == len(location) - 1
            inner = (
                node.key(step)
                if key and last and node is not None
                else node.child(step)
                if node is not None
                else None
            )
            if inner is None:
                break
            node = inner
        if node is not None and node.flagged:
            return  # what is wrong with its text was said already
        line, column = (node.line, node.column) if node is not None else (1, 1)
        self.problems.append(Problem(self.path, line, column, message))


def read(path: Path, owners: frozenset[int] | None) -> SettingsDocument:
    """Reads a YAML file; what is wrong with it is in `problems`, never raised.

    `owners`: the uids that it and every folder above it must belong to; None: whoever.
    """
    document = SettingsDocument(str(path))
    try:
        source = located_yaml.decode(
            str(path), file_trust.read(path, owners, located_yaml.MAX_BYTES + 1)
        )
    except OSError as error:
        document.problems.append(
            Problem.of_file(document.path, f"cannot be read: {error.strerror or error}")
        )
        return document
    except Untrusted as error:
        document.problems.append(Problem.of_file(error.place, error.for_settings()))
        return document
    document.problems += [
        Problem(str(path), each.line, each.column, each.message) for each in source.troubles
    ]
    document._root = source.root  # noqa: SLF001 - this is where documents are made
    if isinstance(source.data, dict):
        document.data = source.data
    elif source.data is not None:
        document.problem((), "expected keys such as `heal: labelled`")
    return document
