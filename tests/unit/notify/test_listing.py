"""Channels as they are shown: all that the settings say, and of the URLs only the service."""

from __future__ import annotations

import msgspec

from dockmend.notify.listing import Lane, UrlRow, channel_row
from dockmend.settings.channels import Channel, Kind, Severity
from dockmend.settings.secrets import Secret

OPS = Channel(
    "ops",
    (
        Secret("ntfys://hunter2@host.example/topic"),
        Secret("MAILTOS://a:hunter2@b"),
        Secret("hunter2"),
    ),
    at_once=frozenset({Kind.DOWN, Kind.RESOLVED}),
    digest=frozenset({Kind.HEALED}),
    severity=Severity.WARNING,
    quiet=(22 * 60, 7 * 60 + 5),
)


def test_a_channel_is_shown_whole_and_its_urls_are_not():
    row = channel_row(OPS, [30.0, 20.0], {1: Lane(delivered_at=5.0)})
    assert row.urls == (
        UrlRow("ntfys", Lane()),
        UrlRow("mailtos", Lane(5.0)),
        UrlRow("unknown", Lane()),
    )
    assert (row.at_once, row.digest) == (("down", "resolved"), ("healed",))
    assert row.off == ("gave_up", "flapping", "degraded", "needs_you")
    assert (row.severity, row.quiet, row.digest_at, row.logs) == (
        "warning",
        "22:00-07:05",
        "08:00",
        5,
    )
    assert (row.waiting, row.next_at) == (2, 20.0)
    for secret in (b"hunter2", b"topic", b"example"):
        assert secret not in msgspec.json.encode(row)


def test_what_nobody_can_tell_is_not_made_up():
    row = channel_row(OPS, None)
    assert (row.waiting, row.next_at, row.urls[0].lane) == (None, None, None)
    row = channel_row(OPS, [])
    assert (row.waiting, row.next_at) == (0, None)
