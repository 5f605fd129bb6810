"""Containers that name another one by a link or live in its process or IPC namespace: made anew in
every order."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign import fleet
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

if TYPE_CHECKING:
    from tests.campaign.driver import Driver
    from tests.campaign.fleet import Slot


def _members(driver: Driver, fault: Fault, act: Act) -> list[Slot]:
    """In a drawn order; empty if one of them is not well: what is being made anew is left alone."""
    members = [slot for slot in driver.slots if slot.tier in {"base", "tied"}]
    random.Random(fault.pick).shuffle(members)
    act.slot, act.container = members[0].key, members[0].id
    if all(driver.well(slot, driver.inspect(slot)) for slot in members):
        return members
    act.result = "nothing to do it to"
    return []


def remake(driver: Driver, fault: Fault, act: Act) -> None:
    """dockmend makes one of them anew, or two: the second while it is at the first, or at once."""
    members = _members(driver, fault, act)
    for slot in members[: 1 + fault.number % 2]:
        if slot is not members[0]:
            driver.sleep(fault.duration * (fault.number % 4) / 3)
        begin, seen = time.time(), driver.inspect(slot)
        Path(fleet.root(seen), "well").unlink(missing_ok=True)
        if slot is not members[0]:
            driver.ledger.note(
                Act(fault.number, "tie_remake", slot.key, slot.id, begin, time.time())
            )


def recreate(driver: Driver, fault: Fault, act: Act) -> None:
    """By a person: one that is tied; or the base, and with it those that are tied to it, in a drawn
    order."""
    members = _members(driver, fault, act)
    if not members:
        return
    base = next(slot for slot in members if slot.tier == "base")
    again = [slot for slot in members if slot is not base] if members[0] is base else [members[0]]
    for slot in again:
        driver.hands.remove(slot)
    if members[0] is base:
        driver.hands.remove(base)
        driver.make(base)
    for slot in again:
        driver.make(slot)


KINDS = {"tie_remake": remake, "tie_recreate": recreate}
