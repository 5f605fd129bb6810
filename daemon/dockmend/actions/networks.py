"""The network actions: a container back in its networks as it was, into another one, or out of one.

`reconnect_network` connects with the endpoint settings that the container had when it was last
well. The engine ignores a MAC address in a connect: the result names what it did not take over.
How a connect behaves is described in endpoints.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dockmend.actions import create_network as making
from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Settled,
    register,
)
from dockmend.actions.containers_recovery import GONE, look
from dockmend.actions.endpoints import clear, inspected, join, leave, lost_for_good, place, present
from dockmend.actions.engine_refusals import failed
from dockmend.errors import EngineError
from dockmend.journal.records import ActionRecord
from dockmend.model import Container, Endpoint, Network, Object
from dockmend.rules.patterns import compile_pattern


@dataclass(frozen=True, slots=True)
class Loss:
    """One network to put a container back into, and how it was connected. `definition`: where it
    may be made again."""

    name: str
    endpoint: Endpoint
    definition: Network | None = None


async def reconnect(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Connect a container again to what it lost: same aliases, addresses, links and driver
    options."""
    container = await inspected(ctx, "reconnect_network", "reconnect", subject)
    start = lost_for_good(container)
    lost, connected = await _losses(ctx, params, container, everything=start)
    if not lost and not start:
        return ActionResult(_already(connected) if connected else "it has lost no network")
    await ctx.remember({
        "reconnect": [
            {
                "network": each.name, "endpoint": msgspec.to_builtins(each.endpoint),
                "definition": msgspec.to_builtins(each.definition),
            }
            for each in lost
        ],
        "start": start,
        "started_at": container.started_at,
    })  # fmt: skip
    back = await _reconnect_all(ctx, container, lost)
    if start:
        await _start(ctx, container)
    connected = [each.name for each in lost if each.name not in back]
    return await _told(
        ctx, container, [each for each in lost if each.name in back], connected, start
    )


async def _losses(
    ctx: ActionContext, params: Any, container: Container, *, everything: bool
) -> tuple[list[Loss], list[str]]:
    """What is to be reconnected, and the names of what is connected as it should be.

    `everything`: not only the incident's network, since its start fails for any of them.
    """
    known = ctx.view.known_networks(container.id)
    meant = compile_pattern(params.network) if params.network else None
    one = ctx.incident.network if not everything else None
    names = [one] if one else sorted({*known, *container.networks})
    wanted = [name for name in names if meant is None or meant(name)]
    lost: list[Loss] = []
    connected: list[str] = []
    for name in wanted:
        if await place(ctx, container, name) == "connected":
            connected.append(name)
            continue
        endpoint = _settings(container, known, name)
        if endpoint is None:
            raise ActionFailed(
                f"cannot reconnect {container.name} to {name}: how it was connected was never "
                f"seen; connect it by hand (docker network connect {name} {container.name})",
                again=False,
            )
        definition = ctx.view.network_definition(name) if params.create else None
        lost.append(Loss(name, endpoint, definition))
    return lost, connected


def _settings(container: Container, known: Mapping[str, Endpoint], name: str) -> Endpoint | None:
    """How it was connected. What inspect says of a stale endpoint is newer, but may not tell its
    MAC once stopped."""
    live, kept = container.networks.get(name), known.get(name)
    if live is None or kept is None:
        return kept if live is None else live
    return msgspec.structs.replace(live, mac=live.mac or kept.mac) if live.network_id else kept


async def _reconnect_all(ctx: ActionContext, container: Container, lost: list[Loss]) -> list[str]:
    """Each of them, even where one fails; the failures then fail the action together. The names of
    those that it put back, and that nobody else had by then."""
    failures: list[ActionFailed] = []
    back: list[str] = []
    for loss in lost:
        try:
            if await _reconnect(ctx, container, loss):
                back.append(loss.name)
        except ActionFailed as failure:
            failures.append(failure)
    if failures:
        told = "; ".join(str(each) for each in failures)
        also = f"; it was reconnected{_to(back)}" if back else ""
        raise ActionFailed(told + also, again=any(each.again for each in failures)) from failures[0]
    return back


async def _reconnect(ctx: ActionContext, container: Container, loss: Loss) -> bool:
    """False where somebody else was faster."""
    network = await present(ctx, loss.name)
    if network is None and loss.definition is not None:
        network = await making.make(ctx, loss.definition)
    if network is None:
        raise ActionFailed(
            f"cannot reconnect {container.name} to {loss.name}: network {loss.name} does not "
            "exist; make it again (docker network create, or compose up), or let the rule do so "
            "(reconnect_network: {create: true})"
        )
    return await join(
        ctx, container, network, loss.endpoint, f"reconnect {container.name} to {loss.name}"
    )


async def _start(ctx: ActionContext, container: Container) -> None:
    try:
        await ctx.engine.start(container.id)
    except EngineError as error:
        raise failed(error, f"start {container.name}", container) from error


