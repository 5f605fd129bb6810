"""A container that dockmend makes anew, with a network that may be lost at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

from .troubles import healthy

if TYPE_CHECKING:
    from tests.campaign.driver import Driver
    from tests.campaign.fleet import Slot


def _healthy(driver: Driver, act: Act) -> tuple[Slot, dict[str, Any]] | None:
    slot = next(slot for slot in driver.slots if slot.tier == "remade")
    seen = driver.inspect(slot)
    act.slot, act.container = slot.key, slot.id
    if not healthy(slot, seen):
        act.result = "nothing to do it to"
        return None
    return slot, seen


def remake(driver: Driver, fault: Fault, act: Act) -> None:
    if found := _healthy(driver, act):
        Path(fleet.root(found[1]), "well").unlink(missing_ok=True)


def remake_disconnected(driver: Driver, fault: Fault, act: Act) -> None:
    """Two rules have an incident each, in either order, and both are of the one that takes its
    place."""
    if found := _healthy(driver, act):
        slot, seen = found
        well = Path(fleet.root(seen), "well")
        if fault.number % 2:
            driver.hands.disconnect(slot)
            well.unlink(missing_ok=True)
        else:
            well.unlink(missing_ok=True)
            driver.sleep(fault.duration)  # as far as the recreation has come by then
            driver.inspect(slot)
            driver.hands.disconnect(slot)


KINDS = {"remake": remake, "remake_disconnected": remake_disconnected}
