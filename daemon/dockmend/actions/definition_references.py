"""What a definition refers to: every container that it names is resolved and asked for, before
anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dockmend.actions.action import ActionContext, ActionFailed, Container
from dockmend.actions.definition import JOINING, References, link_parts, volume_sources
from dockmend.errors import NotFound
from dockmend.mirror.identities import is_id, short

SHARED = {"NetworkMode": "network", "PidMode": "process namespace", "IpcMode": "IPC namespace"}


def joined(container: Container) -> Iterator[tuple[str, str]]:
    """The containers that its definition names as owners of its namespaces, each with what it
    shares of them."""
    modes = {
        "NetworkMode": container.network_mode,
        "PidMode": container.pid_mode,
        "IpcMode": container.ipc_mode,
    }
    for key, mode in modes.items():
        if mode.startswith("container:"):
            yield mode.removeprefix("container:"), SHARED[key]


async def resolved(ctx: ActionContext, reference: str) -> Container | None:
    """Who is meant by a reference, as the engine has it now; None where nobody that is there is."""
    for candidate in ctx.view.resolver.candidates(reference):
        try:
            return await ctx.engine.inspect(candidate)
        except NotFound:
            continue
    return None


async def resolve(
    ctx: ActionContext, what: str, raw: Mapping[str, Any], *, start: bool
) -> References:
    """What the definition in an inspect answer is to name. `start`: it is to run, so what it joins
    or links to must.

    Raises ActionFailed where the engine would refuse to make or to start it.
    """
    host = raw.get("HostConfig") or {}
    renamed: dict[str, str] = {}
    for key in JOINING:
        mode = str(host.get(key) or "")
        if mode.startswith("container:"):
            reference = mode.removeprefix("container:")
            found = await _needed(
                ctx, what, reference, f"the container whose {SHARED[key]} it shares", start=start
            )
            renamed[reference] = found.id if is_id(reference) else found.name
    for name in (link_parts(str(each))[0] for each in host.get("Links") or ()):
        renamed[name] = (
            await _needed(ctx, what, name, "a container that it is linked to", start=start)
        ).name
    gone = []
    for reference in volume_sources(raw):
        source = await resolved(ctx, reference)
        if source is None:
            gone.append(reference)
        else:
            renamed[reference] = source.id if is_id(reference) else source.name
    return References(renamed, gone)


async def _needed(
    ctx: ActionContext, what: str, reference: str, role: str, *, start: bool
) -> Container:
    found = await resolved(ctx, reference)
    if found is None:
        known = bool(ctx.view.identities.keys(reference)) or not is_id(reference)
        remedy = (
            "make that one again first"
            if known
            else "nothing tells what took its place: make this one again by hand"
        )
        raise ActionFailed(
            f"cannot {what}: {role}, {_called(ctx, reference)}, is gone; {remedy}", again=known
        )
    # from now on nobody need guess it by a name again
    if is_id(reference) and found.id != reference:
        ctx.view.identities.stands_in(reference, found.id)
    if start and not found.running:
        raise ActionFailed(
            f"cannot {what}: {role}, {found.name}, does not run; start that one first"
        )
    return found


def _called(ctx: ActionContext, reference: str) -> str:
    known = ctx.view.identities
    keys = known.keys(reference)
    return known.name_for(keys[0]) if keys else short(reference)
