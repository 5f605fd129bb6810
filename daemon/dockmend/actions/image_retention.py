"""Which images of commit_image stay: one per incident, and as many as the rule's `keep` says.

The engine goes on with a commit whose client is gone. It may end after another attempt made its
image under the same reference; the later one gets the tag. So dockmend asks the engine what an
incident made: after each commit, when a commit is settled, and now and then for closed incidents
(app.image_cleanup).

An image carries dockmend's labels. Anybody can write them, and images built from it inherit them,
so they prove nothing. An image counts as dockmend's only if a row of the journal names it, and if
it still has the reference that its labels name, or has no tag and was made at the very time that
they name.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.model import Image
from dockmend.owned import COMMITTED_AT, INCIDENT, REFERENCE
from dockmend.ownership import Ownership

RULE, SOURCE = "dockmend.rule", "dockmend.source"

SAME_TIME = 3600.0
"""Seconds that may lie between the label's time and the engine's: a long commit, and clocks that
differ."""


async def holder(engine: Engine, reference: str) -> Image | None:
    """The image that bears a reference at present."""
    try:
        return await engine.inspect_image(reference)
    except NotFound:
        return None


def made(own: Ownership, image: Image, reference: str, rule: str, source: str) -> bool:
    """Whether dockmend made it, for a rule of a container under this reference."""
    labels = image.labels
    return (
        own.objects.image(image) is not None
        and labels.get(REFERENCE) == reference
        and labels.get(RULE) == rule
        and labels.get(SOURCE) == source
    )


def ours(own: Ownership, image: Image) -> bool:
    """Whether dockmend made this image, and not somebody from an image of dockmend's."""
    if own.objects.image(image) is None:
        return False
    if image.tags:
        return image.labels.get(REFERENCE, "") in image.tags
    try:
        at = datetime.fromisoformat(image.labels.get(COMMITTED_AT, "")).timestamp()
    except ValueError:
        return False
    return abs(image.created_at - at) <= SAME_TIME


def by_incident(own: Ownership, images: Iterable[Image]) -> dict[tuple[str, str], list[Image]]:
    """Those that dockmend made, by incident and reference. One commit makes one image: of several
    with the same time all but the first were made from it."""
    first: dict[tuple[str, str], Image] = {}
    for image in sorted(
        images, key=lambda each: (each.created_at, each.labels.get(REFERENCE) not in each.tags)
    ):
        first.setdefault(
            (image.labels.get(INCIDENT, ""), image.labels.get(COMMITTED_AT, "")), image
        )
    found: dict[tuple[str, str], list[Image]] = {}
    for image in first.values():
        if image.labels.get(REFERENCE) and ours(own, image):
            found.setdefault((image.labels.get(INCIDENT, ""), image.labels[REFERENCE]), []).append(
                image
            )
    return found


async def leave_one_of(own: Ownership, incident: str, reference: str, newest: str) -> list[str]:
    """Leave the image `newest` (an id) of those that an incident made under a reference; what was
    left, for a person.

    Raises EngineAway and nothing else.
    """
    try:
        found = await own.engine.images({INCIDENT: incident, REFERENCE: reference})
        return await leave_one(own, by_incident(own, found).get((incident, reference), []), newest)
    except EngineAway:
        raise
    except EngineError as error:
        return [f"earlier images of this incident were not looked for: {error}"]


async def leave_one(own: Ownership, images: list[Image], newest: str = "") -> list[str]:
    """Of the images of one incident and reference the newest bears it and stays; what else was
    left, for a person.

    `newest`: its id, where it is known: the clock may have gone back. One that has another name is
    somebody's.
    """
    if len(images) < 2:
        return []
    last = max(images, key=lambda each: (each.id == newest, each.labels[COMMITTED_AT]))
    reference = last.labels[REFERENCE]
    bears = any(reference in image.tags for image in images)
    if bears and reference not in last.tags:  # a commit that ended late has taken it
        await own.engine.tag_image(last.id, reference)
    told = []
    for image in images:
        if image is not last and set(image.tags) <= {reference}:
            problem = await remove(own, replace(image, tags=()))
            told += [problem] if problem else []
    # the last one that was removed had just taken it
    if bears and await holder(own.engine, reference) is None:
        await own.engine.tag_image(last.id, reference)
    return told


async def prune(
    own: Ownership, rule: str, source: str, repository: str, keep: int, newest: str
) -> list[str]:
    """Remove the images that a rule made of a container in a repository, but for the newest `keep`.

    Raises EngineAway and nothing else: what could not be removed is said, and tried again after the
    next commit.
    """
    try:
        found = await own.engine.images({RULE: rule, SOURCE: source})
    except EngineAway:
        raise
    except EngineError as error:
        return [f"older images were not looked for: {error}"]
    mine = [
        image
        for image in found
        if image.id == newest or (_in(image, repository) and ours(own, image))
    ]
    mine.sort(
        key=lambda image: (image.id == newest, image.labels.get(COMMITTED_AT, "")), reverse=True
    )
    told: list[str] = []
    removed = 0
    for image in mine[keep:]:
        problem = await remove(own, image)
        if problem:
            told.append(problem)
        else:
            removed += 1
    return (
        [f"removed {removed} older image{'s' if removed > 1 else ''}", *told] if removed else told
    )


def _in(image: Image, repository: str) -> bool:
    return image.labels.get(REFERENCE, "").rpartition(":")[0] == repository


async def remove(own: Ownership, image: Image) -> str | None:
    """None, or why it was left, for a person."""
    reference = image.labels[REFERENCE]
    others = sorted(set(image.tags) - {reference})
    if others:
        return f"left {reference}: it is tagged {', '.join(others[:3])} too"
    try:
        await own.engine.remove_image(reference if image.tags else image.id)
    except NotFound:
        pass
    except EngineAway:
        raise
    except EngineError as error:
        name = reference if image.tags else image.id.removeprefix("sha256:")[:12]
        if "is using its referenced image" in str(error) or "is being used by" in str(error):
            return f"left {name}: a container uses it"
        return f"left {name}: {error}"
    if (row := own.objects.image(image)) is not None:
        own.forget(row)
    return None
