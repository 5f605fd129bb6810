"""What the rest of dockmend asks of an engine: the protocol that the real client and the fake one
both pass.

Every method may raise `EngineAway` (nobody answers), `Temporary`, `Permanent` or `NotFound` from
dockmend.errors, and nothing else; every one ends within its timeout (seconds; the client's default
where None).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from dockmend.errors import Temporary
from dockmend.model import Container, Endpoint, Event, Image, Network, Volume

PODMAN = "Podman"
DOCKER = "Docker Engine"


class EngineInfo(Struct, frozen=True):
    """Who answers: `id` outlives restarts of the engine, `name` is the host's; `product`: DOCKER or
    PODMAN.

    `started_at`: when this engine began (wall seconds), by its files; 0.0 where they cannot be
    read.
    """

    id: str
    name: str
    version: str
    api_version: str
    live_restore: bool = False
    swarm: bool = False
    manager: bool = False  # of a swarm: it lists all of its networks, a worker only those in use
    containers: int = 0
    product: str = DOCKER
    started_at: float = 0.0

    @property
    def identity(self) -> str:
        """What tells this engine from all others. Podman makes up another id for each answer, so it
        is the host."""
        return f"podman-{self.name}" if self.product == PODMAN else self.id


class Listing(Struct, frozen=True):
    """One look at everything the mirror holds; every container was inspected. `began_at`,
    `ended_at`: wall seconds.

    `stale` names what could not be listed and is as it was last seen ("volumes": a volume plugin
    that is down hangs their list, which must not blind us to the containers). `unread`: ids of
    containers whose inspect failed or hung.
    """

    containers: tuple[Container, ...]
    networks: tuple[Network, ...]
    volumes: tuple[Volume, ...]
    began_at: float
    ended_at: float
    stale: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def whole(self) -> tuple[Container, ...]:
        """The containers, for who must know of each. Raises Temporary where some could not be
        inspected."""
        if self.unread:
            raise Temporary(
                f"{len(self.unread)} container(s) cannot be inspected: "
                f"{', '.join(self.unread[:3])[:80]}"
            )
        return self.containers


class Execution(Struct, frozen=True):
    """A command in a container. `exit_code`: None while it runs or was not begun; `pid`: on the
    engine's host."""

    running: bool
    exit_code: int | None = None
    pid: int = 0


class Batch(Struct, frozen=True):
    """Events that were read together. `malformed` counts lines that were not events (bounded, never
    fatal)."""

    events: list[Event]
    malformed: int = 0


class EventStream(Protocol):
    """One subscription. A task of its own drains the socket at once whatever the consumer does."""

    async def batch(self) -> Batch | None:
        """What has come since the last call (waits for at least one event); None at the end: a
        disconnection, always.

        Where the consumer fell behind by more than the bound, what was buffered is dropped and
        `overflowed` is True.
        """

    overflowed: bool


class OwnNames(Protocol):
    """What the journal proves of names like those that a recreation gives: anybody may choose such
    a name."""

    def judged(self, container: Container) -> Container:
        """With the proof of what its name says."""

    def plain_name(self, name: str) -> str:
        """Without what a recreation added to it, if it was one of dockmend's; also of a container
        that is gone."""


