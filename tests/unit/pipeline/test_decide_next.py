"""What comes next for an incident, as tables: what is known of it, and the one answer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.decide import Suppress, WaitUntil
from dockmend.journal.records import Incident
from dockmend.pipeline.attempt_state import AttemptState
from dockmend.pipeline.decide_next import (
    AwaitUnpause,
    AwaitVerification,
    Close,
    Escalate,
    Failed,
    GiveUp,
    GiveWay,
    GuestsOut,
    LiveFacts,
    Look,
    Park,
    RunFinally,
    RunSteps,
    Situation,
    Succeeded,
    after_gate,
    after_verification,
    decide_next,
)
from dockmend.pipeline.verification import VerifyResult

PLAIN = Incident(
    id="i1", rule="heal", trigger="container.unhealthy", target="container:web", kind="container",
    object_id="a" * 64, object_name="web", trouble="health/1", opened_at=1.0,
)  # fmt: skip
TRIED = {"attempts": 1}
FORBIDDEN = Suppress("ignored", "it says so")


def at(*moves: str, finally_owed: bool = False, superseded_by: str = "") -> AttemptState:
    """An attempt after these transitions. A step is done with each `one_more`."""
    state = AttemptState(finally_owed=finally_owed, superseded_by=superseded_by)
    for move in moves:
        getattr(state, move)()
    return state


IDLE, MIDWAY, MADE = at(), at("one_more"), at("all_done")


@pytest.mark.parametrize(
    ("changes", "attempt", "live", "answer"),
    [
        # Before a look.
        ({}, IDLE, None, Look()),
        ({}, MIDWAY, None, Look()),
        ({}, MADE, None, Look()),
        ({"state": "verifying"}, MADE, None, AwaitVerification()),
        ({"rung": 0, "reason": "it did not help"}, IDLE, None, Escalate("it did not help")),
        ({"rung": 1, "state": "verifying"}, MADE, None, Escalate("")),
        ({}, at(superseded_by="again"), None, GiveWay()),
        ({}, at(superseded_by="again", finally_owed=True), None, RunFinally()),
        ({"state": "verifying"}, at(superseded_by="again"), None, GiveWay()),
        ({}, at("one_more", superseded_by="again"), None, Look()),
        # The trouble stands, and nothing is in the way.
        ({}, IDLE, LiveFacts(), RunSteps(resumed=False)),
        ({}, at(finally_owed=True), LiveFacts(), RunSteps(resumed=False)),
        ({}, MIDWAY, LiveFacts(resumed=True), RunSteps(resumed=True)),
        ({}, MADE, LiveFacts(resumed=True), RunSteps(resumed=True)),
        ({}, MIDWAY, LiveFacts(resumed=False), RunSteps(resumed=False)),
        # Something is in the way of an attempt that was cut short: what it changed is put right
        # first.
        ({}, MIDWAY, LiveFacts(resumed=True, gone=True), RunFinally()),
        ({}, MIDWAY, LiveFacts(over=True), RunFinally()),
        ({}, MADE, LiveFacts(resumed=True, forbidden=FORBIDDEN), RunFinally()),
        ({}, at(finally_owed=True), LiveFacts(gone=True), RunFinally()),
        # It is gone.
        ({}, IDLE, LiveFacts(gone=True), Close("recovered", "recovered on its own: it is gone")),
        ({"actor": "uid 0"}, IDLE, LiveFacts(gone=True), Close("interrupted", "it is gone")),
        # The trouble went.
        ({}, IDLE, LiveFacts(over=True), Close("recovered", "recovered on its own")),
        ({"waiting_for": "owner"}, IDLE, LiveFacts(over=True),
         Close("recovered", "recovered with what was treated beside it")),
        (TRIED, IDLE, LiveFacts(over=True), AwaitVerification()),
        (TRIED, IDLE, LiveFacts(over=True, down=True, stopped=True),
         Close("on_purpose", "stopped by a person", "stopped")),
        (TRIED, IDLE, LiveFacts(over=True, down=True),
         Close("interrupted", "it ended again, and that is a trouble of its own")),
        ({"network": "front"}, IDLE, LiveFacts(over=True, disconnected=True),
         Close("on_purpose", "disconnected from front on purpose: again, soon after it was "
         "put back", "on_purpose")),
        # It may not be touched.
        ({}, IDLE, LiveFacts(forbidden=FORBIDDEN),
            Close("suppressed", "it says so", "ignored", decided=True)),
    ],
)  # fmt: skip
def test_before_an_attempt(
    changes: dict[str, Any], attempt: AttemptState, live: LiveFacts | None, answer: object
):
    assert decide_next(Situation(replace(PLAIN, **changes), attempt, live=live)) == answer


@pytest.mark.parametrize(
    "attempt", [IDLE, MIDWAY, MADE, at(superseded_by="again", finally_owed=True)]
)
@pytest.mark.parametrize("changes", [{}, {"rung": 1}, {"state": "verifying"}])
def test_a_rule_that_is_not_in_force_ends_it_whatever_it_is_at(
    changes: dict[str, Any], attempt: AttemptState
):
    now = Situation(replace(PLAIN, **changes), attempt, "the rule is gone", LiveFacts())
    assert decide_next(now) == Close("interrupted", "the rule is gone")


def test_what_is_gone_after_an_attempt_was_cut_short_did_not_recover():
    now = Situation(PLAIN, IDLE, live=LiveFacts(gone=True), cut=True)
    assert decide_next(now) == Close("interrupted", "it is gone")


@pytest.mark.parametrize(
    ("changes", "verdict", "answer"),
    [
        (
            {},
            WaitUntil(9.0, "budget", "30 a minute"),
            Park(WaitUntil(9.0, "budget", "30 a minute")),
        ),
        ({}, Suppress("attempts", "3 tries"), GiveUp("3 tries")),
        (
            {"note": "it ended with 3"},
            Suppress("attempts", "3 tries"),
            GiveUp("3 tries, and it ended with 3"),
        ),
        (
            {"dry_run": True},
            Suppress("attempts", "3 tries"),
            Close("suppressed", "3 tries", "attempts", decided=True),
        ),
        ({}, Suppress("dry_run", "would"), Close("dry_run", "would", "dry_run", decided=True)),
        ({}, Suppress("owner", "no owner"), Close("failed", "no owner", "owner", decided=True)),
        (
            {},
            Suppress("unknown_owner", "who"),
            Close("failed", "who", "unknown_owner", decided=True),
        ),
        (
            {},
            Suppress("owner_stopped", "a person"),
            Close("on_purpose", "a person", "owner_stopped", decided=True),
        ),
        ({}, Suppress("paused", "a pause"), Close("suppressed", "a pause", "paused", decided=True)),
    ],
)
def test_if_the_gate_lets_no_attempt_begin(
    changes: dict[str, Any], verdict: WaitUntil | Suppress, answer: object
):
    assert after_gate(replace(PLAIN, **changes), verdict) == answer


@pytest.mark.parametrize(
    ("result", "left_out", "answer"),
    [
        ("healed", "", Succeeded("so it is")),
        ("healed", "no room", GuestsOut("no room")),
        ("guests", "", GuestsOut("so it is")),
        ("guests", "no room", GuestsOut("no room")),
        ("stopped", "", Close("on_purpose", "so it is", "stopped")),
        ("on_purpose", "", Close("on_purpose", "so it is", "on_purpose")),
        ("gone", "", Close("interrupted", "so it is")),
        ("paused", "", AwaitUnpause()),
        ("cut", "", GiveWay()),
        ("failed", "no room", Failed("so it is")),
    ],
)
def test_after_a_verification(result: Any, left_out: str, answer: object):
    assert after_verification(VerifyResult(result, "so it is"), left_out) == answer
