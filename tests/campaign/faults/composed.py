"""`docker compose up` that builds, keeps or replaces a container: at rest, and in the middle of
what dockmend does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign import fleet
from tests.campaign.ledger import Act
from tests.campaign.plan import ACTING_AFTER, Fault

from .troubles import healthy, send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver
    from tests.campaign.fleet import Slot

ACTS_WITHIN = 5.0
"""Seconds for which dockmend's next call is waited for."""
OPTIONS = (("--build",), ("--build", "--force-recreate"), ("--force-recreate",))


def up(driver: Driver, fault: Fault, act: Act) -> None:
    slot = _slot(driver, act)
    driver.bring_up(slot, *OPTIONS[fault.number % len(OPTIONS)])


def up_acting(driver: Driver, fault: Fault, act: Act) -> None:
    """It is ill, or has crashed, and is replaced while dockmend is at it."""
    slot = _slot(driver, act)
    seen = driver.inspect(slot)
    if not healthy(slot, seen):
        act.result = "nothing to do it to"
        return
    trouble = Act(
        fault.number, ("crash", "unhealthy")[fault.number % 2], slot.key, slot.id, time.time()
    )
    if trouble.kind == "unhealthy":
        Path(fleet.root(seen), "well").unlink(missing_ok=True)
    else:
        send(seen["State"]["Pid"], "KILL")
    trouble.end = time.time()
    driver.ledger.note(trouble)
    # if it does nothing in that time, it is replaced all the same
    driver.relay.await_change(ACTS_WITHIN)
    time.sleep(ACTING_AFTER[fault.number % len(ACTING_AFTER)])
    driver.bring_up(slot, "--force-recreate")


def _slot(driver: Driver, act: Act) -> Slot:
    slot = next(slot for slot in driver.slots if slot.tier == "composed")
    act.slot, act.container = slot.key, slot.id
    return slot


KINDS = {"compose_up": up, "compose_up_acting": up_acting}
