"""What forbids a rule that a person asks for (`dockmend trigger`), beside guards and limits.

A rule that is asked for by name acts at once. It would undo another person's `docker stop` or
`docker pause` without a word. So it is refused unless the person says that they know.
"""

from __future__ import annotations

from collections.abc import Iterable

from dockmend.action_traits import BEGINS_RUN
from dockmend.decide import Suppress, would_start
from dockmend.mirror.mirror_queries import MirrorQueries
from dockmend.model import Container, Object
from dockmend.rules.rule import Step


def in_the_way(
    view: MirrorQueries, steps: Iterable[Step], subject: Object | None, *, even_if_stopped: bool
) -> Suppress | None:
    """Why these steps are not taken, or None. `subject`: as the mirror holds it; a later look asks
    the same again."""
    steps = tuple(steps)
    if not isinstance(subject, Container):
        return None
    if (owner := _owner_down(view, steps, subject)) is not None:
        return Suppress("owner", f"it lives in the namespaces of {owner.name}, which does not run")
    if even_if_stopped:
        return None
    if subject.state == "exited" and starts(steps) and view.stopped(subject.id):
        return Suppress("stopped", "somebody stopped it, and what a person stopped is not started")
    if subject.state == "paused" and ends_a_pause(steps):
        return Suppress("paused", "it is paused, and what a person paused does not go on by a rule")
    return None


def starts(steps: Iterable[Step]) -> bool:
    """Whether a container that is down runs after these steps. `recreate` leaves one that a person
    stopped down, and Compose's steps leave it out."""
    return any(step.action in ("start", "restart") and step.target is None for step in steps)


def ends_a_pause(steps: Iterable[Step]) -> bool:
    """Whether a paused container goes on after these steps, and none of them is there for that."""
    steps = tuple(steps)
    return would_start(steps) and all(step.action != "unpause" for step in steps)


def _owner_down(
    view: MirrorQueries, steps: tuple[Step, ...], subject: Container
) -> Container | None:
    """The owner without which the first of these steps that changes something can only fail."""
    first = next((step for step in steps if not step.tells), None)
    if first is None or first.action not in BEGINS_RUN or first.target is not None:
        return None
    return next((each for each in view.owners(subject) if not each.running), None)
