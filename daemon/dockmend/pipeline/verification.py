"""Verification: did it work? Asked of the mirror, which is told of every change, never of the action itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dockmend.decide import span_text
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, owner_in, target_of
from dockmend.pipeline.groups import Groups, Standing
from dockmend.pipeline.pulse import Pulse
from dockmend.rules.model import Rule
from dockmend.timekeeping import Clock

STEADY = 2.0
"""Seconds a container must run before "running" is believed: one that ends at once was not healed."""
WITHOUT_CHECK = 30.0
"""Seconds `within` has beyond the health check's own (rules.md, `verify`)."""
MENDING = frozenset({
    "restart", "start", "unpause", "reconnect_network", "recreate", "restart_dependents", "compose_restart",
    "compose_up",
})  # fmt: skip
"""Actions after which a container should run: only after these is there something to verify."""


@dataclass(frozen=True, slots=True)
class Verified:
    """`gone`: what was acted on is not there, and nothing is its heir; `paused`: nobody can tell before it goes on;
    `cut`: it was no longer to be waited for; `guests`: it is well, and not all that live in its namespaces are."""

    result: Literal["healed", "failed", "stopped", "on_purpose", "gone", "paused", "cut", "guests"]
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    mirror: Mirror
    pulse: Pulse
    clock: Clock
    groups: Groups

    async def wait(
        self, incident: Incident, rule: Rule, began_at: float, cut: Callable[[], bool] = lambda: False
    ) -> Verified:
        """Until it is healthy (or runs), fails, or the time is up. `began_at`: of the attempt, by the clock.

        `cut` is asked whenever the target's pulse is touched, and ends the wait.
        """
        if owner_in(incident.target) is not None:
            return await self._wait_for_group(incident, rule, began_at, cut)
        begun = self.clock()
        container = self._find(incident)
        check = container.check if container is not None else None
        within = rule.verify.within
        if within is None:
            within = WITHOUT_CHECK + (check.verdict_within if check else 0.0)
        while True:
            if cut():
                return Verified("cut", "")
            now = self.clock()
            container = self._find(incident)
            steady_at = begun + min(STEADY, within)
            verdict = self._judge(incident, rule, container, self.clock.wall_at(began_at), now >= steady_at)
            if verdict is not None and verdict.result == "healed":
                return await self._with_guests(incident, rule, began_at, verdict, cut)
            if verdict is not None:
                return verdict
            if now >= begun + within:
                return Verified("failed", f"not {_wanted(rule, container)} within {span_text(within)}")
            until = min(steady_at if now < steady_at else begun + within, begun + within)
            now_called = [target_of(container)] if container is not None else []  # it may be renamed meanwhile
            await self.pulse.wait(incident.target, max(0.01, until - now), *now_called)

    async def _with_guests(
        self, incident: Incident, rule: Rule, began_at: float, healed: Verified, cut: Callable[[], bool]
    ) -> Verified:
        """It is well itself: so must be those that were brought back with it, and nobody may be left behind."""
        begun = self.clock()
        within = rule.verify.within or WITHOUT_CHECK + self._verdict_within(incident)
        steady_at = begun + min(STEADY, within)
        while self.groups.has_guests(incident):
            if cut():
                return Verified("cut", "")
            now = self.clock()
            verdict = self._judge_guests(incident, rule, self.clock.wall_at(began_at), now >= steady_at)
            if verdict is not None and verdict.result == "healed":
                return Verified("healed", f"{healed.reason}; {verdict.reason}")
            if verdict is not None:
                return Verified("guests", verdict.reason)
            if now >= begun + within:
                return Verified("guests", f"not all of them are well within {span_text(within)}")
            until = min(steady_at if now < steady_at else begun + within, begun + within)
            targets = [target_of(each) for each in self.groups.members(incident)]
            await self.pulse.wait(incident.target, max(0.01, until - now), *targets)
        return healed

    def _verdict_within(self, incident: Incident) -> float:
        checks = [each.check.verdict_within for each in self.groups.members(incident) if each.check is not None]
        return max(checks, default=0.0)

    async def _wait_for_group(
        self, incident: Incident, rule: Rule, began_at: float, cut: Callable[[], bool]
    ) -> Verified:
        """The same for every member of a group at once."""
        begun = self.clock()
        within = rule.verify.within or WITHOUT_CHECK + self._verdict_within(incident)
        steady_at = begun + min(STEADY, within)
        while not cut():
            now = self.clock()
            verdict = self._judge_group(incident, rule, self.clock.wall_at(began_at), now >= steady_at)
            if verdict is not None:
                return verdict
            if now >= begun + within:
                return Verified("failed", f"not all of its dependents are well within {span_text(within)}")
            until = min(steady_at if now < steady_at else begun + within, begun + within)
            targets = [target_of(each) for each in self.groups.members(incident)]
            await self.pulse.wait(incident.target, max(0.01, until - now), *targets)
        return Verified("cut", "")

    def _judge_group(self, incident: Incident, rule: Rule, began_at: float, steady: bool) -> Verified | None:
        standing = self.groups.standing_of(incident)
        if standing.unseen:
            return None
        if not standing.to_be_well:
            return _none_left(standing)
        if broken := self.groups.broken(incident):
            return Verified("failed", f"{broken[0].name} is orphaned still, or again") if steady else None
        return self._judge_members(incident, rule, standing, began_at, steady)

    def _judge_guests(self, incident: Incident, rule: Rule, began_at: float, steady: bool) -> Verified | None:
        """Of those that live with what was treated: whoever was stopped or removed by a person is nobody's failure."""
        standing = self.groups.standing_of(incident)
        if standing.unseen:
            return None
        if not standing.to_be_well:
            return Verified("healed", standing.told())
        return self._judge_members(incident, rule, standing, began_at, steady)

    def _judge_members(
        self, incident: Incident, rule: Rule, standing: Standing, began_at: float, steady: bool
    ) -> Verified | None:
        members, well = standing.to_be_well, 0
        for container in members:
            verdict = self._judge(incident, rule, container, began_at, steady)
            if container.running and container.joined and not self.mirror.shares(container):
                why = f"{container.name} is not in the network that its owner has now"
                return Verified("failed", why) if steady else None
            if verdict is not None and verdict.result != "healed":
                return Verified(verdict.result, f"{container.name}: {verdict.reason}")
            well += verdict is not None
        if well < len(members):
            return None
        told = standing.told()
        names = ", ".join(sorted(each.name for each in members))
        return Verified("healed", f"{names} well again{f'; {told}' if told else ''}")

    def _find(self, incident: Incident) -> Container | None:
        """What was acted on, or its heir: another of the same name that somebody made was not healed by anyone."""
        return self.mirror.container(self.mirror.identities.heir_of(incident.object_id))

    def _judge(
        self, incident: Incident, rule: Rule, container: Container | None, began_at: float, steady: bool
    ) -> Verified | None:
        if container is None:
            gone = self.mirror.is_gone(self.mirror.identities.heir_of(incident.object_id))
            return Verified("gone", "it was removed meanwhile") if gone else None
        if container.state in ("exited", "dead"):
            return self._ended(container)
        if container.state != "running":
            paused = container.state == "paused" and not pauses(rule)
            return Verified("paused", "somebody paused it") if paused else None
        itself = container.id == self.mirror.identities.heir_of(incident.object_id)
        if itself and incident.network is not None and incident.network not in container.networks:
            if self.mirror.left_network(container.id, incident.network):
                return Verified("on_purpose", left_on_purpose(incident.network))
            return Verified("failed", f"it is not in network {incident.network}") if steady else None
        alone = itself and owner_in(incident.target) is None
        if _wanted(rule, container, alone) == "healthy":
            if container.health == "healthy":
                return Verified("healed", "healthy again")
            mine = container.started_at >= began_at or _only_starts(rule)
            if container.health == "unhealthy" and mine:
                return Verified("failed", "unhealthy again")
            return None
        return Verified("healed", "running") if steady else None

    def _ended(self, container: Container) -> Verified | None:
        if not self.mirror.settled(container.id):
            return None
        if self.mirror.stopped(container.id):
            return Verified("stopped", "stopped by a person")
        return Verified("failed", f"it ended with exit code {container.exit_code}")


def _none_left(standing: Standing) -> Verified:
    """No member is left that should be well. Only what was seen of them is said."""
    if standing.gone or standing.left_alone or not (standing.stopped or standing.paused):
        return Verified("gone", standing.told() or "nothing shares its network any more")
    return Verified("paused" if standing.paused else "stopped", standing.told())


def left_on_purpose(network: str) -> str:
    return f"disconnected from {network} on purpose: again, soon after it was put back"


def pauses(rule: Rule) -> bool:
    """Whether a pause may be its own doing."""
    return any(step.action == "pause" for step in (*rule.then, *rule.escalate))


def _only_starts(rule: Rule) -> bool:
    """Whether a container that ran already is left as it is: its health is then a verdict, whenever it began."""
    return {step.action for step in rule.then if step.action in MENDING} == {"start"}


def _wanted(rule: Rule, container: Container | None, alone: bool = True) -> str:
    """Not `alone`: a guest or one of a group. `healthy` cannot be asked of one that has no health check: the rule was
    written about others."""
    state = rule.verify.state
    if state == "auto" or (state == "healthy" and not alone):
        return "healthy" if container is not None and container.check is not None else "running"
    return state
