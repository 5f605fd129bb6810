"""docs/architecture.md names modules, classes and functions: they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dockmend.pipeline.attempt_state import diagram

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs/architecture.md").read_text()
PACKAGE = TOP / "daemon/dockmend"
MODULES = sorted(set(re.findall(r"`((?:\w+/)*\w+)(?:\.py)?`", PAGE)))


def _module(name: str) -> Path | None:
    found = [PACKAGE / f"{name}.py", PACKAGE / name]
    return next((each for each in found if each.exists()), None)


@pytest.mark.parametrize("name", [each for each in MODULES if "/" in each])
def test_every_module_it_names_is_there(name: str) -> None:
    assert _module(name) is not None


@pytest.mark.parametrize(
    ("name", "what"), re.findall(r"`([\w/]+)\.py`, `((?!\w+\.py`)[\w.]+)`", PAGE)
)
def test_every_class_and_function_it_names_is_in_that_module(name: str, what: str) -> None:
    text = (PACKAGE / f"{name}.py").read_text()
    for each in what.split("."):
        assert re.search(rf"^ *(?:class|def|async def) {each}\b", text, re.MULTILINE), each


def test_every_package_is_among_the_layers() -> None:
    layers = PAGE.partition("## Layers")[2].partition("##")[0]
    packages = {each.parent.name for each in PACKAGE.glob("*/__init__.py")}
    assert {each for each in packages if not re.search(rf"\b{each}\b", layers)} == set()


def test_the_stages_of_an_attempt_are_drawn_as_they_are_in_the_code() -> None:
    assert PAGE.partition("```mermaid\n")[2].partition("\n```")[0] == diagram()
