"""The typed pieces conditions are made of: each knows its type when the rule is loaded and its
value when it runs.

What can go wrong at run time is an absent value, a division by zero or a payload of another type
than hoped for: each is a ConditionError that names the part.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from dockmend.rules.durations import duration
from dockmend.rules.fields import Field
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted
from dockmend.rules.patterns import compile_pattern
from dockmend.rules.rule import ConditionError, Fields

Type = Literal["text", "number", "flag", "list", "map", "null", "any"]
Run = Callable[[Fields], Any]
Check = Callable[[Fields], bool]

LARGEST: Final = 1e18
_ORDERS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SUMS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OperatorTerm:
    """`element` is the type of a list's items, `value` a constant's, `choices` all a field can be,
    `path` its name."""

    type: Type
    run: Run
    path: str = ""
    element: Type | None = None
    choices: tuple[str, ...] = ()
    is_constant: bool = False
    value: Any = None

    @classmethod
    def of_field(cls, field: Field, keys: tuple[str, ...]) -> OperatorTerm:
        """The term that reads a field of the catalogue; `keys` go into maps and payloads."""
        path = field.path
        shown = path + "".join(f'["{key}"]' for key in keys)
        if field.type == "map" and keys:
            key = keys[0]

            def read(fields: Fields) -> Any:
                held = fields[path]
                return None if held is None else held.get(key)

            return cls("text", read, shown)
        if field.type == "any":
            return cls("any", _below(path, keys), shown)
        type_: Type = "number" if field.type == "time" else field.type
        return cls(
            type_,
            lambda fields: fields[path],
            shown,
            "text" if type_ == "list" else None,
            field.choices,
        )


def _below(path: str, keys: tuple[str, ...]) -> Run:
    def read(fields: Fields) -> Any:
        value = fields[path]
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    return read


def constant(value: object) -> OperatorTerm:
    """A literal. Raises LanguageError for bytes, complex numbers, the ellipsis and numbers out of
    all proportion."""
    if isinstance(value, bool):
        type_: Type = "flag"
    elif isinstance(value, (int, float)):
        if abs(value) > LARGEST:
            raise LanguageError("this number is too large")
        type_ = "number"
    elif isinstance(value, str):
        type_ = "text"
    elif value is None:
        type_ = "null"
    else:
        raise LanguageError(f"a {type(value).__name__} cannot be used in a condition")
    return OperatorTerm(type_, lambda _fields: value, is_constant=True, value=value)


def sequence(items: list[OperatorTerm]) -> OperatorTerm:
    """A list written out: its items are of one type."""
    types = {item.type for item in items} - {"null", "any"}
    if len(types) > 1:
        raise LanguageError(
            f"the items of a list are of one type, here are {' and '.join(sorted(types))}"
        )
    if types & {"list", "map"}:
        raise LanguageError("a list holds texts or numbers, not other lists")
    element: Type = next(iter(types), "any")
    if all(item.is_constant for item in items):
        values = tuple(item.value for item in items)
        return OperatorTerm(
            "list", lambda _fields: values, element=element, is_constant=True, value=values
        )
    runs = tuple(item.run for item in items)
    return OperatorTerm("list", lambda fields: tuple(run(fields) for run in runs), element=element)


def compare(symbol: str, left: OperatorTerm, right: OperatorTerm) -> Check:
    """`==`, `!=` or an ordering. Raises LanguageError where the types can never be compared."""
    known = {left.type, right.type} - {"any", "null"}
    if len(known) > 1:
        raise LanguageError(_mismatch(symbol, left, right))
    one, other = left.run, right.run
    if symbol in ("==", "!="):
        _check_choice(left, right)
        _check_choice(right, left)
        if symbol == "==":
            return lambda fields: _equal(one(fields), other(fields))
        return lambda fields: not _equal(one(fields), other(fields))
    if known & {"flag", "list", "map"} or (not known and "any" not in (left.type, right.type)):
        raise LanguageError(
            f"`{symbol}` orders numbers or texts, not {_kind(left)} and {_kind(right)}"
        )
    if "null" in (left.type, right.type):
        raise LanguageError(
            f"null has no order: `{symbol}` needs a value, == and != work with null"
        )
    order = _ORDERS[symbol]

    def ordered(fields: Fields) -> bool:
        first, second = one(fields), other(fields)
        if type(first) is not type(second) and not (_is_number(first) and _is_number(second)):
            raise ConditionError(_unordered(symbol, left, first, right, second))
        try:
            return bool(order(first, second))
        except TypeError:
            raise ConditionError(_unordered(symbol, left, first, right, second)) from None

    return ordered


def membership(item: OperatorTerm, held: OperatorTerm, *, inverted: bool) -> Check:
    """`in` and `not in`: a text in a text, an item in a list, a key in a map."""
    if held.type == "text" and item.type not in ("text", "any"):
        raise LanguageError(f"only a text can be in a text, {_kind(item)} cannot")
    if held.type == "map" and item.type not in ("text", "any"):
        raise LanguageError(f"the keys of a map are texts, {_kind(item)} cannot be one")
    if (
        held.type == "list"
        and not {item.type, held.element} & {"any", "null"}
        and item.type != held.element
    ):
        raise LanguageError(f"this list holds {held.element}s: {_kind(item)} is never in it")
    if held.type not in ("text", "list", "map", "any"):
        raise LanguageError(f"`in` needs a list, a map or a text on its right, not {_kind(held)}")
    if held.is_constant and held.type == "list" and item.choices:
        for value in held.value:
            _check_choice(item, constant(value))
    one, other, name = item.run, held.run, held.path

    def check(fields: Fields) -> bool:
        value, container = one(fields), other(fields)
        if isinstance(container, (tuple, list)):
            found = any(_equal(value, entry) for entry in container)
        elif isinstance(container, (str, Mapping)) and isinstance(value, str):
            found = value in container
        else:
            said = name if container is None else item.path
            raise ConditionError(
                f"{said or 'a value'} is absent (null) or of the wrong type for `in`"
            )
        return found is not inverted

    return check


def arithmetic(symbol: str, left: OperatorTerm, right: OperatorTerm) -> OperatorTerm:
    """`+ - * /` on numbers, and `+` on texts."""
    known = {left.type, right.type} - {"any"}
    if known == {"text"} and symbol == "+":
        type_: Type = "text"
    elif known <= {"number"}:
        type_ = "number" if known else "any"
    else:
        texts = " or texts" if symbol == "+" else ""
        raise LanguageError(
            f"`{symbol}` needs numbers{texts}, not {_kind(left)} and {_kind(right)}"
        )
    one, other, work = left.run, right.run, _SUMS[symbol]

    def run(fields: Fields) -> Any:
        first, second = one(fields), other(fields)
        texts = symbol == "+" and isinstance(first, str) and isinstance(second, str)
        if not texts and not (_is_number(first) and _is_number(second)):
            raise ConditionError(_unordered(symbol, left, first, right, second))
        try:
            return work(first, second)
        except (ZeroDivisionError, OverflowError) as error:
            raise ConditionError(f"`{symbol}`: {error}") from None

    return OperatorTerm(type_, run)


def negated_number(term: OperatorTerm) -> OperatorTerm:
    if term.type not in ("number", "any"):
        raise LanguageError(f"a sign goes with a number, not with {_kind(term)}")
    if term.is_constant:
        return constant(-term.value)
    return arithmetic("-", constant(0), term)


def call(name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
    """One of the functions. Raises LanguageError for an unknown one or wrong arguments."""
    known = FUNCTIONS.get(name)
    if known is None:
        hint = did_you_mean(name, FUNCTIONS)
        raise LanguageError(
            f"unknown function {quoted(name)}{hint}: expected one of {', '.join(sorted(FUNCTIONS))}"
        )
    wanted, build = known
    if len(arguments) != len(wanted):
        plural = "s" if len(wanted) > 1 else ""
        raise LanguageError(f"{name} takes {len(wanted)} argument{plural}, not {len(arguments)}")
    for argument, types in zip(arguments, wanted, strict=True):
        if argument.type != "any" and argument.type not in types:
            raise LanguageError(f"{name} takes {' or '.join(types)}, not {_kind(argument)}")
    return build(name, arguments)


def _on_text(
    result: Type, work: Callable[[str], Any]
) -> Callable[[str, list[OperatorTerm]], OperatorTerm]:
    """A function of one text; absent stays absent, so that == still works."""

    def build(name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
        only = arguments[0]

        def run(fields: Fields) -> Any:
            value = only.run(fields)
            if value is None:
                return None
            if not isinstance(value, str):
                raise ConditionError(f"{name} needs a text, {only.path or 'this'} is none")
            return work(value)

        return OperatorTerm(result, run, f"{name}({only.path})")

    return build


def _number(text: str) -> float:
    try:
        value = float(text) if len(text) <= 40 else float("nan")
    except ValueError:
        value = float("nan")
    if not abs(value) <= LARGEST:
        raise ConditionError(f"{quoted(text)} is not a number")
    return value


def _two_texts(
    work: Callable[[str, str], bool],
) -> Callable[[str, list[OperatorTerm]], OperatorTerm]:
    def build(name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
        one, other = arguments

        def run(fields: Fields) -> bool:
            return work(_text(name, one, fields), _text(name, other, fields))

        return OperatorTerm("flag", run, name)

    return build


def _text(name: str, term: OperatorTerm, fields: Fields) -> str:
    value = term.run(fields)
    if not isinstance(value, str):
        said = "absent (null)" if value is None else "not a text"
        raise ConditionError(f"{term.path or 'a value'} is {said}: {name} needs a text")
    return value


def _matches(name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
    subject, pattern = arguments
    if not (pattern.is_constant and isinstance(pattern.value, str)):
        raise LanguageError(
            'matches takes a pattern that is written out, such as "web-*" or "/^web[0-9]+$/"'
        )
    try:
        test = compile_pattern(pattern.value)
    except LanguageError as error:
        raise LanguageError(error.message) from None
    return OperatorTerm("flag", lambda fields: test(_text(name, subject, fields)), name)


def _length(name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
    only = arguments[0]

    def run(fields: Fields) -> int:
        value = only.run(fields)
        if not isinstance(value, (str, tuple, list, Mapping)):
            raise ConditionError(f"{only.path or 'a value'} is absent (null) or has no length")
        return len(value)

    return OperatorTerm("number", run, f"{name}({only.path})")


def _seconds(_name: str, arguments: list[OperatorTerm]) -> OperatorTerm:
    only = arguments[0]
    if not only.is_constant:
        raise LanguageError('duration takes a text that is written out, such as "5m"')
    try:
        return constant(duration(only.value))
    except LanguageError as error:
        raise LanguageError(error.message) from None


_Types = tuple[Type, ...]
FUNCTIONS: Final[
    Mapping[str, tuple[tuple[_Types, ...], Callable[[str, list[OperatorTerm]], OperatorTerm]]]
] = {
    "len": ((("text", "list", "map"),), _length),
    "lower": ((("text",),), _on_text("text", str.lower)),
    "upper": ((("text",),), _on_text("text", str.upper)),
    "number": ((("text",),), _on_text("number", _number)),
    "startswith": ((("text",), ("text",)), _two_texts(str.startswith)),
    "endswith": ((("text",), ("text",)), _two_texts(str.endswith)),
    "matches": ((("text",), ("text",)), _matches),
    "duration": ((("text",),), _seconds),
}
"""Each function's arguments (the types each may have) and what builds its term."""


