"""The engine's events by name: which are known, and what the subscription asks for."""

from __future__ import annotations

from string import ascii_lowercase, digits

from dockmend.model import EVENT_ACTIONS as ACTIONS

__all__ = ["ACTIONS", "HEALTH_ACTIONS", "REFUSED_PREFIX", "base", "known", "subscription"]

REFUSED_PREFIX = "exec_"
"""Health checks alone would drown the stream in these; the engine keeps them out, so no rule can be
about them."""

_LETTERS = f"{ascii_lowercase}{digits}_-"  # what names of actions are made of

HEALTH_ACTIONS = tuple(
    f"health_status: {state}" for state in ("healthy", "unhealthy", "starting", "running")
)


def base(action: str) -> str:
    """The action's name without what follows the first colon: "health_status: healthy" →
    "health_status"."""
    return action.partition(":")[0]


def known(type: str, action: str) -> bool:
    """Whether the Engine API knows this action for this type (detail after a colon does not
    matter)."""
    return base(action) in ACTIONS.get(type, frozenset())


def subscription() -> tuple[str, ...]:
    """Values of the `event` filter: everything but exec_*.

    Once `health_status` is among them, the engine compares every value as a prefix; the prefixes
    here are the complement of "exec_", so names of the future pass. That is undocumented (a
    contract test guards it): the names known today stand beside them, so that an engine which
    compares exactly still sends all of those.
    """
    prefixes: set[str] = set()
    for length in range(len("exec") + 1):
        stem, refused = "exec"[:length], REFUSED_PREFIX[length]
        prefixes.update(stem + letter for letter in _LETTERS if letter != refused)
    names = {
        action
        for actions in ACTIONS.values()
        for action in actions
        if not action.startswith(REFUSED_PREFIX)
    }
    return tuple(sorted(prefixes | names | set(HEALTH_ACTIONS)))
