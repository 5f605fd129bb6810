"""restart_dependents: everything that a container's restart or replacement broke, as one group, in
order.

Under `container.orphaned` the group hangs on the owner of a namespace, under any other trigger on
the rule's target. At the end of an attempt it is the guests of what that attempt restarted, and
nobody else (`Rejoin`). Who needs anything is asked of the host anew each time, so an attempt that
was cut short, or a dockmend that was killed, goes on where it was: a member that has begun after
what it hangs on is left alone. Each member's stop, start, restart and recreation is a step of its
own in the journal.
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
from dockmend.actions.containers_recovery import await_until
from dockmend.actions.parallel import together
from dockmend.actions.recreate import Anew
from dockmend.decide import a_task_of
from dockmend.errors import NotFound
from dockmend.journal.records import ActionRecord
from dockmend.mirror.dependency_graph import DependencyGraph, Edge, build
from dockmend.mirror.restart_order import plan
from dockmend.model import Object, group_of, owner_in, target_of
from dockmend.rules.action_parameters import RestartParams, Stop

KILLED = 137
"""Exit code of what was ended by SIGKILL."""
UNASKED = "no label of its own or of its network's owner asks for it"
WITHOUT_CHECK = 30.0
"""Seconds a member has to run, or to be healthy beyond its check's own verdict, before what hangs
on it is started."""
_JOINED = ("network", "pid", "ipc")
"""Kinds of edges by which a container is in a namespace of the other's."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """The parameters where only those are meant that live in the namespaces of the subject.
    `replaced`: it took the place of another in this attempt, so those that link to that one are
    meant too."""

    guests: bool = True
    replaced: bool = False
    timeout: float | None = None


@dataclass(slots=True)
class DependentGroup:
    """One treatment of a group. `asked`: when those that hang on the root directly had begun as it
    was asked for, where they are treated whatever the times; `halted`: ids of those that dockmend
    stopped for it."""

    ctx: ActionContext
    params: Any
    root: Container
    owned: bool  # it hangs on the owner of a namespace, and only what that broke is treated
    guests: bool  # only those that live in the root's namespaces are meant
    asked: dict[str, float]
    halted: set[str]
    graph: DependencyGraph
    to_renew: set[str] = field(default_factory=set)  # ids of members that are to be made anew
    # ids of members that were made anew, and the new ones'
    renewed: dict[str, str] = field(default_factory=dict)
    # ids of those that were found to need it, also before a death
    members: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)  # who is left alone and why, for a person
    told: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def treat(self) -> ActionResult:
        """Raises ActionFailed where a member could not be brought back; EngineAway where it goes on
        later."""
        members = self._members()
        self.members = sorted({*self.members, *members})
        await _remember(self)
        order = plan(members, self.graph.needs())
        cycles = [
            f"a cycle, taken together: {', '.join(self._names(each))}" for each in order.cycles
        ]
        # the last to be stopped hang on no other member: one restart does
        for wave in order.stop[:-1]:
            await together(self._stop, wave, self.failures)
        for index, wave in enumerate(order.start):
            await together(self._begin, wave, self.failures)
            # Of an owner's group the verification waits for the last wave, without a place under
            # the host's cap.
            if index + 1 < len(order.start) or not self.owned:
                await together(self._await_well, wave, self.failures)
        if self.failures:
            raise ActionFailed("; ".join([*self.failures, *self.told, *self.spared]))
        said = [*self.told, *cycles, *self.spared] or ["nothing needed it"]
        return ActionResult("; ".join(said), {"members": list(self.members)})

    # --- who --------------------------------------------------------------------------------------

    def _members(self) -> set[str]:
        """The containers that need a restart: their owner started after they did, is about to
        start, or is not the container whose namespace they joined."""
        graph, taken = self.graph, set[str]()
        felt = graph.dependents([self.root.id], self._counts)
        tied = self._tied()
        for wave in plan(felt, graph.needs()).start:
            for node in wave:
                meant = self._is_meant(node, taken, tied) and self._needs(node, taken)
                if meant and not self._spared(graph.nodes[node], taken):
                    taken.add(node)
                    if any(map(self._breaks, graph.edges_of(node))):
                        self.to_renew.add(node)
        return taken

    def _tied(self) -> set[str]:
        """Where guests alone are meant: those reached through namespaces. Who links is meant only
        if the link broke."""
        return (
            self.graph.dependents([self.root.id], lambda edge: edge.kind in _JOINED)
            if self.guests
            else set()
        )

    def _is_meant(self, node: str, taken: set[str], tied: set[str]) -> bool:
        """Of guests: one that shares a namespace; or one that is to run, and links to what was made
        anew, or will be; or one behind these. A link to what is only restarted holds: the engine
        corrects it."""
        if not self.guests or node in tied or node in self.halted:
            return True
        heir_of = self.ctx.view.identities.heir_of
        of_this = {self.root.id, *taken, *self.members, *map(heir_of, self.members)}
        mine = [
            edge
            for edge in self.graph.edges_of(node)
            if self._counts(edge) and edge.dependency in of_this
        ]
        return any(edge.kind in _JOINED or self._has_lost_its_link(edge) for edge in mine)

    def _has_lost_its_link(self, edge: Edge) -> bool:
        """Whether it is of one that is to run: also if it ended by itself since the root was made,
        as its link died."""
        dependent = self.graph.nodes[edge.dependent]
        return self._breaks(edge) and self.ctx.view.is_to_run(dependent, self.root.created_at)

    def _breaks(self, edge: Edge) -> bool:
        """Whether it is to one that is gone, or will be by what is done here."""
        return edge.stale or (edge.bound and edge.dependency in self.to_renew)

    def _needs(self, node: str, taken: set[str]) -> bool:
        container = self.graph.nodes[node]
        if node in self.halted or not container.running:
            return True
        return any(
            self._felt(container, edge, taken)
            for edge in self.graph.edges_of(node)
            if self._counts(edge)
        )

    def _counts(self, edge: Edge) -> bool:
        if not self.guests:
            return edge.restart
        return edge.kind in _JOINED or (self.params.replaced and edge.kind == "link" and edge.bound)

    def _felt(self, container: Container, edge: Edge, taken: set[str]) -> bool:
        if self.guests and edge.kind == "link":
            return self._breaks(edge)
        if edge.dependency in taken or edge.stale:
            return True
        dependency = self.graph.nodes.get(edge.dependency)
        if dependency is None:
            return False
        if (
            container.started_at <= self.asked.get(container.id, -1.0)
            and dependency.id == self.root.id
        ):
            return True
        return dependency.running and self._since(container, edge) < dependency.started_at

    def _since(self, container: Container, edge: Edge) -> float:
        """Since when it has what it takes of another."""
        return self.ctx.view.joined_at(container) if edge.kind in _JOINED else container.started_at

    def _stale(self, edge: Edge) -> bool:
        """Whether it is tied to one that is gone, whose place another has taken: also in the course
        of this."""
        return edge.stale or (edge.bound and edge.dependency in self.renewed)

    def _spared(self, container: Container, taken: set[str]) -> bool:
        why = None
        # What lives with a member is cut off by this very action, so it comes back without a label.
        with_a_member = any(
            edge.kind in _JOINED and edge.dependency in taken
            for edge in self.graph.edges_of(container.id)
        )
        if self.ctx.forbids is not None:
            why = self.ctx.forbids(container)
        if why is None and container.swarm_service is not None:
            why = a_task_of(container)
        if why is None and not self.guests and not with_a_member and not self.ctx.asks(container):
            why = UNASKED
        if why is None and not container.running and not self._ours(container):
            why = "somebody stopped it" if self.ctx.view.stopped(container.id) else None
            if why is None and not self._was_meant_to_run(container):
                why = f"it did not run (it was {container.state})"
        if why is None and (lacks := self.graph.lacks(container.id)):
            why = f"{lacks}, to which it is bound, is gone, and it could not be started again"
        if container.state == "paused":
            why = "somebody paused it"
        if container.state in ("removing", "dead"):
            why = f"it is {container.state}"
        if why is not None:
            self.spared.append(f"{container.name} was left alone: {why}")
        return why is not None

    def _ours(self, container: Container) -> bool:
        return container.id in self.halted or self.ctx.view.taken_down(container.id)

    def _was_meant_to_run(self, container: Container) -> bool:
        """Of those that nobody stopped: one that ended for the group's sake, not one that has done
        its work."""
        if container.exit_code == KILLED and any(
            edge.kind == "pid" for edge in self.graph.edges_of(container.id)
        ):
            # the kernel kills what is in a process namespace whose first process has ended
            return True
        links = (edge for edge in self.graph.edges_of(container.id) if edge.kind == "link")
        if self.guests and self.params.replaced and any(map(self._has_lost_its_link, links)):
            return True
        group = group_of(target_of(self.root)) if self.guests else self.ctx.incident.target
        return any(each.id == container.id for each in self.ctx.view.orphans(group))

    # --- doing ------------------------------------------------------------------------------------

    async def _stop(self, node: str) -> None:
        container = await self.seen(node)
        if container is None or not container.running or container.auto_remove:
            return  # the engine removes one of `--rm` that is stopped: it is restarted instead
        self.halted.add(node)
        await _remember(self)
        await self.ctx.part("stop", Stop.model_construct(timeout=self.params.timeout), container)

    async def _begin(self, node: str) -> None:
        container = await self.seen(node)
        if container is None:
            return
        if not container.running and not self._ours(container) and self.ctx.view.stopped(node):
            self.spared.append(f"{container.name} was left alone: somebody stopped it meanwhile")
        elif self._is_back(container):
            self.told.append(f"{container.name} was started meanwhile")
        elif any(self._stale(edge) for edge in self.graph.edges_of(node)):
            done = await self.ctx.part("recreate", Anew(), container)
            self.renewed[container.id] = str(done.facts["successor"])
            self.told.append(f"{container.name} recreated")
        elif container.running:
            await self.ctx.part(
                "restart", RestartParams.model_construct(timeout=self.params.timeout), container
            )
            self.told.append(f"{container.name} restarted")
        else:
            await self.ctx.part("start", None, container)
            self.told.append(f"{container.name} started")
        self.halted.discard(node)

    def _is_back(self, container: Container) -> bool:
        """Whether another remedy brought it back since it was asked who needs it: it began after
        all it hangs on."""
        edges = [edge for edge in self.graph.edges_of(container.id) if self._counts(edge)]
        began = max(self.root.started_at, self.asked.get(container.id, 0.0))
        return container.running and all(
            edge.dependency == self.root.id
            and not self._stale(edge)
            and self._since(container, edge) > began
            for edge in edges
        )

    async def _await_well(self, node: str) -> None:
        """Until it runs, and is healthy where it has a check: then what hangs on it may be
        started."""
        now_id = self.renewed.get(node, node)
        container = await self.seen(now_id)
        if container is None:
            return
        seen = await self.await_verdict(container)
        if seen is None or not seen.running:
            raise ActionFailed(f"{container.name} ended again")
        if seen.health not in ("", "healthy"):
            raise ActionFailed(f"{container.name} is {seen.health}")

    async def await_verdict(self, container: Container) -> Container | None:
        """As it is once its check, if it has one, has said healthy or unhealthy; None where it is
        gone."""
        check = container.check
        within = WITHOUT_CHECK + (check.verdict_within if check else 0.0)

        def over(each: Container) -> bool:
            return not each.running or each.health in ("", "healthy", "unhealthy")

        return await await_until(self.ctx, container.id, self.ctx.clock() + within, over)

    async def seen(self, node: str) -> Container | None:
        """As it is now; None where it is gone, which is somebody's will."""
        try:
            return await self.ctx.engine.inspect(node)
        except NotFound:
            return None

    def _names(self, nodes: Iterable[str]) -> list[str]:
        return sorted(self.graph.nodes[node].name for node in nodes)


