"""The engine's JSON, cut to what dockmend needs, and its conversion to the model: pure, no
connection.

Typed structs instead of dictionaries: an inspect answer of 8 KB is decoded in about 20 µs, and what
is not named here is never built. The engine writes null for empty maps and lists, so nearly every
field may be None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from dockmend import redaction
from dockmend.bounds import ENTRY, NAME, bounded_name, divided, first
from dockmend.model import (
    Container,
    Endpoint,
    HealthCheck,
    Image,
    Int64,
    Mount,
    Volume,
    as_written,
    main_network,
)

from .api_versions import NEWEST, ApiVersion, configured_mac
from .engine_api import DOCKER, PODMAN
from .engine_times import epoch
from .wire_networks import WireEndpoint, to_endpoint


class WireId(Struct):
    Id: str


class WireHealth(Struct):
    Status: str = ""
    FailingStreak: Int64 | None = None


class WireState(Struct):
    Status: str = ""
    ExitCode: Int64 = 0
    OOMKilled: bool = False
    Error: str = ""
    StartedAt: str = ""
    FinishedAt: str = ""
    Health: WireHealth | None = None


class WireHealthcheck(Struct):
    Test: list[str] | None = None
    Interval: Int64 | None = None
    Timeout: Int64 | None = None
    StartPeriod: Int64 | None = None
    Retries: Int64 | None = None


class WireConfig(Struct):
    Image: str = ""
    Labels: dict[str, str] | None = None
    Env: list[str] | None = None
    Healthcheck: WireHealthcheck | None = None
    StopSignal: str | None = None
    StopTimeout: Int64 | None = None
    MacAddress: str | None = None


class WireRestartPolicy(Struct):
    Name: str = ""


class WireHostConfig(Struct):
    NetworkMode: str = ""
    RestartPolicy: WireRestartPolicy | None = None
    AutoRemove: bool = False
    PidMode: str = ""
    IpcMode: str = ""
    Links: list[str] | None = None
    VolumesFrom: list[str] | None = None


class WireNetworkSettings(Struct):
    Networks: dict[str, WireEndpoint | None] | None = None


class WireMount(Struct):
    Type: str = ""
    Name: str = ""
    Source: str = ""
    Destination: str = ""


class WireContainer(Struct):
    Id: str
    Name: str = ""
    Image: str = ""
    Created: str = ""
    RestartCount: Int64 = 0
    State: WireState | None = None
    Config: WireConfig | None = None
    HostConfig: WireHostConfig | None = None
    NetworkSettings: WireNetworkSettings | None = None
    Mounts: list[WireMount] | None = None


class WireVolume(Struct):
    Name: str
    Driver: str = ""
    Labels: dict[str, str] | None = None
    Options: dict[str, str] | None = None
    Mountpoint: str = ""
    CreatedAt: str = ""


class WireVolumes(Struct):
    Volumes: list[WireVolume] | None = None


class WireImageSummary(Struct):
    Id: str
    RepoTags: list[str] | None = None
    Labels: dict[str, str] | None = None
    Created: Int64 = 0


class WireImageConfig(Struct):
    Labels: dict[str, str] | None = None
    Env: list[str] | None = None


class WireImage(Struct):
    Id: str
    RepoTags: list[str] | None = None
    Config: WireImageConfig | None = None
    Created: str | None = None


class WireExecution(Struct):
    Running: bool = False
    ExitCode: Int64 | None = None
    Pid: Int64 = 0


class WireEnd(Struct):
    StatusCode: Int64


class WireComponent(Struct):
    Name: str = ""


class WireVersion(Struct):
    Version: str = ""
    ApiVersion: str = ""
    MinAPIVersion: str = ""
    Arch: str = ""
    Os: str = ""
    Components: list[WireComponent] | None = None

    @property
    def product(self) -> str:
        """Podman calls its first part "Podman Engine"; Docker's is called "Engine"."""
        names = [component.Name for component in self.Components or ()]
        return PODMAN if "Podman Engine" in names else DOCKER


class WireSwarm(Struct):
    LocalNodeState: str = ""
    ControlAvailable: bool = False


class WireInfo(Struct):
    ID: str = ""
    Name: str = ""
    ServerVersion: str = ""
    LiveRestoreEnabled: bool = False
    Containers: Int64 = 0
    SystemTime: str = ""
    DockerRootDir: str = ""
    Swarm: WireSwarm | None = None


container_decoder = msgspec.json.Decoder(WireContainer)
ids_decoder = msgspec.json.Decoder(list[WireId])
volume_decoder = msgspec.json.Decoder(WireVolume)
volumes_decoder = msgspec.json.Decoder(WireVolumes)
image_decoder = msgspec.json.Decoder(WireImage)
images_decoder = msgspec.json.Decoder(list[WireImageSummary])
execution_decoder = msgspec.json.Decoder(WireExecution)
end_decoder = msgspec.json.Decoder(WireEnd)
id_decoder = msgspec.json.Decoder(WireId)
version_decoder = msgspec.json.Decoder(WireVersion)
raw_decoder = msgspec.json.Decoder(dict[str, Any])
info_decoder = msgspec.json.Decoder(WireInfo)

