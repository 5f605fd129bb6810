"""Recreate: the container is made anew from its own definition, from the same image or another.

Whatever can be asked is asked before anything is touched: whether it may be done at all, and from
which image. The exchange itself, which a death at any instant must not harm, is in
container_swap.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
from dockmend.actions.container_swap import ContainerSwap, settle_exchange
from dockmend.actions.containers import expect_container
from dockmend.actions.definition import Definition, References, define, image_reference, none_known
from dockmend.actions.definition_references import resolve
from dockmend.actions.engine_refusals import failed
from dockmend.decide import a_task_of
from dockmend.engine.engine_queries import short
from dockmend.engine.wire_networks import endpoint_config
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import ASKED, Object

SAME, NEWEST = "same", "newest"
DOWN = frozenset({
    "container.unhealthy", "container.crashed", "container.oom_killed", "container.left_down",
    "container.exited", "container.orphaned", ASKED,
})  # fmt: skip
"""Troubles that may have left a container down, and a person's wish: to heal it is to have it
run."""


@dataclass(frozen=True, slots=True)
class RecreateSource:
    """The image to make it from: how it is named to the engine, its id, and a word about it for a
    person."""

    reference: str
    id: str
    said: str


@dataclass(frozen=True, slots=True)
class Anew:
    """The parameters for a member of a group, which is to run."""

    image: str = SAME
    start: bool = True


async def recreate(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Make a container anew; the old one is kept until the new one has proven well, else it is put
    back."""
    image = ctx.render(getattr(params, "image", SAME))
    return await make_anew(
        ctx, expect_container(subject, "recreate"), image, start=getattr(params, "start", None)
    )


async def make_anew(
    ctx: ActionContext,
    container: Container,
    image: str = SAME,
    key: str = "recreate",
    start: bool | None = None,
) -> ActionResult:
    """`image`: "same", "newest" (of the local ones under its reference) or a reference. `key`:
    under which its undo is remembered, for an action that makes several anew. `start`: whether the
    new one is to run; None: where the old one does, or is down by the very trouble that this is the
    remedy for.

    Raises ActionFailed: refused, or failed and the old one was put back (or not: the sentence says
    so).
    """
    what = f"recreate {container.name}"
    _refuse(what, container)
    run = _is_to_run(ctx, container) if start is None else start
    try:
        raw = await ctx.engine.inspect_raw(container.id)
        of_old = await _image(ctx, str(raw.get("Image")))
        source = await _source(
            ctx, what, image_reference(raw, of_old), str(raw.get("Image")), image
        )
        references = await resolve(ctx, what, raw, start=run)
    except EngineError as error:
        raise failed(error, what, container) from error
    owner_labels = _owner_labels(ctx, what, raw) if of_old is None else ()
    definition = _definition(ctx, raw, of_old, source, references, owner_labels)
    done = await ContainerSwap(ctx, key, container, definition, source.id, run).carry_out()
    said = [f"recreated from {source.said}", done.detail, definition.losses]
    return ActionResult("; ".join(each for each in said if each), done.facts)


def _is_to_run(ctx: ActionContext, container: Container) -> bool:
    if container.running:
        return True
    incident = ctx.incident
    its_own = (
        container.started_at > 0
        and incident.object_id == container.id
        and incident.trigger in DOWN
        and incident.cause != "stopped"
    )
    return its_own and not ctx.view.stopped(container.id)


def _refuse(what: str, container: Container) -> None:
    if container.auto_remove:
        raise ActionFailed(
            f"cannot {what}: it was started with --rm, so the engine removes it once it is stopped "
            "and there would be nothing to put back",
            again=False,
        )
    if container.swarm_service is not None:
        raise ActionFailed(f"cannot {what}: {a_task_of(container)}", again=False)
    if container.state in ("removing", "dead"):
        raise ActionFailed(
            f"cannot {what}: it is being removed (its state is {container.state})", again=False
        )


async def _source(
    ctx: ActionContext, what: str, reference: str, mine: str, image: str
) -> RecreateSource:
    """Local images only: pulling is an action of its own. `reference`: as it was written; `mine`:
    the id it has."""
    named = await _image(ctx, reference) if reference else None
    if image == SAME:
        if await _image(ctx, mine) is None:
            raise ActionFailed(
                f"cannot {what}: its image {short(mine)} is gone; name another", again=False
            )
        if named is not None and named.get("Id") == mine:
            return RecreateSource(reference, mine, f"the same image {reference}")
        return RecreateSource(
            mine, mine, f"the same image {short(mine)}, which {reference} does not name any more"
        )
    if image != NEWEST:
        reference, named = image, await _image(ctx, image)
    elif reference.startswith("sha256:"):
        raise ActionFailed(
            f"cannot {what}: it was made from an image named by its id, and of that there is no "
            "newer one",
            again=False,
        )
    if named is None:
        raise ActionFailed(
            f"cannot {what}: there is no image {reference} on this host; pull it first", again=False
        )
    found = str(named.get("Id"))
    unchanged = ", which is the one it had" if found == mine else ""
    return RecreateSource(reference, found, f"image {reference} ({short(found)}){unchanged}")


async def _image(ctx: ActionContext, reference: str) -> dict[str, Any] | None:
    try:
        return await ctx.engine.inspect_image_raw(reference)
    except NotFound:
        return None


def _definition(
    ctx: ActionContext,
    raw: Mapping[str, Any],
    of_old: dict[str, Any] | None,
    source: RecreateSource,
    references: References,
    owner_labels: Collection[str],
) -> Definition:
    another = source.id if source.id != raw.get("Image") else None
    return define(
        raw, of_old, reference=source.reference, new_image_id=another, references=references,
        networks=_lost_network(ctx, str(raw.get("Id"))), macs=known_macs(ctx, str(raw.get("Id"))),
        owner_labels=owner_labels,
    )  # fmt: skip


def _owner_labels(ctx: ActionContext, what: str, raw: Mapping[str, Any]) -> Collection[str]:
    """The keys of the labels that the container's owner set, if its image cannot be inspected any
    more: as it was judged while the image was there. Raises ActionFailed if it never was."""
    known = ctx.view.container(str(raw.get("Id")))
    if known is not None and not known.image_unknown:
        return known.labels
    return none_known(what, raw)


def known_macs(ctx: ActionContext, container: str) -> dict[str, str]:
    """What the mirror knows of the configured MAC addresses, by network; "" if none was
    configured."""
    known = ctx.view.known_networks(container)
    return {name: each.mac for name, each in known.items() if each.mac is not None}


def _lost_network(ctx: ActionContext, container: str) -> dict[str, dict[str, Any]]:
    """The network whose loss this is the remedy for, as it was connected; what else it left, it
    left for good."""
    known = ctx.view.known_networks(container)
    name = ctx.incident.network
    return {name: endpoint_config(known[name])} if name is not None and name in known else {}


async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """One survivor, whatever instant dockmend died at."""
    undo = record.undo.get("recreate")
    return await settle_exchange(ctx, undo, "recreate") if undo else NOT_BEGUN


def register_all() -> None:
    """Put recreate into the registry."""
    register(Action("recreate", recreate, settle))
