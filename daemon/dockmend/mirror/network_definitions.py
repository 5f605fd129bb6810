"""How networks were made. Kept after a network's end and over dockmend's restarts, to make it
again.

dockmend finds a network that was removed while it was down by comparing these with its first
list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from dockmend.mirror import conditions
from dockmend.model import Change, Network, Origin

GONE_KEPT = 256
"""Definitions kept of networks that are gone; beyond them the one that has been gone longest is
forgotten."""


class Defined(Struct, frozen=True, omit_defaults=True):
    """A network as it was last seen; `missing_at`: when it was told to be missing, 0.0 where it is
    there."""

    network: Network
    missing_at: float = 0.0


class NetworkDefinitions:
    """By name. `changed`: names whose definition is to be journalled; `lists_swarm`: whether the
    engine lists all networks of its swarm (a worker lists only those in use, so one that is not
    listed may well be there)."""

    def __init__(self) -> None:
        self.known: dict[str, Defined] = {}
        self.changed: set[str] = set()
        self.lists_swarm = False
        # ids of those that are gone, and may be about to be made again
        self._vanished: dict[str, str] = {}

    def restore(self, name: str, data: bytes) -> None:
        """Takes up one from the journal. Raises msgspec.MsgspecError where the bytes are of no
        use."""
        self.known[name] = msgspec.msgpack.decode(data, type=Defined)

    def encoded(self, name: str) -> bytes | None:
        found = self.known.get(name)
        return msgspec.msgpack.encode(found) if found else None

    def observed(self, networks: Mapping[str, Network]) -> list[Network]:
        """After a list of networks (by id): what is new is kept. Returns what is newly gone, for
        `missing`."""
        present = set()
        for network in networks.values():
            present.add(network.name)
            known = self.known.get(network.name)
            if not network.engines_own and (
                known is None or known.missing_at or known.network != network
            ):
                self._keep(Defined(network))
        gone = []
        for name, known in self.known.items():
            if name in present:
                self._vanished.pop(name, None)
            elif (
                not known.missing_at
                and self._vanished.get(name) != known.network.id
                and self._listed(known.network)
            ):
                self._vanished[name] = known.network.id
                gone.append(known.network)
        self._forget(present)
        return gone

    def _listed(self, network: Network) -> bool:
        return network.scope != "swarm" or self.lists_swarm

    def missing(
        self, network: Network, at: float, origin: Origin
    ) -> Callable[[float], list[Change]]:
        """What there is to tell a little later, unless it was made again by then."""

        def look(now: float) -> list[Change]:
            if self._vanished.get(network.name) != network.id:
                return []
            del self._vanished[network.name]
            self._keep(Defined(network, missing_at=at))
            return [conditions.missing("network", network, network.id[:12], at, origin)]

        return look

    def _keep(self, known: Defined) -> None:
        self.known.pop(known.network.name, None)  # the newest last
        self.known[known.network.name] = known
        self.changed.add(known.network.name)

    def _forget(self, present: set[str]) -> None:
        gone = [name for name in self.known if name not in present]
        for name in gone[: max(0, len(gone) - GONE_KEPT)]:
            del self.known[name]
            self._vanished.pop(name, None)
            self.changed.add(name)
