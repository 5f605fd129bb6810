"""What was put for a person's channels, of a daemon in the test's own process."""

from __future__ import annotations

from dataclasses import dataclass, field

from dockmend.notify.message import Kind, Message
from tests.integration.inside import Inside
from tests.lab.waiting import eventually_async

NOTHING = "version: 1\nrules: []\n"
OPS: dict[str, object] = {"ops": {}}
"""A channel without a URL: what is put for it stays in its outbox."""


@dataclass
class Post:
    """Every message that was put into an outbox, in order."""

    put: list[tuple[str, Message]] = field(default_factory=list)

    def of(self, *kinds: Kind, channel: str = "ops") -> list[Message]:
        return [
            each for name, each in self.put if name == channel and (not kinds or each.kind in kinds)
        ]

    async def has(self, *kinds: Kind, count: int = 1, channel: str = "ops") -> Message:
        """Waits for so many messages of these kinds; the newest."""
        await eventually_async(
            lambda: len(self.of(*kinds, channel=channel)) >= count,
            what=f"{count} message(s) {kinds}",
        )
        assert len(self.of(*kinds, channel=channel)) == count
        return self.of(*kinds, channel=channel)[-1]


async def stand(one: Inside, *names: str) -> None:
    """These are unwell, all others are well, and whoever tells has seen it: from now on their grace
    runs."""
    telling = one.daemon.telling
    assert telling is not None

    def seen() -> bool:
        known = {each.trouble.object_name for each in telling._alarms.known.values()}
        return {each.object_name for each in one.daemon.unwell()} == set(names) and set(
            names
        ) <= known

    await eventually_async(seen, what=f"{names} are unwell")
