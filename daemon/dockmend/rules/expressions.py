"""The language of `if`: a checked subset of Python's own grammar, compiled once to closures.

`and or not`, comparisons (chained ones too), `in`, `+ - * /`, texts, numbers, lists, true, false,
null, the fields of the catalogue and a few functions. Everything is checked when a rule is loaded:
names, types, size and depth. There are no loops, no attributes of objects, no powers and no
repetition of texts, so what was accepted ends soon and needs no limit on its time. Nothing is ever
handed to eval.

An absent field is null: `==`, `!=` and `in [...]` work with it, whatever needs a value (ordering,
arithmetic, `startswith`) raises ConditionError at run time, and the rule is suppressed with the
reason `condition_error`.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dockmend.rules.field_paths import check_context, keyed, resolve
from dockmend.rules.fields import CATALOGUE, COMMON
from dockmend.rules.language_error import LanguageError, quoted
from dockmend.rules.operators import (
    OperatorTerm,
    arithmetic,
    call,
    compare,
    constant,
    membership,
    negated_number,
    sequence,
)
from dockmend.rules.rule import ConditionError, Fields

LONGEST: Final = 2000
MOST_PARTS: Final = 300
DEEPEST: Final = 30

_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_LOGIC: Final = {ast.And: "and", ast.Or: "or"}
_ARITHMETIC: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "==", ast.IsNot: "!=",
}  # fmt: skip
_SLIPS: Final = (
    (re.compile(r"&&"), "and"),
    (re.compile(r"\|\|"), "or"),
    (re.compile(r"!(?!=)"), "not"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "=="),
    (re.compile(r"<>"), "!="),
)
_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition ready to run: call it with the fields. `fields` are the catalogue's paths it
    names."""

    text: str
    fields: frozenset[str]
    run: Callable[[Fields], object]

    def __call__(self, fields: Fields) -> bool:
        """Raises ConditionError where it cannot be answered."""
        answer = self.run(fields)
        if isinstance(answer, bool):
            return answer
        raise ConditionError(
            f"{quoted(self.text)} is {quoted(str(answer))}, neither true nor false"
        )


def compile_condition(
    text: str, contexts: frozenset[str] = COMMON | {"container"}
) -> CompiledCondition:
    """Check and compile an `if`. `contexts` as of fields.contexts_for. Raises LanguageError with
    the offset."""
    if len(text) > LONGEST:
        raise LanguageError(
            f"a condition has at most {LONGEST} characters, this one has {len(text)}", LONGEST
        )
    line, start = _one_line(text)
    tree = _parse(line, start)
    _bound(tree)
    compiler = _Compiler(line, start, contexts)
    term = compiler.compile(tree.body)
    if term.type not in ("flag", "any"):
        expected = f"expected a comparison such as {_example(term)}"
        raise LanguageError(
            f"a condition is true or false, this one is {_a(term.type)}: {expected}", start
        )
    return CompiledCondition(text, frozenset(compiler.fields), term.run)


def _one_line(text: str) -> tuple[str, int]:
    """The condition on one line (YAML folds them freely) and how many characters were taken off
    before it."""
    plain = list(text)
    strings = [False] * len(text)
    for found in _STRINGS.finditer(text):
        strings[found.start() : found.end()] = [True] * (found.end() - found.start())
    for place, char in enumerate(text):
        if char in "\r\n\t\f" and not strings[place]:
            plain[place] = " "
        elif char == "#" and not strings[place]:
            raise LanguageError("a condition cannot hold a comment (#)", place)
        elif char == "\\" and not strings[place]:
            raise LanguageError("a backslash has no meaning here", place)
    line = "".join(plain)
    stripped = line.strip()
    if not stripped:
        raise LanguageError(
            'an empty condition: expected one such as container.exit_code != 0, or no "if" at all',
            0,
        )
    return stripped, len(line) - len(line.lstrip())


