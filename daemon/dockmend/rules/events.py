"""Every event type and action of the Engine API that a raw-event trigger may name, and the transition to use instead.

The engine package has the same table for the stream (it stands above this one); a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "container": frozenset({
        "attach", "commit", "copy", "create", "destroy", "detach", "die", "exec_create", "exec_detach", "exec_die",
        "exec_start", "export", "health_status", "kill", "oom", "pause", "prune", "rename", "resize", "restart",
        "start", "stop", "top", "unpause", "update", "archive-path", "extract-to-dir", "checkpoint",
    }),
    "image": frozenset({"create", "delete", "import", "load", "prune", "pull", "push", "save", "tag", "untag"}),
    "volume": frozenset({"create", "destroy", "mount", "prune", "unmount", "update"}),
    "network": frozenset({"connect", "create", "destroy", "disconnect", "prune", "remove", "update"}),
    "daemon": frozenset({"reload"}),
    "plugin": frozenset({"create", "disable", "enable", "install", "pull", "push", "remove", "upgrade"}),
    "service": frozenset({"create", "remove", "update"}),
    "node": frozenset({"create", "remove", "update"}),
    "secret": frozenset({"create", "remove", "update"}),
    "config": frozenset({"create", "remove", "update"}),
    "builder": frozenset({"prune"}),
}  # fmt: skip

HEALTH: Final = frozenset({"healthy", "unhealthy", "starting", "running"})
"""What may follow `health_status: `."""

KINDS: Final = frozenset({"container", "network", "volume", "image", "service", "node"})
"""Event types whose subject `match` can select; the others' events are about the engine as a whole."""

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
