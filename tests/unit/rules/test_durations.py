from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.rules.durations import (
    LONGEST,
    UNITS,
    Threshold,
    duration,
    per,
    span,
    threshold,
    within,
)
from dockmend.rules.language_error import LanguageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("0s", 0.0),
        (" 2d ", 172800.0),
        ("1w2d3h4m5s6ms", 604800 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5.006),
    ],
)
def test_durations_are_seconds(text, seconds):
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "said", "offset"),
    [
        (30, 'did you mean "30s"?', None),
        (True, "truth values", None),
        (None, "is not text", None),
        ("", "no duration", 0),
        ("30", 'did you mean "30s"?', 2),
        ("5min", 'did you mean "5m"?', 1),
        ("5S", 'did you mean "5s"?', 1),
        ("3 fortnights", "has no unit", 1),
        ("3y", "unknown unit", 1),
        ("1s1m", "from large to small", 3),
        ("1s1s", "from large to small", 3),
        ("-3s", "is not a duration", 0),
        ("1e9s", "unknown unit", 1),
        ("9999999w", "ten years", 0),
        ("٣s", "is not a duration", 0),
        ("1s" * 60, "too long", 0),
    ],
)
def test_wrong_durations_say_what_was_expected_and_where(value, said, offset):
    with pytest.raises(LanguageError) as caught:
        duration(value)
    assert said in caught.value.message
    assert caught.value.offset == offset


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(UNITS)), st.integers(0, 60)),
        min_size=1,
        unique_by=lambda part: part[0],
    )
)
def test_what_is_written_in_order_is_summed_up(parts):
    parts.sort(key=lambda part: -UNITS[part[0]])
    text = "".join(f"{count}{unit}" for unit, count in parts)
    assert duration(text) == pytest.approx(sum(count * UNITS[unit] for unit, count in parts))
    assert 0 <= duration(text) <= LONGEST


def test_rates_and_spans():
    assert per("5 per 15m") == (5, 900.0)
    assert within("3 within 10m") == (3, 600.0)
    assert span("1s to 5m") == (1.0, 300.0)
    assert span("5s to 5s") == (5.0, 5.0)


@pytest.mark.parametrize(
    ("parse", "text", "said", "offset"),
    [
        (per, "5 in 15m", '"5 per 15m"', 2),
        (per, "five per 15m", "is not a count", 0),
        (per, "0 per 15m", "is not a count", 0),
        (per, "5 per 15", 'did you mean "15s"', 8),
        (per, "5 per 0s", "so short a time", 6),
        (per, "1 per 1ms", "so short a time", 6),
        (within, "3 within 900ms", "so short a time", 9),
        (per, "5", '"5 per 15m"', 0),
        (per, 5, "has no unit", None),
        (within, "3 per 10m", '"3 within 10m"', 2),
        (span, "1s - 5m", '"1s to 5m"', 0),
        (span, "5m to 1s", "longer than the second", 0),
        (span, "1s to 5x", "unknown unit", 7),
    ],
)
def test_wrong_rates_and_spans(parse, text, said, offset):
    with pytest.raises(LanguageError) as caught:
        parse(text)
    assert said in caught.value.message
    assert caught.value.offset == offset


def test_thresholds():
    assert threshold("> 90%") == Threshold(">", 90.0, "%")
    assert threshold(">=500MiB") == Threshold(">=", 500 * 1024.0**2, "bytes")
    assert threshold("< 100") == Threshold("<", 100.0, "")
    for wrong in ("90%", "> %", "> 5 parsecs", "", "> 1000000%", 5):
        with pytest.raises(LanguageError):
            threshold(wrong)


@given(st.text(max_size=40) | st.from_regex(r"[0-9smhdw. perto]{0,20}", fullmatch=True))
def test_no_text_is_met_with_anything_but_a_language_error(text):
    for parse in (duration, per, within, span, threshold):
        try:
            parse(text)
        except LanguageError as error:
            assert error.offset is None or 0 <= error.offset <= len(text)  # noqa: PT017 # accepting it is as good