def _parse(line: str, start: int) -> ast.Expression:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(line, mode="eval")
    except SyntaxError as error:
        raise _syntax_error(line, start, error) from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise LanguageError(
            "this condition is too large or holds characters that cannot be read", start
        ) from None


def _syntax_error(line: str, start: int, error: SyntaxError) -> LanguageError:
    bare = _STRINGS.sub(lambda found: "_" * len(found[0]), line)
    for slip, word in _SLIPS:
        if found := slip.search(bare):
            return LanguageError(
                f"{quoted(found[0])} is not known here (did you mean {quoted(word)}?)",
                start + found.start(),
            )
    offset = min(max((error.offset or 1) - 1, 0), len(line))
    return LanguageError(f"not a condition: {error.msg or 'it cannot be read'}", start + offset)


def _bound(tree: ast.Expression) -> None:
    """Refuse what is too large or too deep before anything recurses over it."""
    level: list[ast.AST] = [tree.body]
    parts = depth = 0
    while level:
        parts += len(level)
        depth += 1
        # three nodes of the grammar for each part a person sees
        if parts > MOST_PARTS * 3 or depth > DEEPEST:
            raise LanguageError(
                "this condition is too large or nested too deeply: split it over several rules", 0
            )
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _a(type_: str) -> str:
    return {
        "list": "a list",
        "map": "a map",
        "null": "null",
        "number": "a number",
        "text": "a text",
    }.get(type_, type_)


def _example(term: OperatorTerm) -> str:
    shown = term.path or "container.exit_code"
    return f"{shown} != 0" if term.type == "number" else f'{shown} == "…"'


