"""What a docstring names is there: the errors behind "Raises", classes and what they hold, and
modules."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "daemon/dockmend"
TREES = {each: ast.parse(each.read_text()) for each in PACKAGE.rglob("*.py")}
CLASSES = {
    node.name: node
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}
RAISED = re.compile(r"\b[Rr]aises ((?:(?:, |,? or |,? and )?_?[A-Z]\w*[a-z]\w*)+)")
LIBRARY = {"TaskGroup": asyncio.TaskGroup, "TarFile": tarfile.TarFile}
DOTTED_ERROR = re.compile(r"\b[Rr]aises ([a-z]\w*)\.(\w+)")
MEMBER = re.compile(r"(?<![\w/`.])(?:[a-z_]+\.)*([A-Z]\w*[a-z]\w*)\.([a-z_]\w*)")
IN_A_MODULE = re.compile(r"(?<![\w/`.])((?:[a-z_]+\.)+)([A-Z]\w*[a-z]\w*)")
ENTERED = re.compile(r"`async with ([A-Z]\w+)\(")


def docstrings() -> Iterator[tuple[str, str]]:
    """Each with the module that it is in; those of attributes too."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", " ".join(text.split())


def is_error(name: str) -> bool:
    known = getattr(builtins, name, None)
    if isinstance(known, type):
        return issubclass(known, BaseException)
    return name in CLASSES and any(is_error(each) for each in _bases(name))


def _bases(name: str) -> list[str]:
    return [ast.unparse(each).rpartition(".")[2] for each in CLASSES[name].bases]


def has(name: str, member: str) -> bool:
    """Whether a class of the package, or one that it inherits from there, defines that."""
    if name not in CLASSES:
        return hasattr(LIBRARY.get(name), member)
    defined = {
        each.name
        for each in ast.walk(CLASSES[name])
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    } | {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(CLASSES[name])
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return member in defined or any(has(base, member) for base in _bases(name))


def test_what_a_docstring_says_is_raised_is_an_error_of_that_name():
    assert [
        (where, name)
        for where, text in docstrings()
        for found in RAISED.finditer(text)
        for name in re.findall(r"_?[A-Z]\w*[a-z]\w*", found[1])
        if not is_error(name)
    ] == []
    assert [
        (where, found[0])
        for where, text in docstrings()
        for found in DOTTED_ERROR.finditer(text)
        if not hasattr(importlib.import_module(found[1]), found[2])
    ] == []


def test_a_class_that_a_docstring_names_with_a_member_has_it():
    assert [
        (where, found[0])
        for where, text in docstrings()
        for found in MEMBER.finditer(text)
        if not has(found[1], found[2])
    ] == []


def test_a_class_that_a_docstring_names_with_its_module_is_there():
    own = {each.stem for each in PACKAGE.iterdir()}
    assert [
        (where, found[0])
        for where, text in docstrings()
        for found in IN_A_MODULE.finditer(text)
        if found[1].partition(".")[0] in own
        and not hasattr(importlib.import_module(f"dockmend.{found[1][:-1]}"), found[2])
    ] == []


def test_a_class_that_a_docstring_shows_in_use_is_there():
    assert [
        (where, found[1])
        for where, text in docstrings()
        for found in ENTERED.finditer(text)
        if found[1] not in CLASSES
    ] == []
