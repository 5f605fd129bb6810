"""The fake engine's networks and who is in them, with the events and refusals of the real one."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from . import shapes
from .log import EventLog
from .refusal import Refusal

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """The part of the world that connects; see World."""

    log: EventLog
    containers: dict[str, dict[str, Any]]
    networks: dict[str, dict[str, Any]]
    connect_keeps_mac: bool
    _addresses: int

    def container(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    def add_network(self, name: str, driver: str = "bridge") -> str:
        network = self._network(name, driver)
        self.log.emit("network", "create", network["Id"], {"name": name, "type": driver})
        return str(network["Id"])

    def _network(
        self, name: str, driver: str, asked: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        network = shapes.network(name, driver, 17 + len(self.networks), asked)
        self.networks[network["Id"]] = network
        return network

    def create_network(self, body: Mapping[str, Any]) -> str:
        """As the engine makes one that it is asked for, with what it refuses."""
        name, driver = body["Name"], body.get("Driver") or "bridge"
        if any(other["Name"] == name for other in self.networks.values()):
            raise Refusal(409, f"network with name {name} already exists")
        if driver not in ("bridge", "macvlan", "null"):
            raise Refusal(404, f'plugin "{driver}" not found')
        origin = (body.get("ConfigFrom") or {}).get("Network")
        if origin:
            if not any(
                other["Name"] == origin and other["ConfigOnly"] for other in self.networks.values()
            ):
                raise Refusal(404, f'configuration network "{origin}" does not exist')
            if body.get("Labels") or body.get("Options") or (body.get("IPAM") or {}).get("Config"):
                text = (
                    "user specified configurations are not supported if the network depends "
                    "on a configuration"
                )
                raise Refusal(403, f"{text} network")
            body = {**body, "IPAM": self.network(origin)["IPAM"]}
        elif not body.get("ConfigOnly") and self._overlaps(subnets(body)):
            raise Refusal(403, "Pool overlaps with other one on this address space")
        network = self._network(name, "null" if body.get("ConfigOnly") else driver, body)
        self.log.emit("network", "create", network["Id"], {"name": name, "type": network["Driver"]})
        return str(network["Id"])

    def _overlaps(self, wanted: list[Subnet]) -> bool:
        others = [
            each
            for other in self.networks.values()
            if not other["ConfigOnly"]
            for each in subnets(other)
        ]
        return any(
            one.version == other.version and one.overlaps(other)
            for one in wanted
            for other in others
        )

    def remove_network(self, name: str) -> None:
        network = self.network(name)
        users = (c for c in self.containers.values() if c["State"]["Running"])
        if any(
            place["EndpointID"] and place["NetworkID"] == network["Id"]
            for c in users
            for place in places(c).values()
        ):
            raise Refusal(403, f"error while removing network: network {name} has active endpoints")
        del self.networks[network["Id"]]
        self.log.emit(
            "network", "destroy", network["Id"], {"name": name, "type": network["Driver"]}
        )

    def network(self, name: str) -> dict[str, Any]:
        for identity, network in self.networks.items():
            if name in (identity, network["Name"]):
                return network
        raise Refusal(404, f"network {name} not found")

    def connect(self, network: str, name: str, config: Mapping[str, Any] | None) -> None:
        told, container = self.network(network), self.container(name)
        plain = container["Name"][1:]
        if (
            places(container).get(told["Name"], {}).get("NetworkID")
            and container["State"]["Running"]
        ):
            raise Refusal(
                403, f"endpoint with name {plain} already exists in network {told['Name']}"
            )
        if container["HostConfig"]["NetworkMode"].startswith("container:"):
            text = (
                "container sharing network namespace with another container or host cannot be "
                "connected"
            )
            raise Refusal(403, f"{text} to any other network")
        place = shapes.endpoint(told["Id"], config, plain, container["Id"])
        if not self.connect_keeps_mac:
            place["_mac"] = ""
        if container["State"]["Running"]:
            # what is left where the rest fails
            places(container)[told["Name"]] = {**place, "NetworkID": ""}
            self._may_have(told, (place["IPAMConfig"] or {}).get("IPv4Address"))
        places(container)[told["Name"]] = place
        if container["State"]["Running"]:
            self._bring_up(container, told["Name"], place)

    def _may_have(self, network: Mapping[str, Any], address: str | None) -> None:
        if not address:
            return
        if network["_given"]:
            text = (
                "user specified IP address is supported only when connecting to networks with "
                "user configured subnets"
            )
            raise Refusal(400, f"invalid endpoint settings:\n{text} subnets")
        if not any(ipaddress.ip_address(address) in each for each in subnets(network)):
            text = f"no configured subnet or ip-range contain the IP address {address}"
            raise Refusal(400, f"invalid endpoint settings:\n{text}")
        if address in (
            member["IPv4Address"].partition("/")[0] for member in self.members(network).values()
        ):
            raise Refusal(403, "Address already in use")

    def members(self, network: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Who is in a network at present, as its inspect tells."""
        return {
            identity: {
                "Name": one["Name"][1:],
                "IPv4Address": f"{place['IPAddress']}/24",
                "IPv6Address": "",
            }
            for identity, one in self.containers.items()
            for place in places(one).values()
            if place["EndpointID"] and place["NetworkID"] == network["Id"]
        }

    def disconnect(self, network: str, name: str) -> None:
        container = self.container(name)
        found = next(
            (
                key
                for key, place in places(container).items()
                if network in (key, place["NetworkID"])
            ),
            None,
        )
        if found is None or (
            container["State"]["Running"] and not places(container)[found]["NetworkID"]
        ):
            self.network(network)
            raise Refusal(500, f"container {container['Id']} is not connected to network {network}")
        place = places(container).pop(found)
        self._told_network("disconnect", container, found, place)

    def _bring_up(self, container: dict[str, Any], network: str, place: dict[str, Any]) -> None:
        self._addresses += 1
        shapes.bring_up(
            place, list(self.networks).index(place["NetworkID"]) + 17, self._addresses % 250
        )
        self._told_network("connect", container, network, place)

    def _told_network(
        self, action: str, container: dict[str, Any], network: str, place: dict[str, Any]
    ) -> None:
        driver = self.networks.get(place["NetworkID"], {}).get("Driver", "bridge")
        attributes = {"container": container["Id"], "name": network, "type": driver}
        self.log.emit("network", action, place["NetworkID"], attributes)


def places(container: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A container's endpoints by network name."""
    networks: dict[str, dict[str, Any]] = container["NetworkSettings"]["Networks"]
    return networks


def subnets(network: Mapping[str, Any]) -> list[Subnet]:
    """The subnets that a network (or the body that asks for one) names."""
    return [
        ipaddress.ip_network(each["Subnet"])
        for each in (network.get("IPAM") or {}).get("Config") or ()
    ]
