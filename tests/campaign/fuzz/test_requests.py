"""Requests at the command socket: checked arguments or a refusal with a sentence, never anything
else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import strategies as st

from dockmend.control.control_api import ARGUMENTS, LONGEST_TEXT
from dockmend.control.socket_server import parse
from dockmend.errors import UsageError

pytestmark = pytest.mark.campaign
NAMES = sorted({name for arguments in ARGUMENTS.values() for name in arguments})
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 1e308, 2**63, -1, 0, True])
)
VALUES = st.one_of(
    st.none(),
    st.text(),
    NUMBERS,
    st.just("x" * (LONGEST_TEXT + 1)),
    st.lists(st.integers(), max_size=2),
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "command": st.one_of(st.sampled_from(sorted(ARGUMENTS)), st.text(), st.integers()),
        "arguments": st.one_of(
            st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), VALUES), VALUES
        ),
        "other": VALUES,
    },
)


def check(line: bytes) -> None:
    try:
        command, arguments = parse(line)
    except UsageError:
        return
    known = ARGUMENTS[command]
    for name, value in arguments.items():
        assert isinstance(value, known[name][0])
        if isinstance(value, (int, float)):
            assert math.isfinite(float(value)), "a number that no clock can be set to"


def test_any_bytes(fuzz) -> None:
    fuzz(check, st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "replace"))))


def test_requests_of_any_shape(fuzz) -> None:
    def ask(request: Any) -> None:
        check(json.dumps(request).encode())

    fuzz(ask, REQUESTS)


def test_nested_beyond_measure(fuzz) -> None:
    fuzz(lambda depth: check(b'{"command":' + b"[" * depth), st.integers(1, 60_000))
