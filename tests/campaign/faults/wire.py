"""The socket between dockmend and the engine: cut, late, silent, refusing, and saying what was
never said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

from .itself import while_acting

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

LONGEST = 2.5
DELAYS = (0.05, 0.2, 0.8)


def cut(driver: Driver, fault: Fault, act: Act) -> None:
    driver.relay.cut(min(fault.duration, 2.0))


def cut_acting(driver: Driver, fault: Fault, act: Act) -> None:
    if while_acting(driver, fault, act):
        cut(driver, fault, act)


def delay(driver: Driver, fault: Fault, act: Act) -> None:
    """Every answer, and every event, comes later."""
    driver.relay.trouble("delay", min(fault.duration, LONGEST), DELAYS[fault.number % len(DELAYS)])


def duplicate(driver: Driver, fault: Fault, act: Act) -> None:
    """Every event comes twice."""
    driver.relay.trouble("duplicate", fault.duration)


def swap(driver: Driver, fault: Fault, act: Act) -> None:
    """Events that follow each other within 10 ms change places: the engine itself does so by up to
    6.8 ms."""
    driver.relay.trouble("swap", fault.duration)


def corrupt(driver: Driver, fault: Fault, act: Act) -> None:
    """Some events are no JSON any more."""
    driver.relay.trouble("corrupt", fault.duration)


def truncate(driver: Driver, fault: Fault, act: Act) -> None:
    """Answers, and the stream, end in the middle."""
    driver.relay.trouble("truncate", min(fault.duration, LONGEST))


def refuse(driver: Driver, fault: Fault, act: Act) -> None:
    """What would change something is answered with 500 and never reaches the engine."""
    driver.relay.trouble("refuse", min(fault.duration, LONGEST))


def silent(driver: Driver, fault: Fault, act: Act) -> None:
    """Nothing new is answered for a while; what is asked is done afterwards."""
    driver.relay.trouble("silent", min(fault.duration, LONGEST))


KINDS = {
    "cut": cut,
    "cut_acting": cut_acting,
    "wire_delay": delay,
    "wire_duplicate": duplicate,
    "wire_swap": swap,
    "wire_corrupt": corrupt,
    "wire_truncate": truncate,
    "wire_refuse": refuse,
    "wire_silent": silent,
}
