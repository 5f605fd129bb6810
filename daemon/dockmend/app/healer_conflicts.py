"""Other healers on this host. Beside one the built-in rule only watches: no container is
restarted twice.

Another dockmend can only be told of: a container that does not share the lock (engine_lock.py) does
not see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from dockmend.app.rule_store import RuleStore
from dockmend.mirror import Mirror
from dockmend.model import HELPER_LABEL, Container
from dockmend.rules.healer_images import foreign_healers, other_dockmends
from dockmend.rules.rule import RuleSet

log = structlog.get_logger("dockmend")


SHARE = "docs/cli.md, One dockmend acts on each engine, says how they share the lock"
TODO = f"end one of the two, or run one with --dry-run; {SHARE}"

MOST_TOLD = 16
"""Other dockmends that are told by what they make, in one run."""


class OtherHealers:
    """`put_in_force` takes the rules as they are to be now. `is_own`: whether a container is the
    one that this dockmend runs in; None: it acts on nothing, or does not know that one. `changed`:
    another healer, or dockmend, may have come or gone."""

    def __init__(
        self,
        mirror: Mirror,
        rules: RuleStore,
        put_in_force: Callable[[RuleSet], None],
        is_own: Callable[[Container], bool] | None = None,
    ) -> None:
        self._mirror = mirror
        self._rules = rules
        self._put_in_force = put_in_force
        self._is_own = is_own
        self._dockmends: set[str] = set()
        self._instances: set[str] = set()  # of other dockmends, that were told
        self.changed = asyncio.Event()

    def heed(self) -> bool:
        """True where others heal here now than before."""
        self._heed_dockmends()
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
            log.warning(
                "no other healer runs here any more: label:heal acts", id="other_healer_gone"
            )
        self._put_in_force(self._rules.again())
        return True

    def _heed_dockmends(self) -> None:
        if self._is_own is None:
            return
        found = set(other_dockmends(self._mirror.containers(), self._is_own))
        if new := sorted(found - self._dockmends):
            log.warning(
                "a container looks like another dockmend on this engine: unless they share a "
                "lock, both act",
                id="other_dockmend_seen", containers=new, todo=TODO,
            )  # fmt: skip
        self._dockmends = found

    def appeared(self, container: Container) -> None:
        """A container that was made just now: also a dockmend on another host makes helpers on this
        engine."""
        instance, slash, _ = container.labels.get(HELPER_LABEL, "").partition("/")
        if self._is_own is None or not slash or instance == self._mirror.owned.instance:
            return
        if instance not in self._instances and len(self._instances) < MOST_TOLD:
            self._instances.add(instance)
            log.warning(
                "a container was made for another dockmend, as its label says: unless they share "
                "a lock, both act",
                id="other_dockmend_made", container=container.name, todo=TODO,
            )  # fmt: skip

    async def follow(self, offer_standing: Callable[[], None]) -> None:
        """Runs until cancelled; what stands is offered to the rules that came into force."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            if self.heed():
                offer_standing()
