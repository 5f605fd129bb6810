"""A network that a container was disconnected from: dockmend is to give it back, unless that was on
purpose.

The engine tells of a disconnect at each end as well, and dockmend disconnects what it makes anew:
only the driver's own disconnects, which the ledger has, take a network away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import fleet
from .driver import Driver
from .fleet import Slot
from .relay import Request

ON_PURPOSE = 600.0
"""Seconds after dockmend's reconnect within which another disconnect is a person's will."""
ACTS = ("disconnect", "remake_disconnected")


class LostNetworks:
    """`could_look`: whether dockmend was there at some time between two."""

    def __init__(
        self,
        driver: Driver,
        effective: Callable[[Request], bool],
        could_look: Callable[[float, float], bool],
    ) -> None:
        self.driver = driver
        self.effective = effective
        self.could_look = could_look

    def accepted(
        self, slot: Slot, seen: dict[str, Any], last: dict[str, Any] | None
    ) -> tuple[bool, str]:
        """Whether one that runs may be as it is, which is not as it was in its network, and why (or
        why not).

        `seen`: its inspect answer; `last`: its last incident.
        """
        if (place := seen["NetworkSettings"]["Networks"].get(fleet.NETWORK)) is not None:
            # Out of it a person may want it, but not in it in another way.
            return (
                False,
                (
                    f"it is in its network, but not as it was: {place.get('IPAMConfig')}, "
                    f"{place.get('Aliases')}"
                ),
            )
        lost = sorted(self._taken_away(slot))
        if not lost:
            return False, f"nobody disconnected it, and it is not in its network: {last}"
        at, born = lost[-1]
        if slot.remade and len(lost) > 1 and at - lost[-2][0] <= ON_PURPOSE:
            return True, "disconnected on purpose"
        mended = [
            each.answered or each.sent
            for each in self.driver.relay.changes(slot.id)
            if each.operation == "connect" and self.effective(each) and each.sent < at
        ]
        if mended and at - max(mended) <= ON_PURPOSE:
            return True, "disconnected on purpose"
        if not self.could_look(born, at):
            return (
                True,
                "made and disconnected while dockmend was away: nobody knows how it was connected",
            )
        return False, f"its network, lost at {at:.3f}, was not given back: {last}"

    def _taken_away(self, slot: Slot) -> Iterator[tuple[float, float]]:
        """When a person disconnected it, and when the container was made that this was done to.

        What dockmend made anew inherits what befell the one before it.
        """
        lives = slot.born if slot.remade else (slot.id,)
        for act in self.driver.ledger.of(slot.key, *ACTS):
            told = [
                (event.at, slot.born[one])
                for one in lives
                for event in self.driver.events.of(
                    one, "disconnect", since=act.begin, until=act.end
                )
            ]
            if told:
                yield max(told)
