"""Containers that `recreate` set aside and that no open incident will put right: their journal was lost.

Each start settles what its journal holds (taking_up). A journal that was set aside as damaged, or another state folder,
knows of no exchange that was under way; the container's name still does. Nothing is removed here: that it is dockmend's
to remove, only the journal could prove.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec.structs import replace

from dockmend.engine.api import Engine
from dockmend.errors import EngineError, JournalError, NotFound
from dockmend.guards import Guards
from dockmend.journal.api import Journal
from dockmend.mirror import Mirror
from dockmend.model import ASIDE, Container, aside_name
from dockmend.pipeline.incidents import Incidents, begun_at

log = structlog.get_logger("dockmend")

BEGUN = "aside/"
"""Key of what is begun here: the id of a container that takes its name again and is to be started."""
_ASIDE = re.compile(rf"(?P<name>.+){re.escape(ASIDE)}old-(?P<incident>i[0-9a-hjkmnp-tv-z]{{15}})")


@dataclass(frozen=True, slots=True)
class Left:
    """One that was left aside; `name` is the one it had, `incident` the one that set it aside."""

    container: Container
    name: str
    incident: str

    @property
    def successor(self) -> str:
        """The name of the one that was made in its place, while that had not taken it."""
        return aside_name(self.name, "new", self.incident)


def left_aside(containers: Iterable[Container]) -> list[Left]:
    """Those set aside, by their names alone: also those of an exchange that is under way."""
    found = ((each, _ASIDE.fullmatch(each.name)) for each in containers)
    return [Left(each, match["name"], match["incident"]) for each, match in found if match]


@dataclass(slots=True)
class LeftAside:
    """`shadow`: nothing is done, it is only said."""

    engine: Engine
    journal: Journal
    mirror: Mirror
    incidents: Incidents
    guards: Guards
    shadow: bool = False

    async def put_right(self) -> None:
        """Gives each its name back where that is free, and starts it where it ran; of all others it is said."""
        await self._go_on()
        for left in left_aside(list(self.mirror.containers())):
            if left.incident in self.incidents.open or await self._journalled(left):
                continue
            try:
                await self._one(left)
            except (EngineError, JournalError) as error:
                log.warning("left aside, and could not be put right", container=left.container.name, error=str(error))

    async def _go_on(self) -> None:
        """What the dockmend before this one had begun here."""
        for key in await self.journal.known_keys(BEGUN):
            try:
                container = await self.engine.inspect(key.removeprefix(BEGUN))
                if not container.running and ASIDE not in container.name and not self.shadow:
                    await self.engine.start(container.id)
            except NotFound:
                pass
            except EngineError as error:
                log.warning("what was set aside could not be started", error=str(error))
                continue
            self.journal.put_known(key, None)

    async def _journalled(self, left: Left) -> bool:
        """Whether the journal has an intent of that exchange which is still to be settled."""
        story = await self.journal.story(left.incident)
        return story is not None and any(record.outcome is None for record in story[1])

    async def _one(self, left: Left) -> None:
        container, name = left.container, left.name
        other = self.mirror.container_named(name)
        forbidden = self.guards.forbids(replace(container, name=name))
        if other is not None or forbidden or self.shadow:
            why = f"{name} is there" if other else forbidden.reason if forbidden else "shadow mode"
            log.warning(
                "set aside by a recreation and left as it is: no journal proves it dockmend's to remove",
                container=container.name, why=why, remove=f"docker rm {container.name}",
            )  # fmt: skip
            return
        before = await self.engine.inspect(container.id)
        policy = await self._restart_policy(left)
        ran = before.state == "exited" and before.finished_at >= begun_at(left.incident)
        if ran:
            self.journal.put_known(BEGUN + container.id, b"")
            await self.journal.committed()
        await self.engine.rename(container.id, name)
        if policy is not None and policy.get("Name") != before.restart_policy:
            await self.engine.update(container.id, {"RestartPolicy": dict(policy)})
        if ran:
            await self.engine.start(container.id)
            self.journal.put_known(BEGUN + container.id, None)
        log.warning(
            "a container was left aside by a recreation that no journal tells of: it has its name again",
            container=name, started=ran, restart_policy=_told(policy),
        )  # fmt: skip

    async def _restart_policy(self, left: Left) -> Mapping[str, Any] | None:
        """It was taken from it when it was set aside; the one that was made in its place has the same."""
        try:
            raw = await self.engine.inspect_raw(left.successor)
        except NotFound:
            return None
        if str(raw.get("Name", "")).removeprefix("/") != left.successor:
            return None
        log.warning(
            "what was made in its place is left as it is: no journal proves it dockmend's to remove",
            container=left.successor, remove=f"docker rm {left.successor}",
        )  # fmt: skip
        policy: Mapping[str, Any] | None = (raw.get("HostConfig") or {}).get("RestartPolicy")
        return policy


def _told(policy: Mapping[str, Any] | None) -> str:
    if policy is None:
        return "not known: it has none now; set it with docker update --restart"
    return str(policy.get("Name") or "no")
