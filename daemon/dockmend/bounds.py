"""How much is kept of what an image's author, and whoever runs a container, may write without an
end.

Of two hosts with the same containers, the one whose strangers write more must not need more memory.
Of labels the short ones are kept: one that says something to dockmend, to a rule or to Docker's
tools is some dozens of bytes, and one that fills the memory is not. What is left out is counted. If
it could have steered dockmend, the container says so (`Container.too_much`) and is left alone.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from dockmend.label_owner import COMPOSE, SWARM, divide

T = TypeVar("T")

OWNERS: Final = 256 << 10
"""Bytes that are kept of the labels that a container's owner set, as much as Kubernetes allows for
annotations; and of those of which nobody knows who set them."""
IMAGES: Final = 16 << 10
"""Bytes that are kept of the labels of its image: they are shown, and steer nothing."""
PLACES: Final = 256 << 10
"""Bytes that are kept of its mounts, of its networks, and of what else its definition lists."""
ENTRY: Final = 100
"""Bytes that an entry takes beside its texts: many short ones fill the memory, too."""
VALUE: Final = 256
"""Characters that are kept of an image's value for a key of NOTED."""
MANY: Final = 1000
"""Labels beyond which those of the image are thinned out before anything looks at each of them."""

NAME: Final = 255
"""Characters of a name. The engine takes names of containers and networks of nearly a million
(tried on 26.1)."""
_CUT = re.compile(r".{200}\u2026[0-9a-f]{16}", re.DOTALL)
_IDENTITY: Final = tuple(
    f"com.docker.{key}"
    for key in (
        "compose.project", "compose.service", "compose.container-number", "swarm.service.name",
        "swarm.task.name", "swarm.node.id",
    )
)  # fmt: skip
"""Labels whose values are part of a target, which stands in each record."""

NOTED: Final = (
    frozenset({
        "dockmend.ignore", "dockmend.heal", "dockmend.heal.on", "dockmend.heal.action",
        "dockmend.heal.after", "dockmend.heal.attempts", "dockmend.heal.stop-timeout",
        "dockmend.rejoin", "dockmend.notify", "dockmend.depends-on", "dockmend.image",
        "dockmend.helper", "autoheal", "autoheal.stop.timeout", "deunhealth.restart.on.unhealthy",
        "exitCode", "execDuration", "signal", "name", "image", "oldName",
    })
    | COMPOSE.always
    | SWARM.always
)  # fmt: skip
"""Keys that are kept of an image's labels before any other: `doctor` says that they do not count
there, and they tell that an attribute of an event is forged."""


class RetainedKeys(NamedTuple):
    """`left_out`: bytes of what is not among `labels`."""

    labels: dict[str, str]
    left_out: int = 0


class Divided(NamedTuple):
    """A container's labels as `label_owner.divide` does it, within bounds. `left_out`: bytes that
    are in neither; `too_much`: among them are labels of its owner, or some of which nobody knows
    whose they are."""

    owner: dict[str, str]
    image: dict[str, str]
    left_out: int = 0
    too_much: bool = False


def bounded_name(said: str) -> str:
    """A name, or of one that is too long its beginning and what tells it from others that begin
    alike."""
    if len(said) <= NAME:
        return said
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{said[:200]}\u2026{digest[:16]}"


def is_cut(said: str) -> bool:
    """Whether it looks like a name that was too long: nothing is made under that."""
    return _CUT.fullmatch(said) is not None


def size(labels: Mapping[str, str]) -> int:
    """Bytes that labels take, about; fast."""
    return sum(map(len, labels)) + sum(map(len, labels.values())) + ENTRY * len(labels)


def divided(
    labels: Mapping[str, str] | None, of_image: Mapping[str, str] | None, *, trusted: bool = False
) -> Divided:
    """Whose each of a container's labels is, and as many of them as there is room for; the
    arguments: see `divide`."""
    if not labels:
        return Divided({}, {})
    seen = labels
    if len(labels) > MANY and of_image is not None and not trusted:
        seen = _thinned(labels, of_image)
    owner, image = divide(seen, of_image, trusted=trusted)
    for key in _IDENTITY:
        if key in owner:
            owner[key] = bounded_name(owner[key])
    of_owner = kept(owner, OWNERS)
    of_both = kept(image, OWNERS if of_image is None else IMAGES, NOTED)
    left_out = of_owner.left_out + of_both.left_out
    if seen is not labels:
        left_out += size(labels) - size(seen)
    too_much = of_owner.left_out > 0 or (of_image is None and of_both.left_out > 0)
    return Divided(of_owner.labels, of_both.labels, left_out, too_much)


def _thinned(labels: Mapping[str, str], of_image: Mapping[str, str]) -> dict[str, str]:
    """Without most of the labels that are the image's: those that may be the owner's, those that
    are noted, and the few with the shortest keys. A hundred thousand labels are compared in C, not
    looked at one by one."""
    keys = {key for key, _ in labels.items() - of_image.items()}
    keys |= NOTED & labels.keys()
    keys.update(heapq.nsmallest(IMAGES // ENTRY, labels, key=len))
    return {key: labels[key] for key in keys}


def kept(
    labels: dict[str, str], room: int, noted: frozenset[str] = frozenset(), value: int = VALUE
) -> RetainedKeys:
    """As many of the labels as have room, in bytes, the shortest first.

    If not all have: before them those of the keys `noted`, of each of whose values `value`
    characters are kept.
    """
    whole = sum(_cost(key, said) for key, said in labels.items())
    if whole <= room:
        return RetainedKeys(labels)
    found = {key: labels[key][:value] for key in noted & labels.keys()}
    used = sum(_cost(key, said) for key, said in found.items())
    others = ((_cost(key, said), key) for key, said in labels.items() if key not in found)
    for cost, key in heapq.nsmallest(room // ENTRY, others):
        if used + cost > room:
            break
        found[key] = labels[key]
        used += cost
    return RetainedKeys(found, whole - used)


def first(items: Iterable[T], cost: Callable[[T], int], room: int = PLACES) -> tuple[list[T], int]:
    """The first items that have room, and the bytes of the others; `cost`: the bytes of an item's
    texts."""
    found, used, left_out = [], 0, 0
    for item in items:
        taken = ENTRY + cost(item)
        if left_out or used + taken > room:
            left_out += taken
        else:
            found.append(item)
            used += taken
    return found, left_out


def _cost(key: str, value: str) -> int:
    """At most what the two take: a text with one letter beyond ASCII takes up to four bytes for
    each of its letters."""
    return (
        ENTRY
        + (len(key) if key.isascii() else 4 * len(key))
        + (len(value) if value.isascii() else 4 * len(value))
    )
