"""People at work: what they stop and pause stays so, what they rename, update and make anew is
known again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.fleet import Slot
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault
from tests.lab import eventually

from .itself import while_acting
from .troubles import running

if TYPE_CHECKING:
    from tests.campaign.driver import Driver


NAMES = ("", "", ".dockmend-x", ".dockmend-old", ".dockmend-new-i0")
"""How names end: a person may choose what looks nearly like a name that dockmend gives."""


def stop(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        _stop(driver, chosen[0], act)


def stop_acting(driver: Driver, fault: Fault, act: Act) -> None:
    """A stop in the middle of what dockmend does about the same container."""
    if while_acting(driver, fault, act):
        slot = driver.by_key(act.slot)
        _stop(driver, slot, act)


def _stop(driver: Driver, slot: Slot, act: Act) -> None:
    """It may have ended meanwhile: then nobody can know that a person wanted it stopped."""
    if driver.hands.do(slot, "stop?t=2"):
        driver.means(act, slot, "stopped", "exited")
    else:
        act.result = "nothing to do it to"


def kill(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        started_at = driver.inspect(chosen[0])["State"]["StartedAt"]
        driver.hands.do(chosen[0], "kill")

        def over() -> bool:
            """It ended, or runs again already: dockmend may have restarted it meanwhile, and owes
            that stop."""
            state = driver.inspect(chosen[0])["State"]
            return bool(state["Status"] != "running" or state["StartedAt"] != started_at)

        eventually(over, 30, what="what a person killed ends")
        driver.means(act, chosen[0], "stopped", "exited")


def restart(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        driver.hands.do(chosen[0], "restart?t=2")
        driver.means(act, chosen[0], "running", "running")


def pause(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        driver.hands.do(chosen[0], "pause")
        driver.means(act, chosen[0], "paused", "paused")


def unpause(driver: Driver, fault: Fault, act: Act) -> None:
    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        return seen["State"]["Status"] == "paused" and driver.ledger.meant(slot.key) == "paused"

    if chosen := driver.choose(fault, act, suits):
        driver.hands.do(chosen[0], "unpause")
        driver.means(act, chosen[0], "running", "running")


def start(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, lambda slot, seen: seen["State"]["Status"] == "exited"):
        driver.hands.do(chosen[0], "start")
        driver.means(act, chosen[0], "running", "running")


def rename(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, lambda slot, seen: True):
        slot = chosen[0]
        slot.renamed += 1
        name = f"{slot.key}-{slot.renamed}{NAMES[fault.number % len(NAMES)]}"
        driver.hands.rename(slot, name)
        slot.call(name)


def recreate(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        driver.hands.remove(chosen[0])
        driver.make(chosen[0])


def connect(driver: Driver, fault: Fault, act: Act) -> None:
    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        return slot.networked and running(slot, seen) and not fleet.placed(slot, seen)

    if chosen := driver.choose(fault, act, suits):
        driver.hands.connect(chosen[0])


def update(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        driver.hands.update(chosen[0], 512 + fault.number % 512)


KINDS = {
    "person_stop": stop,
    "person_stop_acting": stop_acting,
    "person_kill": kill,
    "person_restart": restart,
    "person_pause": pause,
    "person_unpause": unpause,
    "person_start": start,
    "person_rename": rename,
    "person_recreate": recreate,
    "person_connect": connect,
    "person_update": update,
}
