"""What is healed again and again: told once, and once more only after it stayed well."""

from __future__ import annotations

from datetime import UTC, datetime

from dockmend.notify.heal_counts import REMEMBERED, Heals

NOON = datetime(2026, 12, 2, 12, tzinfo=UTC).timestamp()


def heal(heals: Heals, at: float, target: str = "container:web") -> tuple[int, list[float]]:
    return heals.healed(target, at, datetime.fromtimestamp(at, UTC))


def test_three_within_an_hour_are_told_once():
    heals = Heals()
    assert heal(heals, NOON) == (1, [])
    assert heal(heals, NOON + 1800) == (2, [])
    assert heal(heals, NOON + 1900, "container:db") == (1, [])
    assert heal(heals, NOON + 3599) == (3, [NOON, NOON + 1800, NOON + 3599])
    assert heal(heals, NOON + 3700) == (4, [])


def test_what_stayed_well_since_is_told_again():
    heals = Heals()
    for at in (0, 10, 20):
        heal(heals, NOON + at)
    assert heal(heals, NOON + 3620) == (4, [])
    assert heal(heals, NOON + 3630) == (5, [])
    assert heal(heals, NOON + 3640) == (6, [NOON + 3620, NOON + 3630, NOON + 3640])


def test_three_in_more_than_an_hour_are_not_told():
    heals = Heals()
    assert [heal(heals, NOON + at)[1] for at in (0, 1800, 3600, 5400)] == [[], [], [], []]


def test_a_day_begins_at_midnight():
    heals = Heals()
    assert heal(heals, NOON)[0] == 1
    assert heal(heals, NOON + 12 * 3600)[0] == 1
    assert heal(heals, NOON + 12 * 3600 + 5)[0] == 2


def test_names_that_never_repeat_do_not_fill_the_memory():
    heals = Heals()
    for number in range(REMEMBERED + 10):
        heal(heals, NOON + number, f"container:web{number}")
    assert len(heals._at) == REMEMBERED


def test_what_was_healed_days_ago_is_forgotten():
    heals = Heals()
    for day in range(5):
        heal(heals, NOON + 86400 * day)
    assert heals._at == {"container:web": [NOON + 86400 * 4]}
