"""Verification: did it work? Asked of the mirror, which is told of every change, never of the
action itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from dockmend.action_traits import HEALS
from dockmend.decide import span_text
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, owner_in, target_of
from dockmend.pipeline.groups import Groups, GroupState
from dockmend.pipeline.run_stability import (
    STEADY,
    RunStability,
    after_text,
    is_loop,
    longer_text,
    seconds_of,
)
from dockmend.pipeline.wakeups import Wakeups
from dockmend.rules.rule import Rule
from dockmend.timekeeping import Clock

WITHOUT_CHECK = 30.0
"""Seconds `within` has beyond the health check's own (rules.md, `verify`)."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """`gone`: what was acted on is not there, and nothing is its heir; `paused`: nobody can tell
    before it goes on; `cut`: it was no longer to be waited for; `guests`: it is well, and not all
    that live in its namespaces are."""

    result: Literal["healed", "failed", "stopped", "on_purpose", "gone", "paused", "cut", "guests"]
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyTrial:
    """One verification. `began_at`: of the attempt, wall seconds; `begun`: of the verification, by
    dockmend's clock, as `now`; `within`: seconds it may take; `lasted`: of the run before, if that
    ended by itself (Incident.lasted)."""

    incident: Incident
    rule: Rule
    began_at: float
    begun: float
    within: float
    lasted: float
    steadiness: RunStability

    def settled(self, now: float) -> bool:
        """Whether what follows from the attempt at once has been heard of."""
        return now >= self.begun + min(STEADY, self.within)

    def over(self, now: float) -> bool:
        return now >= self.begun + self.within

    def next_look(self, now: float) -> float:
        """Seconds until it is looked at again if nothing happens before."""
        settled_at, steady_at = self.begun + min(STEADY, self.within), self.steadiness.due(now)
        ends_at = self.begun + self.within
        times = [at for at in (settled_at, steady_at, ends_at) if at is not None and at > now]
        return max(0.01, min(times, default=now) - now)

    @property
    def longer(self) -> str:
        """What is said of one that has run for as long as is asked; "" unless that is longer than
        before."""
        return (
            longer_text(self.lasted, self.steadiness.seconds)
            if self.steadiness.seconds > self.lasted
            else ""
        )


@dataclass(frozen=True, slots=True)
class Verification:
    mirror: Mirror
    wakeups: Wakeups
    clock: Clock
    groups: Groups

    async def wait(
        self,
        incident: Incident,
        rule: Rule,
        began_at: float,
        cut: Callable[[], bool] = lambda: False,
    ) -> VerifyResult:
        """Until it is healthy (or runs), fails, or the time is up. `began_at`: of the attempt, by
        the clock.

        `cut` is asked whenever the target's pulse is touched, and ends the wait.
        """
        if owner_in(incident.target) is not None:
            trial = self._trial(incident, rule, began_at, self.groups.members(incident), 0.0)
            return await self._wait_for_group(trial, cut)
        container, lasted = (
            self._find(incident),
            self.groups.incidents.open.get(incident.id, incident).lasted,
        )
        trial = self._trial(
            incident, rule, began_at, [container] if container is not None else [], lasted
        )
        while True:
            if cut():
                return VerifyResult("cut", "")
            now = self.clock()
            container = self._find(incident)
            verdict = self._judge(trial, container, now)
            if verdict is not None and verdict.result == "healed":
                return await self._with_guests(incident, rule, began_at, verdict, cut)
            if verdict is not None:
                return verdict
            if trial.over(now):
                return VerifyResult("failed", _too_late(trial, container))
            # it may be renamed meanwhile
            now_called = [target_of(container)] if container is not None else []
            await self.wakeups.wait(incident.target, trial.next_look(now), *now_called)

    def _trial(
        self,
        incident: Incident,
        rule: Rule,
        began_at: float,
        containers: Iterable[Container],
        lasted: float,
    ) -> VerifyTrial:
        """`containers`: what is verified. One that is to run for longer than before has that time
        beside what it takes to come up, unless the rule says how much time it has in all."""
        within, seconds = rule.verify.within, seconds_of(lasted)
        if within is None:
            checks = [each.check.verdict_within for each in containers if each.check is not None]
            within = (
                WITHOUT_CHECK + max(checks, default=0.0) + (seconds if is_loop(lasted) else 0.0)
            )
        begun = self.clock()
        steadiness = RunStability(begun, min(seconds, within))
        return VerifyTrial(
            incident, rule, self.clock.wall_at(began_at), begun, within, lasted, steadiness
        )

    async def _with_guests(
        self,
        incident: Incident,
        rule: Rule,
        began_at: float,
        healed: VerifyResult,
        cut: Callable[[], bool],
    ) -> VerifyResult:
        """It is well itself: so must be those that were brought back with it, and nobody may be
        left behind.

        How long it ran itself before says nothing of them: a loop of theirs is a trouble of their
        own.
        """
        trial = self._trial(incident, rule, began_at, self.groups.members(incident), 0.0)
        while self.groups.has_guests(incident):
            if cut():
                return VerifyResult("cut", "")
            now = self.clock()
            verdict = self._judge_guests(trial, now)
            if verdict is not None and verdict.result == "healed":
                return VerifyResult("healed", f"{healed.reason}; {verdict.reason}")
            if verdict is not None:
                return VerifyResult("guests", verdict.reason)
            if trial.over(now):
                return VerifyResult(
                    "guests", f"not all of them are well within {span_text(trial.within)}"
                )
            await self._wait_for_members(trial, now)
        return healed

    async def _wait_for_group(self, trial: VerifyTrial, cut: Callable[[], bool]) -> VerifyResult:
        """The same for every member of a group at once. One that ends by itself is a trouble of its
        own."""
        while not cut():
            now = self.clock()
            verdict = self._judge_group(trial, now)
            if verdict is not None:
                return verdict
            if trial.over(now):
                return VerifyResult(
                    "failed", f"not all of its dependents are well within {span_text(trial.within)}"
                )
            await self._wait_for_members(trial, now)
        return VerifyResult("cut", "")

    async def _wait_for_members(self, trial: VerifyTrial, now: float) -> None:
        targets = [target_of(each) for each in self.groups.members(trial.incident)]
        await self.wakeups.wait(trial.incident.target, trial.next_look(now), *targets)

    def _judge_group(self, trial: VerifyTrial, now: float) -> VerifyResult | None:
        standing = self.groups.standing_of(trial.incident)
        if standing.unseen:
            return None
        if not standing.to_be_well:
            return _none_left(standing)
        if broken := self.groups.broken(trial.incident):
            why = f"{broken[0].name} is orphaned still, or again"
            return VerifyResult("failed", why) if trial.settled(now) else None
        return self._judge_members(trial, standing, now)

    def _judge_guests(self, trial: VerifyTrial, now: float) -> VerifyResult | None:
        """Of those that live with what was treated: whoever was stopped or removed by a person is
        nobody's failure."""
        standing = self.groups.standing_of(trial.incident)
        if standing.unseen:
            return None
        if not standing.to_be_well:
            return VerifyResult("healed", standing.told())
        return self._judge_members(trial, standing, now)

    def _judge_members(
        self, trial: VerifyTrial, standing: GroupState, now: float
    ) -> VerifyResult | None:
        members, well = standing.to_be_well, 0
        for container in members:
            verdict = self._judge(trial, container, now)
            if container.running and container.joined and not self.mirror.shares(container):
                why = f"{container.name} is not in the network that its owner has now"
                return VerifyResult("failed", why) if trial.settled(now) else None
            if verdict is not None and verdict.result != "healed":
                return VerifyResult(verdict.result, f"{container.name}: {verdict.reason}")
            well += verdict is not None
        if well < len(members):
            return None
        told = standing.told()
        names = ", ".join(sorted(each.name for each in members))
        return VerifyResult("healed", f"{names} well again{f'; {told}' if told else ''}")

    def _find(self, incident: Incident) -> Container | None:
        """What was acted on, or its heir: another of the same name that somebody made was not
        healed by anyone."""
        return self.mirror.container(self.mirror.identities.heir_of(incident.object_id))

    def _judge(
        self, trial: VerifyTrial, container: Container | None, now: float
    ) -> VerifyResult | None:
        heir = self.mirror.identities.heir_of(trial.incident.object_id)
        if container is None:
            return (
                VerifyResult("gone", "it was removed meanwhile")
                if self.mirror.is_gone(heir)
                else None
            )
        if container.state in ("exited", "dead"):
            return self._ended(trial, container)
        if container.state != "running":
            paused = container.state == "paused" and not pauses(trial.rule)
            return VerifyResult("paused", "somebody paused it") if paused else None
        itself, network = container.id == heir, trial.incident.network
        if itself and network is not None and network not in container.networks:
            if self.mirror.left_network(container.id, network):
                return VerifyResult("on_purpose", left_on_purpose(network))
            return (
                VerifyResult("failed", f"it is not in network {network}")
                if trial.settled(now)
                else None
            )
        steady = trial.steadiness.reached(container, now)
        alone = itself and owner_in(trial.incident.target) is None
        if _wanted(trial.rule, container, alone) == "healthy":
            return self._judge_health(trial, container, steady)
        return VerifyResult("healed", f"running {trial.longer}".rstrip()) if steady else None

    def _judge_health(
        self, trial: VerifyTrial, container: Container, steady: bool
    ) -> VerifyResult | None:
        """The first verdict counts, unless it ended by itself before: its check may have passed
        then as well."""
        if container.health == "healthy":
            if is_loop(trial.lasted) and not steady:
                return None
            return VerifyResult(
                "healed",
                f"healthy again, and running {trial.longer}" if trial.longer else "healthy again",
            )
        mine = container.started_at >= trial.began_at or _only_starts(trial.rule)
        return (
            VerifyResult("failed", "unhealthy again")
            if container.health == "unhealthy" and mine
            else None
        )

    def _ended(self, trial: VerifyTrial, container: Container) -> VerifyResult | None:
        if not self.mirror.settled(container.id):
            return None
        if self.mirror.stopped(container.id):
            return VerifyResult("stopped", "stopped by a person")
        ran = max(
            (each.lasted for each in self.mirror.standing_of(container.id, ("end",))), default=0.0
        )
        again = " again" if trial.lasted else ""
        return VerifyResult(
            "failed", f"it ended with exit code {container.exit_code}{again}{after_text(ran)}"
        )


