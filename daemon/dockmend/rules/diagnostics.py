"""From an error somewhere in the data to a sentence at its place in the file: `path:line:column:
rule NAME: …`.

One `Reporter` serves one file and collects everything that is wrong with it; a `Scope` serves one
rule of it and knows that a part of the rule may come from the file's `defaults`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dockmend import redaction
from dockmend.errors import Problem
from dockmend.rules import yaml_hints
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted
from dockmend.rules.located_yaml import MOST_TROUBLES, Collection, Node, Path, YamlDocument

Model = TypeVar("Model", bound=BaseModel)

_MISSING = {
    "match": "which objects the rule is for (`match: all` for every one)",
    "when": "a trigger such as container.unhealthy",
    "then": "an action such as restart",
    "name": "a name that is unique over all files",
    "version": "`version: 1`",
    "rules": "a list of rules",
    "consistency": "live, pause, stop or hooks (it is always written)",
}
_EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "bool_type": "true or false", "list_type": "a list",
    "tuple_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "string_too_short": "a text that is not empty",
    "int_parsing_size": "a smaller number", "float_parsing": "a number",
    "finite_number": "a number",
}  # fmt: skip
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"), "less_than": ("lt", "less than"),
}  # fmt: skip


MOST_PROBLEMS = MOST_TROUBLES
"""Errors that are told of one file, and warnings: a person mends the first few, and each takes time
to word."""


class Reporter:
    """Collects the problems of one file, of each level MOST_PROBLEMS at most; then says that there
    are more."""

    def __init__(self, document: YamlDocument) -> None:
        self.document = document
        self.problems: dict[Problem, None] = {}  # ordered, without duplicates
        self._counts = {"error": 0, "warning": 0}

    @property
    def full(self) -> bool:
        """No further error would be told: there is no use in looking for one."""
        return self._counts["error"] > MOST_PROBLEMS

    def add(
        self, line: int, column: int, message: str, rule: str | None = None, warning: bool = False
    ) -> None:
        level = "warning" if warning else "error"
        if self._counts[level] >= MOST_PROBLEMS:
            if self._counts[level] == MOST_PROBLEMS:
                message, rule = (
                    f"more than {MOST_PROBLEMS} {level}s: the others are not shown",
                    None,
                )
            else:
                return
        # One line, whatever it quotes.
        message = "".join(char if char.isprintable() else "�" for char in message[:1000])
        problem = Problem(self.document.path, line, column, message, rule, level)  # type: ignore[arg-type]
        if problem not in self.problems:
            self.problems[problem] = None
            self._counts[level] += 1


class Scope:
    """Where problems of one rule (or of the file's top level) are reported. `node` is its
    mapping."""

    def __init__(
        self, reporter: Reporter, node: Node, name: str | None = None, defaults: Node | None = None
    ) -> None:
        self.reporter = reporter
        self.node = node
        self.name = name
        self.defaults = defaults
        self.errors = 0
        self.shadow = False  # dry_run: what is not yet in this version is a warning

    def error(
        self, path: Path, message: str, *, key: bool = False, offset: int | None = None
    ) -> None:
        """Reports an error at `path` (from the scope's mapping); `key`: at the key, not at its
        value."""
        place = self._place(path, key, offset)
        self.errors += 1
        if place is not None:
            line, column, rule = place
            self.reporter.add(line, column, message, rule)

    def warn(self, path: Path, message: str, *, key: bool = False) -> None:
        place = self._place(path, key, None)
        if place is not None:
            line, column, _ = place
            self.reporter.add(line, column, message, self.name, warning=True)

    def later(self, path: Path, name: str, *, key: bool = False, tolerated: bool = False) -> None:
        """Reports what a later version will do: an error, unless nothing is to be done (yet)."""
        message = f"not yet in this version: {name}"
        if self.shadow or tolerated:
            self.warn(path, message, key=key)
        else:
            self.error(path, message, key=key)

    def language(self, path: Path, error: LanguageError, what: str = "") -> None:
        key = what or _key_of(path)
        self.error(path, f"`{key}`: {error.message}", offset=error.offset)

    def wrong(self, path: Path, value: Any, expected: str) -> None:
        """Reports that the value at `path` is of the wrong kind, with what YAML made of it."""
        node = self.find(path)
        hint = yaml_hints.wrong_type(
            value, node.text if node is not None else None, _key_of(path), expected
        )
        what = f"`{_key_of(path)}`" if path else "this"
        if expected == "text" and ("env" in path or redaction.is_secretive(_key_of(path))):
            # An error is told in the log, where the value is not to be.
            self.error(
                path,
                f"{what} is not text: put it in quotes, if it is a number, a date or a yes or no",
            )
            return
        self.error(path, f"{what} is {yaml_hints.kind(value)}{hint}: expected {expected}")

    def own(self, path: Path) -> bool:
        """True where the rule itself says it, not the file's defaults."""
        return _walk(self.node, path)[1] == len(path)

    def find(self, path: Path) -> Node | None:
        """The node at `path`, the rule's own before the file's defaults."""
        own, depth = _walk(self.node, path)
        if depth == len(path):
            return own
        if self.defaults is not None:
            inherited, reached = _walk(self.defaults, path)
            if reached == len(path):
                return inherited
        return None

    def read(self, model: type[Model], data: Any, path: Path, context: Any = None) -> Model | None:
        """Validates a part of the rule; None (and everything wrong reported) where it is not as it
        should be."""
        try:
            return model.model_validate(data, context=context)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
            misspelt = {self._meant(model, error, path) for error in errors}
            for error in errors:
                if error["type"] != "missing" or error["loc"] not in misspelt:
                    self._validation(model, error, path)
            return None

    def _meant(self, model: type[BaseModel], error: Any, base: Path) -> Path | None:
        """The key that a misspelt one was meant to be: that it is missing needs no error of its
        own."""
        loc: Path = error["loc"]
        if error["type"] == "extra_forbidden":
            return (*loc[:-1], yaml_hints.nearest(str(loc[-1]), _keys(model, loc[:-1])) or "")
        parent = self.find((*base, *loc[:-1]))
        if (
            error["type"] == "missing"
            and parent is not None
            and isinstance(parent, Collection)
            and any(key.flagged for key in (parent.keys or {}).values())
        ):
            return (*loc[:-1], "when")  # `on:`, which YAML made a boolean of
        return None

    def _validation(self, model: type[BaseModel], error: Any, base: Path) -> None:
        kind: str = error["type"]
        at: Path = error["loc"]
        if at[-1:] == ("[key]",) and kind != "extra_forbidden":
            # pydantic's word for a key that is wrong itself; a person may have written a key of
            # that name
            at = at[:-1]
        path = (*base, *at)
        key = _key_of(path)
        context: Mapping[str, Any] = error.get("ctx", {})
        if kind == "missing":
            hint = f": expected {_MISSING[key]}" if key in _MISSING else ""
            self.error(path[:-1], f"`{key}` is missing{hint}")
        elif kind == "extra_forbidden":
            self.unknown_key(path, _keys(model, error["loc"][:-1]))
        elif kind == "language":
            self.error(path, f"`{key}`: {context['problem']}", offset=context["offset"])
        else:
            self.wrong(
                path, error["input"], _expectation(kind, context, error["input"], error["msg"])
            )

    def unknown_key(self, path: Path, known: Iterable[str]) -> None:
        names = sorted(known)
        word = str(path[-1])
        near = yaml_hints.nearest(word, names)
        hint = f' (did you mean "{near}"?)' if near is not None else ""
        expected = (
            f"one of {', '.join(names)}"
            if len(names) > 1
            else f"only {names[0]}"
            if names
            else "no keys here"
        )
        self.error(path, f"unknown key {quoted(word)}{hint}: expected {expected}", key=True)

    def _place(
        self, path: Path, key: bool, offset: int | None
    ) -> tuple[int, int, str | None] | None:
        _, depth = _walk(self.node, path)
        root, rule = self.node, self.name
        if (
            depth < len(path)
            and self.defaults is not None
            and _walk(self.defaults, path)[1] == len(path)
        ):
            root, rule = self.defaults, None
        trail = _trail(root, path)
        if any(node.flagged for node in trail):
            return None
        node = trail[-1]
        if key and path and len(trail) > len(path):
            node = trail[-2].key(path[-1]) or node
            return None if node.flagged else (node.line, node.column, rule)
        if (
            len(trail) > 1
            and (own_key := trail[-2].key(path[len(trail) - 2])) is not None
            and own_key.flagged
        ):
            return None
        if offset is not None and len(trail) == len(path) + 1:
            return (*self.reporter.document.offset(node, offset), rule)
        return node.line, node.column, rule


def _walk(node: Node, path: Path) -> tuple[Node, int]:
    """The deepest node on the way along `path`, and how many steps of it were possible."""
    for depth, part in enumerate(path):
        child = node.child(part)
        if child is None:
            return node, depth
        node = child
    return node, len(path)


def _trail(node: Node, path: Path) -> list[Node]:
    trail = [node]
    for part in path:
        child = trail[-1].child(part)
        if child is None:
            break
        trail.append(child)
    return trail


def _key_of(path: Path) -> str:
    """The last name on a path, with its index where it is an item of a list."""
    names = [part for part in path if isinstance(part, str)]
    return names[-1] if names else "file" if not path else "item"


def _keys(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys a model (or the model nested at `loc`) knows."""
    for part in loc:
        field = next(
            (f for name, f in model.model_fields.items() if (f.alias or name) == part), None
        )
        nested = _model_in(field.annotation) if field is not None else None
        if nested is None:
            return []
        model = nested
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        (
            found
            for part in getattr(annotation, "__args__", ())
            if (found := _model_in(part)) is not None
        ),
        None,
    )


def _expectation(kind: str, context: Mapping[str, Any], value: Any, message: str) -> str:
    if kind == "wrong_type":
        return str(context["expected"])
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        if not choices:
            return f"the number {context['expected']}"
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        return _listed(choices) + near
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {context[name]}"
    return _EXPECTED.get(kind, message)


def _listed(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
