"""The hub: builds the pipeline, and carries what one part finds to the parts that need it.

The daemon and the tests build the same hub. Whoever reads the pipeline finds here what follows from
a change of a container, from the end of an incident, and from an inspect answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from dockmend.decide import History, Host
from dockmend.guards import Guards
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import Change, Container
from dockmend.observer import Observer
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.groups import Groups
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import KeyedWorkers
from dockmend.pipeline.reconciler import Reconciler
from dockmend.pipeline.reoffering import Reoffering
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.pipeline.step_runner import StepRunner
from dockmend.pipeline.verification import Verification
from dockmend.pipeline.wakeups import Wakeups
from dockmend.timekeeping import Clock


class Follower(Protocol):
    """Follows the engine: inspect answers go through it, so that they never overtake the stream."""

    def learn_from(self, container: Container, asked: int) -> None: ...


class ClosingObserver(Protocol):
    """Has to know that an incident is closed."""

    def closed(self, incident: Incident) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParts:
    """What the pipeline is built on. `parallel`: attempts at once; `host_name`: of this host, in
    rules and messages; `dependents`: how many containers depend on an incident's object."""

    steps: StepRunner
    incidents: Incidents
    mirror: Mirror
    workers: KeyedWorkers
    history: History
    guards: Guards
    observer: Observer
    wakeups: Wakeups
    host: Host
    clock: Clock
    dice: random.Random
    parallel: int
    rules: RulesInForce
    host_name: str
    dry_run: bool
    dependents: Callable[[Incident], int]
    at_closing: tuple[ClosingObserver, ...] = ()


class Hub:
    """`follow` makes the follower of the engine, which hands its changes to this hub."""

    def __init__(self, parts: PipelineParts, follow: Callable[[Hub], Follower]) -> None:
        self._mirror = parts.mirror
        self._incidents = parts.incidents
        self._wakeups = parts.wakeups
        self._at_closing = parts.at_closing
        self.dependents = parts.dependents
        groups = Groups(parts.mirror, parts.incidents, parts.guards)
        self.reconciler = Reconciler(
            steps=parts.steps, incidents=parts.incidents, mirror=parts.mirror, lanes=parts.workers,
            history=parts.history, guards=parts.guards, observer=parts.observer,
            verification=Verification(parts.mirror, parts.wakeups, parts.clock, groups),
            host=parts.host, clock=parts.clock, dice=parts.dice, parallel=parts.parallel, hub=self,
            rules=parts.rules,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            parts.incidents, self.reconciler, parts.guards, parts.observer, parts.host_name,
            parts.dry_run, parts.clock.wall, parts.mirror,
        )  # fmt: skip
        self.reoffering = Reoffering(parts.mirror, self.again)
        self._follower = follow(self)

    # --- from the mirror ------------------------------------------------------------------------

    def offer(self, changes: Iterable[Change]) -> None:
        """Changes of the mirror. Before the dispatcher is open they are known and not answered."""
        if self.dispatcher.open:
            self.dispatcher.offer_all(changes)

    def again(self, changes: Iterable[Change]) -> None:
        """Troubles that stand: rules that have answered them already stay silent."""
        if self.dispatcher.open:
            for change in changes:
                self.dispatcher.again(change)

    def container_changed(self, before: Container | None, after: Container | None) -> None:
        """A container's record changed. `before` is None for a new one, `after` for one that is
        gone."""
        self._wakeups.touch(before, after)
        if before is not None and after is None:
            self.dispatcher.matcher.forget(before.id)
        if not self.dispatcher.open:
            return
        reconciler = self.reconciler
        # An incident that waits for a person's pause to end goes on when the container is unpaused.
        if before is not None and before.state == "paused":
            reconciler.look_again("paused")
        if (
            after is not None
            and after.health == "healthy"
            and (before is None or before.health != "healthy")
        ):
            reconciler.needed_no_more(after)
        if reconciler.attempt_ends.put_off and (container := after or before) is not None:
            reconciler.changed(container)
        # The owner of a namespace that is back may make troubles answerable that were given up.
        if after is not None and reconciler.owner_changed(after):
            self.reoffering.ask()

    def gone(self, target: str) -> None:
        """The last object of a target is gone."""
        if self.dispatcher.open:
            self.reconciler.removed(target)

    # --- from the reconciler --------------------------------------------------------------------

    def learn(self, container: Container, asked: int) -> None:
        """An inspect answer. `asked`: what the mirror had heard of the container when it was asked.

        Raises EngineAway without a stream.
        """
        self._follower.learn_from(container, asked)

    def offer_to(self, rule: str, target: str) -> None:
        """Offers the standing troubles of a target to a rule that has answered them before."""
        for change in self._mirror.standing_at(target) if self.dispatcher.open else ():
            self._incidents.forget_trouble(rule, change.trouble)
            self.dispatcher.again(change)

    def closed(self, incident: Incident) -> None:
        """An incident is closed: what came up while it was open is offered again if it still
        stands."""
        for each in self._at_closing:
            each.closed(incident)
        for change in self.dispatcher.closed(incident.rule, incident.target):
            subject = change.subject
            if not isinstance(subject, Container) or not self.dispatcher.open:
                continue
            if self._mirror.stands(subject.id, change.trouble):
                self.dispatcher.again(replace(change, subject=self._mirror.container(subject.id)))
