"""Where an attempt is: the transitions of its stages, and what follows from them."""

from __future__ import annotations

import pytest

from dockmend.journal.records import AttemptStage
from dockmend.pipeline.attempt_state import ALL_STEPS, AttemptState, AttemptStates


@pytest.mark.parametrize(
    ("moves", "stage", "behind", "begun", "midway", "goes_on"),
    [
        ([], AttemptStage.IDLE, 0, False, False, False),
        ([("at_step", 0)], AttemptStage.STEPS, 0, True, False, False),
        ([("at_step", 0), ("one_more",)], AttemptStage.STEPS, 1, True, True, True),
        ([("at_step", 3)], AttemptStage.STEPS, 3, True, True, True),
        ([("at_step", 3), ("all_done",)], AttemptStage.MADE, ALL_STEPS, True, False, True),
        ([("all_done",), ("forget_steps",)], AttemptStage.IDLE, 0, False, False, False),
        ([("at_step", 2), ("forget_steps",)], AttemptStage.IDLE, 0, False, False, False),
        ([("one_more",)], AttemptStage.STEPS, 1, True, True, True),
    ],
)
def test_the_stages(
    moves: list[tuple[object, ...]],
    stage: AttemptStage,
    behind: int,
    begun: bool,
    midway: bool,
    goes_on: bool,
):
    state = AttemptState()
    for name, *arguments in moves:
        getattr(state, str(name))(*arguments)
    assert (state.stage, state.behind, state.begun, state.midway, state.goes_on) == (
        stage, behind, begun, midway, goes_on
    )  # fmt: skip


def test_what_is_only_read_is_not_remembered_and_what_is_dropped_is_forgotten():
    states = AttemptStates()
    assert states.get("i1").stage is AttemptStage.IDLE
    assert list(states.known()) == []
    states.of("i1").at_step(1)
    assert states.get("i1").midway
    states.drop("i1")
    assert list(states.known()) == []
