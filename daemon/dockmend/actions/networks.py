"""reconnect_network: a container back in its networks as it was, from the last known good endpoints.

Measured on Engine 26.1, and relied on here:
- A stopped container refers to its networks by id. When such a network is removed and made again, the start fails until
  the endpoint is replaced. A plain connect replaces it at once, and a refused one leaves the old settings in place;
  only where an engine keeps the stale endpoint is it disconnected by force first (which can lose the settings, so they
  are journalled before).
- A connect that failed on a running container leaves an endpoint without a network id in inspect: it is not connected.
- Endpoints just given to a stopped container have no network id either: they are resolved by name at start.
- A MAC address in a connect is ignored: what cannot be kept is said.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from dockmend.actions.base import Action, Context, Done, Failed, Settled, register
from dockmend.actions.containers_settle import GONE, NOT_BEGUN, look
from dockmend.actions.refusals import failed
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Container, Endpoint, Network, Object
from dockmend.rules.patterns import compile_pattern

Place = Literal["connected", "missing", "stale"]

_LOST_NETWORK = re.compile(r"network \S+ not found|could not find (?:a )?network", re.IGNORECASE)
"""State.Error of a container whose last start failed because a network of it was gone (moby's texts)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One network to put a container back into, and how it was connected."""

    name: str
    endpoint: Endpoint


async def reconnect(ctx: Context, params: Any, subject: Object) -> Done:
    """Connect a container again to what it lost: same aliases, addresses, links and driver options."""
    container = await _inspected(ctx, subject)
    lost, connected = await _losses(ctx, params, container)
    if not lost:
        return Done(f"was connected already{_to(connected)}" if connected else "it has lost no network")
    start = not container.running and bool(_LOST_NETWORK.search(container.error))
    await ctx.remember({
        "reconnect": [{"network": each.name, "endpoint": msgspec.to_builtins(each.endpoint)} for each in lost],
        "start": start,
        "started_at": container.started_at,
    })  # fmt: skip
    back = await _reconnect_all(ctx, container, lost)
    if start:
        await _start(ctx, container)
    return await _told(ctx, container, back, start)


async def _inspected(ctx: Context, subject: Object) -> Container:
    if not isinstance(subject, Container):
        raise Failed(f"reconnect_network is for containers, and {subject.name} is none", again=False)
    try:
        container = await ctx.engine.inspect(subject.id)
    except EngineError as error:
        raise failed(error, f"reconnect {subject.name}", subject) from error
    if container.joined is not None or container.network_mode == "host":
        raise Failed(
            f"cannot reconnect {container.name}: it shares the network of another container or of the host,"
            " and cannot be connected to networks of its own",
            again=False,
        )
    return container


async def _losses(ctx: Context, params: Any, container: Container) -> tuple[list[Loss], list[str]]:
    """What is to be reconnected, and the names of what is connected as it should be."""
    known = ctx.view.known_networks(container.id)
    meant = compile_pattern(params.network) if params.network else None
    names = [ctx.incident.network] if ctx.incident.network else sorted({*known, *container.networks})
    wanted = [name for name in names if meant is None or meant(name)]
    lost: list[Loss] = []
    connected: list[str] = []
    for name in wanted:
        if await _place(ctx, container, name) == "connected":
            connected.append(name)
            continue
        endpoint = _settings(container, known, name)
        if endpoint is None:
            raise Failed(
                f"cannot reconnect {container.name} to {name}: how it was connected was never seen; connect it by hand"
                f" (docker network connect {name} {container.name})",
                again=False,
            )
        lost.append(Loss(name, endpoint))
    return lost, connected


def _settings(container: Container, known: Mapping[str, Endpoint], name: str) -> Endpoint | None:
    """How it was connected. What inspect says of a stale endpoint is newer, but has no MAC once stopped."""
    live, kept = container.networks.get(name), known.get(name)
    if live is None or kept is None:
        return kept if live is None else live
    return msgspec.structs.replace(live, mac=live.mac or kept.mac) if live.network_id else kept


async def _place(ctx: Context, container: Container, name: str) -> Place:
    """Whether inspect shows the container in the network that bears this name now."""
    endpoint = container.networks.get(name)
    if endpoint is None:
        return "missing"
    if not endpoint.network_id:
        return "missing" if container.state in ("running", "paused") else "connected"
    network = await _present(ctx, name)
    return "connected" if network is not None and network.id == endpoint.network_id else "stale"


async def _present(ctx: Context, name: str) -> Network | None:
    """The network of exactly this name; None where there is none."""
    try:
        network = await ctx.engine.inspect_network(name)
    except NotFound:
        return None
    except EngineAway:
        raise
    except EngineError as error:
        raise Failed(f"cannot look at network {name}: {error}") from error
    return network if network.name == name else None  # the engine also takes the beginning of an id


async def _reconnect_all(ctx: Context, container: Container, lost: list[Loss]) -> list[str]:
    """Each of them, even where one fails; the failures then fail the action together."""
    failures: list[Failed] = []
    back: list[str] = []
    for loss in lost:
        try:
            await _reconnect(ctx, container, loss)
            back.append(loss.name)
        except Failed as failure:
            failures.append(failure)
    if failures:
        told = "; ".join(str(each) for each in failures)
        also = f"; it was reconnected{_to(back)}" if back else ""
        raise Failed(told + also, again=any(each.again for each in failures)) from failures[0]
    return back


async def _reconnect(ctx: Context, container: Container, loss: Loss) -> None:
    network = await _present(ctx, loss.name)
    if network is None:
        raise Failed(
            f"cannot reconnect {container.name} to {loss.name}: network {loss.name} does not exist; make it again"
            " (docker network create, or compose up)"
        )
    endpoint = msgspec.structs.replace(loss.endpoint, network_id=network.id)
    try:
        await ctx.engine.connect_network(network.id, container.id, endpoint)
    except EngineError as error:
        if "already exists in network" not in str(error):
            raise failed(error, f"reconnect {container.name} to {loss.name}", container) from error
    seen = await look(ctx, container.id)
    if seen is None:
        raise Failed(f"cannot reconnect {container.name} to {loss.name}: the container is gone", again=False)
    if await _place(ctx, seen, loss.name) != "connected":
        await _by_force(ctx, container, network, endpoint)


async def _by_force(ctx: Context, container: Container, network: Network, endpoint: Endpoint) -> None:
    """Remove what is left of the old endpoint and connect again; cancelled between the two, it still connects."""
    try:
        try:
            await ctx.engine.disconnect_network(network.name, container.id, force=True)
        except EngineError as error:
            if not isinstance(error, NotFound) and "is not connected" not in str(error):
                raise failed(error, f"disconnect {container.name} from {network.name}", container) from error
        await ctx.engine.connect_network(network.id, container.id, endpoint)
    except EngineError as error:
        raise failed(error, f"reconnect {container.name} to {network.name}", container) from error
    except asyncio.CancelledError:
        with suppress(EngineError):
            await ctx.engine.connect_network(network.id, container.id, endpoint)
        raise


async def _start(ctx: Context, container: Container) -> None:
    try:
        await ctx.engine.start(container.id)
    except EngineError as error:
        raise failed(error, f"start {container.name}", container) from error


async def _told(ctx: Context, container: Container, back: list[str], started: bool) -> Done:
    """The outcome, with what the engine did not take over."""
    seen = await look(ctx, container.id)
    said = [f"reconnected{_to(back)}"]
    known = ctx.view.known_networks(container.id)
    addresses: dict[str, str] = {}
    for name in back:
        endpoint = seen.networks.get(name) if seen is not None else None
        if endpoint is None:
            continue
        addresses[name] = endpoint.address or endpoint.ipv4 or ""
        wanted = known[name].mac if name in known else None
        if wanted and endpoint.address and (endpoint.mac or "").lower() != wanted.lower():
            said.append(f"the engine did not take over its MAC address {wanted} in {name}: only making it anew does")
    if started:
        said.append("started, since its last start failed for want of the network")
    elif seen is not None and not seen.running:
        said.append(f"it was left {seen.state}")
    return Done("; ".join(said), {"networks": addresses})


def _to(names: list[str]) -> str:
    return f" to {', '.join(names)}"


async def settle(ctx: Context, record: ActionRecord) -> Settled:
    """Finish what was begun with the settings that were written down."""
    recorded = record.undo.get("reconnect")
    if not recorded:
        return NOT_BEGUN
    container = await look(ctx, record.object_id)
    if container is None:
        return GONE
    lost = [Loss(str(each["network"]), msgspec.convert(each["endpoint"], Endpoint)) for each in recorded]
    try:
        open_ones = [each for each in lost if await _place(ctx, container, each.name) != "connected"]
        back = await _reconnect_all(ctx, container, open_ones)
        began_before = container.started_at <= float(record.undo.get("started_at", 0.0))
        start = bool(record.undo.get("start")) and not container.running and began_before
        if start:
            await _start(ctx, container)
    except Failed as failure:
        return Settled(done=False, detail=str(failure))
    finished = f"the reconnection was finished: {', '.join(back)}" if back else "it had been reconnected"
    return Settled(done=True, detail=f"{finished}; it was started" if start else finished)


def register_all() -> None:
    """Put the network actions into the registry."""
    register(Action("reconnect_network", reconnect, settle))
