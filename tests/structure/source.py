"""What the package's source says of itself: names, imports, comments, lengths. Read, never
imported."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2] / "daemon"
SHARED: Final = 3
"""A name that so many functions have is one that a search does not find."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """`name`: dotted, as it is imported."""

    path: Path
    name: str
    is_package: bool

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def functions(self) -> Iterator[Function]:
        """Without those that Python calls itself, such as `__init__`."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function) and not (
                node.name.startswith("__") and node.name.endswith("__")
            ):
                yield node

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def imports(self) -> set[str]:
        """What is imported when this module is, as dotted names; also names in a module."""
        found: set[str] = set()
        for node in _at_import(self.tree.body):
            if isinstance(node, ast.Import):
                found.update(each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = self._package(node.level) if node.level else ""
                base = ".".join(filter(None, (package, node.module)))
                found.add(base)
                found.update(f"{base}.{each.name}" for each in node.names)
        return found

    def _package(self, level: int) -> str:
        parts = self.name.split(".")
        return ".".join(parts[: len(parts) - level + self.is_package])


def modules(root: Path = ROOT, package: str = "dockmend") -> list[Module]:
    found = []
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        found.append(Module(path, ".".join(parts[:-1] if is_package else parts), is_package))
    return found


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported; those for the type checker alone do not."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _at_import([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _at_import([*node.body, *node.orelse, *node.finalbody])


def circles(found: list[Module]) -> list[list[str]]:
    """Modules that import each other, directly or around a corner. A package's own `__init__` is
    left out: whoever imports a module of the package imports that too."""
    known = {each.name for each in found if not each.is_package}
    graph = {
        each.name: each.imports() & known - {each.name} for each in found if not each.is_package
    }
    return [sorted(circle) for circle in _strongly_connected(graph) if len(circle) > 1]


def _strongly_connected(graph: dict[str, set[str]]) -> list[set[str]]:
    """Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(set(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


@dataclass(frozen=True)
class Names:
    """`one_word`: of functions, the share whose name has no underscore between words. `shared`:
    functions whose name SHARED or more have. `modules`, `classes`: names that two or more have,
    with how many."""

    functions: int
    one_word: float
    shared: int
    modules: dict[str, int]
    classes: dict[str, int]


def names(found: list[Module]) -> Names:
    functions = Counter(each.name.strip("_") for module in found for each in module.functions)
    count = functions.total()
    where: dict[str, set[str]] = defaultdict(set)
    for module in found:
        for each in module.classes:
            where[each.name].add(module.name)
    stems = Counter(each.path.stem for each in found if not each.is_package)
    return Names(
        functions=count,
        one_word=sum(times for name, times in functions.items() if "_" not in name) / count,
        shared=sum(times for times in functions.values() if times >= SHARED),
        modules={name: times for name, times in sorted(stems.items()) if times > 1},
        classes={name: len(places) for name, places in sorted(where.items()) if len(places) > 1},
    )


@dataclass(frozen=True)
class Lines:
    """`code`: lines with code. `comments`: lines that hold a comment only, for 1,000 of code.
    `long`: the length in characters that one code line in twenty is longer than."""

    all: int
    code: int
    comments: float
    long: int


def lines(found: list[Module]) -> Lines:
    total = comments = 0
    lengths: list[int] = []
    for module in found:
        text = module.text.splitlines()
        total += len(text)
        code = _code_lines(module.text) - _docstring_lines(module.tree)
        lengths += [len(text[number - 1]) for number in code]
        comments += sum(line.lstrip().startswith("#") for line in text)
    lengths.sort()
    return Lines(
        total, len(lengths), 1000 * comments / len(lengths), lengths[int(0.95 * len(lengths))]
    )


def _code_lines(text: str) -> set[int]:
    nothing = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in nothing:
            found.update(range(token.start[0], token.end[0] + 1))
    return found


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Of every text that is a statement: docstrings, and those below a constant."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found
