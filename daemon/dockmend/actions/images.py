"""commit_image: what a container is at this moment, kept as an image that says which rule and
incident made it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dockmend.actions import image_references, image_retention
from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Container,
    Image,
    Settled,
    register,
)
from dockmend.actions.containers_recovery import GONE, POLL, look
from dockmend.actions.engine_refusals import failed
from dockmend.actions.image_retention import RULE, SOURCE, holder, made
from dockmend.errors import EngineError, NotFound, Temporary
from dockmend.journal.records import ActionRecord
from dockmend.label_owner import COMPOSE, SWARM
from dockmend.model import Object
from dockmend.owned import COMMITTED_AT, INCIDENT, REFERENCE

COMMIT_GOES_ON = 10.0
"""Seconds after its beginning for which the engine may still be at a commit whose client is
gone."""
FREEZE_GOES_ON = 30.0
"""The same where the container is frozen, which shows that it is: 30 s is a layer of about 10
GB."""
ENDS_SOON = 3.0
"""Seconds for which it is looked for at least: an engine that stood still goes on with the commit
as it comes back."""
LONGEST_TEXT = 1000

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


async def commit(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Commit a container, running or not, under a reference that is free or already this rule's for
    this container."""
    if not isinstance(subject, Container):
        raise ActionFailed(
            f"commit_image is for containers, and {subject.name} is none", again=False
        )
    repository, tag = _reference(ctx, params, subject)
    changes = _changes(ctx, params, subject)
    try:
        container = await ctx.engine.inspect(subject.id)  # a step before may have paused it
        if container.state in ("removing", "dead"):
            raise ActionFailed(f"cannot commit {subject.name}: it is being removed", again=False)
        reference = await _claimed(ctx, repository, tag, container)
        try:
            return await _commit(ctx, params, container, reference, changes)
        finally:
            ctx.claims.discard(reference)
    except EngineError as error:
        raise failed(error, f"commit {subject.name}", subject) from error


async def _commit(
    ctx: ActionContext, params: Any, container: Container, reference: str, changes: list[str]
) -> ActionResult:
    at, (repository, _, tag) = _stamp(ctx.clock()), reference.rpartition(":")
    row = await ctx.own.claim("image", reference, ctx.incident.id, "image", mark=at)
    await ctx.remember({
        "commit": {
            "container": container.id,
            "reference": reference,
            "committed_at": at,
            "paused_by_engine": params.pause and container.state == "running",
        }
    })  # fmt: skip
    try:
        image = await ctx.engine.commit(
            container.id,
            repository,
            tag,
            message=_line(ctx.render(params.message or "")),
            author=_line(ctx.render(params.author or "")),
            changes=changes,
            pause=params.pause,
            labels=_labels(ctx, container, reference, at),
        )
    except EngineError as error:
        if not error.unanswered:  # the engine said that it made none
            ctx.own.forget(row)
        raise
    ctx.own.identified(row, image)
    told = await _kept(ctx, container.name, reference, image, params.keep)
    return ActionResult(
        "; ".join([f"committed as {reference}", *told]), {"image": image, "reference": reference}
    )


async def _kept(
    ctx: ActionContext, source: str, reference: str, image: str, keep: int | None
) -> list[str]:
    """What there is to say of the images that a new one takes the place of."""
    told = await image_retention.leave_one_of(ctx.own, ctx.incident.id, reference, image)
    if keep:
        repository = reference.rpartition(":")[0]
        told += await image_retention.prune(
            ctx.own, ctx.incident.rule, source, repository, keep, image
        )
    return told


def _reference(ctx: ActionContext, params: Any, container: Container) -> tuple[str, str]:
    try:
        return image_references.repository(ctx.render(params.repository)), image_references.tag(
            ctx.render(params.tag)
        )
    except ValueError as error:
        raise ActionFailed(f"cannot commit {container.name}: {error}", again=False) from error


def _changes(ctx: ActionContext, params: Any, container: Container) -> list[str]:
    """Dockerfile instructions; text from outside must not add a line of its own."""
    changes = [ctx.render(change) for change in params.changes]
    if any(_CONTROL.search(change) for change in changes):
        raise ActionFailed(
            f"cannot commit {container.name}: a field put a line break into `changes`", again=False
        )
    return changes


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)[:LONGEST_TEXT]


