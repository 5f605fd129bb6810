"""create_network: a network of a rule's own, or one that went, made again as it last was with its
containers in it.

Measured on Engine 26.1, and relied on here:
- The engine makes one network of a name, whoever asks at the same time: the others get 409.
- A subnet that the engine had handed out is asked for again, so that addresses stay what they were.
- A network that follows a configuration network takes nothing else: the rest of it is in that one.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from dockmend import redaction
from dockmend.actions.action import NOT_BEGUN, ActionContext, ActionFailed, ActionResult, Settled
from dockmend.actions.containers_recovery import look
from dockmend.actions.endpoints import join, lost_for_good, place, present
from dockmend.actions.engine_refusals import failed, network_refused
from dockmend.bounds import is_cut
from dockmend.errors import EngineAway, EngineError
from dockmend.journal.records import ActionRecord
from dockmend.model import Container, Endpoint, Network, Object, Subnet

Member = tuple[Container, Endpoint]


async def make(ctx: ActionContext, definition: Network) -> Network:
    """The network of this name: made, or by now there. Raises ActionFailed."""
    name = definition.name
    if is_cut(name):
        raise ActionFailed(
            f"network {name[:20]}… has a name that is too long to be kept whole: make it by hand",
            again=False,
        )
    try:
        await ctx.engine.create_network(definition)
    except EngineError as error:
        if "already exists" not in str(error):
            raise await _refused(ctx, error, definition) from error
    network = await present(ctx, name)
    if network is None:
        raise ActionFailed(f"network {name} was made and is gone again")
    return network


async def _refused(ctx: ActionContext, error: EngineError, definition: Network) -> ActionFailed:
    """The engine's refusal to make a network, and which other network has its addresses."""
    failure = network_refused(error, f"create network {definition.name}")
    if "pool overlaps" not in str(error).lower():
        return failure
    try:
        others = await ctx.engine.networks()
    except EngineError:
        return failure
    mine = [each for each in map(_range, definition.subnets) if each is not None]
    taken = [
        f"network {other.name} has {theirs.subnet}"
        for other in others if not other.config_only
        for theirs in other.subnets
        if any(_overlap(each, _range(theirs)) for each in mine)
    ]  # fmt: skip
    return ActionFailed(f"{failure}: {'; '.join(taken)}", failure.again) if taken else failure


def _range(subnet: Subnet) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(subnet.subnet, strict=False)
    except ValueError:
        return None


def _overlap(one: Any, other: Any) -> bool:
    return other is not None and one.version == other.version and bool(one.overlaps(other))


