"""The values of a rule file as pydantic types: durations, amounts, templates, signals.

A wrong value raises one of two errors, which rules/diagnostics.py turns into a sentence with its
place: `wrong_type` (with what was expected) or `language` (with an offset inside the text).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from dockmend.rules.durations import at_least_a_second, duration, per, some, span, within
from dockmend.rules.fields import CONTEXTS
from dockmend.rules.language_error import LanguageError, did_you_mean
from dockmend.rules.patterns import parse_pattern
from dockmend.rules.templates import compile_template

T = TypeVar("T")

DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*[0-9]",
    "description": "a duration such as 30s, 5m, 1h30m, 1d",
}


class Params(BaseModel):
    """Base of everything that is read from a rule file: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    def later(self) -> list[tuple[str, str]]:
        """What of it is not yet in this version: (the key, the name to say)."""
        return []


def wrong_type(expected: str) -> PydanticCustomError:
    return PydanticCustomError("wrong_type", "expected {expected}", {"expected": expected})


def said(problem: str, offset: int | None = 0) -> PydanticCustomError:
    """An error whose sentence is complete; `offset` counts characters into the value's text."""
    return PydanticCustomError("language", "{problem}", {"problem": problem, "offset": offset or 0})


def text_value(
    read: Callable[[str], T], expected: str, none: bool = False
) -> Callable[[Any], T | None]:
    """A validator: the value must be text and `read` must accept it; with `none`, the text none
    means None."""

    def validate(value: Any) -> T | None:
        if not isinstance(value, str):
            raise wrong_type(expected)
        if none and value == "none":
            return None
        try:
            return read(value)
        except LanguageError as error:
            raise said(error.message, error.offset) from None

    return validate


def _template(value: Any, info: ValidationInfo) -> str:
    """Checks the fields a text names; the validation's context is the rule's contexts
    (fields.contexts_for)."""
    if not isinstance(value, str):
        raise wrong_type("text")
    if "{" in value or "}" in value:
        try:
            compile_template(value, info.context or CONTEXTS)
        except LanguageError as error:
            raise said(error.message, error.offset) from None
    return value


_SIGNALS = frozenset(
    (
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
        "RTMIN", "RTMAX",
    )
) | {f"RTMIN+{n}" for n in range(1, 16)} | {f"RTMAX-{n}" for n in range(1, 15)}  # fmt: skip
"""The names that the engine knows on Linux (moby/sys/signal, SignalMap)."""


def _signal(value: Any) -> str:
    name = (
        str(value).upper() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    )
    if name.isascii() and name.isdecimal() and 1 <= int(name) <= 64:
        return name
    bare = name.removeprefix("SIG")
    if bare in _SIGNALS:
        return f"SIG{bare}"
    raise wrong_type(f"a signal such as SIGTERM, TERM or 15{did_you_mean(bare, _SIGNALS)}")


def _size(value: Any) -> int:
    match = re.fullmatch(r"([0-9]+)([bkmgt]?)b?", value.lower()) if isinstance(value, str) else None
    if match is None:
        raise wrong_type("a size such as 512m or 2g")
    size: int = int(match[1]) << (10 * "bkmgt".index(match[2] or "b"))
    if not size:
        raise wrong_type("a size above zero, such as 512m or 2g")
    return size


LEAST_MEMORY = 6 << 20
"""Bytes: the engine takes no smaller limit (moby, linuxMinMemory), and takes 0 for no limit at
all."""

_GROWTH = re.compile(r"\+\s*(?:([0-9]{1,4})%|([0-9]+[bkmgt]?b?))")


def _memory(value: Any) -> int | str:
    """A size, or a growth as it was written. Zero is refused: to the engine it means no limit."""
    expected = "a size such as 512m, or a growth such as +50% or +256m with a `ceiling`"
    if isinstance(value, str) and (growth := _GROWTH.fullmatch(value.lower())):
        if not int(re.sub("[^0-9]", "", growth[0])):
            raise wrong_type(expected)
        return value.lower()
    try:
        size = 0 if value == "0" else _size(value)
    except PydanticCustomError:
        raise wrong_type(expected) from None
    if size < LEAST_MEMORY:
        why = (
            "6m is the least that the engine takes"
            if size
            else "to the engine zero is no limit at all"
        )
        raise wrong_type(f"{expected} ({why})")
    return size