class Engine(Protocol):
    url: str
    names: OwnNames

    async def connect(self) -> EngineInfo:
        """Settles the API version with the engine and says who answers."""

    async def started_at(self) -> float:
        """When the engine that is there now, or was last, began (wall seconds), by its files: it
        need not answer, but must have once. 0.0: not known."""

    async def close(self) -> None: ...
    async def ping(self, timeout: float | None = None) -> None: ...

    # the stream
    def events(self, since_ns: int | None = None) -> AbstractAsyncContextManager[EventStream]:
        """Subscribes (all but exec_*); with `since_ns` the engine replays what its ring still
        holds, inclusive."""

    async def marker_present(self, event: Event) -> bool:
        """The usable test for a gap: is the last event that was seen still in the engine's ring?"""

    async def past(self, since_ns: int, timeout: float | None = None) -> Batch:
        """What the engine's ring holds from then to now, in its order: what the stream has brought
        or is to bring."""

    # looking
    async def listing(self) -> Listing: ...
    async def inspect(self, container: str, timeout: float | None = None) -> Container: ...
    async def inspect_raw(self, container: str) -> dict[str, Any]:
        """The engine's answer as it is. Only each network but the main one has a field more, if its
        value is known: `DesiredMacAddress`, the MAC address that was configured, "" if none was."""

    async def inspect_network(self, network: str) -> Network: ...
    async def addresses(self, network: str) -> dict[str, str]:
        """Who has which address of a network at present: address -> name of the container."""

    async def networks(self) -> tuple[Network, ...]: ...
    async def volumes(self, timeout: float | None = None) -> tuple[Volume, ...]: ...
    async def inspect_volume(self, volume: str) -> Volume: ...
    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Those that bear all of `labels`; one without a value is asked for whatever value it
        has."""

    async def inspect_image(self, image: str) -> Image: ...
    async def inspect_image_raw(self, image: str) -> dict[str, Any]: ...

    # containers; `timeout` here is the engine's stop timeout in seconds, the call itself gets that
    # plus a margin
    async def restart(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> None: ...
    async def start(self, container: str) -> None: ...
    async def stop(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> bool:
        """False if it did not run: something else had ended it."""

    async def kill(self, container: str, signal: str | None = None) -> None: ...
    async def pause(self, container: str) -> None: ...
    async def unpause(self, container: str) -> None: ...
    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None: ...
    async def rename(self, container: str, name: str) -> None: ...
    async def update(self, container: str, changes: Mapping[str, Any]) -> None:
        """Changes limits and the restart policy of a container, running or not: a raw update
        body."""

    async def create(self, name: str | None, config: Mapping[str, Any]) -> str:
        """Makes a container from a raw create body; returns its id. The body may name several
        networks, also where the API is older than 1.44 and takes one: the container is then
        connected to the others."""

    async def wait(self, container: str, timeout: float) -> int:
        """Its exit code, as soon as it does not run; Temporary where that takes longer than
        `timeout` seconds."""

    # commands in containers
    def logs(self, container: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What a container without a terminal has written so far, both outputs."""

    async def last_lines(self, container: str, count: int, *, terminal: bool) -> list[str]:
        """The newest lines that a container has written, both outputs, the oldest first; of much
        text the end. `terminal`: whether it has one, by its definition."""

    async def exec_create(
        self,
        container: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        workdir: str | None = None,
    ) -> str:
        """Prepares a command in a container that runs; nothing has begun. Returns the command's
        id."""

    def exec_start(self, execution: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Begins it; what it writes (both outputs, as it comes), to its end. Leaving early does not
        end the command."""

    async def exec_inspect(self, execution: str) -> Execution: ...

    # networks
    async def connect_network(self, network: str, container: str, endpoint: Endpoint) -> None: ...
    async def disconnect_network(
        self, network: str, container: str, force: bool = False
    ) -> None: ...
    async def create_network(self, network: Network) -> str:
        """Makes a network as `network` says (its id and times aside); returns its id."""

    async def create_volume(
        self,
        name: str,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume: ...
    async def remove_volume(self, name: str) -> None: ...

    # images
    async def commit(
        self,
        container: str,
        repository: str,
        tag: str,
        message: str = "",
        author: str = "",
        changes: Sequence[str] = (),
        pause: bool = True,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Commits a container; returns the image's id."""

    async def remove_image(self, image: str, force: bool = False) -> None: ...
    async def tag_image(self, image: str, reference: str) -> None:
        """`reference` (repository:tag) names this image from now on, and no other."""

    async def load_empty_image(self, reference: str) -> None:
        """An image of no bytes under this reference (repository:tag); the same one however often,
        also at once."""

    # archives
    def get_archive(
        self, container: str, path: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The tar of `path`, identity encoding, in chunks; constant memory. The response is closed
        on leaving."""

    async def put_archive(
        self, container: str, path: str, body: AsyncIterator[bytes], encoding: str = "identity"
    ) -> None: ...
