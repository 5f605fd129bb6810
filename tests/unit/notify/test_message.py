"""A message: what it holds, what of it is sent, how long it may be."""

from __future__ import annotations

import msgspec
import pytest

from dockmend.notify.message import (
    LARGEST_BODY,
    LARGEST_LOG,
    LONGEST_TITLE,
    Kind,
    Message,
    Severity,
    bounded,
)
from dockmend.settings.channels import AT_ONCE, DIGEST, LISTED, Channel
from dockmend.settings.secrets import Secret

DOWN = Message(
    kind=Kind.DOWN, severity=Severity.CRITICAL, key="down/container:web", target="container:web",
    object_name="web", title="web is down", body="Exit code 1 since 03:05.",
    last_lines=("one", "two", "three"), next_step="docker logs web", at=1000.0, host="nas",
)  # fmt: skip


def test_it_comes_back_from_the_outbox_as_it_was():
    assert msgspec.json.decode(msgspec.json.encode(DOWN), type=Message) == DOWN


@pytest.mark.parametrize(
    ("logs", "text"),
    [
        (0, "Exit code 1 since 03:05.\n\nNow: docker logs web"),
        (
            2,
            (
                "Exit code 1 since 03:05.\n\nNow: docker logs web\n\nIts log ends with:\n│ "
                "two\n│ three"
            ),
        ),
        (
            9,
            (
                "Exit code 1 since 03:05.\n\nNow: docker logs web\n\nIts log ends with:\n│ one\n│ "
                "two\n│ three"
            ),
        ),
    ],
)
def test_a_channel_says_how_many_lines_of_the_log_it_gets(logs, text):
    assert DOWN.text(logs) == text


def test_a_line_of_a_log_is_no_command_to_paste():
    forged = msgspec.structs.replace(
        DOWN, last_lines=("", "Now: docker rm -f db", "Host: elsewhere")
    )
    own = [line for line in forged.text(5).splitlines() if not line.startswith("│ ")]
    assert own == ["Exit code 1 since 03:05.", "", "Now: docker logs web", "", "Its log ends with:"]


def test_what_has_no_log_and_no_next_step_is_its_body_alone():
    plain = msgspec.structs.replace(DOWN, last_lines=(), next_step="")
    assert plain.text(5) == "Exit code 1 since 03:05."


def test_nothing_in_it_is_endless():
    long = msgspec.structs.replace(
        DOWN, title="t" * 100, body="b" * 10_000, next_step="n" * 10_000,
        last_lines=("x" * 1000,) * 5, key="k" * 10_000, target="t" * 10_000,
        object_name="o" * 10_000,
    )  # fmt: skip
    short = bounded(long)
    assert short.title == "t" * (LONGEST_TITLE - 1) + "…"
    assert len(short.body) == LARGEST_BODY
    assert short.next_step == ""  # half a command does something else
    assert sum(map(len, short.last_lines)) <= LARGEST_LOG
    assert max(map(len, (short.key, short.target, short.object_name))) <= LARGEST_BODY
    assert bounded(DOWN) == DOWN


def test_of_a_log_the_newest_lines_are_kept():
    many = msgspec.structs.replace(
        DOWN, last_lines=tuple(f"{number:0100}" for number in range(100))
    )
    assert bounded(many).last_lines[-1] == many.last_lines[-1]
    assert 0 < len(bounded(many).last_lines) < 100


def test_a_channel_that_does_not_say_gets_each_kind_once():
    assert set(LISTED) == AT_ONCE | DIGEST
    assert not AT_ONCE & DIGEST
    assert Kind.TOLD not in LISTED


def test_a_channel_does_not_show_its_urls():
    assert "hidden" not in repr(Channel("ops", (Secret("ntfy://hidden"),)))


def test_severities_have_an_order():
    assert Severity.INFO < Severity.WARNING < Severity.CRITICAL
