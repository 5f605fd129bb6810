"""How far the event stream was read: the next replay begins there, also after a restart of
dockmend.
"""

from __future__ import annotations

import msgspec

from dockmend.model import Actor, Event


class EventCursor(msgspec.Struct, frozen=True):
    """Where the stream was read to, and which engine it was: journalled with the last known state.

    `boot` tells one start of the engine from the next: the default network is made anew by each.
    """

    time_ns: int = 0
    type: str = ""
    action: str = ""
    id: str = ""
    boot: str = ""

    @property
    def marker(self) -> Event | None:
        """The last event that was read; None where there was none since `time_ns`."""
        return Event(self.type, self.action, Actor(self.id), self.time_ns) if self.type else None
