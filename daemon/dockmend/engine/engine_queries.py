"""Reading the engine: lists and inspects, as model objects."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from dockmend import bounds
from dockmend.errors import EngineAway, EngineError, NotFound, Permanent, Temporary
from dockmend.model import Container, Image, Network, Volume, main_network
from dockmend.owned import OwnedObjects

from .api_versions import NEWEST, ApiVersion
from .container_files import ContainerFiles
from .definition_digest import made_as
from .engine_api import Listing, OwnNames
from .error_mapping import tidy
from .transport import Transport, path, segment
from .wire import (
    WireContainer,
    WireImage,
    container_decoder,
    engine_addresses,
    image_decoder,
    images_decoder,
    note_configured_macs,
    plain_links,
    raw_decoder,
    to_container,
    to_image,
    to_volume,
    volume_decoder,
    volumes_decoder,
)
from .wire_networks import WireNetwork, holders, network_decoder, networks_decoder, to_network

T = TypeVar("T")
PARALLEL = 16  # inspects at a time: the engine answers no faster with more
# seconds within a listing: the engine may hold one container's lock for long
INSPECT_TIMEOUT = 10.0
UNREAD_AT_MOST = 2 * PARALLEL  # containers of a list whose inspect may fail
VOLUMES_TIMEOUT = 10.0  # seconds within a listing: a volume plugin that is down hangs them
# the fewest digits of an id that stand for an object, as the docker command shows them
ID_DIGITS = 12
REMEMBERED_LABELS = 8 << 20  # bytes of labels of images that are kept
# images whose labels, and containers of which what never changes or is dear to ask, are kept
REMEMBERED = 4096

_NO_LABELS: dict[str, str] = {}
_NO_PATH = re.compile(r"[\x00-\x1f\x7f]|(^|/)\.\.?(/|$)")
"""Names that networks may have and that no path of the API can hold: they are looked up in the
list."""
_HEXADECIMAL = frozenset("0123456789abcdef")


class Remembered(OrderedDict[str, T]):
    """A bounded memory: the oldest entry goes."""

    def keep(self, key: str, value: T) -> None:
        self[key] = value
        self.move_to_end(key)
        while len(self) > REMEMBERED:
            self.popitem(last=False)


class RememberedLabels(Remembered[dict[str, str]]):
    """Labels of images, bounded in bytes as well. Those of an image that has more than a container
    of it keeps are not remembered: they are asked for whenever such a container is looked at, which
    is told of all of them as well."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def keep(self, key: str, value: dict[str, str]) -> None:
        if (taken := bounds.size(value)) > bounds.IMAGES:
            return
        if key not in self:
            self._bytes += taken
        super().keep(key, value)
        while self._bytes > REMEMBERED_LABELS:
            self.popitem(last=False)

    def popitem(self, last: bool = True) -> tuple[str, dict[str, str]]:
        key, value = super().popitem(last)
        self._bytes -= bounds.size(value)
        return key, value


class Macs(NamedTuple):
    """MAC addresses of a container by network, but of its main one: those in use, and beside them
    the configured ones by the engine's own file ("": none was)."""

    in_use: dict[str, str]
    configured: dict[str, str]


def _macs_in_use(seen: Container) -> dict[str, str]:
    main = main_network(seen.network_mode)
    return {name: each.mac_in_use for name, each in seen.networks.items() if name != main}


