"""Tables that fit, times a person reads, and strangers' text that no terminal obeys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.cli.terminal_text import ago, clean, clock, size, span, table, width_of, wrapped


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


def test_the_last_column_is_wrapped_where_it_does_not_fit():
    told = table(
        ("NAME", "WHY"), [("web", "it ended and ended again and once more"), ("db", "")], 33
    )
    assert told == ["NAME  WHY", "web   it ended and ended again", "      and once more", "db"]


INCIDENTS = (
    ("ID", "OPENED", "OBJECT", "RULE", "TROUBLE", "OUTCOME", "TOOK", "WHY"),
    [
        ("i1m987habcdefg", "2026-12-07 12:29:57", "db", "label:heal", "container.unhealthy",
            "waiting", "8.5 s", "it ended, and the engine restarts it"),
        ("i1m987hbcdefgh", "2026-12-07 12:29:58", "vpn", "label:heal", "container.crashed",
            "recovered", "0.00 s", ""),
    ],
)  # fmt: skip


def test_what_does_not_fit_stands_below_its_row_and_nothing_is_cut():
    assert table(*INCIDENTS, 80) == [
        "ID              OPENED               OBJECT  RULE        TROUBLE",
        "i1m987habcdefg  2026-12-07 12:29:57  db      label:heal  container.unhealthy",
        "    OUTCOME waiting  TOOK 8.5 s  WHY it ended, and the engine restarts it",
        "i1m987hbcdefgh  2026-12-07 12:29:58  vpn     label:heal  container.crashed",
        "    OUTCOME recovered  TOOK 0.00 s",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_an_id_is_whole_and_a_time_readable_at_every_width(width):
    told = table(*INCIDENTS, width)
    assert max(map(width_of, told)) <= width
    flat = " ".join(" ".join(told).split())
    for row in INCIDENTS[1]:
        assert any(line.startswith(row[0]) for line in told)
        assert all(cell in flat for cell in row)


@given(
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=5),
    st.integers(20, 120),
)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_left_out(rows, width):
    lines = table(("ONE", "TWO"), rows, width)
    assert all(width_of(line) <= width and line.isprintable() for line in lines)
    text = "".join("".join(lines).split())
    for one, two in rows:
        # a long cell may be broken in the middle, and stands in one piece all the same
        assert "".join(clean(one).split()) in text
        assert "".join(clean(two).split()) in text


def test_no_rows_is_no_table():
    assert table(("A",), []) == []


def test_wide_characters_take_two_columns():
    assert width_of("日本") == 4
    assert wrapped("日本語", 5) == ["日本", "語"]


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
