"""A name leads to one place: no two modules and no two classes of the package have the same."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "daemon/dockmend"
MODULES = [each for each in PACKAGE.rglob("*.py") if not each.name.startswith("__")]


def test_no_two_modules_have_one_name():
    assert [
        name for name, count in Counter(each.stem for each in MODULES).items() if count > 1
    ] == []


def test_no_two_classes_have_one_name():
    classes = [
        node.name
        for each in MODULES
        for node in ast.walk(ast.parse(each.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, count in Counter(classes).items() if count > 1] == []
