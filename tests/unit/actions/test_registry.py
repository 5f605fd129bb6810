from __future__ import annotations

import subprocess
import sys

import pytest

from dockmend.actions import load
from dockmend.actions.action import REGISTRY, register
from dockmend.rules.action_catalogue import ACTIONS


def test_every_action_that_rules_may_name_is_there():
    load()
    load()

    assert {name for name, spec in ACTIONS.items() if spec.built} <= set(REGISTRY)


def test_an_action_is_registered_once():
    load()

    with pytest.raises(ValueError, match="action restart is registered twice"):
        register(REGISTRY["restart"])


def test_nothing_is_loaded_before_it_is_asked_for():
    code = (
        "import dockmend.actions, sys; print([m for m in sys.modules if "
        "m.startswith('dockmend.actions.')])"
    )

    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
