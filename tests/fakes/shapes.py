"""The JSON of the fake engine's objects, in the shape that Docker Engine 26.1 (API 1.45) gives
them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

ZERO = "0001-01-01T00:00:00Z"
_numbers = itertools.count(1)


def new_id() -> str:
    """64 hexadecimal digits, another at each call."""
    return hashlib.sha256(b"%d" % next(_numbers)).hexdigest()


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def image(
    identity: str, tags: list[str], config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "Id": identity,
        "RepoTags": tags,
        "RepoDigests": [],
        "Created": stamp(),
        "Config": dict(config or {}),
        "Size": 0,
    }


def image_summary(one: Mapping[str, Any]) -> dict[str, Any]:
    created = int(datetime.fromisoformat(one["Created"]).timestamp())
    labels = one["Config"].get("Labels")
    return {
        "Id": one["Id"],
        "RepoTags": one["RepoTags"],
        "RepoDigests": [],
        "Created": created,
        "Labels": labels,
        "Containers": -1,
    }


def network(
    name: str, driver: str = "bridge", subnet: int = 0, asked: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`asked`: the body of the call that makes it; without it has a subnet of its own."""
    body = dict(asked or {})
    ipam = {"Driver": "default", "Options": {}, **(body.get("IPAM") or {})}
    handed_out = [{"Subnet": f"172.{subnet}.0.0/16", "Gateway": f"172.{subnet}.0.1"}]
    flags = {
        key: bool(body.get(key))
        for key in ("EnableIPv6", "Internal", "Attachable", "Ingress", "ConfigOnly")
    }
    return {
        "Id": new_id(), "Name": name, "Driver": driver, "Scope": "local", "Created": stamp(),
        "Labels": dict(body.get("Labels") or {}), "Options": dict(body.get("Options") or {}),
        **flags, "ConfigFrom": body.get("ConfigFrom") or {"Network": ""},
        "IPAM": {**ipam, "Config": ipam.get("Config") or handed_out}, "Containers": {},
        "_given": not ipam.get("Config"),
    }  # fmt: skip


def volume(
    name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "Name": name, "Driver": driver, "Mountpoint": f"/fake/volumes/{name}/_data",
        "Scope": "local", "CreatedAt": stamp(), "Labels": dict(labels) or None,
        "Options": dict(options) or None,
    }  # fmt: skip


def endpoint(
    network_id: str, config: Mapping[str, Any] | None, name: str, identity: str
) -> dict[str, Any]:
    """A place in a network, not in use yet: that is what `bring_up` adds."""
    asked = dict(config or {})
    return {
        "IPAMConfig": asked.get("IPAMConfig"), "Links": asked.get("Links"),
        "Aliases": asked.get("Aliases"), "MacAddress": "", "NetworkID": network_id,
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DriverOpts": asked.get("DriverOpts"),
        **({"GwPriority": asked["GwPriority"]} if "GwPriority" in asked else {}),
        "DNSNames": [name, *(asked.get("Aliases") or []), identity[:12]],
        "_mac": asked.get("MacAddress") or "",
    }  # fmt: skip


def bring_up(place: dict[str, Any], subnet: int, number: int) -> None:
    """Gives the endpoint its address: the configured one, or the next."""
    address = (place["IPAMConfig"] or {}).get("IPv4Address") or f"172.{subnet}.0.{number}"
    made_up = "02:42:" + ":".join(f"{int(part):02x}" for part in address.split("."))
    place |= {"IPAddress": address, "EndpointID": new_id(), "MacAddress": place["_mac"] or made_up}


def take_down(place: dict[str, Any]) -> None:
    place |= {"IPAddress": "", "EndpointID": "", "MacAddress": ""}


def container(
    identity: str, name: str, image_id: str, config: Mapping[str, Any], host: Mapping[str, Any]
) -> dict[str, Any]:
    """A created container; `config` is merged with its image's already."""
    return {
        "Id": identity, "Name": f"/{name}", "Created": stamp(), "Image": image_id,
        "RestartCount": 0,
        "State": {
            "Status": "created", "Running": False, "Paused": False, "Restarting": False,
            "OOMKilled": False, "Dead": False, "Pid": 0, "ExitCode": 0, "Error": "",
            "StartedAt": ZERO, "FinishedAt": ZERO,
        },
        "Config": {"Image": "", "Labels": {}, **config},
        "HostConfig": {
            "NetworkMode": "default", "AutoRemove": False,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, **host,
        },
        "Mounts": [], "NetworkSettings": {"Networks": {}},
    }  # fmt: skip


def public(value: Any) -> Any:
    """Without the fake's own notes, whose names begin with an underscore."""
    if isinstance(value, dict):
        return {key: public(inner) for key, inner in value.items() if not str(key).startswith("_")}
    return [public(inner) for inner in value] if isinstance(value, list) else value
