"""Other healers on this host. Beside one the built-in rule only watches: no container is
restarted twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from dockmend.app.rule_store import RuleStore
from dockmend.mirror import Mirror
from dockmend.rules.healer_images import foreign_healers
from dockmend.rules.rule import RuleSet

log = structlog.get_logger("dockmend")


class OtherHealers:
    """`put_in_force` takes the rules as they are to be now. `changed`: another healer may have come or gone."""

    def __init__(self, mirror: Mirror, rules: RuleStore, put_in_force: Callable[[RuleSet], None]) -> None:
        self._mirror = mirror
        self._rules = rules
        self._put_in_force = put_in_force
        self.changed = asyncio.Event()

    def heed(self) -> bool:
        """True where others heal here now than before."""
        healers = tuple(foreign_healers(self._mirror.containers()))
        if healers == self._rules.healers:
            return False
        self._rules.healers = healers
        if healers:
            log.warning(
                "another healer runs here: label:heal only says what it would do",
                id="other_healer_found",
                healers=list(healers),
            )
        else:
            log.warning("no other healer runs here any more: label:heal acts", id="other_healer_gone")
        self._put_in_force(self._rules.again())
        return True

    async def follow(self, offer_standing: Callable[[], None]) -> None:
        """Runs until cancelled; what stands is offered to the rules that came into force."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            if self.heed():
                offer_standing()
