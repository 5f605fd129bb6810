"""A container whose network namespace others have joined: it goes, or is another one, and they hang in the air."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

from .troubles import running, send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver
    from tests.campaign.fleet import Slot


def _owner(driver: Driver, act: Act) -> Slot | None:
    slot = next(slot for slot in driver.slots if slot.tier == "owner")
    act.slot, act.container = slot.key, slot.id
    if not running(slot, driver.inspect(slot)):
        act.result = "nothing to do it to"
        return None
    return slot


def crash(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, act):
        send(driver.inspect(owner)["State"]["Pid"], fault.signal)


def restart(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, act):
        driver.hands.do(owner, "restart?t=2")


def recreate(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, act):
        driver.hands.remove(owner)
        driver.make(owner)


KINDS = {"owner_crash": crash, "owner_restart": restart, "owner_recreate": recreate}
