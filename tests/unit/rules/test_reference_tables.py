"""docs/rules.md: its tables are those of the code, and its rules are rules."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from dockmend.rules.loader import load_texts
from dockmend.rules.operators import FUNCTIONS
from dockmend.rules.reference_tables import fill

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text("utf-8")


def test_the_tables_are_those_of_the_code() -> None:
    assert fill(PAGE) == PAGE, (
        "write them anew: python -m dockmend.rules.reference_tables docs/rules.md"
    )


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table of fields"):
        fill(PAGE.replace("<!-- fields -->", ""))


def test_its_rule_files_load_without_a_word() -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE, re.MULTILINE)
    files = [textwrap.dedent(block) for block in blocks if "version: 1" in block]
    assert len(files) == 2
    for text in files:
        loaded = load_texts({"docs.yaml": text}, host="prod-lab")
        assert [str(warning) for warning in loaded.warnings] == []
        assert loaded.rules


def test_each_form_of_a_trigger_that_it_shows_is_accepted() -> None:
    forms = re.findall(r"^- .*?`(\{.*\})`", PAGE.split("## Actions")[0], re.MULTILINE)
    shown = [form for line in forms for form in line.split("`, `")]
    assert len(shown) >= 5
    for form in shown:
        rule = (
            f"version: 1\nrules:\n  - name: heal\n    when: {form}\n    match: all\n    then: "
            "restart\n"
        )
        assert load_texts({"docs.yaml": rule}, host="lab").rules


def test_every_function_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in FUNCTIONS)