async def restart_dependents(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Restart what the target's restart broke; recreate what joined the namespace of one that was
    replaced."""
    group = await _group(ctx, params, expect_container(subject, "restart_dependents"), None, set())
    return await _treat(group)


async def _treat(group: DependentGroup) -> ActionResult:
    """Guests are brought back once their owner is well, or its check has said that it is not: it
    runs all the same, and without it they have nothing at all."""
    if group.guests:
        seen = await group.await_verdict(group.root)
        if seen is None or not seen.running:
            return ActionResult(
                f"{group.root.name} does not run: what lives in its namespaces waits for it"
            )
        group.root = seen
    return await group.treat()


async def _group(
    ctx: ActionContext,
    params: Any,
    subject: Container,
    asked: dict[str, float] | None,
    halted: set[str],
) -> DependentGroup:
    """Raises ActionFailed where what they hang on is not there, or does not run."""
    guests = bool(getattr(params, "guests", False))
    owner = owner_in(ctx.incident.target) if not guests else None
    root = subject if owner is None else ctx.view.of_owner(owner)
    try:
        root = (
            await ctx.engine.inspect(ctx.view.identities.heir_of(root.id))
            if root is not None
            else None
        )
    except NotFound:
        root = None
    if root is None or (owner is not None and root.state != "running"):
        name = subject.name if owner is None else ctx.view.identities.name_for(owner)
        name = root.name if root is not None else name
        raise ActionFailed(
            f"{name}, on which they hang, {'does not run' if root is not None else 'is gone'}"
        )
    known = {each.id: each for each in ctx.view.containers()} | {root.id: root}
    graph = build(known.values(), ctx.view.identities)
    if asked is None:
        direct = {
            edge.dependent for edge in graph.edges if edge.dependency == root.id and edge.restart
        }
        asked = (
            {}
            if guests or owner is not None
            else {each: graph.nodes[each].started_at for each in direct}
        )
    return DependentGroup(
        ctx, params, root, guests or owner is not None, guests, asked, halted, graph
    )


async def _remember(group: DependentGroup) -> None:
    await group.ctx.remember({
        "dependents": {
            "root": group.root.id, "asked": group.asked, "halted": sorted(group.halted),
            "members": group.members,
        }
    })  # fmt: skip


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Goes on with what was begun: the members' own steps were settled before. It is done where
    each member that was named before the death, or its heir, is well; who is left to be treated
    proves nothing."""
    before = record.undo.get("dependents")
    if not isinstance(before, dict):
        return NOT_BEGUN
    subject = Container(id=str(before["root"]), name=record.object_name)
    timeout = record.params.get("timeout")
    params: Any = RestartParams.model_construct(timeout=timeout)
    if record.params.get("guests"):
        params = Rejoin(replaced=bool(record.params.get("replaced")), timeout=timeout)
    try:
        group = await _group(ctx, params, subject, dict(before["asked"]), set(before["halted"]))
        group.members = [str(each) for each in before.get("members", ())]
        done = await _treat(group)
    except ActionFailed as failure:
        return Settled(done=False, detail=str(failure))
    if unmet := await _unmet(group):
        return Settled(done=False, detail=f"{done.detail}; {'; '.join(unmet)}")
    return Settled(done=True, detail=f"the group was finished: {done.detail}", facts=done.facts)


async def _unmet(group: DependentGroup) -> list[str]:
    """Of the members those that run, and not in the network of the owner as it is now. Who ended or
    is gone since, the verification tells."""
    view, found = group.ctx.view, list[str]()
    for each in group.members:
        container = await group.seen(view.identities.heir_of(each))
        if container is None or not container.running or container.joined is None:
            continue
        owner = await group.seen(container.joined)
        if owner is None or not owner.running or owner.started_at > view.joined_at(container):
            found.append(f"{container.name} is not in the network that its owner has now")
    return found


def register_all() -> None:
    """Put restart_dependents into the registry."""
    register(Action("restart_dependents", restart_dependents, settle, touches=False))
