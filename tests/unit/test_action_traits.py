"""The table of what each action does to a container: what follows from it."""

from __future__ import annotations

import pytest

from dockmend import action_traits
from dockmend.action_traits import (
    BEGINS_RUN,
    ENDING,
    ENDS_RUN,
    HEALS,
    REMOVES,
    STARTING,
    TRAITS,
    UNDOES_STOP,
)
from dockmend.rules.action_catalogue import ACTIONS


def test_every_row_is_of_an_action():
    assert set(TRAITS) <= set(ACTIONS)


def test_every_action_on_a_container_that_this_version_has_is_judged():
    """A new one that ends, begins or freezes a run needs a row. These change nothing about one."""
    harmless = {"set_limits", "exec", "copy", "run"}
    container = {name for name, spec in ACTIONS.items() if spec.group == "container" and spec.built}
    assert container - harmless <= set(TRAITS)


@pytest.mark.parametrize(
    ("action", "sets"),
    [
        (
            "restart",
            {"STOPPING", "ENDING", "ENDS_RUN", "STARTING", "UNDOES_STOP", "BEGINS_RUN", "HEALS"},
        ),
        ("start", {"STARTING", "UNDOES_STOP", "BEGINS_RUN", "HEALS"}),
        ("stop", {"STOPPING", "ENDING", "ENDS_RUN"}),
        ("kill", {"SIGNALLING", "ENDING", "ENDS_RUN"}),
        ("remove", {"SIGNALLING", "ENDING", "ENDS_RUN", "REMOVES"}),
        (
            "recreate",
            {
                "STOPPING",
                "ENDING",
                "ENDS_RUN",
                "REMOVES",
                "UNDOES_STOP",
                "BEGINS_RUN",
                "HEALS",
                "LONG",
            },
        ),
        ("unpause", {"UNDOES_STOP", "HEALS"}),
        ("pause", set()),
        ("reconnect_network", {"STARTING", "HEALS"}),
        ("compose_up", {"PROJECT", "ENDS_RUN", "UNDOES_STOP", "HEALS", "LONG"}),
        ("exec", set()),
    ],
)
def test_what_follows_from_a_row(action: str, sets: set[str]):
    every = [
        name
        for name, each in vars(action_traits).items()
        if name.isupper() and isinstance(each, frozenset)
    ]
    assert {name for name in every if action in getattr(action_traits, name)} == sets


def test_the_sets_that_the_rules_forbid_by_agree():
    assert ENDING <= ENDS_RUN
    assert BEGINS_RUN <= UNDOES_STOP <= HEALS
    assert STARTING <= HEALS
    assert REMOVES <= ENDING
