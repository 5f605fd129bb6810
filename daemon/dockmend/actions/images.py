"""commit_image: what a container is at this moment, kept as an image that says which rule and incident made it.

An image carries labels of dockmend's own. They are inherited by whatever is built or committed from it, so they alone
prove nothing: an image counts as dockmend's only under the very reference its labels name, or with no tag at all and
made at the very time they name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from dockmend.actions import references
from dockmend.actions.base import Action, Container, Context, Done, Failed, Image, Settled, register
from dockmend.actions.containers_settle import GONE, NOT_BEGUN, POLL, look
from dockmend.actions.refusals import failed
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object

RULE, INCIDENT, SOURCE = "dockmend.rule", "dockmend.incident", "dockmend.source"
COMMITTED_AT, REFERENCE = "dockmend.committed_at", "dockmend.reference"

SAME_TIME = 3600.0
"""Seconds that may lie between the label's time and the engine's: a long commit, and clocks that differ."""
COMMIT_GOES_ON = 10.0
"""Seconds after its beginning for which the engine may still be at a commit whose client is gone."""
FREEZE_GOES_ON = 30.0
"""The same where the container is frozen, which shows that it is: 30 s is a layer of about 10 GB."""
LONGEST_TEXT = 1000

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


async def commit(ctx: Context, params: Any, subject: Object) -> Done:
    """Commit a container, running or not, under a reference that is free or already this rule's for this container."""
    if not isinstance(subject, Container):
        raise Failed(f"commit_image is for containers, and {subject.name} is none", again=False)
    repository, tag = _reference(ctx, params, subject)
    changes = _changes(ctx, params, subject)
    try:
        container = await ctx.engine.inspect(subject.id)  # a step before may have paused it
        if container.state in ("removing", "dead"):
            raise Failed(f"cannot commit {subject.name}: it is being removed", again=False)
        tag = await _free(ctx, repository, tag, subject)
        reference, at = f"{repository}:{tag}", _stamp(ctx.clock())
        earlier = await _holder(ctx, reference)
        await ctx.remember({
            "commit": {
                "container": subject.id,
                "reference": reference,
                "committed_at": at,
                "paused_by_engine": params.pause and container.state == "running",
            }
        })  # fmt: skip
        image = await ctx.engine.commit(
            subject.id,
            repository,
            tag,
            message=_line(ctx.render(params.message or "")),
            author=_line(ctx.render(params.author or "")),
            changes=changes,
            pause=params.pause,
            labels=_labels(ctx, subject, reference, at),
        )
        told = await _drop_earlier(ctx, earlier, image)
        told += await _prune(ctx, subject, repository, params.keep, image) if params.keep else []
    except EngineError as error:
        raise failed(error, f"commit {subject.name}", subject) from error
    return Done("; ".join([f"committed as {reference}", *told]), {"image": image, "reference": reference})


def _reference(ctx: Context, params: Any, container: Container) -> tuple[str, str]:
    try:
        return references.repository(ctx.render(params.repository)), references.tag(ctx.render(params.tag))
    except ValueError as error:
        raise Failed(f"cannot commit {container.name}: {error}", again=False) from error


def _changes(ctx: Context, params: Any, container: Container) -> list[str]:
    """Dockerfile instructions; text from outside must not add a line of its own."""
    changes = [ctx.render(change) for change in params.changes]
    if any(_CONTROL.search(change) for change in changes):
        raise Failed(f"cannot commit {container.name}: a field put a line break into `changes`", again=False)
    return changes


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)[:LONGEST_TEXT]