def _labels(ctx: ActionContext, container: Container, reference: str, at: str) -> dict[str, str]:
    # The image inherits all labels of the container. Without the proof of a group (label_owner),
    # one that is made from it is not taken for the container itself, and this one, made anew from
    # it, still is what it was.
    unproven = {group.proof: "" for group in (COMPOSE, SWARM) if group.proof in container.labels}
    return unproven | {
        RULE: ctx.incident.rule,
        INCIDENT: ctx.incident.id,
        SOURCE: container.name,
        COMMITTED_AT: at,
        REFERENCE: reference,
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


async def _claimed(ctx: ActionContext, repository: str, tag: str, container: Container) -> str:
    """`tag`, or with the incident's id where another of dockmend's images has it, or is just being
    made under it; never the tag of somebody else's. It is this commit's from then on, until that
    gives its claim up."""
    reference = f"{repository}:{tag}"
    present = await holder(ctx.engine, reference)
    taken = reference in ctx.claims
    if taken or not _may_move(ctx, present, reference, container):
        if not taken and present is not None and present.labels.get(REFERENCE) != reference:
            raise _somebody_elses(ctx, reference, container)
        longest = image_references.LONGEST_TAG - len(ctx.incident.id) - 1
        reference = f"{repository}:{image_references.tag(f'{tag[:longest]}-{ctx.incident.id}')}"
        present = await holder(ctx.engine, reference)
        if reference in ctx.claims or not _may_move(ctx, present, reference, container):
            raise _somebody_elses(ctx, reference, container)
    ctx.claims.add(reference)
    return reference


def _may_move(
    ctx: ActionContext, present: Image | None, reference: str, container: Container
) -> bool:
    return present is None or made(ctx.own, present, reference, ctx.incident.rule, container.name)


def _somebody_elses(ctx: ActionContext, reference: str, container: Container) -> ActionFailed:
    return ActionFailed(
        f"cannot commit {container.name}: {reference} names an image that rule {ctx.incident.rule} "
        "did not make; choose another repository or tag",
        again=False,
    )


# ----------------------------------------------------------------------------------------- settling
async def settle(ctx: ActionContext, record: ActionRecord) -> Settled:
    """Done if its image is there; a container that the engine left frozen goes on."""
    begun = record.undo.get("commit")
    if not begun:
        return NOT_BEGUN
    froze = bool(begun.get("paused_by_engine"))
    reference, at = str(begun["reference"]), str(begun["committed_at"])
    since = ctx.clock()
    while True:
        container = await look(ctx, record.object_id)
        image = await _committed(ctx, record, at)
        frozen = froze and container is not None and container.state == "paused"
        if image and reference in image.tags and not frozen:
            break
        now = ctx.clock()
        if (
            now - record.began_at >= (FREEZE_GOES_ON if frozen else COMMIT_GOES_ON)
            and now - since >= ENDS_SOON
        ):
            break
        await asyncio.sleep(POLL)
    said = f"it had been committed as {reference}" if image else "it had not been committed"
    if container is not None and frozen:
        said += await _thawed(ctx, container)
    if image is None:
        return GONE if container is None else Settled(done=False, detail=said)
    told = await _named(ctx, record, image, reference)
    source = image.labels.get(SOURCE, record.object_name)
    told += await _kept(ctx, source, reference, image.id, record.params.get("keep"))
    if container is None:
        told.append("the container is gone")
    return Settled(done=True, detail="; ".join([said, *told]))


async def _named(
    ctx: ActionContext, record: ActionRecord, image: Image, reference: str
) -> list[str]:
    """An engine that died between making the image and giving it its name: it gets it now."""
    if image.tags:
        return []
    present = await holder(ctx.engine, reference)
    if present is not None and not made(
        ctx.own, present, reference, record.rule, record.object_name
    ):
        return [f"it has no name, since {reference} is another image's"]
    if present is not None and present.labels[COMMITTED_AT] > image.labels[COMMITTED_AT]:
        return []  # a later one's: it has lost it to that
    await ctx.engine.tag_image(image.id, reference)
    return []


async def _committed(ctx: ActionContext, record: ActionRecord, at: str) -> Image | None:
    """The image of this very attempt: the incident may have made others, and images inherit its
    labels."""
    images: Sequence[Image] = await ctx.engine.images({INCIDENT: record.incident, COMMITTED_AT: at})
    proven = [image for image in images if ctx.own.objects.image(image) is not None]
    found = min(proven, key=lambda image: (image.created_at, not image.tags), default=None)
    if (
        found is not None
        and (row := ctx.own.objects.image(found)) is not None
        and not row.object_id
    ):
        ctx.own.identified(row, found.id)
    return found


async def _thawed(ctx: ActionContext, container: Container) -> str:
    try:
        with suppress(NotFound):
            await ctx.engine.unpause(container.id)
    except Temporary:
        raise  # it is tried again: nobody else will
    except EngineError as error:
        if "is not paused" not in str(error):
            return f"; it is paused, and could not be unpaused: {error}"
    return "; it had been left paused, and was unpaused"


def register_all() -> None:
    """Put the image actions into the registry."""
    register(Action("commit_image", commit, settle))
