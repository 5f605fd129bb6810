"""Whose a container's labels are: its owner's, or only inherited from its image.

The engine shows both as one map. An image is written by a stranger, so what it says may be shown
and must never steer. Everything that makes a `Container` asks `divide`; nothing above reads the
engine's own map.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct


class Labels(NamedTuple):
    """`owner`: what the container's owner set. `image`: what the image says, or what nobody is
    known to have set."""

    owner: dict[str, str]
    image: dict[str, str]


class LabelGroup(Struct, frozen=True):
    """Labels by which a program knows the containers that it made: they are the owner's all
    together, or not at all.

    `proof`: the key whose value the program makes anew for each container or definition, so that an
    image which happens to carry these labels has another value or none. `always`: the keys that the
    program sets on each of its containers, so that one which equals the image's is its own all the
    same.
    """

    prefix: str
    proof: str
    always: frozenset[str]


COMPOSE: Final = LabelGroup(
    "com.docker.compose.",
    "com.docker.compose.config-hash",
    frozenset(
        f"com.docker.compose.{key}"
        for key in (
            "project", "service", "version", "oneoff", "container-number", "config-hash", "image",
            "depends_on", "project.config_files", "project.working_dir",
        )
    ),
)  # fmt: skip
"""Compose writes project, service and version into each image that it builds, with the same values
as on the container (Compose 2, `pkg/compose/build.go`); so values cannot tell whose they are, and
its hash of the definition does."""

SWARM: Final = LabelGroup(
    "com.docker.swarm.",
    "com.docker.swarm.task.id",
    frozenset(
        f"com.docker.swarm.{key}"
        for key in ("node.id", "service.id", "service.name", "task", "task.id", "task.name")
    ),
)  # fmt: skip
"""A task's id is never used again (SwarmKit), so an image that was committed from a task has
another one."""

_GROUPS: Final = (COMPOSE, SWARM)


def divide(
    labels: Mapping[str, str] | None, of_image: Mapping[str, str] | None, *, trusted: bool = False
) -> Labels:
    """Whose each of a container's labels is.

    `of_image`: all labels of its image; None where the image cannot be inspected, and then none is
    known to be the owner's. `trusted`: the settings let this image's labels count as the owner's; a
    group still wants its proof, as each container that somebody runs from the image would else take
    the place of the one that the program made.
    """
    owner: dict[str, str] = {}
    image: dict[str, str] = {}
    if not labels:
        return Labels(owner, image)
    proven = {group.prefix: _proven(group, labels, of_image) for group in _GROUPS}
    for key, value in labels.items():
        group = next((each for each in _GROUPS if key.startswith(each.prefix)), None)
        inherited = of_image is None or of_image.get(key) == value
        if group is not None:
            counts = proven[group.prefix] and (key in group.always or not inherited)
        else:
            counts = trusted or not inherited
        (owner if counts else image)[key] = value
    return Labels(owner, image)


def _proven(
    group: LabelGroup, labels: Mapping[str, str], of_image: Mapping[str, str] | None
) -> bool:
    if of_image is None:
        return False
    if not any(key.startswith(group.prefix) for key in of_image):
        return True
    proof = labels.get(group.proof)
    return proof is not None and proof != of_image.get(group.proof)
