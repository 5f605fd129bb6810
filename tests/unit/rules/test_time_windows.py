from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.rules.language_error import LanguageError
from dockmend.rules.time_windows import DAYS, compile_windows, window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00 Europe/Berlin", ["2026-11-23 08:00", "2026-11-27 17:59"],
         ["2026-11-23 07:59", "2026-11-23 18:00", "2026-11-22 12:00"]),
        ("22:00-06:00 Europe/Berlin", ["2026-11-23 22:00", "2026-11-23 05:59"],
         ["2026-11-23 21:59", "2026-11-23 06:00"]),
        ("Fri 22:00-06:00 Europe/Berlin", ["2026-11-27 23:00", "2026-11-28 05:00"],
         ["2026-11-27 05:00", "2026-11-28 23:00"]),
        ("Sun 22:00-06:00 Europe/Berlin", ["2026-11-22 23:00", "2026-11-23 05:00"],
            ["2026-11-22 05:00"]),
        ("Sat,Sun Europe/Berlin", ["2026-11-21 00:00", "2026-11-22 23:59"],
            ["2026-11-23 00:00", "2026-11-20 23:59"]),
        ("Sat-Mon Europe/Berlin", ["2026-11-21 00:00", "2026-11-23 23:59"], ["2026-11-24 00:00"]),
        ("00:00-24:00 Europe/Berlin", ["2026-11-23 00:00", "2026-11-23 23:59"], []),
        ("monday 9:00-10:00 Europe/Berlin", ["2026-11-23 09:30"], ["2026-11-24 09:30"]),
        # 2026-03-29, 02:00 to 03:00 does not exist; 2026-10-25, 02:00 to 03:00 comes twice
        ("Sun 02:00-03:00 Europe/Berlin", ["2026-10-25 02:30"],
            ["2026-03-29 01:59", "2026-03-29 03:00"]),
    ],
)  # fmt: skip
def test_windows_hold_by_the_wall_clock(text, inside, outside):
    windows = compile_windows(text)
    test, said = windows.hold, windows.text
    assert said == text
    assert [moment for moment in inside if not test(at(moment))] == []
    assert [moment for moment in outside if test(at(moment))] == []


def test_both_of_the_repeated_hours_are_inside():
    test = compile_windows("02:00-03:00 Europe/Berlin").hold
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    assert test(first)
    assert test(first + 3600)
    assert not test(first + 7200)


def test_lists_and_not_during_are_folded_into_one_test():
    windows = compile_windows(["08:00-12:00 UTC", "13:00-17:00 UTC"], "Sat,Sun UTC")
    test = windows.hold
    assert windows.text == "08:00-12:00 UTC or 13:00-17:00 UTC, not Sat,Sun UTC"
    assert test(at("2026-11-23 09:00", "UTC"))
    assert not test(at("2026-11-23 12:30", "UTC"))
    assert not test(at("2026-11-22 09:00", "UTC"))
    nothing = compile_windows(None, None)
    assert nothing.hold(0.0)
    assert nothing.text == ""


@pytest.mark.parametrize(
    ("during", "not_during", "now", "opens"),
    [
        ("Mon-Fri 08:00-18:00 Europe/Berlin", None, "2026-11-27 18:00", "2026-11-30 08:00"),
        ("22:00-06:00 Europe/Berlin", None, "2026-11-27 06:00", "2026-11-27 22:00"),
        (["08:00-09:00 Europe/Berlin", "12:07-13:00 Europe/Berlin"], None, "2026-11-27 10:00",
            "2026-11-27 12:07"),
        (None, "Mon-Fri 08:00-18:00 Europe/Berlin", "2026-11-27 08:00", "2026-11-27 18:00"),
        ("08:00-18:00 Europe/Berlin", "08:00-09:00 Europe/Berlin", "2026-11-27 07:00",
            "2026-11-27 09:00"),
        # the clock skips its beginning
        ("02:30-04:00 Europe/Berlin", None, "2026-03-28 12:00", "2026-03-29 03:00"),
        # and all of it
        ("Sun 02:00-03:00 Europe/Berlin", None, "2026-03-28 12:00", "2026-04-05 02:00"),
        ("01:45-02:30 Australia/Lord_Howe", None, "2026-10-03 12:00", "2026-10-03 17:15"),
        ("Mon Europe/Berlin", "Mon Europe/Berlin", "2026-11-27 08:00", None),
    ],
)  # fmt: skip
def test_the_next_opening_is_the_first_instant_inside(during, not_during, now, opens):
    windows = compile_windows(during, not_during)
    found = windows.open_at(at(now))
    assert found == (None if opens is None else at(opens))
    assert windows.open_at(at(now) + 60) == found


