"""What is told of a trouble: once when it has stood, once when it is over, and nothing of what
passes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from msgspec.structs import replace

from dockmend.notify.alarms import (
    TRANSITIONS,
    Alarm,
    AlarmEnding,
    Alarms,
    AlarmSeen,
    AlarmTrouble,
    Phase,
    Say,
    Word,
)
from dockmend.notify.message import Kind

DOWN = AlarmTrouble(
    key="down/container:web", kind=Kind.DOWN, target="container:web", object_name="web",
    since=1000.0, object_id="1" * 64, cause="crashed", grace=60.0,
)  # fmt: skip
GAVE_UP = replace(DOWN, kind=Kind.GAVE_UP, grace=0.0, rule="heal")


class Bench:
    """Alarms with a clock; `well`: how troubles end that do not stand."""

    def __init__(self, told: Iterable[Alarm] = ()) -> None:
        self.alarms = Alarms(told)
        self.now = 1000.0
        self.ending: AlarmEnding | None = AlarmEnding.WELL

    def look(self, *troubles: AlarmTrouble, after: float = 0.0) -> list[Word]:
        self.now += after
        return self.alarms.step(self.now, troubles, lambda trouble: self.ending)

    def said(self, *troubles: AlarmTrouble, after: float = 0.0) -> list[tuple[str, str]]:
        return [
            (each.say.value, each.trouble.kind.value) for each in self.look(*troubles, after=after)
        ]


def test_every_phase_has_an_answer_to_all_that_is_seen():
    assert set(TRANSITIONS) == set(product(Phase, AlarmSeen))
    told = {(phase, say) for phase, say in TRANSITIONS.values() if say is not Say.NOTHING}
    assert told == {(Phase.TOLD, Say.ALARM), (Phase.OVER, Say.RESOLVED)}
    assert all(
        before is Phase.TOLD for (before, _), (_, say) in TRANSITIONS.items() if say is Say.RESOLVED
    )


def test_it_is_told_once_when_it_has_stood_for_its_grace_and_once_when_it_is_over():
    bench = Bench()
    assert bench.said(DOWN) == []
    assert bench.alarms.next_due() == 1060.0
    assert bench.said(DOWN, after=59.0) == []
    assert bench.said(DOWN, after=1.0) == [("alarm", "down")]
    assert bench.alarms.next_due() is None
    assert bench.said(DOWN, after=1000.0) == []
    (word,) = bench.look(after=1.0)
    assert (word.say, word.ending, word.trouble) == (Say.RESOLVED, AlarmEnding.WELL, DOWN)
    bench.alarms.changed.clear()
    assert bench.said(after=1.0) == []
    assert bench.alarms.changed == set(), "it is kept as it is"
    assert bench.said(after=3600.0) == []
    assert bench.alarms.known == {}
    assert bench.alarms.changed == {DOWN.key}, "it does not count any more"


def test_what_passes_within_its_grace_is_never_told():
    bench = Bench()
    assert bench.said(DOWN) == []
    assert bench.said(after=59.0) == []
    assert bench.said(DOWN, after=1.0) == []
    assert bench.said(DOWN, after=59.0) == []
    assert bench.said(after=1.0) == []


def test_one_that_is_starting_is_not_well_yet():
    bench = Bench()
    bench.look(DOWN)
    bench.look(DOWN, after=60.0)
    bench.ending = None
    assert bench.said(after=1.0) == []
    assert bench.said(DOWN, after=1.0) == []
    bench.ending = AlarmEnding.STOPPED
    (word,) = bench.look(after=1.0)
    assert word.ending is AlarmEnding.STOPPED


def test_giving_up_is_told_at_once_and_replaces_what_was_told_before():
    bench = Bench()
    assert bench.said(GAVE_UP, DOWN) == [("alarm", "gave_up")]
    assert bench.said(GAVE_UP, DOWN, after=100.0) == []
    assert bench.said(DOWN, after=100.0) == []
    assert bench.said() == [("resolved", "gave_up")]
    assert bench.said(DOWN) == []
    assert bench.said(DOWN, after=60.0) == [("alarm", "down")]
    assert bench.said(DOWN, GAVE_UP) == [("alarm", "gave_up")]
    assert bench.said() == [("resolved", "gave_up")]


def test_giving_up_again_is_news_only_if_a_person_let_it_try_again():
    bench = Bench()
    assert bench.said(GAVE_UP) == [("alarm", "gave_up")]
    bench.ending = None
    assert bench.said() == []
    assert bench.said(GAVE_UP, after=900.0) == []
    bench.alarms.reset(GAVE_UP.key)
    assert bench.said() == []
    assert bench.said(GAVE_UP, after=10.0) == [("alarm", "gave_up")]
    assert bench.said(GAVE_UP, after=10.0) == []


def test_what_a_person_has_in_hand_is_not_told_and_its_grace_begins_anew():
    bench, held = Bench(), replace(DOWN, held=True)
    assert bench.said(DOWN) == []
    assert bench.said(held, after=50.0) == []
    assert bench.alarms.next_due() is None
    assert bench.said(held, after=5000.0) == []
    assert bench.said(DOWN, after=1.0) == []
    assert bench.said(DOWN, after=58.0) == []
    assert bench.said(DOWN, after=1.0) == [("alarm", "down")]
    assert bench.said(held, after=1.0) == []
    assert bench.said(after=1.0) == [("resolved", "down")]


def test_what_was_told_is_known_after_a_restart():
    first = Bench()
    first.look(DOWN)
    first.look(DOWN, after=60.0)
    first.alarms.told(DOWN.key, ["ops", "phone"])
    assert first.alarms.changed == {DOWN.key}
    second = Bench(first.alarms.known.values())
    assert second.said(DOWN, after=60.0) == []
    (word,) = second.look(after=1.0)
    assert (word.say, word.channels) == (Say.RESOLVED, ("ops", "phone"))
    assert second.alarms.changed == {DOWN.key}


def test_another_name_is_the_same_trouble():
    bench = Bench()
    bench.look(DOWN)
    bench.look(DOWN, after=60.0)
    renamed = replace(DOWN, key="down/container:shop", target="container:shop", object_name="shop")
    assert bench.said(renamed, after=600.0) == []
    assert bench.alarms.changed == {DOWN.key, renamed.key}
    (word,) = bench.look()
    assert word.trouble.object_name == "shop"


@pytest.mark.parametrize("kind", [Kind.DEGRADED, Kind.NEEDS_YOU])
def test_each_trouble_has_an_alarm_of_its_own(kind: Kind):
    bench = Bench()
    others = [
        AlarmTrouble(f"{kind}/{name}", kind, "", name, 1000.0 + at) for at, name in enumerate("ab")
    ]
    assert [word.trouble.object_name for word in bench.look(*reversed(others))] == ["a", "b"]
    assert [word.trouble.object_name for word in bench.look(others[1])] == ["a"]


def test_what_comes_and_goes_is_told_three_times_and_then_once_it_stays_well():
    bench = Bench()
    said = []
    for _ in range(40):
        words = (
            *bench.look(DOWN),
            *bench.look(DOWN, after=60.0),
            *bench.look(after=1.0),
            *bench.look(after=140.0),
        )
        said += [(word.say.value, word.nth) for word in words]
    assert said == [("alarm", 1), ("resolved", 1), ("alarm", 2), ("resolved", 1), ("alarm", 3)]
    assert bench.said(after=400.0) == []
    assert bench.said(after=100.0) == [("resolved", "down")]
    assert bench.alarms.known == {}


@pytest.mark.parametrize("stands", [True, False], ids=["while it stands", "while it is well"])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_how_often_it_came_is_known_after_a_restart(before: int, stands: bool):
    bench, said = Bench(), []
    for time in range(before + 2):
        words = [*bench.look(DOWN), *bench.look(DOWN, after=60.0)]
        if time == before - 1 and stands:
            kept, bench = bench, Bench(bench.alarms.known.values())
            bench.now = kept.now
        words += bench.look(after=1.0)
        if time == before - 1 and not stands:
            kept, bench = bench, Bench(bench.alarms.known.values())
            bench.now = kept.now
        said += [(word.say.value, word.nth) for word in (*words, *bench.look(after=140.0))]
    told = [("alarm", 1), ("resolved", 1), ("alarm", 2), ("resolved", 1), ("alarm", 3)]
    assert said == told[: 2 * before + 4]
    assert bench.said(after=700.0) == [("resolved", "down")]


def test_what_a_person_ends_is_told_at_once_however_often_it_came():
    bench = Bench()
    for _ in range(3):
        bench.look(DOWN)
        bench.look(DOWN, after=60.0)
        bench.look(after=1.0)
    bench.ending = AlarmEnding.STOPPED
    assert bench.said(after=1.0) == [("resolved", "down")]


def test_an_hour_later_it_is_news_again():
    bench = Bench()
    for _ in range(5):
        bench.look(DOWN)
        assert [each.nth for each in bench.look(DOWN, after=60.0)] in ([1], [2])
        assert bench.said(after=1.0) == [("resolved", "down")]
        bench.look(after=2000.0)
