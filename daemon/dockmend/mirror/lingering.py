"""What is wrong with a container although nothing that happens tells of it: asked for when it is to
be shown.

A health check may go on for ever without a verdict, and a start that failed has no run that could
end. No rule is about either, so these changes carry triggers that no rule can name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dockmend.mirror import change_factory
from dockmend.mirror.conditions import join_failed
from dockmend.mirror.exit_cause import HISTORY
from dockmend.model import Change

if TYPE_CHECKING:
    from dockmend.mirror.container_record import ContainerRecord
    from dockmend.mirror.mirror import Mirror

UNJUDGED, NOT_STARTED = "container.unjudged", "container.not_started"


def lingering(mirror: Mirror, now: float) -> Iterator[Change]:
    """Each container that is in such a state. `now`: wall seconds."""
    for found in mirror.entries.values():
        if (change := _unjudged(found, now) or _not_started(found)) is not None:
            yield change


def note(mirror: Mirror, found: ContainerRecord, now: float) -> None:
    """A look may show the beginning, or the end, of such a state."""
    container, kept = found.container, found.kept
    before = kept.unjudged_at, kept.failed_at
    if container.state == "running" and container.health == "starting":
        kept.unjudged_at = kept.unjudged_at or now
    kept.failed_at = (kept.failed_at or now) if container.error and not container.running else 0.0
    if before != (kept.unjudged_at, kept.failed_at):
        mirror.changed.add(container.id)


def _unjudged(found: ContainerRecord, now: float) -> Change | None:
    """Its health check gave no verdict for longer than anybody should have to wait for one."""
    container, since = found.container, found.kept.unjudged_at
    if container.check is None or container.state != "running" or container.health != "starting":
        return None
    if not since or now < since + container.check.overdue_after:
        return None
    note = "its health check has neither passed nor failed as often as it may since then"
    return change_factory.of_container(found, UNJUDGED, since, "timer", note=note)


def _not_started(found: ContainerRecord) -> Change | None:
    """It does not run, and the last attempt to start it failed: the engine keeps why until the next
    start. Who made it and never started it, or stopped it, wants it so; who tried to start it since
    does not.

    One that could not join another's namespace is that one's trouble.
    """
    container, run = found.container, found.kept.run
    if not container.error or container.name != container.plain_name or join_failed(container):
        return None
    if container.state not in ("created", "exited") or run.told == HISTORY:
        return None
    note = f"its start failed: {container.error}"
    return change_factory.of_container(found, NOT_STARTED, found.kept.failed_at, "timer", note=note)
