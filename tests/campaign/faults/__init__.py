"""The faults by family; each is a function of the driver, the drawn fault and the act to be written
down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

from . import (
    composed,
    engine,
    itself,
    owners,
    passing,
    people,
    remakes,
    seconds,
    surroundings,
    ties,
    troubles,
    wire,
)

if TYPE_CHECKING:
    from tests.campaign.driver import Driver

KINDS: dict[str, Callable[[Driver, Fault, Act], None]] = {
    kind: do
    for family in (
        troubles,
        owners,
        remakes,
        ties,
        composed,
        passing,
        people,
        itself,
        seconds,
        engine,
        wire,
        surroundings,
    )
    for kind, do in family.KINDS.items()
}
