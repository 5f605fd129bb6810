"""The Docker Engine as the rest of dockmend sees it: `DockerEngine` passes the protocol of
`engine_api.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from dockmend.model import Event

from .archives import Archives
from .container_files import ContainerFiles
from .discover import TLS, EngineAddress
from .engine_api import PODMAN, Batch, EngineInfo, EventStream
from .engine_mutations import EngineMutations
from .engine_times import epoch
from .error_mapping import translated
from .event_filter import subscription
from .exec_streams import ExecCommands
from .podman import as_docker_says
from .stream import Drain
from .transport import Transport, path
from .wire import info_decoder

PING_TIMEOUT = 5.0
UNSURE = 0.5  # seconds that the engine's clock may differ from ours unnoticed (see `ahead`)
_FILTERS = msgspec.json.encode({"event": subscription()}).decode()


class DockerEngine(EngineMutations, ExecCommands, Archives):
    """One engine. Nothing is connected before the first call; `close` gives everything back.

    `timeout` is the seconds a call may take unless it says otherwise; `trusted` tells for an
    image's reference whether its own steering labels count (the settings' `trusted_images`);
    `clock` is the wall clock; `root` is the engine's data folder, which a local engine tells
    itself.
    """

    def __init__(
        self,
        url: str,
        tls: TLS | None = None,
        timeout: float = 30.0,
        trusted: Callable[[str], bool] | None = None,
        clock: Callable[[], float] = time.time,
        root: Path | None = None,
    ) -> None:
        super().__init__(Transport(url, tls, timeout), trusted or (lambda image: False), clock)
        self.url = url
        self._root = root
        self._translate: Callable[[Event], Event] | None = None
        self._engine_ahead = 0.0  # seconds the engine's clock is ahead of ours

    @classmethod
    def at(
        cls,
        address: EngineAddress,
        timeout: float = 30.0,
        trusted: Callable[[str], bool] | None = None,
        root: Path | None = None,
    ) -> DockerEngine:
        """The engine at an address that `discover` found."""
        return cls(address.url, address.tls, timeout, trusted, root=root)

    @property
    def ahead(self) -> float:
        """Seconds the engine's clock is ahead of ours, as `connect` found it; less than half a
        second is 0.0."""
        return self._engine_ahead

    async def connect(self) -> EngineInfo:
        version = await self._transport.negotiate()
        info = self._transport.decoded(
            info_decoder, await self._transport.call("info", "info"), "info"
        )
        ahead = (epoch(info.SystemTime) or self._clock()) - self._clock()
        # Below that it is the time the call took, and would only make the stream begin in the past.
        self._engine_ahead = ahead if abs(ahead) > UNSURE else 0.0
        self._translate = as_docker_says if version.product == PODMAN else None
        self._find_files(info.DockerRootDir, version.product)
        return EngineInfo(
            id=info.ID,
            name=info.Name,
            version=version.Version or info.ServerVersion,
            api_version=str(self._transport.api_version or ""),
            live_restore=info.LiveRestoreEnabled,
            swarm=info.Swarm is not None and info.Swarm.LocalNodeState == "active",
            manager=info.Swarm is not None and info.Swarm.ControlAvailable,
            containers=info.Containers,
            product=version.product,
            started_at=await self.started_at(),
        )

    async def started_at(self) -> float:
        return await self.files.engine_started_at() if self.files is not None else 0.0

    def _find_files(self, told: str, product: str) -> None:
        """Where the engine's files are; a path that another host's engine tells is none of this
        host."""
        local = told if self.url.startswith("unix:") and product != PODMAN else ""
        root = self._root or (Path(local) if local.startswith("/") else None)
        if root is None:
            self.files = None
        elif self.files is None or self.files.root != root:
            self.files = ContainerFiles(root)

    async def close(self) -> None:
        await self._transport.close()

    async def ping(self, timeout: float | None = None) -> None:
        limit = PING_TIMEOUT if timeout is None else timeout
        await self._transport.call("ping", "_ping", timeout=limit, versioned=False)

    @asynccontextmanager
    async def events(self, since_ns: int | None = None) -> AsyncIterator[EventStream]:
        """See engine_api.py. If the engine's clock may step back, let `since_ns` lie a second
        before the last event.

        The engine answers a moment before it has subscribed; without `since_ns` it is asked for
        what came since now (by its own clock), so that nothing falls into that moment.
        """
        since = int((self._clock() + self._engine_ahead) * 1e9) if since_ns is None else since_ns
        request = path("events", query={"since": _timestamp(since), "filters": _FILTERS})
        async with self._transport.stream("events", request) as response:
            drain = Drain(translate=self._translate)
            task = asyncio.get_running_loop().create_task(
                drain.drain(response.content), name="engine events"
            )
            try:
                yield drain
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def marker_present(self, event: Event) -> bool:
        """True where the engine still remembers this very event.

        Asked from a second earlier on, as its search ends at the first older event and its times
        may step back.
        """
        since = event.time_ns - 1_000_000_000
        found = await self._replay("events since the last one seen", since, event.time_ns, None)
        return any(other.key == event.key for other in found.events)

    async def past(self, since_ns: int, timeout: float | None = None) -> Batch:
        until = self._clock() + self._engine_ahead
        if not self.url.startswith("unix:"):
            until += UNSURE  # another host's clock; the engine answers when that time has come
        return await self._replay("events of its memory", since_ns, int(until * 1e9), timeout)

    async def _replay(
        self, what: str, since_ns: int, until_ns: int, timeout: float | None
    ) -> Batch:
        query = {"since": _timestamp(since_ns), "until": _timestamp(until_ns), "filters": _FILTERS}
        drain = Drain(translate=self._translate)
        with translated(what, self.url):
            async with (
                asyncio.timeout(self._transport.timeout if timeout is None else timeout),
                self._transport.stream(what, path("events", query=query)) as response,
            ):
                while chunk := await response.content.readany():
                    drain.feed(chunk)
        return drain.rest()


def _timestamp(nanoseconds: int) -> str:
    """The engine's form of a time: seconds and nanoseconds, exactly."""
    seconds, rest = divmod(max(nanoseconds, 0), 1_000_000_000)
    return f"{seconds}.{rest:09d}"
