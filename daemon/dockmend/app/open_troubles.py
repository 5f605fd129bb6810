"""Troubles that a person may have to hear of, as they stand now, and how each of them ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from dockmend.app.given_up import GivenUp
from dockmend.app.unwell import Unwell
from dockmend.mirror import Mirror
from dockmend.mirror.dependency_graph import build, reachable
from dockmend.model import Container, owner_in, target_of
from dockmend.notify.alarms import AlarmEnding, AlarmTrouble
from dockmend.notify.message import Kind, Severity

DOWN_AFTER: Final = 60.0
"""Seconds for which a container has to be unwell: most of what people and the engine do is over by
then."""
RUNS_WELL_AFTER: Final = 10.0
"""Seconds for which one without a health check has to run to count as well."""
DEGRADED_AFTER: Final[Mapping[str, float]] = {
    "engine": 60.0,
    "rules": 60.0,
    "journal": 10.0,
    "record": 0.0,
}
"""Seconds for which a part of dockmend has to be out of order. Whoever restarts the engine, or
writes a rule, is done by then. The other parts are no message: dockmend does its work without a
broker."""
CRITICAL: Final = frozenset({"engine", "journal"})
"""Parts without which dockmend does nothing."""
ALWAYS: Final = frozenset({"always", "unless-stopped"})
"""Restart policies by which the engine starts a container again after its own start."""


@dataclass(frozen=True, slots=True)
class Ill:
    """A part of dockmend that does not work. `since`: wall seconds."""

    since: float
    why: str


@dataclass(slots=True)
class OpenTroubles:
    """`unwell`, `given_up`: what stands; `paused(target)`: whether a person asked dockmend to leave
    it for now; `asked_for(container)`: whether a label asks that it be brought back;
    `severity(rule)`: how grave that says it is; `up()`: whether the engine answers; `listed()`:
    whether it was listed since dockmend began; `clock`: wall seconds; `ill`: the parts of dockmend
    that do not work; `needs()`: what only a person can put right."""

    mirror: Mirror
    unwell: Callable[[], list[Unwell]]
    given_up: Callable[[], list[GivenUp]]
    paused: Callable[[str], bool]
    asked_for: Callable[[Container], bool]
    severity: Callable[[str], Severity]
    up: Callable[[], bool]
    listed: Callable[[], bool]
    clock: Callable[[], float]
    ill: Mapping[str, Ill]
    needs: Callable[[], Iterable[AlarmTrouble]] = tuple

    def standing(self) -> list[AlarmTrouble]:
        """Everything that stands; what a person has in hand is held."""
        return [*(self._on_the_engine() if self.listed() else ()), *self._of_dockmend()]

    def ending(self, trouble: AlarmTrouble) -> AlarmEnding | None:
        """How one ended that does not stand any more; None if nothing is sure yet."""
        if not self.listed():
            return None  # what the dockmend before this one told, nothing says anything of yet
        if trouble.kind is Kind.DEGRADED or owner_in(trouble.target) is not None:
            return AlarmEnding.WELL
        if not self.up():
            return None
        if trouble.kind is Kind.NEEDS_YOU:
            return self._ending_of_need(trouble)
        container = self.mirror.of_target(trouble.target)
        if container is None:
            return None if self._is_coming(trouble.target) else AlarmEnding.REMOVED
        if container.state == "running":
            return AlarmEnding.WELL if self._is_well(container) else None
        if self.mirror.down_on_purpose(container):
            return AlarmEnding.STOPPED
        return (
            AlarmEnding.COMPLETED
            if container.state == "exited" and container.exit_code == 0
            else None
        )

    def _ending_of_need(self, trouble: AlarmTrouble) -> AlarmEnding | None:
        """It is over as soon as it does not stand: by another name, or with another owner, it needs
        nobody."""
        found = self.mirror.container(trouble.object_id) or self.mirror.of_target(trouble.target)
        if found is None:
            return None if self._is_coming(trouble.target) else AlarmEnding.REMOVED
        return AlarmEnding.STOPPED if self.mirror.down_on_purpose(found) else AlarmEnding.WELL

    def _is_coming(self, target: str) -> bool:
        """Whether one of this target is about to be made in the place of one that goes."""
        return any(target_of(each.container) == target for each in self.mirror.leaving.values())

    # ---------------------------------------------------------------------------------- from within

    def _on_the_engine(self) -> list[AlarmTrouble]:
        needs = [
            replace(each, held=not self.up() or self.paused(each.target)) for each in self.needs()
        ]
        told = {each.target for each in needs}
        # If a container needs a person first, that message is enough: it is not reported as down as
        # well.
        containers = [
            each
            for each in self._of_containers()
            if each.kind is not Kind.DOWN or each.target not in told
        ]
        return [*containers, *needs]

    def _of_containers(self) -> Iterator[AlarmTrouble]:
        unwell = self.unwell()
        causes = {each.target: each.cause for each in unwell}
        given_up = self.given_up()
        held = self._held({each.target for each in unwell} | {each.target for each in given_up})
        for each in given_up:
            container = self.mirror.of_target(each.target)
            yield AlarmTrouble(
                key=f"{Kind.DOWN}/{each.target}", kind=Kind.GAVE_UP, target=each.target,
                object_name=each.object_name, since=each.since, severity=self.severity(each.rule),
                object_id=container.id if container else "", cause=causes.get(each.target, ""),
                note=each.reason, rule=each.rule, held=each.target in held,
            )  # fmt: skip
        for one in unwell:
            container = self.mirror.of_target(one.target)
            if one.covered or container is None or not self._is_news(one, container):
                continue
            yield AlarmTrouble(
                key=f"{Kind.DOWN}/{one.target}", kind=Kind.DOWN, target=one.target,
                object_name=one.object_name, since=one.since, object_id=container.id,
                cause=one.cause, note=one.note, grace=DOWN_AFTER, held=one.target in held,
            )  # fmt: skip

    def _is_news(self, one: Unwell, container: Container) -> bool:
        """What the engine does not start again after its own start was left so by whoever chose its
        restart policy. A health check without a verdict is shown, and wakes nobody."""
        if one.cause == "starting":
            return False
        return (
            one.cause != "left_down"
            or container.restart_policy in ALWAYS
            or self.asked_for(container)
        )

    def _of_dockmend(self) -> Iterator[AlarmTrouble]:
        for part, ill in self.ill.items():
            if part in DEGRADED_AFTER:
                yield AlarmTrouble(
                    key=f"{Kind.DEGRADED}/{part}", kind=Kind.DEGRADED, target=part,
                    object_name="dockmend", since=ill.since,
                    severity=Severity.CRITICAL if part in CRITICAL else Severity.WARNING,
                    note=ill.why, grace=DEGRADED_AFTER[part],
                )  # fmt: skip

    def _held(self, targets: Iterable[str]) -> set[str]:
        """Those that are a person's own doing, or follow from it; all of them while nobody knows
        how they are."""
        targets = set(targets)
        if not self.up():
            return targets
        found = {each: self.mirror.of_target(each) for each in targets}
        held = {
            each for each, container in found.items() if self.paused(each) or _frozen(container)
        }
        return held | self._of_stopped(
            {each: one for each, one in found.items() if one is not None}
        )

    def _of_stopped(self, containers: Mapping[str, Container]) -> set[str]:
        """Those that hang on a container which a person stopped or removed, by its namespaces or by
        what their owner declared."""
        if not containers:
            return set()
        graph = build(self.mirror.containers(), self.mirror.identities)
        needs, cut_off = graph.needs(), graph.cut_off(self.mirror.identities.was_taken)
        return {
            target for target, container in containers.items()
            if container.id in cut_off
            or any(each in cut_off or self._is_down(each)
                for each in reachable((container.id,), needs))
        }  # fmt: skip

    def _is_down(self, container_id: str) -> bool:
        container = self.mirror.container(container_id)
        return container is not None and self.mirror.down_on_purpose(container)

    def _is_well(self, container: Container) -> bool:
        if container.check is not None:
            return container.health == "healthy"
        return self.clock() - container.started_at >= RUNS_WELL_AFTER


def _frozen(container: Container | None) -> bool:
    return container is not None and container.state == "paused"
