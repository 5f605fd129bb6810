"""YAML with positions: plain data, and for every key and value where it stands and how it was
written.

PyYAML's own constructors lose what a person needs to be told (line, column, the text before YAML
made a number of it), accept duplicate keys silently and recurse with the nesting. So the tree is
built here from libyaml's events, with bounds: no recursion, no tags, no anchors that unfold into
more than the file could hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import yaml

from dockmend.rules import yaml_hints

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MOST_TROUBLES = 200
"""After that many the file is read no further."""
MAX_UNFOLDED = 20_000
"""Nodes that aliases may add: a file of a few hundred bytes can otherwise unfold into gigabytes."""

_TAG = "tag:yaml.org,2002:"
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.CSafeLoader.yaml_implicit_resolvers
_BREAKS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

Path = tuple[str | int, ...]
"""Where in the data something is: keys and indices from the top."""


class YamlTrouble(Exception):
    """Something wrong at a place of the file; line and column count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


class Node:
    """One value of the file. `text` is a scalar's text before YAML made something of it; None for a
    collection.

    `flagged`: a problem with it was reported, so what follows from it is not reported again. `size`
    counts nodes, with aliases unfolded; 0 is a collection that is still open. Positions are worked
    out when they are asked for: most never are.
    """

    __slots__ = ("_mark", "flagged", "plain", "size", "text", "value")

    def __init__(self, mark: Any, value: Any, text: str | None, plain: bool = False) -> None:
        self._mark = mark
        self.value = value
        self.text = text
        self.plain = plain
        self.flagged = False
        self.size = 1

    @property
    def line(self) -> int:
        return int(self._mark.line) + 1

    @property
    def column(self) -> int:
        return int(self._mark.column) + 1

    def child(self, key: str | int) -> Node | None:
        return None

    def key(self, key: str | int) -> Node | None:
        return None


class Collection(Node):
    """A mapping (`keys` by name, `children` a dict) or a list (`keys` None). `end` is its last
    line."""

    __slots__ = ("children", "end", "keys", "pending")

    def __init__(self, mark: Any, mapping: bool) -> None:
        super().__init__(mark, {} if mapping else [], None)
        self.size = 0
        self.end = 0
        self.keys: dict[str, Node] | None = {} if mapping else None
        self.children: Any = {} if mapping else []
        self.pending: Node | None = None  # while it is read: the key whose value is awaited

    def child(self, key: str | int) -> Node | None:
        found: Node | None = None
        if self.keys is not None:
            found = self.children.get(key)
        elif isinstance(key, int) and 0 <= key < len(self.children):
            found = self.children[key]
        return found

    def key(self, key: str | int) -> Node | None:
        return self.keys.get(key) if self.keys is not None and isinstance(key, str) else None


class YamlDocument:
    """A file as it was read. `root` is None where nothing could be made of it; `troubles` says
    why."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.root: Node | None = None
        self.troubles: list[YamlTrouble] = []

    @cached_property
    def lines(self) -> list[str]:
        return _BREAKS.split(self.text)

    @cached_property
    def commented(self) -> bool:
        """Whether there may be a comment after a value."""
        return " #" in self.text

    @property
    def data(self) -> Any:
        return self.root.value if self.root is not None else None

    def line(self, number: int) -> str:
        """The text of a line (from 1), "" beyond the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def offset(self, node: Node, offset: int) -> tuple[int, int]:
        """Line and column of the character `offset` of a scalar; of its start where the file writes
        it otherwise."""
        if node.text is not None:
            line = self.line(node.line)
            for start in (node.column - 1, node.column):
                if line.startswith(node.text, start) and node.text:
                    return node.line, start + 1 + min(max(offset, 0), len(node.text))
        return node.line, node.column

    def comment_after(self, node: Node) -> str | None:
        """The comment on the line of an unquoted scalar, that was perhaps meant to belong to it; or
        None."""
        if not node.plain or node.text is None or not self.commented:
            return None
        line = self.line(node.line)[node.column - 1 :]
        rest = line[len(node.text) :].lstrip()
        return rest if line.startswith(node.text) and rest.startswith("#") else None