class _Compiler:
    """Walks the checked tree; `offset_of` turns the parser's byte columns into the person's
    characters."""

    def __init__(self, line: str, start: int, contexts: frozenset[str]) -> None:
        self.line = line
        self.start = start
        self.contexts = contexts
        self.fields: set[str] = set()

    def offset_of(self, node: ast.AST) -> int:
        column = getattr(node, "col_offset", 0)
        return self.start + len(self.line.encode()[:column].decode(errors="ignore"))

    def compile(self, node: ast.expr) -> OperatorTerm:
        """The term of one node; errors without an offset get this node's."""
        try:
            return self._compile(node)
        except LanguageError as error:
            if error.offset is None:
                raise LanguageError(error.message, self.offset_of(node)) from None
            raise

    def _compile(self, node: ast.expr) -> OperatorTerm:
        match node:
            case ast.Constant():
                return constant(node.value)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._field(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
                return self._unary(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.List() | ast.Tuple() | ast.Set():
                return sequence([self.compile(item) for item in node.elts])
            case ast.Call():
                return self._call(node)
        raise LanguageError(f"{_NAMES.get(type(node), 'this')} cannot be used in a condition")

    def _flag(self, node: ast.expr, word: str) -> OperatorTerm:
        term = self.compile(node)
        if term.type not in ("flag", "any"):
            expected = f"expected a comparison such as {_example(term)}"
            message = f"`{word}` joins conditions, but this is {_a(term.type)}: {expected}"
            raise LanguageError(message, self.offset_of(node))
        return term

    def _logic(self, node: ast.BoolOp) -> OperatorTerm:
        word = _LOGIC[type(node.op)]
        runs = tuple(_truth(self._flag(value, word), word) for value in node.values)
        if word == "and":
            return OperatorTerm("flag", lambda fields: all(run(fields) for run in runs))
        return OperatorTerm("flag", lambda fields: any(run(fields) for run in runs))

    def _unary(self, node: ast.UnaryOp) -> OperatorTerm:
        if isinstance(node.op, ast.Not):
            run = _truth(self._flag(node.operand, "not"), "not")
            return OperatorTerm("flag", lambda fields: not run(fields))
        negated = negated_number(self.compile(node.operand))
        return negated if isinstance(node.op, ast.USub) else negated_number(negated)

    def _arithmetic(self, node: ast.BinOp) -> OperatorTerm:
        symbol = _ARITHMETIC.get(type(node.op))
        if symbol is None:
            raise LanguageError("only + - * / are known here", self.offset_of(node))
        return arithmetic(symbol, self.compile(node.left), self.compile(node.right))

    def _comparison(self, node: ast.Compare) -> OperatorTerm:
        terms = [self.compile(part) for part in (node.left, *node.comparators)]
        tests: list[Callable[[Fields], bool]] = []
        for index, operator in enumerate(node.ops):
            symbol = _COMPARISONS[type(operator)]
            left, right = terms[index], terms[index + 1]
            try:
                if symbol in ("in", "not in"):
                    tests.append(membership(left, right, inverted=symbol == "not in"))
                else:
                    tests.append(compare(symbol, left, right))
            except LanguageError as error:
                raise LanguageError(
                    error.message, self.offset_of(node.comparators[index])
                ) from None
        if len(tests) == 1:
            return OperatorTerm("flag", tests[0])
        every = tuple(tests)
        return OperatorTerm("flag", lambda fields: all(test(fields) for test in every))

    def _call(self, node: ast.Call) -> OperatorTerm:
        if not isinstance(node.func, ast.Name):
            hint = ""
            if isinstance(node.func, ast.Attribute):
                hint = f": expected a function of the value, as in {node.func.attr}(…)"
            raise LanguageError(
                f"methods cannot be called in a condition{hint}", self.offset_of(node)
            )
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise LanguageError(f"{node.func.id} takes plain arguments only", self.offset_of(node))
        return call(node.func.id, [self.compile(argument) for argument in node.args])

    def _field(self, node: ast.Name | ast.Attribute | ast.Subscript) -> OperatorTerm:
        if isinstance(node, ast.Name) and node.id in _CONSTANTS:
            return constant(_CONSTANTS[node.id])
        path, key = self._path(node)
        if key is not None and path in CATALOGUE and CATALOGUE[path].type == "map":
            field = check_context(keyed(CATALOGUE[path], key), self.contexts)
            keys: tuple[str, ...] = (key,)
        elif path in CATALOGUE and CATALOGUE[path].type == "map":
            field, keys = check_context(CATALOGUE[path], self.contexts), ()
        else:
            try:
                field, keys = resolve(path, self.contexts)
            except LanguageError as error:
                raise LanguageError(error.message) from None
            if key is not None:
                if field.type != "any":
                    raise LanguageError(f"{path} is {_a(field.type)} and has no keys")
                keys = (*keys, key)
        self.fields.add(field.path)
        return OperatorTerm.of_field(field, keys)

    def _path(self, node: ast.expr) -> tuple[str, str | None]:
        """The dotted name a chain of names spells, and the key in brackets at its end."""
        key: str | None = None
        if isinstance(node, ast.Subscript):
            if not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)):
                raise LanguageError(
                    'a key in brackets is a text, as in container.labels["tier"]',
                    self.offset_of(node.slice),
                )
            key = node.slice.value
            node = node.value
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            raise LanguageError(
                'only fields have parts: expected a name such as container.labels["tier"]',
                self.offset_of(node),
            )
        names.append(node.id)
        return ".".join(reversed(names)), key


def _truth(term: OperatorTerm, word: str) -> Callable[[Fields], bool]:
    """A term as one side of and, or, not: true or false, or ConditionError."""
    run, path = term.run, term.path

    def truth(fields: Fields) -> bool:
        value = run(fields)
        if isinstance(value, bool):
            return value
        said = "absent (null)" if value is None else "not a truth value"
        raise ConditionError(f"{path or 'a value'} is {said} and cannot be used with `{word}`")

    return truth


_NAMES: Final[dict[type[ast.expr], str]] = {
    ast.IfExp: "`… if … else …`",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "a formatted text",
    ast.Dict: "a mapping",
    ast.NamedExpr: "an assignment",
    ast.Starred: "a star",
    ast.Await: "await",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.UnaryOp: "`~`",
}
