"""Tables that fit, times a person reads, and strangers' text that no terminal obeys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.cli.terminal_text import ago, clean, clock, cut, size, span, table, width_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain – text", "plain – text"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb", "a\\r\\nb"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("\x9b31m", "\\x9b31m"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, expected):
    assert clean(text) == expected


@given(st.text())
def test_clean_text_is_one_printable_line(text):
    assert clean(text).isprintable()


def test_a_table_is_as_wide_as_it_must_be():
    assert table(("A", "B"), [("x", "yy"), ("zzz", None)]) == ["A    B", "x    yy", "zzz"]


def test_a_table_fits_and_the_widest_column_gives_way():
    lines = table(("NAME", "WHY"), [("web", "a" * 100), ("db", "short")], width=40)
    assert all(width_of(line) <= 40 for line in lines)
    assert lines[1].startswith("web ")
    assert lines[1].endswith("…")


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=5),
    st.integers(20, 120),
)
def test_no_row_is_wider_than_the_terminal_or_breaks_its_line(rows, width):
    lines = table(("ONE", "TWO"), rows, width)
    assert len(lines) == len(rows) + 1
    assert all(width_of(line) <= width and line.isprintable() for line in lines)


def test_no_rows_is_no_table():
    assert table(("A",), []) == []


def test_wide_characters_take_two_columns():
    assert width_of("日本") == 4
    assert cut("日本語", 5) == "日本…"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.354, "0.35 s"), (4.25, "4.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"),
        (3600, "1 h"),
     (356_400, "4 d 3 h"), (-1, "0.00 s")],
)  # fmt: skip
def test_durations_as_people_say_them(seconds, expected):
    assert span(seconds) == expected


def test_moments():
    assert (ago(None, 10), ago(5, 10), ago(20, 10)) == ("never", "5.0 s ago", "in 10 s")
    assert clock(1_700_000_000.5).endswith(".500")
    assert (size(100), size(2048), size(5 * 1024**4)) == ("100 B", "2.0 KiB", "5120.0 GiB")