@given(
    st.floats(1.7e9, 1.8e9),
    st.sampled_from([
        ("Mon-Fri 08:05-17:31 Europe/Berlin", None),
        ("22:00-02:30 America/New_York", "Sat,Sun UTC"),
        (None, ["06:00-07:00 UTC", "05:30-06:10 Europe/Berlin"]),
        ("02:10-02:50 Australia/Lord_Howe", None),
    ]),
)  # fmt: skip
def test_until_it_opens_it_is_shut(now, text):
    windows = compile_windows(*text)
    if windows.hold(now):
        return
    opens = windows.open_at(now)
    assert opens is not None
    assert windows.hold(opens)
    minutes = range(int(now // 60) + 1, int(opens // 60))
    assert not any(windows.hold(minute * 60.0) for minute in minutes)


@pytest.mark.parametrize(
    ("text", "said", "offset"),
    [
        ("Mon-Fry 08:00-18:00", 'did you mean "Fri"?', 0),
        ("Mo 08:00-18:00", 'did you mean "Mon"?', 0),
        ("Mon,Tues 08:00-18:00", 'did you mean "Tue"?', 4),
        ("08:00", "not a range of hours", 0),
        ("8-18", "not a time of day", 0),
        ("08:00-18:60", "not a time of day", 6),
        ("24:00-25:00", "not a time of day", 6),
        ("24:00-06:00", "begins at 00:00", 0),
        ("08:00-08:00", "is empty", 0),
        ("08:00-18:00 Europe/Berln", 'did you mean "Europe/Berlin"?', 12),
        ("08:00-18:00 ../../etc/passwd", "is not a time zone", 12),
        ("08:00-18:00 Europe", "unknown time zone", 12),
        ("Europe/Berlin", "neither days nor hours", 0),
        ("08:00-18:00 Mon-Fri Europe/Berlin", "neither days nor hours", 12),
        ("", "empty text", 0),
        ("x" * 300, "too long", 0),
        (1080, "in quotes", None),
        ([], "or a list of them", None),
        ({"a": 1}, "or a list of them", None),
        (["08:00-18:00", 5], "put it in quotes", None),
    ],
)
def test_wrong_windows_say_what_was_expected(text, said, offset):
    with pytest.raises(LanguageError) as caught:
        compile_windows(text)
    assert said in caught.value.message
    assert caught.value.offset == offset


@given(
    st.sets(st.integers(0, 6), min_size=1), st.integers(0, 1439), st.integers(0, 1439),
    st.floats(1.6e9, 1.9e9),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)  # fmt: skip
def test_a_window_and_its_complement_split_the_week(days, start, end, moment, zone):
    if start == end:
        return
    clock = [f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end)]
    named = ",".join(DAYS[day] for day in sorted(days))
    inside = window(f"{named} {clock[0]}-{clock[1]} {zone}").holds(moment)
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone))
    minute = wall.hour * 60 + wall.minute
    begins = wall if start < end or minute >= start else wall - timedelta(days=1)
    within = start <= minute < end if start < end else minute >= start or minute < end
    assert inside == (within and begins.weekday() in days)
    if days == set(range(7)):
        other = window(f"{clock[1]}-{clock[0]} {zone}").holds(moment)
        assert inside is not other


@given(st.text(max_size=40) | st.from_regex(r"[MonTueFri,\-0-9: UTC/]{0,30}", fullmatch=True))
def test_no_text_is_met_with_anything_but_a_language_error(text):
    try:
        test = compile_windows(text).hold
    except LanguageError as error:
        assert error.offset is None or 0 <= error.offset <= len(text)  # noqa: PT017 # accepting it is as good
    else:
        assert test(1.7e9) in (True, False)
