"""What the command socket is asked about channels: which there are and how it goes with them, and
to try one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dockmend.control.control_api import Tried
from dockmend.errors import UsageError
from dockmend.settings.channels import LISTED, Kind

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon


def channels_of(daemon: Daemon) -> list[dict[str, Any]]:
    """Implements control.control_api.ControlApi.channels."""
    from dockmend.notify.listing import Lane, channel_row  # noqa: PLC0415 - only for who asks

    delivering, wall_at = daemon.message_delivery, daemon.clock.wall_at

    def of_wall(lane: Lane) -> Lane:
        delivered, failed = lane.delivered_at, lane.failed_at
        return msgspec.structs.replace(
            lane,
            delivered_at=wall_at(delivered) if delivered is not None else None,
            failed_at=wall_at(failed) if failed is not None else None,
        )

    found = []
    for channel in delivering.channels:
        lanes = delivering.delivery.lanes[channel.name] if delivering.delivery is not None else {}
        row = channel_row(
            channel,
            [wall_at(due) for due in delivering.outbox.due(channel.name)],
            {number: of_wall(lane) for number, lane in lanes.items()},
        )
        found.append(msgspec.to_builtins(row))
    return found


async def tried(daemon: Daemon, channel: str, url: int, kind: str) -> Tried:
    """Implements control.control_api.ControlApi.notify_test."""
    from dockmend.notify.sample_messages import sample  # noqa: PLC0415 - only for who asks

    channels = {each.name: each for each in daemon.message_delivery.channels}
    if channel not in channels or not 0 <= url < len(channels[channel].urls):
        raise UsageError(
            f"there is no such URL of a channel: the channels are {', '.join(channels) or 'none'}"
        )
    if kind not in LISTED or daemon.message_delivery.delivery is None:
        raise UsageError(
            f"there is no sample of such a message: there is one of {', '.join(LISTED)}"
        )
    message = sample(Kind(kind), daemon.clock.wall(), daemon.where)
    verdict = await daemon.message_delivery.delivery.try_now(channels[channel], url, message)
    return Tried(accepted=verdict.accepted, said=list(verdict.said))