class EngineQueries:
    """The part of the engine that looks. An image's labels never change under its id, so they are
    asked for once."""

    def __init__(
        self, transport: Transport, trusted: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self.trusted = trusted
        self.names: OwnNames = OwnedObjects()  # until a journal is read: it proves nothing
        # the engine's own; None where they are out of reach
        self.files: ContainerFiles | None = None
        self._transport = transport
        self._clock = clock
        self._image_labels = RememberedLabels()
        self._last_volumes: tuple[Volume, ...] = ()
        self._stop_timeouts: Remembered[float] = Remembered()
        self._macs: Remembered[Macs] = Remembered()
        self._made_as: Remembered[str] = Remembered()
        self._image_addresses: Remembered[frozenset[str]] = Remembered()

    # ----------------------------------------------------------------------------------- everything

    async def listing(self) -> Listing:
        began = self._clock()
        ids = await self._container_ids()
        # one call instead of one for each image; later ones are asked for as they come
        if not self._image_labels:
            await self._learn_images()
        networks = await self.networks()
        stale: tuple[str, ...] = ()
        try:
            self._last_volumes = await self.volumes(VOLUMES_TIMEOUT)
        except EngineAway:
            raise
        except Temporary:
            stale = ("volumes",)
        containers, unread = await self._inspect_all(ids)
        return Listing(
            containers, networks, self._last_volumes, began, self._clock(), stale, unread
        )

    async def _container_ids(self) -> list[str]:
        query = {"all": "1"}
        what = "list of containers"
        return await self._transport.ids(what, path("containers", "json", query=query))

    async def _inspect_all(
        self, ids: Iterable[str]
    ) -> tuple[tuple[Container, ...], tuple[str, ...]]:
        """Those that vanish meanwhile are left out: the stream tells of their end.

        Also the ids of those whose inspect hangs or fails: one of them must not blind us to all
        others. Of too many the last error is raised: then it is the engine that is sick.
        """
        unread: list[str] = []

        async def one(container: str) -> Container | None:
            try:
                return await self._inspect(container, INSPECT_TIMEOUT)
            except NotFound:
                return None
            except EngineError as error:
                if isinstance(error, EngineAway):  # or was it this one answer that was cut?
                    await self._transport.call(
                        "ping", "_ping", timeout=INSPECT_TIMEOUT, versioned=False
                    )
                unread.append(container)
                if len(unread) > UNREAD_AT_MOST:
                    raise
                return None

        found = await bounded(one, list(ids), PARALLEL)
        return await self._with_files([each for each in found if each is not None]), tuple(unread)

    # ----------------------------------------------------------------------------------- containers

    async def inspect(self, container: str, timeout: float | None = None) -> Container:
        found = await self._inspect(container, timeout)
        # What still runs is looked at often, and in a hurry: whether it was signalled, each list
        # tells, and which MAC addresses were configured is read anew only if others are in use.
        known, in_use = self._macs.get(found.id), _macs_in_use(found)
        if not found.started_at or (
            found.running and (not in_use or (known is not None and known.in_use == in_use))
        ):
            return self._with_macs(found)
        return (await self._with_files([found]))[0]

    async def _with_files(self, containers: Sequence[Container]) -> tuple[Container, ...]:
        """With what the engine's own files tell of them."""
        if self.files is None:
            return tuple(containers)
        files = await self.files.of_all(each for each in containers if each.started_at)
        found = []
        for each in containers:
            if (file := files.get(each.id)) is None:
                found.append(each)
                continue
            self._macs.keep(each.id, Macs(_macs_in_use(each), file.desired_macs))
            found.append(self._with_macs(replace(each, signalled=file.HasBeenManuallyStopped)))
        return tuple(found)

    def _with_macs(self, seen: Container) -> Container:
        """With the configured MAC addresses that only the engine's own file tells, as it was read
        last."""
        in_use, known = _macs_in_use(seen), self._macs.get(seen.id)
        if not in_use or known is None or known.in_use != in_use:
            return seen
        networks = {
            name: replace(each, mac=known.configured[name])
            if name in in_use and name in known.configured
            else each
            for name, each in seen.networks.items()
        }
        return replace(seen, networks=networks)

    async def _inspect(self, container: str, timeout: float | None = None) -> Container:
        what = f"inspect {short(container)}"
        asked = path("containers", segment(container, what), "json")
        async with self._transport.one_large(what, asked, timeout) as answer:
            wire: WireContainer = self._transport.decoded(container_decoder, answer, what)
            require_meant(container, wire.Id, wire.Name, what)
            of_image = await self._labels_of_image(wire)
            found = to_container(wire, of_image, self._version, self.trusted, self.names.plain_name)
            # an update later on is not how it was made
            if (made := self._made_as.get(found.id)) is None:
                self._made_as.keep(found.id, made := made_as(answer))
        address = await self._engine_address(wire)
        found = self.names.judged(replace(found, made_as=made, engine_address=address))
        if found.stop_timeout > 10.0:
            self._stop_timeouts.keep(found.id, found.stop_timeout)
        return found

    async def inspect_raw(self, container: str) -> dict[str, Any]:
        what = f"inspect {short(container)}"
        answer = await self._transport.call(
            what, path("containers", segment(container, what), "json")
        )
        raw = plain_links(self._transport.decoded(raw_decoder, answer, what), self.names.plain_name)
        wire: WireContainer = self._transport.decoded(container_decoder, answer, what)
        require_meant(container, wire.Id, wire.Name, what)
        file = (
            await self.files.of(to_container(wire, _NO_LABELS)) if self.files is not None else None
        )
        note_configured_macs(raw, self._version, file.desired_macs if file is not None else None)
        return raw

    @property
    def _version(self) -> ApiVersion:
        """The one that was settled with the engine."""
        return self._transport.api_version or NEWEST

    async def _labels_of_image(self, wire: WireContainer) -> dict[str, str] | None:
        """All labels of a container's image; None where it cannot be inspected.

        Raises EngineError where the engine gave no answer about it: the container is then looked at
        again.
        """
        if not (wire.Config and wire.Config.Labels):
            return _NO_LABELS  # there is nothing to divide
        if not wire.Image:
            return None
        known = self._image_labels.get(wire.Image)
        if known is None:
            try:
                known = (await self.inspect_image(wire.Image)).labels
            except EngineError as error:
                # Removed by force under its container, or damaged. It is asked for again: it can be
                # loaded again.
                if isinstance(error, Permanent) or error.status == 500:
                    return None
                raise
            self._image_labels.keep(wire.Image, known)
        return known

    async def _engine_address(self, wire: WireContainer) -> bool:
        """Whether its owner gave a container an engine's address, and not its image."""
        said = engine_addresses(wire.Config.Env if wire.Config else None)
        if not said or not wire.Image:
            return False
        known = self._image_addresses.get(wire.Image)
        if known is None:
            what = f"inspect image {short(wire.Image)}"
            asked = path("images", segment(wire.Image, what), "json")
            try:
                answer = await self._transport.call(what, asked)
            except EngineError as error:
                if isinstance(error, Permanent) or error.status == 500:
                    return False  # nobody knows whose it is
                raise
            image: WireImage = self._transport.decoded(image_decoder, answer, what)
            known = engine_addresses(image.Config.Env if image.Config else None)
            self._image_addresses.keep(wire.Image, known)
        return not said <= known

    async def _learn_images(self) -> None:
        try:
            images = await self.images()
        except EngineAway:
            raise
        except Temporary:
            # too long, such as of images with many labels: each is asked for when it is needed
            return
        for image in images:
            self._image_labels.keep(image.id, image.labels)

    # ------------------------------------------------------------------------- networks and volumes

    async def networks(self) -> tuple[Network, ...]:
        what = "list of networks"
        answer = await self._transport.call(what, "networks")
        return tuple(
            to_network(wire) for wire in self._transport.decoded(networks_decoder, answer, what)
        )

    async def inspect_network(self, network: str) -> Network:
        return to_network(await self._network(network))

    async def addresses(self, network: str) -> dict[str, str]:
        return holders(await self._network(network))

    async def _network(self, network: str) -> WireNetwork:
        what = f"inspect network {short(network)}"
        meant = network
        if is_no_path(network):
            meant = next(
                (each.id for each in await self.networks() if each.name == network), network
            )
        answer = await self._transport.call(what, path("networks", segment(meant, what)))
        wire: WireNetwork = self._transport.decoded(network_decoder, answer, what)
        require_meant(network, wire.Id, wire.Name, what)
        return wire

    async def volumes(self, timeout: float | None = None) -> tuple[Volume, ...]:
        what = "list of volumes"
        answer = await self._transport.call(what, "volumes", timeout=timeout)
        return tuple(
            to_volume(wire)
            for wire in self._transport.decoded(volumes_decoder, answer, what).Volumes or ()
        )

    async def inspect_volume(self, volume: str) -> Volume:
        what = f"inspect volume {short(volume)}"
        answer = await self._transport.call(what, path("volumes", segment(volume, what)))
        return to_volume(self._transport.decoded(volume_decoder, answer, what))

    # --------------------------------------------------------------------------------------- images

    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        query = None
        if labels:
            wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
            query = {"filters": msgspec.json.encode({"label": wanted}).decode()}
        what = "list of images"
        answer = await self._transport.call(what, path("images", "json", query=query))
        return tuple(
            to_image(wire) for wire in self._transport.decoded(images_decoder, answer, what)
        )

    async def inspect_image(self, image: str) -> Image:
        what = f"inspect image {short(image)}"
        answer = await self._transport.call(what, path("images", segment(image, what), "json"))
        wire: WireImage = self._transport.decoded(image_decoder, answer, what)
        require_image_meant(image, wire, what)
        return to_image(wire)

    async def inspect_image_raw(self, image: str) -> dict[str, Any]:
        what = f"inspect image {short(image)}"
        answer = await self._transport.call(what, path("images", segment(image, what), "json"))
        require_image_meant(image, self._transport.decoded(image_decoder, answer, what), what)
        return self._transport.decoded(raw_decoder, answer, what)


def require_meant(reference: str, found_id: str, name: str, what: str) -> None:
    """Raises NotFound if the engine answered about another object than the one that is meant.

    To the engine any part of an id's beginning is a reference, so that `db`, once no container has
    that name, is one whose id begins with db; and of what is gone the id, if another object has it
    for a name.
    """
    digits = set(reference) <= _HEXADECIMAL
    by_id = reference == found_id or (
        digits and len(reference) >= ID_DIGITS and found_id.startswith(reference)
    )
    by_name = reference.removeprefix("/") == name.removeprefix("/") and not (
        digits and len(reference) == 64
    )
    if not (by_id or by_name):
        raise NotFound(f"{what}: there is nothing named {tidy(reference)!r}", 404)


def is_no_path(name: str) -> bool:
    """Whether the engine finds no network by this name, whatever it is called."""
    return _NO_PATH.search(name) is not None


def is_short_digits(reference: str) -> bool:
    """Whether a reference could be taken for the beginning of an id, and is too short to be meant
    for one."""
    return len(reference) < ID_DIGITS and set(reference) <= _HEXADECIMAL


def require_image_meant(reference: str, found: WireImage, what: str) -> None:
    """The same for an image: without a tag, `db` is db:latest and, once that is gone, one whose id
    begins with db."""
    digits = reference.removeprefix("sha256:")
    if not is_short_digits(digits) or not found.Id.removeprefix("sha256:").startswith(digits):
        return
    named = reference if ":" in reference else f"{reference}:latest"
    if not any(tag == named or tag.endswith(f"/{named}") for tag in found.RepoTags or ()):
        raise NotFound(f"{what}: there is no image {tidy(named)!r}", 404)


def short(name: str) -> str:
    """An id as the docker command shows it; a name as it is."""
    bare = name.removeprefix("sha256:")
    return bare[:12] if len(bare) == 64 and set(bare) <= set("0123456789abcdef") else name


async def bounded(work: Callable[[str], Awaitable[T]], items: list[str], parallel: int) -> list[T]:
    """`work` for every item, some at a time, results in order; the first EngineError ends it,
    raised as itself."""
    results: dict[int, T] = {}
    queue = iter(enumerate(items))

    async def worker() -> None:
        for index, item in queue:
            results[index] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(parallel, len(items))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        errors = failures.subgroup(EngineError)
        raise (_leaf(errors) if errors else _leaf(failures)) from None
    return [results[index] for index in range(len(items))]


def _leaf(group: BaseExceptionGroup[Any]) -> BaseException:
    first: BaseException = group.exceptions[0]
    return _leaf(first) if isinstance(first, BaseExceptionGroup) else first
