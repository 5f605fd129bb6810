"""Strangers' text: no mention, no link, no markup, no control character, and never endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dockmend.notify.defusing import defused, lines, name, pastable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("WARN pool exhausted", "WARN pool exhausted"),
        ("@everyone <!channel> <@123>", "＠everyone ‹!channel› ‹＠123›"),  # noqa: RUF001 - what is shown instead
        ("**bold** `code` ||spoiler|| ~~gone~~", "∗∗bold∗∗ 'code' ¦¦spoiler¦¦ ∼∼gone∼∼"),  # noqa: RUF001 - the same
        ("[click](https://evil.example)", "⟦click⟧(https:∕∕evil․example)"),  # noqa: RUF001 - the same
        ("see WWW.evil.example", "see WWW․evil․example"),  # noqa: RUF001 - the same
        ("log in at evil.co.uk/nas", "log in at evil․co․uk/nas"),  # noqa: RUF001 - the same
        ("evil。com evil．com evil｡com evil﹒com", "evil◦com evil․com evil◦com evil․com"),  # noqa: RUF001 - the same
        ("www。evil", "www◦evil"),
        ("終わり。 次", "終わり。 次"),
        ("version 4.0.2, e.g. here. Then", "version 4.0.2, e.g. here. Then"),
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
    assert len(told) <= 202


@given(some.text(alphabet='a"“”„‟«»＂″ .', max_size=300))  # noqa: RUF001 - what closes a quote, or looks as if
def test_what_is_quoted_does_not_end_its_quote(text: str):
    told = quoted(text)
    assert (told[0], told[-1]) == ('"', '"')
    assert not set(told[1:-1]) & set('"“”„‟«»＂″')  # noqa: RUF001 - the same


def test_what_is_escaped_takes_no_more_room_than_anything_else():
    assert len(defused("\x1b" * 1000, 400)) <= 402


def test_lines_that_say_nothing_are_left_out():
    assert lines(["a", "", " \t", "b"]) == ("a", "b")


def test_what_an_engine_takes_as_a_name_is_shown_as_it_is():
    assert name("my_app-1.5") == "my_app-1.5"
    assert name("evil.example") == "evil․example"  # noqa: RUF001 - no link
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