async def create(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Make a network as the rule says; without a name, the one that went, and put its containers
    back into it."""
    again = params.name is None
    definition = gone(ctx, subject) if again else _said(ctx, params)
    members = ctx.view.members(definition.name) if again else []
    standing = await present(ctx, definition.name)
    if standing is not None and not again:
        return _as_it_is(standing, definition)
    if (
        again
        and standing is None
        and not members
        and "com.docker.compose.project" in definition.labels
    ):
        return ActionResult(
            "not made again: its Compose project is down, and `compose up` makes it itself"
        )
    await ctx.remember({"create": redaction.parameters(msgspec.to_builtins(definition))})
    told = (
        f"network {definition.name} "
        f"{'exists again' if standing else 'was made again' if again else 'was made'}"
    )
    network = standing or await make(ctx, definition)
    back, left = await _put_back(ctx, network, members, told)
    return ActionResult(
        "; ".join([told, *_told(back, left)]), {"network": network.id, **_facts(back, network)}
    )


def gone(ctx: ActionContext, subject: Object) -> Network:
    """The last known definition of the network that is missing; raises ActionFailed."""
    if not isinstance(subject, Network):
        raise ActionFailed(
            f"create_network without a name makes a network again, and {subject.name} is none",
            again=False,
        )
    return known(ctx, subject.name)


def known(ctx: ActionContext, name: str) -> Network:
    """The last known definition of a network by its name; raises ActionFailed where it was never
    seen."""
    definition = ctx.view.network_definition(name)
    if definition is None:
        raise ActionFailed(
            f"cannot make network {name} again: how it was made was never seen; make it by hand",
            again=False,
        )
    return definition


def _said(ctx: ActionContext, params: Any) -> Network:
    return Network(
        id="", name=ctx.render(params.name), driver=params.driver,
        labels={key: ctx.render(value) for key, value in params.labels.items()},
        options=dict(params.options), subnets=tuple(Subnet(each) for each in params.subnet),
        internal=params.internal, attachable=params.attachable, ipv6=params.ipv6,
    )  # fmt: skip


def _as_it_is(standing: Network, wanted: Network) -> ActionResult:
    """A network of this name exists. Leave it alone, but report where it differs from the rule."""
    if standing.driver != wanted.driver:
        raise ActionFailed(
            f"network {standing.name} exists already, with the driver {standing.driver} and not "
            f"{wanted.driver}: remove it, or name another",
            again=False,
        )
    ranges = {each.subnet for each in standing.subnets}
    other = sorted({each.subnet for each in wanted.subnets} - ranges)
    note = f", without the subnet {', '.join(other)}" if other else ""
    return ActionResult(f"network {standing.name} exists already{note}", {"network": standing.id})


def _facts(back: list[Container], network: Network) -> dict[str, dict[str, list[str]]]:
    return {"reconnected": {one.id: [network.name] for one in back}}


async def _put_back(
    ctx: ActionContext, network: Network, members: list[Member], done: str
) -> tuple[list[Container], list[str]]:
    """The containers that were in it, as they were connected; what a rule may not touch is left,
    and said.

    `done`: what was done before, for the text of a failure.
    """
    back: list[Container] = []
    left: list[str] = []
    failures: list[ActionFailed] = []
    for container, endpoint in members:
        if forbidden := ctx.forbids(container) if ctx.forbids else None:
            left.append(f"{container.name} was left out ({forbidden})")
            continue
        try:
            if await _one_back(ctx, network, container, endpoint):
                back.append(container)
        except ActionFailed as failure:
            failures.append(failure)
    if failures:
        told = "; ".join([done, *_told(back, left), *map(str, failures)])
        raise ActionFailed(told, again=any(each.again for each in failures)) from failures[0]
    return back, left


async def _one_back(
    ctx: ActionContext, network: Network, container: Container, endpoint: Endpoint
) -> bool:
    seen = await look(ctx, container.id)
    if seen is None or seen.state in ("removing", "dead"):
        return False
    if await place(ctx, seen, network.name) == "connected":
        return False
    await join(ctx, seen, network, endpoint, f"reconnect {seen.name} to {network.name}")
    if lost_for_good(seen):
        try:
            await ctx.engine.start(seen.id)
        except EngineError as error:
            raise failed(error, f"start {seen.name}", seen) from error
    return True


def _told(back: list[Container], left: list[str]) -> list[str]:
    return [
        *([f"{', '.join(sorted(each.name for each in back))} reconnected"] if back else []),
        *left,
    ]


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Finish what was begun: the network as it was written down, and those that were in it."""
    remembered = record.undo.get("create")
    if not remembered:
        return NOT_BEGUN
    definition = msgspec.convert(remembered, Network)
    again = record.params.get("name") is None
    if again:
        definition = ctx.view.network_definition(definition.name) or definition
    try:
        network = await present(ctx, definition.name)
        said = (*definition.labels.values(), *definition.options.values())
        if network is None and any(redaction.MARK in each for each in said):
            # What is written down lacks a secret: it is made by the step itself, which has it.
            return Settled(done=False, detail=f"network {definition.name} had not been made")
        told = f"network {definition.name} {'had been made' if network else 'was made'}"
        network = network or await make(ctx, definition)
        back, left = await _put_back(
            ctx, network, ctx.view.members(definition.name) if again else [], told
        )
    except EngineAway:
        raise
    except ActionFailed as failure:
        return Settled(done=False, detail=str(failure))
    return Settled(
        done=True, detail="; ".join([told, *_told(back, left)]), facts=_facts(back, network)
    )
