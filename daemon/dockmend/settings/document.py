"""One YAML file read with the place of every key and value, so that an error can say where it stands.

PyYAML alone accepts duplicate keys and turns `1:30` into 90 and `off` into false without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from dockmend.errors import Problem

LARGEST = 1024 * 1024  # bytes of a file
MOST_NODES = 20_000  # of a file, aliases counted each time: stops an alias bomb

Location = tuple[str | int, ...]
_KINDS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in _KINDS}


@dataclass
class Document:
    """`data` is plain Python; `keys` and `values` are where a key and its value begin, lines and columns from 1."""

    path: str
    data: Any = None
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)
    values: dict[Location, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def where(self, location: Location, key: bool = False) -> tuple[int, int]:
        """The line and column of a value (or its key); of the nearest enclosing one where there is none."""
        table = self.keys if key else self.values
        if location in table:
            return table[location]
        while location and location not in self.values:
            location = location[:-1]
        return self.values.get(location, (1, 1))

    def problem(self, location: Location, message: str, key: bool = False) -> None:
        self.problems.append(Problem(self.path, *self.where(location, key), message))


def read(path: Path) -> Document:
    """Reads a YAML file; what is wrong with it is in `problems`, never raised."""
    document = Document(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        document.problem((), f"cannot be read: {error.strerror or error}")
        return document
    if len(raw) > LARGEST:
        document.problem((), f"is larger than {LARGEST // 1024} KiB")
        return document
    return parse(raw, document)


def parse(raw: bytes, document: Document) -> Document:
    """Fills `document` from a file's bytes."""
    try:
        root = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.CSafeLoader)
        if root is not None:
            document.data = _Builder(document).build(root, ())
    except UnicodeDecodeError as error:
        document.problem((), f"is not UTF-8 text: {error.reason} at byte {error.start}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.problems.append(Problem(document.path, line, column, f"no valid YAML: {_sentence(error)}"))
    except (yaml.YAMLError, RecursionError) as error:
        document.problem((), f"no valid YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}")
    except _TooManyError:
        document.problem((), f"has more than {MOST_NODES} values: an alias that names itself again and again?")
    return document


class _TooManyError(Exception):
    pass


class _Builder:
    """Turns composed nodes into plain data and notes where each stands."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.scalars = SafeConstructor()
        self.nodes = 0

    def build(self, node: yaml.Node, location: Location) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _TooManyError
        self.document.values[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*location, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.values[(*location, "?")] = (mark.line + 1, mark.column + 1)
                self.document.problem((*location, "?"), "a key is a word; quote it where it holds braces or brackets")
                continue
            key = key_node.value  # as written: `on` stays "on", `1` stays "1"
            here = (*location, key)
            self.document.keys.setdefault(here, (mark.line + 1, mark.column + 1))
            if key in result:
                message = f"key {key!r} is there twice: see line {self.document.keys[here][0]}"
                self.document.problems.append(Problem(self.document.path, mark.line + 1, mark.column + 1, message))
                continue
            result[key] = self.build(value_node, here)
        return result

    def _scalar(self, node: yaml.Node, location: Location) -> Any:
        text = str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self.document.problem(location, f"the tag {node.tag!r} is not allowed: write plain values")
            return text
        if node.tag.endswith((":int", ":float")) and ":" in text:
            self.document.problem(location, f'{text} is read as a number of base 60 by YAML: quote it: "{text}"')
            return text
        if node.tag.endswith((":timestamp", ":merge", ":value")):
            return text
        try:
            return self.scalars.construct_object(node)
        except (ConstructorError, ValueError):
            return text


def _sentence(error: yaml.MarkedYAMLError) -> str:
    return ": ".join(part for part in (error.context, error.problem) if part)
