"""compose_restart: a Compose project, or some of its services, restarted in the order of
`depends_on`.

Order and conditions come from the labels that Compose puts on its containers: no compose file is
needed. Each member's stop and start is a step of its own in the journal. Who still needs what is
asked of the engine each time, so a dockmend that was killed goes on where it was: who has begun
since is left alone, who was stopped for this is started.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Settled,
    register,
)
from dockmend.actions.containers import expect_container
from dockmend.actions.containers_recovery import await_until, look
from dockmend.actions.parallel import together
from dockmend.actions.recreate import Anew
from dockmend.journal.records import ActionRecord
from dockmend.mirror.dependency_graph import DependencyGraph, Edge, build
from dockmend.mirror.restart_order import plan
from dockmend.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Object
from dockmend.rules.action_parameters import Stop

STARTS_WITHIN = 30.0
"""Seconds that what a member depends on has to run, or to be healthy beyond its check's own
verdict."""
COMPLETES_WITHIN = 600.0
"""Seconds that it has to complete, where that is the condition."""


@dataclass(slots=True)
class ProjectRestart:
    """One restart of a group. `began`: when each member's run began that is to end by it (wall
    seconds)."""

    ctx: ActionContext
    timeout: float | None
    began: dict[str, float]
    graph: DependencyGraph
    # those made anew, as what they were bound to is gone
    renewed: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def carry_out(self) -> ActionResult:
        """Raises ActionFailed where a member could not be brought back; EngineAway where it goes on
        later."""
        order = plan(self.began, self.graph.needs())
        for wave in order.stop:
            await together(self._stop, wave, self.failures)
        for wave in order.start:
            await together(self._start, wave, self.failures)
        cycles = [
            f"a cycle, taken together: {', '.join(self._name(each) for each in cycle)}"
            for cycle in order.cycles
        ]
        if self.failures:
            told = [f"restarted all the same: {', '.join(self.told)}"] if self.told else []
            raise ActionFailed("; ".join([*self.failures, *told, *self.spared]))
        said = f"restarted in order: {', '.join(self.told)}" if self.told else "nothing of it ran"
        return ActionResult(
            "; ".join([said, *cycles, *self.spared]), {"members": sorted(self.began)}
        )

    async def _stop(self, node: str) -> None:
        container = await look(self.ctx, node)
        if container is None or not container.running or self._has_begun(container):
            return
        if lacks := self.graph.lacks(node):
            why = f"{lacks}, to which it is bound, is gone, and it could not be started again"
            self.spared.append(f"{container.name} was left alone: {why}")
            return
        await self.ctx.part("stop", Stop.model_construct(timeout=self.timeout), container)

    async def _start(self, node: str) -> None:
        container = await look(self.ctx, node)
        if container is None or container.running:
            return  # gone: somebody's will; or it has begun anew
        if self._is_left_down(container):
            self.spared.append(f"{container.name} was left alone: somebody stopped it meanwhile")
            return
        for edge in self.graph.edges_of(node):
            await self._met(container, edge)
        if any(
            edge.stale or (edge.bound and edge.dependency in self.renewed)
            for edge in self.graph.edges_of(node)
        ):
            await self.ctx.part("recreate", Anew(), container)
            self.renewed.add(node)
        else:
            await self.ctx.part("start", None, container)
        self.told.append(container.name)

    def _is_left_down(self, container: Container) -> bool:
        return self.ctx.view.stopped(container.id) and not self.ctx.view.taken_down(container.id)

    def _has_begun(self, container: Container) -> bool:
        return container.started_at > self.began[container.id]

    async def _met(self, dependent: Container, edge: Edge) -> None:
        """Waits for the condition of a dependency that is a member too, or runs anyway. Raises
        ActionFailed."""
        dependency = self.graph.nodes.get(edge.dependency)
        if dependency is None or edge.kind not in ("compose", "label"):
            return
        completes = edge.condition == "service_completed_successfully"
        healthy = edge.condition == "service_healthy"

        def over(each: Container) -> bool:
            if completes:
                return each.state == "exited" and each.exit_code is not None
            return not each.running or not healthy or each.health in ("", "healthy", "unhealthy")

        within = STARTS_WITHIN + (dependency.check.verdict_within if dependency.check else 0.0)
        until = self.ctx.clock() + (COMPLETES_WITHIN if completes else within)
        seen = await await_until(
            self.ctx, self.ctx.view.identities.heir_of(dependency.id), until, over
        )
        why = None
        if seen is None:
            why = "is gone"
        elif completes and (seen.state != "exited" or seen.exit_code != 0):
            why = f"did not complete ({seen.state}, exit code {seen.exit_code})"
        elif (
            not completes
            and dependency.id in self.began
            and not seen.running
            and not self._is_left_down(seen)
        ):
            why = f"does not run ({seen.state})"
        elif healthy and seen.running and seen.health not in ("", "healthy"):
            why = f"is {seen.health}"
        if why is not None:
            raise ActionFailed(
                f"{dependent.name} was not started: {dependency.name}, on which it depends, {why}"
            )

    def _name(self, node: str) -> str:
        return self.graph.nodes[node].name


async def compose_restart(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Stop dependents first, start them last, each when the condition of its `depends_on` holds."""
    container = expect_container(subject, "compose_restart")
    project = project_of(container, "compose_restart")
    mine = {each.id: each for each in ctx.view.containers() if is_of(each, project)}
    if container.id in mine:
        mine[container.id] = container
    wanted = _wanted(mine, project, params.services)
    spared: list[str] = []
    began = {}
    for each in wanted.values():
        why = _why_spared(ctx, each)
        if why is None:
            began[each.id] = each.started_at
        elif why:
            spared.append(f"{each.name} was left alone: {why}")
    if not began:
        raise ActionFailed(
            f"nothing of project {project} is to be restarted: "
            f"{'; '.join(spared) or 'it has none'}",
            again=False,
        )
    began = _unfinished(ctx, container, began) or began
    timeout: float | None = params.timeout
    await ctx.remember({"compose": {"began": began, "timeout": timeout}})
    return await ProjectRestart(
        ctx, timeout, began, build(_all(ctx, mine), ctx.view.identities), spared=spared
    ).carry_out()


