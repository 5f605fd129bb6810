"""The table of raw events: every transition it names exists."""

from __future__ import annotations

import re

from dockmend.model import TRANSITIONS
from dockmend.rules import raw_event_names


def test_the_transitions_to_use_instead_exist() -> None:
    for name, better in raw_event_names.BETTER.items():
        kind, _, action = name.partition(".")
        assert action.partition(":")[0] in raw_event_names.ACTIONS[kind]
        assert set(re.findall(r"[a-z]+\.[a-z_]+", better)) <= set(TRANSITIONS)