# seconds that are reckoned with where the engine is to wait for an end for ever (-1)
FOR_EVER = 3600.0
LONGEST_SIGNAL = 16  # characters of a stop signal; for one that is none the engine takes TERM
LONGEST_ERROR = 4096  # characters of why a start failed
_EVER_RAN = frozenset({"exited", "dead", "removing", "restarting"})
_ENGINE_ADDRESS = re.compile(r"DOCKER_(?:HOST|SOCK)=(?:tcp|unix|https?)://\S{1,255}\Z")
_NANO = 1e-9


def to_container(
    wire: WireContainer,
    of_image: Mapping[str, str] | None,
    version: ApiVersion = NEWEST,
    trusted: Callable[[str], bool] = lambda image: False,
    plain_name: Callable[[str], str] = str,
) -> Container:
    """The model of an inspect answer of that version. `of_image`: its image's labels, None if that
    cannot be inspected; `trusted`: whether the settings let the labels of an image count, by the
    reference that was written; `plain_name`: see OwnNames."""
    state = wire.State or WireState()
    config = wire.Config or WireConfig()
    host = wire.HostConfig or WireHostConfig()
    labels = divided(config.Labels, of_image)
    reference = as_written(config.Image, labels.owner)
    if trusted(reference):
        labels = divided(config.Labels, of_image, trusted=True)
    networks, lost_networks = first(_endpoints(wire, config, host, version).items(), _network_size)
    mounts, lost_mounts = first(wire.Mounts or (), _mount_size)
    links, lost_links = first(host.Links or (), len)
    sources, lost_sources = first(host.VolumesFrom or (), len)
    lost = (
        max(0, len(wire.Name) - NAME - 1) + lost_networks + lost_mounts + lost_links + lost_sources
    )
    started = epoch(state.StartedAt)
    check = to_check(config.Healthcheck)
    return Container(
        id=wire.Id,
        name=bounded_name(wire.Name.removeprefix("/")),
        image=reference,
        image_id=wire.Image,
        labels=labels.owner,
        image_labels=labels.image,
        left_out=labels.left_out + lost,
        too_much=labels.too_much or bool(lost),
        image_unknown=of_image is None and bool(config.Labels),
        state=state.Status,
        health=to_health(state, check),
        exit_code=state.ExitCode if started and state.Status in _EVER_RAN else None,
        oom_killed=state.OOMKilled,
        error=redaction.text(state.Error[:LONGEST_ERROR])
        if state.Error
        else "",  # the engine repeats the command that failed
        restart_count=wire.RestartCount,
        created_at=epoch(wire.Created),
        started_at=started,
        finished_at=epoch(state.FinishedAt),
        restart_policy=(host.RestartPolicy.Name if host.RestartPolicy else "") or "no",
        auto_remove=host.AutoRemove,
        check=check,
        stop_signal=_signal(config.StopSignal),
        stop_timeout=10.0 if config.StopTimeout is None else _seconds(config.StopTimeout),
        network_mode=bounded_name(host.NetworkMode),
        networks=dict(networks),
        mounts=tuple(Mount(m.Type, m.Name, m.Source, m.Destination) for m in mounts),
        pid_mode=_others(host.PidMode),
        ipc_mode=_others(host.IpcMode),
        links=tuple(plain_link(each, plain_name) for each in links),
        volumes_from=tuple(sources),
    )


def engine_addresses(env: Iterable[str] | None) -> frozenset[str]:
    """Of variables, as the engine writes them, those that hold an engine's address: DOCKER_HOST as
    Docker's own programs read it, and DOCKER_SOCK as autoheal does."""
    return frozenset(each for each in env or () if _ENGINE_ADDRESS.match(each))


def _mount_size(mount: WireMount) -> int:
    return len(mount.Name) + len(mount.Source) + len(mount.Destination)


def _network_size(named: tuple[str, Endpoint]) -> int:
    name, endpoint = named
    texts = (
        name,
        *endpoint.aliases,
        *endpoint.links,
        *endpoint.link_local,
        *endpoint.driver_opts.values(),
    )
    return sum(map(len, texts)) + ENTRY * len(texts)


def plain_link(said: str, plain_name: Callable[[str], str]) -> str:
    """`/db:/web/alias` without the names that `recreate` gives to what it has in hand;
    `plain_name`: see OwnNames.

    The engine writes a link with the present name of the object that it was made to: once that was
    recreated, with the name under which it was set aside, also when it has been removed since.
    """
    target, _, place = said.partition(":")
    parent, slash, alias = place.rpartition("/")
    return f"{_plain(target, plain_name)}:{_plain(parent, plain_name)}{slash}{alias}"


def _plain(path: str, plain_name: Callable[[str], str]) -> str:
    name = path.removeprefix("/")
    return path[: len(path) - len(name)] + plain_name(name)


