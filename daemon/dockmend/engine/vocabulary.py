"""Every event of the Engine API by name, for rules, metrics and the subscription.

From moby's `api/types/events/events.go` (Engine 26 to 28) and the Engine API's reference. Actions that carry more after
a colon (`health_status: unhealthy`, `exec_start: sh`) are named by what stands before it. An unknown type or action is
nothing wrong: it passes as a generic event.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, digits

ACTIONS: Mapping[str, frozenset[str]] = {
    "container": frozenset(
        {
            "attach", "commit", "copy", "create", "destroy", "detach", "die", "exec_create", "exec_detach", "exec_die",
            "exec_start", "export", "health_status", "kill", "oom", "pause", "prune", "rename", "resize", "restart",
            "start", "stop", "top", "unpause", "update", "archive-path", "extract-to-dir", "checkpoint",
        }
    ),
    "image": frozenset(
        {"create", "delete", "import", "load", "prune", "pull", "push", "save", "tag", "untag"}
    ),
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

REFUSED_PREFIX = "exec_"
"""Health checks alone would drown the stream in these; the engine keeps them out, so no rule can be about them."""

_LETTERS = f"{ascii_lowercase}{digits}_-"  # what names of actions are made of

HEALTH_ACTIONS = tuple(f"health_status: {state}" for state in ("healthy", "unhealthy", "starting", "running"))


def base(action: str) -> str:
    """The action's name without what follows the first colon: "health_status: healthy" → "health_status"."""
    return action.partition(":")[0]


def known(type: str, action: str) -> bool:
    """Whether the Engine API knows this action for this type (detail after a colon does not matter)."""
    return base(action) in ACTIONS.get(type, frozenset())


def subscription() -> tuple[str, ...]:
    """Values of the `event` filter: everything but exec_*.

    Once `health_status` is among them, the engine compares every value as a prefix; the prefixes here are the
    complement of "exec_", so names of the future pass. That is undocumented (a contract test guards it): the names
    known today stand beside them, so that an engine which compares exactly still sends all of those.
    """
    prefixes: set[str] = set()
    for length in range(len("exec") + 1):
        stem, refused = "exec"[:length], REFUSED_PREFIX[length]
        prefixes.update(stem + letter for letter in _LETTERS if letter != refused)
    names = {action for actions in ACTIONS.values() for action in actions if not action.startswith(REFUSED_PREFIX)}
    return tuple(sorted(prefixes | names | set(HEALTH_ACTIONS)))