def _equal(first: Any, second: Any) -> bool:
    """Equality of values of one type: 1 is not true, and absent equals absent only."""
    if isinstance(first, bool) is not isinstance(second, bool):
        return False
    return bool(first == second)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_choice(field: OperatorTerm, other: OperatorTerm) -> None:
    """`container.state == "runing"` can never hold."""
    if (
        field.choices
        and other.is_constant
        and isinstance(other.value, str)
        and other.value not in field.choices
    ):
        near = did_you_mean(other.value, field.choices)
        expected = ", ".join(field.choices)
        raise LanguageError(
            f"{field.path} is never {quoted(other.value)}{near}: expected one of "
            f"{expected}, or null"
        )


_SAID: Final[dict[str, str]] = {
    "text": "a text", "number": "a number", "flag": "a truth value", "list": "a list",
    "map": "a map", "null": "null",
}  # fmt: skip


def _kind(term: OperatorTerm) -> str:
    said = _SAID.get(term.type, "a value")
    return f"{said} ({term.path})" if term.path else said


def _mismatch(symbol: str, left: OperatorTerm, right: OperatorTerm) -> str:
    said = f"`{symbol}` cannot compare {_kind(left)} with {_kind(right)}"
    label, literal = (left, right) if left.path else (right, left)
    if (
        label.type == "text"
        and label.path.endswith("]")
        and literal.is_constant
        and literal.type == "number"
    ):
        return (
            f'{said}: labels are texts, compare with "{literal.value}" or use number({label.path})'
        )
    if label.type == "number" and literal.is_constant and literal.type == "text":
        return f"{said}: leave out the quotes"
    if label.type == "flag" and literal.is_constant and literal.type == "text":
        return f"{said}: expected true or false without quotes"
    return said


def _unordered(
    symbol: str, left: OperatorTerm, first: object, right: OperatorTerm, second: object
) -> str:
    if first is None or second is None:
        name = left.path if first is None else right.path
        return f"{name or 'a value'} is absent (null): `{symbol}` needs a value"
    return (
        f"`{symbol}` cannot be used on {left.path or 'a value'} and "
        f"{right.path or 'a value'}: their types differ"
    )