def plain_links(raw: dict[str, Any], plain_name: Callable[[str], str]) -> dict[str, Any]:
    """The same for an inspect answer that is passed on as it came."""
    host = raw.get("HostConfig")
    if isinstance(host, dict) and isinstance(links := host.get("Links"), list):
        host["Links"] = [plain_link(str(each), plain_name) for each in links]
    return raw


def _others(mode: str) -> str:
    """A namespace's mode where it is another container's; nothing of "host", "private" and the like
    is kept."""
    return bounded_name(mode) if mode.startswith("container:") else ""


def to_health(state: WireState, check: HealthCheck | None) -> str:
    """The health check's verdict; "" where there is none, as for a container that has ended, whose
    last one is kept.

    The engine says `unhealthy` of every check that it has stopped, for a pause as well, and leaves
    it at that until the next probe (moby, `CloseMonitorChannel`): a check that has not failed as
    often as it may has given no verdict yet.
    """
    health = state.Health
    if health is None or health.Status == "none" or state.Status not in ("running", "paused"):
        return ""
    failed = health.FailingStreak
    if (
        health.Status == "unhealthy"
        and check is not None
        and failed is not None
        and failed < check.retries
    ):
        return "starting"
    return health.Status


def _signal(said: str | None) -> str:
    return said if said and len(said) <= LONGEST_SIGNAL else "SIGTERM"


def _seconds(stop_timeout: int) -> float:
    return float(stop_timeout) if stop_timeout >= 0 else FOR_EVER


def to_check(wire: WireHealthcheck | None) -> HealthCheck | None:
    """The health check with the engine's defaults filled in; None where there is none or it is
    switched off."""
    if wire is None or not wire.Test or wire.Test[0] == "NONE":
        return None
    return HealthCheck(
        interval=max(0, wire.Interval or 0) * _NANO or 30.0,
        timeout=max(0, wire.Timeout or 0) * _NANO or 30.0,
        start_period=max(0, wire.StartPeriod or 0) * _NANO,
        retries=max(0, wire.Retries or 0) or 3,
    )


def _endpoints(
    wire: WireContainer, config: WireConfig, host: WireHostConfig, version: ApiVersion
) -> dict[str, Endpoint]:
    networks = wire.NetworkSettings.Networks if wire.NetworkSettings else None
    if not networks:
        return {}
    main = bounded_name(main_network(host.NetworkMode))
    ran = wire.State is None or _ever_ran(wire.State.Status, wire.State.StartedAt)
    found: dict[str, Endpoint] = {}
    for said, endpoint in networks.items():
        each, called = endpoint or WireEndpoint(), bounded_name(said)
        beside = configured_mac(version, each.MacAddress, each.IPAddress, ran=ran)
        found[called] = to_endpoint(
            each, wire.Id[:12], config.MacAddress or "" if called == main else beside
        )
    if wire.State is not None and wire.State.Status in ("running", "paused"):
        # A connect that failed ("Address already in use") leaves an entry without a network: it is
        # not connected.
        return {called: endpoint for called, endpoint in found.items() if endpoint.network_id}
    return found


def _ever_ran(status: str, started_at: str) -> bool:
    return status != "created" or epoch(started_at) > 0.0


def note_configured_macs(
    raw: dict[str, Any], version: ApiVersion, filed: Mapping[str, str] | None
) -> None:
    """Puts into a raw inspect answer what is known of the configured MAC addresses, but of the main
    network's, which it tells itself (`Config.MacAddress`): `DesiredMacAddress`, as the engine's own
    file names it.

    `filed`: what that file tells by the network's name; None if it could not be read.
    """
    main = main_network((raw.get("HostConfig") or {}).get("NetworkMode"))
    state = raw.get("State") or {}
    ran = _ever_ran(str(state.get("Status") or ""), str(state.get("StartedAt") or ""))
    for name, endpoint in ((raw.get("NetworkSettings") or {}).get("Networks") or {}).items():
        if name == main or endpoint is None:
            continue
        shown, ipv4 = str(endpoint.get("MacAddress") or ""), str(endpoint.get("IPAddress") or "")
        told = (filed or {}).get(name)
        known = configured_mac(version, shown, ipv4, ran=ran) if told is None else told
        if known is not None:
            endpoint["DesiredMacAddress"] = known


def to_volume(wire: WireVolume) -> Volume:
    return Volume(
        name=wire.Name,
        driver=wire.Driver,
        labels=wire.Labels or {},
        options=wire.Options or {},
        mountpoint=wire.Mountpoint,
        created_at=epoch(wire.CreatedAt),
    )


def to_image(wire: WireImage | WireImageSummary) -> Image:
    labels = (
        wire.Labels
        if isinstance(wire, WireImageSummary)
        else wire.Config.Labels
        if wire.Config
        else None
    )
    created = float(wire.Created) if isinstance(wire, WireImageSummary) else epoch(wire.Created)
    return Image(id=wire.Id, tags=_tags(wire.RepoTags), labels=labels or {}, created_at=created)


def _tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(tag for tag in tags or () if tag != "<none>:<none>")
