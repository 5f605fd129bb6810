from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.engine.event_filter import ACTIONS, base, known, subscription
from tests.fakes.log import passes


def event(action: str, kind: str = "container") -> dict[str, object]:
    return {"Type": kind, "Action": action, "Actor": {"ID": "x", "Attributes": {}}}


@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_every_action_passes_the_subscription_but_exec(kind: str) -> None:
    filters = {"event": list(subscription())}
    for action in ACTIONS[kind]:
        assert passes(event(action, kind), filters) is not action.startswith("exec_")


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=20)
    | st.from_regex(r"\Aexec?[a-z_-]{0,3}\Z")
)
def test_names_of_the_future_pass_unless_they_begin_like_exec(action: str) -> None:
    refused = action.startswith("exec_") or "exec_".startswith(action)
    assert passes(event(action), {"event": list(subscription())}) is not refused


@pytest.mark.parametrize(
    "action", ["exec_create: sh -c true", "exec_start: x", "exec_die", "exec_detach", "exec_new"]
)
def test_no_exec_passes(action: str) -> None:
    assert not passes(event(action), {"event": list(subscription())})


def test_an_engine_that_compares_exactly_still_sends_what_is_known_today() -> None:
    values = set(subscription())
    for actions in ACTIONS.values():
        assert {action for action in actions if not action.startswith("exec_")} <= values
    assert {"health_status: healthy", "health_status: unhealthy"} <= values
    assert not any(value.startswith("exec_") for value in values)


def test_what_follows_a_colon_is_detail() -> None:
    assert base("health_status: unhealthy") == "health_status"
    assert known("container", "health_status: unhealthy")
    assert known("network", "disconnect")
    assert not known("container", "explode")
    assert not known("spaceship", "start")
