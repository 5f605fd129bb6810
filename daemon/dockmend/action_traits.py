"""What each action does to a container: one row per action, from which everything else follows.

The mirror needs it to tell dockmend's own events from a person's, the rules to refuse what is never
done, the pipeline to know what to verify and what to bring back. An action without a row changes
nothing about a container's run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTraits:
    """`stops`: the engine tells of one `stop` event for it; `signals`: it ends a run by a signal,
    and no `stop` follows; `project`: it ends and begins runs of a Compose project, each by a step
    of its own; `starts`: it begins a run by its own call; `replaces`: another container takes the
    place; `removes`: the container is gone afterwards; `undoes_stop`: it would start or unpause
    what a person stopped; `heals`: the container should run afterwards, so there is something to
    verify; `long`: it copies what may be large, or waits for a health check; `last_events`: after
    all of these nothing more comes of it, in whatever order."""

    stops: bool = False
    signals: bool = False
    project: bool = False
    starts: bool = False
    replaces: bool = False
    removes: bool = False
    undoes_stop: bool = False
    heals: bool = False
    long: bool = False
    last_events: frozenset[str] = frozenset()


TRAITS: Final[Mapping[str, ActionTraits]] = {
    "restart": ActionTraits(
        stops=True, starts=True, undoes_stop=True, heals=True, last_events=frozenset({"restart"})
    ),
    "start": ActionTraits(starts=True, undoes_stop=True, heals=True,
        last_events=frozenset({"start"})),
    "stop": ActionTraits(stops=True, last_events=frozenset({"stop", "die"})),
    "kill": ActionTraits(signals=True, last_events=frozenset({"die"})),
    "pause": ActionTraits(last_events=frozenset({"pause"})),
    "unpause": ActionTraits(undoes_stop=True, heals=True, last_events=frozenset({"unpause"})),
    "remove": ActionTraits(signals=True, removes=True, last_events=frozenset({"destroy"})),
    "recreate": ActionTraits(
        stops=True, replaces=True, removes=True, undoes_stop=True, heals=True, long=True
    ),
    "reconnect_network": ActionTraits(starts=True, heals=True),
    "restart_dependents": ActionTraits(heals=True, long=True),
    "compose_restart": ActionTraits(project=True, undoes_stop=True, heals=True, long=True),
    "compose_up": ActionTraits(project=True, undoes_stop=True, heals=True, long=True),
    "snapshot_volume": ActionTraits(long=True),
    "commit_image": ActionTraits(long=True),
    "wait": ActionTraits(long=True),
}  # fmt: skip


def _those(*traits: str) -> frozenset[str]:
    return frozenset(
        name for name, row in TRAITS.items() if any(getattr(row, each) for each in traits)
    )


STOPPING: Final = _those("stops")
"""Actions that cause one `stop` event each."""
SIGNALLING: Final = _those("signals")
"""Actions that send a signal and cause no `stop` event."""
ENDING: Final = STOPPING | SIGNALLING
"""Actions whose own calls end a container's run. An end during any other is a trouble of its
own."""
PROJECT: Final = _those("project")
"""Actions on a Compose project."""
ENDS_RUN: Final = ENDING | PROJECT
"""Actions that end runs: what lives in the container's namespaces is cut off from them."""
STARTING: Final = _those("starts")
"""Actions that begin a run of the very container that they are done to."""
REMOVES: Final = _those("removes")
"""Actions that remove a container. A removal during any other is somebody else's."""
UNDOES_STOP: Final = _those("undoes_stop")
"""Actions that would start what somebody stopped (rules.md, "What is never done")."""
BEGINS_RUN: Final = (STARTING & UNDOES_STOP) | _those("replaces")
"""Actions after which a container runs that did not run, or runs anew in its owner's namespaces."""
HEALS: Final = _those("heals")
"""Actions after which a container should run: only after these is there something to verify."""
LONG: Final = _those("long")
"""Actions that may take an hour, if the rule says nothing."""
