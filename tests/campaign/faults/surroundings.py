"""What is around dockmend: the broker goes, disks are full, events come faster than anybody can
remember them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.fleet import Slot
from tests.campaign.ledger import Act, Span
from tests.campaign.plan import Fault

from . import itself
from .troubles import running, send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

FLOOD, FLOOD_SECONDS = 12_000, 20.0
LONGEST_FULL = 3.0


def broker_kill(driver: Driver, fault: Fault, act: Act) -> None:
    if _listens(driver, act):
        driver.broker_out = True
        driver.broker.kill()
        driver.later(fault.duration, partial(_broker_back, driver, driver.broker.start))


def _listens(driver: Driver, act: Act) -> bool:
    if driver.broker_out:
        act.result = "nothing to do it to"
    return not driver.broker_out


def _broker_back(driver: Driver, back: Callable[[], object]) -> None:
    back()
    driver.broker_out = False


def broker_freeze(driver: Driver, fault: Fault, act: Act) -> None:
    """Its connections stay open, and nothing is taken."""
    if _listens(driver, act):
        driver.broker_out = True
        driver.broker.pause()
        driver.later(fault.duration, partial(_broker_back, driver, driver.broker.resume))


def disk_full_journal(driver: Driver, fault: Fault, act: Act) -> None:
    _fill(driver, driver.daemon.state / "ballast", min(fault.duration, LONGEST_FULL))


def disk_full_snapshots(driver: Driver, fault: Fault, act: Act) -> None:
    """And a container falls ill whose volume is to be kept first."""
    _fill(driver, driver.daemon.state / "snapshots" / "ballast", min(fault.duration, LONGEST_FULL))


def _fill(driver: Driver, path: Path, seconds: float) -> None:
    """Takes all that is left of a disk, for a while."""
    left = os.statvfs(path.parent)
    ballast = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.posix_fallocate(ballast, 0, max(1, left.f_bavail * left.f_frsize))
    finally:
        os.close(ballast)
    driver.later(seconds, partial(path.unlink, missing_ok=True))


def burst(driver: Driver, fault: Fault, act: Act) -> None:
    """Events by the hundred, as health checks of a big host make them: execs that are created and
    never run."""
    if chosen := driver.choose(fault, act, running):
        for _ in range(int(200 + 800 * random.Random(fault.number).random())):
            driver.engine.api("POST", f"/containers/{chosen[0].id}/exec", {"Cmd": ["true"]})


def _left_to_dockmend(slot: Slot, seen: dict[str, Any]) -> bool:
    return slot.covered and slot.policy == "no" and slot.tier != "tight" and fleet.well(slot, seen)


def flood(driver: Driver, fault: Fault, act: Act) -> None:
    """dockmend takes nothing while more events come than the engine holds for it (1,024), and
    somebody crashes then."""
    if itself.is_out(driver):
        act.result = "nothing to do it to"
        return
    span = Span(time.time())
    driver.ledger.dockmend_out.append(span)
    driver.daemon.pause()
    try:
        if not driver.hands.flood(FLOOD, FLOOD_SECONDS):
            act.result = "failed: no reader was full in that time"
        trouble = Act(fault.number, "crash", "", "", time.time())
        if chosen := driver.choose(fault, trouble, _left_to_dockmend):
            send(chosen[1]["State"]["Pid"], "KILL")
            trouble.end = time.time()
            driver.ledger.note(trouble)
    finally:
        itself.thaw(driver, span)


KINDS = {
    "broker_kill": broker_kill,
    "broker_freeze": broker_freeze,
    "disk_full_journal": disk_full_journal,
    "disk_full_snapshots": disk_full_snapshots,
    "burst": burst,
    "flood": flood,
}
