"""Strangers' text: no mention, no link, no markup, no control character, and never endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dockmend.notify.defusing import defused, lines, name, pastable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("WARN pool exhausted", "WARN pool exhausted"),
        ("@everyone <!channel> <@123>", "＠everyone ‹!channel› ‹＠123›"),  # noqa: RUF001 - what is shown instead
        ("**bold** `code` ||spoiler|| ~~gone~~", "∗∗bold∗∗ 'code' ¦¦spoiler¦¦ ∼∼gone∼∼"),  # noqa: RUF001 - the same
        ("[click](https://evil.example)", "⟦click⟧(https:∕∕evil.example)"),  # noqa: RUF001 - the same
        ("see WWW.evil.example", "see WWW․evil.example"),  # noqa: RUF001 - the same
        ("# heading", "·# heading"),
        ("- item", "·- item"),
        ("\x1b[2Jgone\u202e\r\n", r"\x1b⟦2Jgone\u202e"),
        ("   ", ""),
    ],
)
def test_nothing_in_it_means_anything(text: str, shown: str):
    assert defused(text) == shown


@given(some.text(max_size=500))
def test_whatever_it_is(text: str):
    told = defused(text)
    assert told.isprintable()
    assert not set(told) & set("@<>`*|~[]")
    assert "://" not in told
    assert "www." not in told.lower()
    assert not told.startswith(("#", "=", "+", "-"))
    assert len(told) <= 200 * 12


def test_lines_that_say_nothing_are_left_out():
    assert lines(["a", "", " \t", "b"]) == ("a", "b")


def test_what_an_engine_takes_as_a_name_is_shown_as_it_is():
    assert name("my_app-1.old") == "my_app-1.old"
    assert len(name("a" * 300)) == 48
    assert "@" not in name("@everyone")


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("web", True),
        ("container:web", True),
        ("compose:shop/web/1", True),
        ("web; rm -rf /", False),
        ("-rf", False),
        ("$(x)", False),
        ("web\n", False),
        ("", False),
    ],
)
def test_only_plain_names_stand_in_commands(text: str, may: bool):
    assert pastable(text) is may