def _unfinished(
    ctx: ActionContext, container: Container, began: dict[str, float]
) -> dict[str, float]:
    """Of an attempt after one that failed halfway: those that are down by it, if the target itself
    is well by now."""
    if (
        ctx.incident.attempts < 2
        or container.state != "running"
        or container.health not in ("", "healthy")
    ):
        return {}
    return {each: at for each, at in began.items() if ctx.view.taken_down(each)}


def project_of(container: Container, action: str) -> str:
    """The Compose project of a container. Raises ActionFailed if it belongs to none, or is a
    one-off."""
    project = container.labels.get(COMPOSE_PROJECT)
    why = "belongs to no Compose project (what its image's labels say does not count)"
    if project and not container.one_off:
        return project
    why = "is a Compose one-off, which is no part of what its project runs" if project else why
    raise ActionFailed(f"cannot {action}: {container.name} {why}", again=False)


def _all(ctx: ActionContext, mine: dict[str, Container]) -> Iterable[Container]:
    return ({each.id: each for each in ctx.view.containers()} | mine).values()


def is_of(container: Container, project: str) -> bool:
    """Whether it is one of the containers that a Compose project runs; a one-off is none."""
    return container.labels.get(COMPOSE_PROJECT) == project and not container.one_off


def _wanted(
    mine: dict[str, Container], project: str, services: Iterable[str] | None
) -> dict[str, Container]:
    """The containers of the services, and those of the project that feel their restart. Raises
    ActionFailed."""
    if services is None:
        return mine
    roots = set()
    for service in services:
        found = [each.id for each in mine.values() if each.labels.get(COMPOSE_SERVICE) == service]
        if not found:
            raise ActionFailed(
                f"project {project} has no container of a service {service!r}", again=False
            )
        roots.update(found)
    felt = build(mine.values()).dependents(roots)
    return {each: mine[each] for each in roots | felt}


def _why_spared(ctx: ActionContext, container: Container) -> str | None:
    """None where it is to be restarted; "" where nobody needs to hear why not."""
    if ctx.forbids is not None and (why := ctx.forbids(container)):
        return why
    if container.state == "paused":
        return "somebody paused it"
    if container.running:
        return None
    if ctx.view.stopped(container.id) and not ctx.view.taken_down(container.id):
        return "somebody stopped it"
    if container.id == ctx.incident.object_id and container.started_at > 0:
        return None  # it is down by the trouble that this is the remedy for
    if ctx.view.taken_down(container.id):
        return None  # by an attempt that was cut short
    return "" if container.exit_code == 0 else f"it did not run (it was {container.state})"


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Goes on with what was begun; the members' own steps were settled before."""
    before = record.undo.get("compose")
    if not isinstance(before, dict):
        return NOT_BEGUN
    began = {str(key): float(value) for key, value in before["began"].items()}
    known = {each.id: each for each in ctx.view.containers()}
    for container_id in list(began):
        seen = await look(ctx, container_id)
        if seen is None:
            del began[container_id]
        else:
            known[container_id] = seen
    left = {each: at for each, at in began.items() if known[each].started_at <= at}
    try:
        done = await ProjectRestart(
            ctx, before["timeout"], left, build(known.values(), ctx.view.identities)
        ).carry_out()
    except ActionFailed as failure:
        return Settled(done=False, detail=str(failure))
    return Settled(done=True, detail=f"the group was finished: {done.detail}")


def register_all() -> None:
    """Put compose_restart into the registry."""
    register(Action("compose_restart", compose_restart, settle, touches=False))
