"""Channels as a person may see them: everything of the settings but the URLs, of which only the
service is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from dockmend.settings.channels import LISTED, Channel
from dockmend.settings.url_schemes import service_of


class Lane(Struct):
    """What came of the tries at one URL of a channel since dockmend started. Times: None if there
    was none."""

    delivered_at: float | None = None
    failed_at: float | None = None
    error: str = ""  # why the last try that failed was not accepted
    failing: bool = False  # whether that was the last try


class UrlRow(Struct, frozen=True):
    """`service`: the scheme of the URL. `lane`: None if no dockmend that runs was asked."""

    service: str
    lane: Lane | None = None


class ChannelRow(Struct, frozen=True):
    """`quiet`, `digest_at`: local time of day. `waiting`: messages in the outbox, None if nobody
    could tell; `next_at`: when the first of them is due, wall seconds."""

    name: str
    urls: tuple[UrlRow, ...]
    at_once: tuple[str, ...]
    digest: tuple[str, ...]
    off: tuple[str, ...]
    severity: str
    quiet: str | None
    logs: int
    digest_at: str
    waiting: int | None = None
    next_at: float | None = None


def channel_row(
    channel: Channel,
    due: Sequence[float] | None,
    lanes: Mapping[int, Lane] | None = None,
) -> ChannelRow:
    """`due`: when each message that waits for the channel is due, wall seconds; None: unknown.
    `lanes`: by number of the URL; one that is missing was not tried; None: no dockmend that runs
    was asked."""
    return ChannelRow(
        name=channel.name,
        urls=tuple(
            UrlRow(
                service_of(url.reveal()), lanes.get(number, Lane()) if lanes is not None else None
            )
            for number, url in enumerate(channel.urls)
        ),
        at_once=tuple(kind.value for kind in LISTED if kind in channel.at_once),
        digest=tuple(kind.value for kind in LISTED if kind in channel.digest),
        off=tuple(kind.value for kind in LISTED if kind not in channel.at_once | channel.digest),
        severity=channel.severity.name.lower(),
        quiet="-".join(map(_of_day, channel.quiet)) if channel.quiet is not None else None,
        logs=channel.logs,
        digest_at=_of_day(channel.digest_at),
        waiting=len(due) if due is not None else None,
        next_at=min(due) if due else None,
    )


def _of_day(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
