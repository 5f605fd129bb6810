from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockmend.rules.language_error import LanguageError
from dockmend.rules.schedules import check_cron, check_zone, last_fire, next_fire


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/15 * * * *", "UTC", "2026-11-23 10:00:00", "2026-11-23 10:15:00"),
        ("*/15 * * * *", "UTC", "2026-11-23 09:59:59", "2026-11-23 10:00:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-11-23 10:00:00", "2026-11-24 02:00:00"),
        ("0 3 * * mon-fri", "UTC", "2026-11-27 10:00:00", "2026-11-30 03:00:00"),
        # the night the clock goes forward: 02:30 does not exist and runs at 03:00 (01:00 UTC)
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00:00", "2026-03-29 01:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 01:00:00", "2026-03-30 00:30:00"),
        # the night it goes back: 02:30 comes twice and runs once
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00:00", "2026-10-25 00:30:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30:00", "2026-10-26 01:30:00"),
        # by the hour: both of the repeated ones
        ("30 * * * *", "Europe/Berlin", "2026-10-25 00:30:00", "2026-10-25 01:30:00"),
        ("30 * * * *", "Europe/Berlin", "2026-03-29 00:30:00", "2026-03-29 01:30:00"),
    ],
)
def test_when_a_schedule_fires_next(cron, zone, after, expected):
    assert next_fire(cron, zone, utc(after)) == utc(expected)


def test_the_last_firing_before_a_moment():
    assert last_fire("0 3 * * *", "UTC", utc("2026-11-23 03:00:00")) == utc("2026-11-22 03:00:00")
    assert last_fire("0 3 * * *", "UTC", utc("2026-11-23 03:00:01")) == utc("2026-11-23 03:00:00")
    assert last_fire("0 3 * * *", "UTC", utc("2026-11-23 03:00:00") + 0.5) == utc(
        "2026-11-23 03:00:00"
    )
    assert last_fire("30 2 * * *", "Europe/Berlin", utc("2026-03-29 12:00:00")) == utc(
        "2026-03-29 01:00:00"
    )


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * *", "has 3 fields"),
        ("* * * * * *", "has 6 fields"),
        ("@daily", "@daily are not known"),
        ("60 * * * *", '"60" is no minute'),
        ("* 24 * * *", '"24" is no hour'),
        ("* * 0 * *", '"0" is no day-of-month'),
        ("* * * 13 *", '"13" is no month'),
        ("* * * * monday", '"monday" is no day-of-week'),
        ("*/0 * * * *", '"*/0" is no minute'),
        ("0 0 30 2 *", "no day-of-month"),
        ("0 0 30,31 2 *", "no day-of-month"),
        ("x" * 300, "too long"),
        (5, "in quotes"),
        ("", "has 0 fields"),
    ],
)
def test_wrong_schedules_are_refused_when_loaded(cron, said):
    with pytest.raises(LanguageError) as caught:
        check_cron(cron)
    assert said in caught.value.message


def test_zones_are_checked():
    assert check_zone("Europe/Berlin") == "Europe/Berlin"
    with pytest.raises(LanguageError, match=r'did you mean "Europe/Berlin"'):
        check_zone("Europe/Berlim")
    with pytest.raises(LanguageError, match="not a time zone"):
        check_zone(1)


CRONS = st.sampled_from(
    [
        "*/15 * * * *",
        "0 3 * * *",
        "30 2 * * *",
        "5,35 1-3 * * *",
        "0 0 1 * *",
        "15 */2 * * sun",
        "59 23 L * *",
    ]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])


@settings(deadline=None)
@given(CRONS, ZONES, st.integers(1_750_000_000, 1_800_000_000))
def test_firings_follow_each_other(cron, zone, moment):
    later = next_fire(cron, zone, moment)
    assert later > moment
    again = next_fire(cron, zone, later)
    assert again > later
    assert last_fire(cron, zone, moment) < moment
    wall = datetime.fromtimestamp(later, ZoneInfo(zone))
    assert wall.second == 0


@settings(deadline=None)
@given(CRONS, st.integers(1_750_000_000, 1_800_000_000))
def test_forward_and_backward_agree(cron, moment):
    later = next_fire(cron, "UTC", moment)
    assert last_fire(cron, "UTC", later + 1) == later
    earlier = last_fire(cron, "UTC", moment)
    assert next_fire(cron, "UTC", earlier) == later or next_fire(cron, "UTC", earlier) == moment


@settings(deadline=None, max_examples=200)
@given(
    st.text(max_size=20)
    | st.lists(
        st.text(alphabet="0123456789*/,-LW#", min_size=1, max_size=5), min_size=5, max_size=5
    ).map(" ".join)
)
def test_no_text_is_met_with_anything_but_a_language_error(text):
    try:
        cron = check_cron(text)
    except LanguageError as error:
        assert error.message  # noqa: PT017 # accepting it is as good
    else:
        assert next_fire(cron, "UTC", 1.7e9) > 1.7e9
