"""A stage for single actions: an engine that answers from a script, and a context around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from dockmend.actions.action import ActionContext
from dockmend.engine.engine_api import Engine
from dockmend.errors import NotFound
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror.identities import Identities
from dockmend.mirror.resolver import Resolver
from dockmend.model import Container, Endpoint, Image, Network
from tests.fakes.owning import Rows, owning

ID = "c" * 64
WEB = Container(id=ID, name="web", state="running", started_at=100.0)


@dataclass
class Script:
    """The few calls actions make. `trouble` maps a call's name to what it raises instead (a list:
    in turn)."""

    containers: dict[str, Container] = field(default_factory=lambda: {ID: WEB})
    networks: dict[str, Network] = field(default_factory=dict)
    pictures: list[Image] = field(default_factory=list)
    holders: dict[str, str] = field(default_factory=dict)  # addresses and who has them
    trouble: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    on: dict[str, Callable[[], None]] = field(default_factory=dict)

    def _called(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in self.on:
            self.on[name]()
        trouble = self.trouble.get(name)
        if isinstance(trouble, list):
            trouble = trouble.pop(0) if trouble else None
        if trouble is not None:
            raise trouble

    def set(self, **changes: Any) -> None:
        self.containers[ID] = replace(self.containers[ID], **changes)

    async def inspect(self, container: str, timeout: float | None = None) -> Container:
        self._called("inspect", container)
        if container not in self.containers:
            raise NotFound(f"inspect: No such container: {container}", 404)
        return self.containers[container]

    async def inspect_network(self, network: str) -> Network:
        self._called("inspect_network", network)
        if network not in self.networks:
            raise NotFound(f"network {network} not found", 404)
        return self.networks[network]

    async def inspect_image(self, image: str) -> Image:
        found = next((each for each in self.pictures if image in (each.id, *each.tags)), None)
        if found is None:
            raise NotFound(f"No such image: {image}", 404)
        return found

    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        self._called("images")
        wanted = (labels or {}).items()
        return tuple(
            each for each in self.pictures
            if all(each.labels.get(key) == value if value else key in each.labels
                for key, value in wanted)
        )  # fmt: skip

    async def restart(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> None:
        self._called("restart", timeout, signal)

    async def start(self, container: str) -> None:
        self._called("start")

    async def stop(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> bool:
        self._called("stop", timeout, signal)
        return True

    async def kill(self, container: str, signal: str | None = None) -> None:
        self._called("kill", signal)

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        self._called("remove", force, volumes)
        self.containers.pop(container, None)

    async def pause(self, container: str) -> None:
        self._called("pause")

    async def unpause(self, container: str) -> None:
        self._called("unpause")

    async def connect_network(self, network: str, container: str, endpoint: Endpoint) -> None:
        self._called("connect", network, endpoint)

    async def disconnect_network(self, network: str, container: str, force: bool = False) -> None:
        self._called("disconnect", network, force)

    async def create_network(self, network: Network) -> str:
        self._called("create_network", network)
        self.networks[network.name] = replace(network, id="made")
        return "made"

    async def addresses(self, network: str) -> dict[str, str]:
        self._called("addresses", network)
        return dict(self.holders)

    async def inspect_raw(self, container: str) -> dict[str, Any]:
        return {}

    async def remove_image(self, image: str, force: bool = False) -> None:
        self._called("remove_image", image)
        self.pictures = [each for each in self.pictures if image not in (each.id, *each.tags)]

    async def tag_image(self, image: str, reference: str) -> None:
        self._called("tag_image", image, reference)
        self._name(image, reference)

    def _name(self, image: str, reference: str) -> None:
        """It has the name from now on, and no other has."""
        for index, each in enumerate(self.pictures):
            others = tuple(tag for tag in each.tags if tag != reference)
            self.pictures[index] = replace(
                each, tags=(*others, reference) if each.id == image else others
            )

    async def commit(self, container: str, repository: str, tag: str, **rest: Any) -> str:
        self._called("commit", repository, tag, rest)
        image = Image(id="sha256:new", labels=dict(rest["labels"]), created_at=1000.0)
        self.pictures.append(image)
        self._name(image.id, f"{repository}:{tag}")
        return image.id

    def did(self, *without: str) -> list[Any]:
        """The names of the calls, without those that only look."""
        return [
            call[0]
            for call in self.calls
            if call[0] not in {"inspect", "inspect_network", "images", "addresses", *without}
        ]


@dataclass
class Stage:
    """Everything around one action; `now` is the clock."""

    engine: Script = field(default_factory=Script)
    rows: Rows = field(default_factory=Rows)
    known: dict[str, Endpoint] = field(default_factory=dict)
    defined: dict[str, Network] = field(default_factory=dict)
    published: list[tuple[str, str, bool]] = field(default_factory=list)
    undo: dict[str, Any] = field(default_factory=dict)
    network: str | None = None
    now: float = 1000.0
    fields: dict[str, str] = field(default_factory=lambda: {"container.name": "web"})
    identities: Identities = field(default_factory=Identities)

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.published.append((topic, payload, retain))

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        return self.known

    def network_definition(self, name: str) -> Network | None:
        return self.defined.get(name)

    def members(self, network: str) -> list[tuple[Container, Endpoint]]:
        return [(WEB, self.known[network])] if network in self.known else []

    def container(self, container_id: str) -> Container | None:
        return None

    def container_named(self, name: str) -> Container | None:
        return None

    def engine_was_there(self, at: float) -> bool:
        return True

    def stopped(self, container_id: str) -> bool:
        return False

    def network_named(self, name: str) -> Network | None:
        return None

    def containers(self) -> Iterable[Container]:
        return ()

    def of_target(self, target: str) -> Container | None:
        return None

    def taken_down(self, container_id: str) -> bool:
        return False

    def is_to_run(self, container: Container, since: float) -> bool:
        return container.running

    def joined_at(self, container: Container) -> float:
        return container.started_at

    def of_owner(self, owner: str) -> Container | None:
        return None

    def shares(self, container: Container) -> bool:
        return True

    def beginning_with(self, digits: str) -> Container | None:
        return None

    @property
    def resolver(self) -> Resolver:
        return Resolver(self, self.identities)

    def orphans(self, group: str) -> list[Container]:
        return []

    def render(self, text: str) -> str:
        for key, value in self.fields.items():
            text = text.replace(f"{{{key}}}", value)
        return text

    @property
    def context(self) -> ActionContext:
        incident = Incident(
            id="i0", rule="heal", trigger="container.unhealthy", target="container:web",
            kind="container", object_id=ID, object_name="web", trouble="t", opened_at=self.now,
            network=self.network,
        )  # fmt: skip

        async def remember(undo: Mapping[str, Any]) -> None:
            self.engine.calls.append(("remember",))
            self.undo = dict(undo)

        remembering: Callable[[Mapping[str, Any]], Awaitable[None]] = remember
        return ActionContext(
            engine=cast("Engine", self.engine),
            own=owning(self.engine, self.rows, lambda: self.now), view=self, teller=self,
            incident=incident, clock=lambda: self.now, state=Path("/nonexistent"), bind_roots=(),
            render=self.render, remember=remembering,
        )  # fmt: skip

    def record(
        self, action: str, undo: Mapping[str, Any] | None = None, began_at: float | None = None
    ) -> ActionRecord:
        return ActionRecord(
            id="a0", incident="i0", rule="heal", target="container:web", attempt=1, action=action,
            object_id=ID, object_name="web", params={},
            began_at=self.now if began_at is None else began_at,
            undo=dict(self.undo if undo is None else undo),
        )  # fmt: skip
