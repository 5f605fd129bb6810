"""Podman's events under the names that Docker Engine has for them.

Only what Podman calls otherwise and what can be told without asking it: measured with Podman 5.4
(docs/engines.md).
"""

from __future__ import annotations

from msgspec.structs import replace

from dockmend.model import Actor, Event

_REMOVED = {"container": "destroy", "network": "destroy", "volume": "destroy", "image": "delete"}


def as_docker_says(event: Event) -> Event:
    """`remove` is `destroy` (of an image `delete`); a volume's name is its id; a network's name is
    its `name`."""
    action = _REMOVED.get(event.type, event.action) if event.action == "remove" else event.action
    actor, attributes = event.actor, event.actor.Attributes
    if event.type == "volume" and not actor.ID:
        actor = Actor(ID=attributes.get("name", ""), Attributes=attributes)
    elif event.type == "network" and "network" in attributes:
        container = {"container": actor.ID} if action in ("connect", "disconnect") else {}
        actor = Actor(
            ID=actor.ID, Attributes={**attributes, "name": attributes["network"], **container}
        )
    if action == event.action and actor is event.actor:
        return event
    return replace(event, action=action, actor=actor)
