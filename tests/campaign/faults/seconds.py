"""A second dockmend on the same engine: it looks on, and acts once the first one has died, until it
ends itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.fleet import Slot
from tests.campaign.ledger import Act, Life, Span
from tests.campaign.plan import Fault
from tests.lab import Daemon, eventually

from . import itself
from .troubles import send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

STAYS = 2.0
"""Seconds for which it stays at least: longer than it takes to see a trouble and to do something
about it."""
TURN_WITHIN, ACTS_WITHIN = 60.0, 20.0
"""Seconds within which it has the lock of one that has died, and within which it does something
then."""


def beside(driver: Driver, fault: Fault, act: Act) -> None:
    if not _start(driver):
        act.result = "nothing to do it to"
        return
    driver.later(fault.duration + STAYS, lambda: _end(driver, fault))


def takes_over(driver: Driver, fault: Fault, act: Act) -> None:
    """The first one is killed; the second one heals; the first one is back, and looks on until the
    second one ends."""
    if itself.is_out(driver) or not _start(driver):
        act.result = "nothing to do it to"
        return
    span = itself.out(driver, act)
    assert span is not None
    span.death = True
    driver.daemon.kill()
    try:
        _acts(driver, fault)
    except AssertionError as error:
        act.result = f"failed: {error}"[:300]
    finally:
        itself.back(driver, span)
        driver.later(fault.duration, lambda: _end(driver, fault))


def _acts(driver: Driver, fault: Fault) -> None:
    eventually(
        lambda: _has_lock(driver, driver.second),
        TURN_WITHIN,
        what="the second dockmend has the lock",
    )
    driver.ledger.second_acts.append(Span(time.time()))
    trouble = Act(fault.number, "crash", "", "", time.time())

    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        return (
            slot.covered and slot.tier != "tight" and slot.policy == "no" and fleet.well(slot, seen)
        )

    if chosen := driver.choose(fault, trouble, suits):
        send(chosen[1]["State"]["Pid"], "KILL")
        trouble.end = time.time()
        driver.ledger.note(trouble)
        assert driver.second_relay.await_change(ACTS_WITHIN), (
            "the second dockmend did nothing in that time"
        )


def _start(driver: Driver) -> bool:
    """False if it runs already."""
    if driver.second.running:
        return False
    free = not (driver.daemon.running and _has_lock(driver, driver.daemon))
    driver.ledger.second_lives.append(Life(time.time(), free=free))
    driver.second.start()
    return True


def _end(driver: Driver, fault: Fault) -> None:
    acts, life = driver.ledger.second_acts, driver.ledger.second_lives[-1]
    if acts and acts[-1].end == float("inf"):
        acts[-1].end = time.time()
    if fault.number % 2:
        driver.second.kill()
    else:
        driver.second.stop()
    life.end = time.time()


def _has_lock(driver: Driver, which: Daemon) -> bool:
    """By the file beside the lock, in which its holder says who it is."""
    folder = driver.daemon.folder / "run" / "engines"
    try:
        return any(
            json.loads(path.read_text())["pid"] == which.pid for path in folder.glob("*.json")
        )
    except (OSError, ValueError):
        return False  # it is being written


KINDS = {"second_beside": beside, "second_takes_over": takes_over}
