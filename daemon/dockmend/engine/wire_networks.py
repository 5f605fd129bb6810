"""Networks and a container's places in them: the engine's JSON and its conversion to the model,
both ways; pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from dockmend.bounds import bounded_name
from dockmend.model import Endpoint, Int64, Network, Subnet, main_network

from .engine_times import epoch

HANDED_OUT = frozenset({"com.docker.network.driver.overlay.vxlanid_list"})
"""Options that the engine adds to what it was asked for: another network may have been given the
value since."""


class WireIpam(Struct):
    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] | None = None


class WireEndpoint(Struct):
    NetworkID: str = ""
    IPAMConfig: WireIpam | None = None
    Links: list[str] | None = None
    Aliases: list[str] | None = None
    MacAddress: str = ""
    IPAddress: str = ""
    GlobalIPv6Address: str = ""
    DriverOpts: dict[str, str] | None = None
    GwPriority: Int64 = 0


class WireSubnet(Struct):
    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] | None = None


class WireNetworkIpam(Struct):
    Driver: str = ""
    Options: dict[str, str] | None = None
    Config: list[WireSubnet] | None = None


class WireConfigFrom(Struct):
    Network: str = ""


class WireMember(Struct):
    Name: str = ""
    IPv4Address: str = ""
    IPv6Address: str = ""


class WireNetwork(Struct):
    Id: str
    Name: str
    Driver: str = ""
    Scope: str = ""
    Labels: dict[str, str] | None = None
    Created: str = ""
    Options: dict[str, str] | None = None
    IPAM: WireNetworkIpam | None = None
    EnableIPv4: bool = True  # told from API 1.48 on
    EnableIPv6: bool = False
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: WireConfigFrom | None = None
    Containers: dict[str, WireMember] | None = None


network_decoder = msgspec.json.Decoder(WireNetwork)
networks_decoder = msgspec.json.Decoder(list[WireNetwork])


def to_endpoint(wire: WireEndpoint, short_id: str, mac: str | None) -> Endpoint:
    """The place in a network. `mac`: the MAC address that was configured; see `Endpoint`.

    API versions before 1.45 add the container's short id to the aliases: it is left out.
    """
    ipam = wire.IPAMConfig
    return Endpoint(
        network_id=wire.NetworkID,
        aliases=tuple(alias for alias in wire.Aliases or () if alias != short_id),
        ipv4=(ipam.IPv4Address or None) if ipam else None,
        ipv6=(ipam.IPv6Address or None) if ipam else None,
        link_local=tuple(ipam.LinkLocalIPs or ()) if ipam else (),
        mac=mac,
        links=tuple(wire.Links or ()),
        driver_opts=wire.DriverOpts or {},
        gw_priority=wire.GwPriority,
        address=wire.IPAddress,
        address6=wire.GlobalIPv6Address,
        mac_in_use=wire.MacAddress,
    )


def endpoint_config(endpoint: Endpoint) -> dict[str, Any]:
    """The body that makes the engine connect a container exactly as `endpoint` says."""
    body: dict[str, Any] = {}
    ipam: dict[str, Any] = {}
    if endpoint.ipv4:
        ipam["IPv4Address"] = endpoint.ipv4
    if endpoint.ipv6:
        ipam["IPv6Address"] = endpoint.ipv6
    if endpoint.link_local:
        ipam["LinkLocalIPs"] = list(endpoint.link_local)
    if ipam:
        body["IPAMConfig"] = ipam
    if endpoint.aliases:
        body["Aliases"] = list(endpoint.aliases)
    if endpoint.links:
        body["Links"] = list(endpoint.links)
    if endpoint.mac:
        body["MacAddress"] = endpoint.mac
    if endpoint.driver_opts:
        body["DriverOpts"] = dict(endpoint.driver_opts)
    if endpoint.gw_priority:
        body["GwPriority"] = endpoint.gw_priority
    return body


def one_network(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A create body for an API before 1.44, which takes one network, and the endpoints to connect
    afterwards."""
    endpoints = dict((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    main = main_network((body.get("HostConfig") or {}).get("NetworkMode"))
    first = {main: endpoints.pop(main)} if main in endpoints else {}
    return {**body, "NetworkingConfig": {"EndpointsConfig": first}}, endpoints


def to_network(wire: WireNetwork) -> Network:
    ipam = wire.IPAM or WireNetworkIpam()
    return Network(
        id=wire.Id,
        name=bounded_name(wire.Name),
        driver=wire.Driver,
        scope=wire.Scope,
        labels=wire.Labels or {},
        created_at=epoch(wire.Created),
        options={
            key: value for key, value in (wire.Options or {}).items() if key not in HANDED_OUT
        },
        subnets=tuple(
            Subnet(s.Subnet, s.IPRange, s.Gateway, s.AuxiliaryAddresses or {})
            for s in ipam.Config or ()
        ),
        ipam_driver=ipam.Driver or "default",
        ipam_options=ipam.Options or {},
        ipv4=wire.EnableIPv4,
        ipv6=wire.EnableIPv6,
        internal=wire.Internal,
        attachable=wire.Attachable,
        ingress=wire.Ingress,
        config_only=wire.ConfigOnly,
        config_from=bounded_name(wire.ConfigFrom.Network) if wire.ConfigFrom else "",
    )


def network_body(network: Network) -> dict[str, Any]:
    """What makes the engine create `network`. Engines before 25 allow two of one name unless told
    not to."""
    body: dict[str, Any] = {"Name": network.name, "CheckDuplicate": True, "Driver": network.driver}
    # the engine refuses anything else beside it: all the rest is in that network
    if network.config_from:
        body["ConfigFrom"] = {"Network": network.config_from}
    else:
        subnets = [_subnet_body(each) for each in network.subnets]
        ipam = {
            "Driver": network.ipam_driver,
            "Options": dict(network.ipam_options),
            "Config": subnets,
        }
        body |= {"IPAM": ipam, "Options": dict(network.options), "Labels": dict(network.labels)}
        body |= {"EnableIPv6": network.ipv6, "ConfigOnly": network.config_only}
        if not network.ipv4:
            body["EnableIPv4"] = False
    return body | {
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
    }


def _subnet_body(subnet: Subnet) -> dict[str, Any]:
    said = {"Subnet": subnet.subnet, "IPRange": subnet.ip_range, "Gateway": subnet.gateway}
    body: dict[str, Any] = {key: value for key, value in said.items() if value}
    return body | ({"AuxiliaryAddresses": dict(subnet.aux)} if subnet.aux else {})


def holders(wire: WireNetwork) -> dict[str, str]:
    """Who has which address of a network: address -> name of the container (or of the swarm's own
    endpoint)."""
    found = {}
    for member in (wire.Containers or {}).values():
        for address in (member.IPv4Address, member.IPv6Address):
            if address:
                found[address.partition("/")[0]] = bounded_name(member.Name)
    return found
