"""The live state of an incident's object: how it is now, whether its trouble still stands, what
forbids acting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dockmend.decide import Suppress, WaitUntil, begins_a_task, outside_hours, would_start
from dockmend.engine.engine_api import Engine
from dockmend.errors import NotFound
from dockmend.guards import Guards
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import ASKED, TROUBLES, Container, Network, Object, Volume, owner_in
from dockmend.pipeline.groups import Groups
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.manual_trigger import ends_a_pause, starts
from dockmend.rules.rule import Rule, Step
from dockmend.timekeeping import Clock

MISSING = "container.missing"
"""The one trouble of a container that is gone."""
STUCK = "container.stuck"
"""The one trouble of a container that is stopped or being removed: neither of them explains it."""
_DOWN = ("health", "end")
LASTING = {
    "container.unhealthy": _DOWN, "container.crashed": _DOWN, "container.oom_killed": _DOWN,
    "container.left_down": _DOWN, "container.exited": _DOWN,
    "container.orphaned": ("orphaned", *_DOWN), STUCK: ("stuck",),
}  # fmt: skip
"""What may stand after an attempt that failed: one that was unhealthy and now ends at once is not
well."""


@dataclass(frozen=True, slots=True)
class Observation:
    """`subject`: as it is, or as it last was where it is `gone`; None for what has no object (the
    engine)."""

    subject: Object | None
    gone: bool = False


@dataclass(slots=True)
class LiveState:
    """`learn` takes an inspect answer to the mirror (and what that had heard when it was asked
    for), and offers what follows."""

    engine: Engine
    mirror: Mirror
    incidents: Incidents
    guards: Guards
    learn: Callable[[Container, int], None]
    groups: Groups
    # of moments, by incident: the object may be gone
    kept: dict[str, Object] = field(default_factory=dict)

    async def look(self, incident: Incident) -> Observation:
        """The live state, immediately before each attempt."""
        try:
            if owner_in(incident.target) is not None:
                return await self._look_at_one_of(incident)
            if incident.kind == "container":
                asked = self.mirror.heard(incident.object_id)
                container = await self.engine.inspect(incident.object_id)
                self.learn(container, asked)
                return Observation(self.mirror.container(incident.object_id) or container)
            if incident.kind == "volume":
                return Observation(await self.engine.inspect_volume(incident.object_name))
            if incident.kind == "network":
                network = await self.engine.inspect_network(incident.object_name)
                # the engine also takes the beginning of an id
                if network.name == incident.object_name:
                    return Observation(network)
                return self._absent(incident)
        except NotFound:
            if (
                now := self.incidents.open.get(incident.id, incident)
            ).object_id != incident.object_id:
                return await self.look(now)  # another remedy made it anew meanwhile
            successor = (
                self.mirror.of_target(incident.target) if incident.trigger == MISSING else None
            )
            if successor is not None:
                return Observation(successor)
            return self._absent(incident)
        return Observation(None)

    async def _look_at_one_of(self, incident: Incident) -> Observation:
        """Of a group the container whose trouble was told first or, where it is gone, another one.

        And its owner: the stream may be behind, and an attempt without an owner that runs is none.
        """
        owner = self.mirror.of_owner(owner_in(incident.target) or "")
        if owner is not None:
            asked = self.mirror.heard(owner.id)
            with contextlib.suppress(NotFound):
                self.learn(await self.engine.inspect(owner.id), asked)
        ids = [
            incident.object_id,
            *(each.id for each in self.groups.broken(incident) + self.groups.members(incident)),
        ]
        for container_id in dict.fromkeys(ids):
            asked = self.mirror.heard(container_id)
            try:
                container = await self.engine.inspect(container_id)
            except NotFound:
                continue
            self.learn(container, asked)
            return Observation(self.mirror.container(container_id) or container)
        return Observation(stand_in(incident), gone=True)

    def _absent(self, incident: Incident) -> Observation:
        """It is not there; where that is the trouble, it is as it last was, and not `gone`."""
        if incident.trigger == "network.missing":
            return Observation(
                self.mirror.network_definition(incident.object_name) or stand_in(incident)
            )
        return Observation(self.kept.get(incident.id) or stand_in(incident), gone=True)

    def keep(self, incident: Incident, subject: Object | None) -> None:
        if subject is not None and incident.trigger not in TROUBLES:
            self.kept[incident.id] = subject

    def stands(self, incident: Incident, subject: Object | None) -> bool:
        if incident.trigger == MISSING and isinstance(subject, Container):
            return self.mirror.of_target(incident.target) is None
        if incident.trigger == "network.missing":
            if not isinstance(subject, Network) or subject.id == incident.object_id:
                return True  # one that was made again has another id
            return incident.attempts > 0 and self.mirror.members_out(incident.object_name)
        if (
            incident.trigger not in TROUBLES
            or incident.cause == "stopped"
            or not isinstance(subject, Container)
        ):
            return True
        if owner_in(incident.target) is not None:
            return bool(
                self.groups.broken(incident) or (incident.attempts and self.groups.halted(incident))
            )
        if incident.attempts and (self.mirror.taken_down(subject.id) or self.persists(incident)):
            return True
        if incident.attempts and self.groups.halted(incident):
            return True  # it is well itself, and what was stopped for it is down
        return self.mirror.stands(subject.id, incident.trouble)

    def persists(self, incident: Incident) -> bool:
        """After an attempt the trouble may stand under another name, as the run is another: it is
        the same trouble.

        Its record bears the latest name from then on, so that the next dockmend knows it for
        answered as well.
        """
        kinds = (
            (f"network/{incident.network}",)
            if incident.network
            else LASTING.get(incident.trigger, ())
        )
        if owner_in(incident.target) is not None:
            return bool(self.groups.broken(incident))
        self._learn_of_end(incident)
        standing = self.mirror.standing_of(incident.object_id, kinds)
        for change in standing:
            self.incidents.remember_answered(incident.rule, change.trouble)
        if standing and incident.id in self.incidents.open:
            self.incidents.renamed(incident.id, standing[0].trouble)
        return bool(standing)

    def _learn_of_end(self, incident: Incident) -> None:
        """If it ended by itself after an attempt, it has to run for longer after the next one."""
        ends = self.mirror.standing_of(incident.object_id, ("end",))
        lasted = max((change.lasted for change in ends), default=0.0)
        if incident.id in self.incidents.open and lasted > self.incidents.open[incident.id].lasted:
            self.incidents.update(incident.id, lasted=lasted)

    def forbidden(
        self, incident: Incident, steps: Iterable[Step], subject: Object | None
    ) -> Suppress | None:
        """Why these steps may not be taken on an object as it is now, or None."""
        steps = tuple(steps)
        if any(not step.tells for step in steps) and (forbidden := self.guards.forbids(subject)):
            return forbidden
        if forbidden := self.guards.forbidden_step(steps) or begins_a_task(steps, subject):
            return forbidden
        down = (
            isinstance(subject, Container)
            and subject.state == "exited"
            and self.mirror.stopped(subject.id)
        )
        if (
            down
            and not incident.even_if_stopped
            and (starts if incident.actor else would_start)(steps)
        ):
            return Suppress("stopped", "somebody stopped it: what a person stopped is not started")
        return None

    def frozen(self, incident: Incident, steps: Iterable[Step], subject: Object | None) -> bool:
        """Whether somebody's `docker pause` would be ended by these steps: it is no trouble but a
        person's will."""
        if (
            not isinstance(subject, Container)
            or subject.state != "paused"
            or incident.even_if_stopped
        ):
            return False
        return incident.trigger in (*TROUBLES, ASKED) and ends_a_pause(steps)

    def reconnected_while_down(self, incident: Incident) -> bool:
        """Whether a container that does not run has its network back: there is nothing to wait
        for."""
        container = self.mirror.container(incident.object_id)
        return (
            container is not None
            and not container.running
            and incident.network in container.networks
        )


def outside(rule: Rule, clock: Clock) -> WaitUntil | Suppress | None:
    """None within the rule's hours, which go by the clock on the wall; what to wait for is a time
    of `clock`."""
    shut = outside_hours(rule, clock.wall())
    return (
        WaitUntil(clock.at(shut.until), shut.code, shut.reason)
        if isinstance(shut, WaitUntil)
        else shut
    )


def stand_in(incident: Incident) -> Object | None:
    """A gone object as far as its incident's record tells."""
    if incident.kind == "container":
        return Container(
            id=incident.object_id,
            name=incident.object_name,
            labels=_compose_labels(incident.target),
        )
    if incident.kind == "network":
        return Network(id=incident.object_id, name=incident.object_name)
    return Volume(name=incident.object_name) if incident.kind == "volume" else None


def _compose_labels(target: str) -> dict[str, str]:
    """What a target tells of the labels it was made of (model.target_of)."""
    kind, _, rest = target.partition(":")
    project, _, service = rest.partition("/")
    service, _, number = service.rpartition("/")
    if kind != "compose":
        return {}
    return {
        "com.docker.compose.project": project, "com.docker.compose.service": service,
        "com.docker.compose.container-number": number,
    }  # fmt: skip