def decode(path: str, content: bytes) -> YamlDocument:
    """Reads a file's bytes: at most 1 MiB of UTF-8. Never raises; what is wrong is in the
    document's `troubles`."""
    if len(content) > MAX_BYTES:
        document = YamlDocument(path, "")
        document.troubles.append(
            YamlTrouble(
                1, 1, f"the file has {len(content)} bytes, expected at most {MAX_BYTES} (1 MiB)"
            )
        )
        return document
    try:
        return parse(path, content.decode("utf-8"))
    except UnicodeDecodeError as error:
        document = YamlDocument(path, "")
        before = content[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        message = f"byte 0x{content[error.start]:02x} is not UTF-8, expected a text file in UTF-8"
        document.troubles.append(YamlTrouble(before.count(b"\n") + 1, column, message))
        return document


def parse(path: str, text: str) -> YamlDocument:
    """Reads a text; never raises. A byte order mark is skipped."""
    document = YamlDocument(path, text.removeprefix("\ufeff"))
    builder = _NodeBuilder(document)
    try:
        document.root = builder.build()
    except YamlTrouble as trouble:
        document.troubles.append(trouble)
    except yaml.MarkedYAMLError as error:
        mark = error.context_mark if _starts_earlier(error) else error.problem_mark
        mark = mark or error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        message, column = yaml_hints.syntax(
            error.problem or "", error.context or "", document.line(line), column
        )
        document.troubles.append(YamlTrouble(line, column, message))
    except (yaml.reader.ReaderError, UnicodeEncodeError) as error:
        document.troubles.append(_unreadable(document.text, error))
    return document


def _starts_earlier(error: yaml.MarkedYAMLError) -> bool:
    """libyaml points behind a stray `*`, `>` or an open quote; the person looks for where it
    begins."""
    context = error.context or ""
    return error.context_mark is not None and any(
        what in context for what in ("alias", "scalar", "flow", "tag")
    )


def _unreadable(text: str, error: Exception) -> YamlTrouble:
    position = (
        error.position if isinstance(error, yaml.reader.ReaderError) else getattr(error, "start", 0)
    )
    if isinstance(error, yaml.reader.ReaderError):  # libyaml counts bytes
        position = len(text.encode("utf-8", "surrogatepass")[:position].decode("utf-8", "ignore"))
    before = text[:position]
    character = text[position : position + 1]
    what = f"character U+{ord(character):04X}" if character else "a character"
    message = f"{what} is not allowed in YAML, expected printable text"
    return YamlTrouble(before.count("\n") + 1, position - before.rfind("\n"), message)


class _NodeBuilder:
    """Builds the tree of one document from libyaml's events."""

    def __init__(self, document: YamlDocument) -> None:
        self.document = document
        self.anchors: dict[str, Node] = {}
        self.stack: list[Collection] = []
        self.root: Node | None = None
        self.unfolded = 0

    def build(self) -> Node | None:
        loader = yaml.CSafeLoader(self.document.text)
        try:
            self._read(loader.get_event)
        finally:
            loader.dispose()
        return self.root

    def _read(self, next_event: Callable[[], Any]) -> None:
        documents = 0
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._add(self._scalar(event))
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close(event)
            elif kind is yaml.AliasEvent:
                self._add(self._alias(event))
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    line, column = event.start_mark.line + 1, event.start_mark.column + 1
                    raise YamlTrouble(
                        line, column, "a second document begins, expected one document in a file"
                    )

    def trouble(self, node: Node, message: str) -> None:
        node.flagged = True
        trouble = YamlTrouble(node.line, node.column, message)
        if len(self.document.troubles) >= MOST_TROUBLES:
            raise trouble
        self.document.troubles.append(trouble)

    def _open(self, event: Any, mapping: bool) -> None:
        node = Collection(event.start_mark, mapping)
        if event.tag is not None and event.tag not in (_TAG + "map", _TAG + "seq", "!"):
            self.trouble(node, yaml_hints.tag(event.tag, ""))
        if len(self.stack) >= MAX_DEPTH:
            raise YamlTrouble(
                node.line,
                node.column,
                f"nested deeper than {MAX_DEPTH} levels, expected a flatter file",
            )
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self.stack.append(node)

    def _close(self, event: Any) -> None:
        node = self.stack.pop()
        children = node.children if node.keys is None else node.children.values()
        node.size = 1 + sum(child.size for child in children)
        mark = event.end_mark
        node.end = mark.line + 1 if mark.column else mark.line
        self._add(node)

    def _alias(self, event: Any) -> Node:
        node = self.anchors.get(event.anchor)
        mark = event.start_mark
        if node is None:
            line = self.document.line(mark.line + 1)
            raise YamlTrouble(mark.line + 1, mark.column + 1, yaml_hints.alias(line, mark.column))
        if not node.size:
            raise YamlTrouble(
                mark.line + 1, mark.column + 1, f"*{event.anchor} stands inside what it refers to"
            )
        self.unfolded += node.size
        if self.unfolded > MAX_UNFOLDED:
            message = (
                f"the file's references (*{event.anchor}) unfold into more than "
                f"{MAX_UNFOLDED} values"
            )
            raise YamlTrouble(mark.line + 1, mark.column + 1, message)
        return node

    def _scalar(self, event: Any) -> Node:
        text: str = event.value
        tag: str | None = event.tag
        if tag is None and event.implicit[0]:  # plain
            node = Node(event.start_mark, text, text, plain=True)
            for resolved, pattern in _RESOLVERS.get(text[:1], ()):
                if pattern.match(text):
                    self._resolve(node, resolved)
                    break
        elif tag is None or tag == "!" or tag == _TAG + "str":
            node = Node(event.start_mark, text, text)
        else:
            node = Node(event.start_mark, None if text == "" else text, text)
            if tag[len(_TAG) :] in ("int", "float", "bool", "null") and tag.startswith(_TAG):
                self._resolve(node, tag)
            else:
                self.trouble(node, yaml_hints.tag(tag, text))
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _resolve(self, node: Node, tag: str) -> None:
        """Makes of a scalar what YAML 1.1 makes of it; what surprises people is a trouble."""
        text = node.text or ""
        kind = tag[len(_TAG) :]
        if kind == "null":
            node.value = None
        elif kind == "bool":
            node.value = text.lower() in ("true", "yes", "on", "y")
        elif kind in ("int", "float"):
            number, trap = yaml_hints.number(text)
            node.value = text if number is None else number
            if trap is not None:
                self.trouble(node, trap)
        # dates and `=` stay the text they were: nothing in a rule is a date

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.keys is None:
            parent.children.append(node)
            parent.value.append(node.value)
            return
        key = parent.pending
        if key is None:
            parent.pending = self._key(node)
            return
        parent.pending = None
        name = key.text or ""
        if name in parent.keys:
            message = (
                f"the key `{name}` stands twice in one mapping (first on line "
                f"{parent.keys[name].line})"
            )
            self.trouble(key, f"{message}: YAML would keep the last, expected it once")
            return
        parent.keys[name] = key
        parent.children[name] = node
        parent.value[name] = node.value

    def _key(self, node: Node) -> Node:
        if node.text is None:
            raise YamlTrouble(
                node.line, node.column, "a list or a mapping stands as a key, expected a name"
            )
        if node.flagged:
            return node
        if not isinstance(node.value, str):
            self.trouble(node, yaml_hints.key(node.text, node.value))
        elif node.plain and node.text == "<<":
            self.trouble(
                node,
                "merging with `<<` is not understood here: write what rules share under `defaults`",
            )
        return node
