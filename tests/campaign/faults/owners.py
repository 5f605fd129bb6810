"""A container whose network namespace others have joined: it goes, or is another one, and they hang
in the air."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign import fleet
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

from . import itself
from .troubles import healthy, running, send

if TYPE_CHECKING:
    from tests.campaign.driver import Driver
    from tests.campaign.fleet import Slot

REPLACED_WITHIN = 5.0
"""Seconds for which dockmend's first call about the new owner is waited for."""


def _owners(driver: Driver) -> list[Slot]:
    return [slot for slot in driver.slots if slot.tier == "owner"]


def _drawn(driver: Driver, fault: Fault, act: Act) -> Slot:
    owners = _owners(driver)
    slot = owners[int(fault.pick * len(owners))]
    act.slot, act.container = slot.key, slot.id
    return slot


def _owner(driver: Driver, fault: Fault, act: Act) -> Slot | None:
    """One that runs."""
    slot = _drawn(driver, fault, act)
    if not running(slot, driver.inspect(slot)):
        act.result = "nothing to do it to"
        return None
    return slot


def crash(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, fault, act):
        send(driver.inspect(owner)["State"]["Pid"], fault.signal)


def unhealthy(driver: Driver, fault: Fault, act: Act) -> None:
    owners = [slot for slot in _owners(driver) if slot.checked]
    owner = owners[int(fault.pick * len(owners))]
    act.slot, act.container = owner.key, owner.id
    seen = driver.inspect(owner)
    if healthy(owner, seen):
        Path(fleet.root(seen), "well").unlink(missing_ok=True)
    else:
        act.result = "nothing to do it to"


def restart(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, fault, act):
        driver.hands.do(owner, "restart?t=2")


def rename(driver: Driver, fault: Fault, act: Act) -> None:
    owner = _drawn(driver, fault, act)
    owner.renamed += 1
    name = f"{owner.key}-{owner.renamed}"
    driver.hands.rename(owner, name)
    owner.call(name)


def recreate(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, fault, act):
        _replace(driver, owner)


def replace_twice(driver: Driver, fault: Fault, act: Act) -> None:
    if owner := _owner(driver, fault, act):
        _replace(driver, owner)
        _replace(driver, owner)


def replace_down(driver: Driver, fault: Fault, act: Act) -> None:
    """dockmend hears of none of it: the second time neither."""
    owner = _owner(driver, fault, act)
    if owner is None:
        return
    if span := itself.out(driver, act):
        span.death = True
        driver.daemon.kill()
        for _ in range(1 + fault.number % 2):
            _replace(driver, owner)
        driver.later(fault.duration, partial(itself.back, driver, span))


def replace_acting(driver: Driver, fault: Fault, act: Act) -> None:
    """Replaced; dockmend is killed as it begins to make the guests anew; replaced again."""
    owner = _owner(driver, fault, act)
    if owner is None:
        return
    if itself.is_out(driver):
        act.result = "nothing to do it to"
        return
    _replace(driver, owner)
    driver.relay.await_change(REPLACED_WITHIN)
    if span := itself.out(driver, act):
        span.death = True
        driver.daemon.kill()
        _replace(driver, owner)
        driver.later(fault.duration, partial(itself.back, driver, span))


def _replace(driver: Driver, owner: Slot) -> None:
    """`docker rm -f` and `docker run` under the name that it has."""
    driver.hands.remove(owner)
    driver.make(owner, owner.name)


def stop(driver: Driver, fault: Fault, act: Act) -> None:
    """Its guests stand down until it is there again."""
    owner = _owner(driver, fault, act)
    if owner is not None and driver.hands.do(owner, "stop?t=2"):
        driver.means(act, owner, "stopped", "exited")
    elif owner is not None:
        act.result = "nothing to do it to"


def start(driver: Driver, fault: Fault, act: Act) -> None:
    ended = [
        slot for slot in _owners(driver) if driver.inspect(slot)["State"]["Status"] == "exited"
    ]
    if not ended:
        act.result = "nothing to do it to"
        return
    owner = ended[int(fault.pick * len(ended))]
    act.slot, act.container = owner.key, owner.id
    driver.hands.do(owner, "start")
    driver.means(act, owner, "running", "running")


KINDS = {
    "owner_crash": crash,
    "owner_unhealthy": unhealthy,
    "owner_restart": restart,
    "owner_rename": rename,
    "owner_recreate": recreate,
    "owner_replace_twice": replace_twice,
    "owner_replace_down": replace_down,
    "owner_replace_acting": replace_acting,
    "owner_stop": stop,
    "owner_start": start,
}
