"""The JSON Schema for editors: it accepts what the loader accepts, and refuses the slips that a
shape can show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dockmend.model import TRANSITIONS
from dockmend.rules.action_catalogue import ACTIONS
from dockmend.rules.located_yaml import parse
from dockmend.rules.rule_schema import json_schema
from tests.unit.rules.schema_subset import errors

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
RIGHT = sorted(
    [*HERE.glob("right/*.yaml"), *HERE.glob("later/*.yaml"), *(ROOT / "rules.d").glob("*.yaml")]
)
SHAPES = (
    "version-two", "no-match", "unknown-key", "unknown-key-in-params", "unknown-top-key",
    "unknown-trigger", "unknown-action", "severity-unknown", "mode-unknown", "trap-cooldown-off",
    "trap-tag-is-a-number", "params-missing", "consistency-missing", "for-without-a-unit",
    "enabled-is-a-word", "defaults-with-a-name", "trigger-with-two-forms",
    "two-actions-in-one-step",
)  # fmt: skip


def wrong(path: Path) -> list[str]:
    return errors(SCHEMA, parse(path.name, path.read_text("utf-8-sig")).data, SCHEMA)


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.name)
def test_it_accepts_right_files(path: Path) -> None:
    assert wrong(path) == []


@pytest.mark.parametrize("name", SHAPES)
def test_it_refuses_wrong_shapes(name: str) -> None:
    (path,) = (HERE / "corpus").glob(f"[0-9][0-9][0-9]-{name}.yaml")
    assert wrong(path)


def test_it_is_json_and_names_everything() -> None:
    text = json.dumps(SCHEMA)
    assert all(f'"{name}"' in text for name in (*ACTIONS, *TRANSITIONS))
    assert SCHEMA["$schema"].endswith("2020-12/schema")


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(SCHEMA)
    names = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert names
    assert names <= set(SCHEMA["$defs"])
