"""Containers that are not well, covered by a rule or not: shown until they are well, stopped by a
person or gone.

What a rule gave up on is a part of it, and so is what no rule is about: dockmend watches every
container, and acts on those that ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dockmend.mirror import Mirror, runs
from dockmend.mirror.lingering import NOT_STARTED, UNJUDGED, lingering
from dockmend.model import Change, Container
from dockmend.rules.label_rules import asked

CAUSES = (
    "unhealthy",
    "crashed",
    "oom_killed",
    "left_down",
    "unknown",
    "looping",
    "starting",
    "not_started",
)


@dataclass(frozen=True, slots=True)
class Unwell:
    """`cause`: one of CAUSES; `since`: wall seconds; `covered`: whether a rule acts on it; `note`:
    what was seen."""

    target: str
    object_name: str
    cause: str
    since: float
    covered: bool
    note: str


def unwell(
    mirror: Mirror, covers: Callable[[Change], bool], own: Callable[[Container], bool], now: float
) -> list[Unwell]:
    """The oldest first. `covers`: whether a rule acts on a trouble; `own`: whether a container is
    dockmend's own; `now`: wall seconds.

    One that a person paused is left out: what it is, shows once it goes on. So is one whose place
    another took that runs, as Swarm makes another task and leaves the one that ended.
    """
    found = [
        Unwell(change.target, each.name, cause, change.at, covers(change), change.note)
        for change in _first_of_each(
            [*runs.loops(mirror, now), *mirror.standing(), *lingering(mirror, now)]
        )
        if isinstance(each := change.subject, Container)
        and (cause := cause_of(change))
        and not own(each)
        if meant_to_run(each)
        and each.state != "paused"
        and _is_it_still(mirror, each, change.target)
    ]
    return sorted(found, key=lambda each: (each.since, each.target))


def cause_of(change: Change) -> str:
    """Why a container is not well; "" if this trouble is none of its own, or was somebody's
    will."""
    if "container.unhealthy" in change.triggers:
        return "unhealthy"
    if "container.restart_loop" in change.triggers:
        return "looping"
    if UNJUDGED in change.triggers:
        return "starting"
    if NOT_STARTED in change.triggers:
        return "not_started"
    return change.cause if change.cause in CAUSES else ""


def meant_to_run(container: Container) -> bool:
    """Whether somebody wants it up: a plain job that fails is no trouble of the host's."""
    if container.one_off:
        return False
    return (
        container.restart_policy not in ("", "no")
        or container.compose_service is not None
        or container.check is not None
        or asked(container, "labelled") is not None
    )


def _is_it_still(mirror: Mirror, container: Container, target: str) -> bool:
    bearer = mirror.of_target(target)
    return container.running or bearer is None or not bearer.running


def _first_of_each(changes: Iterable[Change]) -> Iterable[Change]:
    """One trouble of each container: one that is down is not unhealthy as well."""
    first: dict[str, Change] = {}
    for change in changes:
        if cause_of(change):
            known = first.get(change.target)
            if known is None or (known.cause is None and change.cause is not None):
                first[change.target] = change
    return first.values()
