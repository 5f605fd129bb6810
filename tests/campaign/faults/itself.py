"""dockmend itself: killed, stopped, frozen, at random instants and while a call of its is under
way."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.fleet import Slot
from tests.campaign.ledger import Act, Span
from tests.campaign.plan import ACTING_AFTER, Fault

from .troubles import send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

ACTS_WITHIN = 5.0
"""Seconds for which dockmend's next call is waited for."""


def kill(driver: Driver, fault: Fault, act: Act) -> None:
    if span := out(driver, act):
        span.death = True
        driver.daemon.kill()
        driver.later(fault.duration, partial(back, driver, span))


def stop(driver: Driver, fault: Fault, act: Act) -> None:
    if span := out(driver, act):
        span.death = True
        driver.daemon.stop()
        driver.later(fault.duration, partial(back, driver, span))


def freeze(driver: Driver, fault: Fault, act: Act) -> None:
    if span := out(driver, act):
        driver.daemon.pause()
        driver.later(fault.duration, partial(thaw, driver, span))


def kill_acting(driver: Driver, fault: Fault, act: Act) -> None:
    if while_acting(driver, fault, act):
        kill(driver, fault, act)


def while_acting(driver: Driver, fault: Fault, act: Act) -> bool:
    """Makes a container ill where none is, and waits for what dockmend does about it."""
    if not driver.daemon.running or is_out(driver):
        act.result = "nothing to do it to"
        return False
    trouble = Act(
        fault.number, ("crash", "crash", "unhealthy")[fault.number % 3], "", "", time.time()
    )

    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        ill_enough = slot.checked or trouble.kind == "crash"
        return (
            slot.covered
            and slot.tier != "tight"
            and slot.policy == "no"
            and ill_enough
            and fleet.well(slot, seen)
        )

    chosen = driver.choose(fault, trouble, suits)
    if chosen is None:
        act.result = trouble.result
        return False
    if trouble.kind == "unhealthy":
        Path(fleet.root(chosen[1]), "well").unlink(missing_ok=True)
    else:
        send(chosen[1]["State"]["Pid"], "KILL")
    trouble.end = time.time()
    driver.ledger.note(trouble)
    if not driver.relay.await_change(ACTS_WITHIN):
        act.result = "failed: dockmend did nothing in that time"
        return False
    time.sleep(ACTING_AFTER[fault.number % len(ACTING_AFTER)])
    act.slot, act.container, act.begin = trouble.slot, trouble.container, time.time()
    return True


def is_out(driver: Driver) -> bool:
    return any(span.end == float("inf") for span in driver.ledger.dockmend_out)


def out(driver: Driver, act: Act) -> Span | None:
    if is_out(driver):
        act.result = "nothing to do it to"
        return None
    span = Span(time.time())
    driver.ledger.dockmend_out.append(span)
    return span


def back(driver: Driver, span: Span) -> None:
    driver.daemon.start(ready=False)
    span.end = time.time()


def thaw(driver: Driver, span: Span) -> None:
    driver.daemon.resume()
    span.end = time.time()


KINDS = {
    "dockmend_kill": kill,
    "dockmend_stop": stop,
    "dockmend_freeze": freeze,
    "dockmend_kill_acting": kill_acting,
}
