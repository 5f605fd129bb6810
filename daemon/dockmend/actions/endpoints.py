"""Endpoints: in which networks a container is, how it gets (back) into one, and how it is taken
out.

Measured on Engine 26.1, and relied on here:
- A stopped container refers to its networks by id. If such a network is removed and made again,
  the start fails until the endpoint is replaced. A plain connect replaces it at once, and a
  refused connect leaves the old settings. Only if an engine keeps the stale endpoint is it
  disconnected by force first. That can lose the settings, so they are journalled before.
- A connect that fails on a running container ("Address already in use") leaves an endpoint
  without a network id in inspect: it is not connected, a disconnect does not remove it, and the
  container's next start fails because of it. So dockmend first asks who has the address. If such
  an endpoint is left all the same, a connect without an address and a disconnect remove it.
- Endpoints that were just given to a stopped container have no network id either: the start
  resolves them by name.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Literal

import msgspec

from dockmend.actions.action import ActionContext, ActionFailed
from dockmend.actions.containers_recovery import look
from dockmend.actions.engine_refusals import failed
from dockmend.errors import EngineAway, EngineError, NotFound, own_words
from dockmend.model import Container, Endpoint, Network, Object

Place = Literal["connected", "missing", "stale"]

LOST_NETWORK = re.compile(r"network \S+ not found|could not find (?:a )?network", re.IGNORECASE)
"""State.Error of a container whose last start failed because a network of it was gone (moby's
texts)."""


async def inspected(ctx: ActionContext, action: str, what: str, subject: Object) -> Container:
    """The container as it is; raises ActionFailed where it cannot be in networks of its own.
    `what`: "reconnect"."""
    if not isinstance(subject, Container):
        raise ActionFailed(f"{action} is for containers, and {subject.name} is none", again=False)
    try:
        container = await ctx.engine.inspect(subject.id)
    except EngineError as error:
        raise failed(error, f"{what} {subject.name}", subject) from error
    if container.joined is not None or container.network_mode == "host":
        raise ActionFailed(
            f"cannot {what} {container.name}: it shares the network of another container or of the "
            "host, and cannot be connected to networks of its own",
            again=False,
        )
    return container


def lost_for_good(container: Container) -> bool:
    """True where it is down since its last start failed for want of a network."""
    return not container.running and bool(LOST_NETWORK.search(own_words(container.error)))


async def place(ctx: ActionContext, container: Container, name: str) -> Place:
    """Whether inspect shows the container in the network that bears this name now."""
    endpoint = container.networks.get(name)
    if endpoint is None:
        return "missing"
    if not endpoint.network_id:
        return "missing" if container.state in ("running", "paused") else "connected"
    network = await present(ctx, name)
    return "connected" if network is not None and network.id == endpoint.network_id else "stale"


async def present(ctx: ActionContext, name: str) -> Network | None:
    """The network of exactly this name; None where there is none."""
    try:
        network = await ctx.engine.inspect_network(name)
    except NotFound:
        return None
    except EngineAway:
        raise
    except EngineError as error:
        raise ActionFailed(f"cannot look at network {name}: {error}") from error
    return network if network.name == name else None  # it may be another one's id


async def join(
    ctx: ActionContext, container: Container, network: Network, endpoint: Endpoint, what: str
) -> bool:
    """Connect it exactly so, and make sure that it is; False where it was already. `what`:
    "reconnect web to lane"."""
    endpoint = msgspec.structs.replace(endpoint, network_id=network.id)
    fixed = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
    if (
        container.running
        and fixed
        and (failure := await _taken(ctx, container, network, fixed, what))
    ):
        raise failure
    mine = True
    try:
        await ctx.engine.connect_network(network.id, container.id, endpoint)
    except EngineError as error:
        mine = False
        if "already exists in network" not in str(error):
            if container.running and not isinstance(error, EngineAway):
                await clear(ctx, container.id, network.name)
            raise _refused(error, container, network, fixed, what) from error
    seen = await look(ctx, container.id)
    if seen is None:
        raise ActionFailed(f"cannot {what}: the container is gone", again=False)
    if mine and network.name not in seen.networks:
        return True  # somebody disconnected it since: that is their will
    if await place(ctx, seen, network.name) != "connected":
        await _by_force(ctx, container, network, endpoint, what)
        mine = True
    return mine


async def clear(ctx: ActionContext, container: str, name: str) -> None:
    """Remove from a running container what a refused connect left behind. One that does not run
    keeps its settings."""
    with suppress(EngineError):
        raw = (await ctx.engine.inspect_raw(container)).get("NetworkSettings") or {}
        left = (raw.get("Networks") or {}).get(name)
        if left is not None and not left.get("NetworkID"):
            await ctx.engine.connect_network(name, container, Endpoint(network_id=""))
            await ctx.engine.disconnect_network(name, container)


async def _taken(
    ctx: ActionContext, container: Container, network: Network, fixed: list[str], what: str
) -> ActionFailed | None:
    """Why a fixed address cannot be had, as far as the network tells: it is the gateway's, or
    somebody's."""
    if gateway := next((each.gateway for each in network.subnets if each.gateway in fixed), ""):
        return ActionFailed(
            f"cannot {what}: its fixed address {gateway} is the network's gateway", again=False
        )
    try:
        holders = await ctx.engine.addresses(network.id)
    except EngineAway:
        raise
    except EngineError:
        return None  # the engine will say
    others = {address: name for address, name in holders.items() if name != container.name}
    taken = [f"{address} is taken by {others[address]}" for address in fixed if address in others]
    return ActionFailed(f"cannot {what}: its fixed address {'; '.join(taken)}") if taken else None


def _refused(
    error: EngineError, container: Container, network: Network, fixed: list[str], what: str
) -> ActionFailed:
    """The engine's refusal of a connect, with what it does not say: which address, which subnets
    there are."""
    failure = failed(error, what, container)
    said = str(error).lower()
    if fixed and ("no configured subnet" in said or "user configured subnets" in said):
        subnets = ", ".join(each.subnet for each in network.subnets) or "none"
        told = (
            f"{failure}; its fixed address: {', '.join(fixed)}; {network.name}'s subnets: {subnets}"
        )
        return ActionFailed(told, failure.again)
    return failure


async def _by_force(
    ctx: ActionContext, container: Container, network: Network, endpoint: Endpoint, what: str
) -> None:
    """Remove what is left of the old endpoint and connect again; cancelled between the two, it
    still connects."""
    try:
        await leave(ctx, container, network.name, force=True)
        await ctx.engine.connect_network(network.id, container.id, endpoint)
    except EngineError as error:
        raise failed(error, what, container) from error
    except asyncio.CancelledError:
        with suppress(EngineError):
            await ctx.engine.connect_network(network.id, container.id, endpoint)
        raise


async def leave(ctx: ActionContext, container: Container, name: str, *, force: bool) -> None:
    """Disconnect it; nothing where it is not connected."""
    try:
        await ctx.engine.disconnect_network(name, container.id, force=force)
    except EngineError as error:
        if not isinstance(error, NotFound) and "is not connected" not in str(error):
            raise failed(error, f"disconnect {container.name} from {name}", container) from error
