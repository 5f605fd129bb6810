"""How changes are put together: which triggers one thing that happened carries, and what its trouble is called.

The name of a trouble is the same text for the same trouble however often and however it is learnt; a rule answers a
trouble once ("nothing twice").
"""

from __future__ import annotations

from dockmend.mirror.ends import End
from dockmend.mirror.entry import Entry
from dockmend.model import Cause, Change, Container, Origin, target_of

END_TRIGGERS: dict[str, tuple[str, ...]] = {
    "stopped": ("container.stopped", "container.exited"),
    "crashed": ("container.crashed", "container.exited"),
    "oom_killed": ("container.oom_killed", "container.exited"),
    "left_down": ("container.left_down", "container.exited"),
    "completed": ("container.exited",),
    "unknown": ("container.exited",),
}


def run_name(container_id: str, started_at: float) -> str:
    return f"{container_id[:12]}/{started_at:.3f}"


def of_container(
    entry: Entry,
    trigger: str,
    at: float,
    origin: Origin,
    *,
    what: str = "",
    note: str = "",
    cause: Cause | None = None,
    network: str | None = None,
    on_purpose: bool = False,
) -> Change:
    """A change of one container in its present run. `what` tells troubles of one run apart."""
    container = entry.container
    return Change(
        triggers=(trigger,),
        kind="container",
        subject=container,
        target=target_of(container),
        trouble=f"{run_name(container.id, entry.kept.run.started_at or container.started_at)}/{what or trigger}",
        at=at,
        origin=origin,
        note=note,
        cause=cause,
        network=network,
        on_purpose=on_purpose,
    )


def of_end(container: Container, end: End, cause: Cause, unknown_as: str, recovered: bool) -> Change:
    """The change of an end whose cause is settled. `unknown_as`: what the settings make of an unknown cause."""
    triggers = END_TRIGGERS[unknown_as if cause == "unknown" else cause]
    code = end.run.code
    note = {
        "stopped": "somebody stopped it",
        "crashed": f"it ended by itself with exit code {code}",
        "oom_killed": "the kernel killed it for want of memory",
        "completed": "it ended with exit code 0",
        "left_down": "it ran before the engine was lost and was not started again",
        "unknown": f"it ended unseen with exit code {code}; counted as {unknown_as}",
    }[cause]
    return Change(
        triggers=triggers,
        kind="container",
        subject=container,
        target=target_of(container),
        trouble=f"{run_name(container.id, end.run.started_at)}/end",
        at=end.at,
        origin=end.origin,  # type: ignore[arg-type]  # msgspec structs of ours hold plain str
        cause=cause,
        note=note,
        recovered=recovered,
    )