def _labels(ctx: Context, container: Container, reference: str, at: str) -> dict[str, str]:
    return {
        RULE: ctx.incident.rule,
        INCIDENT: ctx.incident.id,
        SOURCE: container.name,
        COMMITTED_AT: at,
        REFERENCE: reference,
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


async def _free(ctx: Context, repository: str, tag: str, container: Container) -> str:
    """`tag`, or with the incident's id where another of dockmend's images has it; never the tag of somebody else's."""
    holder = await _holder(ctx, f"{repository}:{tag}")
    if holder is None or _made(holder, f"{repository}:{tag}", ctx.incident.rule, container.name):
        return tag
    other = references.tag(f"{tag[: references.LONGEST_TAG - len(ctx.incident.id) - 1]}-{ctx.incident.id}")
    if holder.labels.get(REFERENCE) == f"{repository}:{tag}" and await _holder(ctx, f"{repository}:{other}") is None:
        return other
    raise Failed(
        f"cannot commit {container.name}: {repository}:{tag} names an image that rule {ctx.incident.rule} did not make;"
        " choose another repository or tag",
        again=False,
    )


async def _holder(ctx: Context, reference: str) -> Image | None:
    try:
        return await ctx.engine.inspect_image(reference)
    except NotFound:
        return None


def _made(image: Image, reference: str, rule: str, source: str) -> bool:
    labels = image.labels
    return labels.get(REFERENCE) == reference and labels.get(RULE) == rule and labels.get(SOURCE) == source


# ------------------------------------------------------------------------------------------------------------ keeping
async def _drop_earlier(ctx: Context, earlier: Image | None, newest: str) -> list[str]:
    """One incident leaves one image: that of an earlier attempt, which has just lost its tag, is removed."""
    if earlier is None or earlier.id == newest or earlier.labels.get(INCIDENT) != ctx.incident.id:
        return []
    if len(earlier.tags) > 1:
        return []  # somebody gave it a name: it is theirs now
    problem = await _remove(ctx, replace(earlier, tags=()))
    return [problem] if problem else []


async def _prune(ctx: Context, container: Container, repository: str, keep: int, newest: str) -> list[str]:
    """Remove the images that this rule made of this container in this repository, but for the newest `keep`.

    Never fails the commit: what could not be removed is said, and tried again after the next one.
    """
    try:
        found = await ctx.engine.images({RULE: ctx.incident.rule, SOURCE: container.name})
    except EngineAway:
        raise
    except EngineError as error:
        return [f"older images were not looked for: {error}"]
    ours = [image for image in found if image.id == newest or _ours(image, repository)]
    ours.sort(key=lambda image: (image.id == newest, image.labels.get(COMMITTED_AT, "")), reverse=True)
    told: list[str] = []
    removed = 0
    for image in ours[keep:]:
        problem = await _remove(ctx, image)
        if problem:
            told.append(problem)
        else:
            removed += 1
    return [f"removed {removed} older image{'s' if removed > 1 else ''}", *told] if removed else told


def _ours(image: Image, repository: str) -> bool:
    """True where dockmend made this image in this repository, and not somebody from an image of dockmend's."""
    reference = image.labels.get(REFERENCE, "")
    if reference.rpartition(":")[0] != repository:
        return False
    if image.tags:
        return reference in image.tags
    try:
        at = datetime.fromisoformat(image.labels.get(COMMITTED_AT, "")).timestamp()
    except ValueError:
        return False
    return abs(image.created_at - at) <= SAME_TIME


async def _remove(ctx: Context, image: Image) -> str | None:
    """None, or why it was left, for a person."""
    reference = image.labels[REFERENCE]
    others = sorted(set(image.tags) - {reference})
    if others:
        return f"left {reference}: it is tagged {', '.join(others[:3])} too"
    try:
        await ctx.engine.remove_image(reference if image.tags else image.id)
    except NotFound:
        return None
    except EngineAway:
        raise
    except EngineError as error:
        name = reference if image.tags else image.id.removeprefix("sha256:")[:12]
        if "is using its referenced image" in str(error) or "is being used by" in str(error):
            return f"left {name}: a container uses it"
        return f"left {name}: {error}"
    return None


# ----------------------------------------------------------------------------------------------------------- settling
async def settle(ctx: Context, record: ActionRecord) -> Settled:
    """Done if its image is there; a container that the engine left frozen goes on."""
    begun = record.undo.get("commit")
    if not begun:
        return NOT_BEGUN
    froze = bool(begun.get("paused_by_engine"))
    reference, at = str(begun["reference"]), str(begun["committed_at"])
    while True:
        container = await look(ctx, record.object_id)
        image = await _committed(ctx, record, at)
        frozen = froze and container is not None and container.state == "paused"
        age = ctx.clock() - record.began_at
        if (image and not frozen) or age >= (FREEZE_GOES_ON if frozen else COMMIT_GOES_ON):
            break
        await asyncio.sleep(POLL)
    said = f"it had been committed as {reference}" if image else "it had not been committed"
    if container is None:
        return Settled(done=True, detail=f"{said}; the container is gone") if image else GONE
    if frozen:
        said += await _thawed(ctx, container)
    return Settled(image is not None, said)


async def _committed(ctx: Context, record: ActionRecord, at: str) -> Image | None:
    """The image of this very attempt: the incident may have made others, and images inherit its labels."""
    images: Sequence[Image] = await ctx.engine.images({INCIDENT: record.incident, COMMITTED_AT: at})
    return next(iter(sorted(images, key=lambda image: image.created_at)), None)


async def _thawed(ctx: Context, container: Container) -> str:
    try:
        with suppress(NotFound):
            await ctx.engine.unpause(container.id)
    except EngineAway:
        raise
    except EngineError as error:
        if "is not paused" not in str(error):
            return f"; it is paused, and could not be unpaused: {error}"
    return "; it had been left paused, and was unpaused"


def register_all() -> None:
    """Put the image actions into the registry."""
    register(Action("commit_image", commit, settle))
