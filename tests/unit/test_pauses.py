"""What a person paused: everything, a rule, a target, or one of a rule's; the longest of those that
hold is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dockmend.app.degraded_parts import DegradedParts
from dockmend.app.pauses import Pauses
from dockmend.journal.records import Pause

NOW, WEB, DB = 1000.0, "container:web", "container:db"


@pytest.mark.parametrize(
    ("rule", "target", "held"),
    [
        (None, None, {("heal", WEB), ("heal", DB), ("tidy", WEB), ("tidy", DB)}),
        ("heal", None, {("heal", WEB), ("heal", DB)}),
        (None, WEB, {("heal", WEB), ("tidy", WEB)}),
        ("heal", WEB, {("heal", WEB)}),
    ],
)
def test_a_pause_holds_what_it_names(
    rule: str | None, target: str | None, held: set[tuple[str, str]]
):
    pauses = Pauses(lambda: NOW, pauses=[Pause(rule, target, NOW + 60, "uid 0", NOW)])
    every = [(name, each) for name in ("heal", "tidy") for each in (WEB, DB)]
    assert {one for one in every if pauses.until(*one) == NOW + 60} == held
    assert all(pauses.until(*one) is False for one in every if one not in held)


def test_of_several_the_longest_counts_and_one_without_an_end_most():
    first, longer = (
        Pause(None, None, NOW + 60, "uid 0", NOW),
        Pause("heal", None, NOW + 90, "uid 0", NOW),
    )
    assert Pauses(lambda: NOW, pauses=[first, longer]).until("heal", WEB) == NOW + 90
    assert Pauses(lambda: NOW + 60, pauses=[first]).until("heal", WEB) is False
    assert (
        Pauses(lambda: NOW, pauses=[first, Pause(None, WEB, None, "uid 0", NOW)]).until("heal", WEB)
        is None
    )


def test_what_does_not_work_is_in_systemds_status_line_until_it_does():
    told: list[str] = []

    class Manager:
        def status(self, text: str) -> None:
            told.append(text)

    one = DegradedParts(cast("Any", Manager()))
    one.usual = "watching 3 containers by 1 rules"
    one.degraded("journal", "the disk is full")
    one.degraded("journal", "the disk is full")
    one.degraded("engine", "nobody answers")
    one.degraded("engine", None)
    one.degraded("journal", None)
    assert told == [
        "degraded: journal: the disk is full",
        "degraded: engine: nobody answers; journal: the disk is full",
        "degraded: journal: the disk is full", one.usual,
    ]  # fmt: skip