async def _told(
    ctx: ActionContext, container: Container, back: list[Loss], connected: list[str], started: bool
) -> ActionResult:
    """The outcome, with what the engine did not take over. `connected`: what somebody else put
    back."""
    seen = await look(ctx, container.id)
    said = [f"reconnected{_to([each.name for each in back])}"] if back else []
    if connected:
        said.append(_already(connected))
    for each in back:
        endpoint = seen.networks.get(each.name) if seen is not None else None
        wanted = each.endpoint.mac
        if (
            endpoint is not None
            and wanted
            and endpoint.mac_in_use
            and endpoint.mac_in_use.lower() != wanted.lower()
        ):
            said.append(
                f"the engine did not take over its MAC address {wanted} in {each.name}: only "
                "making it anew does"
            )
    if started:
        said.append("started, since its last start failed for want of the network")
    elif seen is not None and not seen.running:
        said.append(f"it was left {seen.state}")
    # Also one that it is not in now: a person took it out of that one again, before this look.
    return ActionResult(
        "; ".join(said), {"reconnected": {container.id: [each.name for each in back]}}
    )


def _already(connected: list[str]) -> str:
    return f"was connected already{_to(connected)}"


def _to(names: list[str]) -> str:
    return f" to {', '.join(names)}"


async def settle_reconnect(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Finish what was begun with the settings that were written down."""
    recorded = record.undo.get("reconnect")
    if recorded is None:
        return NOT_BEGUN
    container = await look(ctx, record.object_id)
    if container is None:
        return GONE
    lost = [
        Loss(
            str(each["network"]),
            msgspec.convert(each["endpoint"], Endpoint),
            msgspec.convert(each.get("definition"), Network | None),
        )
        for each in recorded
    ]
    try:
        open_ones = [each for each in lost if await place(ctx, container, each.name) != "connected"]
        back = await _reconnect_all(ctx, container, open_ones)
        began_before = container.started_at <= float(record.undo.get("started_at", 0.0))
        start = bool(record.undo.get("start")) and not container.running and began_before
        if start:
            await _start(ctx, container)
    except ActionFailed as failure:
        return Settled(done=False, detail=str(failure))
    finished = (
        f"the reconnection was finished: {', '.join(back)}" if back else "it had been reconnected"
    )
    facts = {"reconnected": {container.id: back}}  # the others may have been put back by a person
    return Settled(
        done=True, detail=f"{finished}; it was started" if start else finished, facts=facts
    )


# ----------------------------------------------------------------------------- into one, out of one
async def connect(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Connect a container to a network as the rule says; what is in it already stays as it is."""
    name = ctx.render(params.network)
    container = await inspected(ctx, "connect_network", "connect", subject)
    network = await present(ctx, name)
    if network is None:
        raise ActionFailed(
            f"cannot connect {container.name} to {name}: network {name} does not exist"
        )
    if await place(ctx, container, name) == "connected":
        return ActionResult(f"was connected already to {name}")
    aliases = tuple(ctx.render(each) for each in params.aliases)
    endpoint = Endpoint(network_id=network.id, aliases=aliases, ipv4=params.ipv4, ipv6=params.ipv6)
    await ctx.remember({"connect": name})
    await join(ctx, container, network, endpoint, f"connect {container.name} to {name}")
    return ActionResult(f"connected to {name}")


async def settle_connect(ctx: ActionContext, record: ActionRecord) -> Settled:
    """One call, that went through or did not. What a refused one left behind is cleared away."""
    name = record.undo.get("connect")
    if not name:
        return NOT_BEGUN
    container = await look(ctx, record.object_id)
    if container is None:
        return GONE
    if await place(ctx, container, str(name)) == "connected":
        return Settled(done=True, detail=f"it had been connected to {name}")
    if container.running:
        await clear(ctx, container.id, str(name))
    return Settled(done=False, detail=f"it was not connected to {name} yet")


async def disconnect(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Take a container out of a network, on purpose: dockmend reports no loss, and no rule puts the
    container back."""
    name = ctx.render(params.network)
    container = await inspected(ctx, "disconnect_network", "disconnect", subject)
    if name not in container.networks:
        return ActionResult(f"was not connected to {name}")
    await ctx.remember({"disconnect": name})
    # A network that is gone, and one that was made again, are left by force only, and by the
    # network's name.
    await leave(ctx, container, name, force=params.force or not container.running)
    seen = await look(ctx, container.id)
    if seen is not None and name in seen.networks:
        raise ActionFailed(
            f"cannot disconnect {container.name} from {name}: the engine still shows it connected"
        )
    return ActionResult(f"disconnected from {name}")


async def settle_disconnect(ctx: ActionContext, record: ActionRecord) -> Settled:
    """One call, that went through or did not."""
    name = record.undo.get("disconnect")
    if not name:
        return NOT_BEGUN
    container = await look(ctx, record.object_id)
    if container is None:
        return GONE
    if name in container.networks:
        return Settled(done=False, detail=f"it was not disconnected from {name} yet")
    return Settled(done=True, detail=f"it had been disconnected from {name}")


def register_all() -> None:
    """Put the network actions into the registry."""
    register(Action("reconnect_network", reconnect, settle_reconnect))
    register(Action("connect_network", connect, settle_connect))
    register(Action("disconnect_network", disconnect, settle_disconnect))
    register(Action("create_network", making.create, making.settle))
