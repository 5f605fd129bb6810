"""Whatever a library says of a URL: nothing of the URL is left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.notify.url_redaction import wiped

CASES = [
    (
        "tgram://123456:ABC-token/987654321",
        "no answer of https://api.telegram.org/bot123456:ABC-token/sendMessage",
    ),
    (
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "404 for 4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    ),
    (
        "mailto://me:p%40ss%20word@mail.example?to=you%40b.c",
        "login me/p@ss word at mail.example for you@b.c failed",
    ),
    (
        "json://u:hunter2@host.example/a/path?x=topsecret",
        "HTTPConnection(host='HOST.EXAMPLE', port=80) url: /A/PATH",
    ),
    ("json://u:hunter2@h/p", "Authorization: Basic dTpodW50ZXIy"),
    ("json://u:hunter2@h/p", "the header was dTpodW50ZXIy"),
    ("json://h/größe", r'{"at": "/gr\u00f6\u00dfe"} and /gr%C3%B6%C3%9Fe and gr\xf6\xdfe'),
    ("json://me:98765@h:8080/p", "wrong login 98765"),
]


@pytest.mark.parametrize(("url", "line"), CASES)
def test_neither_the_url_nor_a_part_of_it_is_left(url, line):
    [clean] = wiped([line], url)
    for hidden in ("ABC-token", "123456", "987654321", "4174216298", "JHMHI8", "p@ss", "word",
        "mail.example", "b.c",
                   "hunter2", "topsecret", "host.example", "path", "dTpodW50ZXIy", "gr%C3", "u00f6",
                   "xf6",
                   "98765"):  # fmt: skip
        assert hidden.lower() not in clean.lower()
    assert "***" in clean


def test_what_is_no_part_of_it_stays():
    said = [
        "WARNING: Failed to send JSON notification: Unauthorized, error=401.",
        "HTTPConnection(port=8080) refused",
    ]
    assert wiped(said, "json://u:hunter2@h:8080/") == tuple(said)
    assert wiped(["port 8080, 8080"], "ntfy://h:8080?x=1") == ("port 8080, 8080",)


def test_what_a_stranger_answered_is_one_short_line():
    [clean] = wiped(["a\nb\x1b[31m" + "x" * 1000], "json://h")
    assert "\n" not in clean
    assert "\x1b" not in clean
    assert len(clean) < 320


@given(
    st.text(alphabet="abcdefghijk0123456789", min_size=6, max_size=20),
    st.text(max_size=40),
    st.text(max_size=40),
)
def test_a_token_is_never_left(token, before, after):
    assert token not in wiped([f"{before} {token} {after}"], f"json://h/{token}")[0]