def grown(current: int, by: str) -> int:
    """`current` bytes and a growth of Memory ("+50%", "+256m")."""
    match = _GROWTH.fullmatch(by)
    if match is None:
        raise ValueError(f"{by!r} is no growth")
    return current + (-(-current * int(match[1]) // 100) if match[1] else _size(match[2]))


def _exit_codes(value: Any) -> tuple[int, ...]:
    codes = tuple(value) if isinstance(value, list) else (value,)
    if not codes or not all(type(code) is int and 0 <= code <= 255 for code in codes):
        raise wrong_type("an exit code from 0 to 255, or a list of them")
    return codes


def _pattern_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise wrong_type("a name or a pattern")
    try:
        parse_pattern(value)
    except LanguageError as error:
        raise said(error.message, error.offset) from None
    return value


def _text_schema(description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "description": description})


Duration = Annotated[
    float,
    PlainValidator(text_value(duration, "a duration such as 30s or 5m")),
    WithJsonSchema(DURATION_SCHEMA),
]
SomeTime = Annotated[
    float,
    PlainValidator(text_value(some, "a duration such as 30s or 5m")),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A time in which something is to happen: not zero."""
TimeToWork = Annotated[
    float,
    PlainValidator(text_value(at_least_a_second, "a duration such as 30s or 5m")),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A time in which an attempt has to show its effect: at least a second."""
DurationOrNone = Annotated[
    float | None,
    PlainValidator(text_value(duration, "a duration such as 30s or 5m, or none", none=True)),
    _text_schema("a duration such as 30s or 5m, or none"),
]
PerOrNone = Annotated[
    tuple[int, float] | None,
    PlainValidator(text_value(per, "an amount such as 5 per 15m, or none", none=True)),
    _text_schema("an amount such as 5 per 15m, or none"),
]
SpanOrNone = Annotated[
    tuple[float, float] | None,
    PlainValidator(text_value(span, "a span such as 1s to 5m, or none", none=True)),
    _text_schema("a span such as 1s to 5m, or none"),
]
Times = Annotated[
    tuple[int, float],
    PlainValidator(text_value(within, "an amount such as 3 within 10m")),
    _text_schema("an amount such as 3 within 10m"),
]
Template = Annotated[
    str,
    PlainValidator(_template),
    WithJsonSchema({"type": "string", "description": "{path} is a field"}),
]
Signal = Annotated[
    str,
    PlainValidator(_signal),
    WithJsonSchema({"type": ["string", "integer"], "description": "SIGTERM, TERM or 15"}),
]
Size = Annotated[int, PlainValidator(_size), _text_schema("a size such as 512m or 2g")]
Memory = Annotated[
    int | str,
    PlainValidator(_memory),
    _text_schema("a size such as 512m, or a growth such as +50%"),
]
_CODE_SCHEMA = {"type": "integer", "minimum": 0, "maximum": 255}
ExitCodes = Annotated[
    tuple[int, ...],
    PlainValidator(_exit_codes),
    WithJsonSchema(
        {"anyOf": [_CODE_SCHEMA, {"type": "array", "items": _CODE_SCHEMA, "minItems": 1}]}
    ),
]
Pattern = Annotated[
    str, PlainValidator(_pattern_text), _text_schema("a glob, or /…/ a regular expression")
]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _one_or_many(value: Any) -> tuple[str, ...]:
    many = tuple(value) if isinstance(value, list) else (value,)
    if not many or not all(isinstance(one, str) and one for one in many):
        raise wrong_type("a name, or a list of names")
    return many


OneOrMany = Annotated[
    tuple[str, ...],
    PlainValidator(_one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]


def _patterns(value: Any) -> str | tuple[str, ...]:
    """Of a label: the empty text is a value like any other."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise wrong_type("text, or a list of texts")


PatternOrMany = Annotated[
    str | tuple[str, ...],
    PlainValidator(_patterns),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]


def many(item: Any) -> Any:
    """A list in the file, a tuple in the model (models are frozen)."""
    return Annotated[tuple[item, ...], Field(strict=False)]
