"""Containers that are nobody's to heal: one-offs of a Compose service that fail, and sixty that are
removed at once."""

from __future__ import annotations

import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests.campaign import strangers
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault
from tests.lab import LabError

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

AT_ONCE = 8
AGAIN = 1.0
"""Seconds until the engine is asked again that did not answer."""


def one_off(driver: Driver, fault: Fault, act: Act) -> None:
    """`docker compose run vpn …` with the labels of its service: it fails, or runs beside the
    service for a while."""
    labels = dict(label.split("=", 1) for label in strangers.service("vpn", one_off=True)) | {
        "tier": "owner"
    }
    ends = "exit 3" if fault.pick < 0.5 else "sleep 86400"
    container = driver.hands.create(
        f"{strangers.PROJECT}-vpn-run-{fault.number}", labels, ("sh", "-c", ends)
    )
    driver.passing[container] = "a one-off"
    driver.hands.start(container)
    driver.later(fault.duration, partial(_discard_once_there, driver, container))


def mass_removal(driver: Driver, fault: Fault, act: Act) -> None:
    """Sixty containers that a rule would be about, had any of them ever run."""
    names = [f"mass-{fault.number}-{index}" for index in range(strangers.SIZE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(
            pool.map(lambda name: driver.hands.create(name, {"tier": "worker"}, ("true",)), names)
        )
        driver.passing.update(dict.fromkeys(made, "one of sixty"))
        list(pool.map(partial(_discard, driver), made))


def mass_removal_running(driver: Driver, fault: Fault, act: Act) -> None:
    """Sixteen that run, half of them covered by the rule for crashes: what is removed by force is
    not to be started."""
    labels = ({"tier": "worker"}, {"kind": "worker"})

    def make(index: int) -> str:
        container = driver.hands.create(
            f"mass-{fault.number}-{index}", labels[index % 2], ("sleep", "86400")
        )
        driver.passing[container] = "one of sixteen"
        driver.hands.start(container)
        return container

    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(make, range(strangers.RUNNING)))
        driver.sleep(min(fault.duration, 1.0))  # dockmend may have looked at them, or not
        list(pool.map(partial(_discard, driver), made))


def _discard(driver: Driver, container: str) -> None:
    with contextlib.suppress(LabError):  # it is found as a leftover, if it stays
        driver.hands.discard(container)


def _discard_once_there(driver: Driver, container: str) -> None:
    """It may become due in the middle of an engine's end."""
    try:
        _discard(driver, container)
    except (OSError, http.client.HTTPException):
        driver.later(AGAIN, partial(_discard_once_there, driver, container))


KINDS = {
    "one_off": one_off,
    "mass_removal": mass_removal,
    "mass_removal_running": mass_removal_running,
}
