"""What dockmend healed lately, by container: the how manyth time today, and what is healed again
and again. Pure."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

FLAPS, WITHIN = 3, 3600.0
"""So many heals of one container within so many seconds are told: it does not stay well."""
DAY: Final = 86400.0
REMEMBERED: Final = 4096
"""Containers whose heals are remembered; the one that was healed longest ago is forgotten first."""


class Heals:
    """Times are wall seconds, and come in order."""

    def __init__(self) -> None:
        self._at: OrderedDict[str, list[float]] = OrderedDict()
        self._flapping: set[str] = set()

    def healed(self, target: str, at: float, local: datetime) -> tuple[int, list[float]]:
        """One heal more: the how manyth of its local day, and the times of those that make it flap:
        none if it does not, or if that was told and it has not stayed well since. `local`: the same
        moment on the clock of the host."""
        mine = [*(each for each in self._at.pop(target, []) if at - each < DAY), at]
        self._at[target] = mine
        while len(self._at) > REMEMBERED:
            forgotten, _ = self._at.popitem(last=False)
            self._flapping.discard(forgotten)
        begun = local.replace(hour=0, minute=0, second=0, microsecond=0)
        since_midnight = local.timestamp() - begun.timestamp()
        today = sum(1 for each in mine if at - each <= since_midnight)
        lately = [each for each in mine if at - each < WITHIN]
        if len(lately) < FLAPS:
            self._flapping.discard(target)
            return today, []
        news = target not in self._flapping
        self._flapping.add(target)
        return today, lately if news else []
