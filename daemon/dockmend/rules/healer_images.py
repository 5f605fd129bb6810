"""Other healers that run on the same host, other dockmends too, told by the names of their images.

A name alone stops nothing: whoever makes an image gives it one. A healer has a way to the engine
too, which only the container's owner can give it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from dockmend.model import Container

_HEALER = re.compile(r"(^|/)(docker-)?(autoheal|deunhealth)([:@]|$)")
_DOCKMEND = re.compile(r"(^|/)dockmend([:@]|$)")
_SOCKET = re.compile(r"/(docker|podman)\.sock\Z")
_ABOVE_IT = frozenset({"/", "/run", "/var/run"})
"""Folders that hold the socket of the engine where distributions put it."""
TITLE = "org.opencontainers.image.title"
"""The label by which an image says what it holds."""


def foreign_healers(containers: Iterable[Container]) -> list[str]:
    """The names of running containers that are other healers, by their image's name and a
    way to the engine."""
    return sorted(each.name for each in containers if _heals(each))


def other_dockmends(
    containers: Iterable[Container], is_own: Callable[[Container], bool]
) -> list[str]:
    """The names of running containers that look like dockmend and are not this one. An image says
    so about itself: it is a reason for a warning, and for nothing else."""
    return sorted(each.name for each in containers if _is_dockmend(each) and not is_own(each))


def healers_changed(before: Container | None, after: Container | None) -> bool:
    """Whether a change of one container's record can be the coming or going of another healer, or
    of a dockmend."""
    if (
        before is not None
        and after is not None
        and before.running == after.running
        and before.name == after.name
    ):
        return False
    return any(
        each is not None and (_heals(each) or _is_dockmend(each)) for each in (before, after)
    )


def _heals(container: Container) -> bool:
    return (
        container.running
        and _HEALER.search(container.image.lower()) is not None
        and _reaches_the_engine(container)
    )


def _reaches_the_engine(container: Container) -> bool:
    """Whether its owner gave it the engine's socket, or an address. A proxy that it finds under a
    name in its network is told by the address too."""
    return container.engine_address or any(
        each.kind == "bind"
        and (
            _SOCKET.search(each.source) is not None
            or _SOCKET.search(each.destination) is not None
            or each.source in _ABOVE_IT
        )
        for each in container.mounts
    )


def _is_dockmend(container: Container) -> bool:
    """One that Compose ran for a single command is none."""
    if not container.running or container.one_off:
        return False
    title = (container.image_labels | container.labels).get(TITLE, "")
    return title.lower() == "dockmend" or _DOCKMEND.search(container.image.lower()) is not None
