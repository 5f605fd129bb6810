"""Actions on a real engine, without the pipeline: what a runner would give them, and what it would
write down."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockmend.actions import load
from dockmend.actions.action import REGISTRY, ActionContext, ActionResult, Settled
from dockmend.engine.client import DockerEngine
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror.identities import Identities
from dockmend.mirror.resolver import Resolver
from dockmend.model import Container, Endpoint, Network, Object, target_of
from dockmend.rules.fields import CONTEXTS
from dockmend.rules.templates import compile_template
from tests.fakes.owning import Rows, owning
from tests.lab import PrivateEngine, eventually_async

INCIDENT = "i00000000000test"


class Died(BaseException):
    """dockmend's death in mid-action: nothing in the action may catch it."""


class Heard:
    """A teller that keeps what it was told."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, bool]] = []

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.messages.append((topic, payload, retain))


class Known:
    """The mirror's last known good networks, taken by hand with `learn`."""

    def __init__(self) -> None:
        self.networks: dict[str, dict[str, Endpoint]] = {}
        self.seen: dict[str, Container] = {}
        self.defined: dict[str, Network] = {}
        self.identities = Identities()

    def learn(self, container: Container) -> None:
        self.networks[container.id] = dict(container.networks)
        self.seen[container.id] = container

    def network_definition(self, name: str) -> Network | None:
        return self.defined.get(name)

    def members(self, network: str) -> list[tuple[Container, Endpoint]]:
        return [
            (self.seen[one], known[network])
            for one, known in self.networks.items()
            if network in known
        ]

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        return self.networks.get(container_id, {})

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


@dataclass
class Acting:
    """Runs and settles actions; `undo` is what the last one remembered, `at` the clock's offset."""

    docker: PrivateEngine
    client: DockerEngine
    rows: Rows = field(default_factory=Rows)
    view: Known = field(default_factory=Known)
    teller: Heard = field(default_factory=Heard)
    rule: str = "heal"
    incident: str = INCIDENT
    network: str | None = None
    undo: dict[str, Any] = field(default_factory=dict)
    # seconds the clock is ahead: settling need not wait for what cannot be under way
    ahead: float = 0.0
    # names of containers to be left alone, and why
    forbidden: dict[str, str] = field(default_factory=dict)
    dies: bool = False  # at the moment the undo is on disk

    def context(self, subject: Container | Network) -> ActionContext:
        now = time.time() + self.ahead
        incident = Incident(
            id=self.incident, rule=self.rule, trigger="container.unhealthy",
            target=target_of(subject),
            kind="network" if isinstance(subject, Network) else "container", object_id=subject.id,
            object_name=subject.name, trouble="t", opened_at=now, network=self.network,
        )  # fmt: skip
        fields = {
            "container.name": subject.name,
            "container.labels": subject.labels,
            "now": now,
            "rule.name": self.rule,
        }

        async def remember(undo: Mapping[str, Any]) -> None:
            self.undo = dict(undo)
            if self.dies:
                raise Died

        return ActionContext(
            engine=self.client,
            own=owning(self.client, self.rows, lambda: time.time() + self.ahead), view=self.view,
            teller=self.teller, incident=incident, clock=lambda: time.time() + self.ahead,
            state=Path("/nonexistent"), bind_roots=(),
            render=lambda text: compile_template(text, CONTEXTS).render(fields), remember=remember,
            forbids=self._forbids,
        )  # fmt: skip

    async def learn(self, *names: str) -> None:
        """Take the networks of these containers for the last known good ones."""
        for name in names:
            self.view.learn(await self.client.inspect(name))

    async def run(self, action: str, params: Any, name: str) -> ActionResult:
        return await self.run_on(action, params, await self.client.inspect(name))

    async def run_on(self, action: str, params: Any, subject: Container | Network) -> ActionResult:
        """`run`, for an object that need not be there."""
        return await REGISTRY[action].run(self.context(subject), params, subject)

    async def run_and_die(self, action: str, params: Any, name: str) -> ActionRecord:
        """Up to the undo on disk, and not a step further; the record that the next start finds."""
        self.dies = True
        subject = await self.client.inspect(name)
        try:
            await REGISTRY[action].run(self.context(subject), params, subject)
        except Died:
            return self.record(action, subject)
        finally:
            self.dies = False
        raise AssertionError(f"{action} remembered nothing before it acted")

    async def gone(self, network: str) -> None:
        """Wait until the engine has removed it: in a swarm that is later than it says."""

        async def away() -> bool:
            return all(each.name != network for each in await self.client.networks())

        await eventually_async(away, what=f"network {network} is gone")

    @asynccontextmanager
    async def on(self, docker: PrivateEngine) -> AsyncIterator[Acting]:
        """The same on another engine."""
        client = DockerEngine(docker.url)
        try:
            yield Acting(docker, client)
        finally:
            await client.close()

    def _forbids(self, other: Object) -> str | None:
        verdict = Guards().forbids(other)
        return self.forbidden.get(other.name) or (verdict.reason if verdict is not None else None)

    def record(self, action: str, subject: Container | Network) -> ActionRecord:
        return ActionRecord(
            id="a00000000000test", incident=self.incident, rule=self.rule,
            target=target_of(subject), attempt=1, action=action, object_id=subject.id,
            object_name=subject.name, params={}, began_at=time.time() + self.ahead, undo=self.undo,
        )  # fmt: skip

    async def settle(self, record: ActionRecord) -> Settled:
        subject = Container(id=record.object_id, name=record.object_name)
        return await REGISTRY[record.action].settle(self.context(subject), record)


load()
