"""Other healers that run on the same host, told by the names of their images."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dockmend.model import Container

_HEALER = re.compile(r"(^|/)(docker-)?(autoheal|deunhealth)([:@]|$)")


def foreign_healers(containers: Iterable[Container]) -> list[str]:
    """The names of running containers that are other healers, by their image's name."""
    return sorted(each.name for each in containers if _heals(each))


def healers_changed(before: Container | None, after: Container | None) -> bool:
    """Whether a change of one container's record can be the coming or going of another healer."""
    if before is not None and after is not None and before.running == after.running and before.name == after.name:
        return False
    return any(each is not None and _heals(each) for each in (before, after))


def _heals(container: Container) -> bool:
    return container.running and _HEALER.search(container.image.lower()) is not None
