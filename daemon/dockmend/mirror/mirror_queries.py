"""What others may ask of the mirror. Nothing here changes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from dockmend.mirror.conditions import join_failed
from dockmend.mirror.container_index import ContainerIndex
from dockmend.mirror.container_record import UNKNOWN, ContainerRecord
from dockmend.mirror.exit_cause import EngineStart, asked_by_another, cause_of
from dockmend.mirror.identities import Identities, is_id
from dockmend.mirror.network_definitions import NetworkDefinitions
from dockmend.mirror.owner_index import OwnerIndex
from dockmend.mirror.resolver import Resolver, only_beginning_with
from dockmend.model import (
    Change,
    Container,
    Endpoint,
    Event,
    Network,
    Origin,
    Volume,
    group_of,
    owner_in,
    target_of,
    unknown_owner,
)

ANNOUNCED = 0.5
"""Seconds by which the event of a start may come after the start as inspect tells it."""


class MirrorQueries:
    """Containers by id, networks by id, volumes by name."""

    def __init__(self) -> None:
        self.entries: dict[str, ContainerRecord] = {}
        self.index = ContainerIndex()  # of the entries
        self.networks: dict[str, Network] = {}
        self.network_ids: dict[str, str] = {}  # of the networks, by name
        self.defined = NetworkDefinitions()  # networks as last seen, those that are gone too
        self.volumes: dict[str, Volume] = {}
        self.engine_start = EngineStart()
        # heard of containers that are still to be inspected
        self.unknown: dict[str, deque[tuple[Event, Origin]]] = {}
        self.identities = Identities()  # of those that are gone too
        self.resolver = Resolver(self, self.identities)
        self.owned_by = OwnerIndex(self.resolver, self.identities)

    def container(self, container_id: str) -> Container | None:
        found = self.entries.get(container_id)
        return found.container if found else None

    def container_named(self, name: str) -> Container | None:
        return next((each.container for each in self.index.named(name)), None)

    def of_target(self, target: str) -> Container | None:
        """The container that is this target now; a running one where several bear the name."""
        found = [each.container for each in self.index.of_target(target)]
        return next((each for each in found if each.running), found[0] if found else None)

    def beginning_with(self, digits: str) -> Container | None:
        return self.container(only_beginning_with(self.entries, digits) or "")

    def is_gone(self, container_id: str) -> bool:
        """Whether a container was heard of, and is not there any more. Of one that dockmend has
        only just made, the stream may still have to tell: that one is neither there nor gone."""
        heard = container_id in self.identities.known
        return heard and container_id not in self.entries and container_id not in self.unknown

    def containers(self) -> Iterator[Container]:
        return (each.container for each in self.entries.values())

    def network_named(self, name: str) -> Network | None:
        network_id = self.network_ids.get(name)
        return self.networks[network_id] if network_id is not None else None

    def heard(self, container_id: str) -> int:
        """Changes with each event of a container: if it changed since inspect was asked, the answer
        may be outdated. Of a container that is not known yet it is UNKNOWN less its events."""
        found = self.entries.get(container_id)
        if found is not None:
            return found.heard
        return UNKNOWN - len(self.unknown.get(container_id, ()))

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        found = self.entries.get(container_id)
        return found.kept.good if found else {}

    def network_definition(self, name: str) -> Network | None:
        found = self.defined.known.get(name)
        return found.network if found else None

    def members(self, network: str) -> list[tuple[Container, Endpoint]]:
        """The containers in whose last known good set a network is, and how they were connected."""
        return [
            (each.container, each.kept.good[network])
            for each in self.entries.values()
            if network in each.kept.good
        ]

    def members_out(self, network: str) -> bool:
        """Whether a container is still to be put back into a network."""
        return any(network in each.kept.lost for each in self.entries.values())

    def left_network(self, container_id: str, network: str) -> bool:
        """True where a person took a container out of a network: it is not in it, and is not meant
        to be."""
        found = self.entries.get(container_id)
        return (
            found is not None
            and network not in found.kept.good
            and network not in found.container.networks
        )

    def standing(self, ids: Iterable[str] | None = None) -> list[Change]:
        """Troubles that stand at present, to be offered again (at a start, after a reload, now and
        then); of all containers, or of those with these ids that are still there."""
        there = self.entries.values() if ids is None else filter(None, map(self.entries.get, ids))
        return [change for each in there for change in self._standing(each)]

    def standing_at(self, target: str) -> list[Change]:
        """The same of one target."""
        return [change for each in self.index.of_target(target) for change in self._standing(each)]

    def _standing(self, entry: ContainerRecord) -> list[Change]:
        """What stands of a container, as of what it and its owner are called now."""
        if not entry.kept.standing:
            return []
        container = entry.container
        target, group = target_of(container), self.group_of(container.id)
        return [
            replace(change, subject=container, target=target, group=group if change.group else "")
            for change in entry.kept.standing.values()
        ]

    def stands(self, container_id: str, trouble: str) -> bool:
        """Whether a trouble still stands, as far as the mirror has learnt."""
        found = self.entries.get(container_id)
        if found is None:
            return False
        if trouble.endswith("/end") and any(end.run is found.kept.run for end in found.ends):
            return True
        return any(change.trouble == trouble for change in found.kept.standing.values())

    def standing_of(self, container_id: str, kinds: Iterable[str]) -> list[Change]:
        """What stands of a container, of kinds such as health, end, orphaned, stuck,
        network/NAME."""
        found = self.entries.get(container_id)
        return (
            [found.kept.standing[kind] for kind in kinds if kind in found.kept.standing]
            if found
            else []
        )

    def stopped(self, container_id: str) -> bool:
        """Whether somebody stopped a container that does not run."""
        found = self.entries.get(container_id)
        if found is None or not found.kept.run.over or join_failed(found.container):
            return False
        run = found.kept.run
        # Also where it was told as a crash before its `stop` came.
        return (
            run.told == "stopped"
            or cause_of(run, found.container, self.engine_start, blind=True) == "stopped"
        )

    def restarted(self, container_id: str) -> bool:
        """Whether it runs because somebody restarted it."""
        found = self.entries.get(container_id)
        previous = found.previous if found is not None else None
        return previous is not None and previous.restarted and not previous.by

    def owes_a_stop(self, container_id: str) -> bool:
        """Whether a container runs because dockmend asked for it, and a person's stop was undone by
        that."""
        found = self.entries.get(container_id)
        return found is not None and found.kept.run.owed and not found.kept.run.over

    def announced(self, seen: Container) -> bool:
        """Whether the stream has told of the run that a look shows. What is not there, it need not
        tell of."""
        found = self.entries.get(seen.id)
        run = found.kept.run if found is not None else None
        return run is None or (run.announced_at > 0.0 and seen.started_at <= run.begun + ANNOUNCED)

    def engine_was_there(self, at: float) -> bool:
        """Whether the present engine was there at a time (wall seconds); False where that is not
        known."""
        return 0.0 < self.engine_start.began_at < at

    def taken_down(self, container_id: str) -> bool:
        """Whether it is down because dockmend, and nobody beside it, stopped it."""
        found = self.entries.get(container_id)
        run = found.kept.run if found is not None else None
        if found is None or run is None or not run.over or run.by != "dockmend":
            return False
        return not asked_by_another(run, found.container)

    def joined_at(self, container: Container) -> float:
        """When a container as it was just seen joined another's namespace, at the earliest (wall
        seconds)."""
        found = self.entries.get(container.id)
        known = found is not None and abs(found.kept.run.begun - container.started_at) <= ANNOUNCED
        return found.joined_at if found is not None and known else container.started_at

    def ran(self, container_id: str) -> bool:
        """Whether a container has ever run, as far as is known."""
        found = self.entries.get(container_id)
        return found is not None and found.kept.run.begun > 0.0

    # --- owners of namespaces ---------------------------------------------------------------------

    def owner(self, container: Container) -> Container | None:
        """Whose network a container is to share: the one that its definition names, renamed or not,
        or the one that took its place."""
        found = self.resolver.container(container.joined) if container.joined else None
        return found if found is not None and found.id != container.id else None

    def named_owner(self, container: Container) -> Container | None:
        """The very one that its definition names; None where that is gone, whoever took its
        place."""
        joined = container.joined
        if not joined:
            return None
        return self.container(joined) if is_id(joined) else self.owner(container)

    def owner_key(self, container: Container) -> str:
        """The target of its owner, there or not; see `unknown_owner` where nothing tells which
        container that was."""
        owner, joined = self.owner(container), container.joined or ""
        if owner is not None:
            return target_of(owner)
        known = self.identities.keys(joined)
        return (
            known[0] if known else unknown_owner(joined) if is_id(joined) else f"container:{joined}"
        )

    def of_owner(self, owner: str) -> Container | None:
        """The container that is this owner now: by its target, by its name, or by what became of
        one that was called so."""
        found = self.of_target(owner)
        if found is None and owner.startswith("container:"):
            found = self.container_named(owner.removeprefix("container:"))
        if found is not None:
            return found
        if called := [
            meant for joined, meant in self.owned_by.called(owner) if self._is_called(joined, owner)
        ]:
            # else it is that one that is gone
            return None if "" in called else self.container(called[0])
        heirs = (
            heir
            for each in self.identities.called(owner)
            for heir in self.identities.in_its_place(each)
        )
        return next(filter(None, map(self.container, heirs)), None)

    def _is_called(self, joined: str, owner: str) -> bool:
        return owner in self.identities.keys(joined) or owner in (
            unknown_owner(joined),
            f"container:{joined}",
        )

    def guests(self, owner: str) -> list[Container]:
        """Those that share the network of an owner, or are to; whether that is there or not.

        A Compose one-off is not among them: nothing that is done to them together is done to it.
        """
        root, found = self.of_owner(owner), list[Container]()
        if root is not None:
            references = self.owned_by.meaning(root.id)
        else:
            called = self.owned_by.called(owner)
            references = [
                each for each, meant in called if not meant and self._is_called(each, owner)
            ]
        for joined in references:
            mine = (self.entries[each].container for each in sorted(self.owned_by.naming(joined)))
            found += [each for each in mine if each.joined == joined]
        return [each for each in found if (root is None or each.id != root.id) and not each.one_off]

    def living_in(self, container_id: str) -> list[Container]:
        """Those whose definitions name a container, or one whose heir it is, as the owner of a
        namespace. It need not be there, nor heard of yet."""
        heir_of, index = self.identities.heir_of, self.owned_by
        heir = heir_of(container_id)
        named = {each for key in (container_id, heir) for each, _ in index.called(key)}
        same = {each for each in named if each == container_id or heir_of(each) == heir}
        same.update(index.meaning(container_id), index.meaning(heir))
        found = {each for reference in same for each in index.naming(reference)}
        return [self.entries[each].container for each in sorted(found - {container_id, heir})]

    def linked_to(self, container: Container) -> list[Container]:
        """Those that link to a container on the default bridge, by the names that their definitions
        hold."""
        return [
            each
            for each in self.containers()
            if each.id != container.id and container.name in each.linked
        ]

    def linked_to_dead(self, container_id: str) -> list[Container]:
        """Those whose links are to a container that is gone, and whose place another has taken."""
        if self.identities.heir_of(container_id) == container_id:
            return []
        return [each for each in self.containers() if self.link_died(each, container_id)]

    def link_died(self, container: Container, to: str) -> bool:
        """Whether it links to a container (an id) whose place another has taken since."""
        heir = self.container(self.identities.heir_of(to)) if container.links else None
        return (
            heir is not None
            and heir.id not in (to, container.id)
            and heir.name in container.linked
            and container.created_at < heir.created_at
        )

    def is_to_run(self, container: Container, since: float) -> bool:
        """Whether it runs, or is down though nobody wants that: dockmend took it down in the middle
        of something, or it ended by itself, not with its work done, since a time (wall seconds, by
        the engine's clock)."""
        if container.running or (
            self.taken_down(container.id) and not self.down_by_rule(container.id)
        ):
            return True
        found = self.entries.get(container.id)
        ended = found.kept.run.died_at if found is not None else 0.0
        return (
            container.state == "exited"
            and container.exit_code != 0
            and ended >= since
            and not self.stopped(container.id)
        )

    def down_by_rule(self, container_id: str) -> bool:
        """Whether a rule stopped it and left it down."""
        found = self.entries.get(container_id)
        return found is not None and found.kept.run.put_down and self.taken_down(container_id)

    def down_on_purpose(self, container: Container) -> bool:
        """Whether it does not run because a person or a rule stopped it."""
        return not container.running and (
            self.stopped(container.id) or self.down_by_rule(container.id)
        )

    def stopped_owner(self, container: Container) -> Container | None:
        """The owner of a namespace that it is to live in, where that one is down on purpose."""
        return next(filter(self.down_on_purpose, self.owners(container)), None)

    def owners(self, container: Container) -> list[Container]:
        """Those that are there of the containers in whose namespaces it is to live."""
        if not container.owners:
            return []
        meant = (self.resolver.container(each) for each in sorted(container.owners))
        return [each for each in meant if each is not None and each.id != container.id]

    def shares(self, container: Container) -> bool:
        """Whether it runs, and in the network that its owner has now: what an attempt at a
        dependent is to achieve."""
        owner = self.named_owner(container)
        return (
            container.state == "running"
            and owner is not None
            and owner.running
            and owner.started_at <= self.joined_at(container)
        )

    def orphans(self, group: str) -> list[Container]:
        """Those of a group whose trouble stands, and that no person stopped."""
        guests = self.guests(owner_in(group) or "")
        mine = [each for each in guests if "orphaned" in self.entries[each.id].kept.standing]
        return [each for each in mine if each.running or not self.stopped(each.id)]

    def group_of(self, container_id: str) -> str:
        """The group a container belongs to; "" where it shares nobody's network."""
        found = self.container(container_id)
        if found is None or not found.joined or found.one_off:
            return ""
        return group_of(self.owner_key(found))

    def settled(self, container_id: str) -> bool:
        """False while the cause of an end is not settled."""
        found = self.entries.get(container_id)
        return found is None or not found.ends
