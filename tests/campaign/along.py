"""A guest that no rule covers comes back with its owner: if dockmend ended or began the owner's
run, and only then."""

from __future__ import annotations

from collections.abc import Callable

from .driver import Driver
from .fleet import Slot
from .relay import Request

TOUCHES = ("restart", "start")
LASTS = 120.0
"""Seconds after a call to its owner in which what is done to a guest belongs to the same
attempt."""
SAME = 20.0
"""Seconds within which the engine tells that a run has begun that was asked of it."""


class Along:
    def __init__(self, driver: Driver, effective: Callable[[Request], bool]) -> None:
        self.driver = driver
        self.effective = effective

    def demanded(self, slot: Slot) -> bool:
        """Whether it is dockmend's to bring it back: the run that its owner is in was begun by
        dockmend."""
        return self._began(slot) is not None

    def left_by_second(self, slot: Slot) -> bool:
        """Whether the second dockmend began its owner's run, ended before it came to it, and had no
        turn since.

        Only its own journal knows then that the guest is to be brought back.
        """
        call = self._began(slot)
        if call is None or not call.by:
            return False
        ledger = self.driver.ledger
        ends = [life.end for life in ledger.second_lives if life.meets(call.sent, call.sent)]
        if not ends or max(ends) > call.sent + LASTS:
            return False
        return not any(turn.begin > max(ends) for turn in ledger.second_acts)

    def _began(self, slot: Slot) -> Request | None:
        """dockmend's call that began the run its owner is in; None if it was somebody else."""
        if slot.tier != "bystander" or slot.owner is None:
            return None
        owner = slot.owner.id
        begun = max((each.at for each in self.driver.events.of(owner, "start")), default=0.0)
        for each in self._calls(owner):
            if each.sent - 0.1 <= begun <= (
                each.answered or each.sent + SAME
            ) + 0.1 and self.effective(each):
                return each
        return None

    def belongs(self, slot: Slot, request: Request) -> bool:
        """Whether a call to a guest may be a part of what dockmend does to its owner."""
        if slot.tier != "bystander" or slot.owner is None:
            return False
        calls = (each for owner in slot.owner.born for each in self._calls(owner))
        return any(each.sent <= request.sent <= each.sent + LASTS for each in calls)

    def _calls(self, container: str) -> list[Request]:
        return [each for each in self.driver.relay.changes(container) if each.operation in TOUCHES]
