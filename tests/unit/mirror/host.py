"""A host in a few lines: makes the events and inspect answers of a container, at times the test
sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.model import Actor, Change, Container, Endpoint, Event, Network

ID = "c0ffee" + "0" * 58


def event(kind: str, action: str, id: str, at: float, **attributes: str) -> Event:
    return Event(kind, action, Actor(id, attributes), int(at * 1e9))


@dataclass
class Host:
    """`now` moves only when a test says so; `seen` collects every change."""

    mirror: Mirror = field(default_factory=Mirror)
    now: float = 1000.0
    seen: list[Change] = field(default_factory=list)

    def container(self, **fields: Any) -> Container:
        given: dict[str, Any] = {
            "id": ID,
            "name": "web",
            "state": "running",
            "started_at": 900.0,
            "created_at": 900.0,
        }
        return Container(**{**given, **fields})

    def relist(
        self,
        *containers: Container,
        networks: tuple[Network, ...] = (),
        blind: bool = False,
        first: bool = False,
    ) -> list[Change]:
        return self._take(self.mirror.relist(
            containers, networks, (), self.now, "started" if first else "relisted", blind=blind
        ))  # fmt: skip

    def emit(
        self, action: str, id: str = ID, kind: str = "container", **attributes: str
    ) -> list[Change]:
        return self._take(
            self.mirror.apply(event(kind, action, id, self.now, **attributes), self.now)
        )

    def look(self, container: Container) -> list[Change]:
        self.mirror.wanted.discard(container.id)
        return self._take(self.mirror.observe(container, self.now))

    def wait(self, seconds: float) -> list[Change]:
        self.now += seconds
        return self._take(self.mirror.tick(self.now))

    def ended(self, code: int, **fields: Any) -> Container:
        present = self.mirror.container(ID)
        assert present is not None
        return replace(
            present, state="exited", exit_code=code, finished_at=self.now, health="", **fields
        )

    def triggers(self) -> list[str]:
        return [trigger for change in self.seen for trigger in change.triggers]

    def _take(self, changes: Any) -> list[Change]:
        taken = list(changes)
        self.seen += taken
        return taken


def endpoint(network_id: str = "n1", **fields: Any) -> Endpoint:
    return Endpoint(network_id=network_id, **fields)
