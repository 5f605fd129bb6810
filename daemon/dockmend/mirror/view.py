"""What others may ask of the mirror. Nothing here changes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from dockmend.mirror.defining import Definitions
from dockmend.mirror.ends import cause_of
from dockmend.mirror.entry import Entry
from dockmend.mirror.index import EntryIndex
from dockmend.mirror.looks import join_failed
from dockmend.model import Change, Container, Endpoint, Event, Network, Origin, Volume, group_of, target_of

ANNOUNCED = 0.5
"""Seconds by which the event of a start may come after the start as inspect tells it."""


class View:
    """Containers by id, networks by id, volumes by name."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.index = EntryIndex()  # of the entries
        self.networks: dict[str, Network] = {}
        self.network_ids: dict[str, str] = {}  # of the networks, by name
        self.defined = Definitions()  # networks as last seen, those that are gone too
        self.volumes: dict[str, Volume] = {}
        self.unknown: dict[str, deque[tuple[Event, Origin]]] = {}  # heard of containers that are still to be inspected

    def container(self, container_id: str) -> Container | None:
        found = self.entries.get(container_id)
        return found.container if found else None

    def container_named(self, name: str) -> Container | None:
        return next((each.container for each in self.index.named(name)), None)

    def of_target(self, target: str) -> Container | None:
        """The container that is this target now; a running one where several bear the name."""
        found = [each.container for each in self.index.of_target(target)]
        return next((each for each in found if each.running), found[0] if found else None)

    def containers(self) -> Iterator[Container]:
        return (each.container for each in self.entries.values())

    def network_named(self, name: str) -> Network | None:
        network_id = self.network_ids.get(name)
        return self.networks[network_id] if network_id is not None else None

    def heard(self, container_id: str) -> int:
        """Grows with each event of a container: where it grew since inspect was asked, the answer may be outdated."""
        found = self.entries.get(container_id)
        return found.heard if found is not None else -1 - len(self.unknown.get(container_id, ()))

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        found = self.entries.get(container_id)
        return found.kept.good if found else {}

    def network_definition(self, name: str) -> Network | None:
        found = self.defined.known.get(name)
        return found.network if found else None

    def members(self, network: str) -> list[tuple[Container, Endpoint]]:
        """The containers in whose last known good set a network is, and how they were connected."""
        return [
            (each.container, each.kept.good[network]) for each in self.entries.values() if network in each.kept.good
        ]

    def members_out(self, network: str) -> bool:
        """Whether a container is still to be put back into a network."""
        return any(network in each.kept.lost for each in self.entries.values())

    def left_network(self, container_id: str, network: str) -> bool:
        """True where a person took a container out of a network: it is not in it, and is not meant to be."""
        found = self.entries.get(container_id)
        return found is not None and network not in found.kept.good and network not in found.container.networks

    def standing(self, ids: Iterable[str] | None = None) -> list[Change]:
        """Troubles that stand at present, to be offered again (at a start, after a reload, now and then); of all
        containers, or of those with these ids that are still there."""
        if ids is None:
            return [change for each in self.entries.values() for change in _standing(each)]
        there = (found for each in ids if (found := self.entries.get(each)) is not None)
        return [change for each in there for change in _standing(each)]

    def standing_at(self, target: str) -> list[Change]:
        """The same of one target."""
        return [change for each in self.index.of_target(target) for change in _standing(each)]

    def stands(self, container_id: str, trouble: str) -> bool:
        """Whether a trouble still stands, as far as the mirror has learnt."""
        found = self.entries.get(container_id)
        if found is None:
            return False
        if trouble.endswith("/end") and any(end.run is found.kept.run for end in found.ends):
            return True
        return any(change.trouble == trouble for change in found.kept.standing.values())

    def standing_of(self, container_id: str, kinds: Iterable[str]) -> list[Change]:
        """What stands of a container, of kinds such as health, end, orphaned, stuck, network/NAME."""
        found = self.entries.get(container_id)
        return [found.kept.standing[kind] for kind in kinds if kind in found.kept.standing] if found else []

    def stopped(self, container_id: str) -> bool:
        """Whether somebody stopped a container that does not run."""
        found = self.entries.get(container_id)
        if found is None or not found.kept.run.over or join_failed(found.container):
            return False
        run = found.kept.run
        # Also where it was told as a crash before its `stop` came.
        return run.told == "stopped" or cause_of(run, found.container, blind=True) == "stopped"

    def taken_down(self, container_id: str) -> bool:
        """Whether it is down because dockmend stopped it."""
        found = self.entries.get(container_id)
        return found is not None and found.kept.run.over and found.kept.run.by == "dockmend"

    def joined_at(self, container: Container) -> float:
        """When a container as it was just seen joined another's namespace, at the earliest (wall seconds)."""
        found = self.entries.get(container.id)
        known = found is not None and abs(found.kept.run.begun - container.started_at) <= ANNOUNCED
        return found.joined_at if found is not None and known else container.started_at

    def ran(self, container_id: str) -> bool:
        """Whether a container has ever run, as far as is known."""
        found = self.entries.get(container_id)
        return found is not None and found.kept.run.begun > 0.0

    def guests(self, owner: str) -> list[Container]:
        """Those that joined the network of a container, which is named by its target; whether it is there or not."""
        return [each.container for each in self.index.guests_of(owner)]

    def orphans(self, group: str) -> list[Container]:
        """Those of a group whose trouble stands, and that no person stopped."""
        found = [each for each in self.entries.values() if "orphaned" in each.kept.standing]
        mine = [each.container for each in found if each.kept.standing["orphaned"].group == group]
        return [each for each in mine if each.running or not self.stopped(each.id)]

    def group_of(self, container_id: str) -> str:
        """The group a container belongs to; "" where it joined nobody's network."""
        found = self.entries.get(container_id)
        return group_of(found.kept.owner) if found is not None and found.kept.owner else ""

    def settled(self, container_id: str) -> bool:
        """False while the cause of an end is not settled."""
        found = self.entries.get(container_id)
        return found is None or not found.ends


def _standing(entry: Entry) -> list[Change]:
    """What stands of a container, as of what it is now: its name may have changed since."""
    if not entry.kept.standing:
        return []
    container = entry.container
    target = target_of(container)
    return [replace(change, subject=container, target=target) for change in entry.kept.standing.values()]