def _too_late(trial: VerifyTrial, container: Container | None) -> str:
    wanted = _wanted(trial.rule, container)
    well = (
        container is not None
        and container.state == "running"
        and wanted in ("running", container.health)
    )
    steady = f" for {span_text(trial.steadiness.seconds)} without a break" if well else ""
    return f"not {wanted}{steady} within {span_text(trial.within)}"


def _none_left(standing: GroupState) -> VerifyResult:
    """No member is left that should be well. Only what was seen of them is said."""
    if standing.gone or standing.left_alone or not (standing.stopped or standing.paused):
        return VerifyResult("gone", standing.told() or "nothing shares its network any more")
    return VerifyResult("paused" if standing.paused else "stopped", standing.told())


def left_on_purpose(network: str) -> str:
    return f"disconnected from {network} on purpose: again, soon after it was put back"


def pauses(rule: Rule) -> bool:
    """Whether a pause may be its own doing."""
    return any(step.action == "pause" for step in (*rule.then, *rule.escalate))


def _only_starts(rule: Rule) -> bool:
    """Whether a container that ran already is left as it is: its health is then a verdict, whenever
    it began."""
    return {step.action for step in rule.then if step.action in HEALS} == {"start"}


def _wanted(rule: Rule, container: Container | None, alone: bool = True) -> str:
    """Not `alone`: a guest or one of a group. `healthy` cannot be asked of one that has no health
    check: the rule was written about others."""
    state = rule.verify.state
    if state == "auto" or (state == "healthy" and not alone):
        return "healthy" if container is not None and container.check is not None else "running"
    return state
