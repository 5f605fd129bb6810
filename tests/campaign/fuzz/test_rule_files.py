"""Rule files, with the strategies of the unit tests: a rule set or errors with places, never
anything else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from tests.unit.rules.test_fuzz import GOOD, KEYS, TREES, WORDS, WRONG, check

pytestmark = pytest.mark.campaign
HEAL = {"name": "heal", "when": "container.unhealthy", "match": "all", "then": "restart"}
TEXTS = st.one_of(st.text(), st.text(alphabet="[]{}&*!|>'\"%@`#:- \n\tab1,?"), st.binary())


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A file with pieces cut out, put in and moved."""
    text = draw(st.sampled_from(GOOD + WRONG))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        other = draw(st.sampled_from(GOOD))
        place = draw(st.integers(0, len(other)))
        piece = draw(st.one_of(st.just(""), WORDS, st.just(other[place : place + 60])))
        text = text[:start] + piece + text[end:]
    return text


def test_any_text_or_bytes(fuzz) -> None:
    fuzz(check, TEXTS)


def test_spoiled_files(fuzz) -> None:
    fuzz(check, spoiled())


def test_any_value_under_any_key(fuzz) -> None:
    def with_value(key: str, value: Any) -> None:
        check(yaml.safe_dump({"version": 1, "rules": [{**HEAL, key: value}]}))
        check(yaml.safe_dump({"version": 1, "defaults": {key: value}, "rules": [HEAL]}))

    fuzz(with_value, st.sampled_from(KEYS), TREES)


def test_any_rules(fuzz) -> None:
    rules = st.lists(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=8), max_size=4)
    fuzz(lambda drawn: check(yaml.safe_dump({"version": 1, "rules": drawn})), rules)
