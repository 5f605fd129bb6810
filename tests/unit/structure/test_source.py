"""The figures count what they say they count."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure.source import Module, circles, lines, modules, names


@pytest.fixture
def written(tmp_path: Path) -> list[Module]:
    files = {
        "__init__.py": "",
        "a.py": "from p import b\n",
        "b.py": "import p.c\n",
        "c.py": "if True:\n    from .a import thing\n",
        "d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import e\n",
        "e.py": "from p import d\n\ndef later():\n    from p import e\n",
    }
    return _package(tmp_path, files)


def _package(folder: Path, files: dict[str, str]) -> list[Module]:
    for name, text in files.items():
        path = folder / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules(folder, "p")


def test_a_circle_around_a_corner_is_found_and_one_for_the_type_checker_is_none(
    written: list[Module],
) -> None:
    assert circles(written) == [["p.a", "p.b", "p.c"]]


def test_names_are_counted_without_those_that_python_calls(tmp_path: Path) -> None:
    found = _package(
        tmp_path,
        {
            "__init__.py": "",
            "x/__init__.py": "",
            "run.py": "class A:\n    def __init__(self): ...\n    def run(self): ...\n    def "
            "run_it(self): ...\n",
            "x/run.py": "class A:\n    def _run(self): pass\ndef run(): pass\n",
        },
    )
    told = names(found)
    assert (told.functions, told.one_word, told.shared) == (4, 0.75, 3)
    assert (told.modules, told.classes) == ({"run": 2}, {"A": 2})


def test_docstrings_and_comments_are_no_code(tmp_path: Path) -> None:
    text = '"""Two\nlines."""\n# why\n\nx = 1  # beside\ny = """a\nb"""\n"""Of y."""\n'
    told = lines(_package(tmp_path, {"a.py": text}))
    assert (told.all, told.code, told.comments) == (8, 3, 1000 / 3)
