"""Makes changes: which triggers belong to one thing that happened, and how its trouble is named.

The same trouble always has the same name, however often and from wherever dockmend learns of it.
That is how a rule answers each trouble only once.
"""

from __future__ import annotations

from functools import lru_cache

from dockmend.mirror.container_record import ContainerRecord
from dockmend.mirror.exit_cause import ContainerRun, RunEnd
from dockmend.model import Cause, Change, Container, Origin, target_of

END_TRIGGERS: dict[str, tuple[str, ...]] = {
    "stopped": ("container.stopped", "container.exited"),
    "crashed": ("container.crashed", "container.exited"),
    "oom_killed": ("container.oom_killed", "container.exited"),
    "left_down": ("container.left_down", "container.exited"),
    "completed": ("container.exited",),
    "unknown": ("container.exited",),
}
BY_ITSELF = frozenset({"crashed", "oom_killed", "completed", "unknown"})
"""Causes of ends that nobody and nothing else brought about."""
LEAST = 0.001
"""Seconds that a run lasted at least: the times of its start and its end come from two sources."""


@lru_cache(maxsize=4096)  # writing a float takes as long as all the rest of a change
def run_name(container_id: str, started_at: float) -> str:
    return f"{container_id[:12]}/{started_at:.3f}"


def of_container(  # noqa: PLR0913 - the fields of a change
    entry: ContainerRecord,
    trigger: str,
    at: float,
    origin: Origin,
    *,
    what: str = "",
    note: str = "",
    cause: Cause | None = None,
    network: str | None = None,
    on_purpose: bool = False,
    run: ContainerRun | None = None,
    group: str = "",
    lasted: float = 0.0,
) -> Change:
    """A change of one container in its present run (or in `run`). `what` tells troubles of one run
    apart."""
    container = entry.container
    return Change(
        triggers=(trigger,),
        kind="container",
        subject=container,
        target=target_of(container),
        trouble=f"{run_name(container.id, (run or entry.kept.run).begun)}/{what or trigger}",
        at=at,
        origin=origin,
        note=note,
        cause=cause,
        network=network,
        on_purpose=on_purpose,
        group=group,
        lasted=lasted,
    )


def of_health(entry: ContainerRecord, at: float, origin: Origin) -> tuple[Change, ...]:
    """The change of a health that is another now."""
    kept, health = entry.kept, entry.container.health
    if health != "starting":
        kept.unjudged_at = 0.0
    if health == "unhealthy":
        if "health" in kept.standing:
            # known before the engine began anew, and with it the health of what live-restore kept
            return ()
        kept.unhealthy += 1
        change = of_container(
            entry,
            "container.unhealthy",
            at,
            origin,
            what=f"unhealthy/{kept.unhealthy}",
            note="its health check failed",
        )
        kept.standing["health"] = change
        return (change,)
    if health == "healthy":
        kept.standing.pop("health", None)
        return (
            of_container(entry, "container.healthy", at, origin, what=f"healthy/{kept.unhealthy}"),
        )
    return ()


def of_end(
    container: Container,
    end: RunEnd,
    cause: Cause,
    counted: str,
    *,
    runs_again: bool,
    recovered: bool,
    recorded: bool,
) -> Change:
    """The change of an end whose cause is settled. `counted`: what the settings make of it where it
    is unknown; `recorded`: nothing but the engine's own record tells of it."""
    triggers = END_TRIGGERS[counted]
    code = end.run.code
    note = {
        "stopped": "somebody restarted it, or stopped and started it"
        if runs_again
        else "somebody stopped it",
        "crashed": f"it ended by itself with exit code {code}",
        "oom_killed": "the kernel killed it for want of memory",
        "completed": "it ended with exit code 0",
        "left_down": "it ran before the engine was lost and was not started again",
        "unknown": f"it ended unseen with exit code {code}; counted as {counted}",
    }[cause]
    if recorded:
        calls = "that" if cause == "stopped" else "no call that stopped or signalled it"
        note += f" (nothing was heard of its end; the engine's own file records {calls})"
    return Change(
        triggers=triggers,
        kind="container",
        subject=container,
        target=target_of(container),
        trouble=f"{run_name(container.id, end.run.begun)}/end",
        at=end.at,
        origin=end.origin,
        cause=cause,
        note=note,
        recovered=recovered,
        runs_again=runs_again,
        lasted=lasted(end, cause),
    )


def lasted(end: RunEnd, cause: Cause) -> float:
    """Seconds that a run lasted which ended by itself; 0.0 for any other end, and where its start
    is not known."""
    run = end.run
    return max(LEAST, run.died_at - run.begun) if cause in BY_ITSELF and run.begun else 0.0
