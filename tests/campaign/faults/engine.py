"""The engine: killed, ended in order, frozen; containers die while it is down."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.campaign.ledger import Act, Intent, Span
from tests.campaign.plan import Fault
from tests.lab import LabError

from .itself import while_acting
from .troubles import send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

LONGEST_DOWN, LONGEST_FROZEN = 1.5, 3.0
STARTS, BETWEEN_STARTS = 5, 2.0
"""A dockerd that ends at its start is started again, after seconds, as docker.service does."""


def kill(driver: Driver, fault: Fault, act: Act) -> None:
    _down(driver, fault, driver.engine.kill)


def stop(driver: Driver, fault: Fault, act: Act) -> None:
    _down(driver, fault, driver.engine.terminate)


def kill_acting(driver: Driver, fault: Fault, act: Act) -> None:
    if while_acting(driver, fault, act):
        kill(driver, fault, act)


def _down(driver: Driver, fault: Fault, end: Callable[[], None]) -> None:
    pids = [driver.inspect(slot)["State"]["Pid"] for slot in driver.slots]
    span = Span(time.time())
    driver.ledger.engine_out.append(span)
    end()
    try:
        for victim in fault.victims:
            send(pids[int(victim * len(pids))], fault.signal)
        driver.sleep(min(fault.duration, LONGEST_DOWN))
    finally:  # what was left for later may fail meanwhile, and nobody else starts it again
        _start(driver)
    span.end = time.time()
    for slot in driver.slots:
        # Nothing stays paused over the end of an engine; `always` starts what a person had stopped.
        paused = driver.ledger.meant(slot.key) == "paused" and not driver.live_restore
        if paused or (driver.ledger.meant(slot.key) == "stopped" and slot.policy == "always"):
            driver.ledger.means(slot.key, Intent("either", span.end), span.begin)


def _start(driver: Driver) -> None:
    for start in range(1, STARTS + 1):
        try:
            driver.engine.start()
        except LabError:
            if driver.engine.running or start == STARTS:
                raise
            driver.sleep(BETWEEN_STARTS)
        else:
            return


def freeze(driver: Driver, fault: Fault, act: Act) -> None:
    driver.engine.pause()
    thaw = threading.Timer(min(fault.duration, LONGEST_FROZEN), _thaw, (driver,))
    thaw.start()
    if fault.pick < 0.5:  # else what follows happens to an engine that does not answer
        thaw.join()
    driver.later(fault.duration, thaw.join)


def _thaw(driver: Driver) -> None:
    with contextlib.suppress(LabError, ProcessLookupError):  # it may have been killed meanwhile
        driver.engine.resume()


KINDS = {
    "engine_kill": kill,
    "engine_stop": stop,
    "engine_freeze": freeze,
    "engine_kill_acting": kill_acting,
}
