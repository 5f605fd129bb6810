"""What a raw-event trigger may name, and the transition to use instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dockmend.model import EVENT_ACTIONS as ACTIONS

__all__ = ["ACTIONS", "BETTER", "HEALTH", "KINDS"]

HEALTH: Final = frozenset({"healthy", "unhealthy", "starting", "running"})
"""What may follow `health_status: `."""

KINDS: Final = frozenset({"container", "network", "volume", "image", "service", "node"})
"""Event types whose subject `match` can select; the others' events are about the engine as a
whole."""

BETTER: Final[Mapping[str, str]] = {
    "container.die": "container.crashed, container.stopped or container.exited",
    "container.health_status": "container.unhealthy or container.healthy",
    "container.health_status: unhealthy": "container.unhealthy",
    "container.health_status: healthy": "container.healthy",
    "container.health_status: starting": "container.started",
    "container.health_status: running": "container.started",
    "container.oom": "container.oom_killed",
    "container.kill": "container.stopped",
    "container.stop": "container.stopped",
    "container.start": "container.started",
    "container.restart": "container.started",
    "container.destroy": "container.missing",
    "network.disconnect": "container.network_lost",
    "network.destroy": "network.missing",
    "network.remove": "network.missing",
    "volume.destroy": "volume.missing",
}
"""The transition that says the same and cannot be lost."""
