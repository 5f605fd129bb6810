"""Texts with fields in them: "{container.name} did not heal: {incident.reason}".

Never str.format: the text is a stranger's, and format strings reach into objects. `{path}` with a
known field is that field; `{now:%Y%m%d}` formats a time (UTC); `{word}` with an unknown one is an
error; every other brace is literal, so that JSON works; `{{` is a literal brace. What the rendered
text is put into, and how it is escaped there, is the caller's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dockmend.rules.field_paths import resolve
from dockmend.rules.fields import CATALOGUE, COMMON, Field
from dockmend.rules.language_error import LanguageError, quoted
from dockmend.rules.rule import Fields

LONGEST: Final = 20_000

_PLACE = re.compile(
    r"\{\{"
    r"|\{(?P<path>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_/-]+|\[[^\[\]{}\n]{1,200}\])*)(?::(?P<format>[^{}\n]*))?\}"
)
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_DIRECTIVES: Final = frozenset("YmdHMSfjaAbByIpuVGZz%")

Piece = str | Callable[[Fields], str]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text. `fields` are the catalogue's paths it names ("container.labels" for any
    label)."""

    text: str
    fields: frozenset[str]
    pieces: tuple[Piece, ...]

    @property
    def literal(self) -> str | None:
        """The text itself where it names no field, with `{{` resolved; else None."""
        return (
            None
            if self.fields
            else "".join(piece for piece in self.pieces if isinstance(piece, str))
        )

    def render(self, fields: Fields, quoted: Callable[[str], str] = str) -> str:
        """The text with its fields filled in; an absent one is "". `quoted`: makes of what a field
        holds what may stand in the text."""
        return "".join(
            piece if isinstance(piece, str) else quoted(piece(fields)) for piece in self.pieces
        )


def compile_template(text: str, contexts: frozenset[str] = COMMON | {"container"}) -> Template:
    """Check and compile a text. `contexts` as of fields.contexts_for. Raises LanguageError with the
    offset."""
    if len(text) > LONGEST:
        raise LanguageError(
            f"a text with fields has at most {LONGEST} characters, this one has {len(text)}",
            LONGEST,
        )
    pieces: list[Piece] = []
    named: set[str] = set()
    place = 0
    for found in _PLACE.finditer(text):
        piece = _piece(found, contexts, named)
        if piece is None:
            continue  # other braces are literal: the text up to here comes with the next piece
        if found.start() > place:
            pieces.append(text[place : found.start()])
        pieces.append(piece)
        place = found.end()
    if place < len(text):
        pieces.append(text[place:])
    return Template(text, frozenset(named), tuple(pieces))


def _piece(found: re.Match[str], contexts: frozenset[str], named: set[str]) -> Piece | None:
    """What stands for one place in the text: a literal brace, a field; None where the braces are
    literal."""
    if found["path"] is None:
        return "{"
    form = found["format"]
    root = re.split(r"[.\[]", found["path"], maxsplit=1)[0]
    known = any(path == root or path.startswith(root + ".") for path in CATALOGUE)
    if form is not None and not known and not form.startswith("%"):
        return None  # {a:1}
    try:
        field, key = resolve(found["path"], contexts)
    except LanguageError as error:
        hint = "" if known else "; for a literal brace write {{"
        raise LanguageError(
            error.message + hint, found.start("path") + (error.offset or 0)
        ) from None
    named.add(field.path)
    if form is None:
        return _reader(field, key)
    if field.type != "time":
        raise LanguageError(
            f"only a time takes a format, {field.path} is of type {field.type}",
            found.start("format"),
        )
    return _formatter(field.path, form, found.start("format"))


def _reader(field: Field, key: tuple[str, ...]) -> Callable[[Fields], str]:
    path = field.path
    if not key:
        if field.type == "time":
            return lambda fields: _timestamp(fields[path])
        return lambda fields: show(fields[path])

    def read(fields: Fields) -> str:
        value: Any = fields[path]
        for part in key:
            if not isinstance(value, Mapping):
                return ""
            value = value.get(part)
        return show(value)

    return read


def show(value: Any) -> str:
    """A field's value as text: "" where absent, numbers without a needless ".0", lists with commas,
    else JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, (list, tuple, Mapping)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _timestamp(value: Any) -> str:
    if value is None:
        return ""
    moment = _moment(value)
    return show(value) if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(value: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _formatter(path: str, form: str, offset: int) -> Callable[[Fields], str]:
    """Only the directives go to strftime: what lies between them is the stranger's."""
    pieces: list[tuple[bool, str]] = []
    place = 0
    for found in _DIRECTIVE.finditer(form):
        if found[1] not in _DIRECTIVES or not found[1]:
            known = " ".join("%" + char for char in sorted(_DIRECTIVES))
            raise LanguageError(
                f"unknown format {quoted(found[0])}: expected one of {known}",
                offset + found.start(),
            )
        if found.start() > place:
            pieces.append((False, form[place : found.start()]))
        pieces.append((True, found[0]))
        place = found.end()
    if place < len(form):
        pieces.append((False, form[place:]))
    if not any(directive for directive, _ in pieces):
        raise LanguageError(
            f"{quoted(form)} formats nothing: expected a format such as %Y%m%dT%H%M%S", offset
        )

    def render(fields: Fields) -> str:
        value = fields[path]
        moment = None if value is None else _moment(value)
        if moment is None:
            return ""
        return "".join(moment.strftime(text) if directive else text for directive, text in pieces)

    return render
