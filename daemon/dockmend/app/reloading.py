"""Reading again: the rules and the settings' policy, all or nothing, and what comes into force by
that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from dockmend.app.rule_store import tell_problems
from dockmend.errors import InvalidFiles
from dockmend.rules.rule import RuleSet
from dockmend.settings import Policy
from dockmend.settings.policy_narrowing import narrowed

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon

log = structlog.get_logger("dockmend")


class Reloading:
    """`policy` reads the settings' policy again, or raises InvalidFiles."""

    def __init__(self, daemon: Daemon, policy: Callable[[], Policy]) -> None:
        self._daemon = daemon
        self._policy = policy
        self._asked = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self.waits: tuple[str, ...] = ()  # what of the last policy read holds from a restart on

    def ask(self) -> None:
        """The folder changed, or a HUP came."""
        self._asked.set()

    async def run(self) -> None:
        """Reloads whenever it is asked to; until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.now()
            except InvalidFiles as error:
                tell_problems(error)

    async def now(self) -> RuleSet:
        """All or nothing; the loop goes on meanwhile. Raises InvalidFiles."""
        async with self._one_at_a_time:
            return await self._now()

    async def _now(self) -> RuleSet:
        daemon = self._daemon
        daemon.notifier.reloading()
        try:
            before = daemon.rules.current.digest, daemon.rules.observes
            policy, waits = narrowed(daemon.guards.policy, await self._read())
            rules = await daemon.rules.reload(policy.rules_owner)
        except InvalidFiles as error:
            daemon.observer.reloaded(ok=False, at=daemon.clock.wall())
            daemon.observer.degraded("rules", _rejected(error, daemon.rules.degraded))
            self._count_rules()
            raise
        else:
            self._hold(policy, waits)
            daemon.observer.degraded("rules", daemon.rules.degraded)
            daemon.observer.reloaded(ok=True, at=daemon.clock.wall())
            if (rules.digest, daemon.rules.observes) != before:
                self.put_in_force(rules)
                daemon.reconciler.look_again("window")  # their hours may be others now
                daemon.hub.reoffering.ask()
            return rules
        finally:
            daemon.notifier.ready("rules read again")
            if daemon.degraded:
                daemon.standing.tell()

    async def _read(self) -> Policy:
        try:
            return await asyncio.to_thread(self._policy)
        except InvalidFiles as error:
            self._daemon.rules.problems = tuple(str(problem) for problem in error.problems)
            raise

    def _hold(self, policy: Policy, waits: tuple[str, ...]) -> None:
        daemon = self._daemon
        trusted = daemon.guards.policy.trusted_images
        if policy != daemon.guards.policy:
            log.warning("the settings' policy is narrower from now on", id="policy_narrowed")
        daemon.guards.hold(policy)
        self.waits = waits
        for each in waits:
            log.warning("a reload does not widen the policy", id="policy_not_widened", what=each)
        if policy.trusted_images != trusted:  # whose labels count is decided by each look
            daemon.mirror.wanted.update(daemon.mirror.entries)
            daemon.watch.wake()

    def put_in_force(self, rules: RuleSet) -> None:
        """From now on these rules are gone by."""
        daemon = self._daemon
        for rule in rules.rules:
            if (
                not rule.dry_run
                and (before := daemon.dispatcher.rules.by_name(rule.name)) is not None
                and before.dry_run
            ):
                self._acts_now(rule.name)
        daemon.dispatcher.use(rules)
        daemon.reconciler.rules.use(rules)
        daemon.reconciler.rules_changed()
        daemon.definitions.use(rules)
        daemon.image_cleanup.use(rules)
        daemon.watch.raw.use(rules)
        daemon.schedules.use(rules)
        daemon.reconciler.breakers.plan()
        self._count_rules()
        daemon.observer.degraded("rules", daemon.rules.degraded)
        log.info(
            "rules in force",
            id="rules_in_force",
            rules=len(rules.rules),
            folder=str(daemon.settings.paths.rules),
        )

    def _acts_now(self, rule: str) -> None:
        """A rule only shadowed so far: what it said it would do, it may do now."""
        incidents = self._daemon.incidents
        incidents.forget_answered(rule)
        for incident in list(incidents.open.values()):
            if incident.rule == rule and incident.dry_run and not self._daemon.settings.dry_run:
                incidents.update(incident.id, dry_run=False)

    def _count_rules(self) -> None:
        daemon = self._daemon
        daemon.metrics.rule_names(rule.name for rule in daemon.rules.current.rules)
        daemon.observer.rules(*daemon.rules.counts())


def _rejected(error: InvalidFiles, since_the_start: str | None) -> str:
    """Why the rules in force are not those of the folder, for status and readiness."""
    errors = sum(1 for each in error.problems if each.level == "error")
    stay = since_the_start or "the rules before it stay in force"
    return (
        f"the last reload was rejected, with {errors} error{'s' if errors != 1 else ''} "
        f"(`dockmend rules`): {stay}"
    )
