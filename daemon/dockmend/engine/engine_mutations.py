"""What changes containers, networks, volumes and images of the engine: one call each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from dockmend.errors import EngineError, NotFound, Permanent
from dockmend.model import Endpoint, Network, Volume

from .api_versions import SEVERAL_NETWORKS, STOP_TAKES_SIGNAL
from .empty_image import archive
from .engine_queries import EngineQueries, is_no_path, is_short_digits, short
from .error_mapping import only_for, tidy
from .transport import flag, path, segment
from .wire import (
    WireEnd,
    WireId,
    end_decoder,
    id_decoder,
    to_volume,
    version_decoder,
    volume_decoder,
)
from .wire_networks import endpoint_config, network_body, one_network

# seconds on top of a container's stop timeout: a busy engine takes long to take a container down
MARGIN = 60.0
LONG = 600.0  # seconds a commit of many gigabytes may take


_LOADED_MEANWHILE = "AlreadyExists"
"""The containerd image store's word for a name that another load of the same image gave it at the
same moment."""


NOT_MODIFIED = 304


class _LoadLine(msgspec.Struct):
    error: str = ""


class EngineMutations(EngineQueries):
    """The part of the engine that acts. NotFound means that the container (network, volume, image)
    itself is gone."""

    # ----------------------------------------------------------------------------------- containers

    async def restart(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> None:
        await self._post(container, "restart", *self._stopping(container, timeout, signal))

    async def start(self, container: str) -> None:
        await self._post(container, "start", {}, MARGIN)

    async def stop(
        self, container: str, timeout: float | None = None, signal: str | None = None
    ) -> bool:
        return await self._post(container, "stop", *self._stopping(container, timeout, signal))

    async def kill(self, container: str, signal: str | None = None) -> None:
        await self._post(container, "kill", {"signal": signal} if signal else {}, None)

    async def pause(self, container: str) -> None:
        await self._post(container, "pause", {}, None)

    async def unpause(self, container: str) -> None:
        await self._post(container, "unpause", {}, None)

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        what = f"remove {short(container)}"
        query = {"force": flag(force), "v": flag(volumes)}
        request = path("containers", segment(container, what), query=query)
        await self._transport.call(what, request, "DELETE", timeout=MARGIN)

    async def rename(self, container: str, name: str) -> None:
        await self._post(container, "rename", {"name": name}, None)

    async def update(self, container: str, changes: Mapping[str, Any]) -> None:
        await self._post(container, "update", {}, None, body=dict(changes))

    async def wait(self, container: str, timeout: float) -> int:
        what = f"wait for {short(container)}"
        request = path("containers", segment(container, what), "wait")
        answer = await self._transport.call(what, request, "POST", timeout=timeout)
        ended: WireEnd = self._transport.decoded(end_decoder, answer, what)
        return ended.StatusCode

    async def create(self, name: str | None, config: Mapping[str, Any]) -> str:
        what = f"create {name or 'a container'}"
        request = path("containers", "create", query={"name": name} if name else None)
        body: dict[str, Any] = dict(config)
        others: dict[str, Any] = {}
        if self._version < SEVERAL_NETWORKS:
            body, others = one_network(body)
        answer = await self._transport.call(what, request, "POST", body=body, timeout=MARGIN)
        made: WireId = self._transport.decoded(id_decoder, answer, what)
        try:
            for network, endpoint in others.items():
                await self._connect(network, made.Id, endpoint)
        except BaseException:
            with suppress(EngineError):
                await self.remove(made.Id, force=True, volumes=True)
            raise
        return made.Id

    def _stopping(
        self, container: str, timeout: float | None, signal: str | None
    ) -> tuple[dict[str, str], float]:
        """The query of a stop or restart, and how long the call may take: the stop timeout and a
        margin."""
        query = {}
        if timeout is not None:
            query["t"] = str(math.ceil(timeout))
        if signal:
            version = self._transport.api_version
            if version is not None and version < STOP_TAKES_SIGNAL:
                raise Permanent(
                    f"the engine speaks API {version}, and sends no other signal than the "
                    f"container's own stop signal before {STOP_TAKES_SIGNAL}: leave `signal` out, "
                    "or use `kill`"
                )
            query["signal"] = signal
        stop = timeout if timeout is not None else self._stop_timeouts.get(container, 10.0)
        return query, max(stop, 0.0) + MARGIN

    async def _post(
        self,
        container: str,
        verb: str,
        query: Mapping[str, str],
        timeout: float | None,
        body: Any = None,
    ) -> bool:
        """False if the engine says that it was so already."""
        what = f"{verb} {short(container)}"
        request = path("containers", segment(container, what), verb, query=query)
        try:
            status, _ = await self._transport.answer(
                what, request, "POST", body=body, timeout=timeout
            )
        except NotFound as error:
            raise only_for(error, "container") from None
        return status != NOT_MODIFIED

    # ------------------------------------------------------------------------- networks and volumes

    async def connect_network(self, network: str, container: str, endpoint: Endpoint) -> None:
        """Puts back all of `endpoint` but its MAC address, which the engine ignores
        (api_versions.CONNECT_TAKES_MAC).

        See https://github.com/moby/moby/issues/48192; inspect afterwards to know which it was.
        """
        await self._connect(network, container, endpoint_config(endpoint))

    async def _connect(self, network: str, container: str, endpoint: Mapping[str, Any]) -> None:
        what = f"connect {short(container)} to network {short(network)}"
        body = {"Container": container, "EndpointConfig": endpoint}
        meant = segment(await self._network_meant(network), what)
        await self._transport.call(what, path("networks", meant, "connect"), "POST", body=body)

    async def disconnect_network(self, network: str, container: str, force: bool = False) -> None:
        what = f"disconnect {short(container)} from network {short(network)}"
        body = {"Container": container, "Force": force}
        meant = segment(await self._network_meant(network), what)
        await self._transport.call(what, path("networks", meant, "disconnect"), "POST", body=body)

    async def _network_meant(self, network: str) -> str:
        """A name that another network's id could begin with is looked up first. Raises NotFound."""
        return (
            (await self._network(network)).Id
            if is_short_digits(network) or is_no_path(network)
            else network
        )

    async def create_network(self, network: Network) -> str:
        what = f"create network {network.name}"
        answer = await self._transport.call(
            what, "networks/create", "POST", body=network_body(network), timeout=MARGIN
        )
        made: WireId = self._transport.decoded(id_decoder, answer, what)
        return made.Id

    async def create_volume(
        self,
        name: str,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        what = f"create volume {name}"
        body = {
            "Name": name,
            "Driver": driver,
            "DriverOpts": dict(options or {}),
            "Labels": dict(labels or {}),
        }
        answer = await self._transport.call(what, "volumes/create", "POST", body=body)
        return to_volume(self._transport.decoded(volume_decoder, answer, what))

    async def remove_volume(self, name: str) -> None:
        what = f"remove volume {short(name)}"
        await self._transport.call(what, path("volumes", segment(name, what)), "DELETE")

    # --------------------------------------------------------------------------------------- images

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
        """Labels go by the configuration, never by a line of text that their values could break out
        of."""
        what = f"commit {short(container)}"
        if any("\n" in change for change in changes):
            raise Permanent(f"{what}: a change is one line of a Dockerfile")
        config = None
        if labels:
            config = dict((await self.inspect_raw(container)).get("Config") or {})
            config["Labels"] = {**(config.get("Labels") or {}), **labels}
        query = [
            ("container", container),
            ("repo", repository),
            ("tag", tag),
            ("comment", message),
            ("author", author),
        ]
        query += [("pause", flag(pause)), *(("changes", change) for change in changes)]
        answer = await self._transport.call(
            what, path("commit", query=query), "POST", body=config, timeout=LONG
        )
        made: WireId = self._transport.decoded(id_decoder, answer, what)
        return made.Id

    async def remove_image(self, image: str, force: bool = False) -> None:
        what = f"remove image {short(image)}"
        request = path("images", segment(image, what), query={"force": flag(force)})
        await self._transport.call(what, request, "DELETE", timeout=MARGIN)

    async def tag_image(self, image: str, reference: str) -> None:
        what = f"tag {short(image)} as {reference}"
        repository, _, tag = reference.rpartition(":")
        request = path(
            "images", segment(image, what), "tag", query={"repo": repository, "tag": tag}
        )
        await self._transport.call(what, request, "POST")

    async def load_empty_image(self, reference: str) -> None:
        """An image of no bytes under this reference (repository:tag); the same one each time."""
        what = f"load {reference}"
        answer = await self._transport.call("version", "version", versioned=False)
        version = self._transport.decoded(version_decoder, answer, "version")
        image = archive(reference, version.Arch, version.Os)
        answer = await self._transport.call(
            what, path("images", "load", query={"quiet": "1"}), "POST", body=image
        )
        lines = msgspec.json.Decoder(_LoadLine)
        for line in answer.splitlines():
            error = self._transport.decoded(lines, line, what).error
            if error and not (_LOADED_MEANWHILE in error and await self._is_there(reference)):
                raise Permanent(f"{what}: {tidy(error)}")

    async def _is_there(self, image: str) -> bool:
        try:
            await self.inspect_image(image)
        except NotFound:
            return False
        return True
