"""The mirror itself: entries by container id, networks, volumes, and what is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec.structs import replace

from dockmend.mirror import change_factory, conditions, event_handlers, lingering, runs
from dockmend.mirror import container_record as entries
from dockmend.mirror.container_record import (
    EVENTS_WITHIN,
    UNKNOWN,
    ContainerRecord,
    StoredRecord,
)
from dockmend.mirror.exit_cause import GOING_DOWN, HISTORY, ContainerRun
from dockmend.mirror.own_doing import OwnDoing
from dockmend.model import Change, Container, Event, Network, Origin, Volume, target_of
from dockmend.owned import OwnedObjects

UnknownCause = Literal["restart policy", "act", "leave"]

BURIED = 1024
"""Containers that are gone whose ids are remembered: a replay does not bring them back."""
HEARD_OF_EACH, HEARD_OF = 64, 4096
"""Events kept of a container that no inspect has told of yet, and of how many such containers."""
_NAMING = frozenset({"create", "rename", "start", "die", "destroy"})
"""Events by which the name is learnt of a container that no inspect has told of; the engine writes
it into each, over any label of that name."""
TRUSTED_AFTER = 3
"""Inspect answers in a row that seem older than what events told, after which inspect is believed:
it is the truth."""


class Mirror(OwnDoing):
    """Feed it with `apply`, `observe`, `gone`, `relist`, `tick`; each returns the changes that
    follow.

    `wanted` holds ids of containers to inspect (the answer goes to `observe`, a 404 to `gone`),
    `stale_networks` and `stale_volumes` say that those lists are to be read again: who does unsays
    it before asking, as what is heard during the call may not be in the answer.
    `on_container(before, after)` is called for every change of a container's record,
    `on_settled(container)` when the cause of an end is known, which is later than the record's
    change, `on_gone(target)` if one was removed that nobody misses. Times are wall seconds; `now`
    is passed in.
    """

    def __init__(
        self,
        unknown_cause: UnknownCause = "restart policy",
        on_container: Callable[[Container | None, Container | None], None] = lambda before, after: (
            None
        ),
        owned: OwnedObjects | None = None,
    ) -> None:
        super().__init__()
        self.owned = owned or OwnedObjects()  # dockmend's tools among the containers are left out
        self.stale_networks = self.stale_volumes = self.listed = False
        # gone, until it is known whether something took their place
        self.leaving: dict[str, ContainerRecord] = {}
        # ids whose definition may be another than before: who keeps it takes them out
        self.redefined: set[str] = set()
        # by the id of an heir that is still to be seen
        self._inherits: dict[str, StoredRecord] = {}
        # ids of containers that dockmend itself was removing before its start
        self.taken_away: set[str] = set()
        self.unknown_cause = unknown_cause
        self.on_container = on_container
        self.on_settled: Callable[[Container], None] = lambda container: None
        self.on_gone: Callable[[str], None] = lambda target: None
        # from its going down to its coming up: ends are its doing
        self.engine_away: tuple[float, float] = (0.0, 0.0)
        # it came back, and what it found ended it had not stopped (live-restore)
        self.engine_kept_containers = False
        # of what the engine replays from before that, all is known that is still to be known
        self.known_until_ns = 0
        self._buried: dict[str, ContainerRecord] = {}

    # --- what is persisted ------------------------------------------------------------------------

    def restore(self, data: bytes) -> None:
        """Takes up last known state from the journal. Raises msgspec.MsgspecError, ValueError or
        RecursionError if the bytes are of no use."""
        restored = entries.decode(data)
        if restored.kept.removed_at:
            conditions.await_successor(self, restored, "relisted")
            return
        self._add(restored)
        self.on_container(None, restored.container)

    def known(self, container_id: str) -> bytes | None:
        found = self.entries.get(container_id) or self.leaving.get(container_id)
        return entries.encode(found) if found else None

    # --- events -----------------------------------------------------------------------------------

    def apply(self, event: Event, now: float, origin: Origin = "live") -> Iterable[Change]:
        """One event of the stream."""
        kind = event.type
        if kind == "container":
            found = self.entries.get(event.actor.ID)
            if found is None:
                return self._hear(event, now, origin)
            found.heard += 1
            action = event.action
            if action.startswith("health_status"):
                return event_handlers.health(self, found, event, now, origin)
            handler = event_handlers.HANDLERS.get(action)
            return handler(self, found, event, now, origin) if handler else ()
        if kind == "network":
            return event_handlers.network(self, event, now)
        if kind == "volume" and event.action in ("create", "destroy"):
            self.stale_volumes = True
        return ()

    def _hear(self, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        """Of a container that is not known: it may end before it can be looked at, so what happens
        to it is kept."""
        container_id = event.actor.ID
        attributes = event.actor.Attributes
        if (
            event.action in _NAMING
            and event.name
            and not self.owned.hides_event(container_id, attributes)
        ):
            self._named(container_id, event.name.removeprefix("/"))
        if (buried := self._buried.get(container_id)) is not None:
            return event_handlers.of_one_gone(self, buried, event, now, origin)
        if event.action == "destroy":
            return self._gone_unseen(container_id, now, origin)
        if not event.action.startswith("exec_") and event.time_ns > self.known_until_ns:
            if len(self.unknown) < HEARD_OF or container_id in self.unknown:
                self.unknown.setdefault(container_id, deque(maxlen=HEARD_OF_EACH)).append(
                    (event_handlers.bounded(event), origin)
                )
            self.wanted.add(container_id)
        return []

    # --- inspect answers --------------------------------------------------------------------------

    def observe(
        self,
        seen: Container,
        now: float,
        origin: Origin = "live",
        blind: bool = False,
        asked: int | None = None,
    ) -> list[Change]:
        """An inspect answer. `blind`: events since the last look may have been lost; `asked`: what
        `heard` was when it was asked for, None if nothing can have been heard since."""
        found = self.entries.get(seen.id)
        if found is None and asked is not None and asked >= 0:
            return []  # it was known as it was asked for, and was removed before the answer came
        if found is None:
            return self._discover(self.owned.judged(seen), now, origin, blind, asked)
        if found.outdated(seen) and found.distrusted < TRUSTED_AFTER:
            found.distrusted += 1
            self.wanted.add(seen.id)
            return []
        if found.outdated(seen):
            found.began_another(ContainerRun())  # such as an engine whose clock was set back
        found.distrusted = 0
        signalled, seen = seen.signalled, plain(seen)
        before = found.container
        # whose its labels are never changes once it was known
        if seen.image_unknown and not before.image_unknown:
            seen = replace(
                seen, labels=before.labels, image_labels=before.image_labels,
                image_unknown=before.image_unknown, left_out=before.left_out,
                too_much=before.too_much,
            )  # fmt: skip
        if asked is not None and found.older_health(seen, asked):
            seen = replace(seen, health=before.health)
            self.wanted.add(seen.id)
        changes = runs.observed(self, found, seen, now, origin, blind)
        runs.recorded(self, found, seen, signalled)
        health_before = found.container.health
        self.put(found, seen)
        changes += runs.look_ends(self, found, seen, now, blind)
        if blind:
            found.ahead = ()
        if seen.state == "running" and seen.health != health_before and seen.health:
            if not blind and seen.health != "starting":
                found.inspect_was_ahead(seen.health, now)
            changes += change_factory.of_health(found, now, origin)
        return changes + self._look_around(found, before, now, origin)

    def _look_around(
        self, found: ContainerRecord, before: Container, now: float, origin: Origin
    ) -> list[Change]:
        changes = conditions.networks(self, found, before, now, origin)
        conditions.stuck_state(self, found, now)
        conditions.await_verdict(self, found, now)
        lingering.note(self, found, now)
        changes += conditions.orphaned(self, found, now, origin)
        return changes

    def _discover(
        self, seen: Container, now: float, origin: Origin, blind: bool, asked: int | None
    ) -> list[Change]:
        heard = self.unknown.pop(seen.id, None)
        if self.owned.hides(seen):
            return []  # dockmend's own: what it does there is nobody's trouble
        if heard is not None:
            # The answer may be older than some of these events.
            return self._relive(seen, heard, now) + self.observe(seen, now, origin, asked=asked)
        if blind and self._is_no_history(seen):
            return self._relive(seen, (), now) + self.observe(seen, now, origin, blind=True)
        signalled, seen = seen.signalled, plain(seen)
        found = ContainerRecord(
            StoredRecord(container=seen, run=ContainerRun(started_at=seen.started_at))
        )
        if not seen.running and seen.started_at:  # history: it ended before dockmend knew it
            found.kept.run.died_at, found.kept.run.told = seen.finished_at or now, HISTORY
        runs.recorded(self, found, seen, signalled)
        found.late_until = now + EVENTS_WITHIN if origin != "started" else 0.0
        self._add(found)
        self.on_container(None, seen)
        changes: list[Change] = []
        if origin != "started" and seen.health in ("healthy", "unhealthy"):
            found.inspect_was_ahead(seen.health, now)
        if seen.running and origin != "started":
            changes.append(change_factory.of_container(found, "container.started", now, origin))
        if seen.health == "unhealthy" and seen.state == "running":
            changes += change_factory.of_health(found, now, origin)
        changes += self._look_around(found, seen, now, origin)
        for dependent in list(self.owned_by.naming(seen.id)):
            changes += conditions.orphaned(self, self.entries[dependent], now, origin)
        return changes

    def _is_no_history(self, seen: Container) -> bool:
        """Whether one of which nothing was heard began after all that dockmend knew of this engine
        at its own start, and ended by nobody's will. Else it is left: since when it is as it is, or
        by whose will, nobody can tell."""
        nobody = seen.signalled is False and not seen.error and not seen.running
        return nobody and 0 < self.known_until_ns < seen.started_at * 1e9

    def _relive(
        self, seen: Container, heard: Iterable[tuple[Event, Origin]], now: float
    ) -> list[Change]:
        """A new container as it was made, and then all that was heard of it, in order."""
        made = replace(
            plain(seen), state="created", health="", exit_code=None, started_at=0.0, finished_at=0.0
        )
        found = ContainerRecord(StoredRecord(container=made, run=ContainerRun()))
        self._add(found)
        self.on_container(None, made)
        changes: list[Change] = []
        for event, came in heard:
            changes += self.apply(event, now, came)
        return changes

    def gone(self, container_id: str, now: float, origin: Origin = "live") -> list[Change]:
        """Inspect answered 404."""
        self.wanted.discard(container_id)
        found = self.entries.get(container_id)
        if found is None and container_id in self.unknown:  # what else was said of it is on its way
            self.later(
                now + EVENTS_WITHIN, lambda when: self._gone_unseen(container_id, when, origin)
            )
        return self.remove(found, now, now, origin) if found is not None else []

    def _gone_unseen(self, container_id: str, now: float, origin: Origin) -> list[Change]:
        """It is gone before inspect could tell of it: what it was and how it ended, events tell as
        far as they can."""
        self.wanted.discard(container_id)
        heard = self.unknown.pop(container_id, None)
        if heard is None or container_id in self.entries:
            return []
        if self.owned.hides_event(container_id, heard[0][0].actor.Attributes):
            return []
        if all(event.action != "die" for event, _ in heard):
            return []
        changes = self._relive(
            self.owned.judged(event_handlers.made([event for event, _ in heard])), heard, now
        )
        return changes + self.remove(self.entries[container_id], now, now, origin)

    def remove(self, found: ContainerRecord, at: float, now: float, origin: Origin) -> list[Change]:
        container = found.container
        del self.entries[container.id]
        self.index.drop(container.id)
        self._buried[container.id] = found
        self._asked.pop(container.id, None)
        if len(self._buried) > BURIED:
            del self._buried[next(iter(self._buried))]
        self.changed.add(container.id)
        self.wanted.discard(container.id)
        self.owned_by.drop(container)
        self._owner_changed(container)
        changes = runs.removed(self, found, at, now, origin)
        changes += self.orphan_dependents(container, at, origin, "it was removed")
        return changes

    # --- lists, the engine's absence --------------------------------------------------------------

    def relist(
        self,
        containers: Iterable[Container],
        networks: Iterable[Network],
        volumes: Iterable[Volume],
        now: float,
        origin: Origin = "relisted",
        blind: bool = False,
        asked: Mapping[str, int] | None = None,
    ) -> list[Change]:
        """A list of everything. `blind`: events since the last one may have been lost.

        `asked`, by id: see `observe`. A container that is not in it was not known when the list was
        begun. None: nothing can have been heard since then.
        """
        changes = self.observe_networks(networks, now, origin)
        changes += self.observe_volumes(volumes, now, origin)
        self.listed = False  # owners may come after their dependents: look at those at the end
        seen = set()
        for container in containers:
            seen.add(container.id)
            if container.id in self._buried:
                self.wanted.add(container.id)  # it was gone after it was listed, most likely
                continue
            try:
                begun = asked.get(container.id, UNKNOWN) if asked is not None else None
                changes += self.observe(container, now, origin, blind, begun)
            except Exception as error:  # noqa: BLE001 - whatever it is, it keeps nobody from the others
                changes += self.on_fault(container.id, error)
        # What is not listed is gone, or was made while the list was: a look tells.
        self.wanted.update(
            container_id for container_id in self.entries if container_id not in seen
        )
        self.listed = True
        self.engine_kept_containers = False
        for found in self.entries.values():
            changes += conditions.orphaned(self, found, now, origin)
        return changes

    def observe_networks(
        self, networks: Iterable[Network], now: float, origin: Origin = "live"
    ) -> list[Change]:
        before, self.networks = self.networks, {each.id: each for each in networks}
        # the first of a name
        self.network_ids = {each.name: each.id for each in reversed(self.networks.values())}
        for gone in self.defined.observed(self.networks):
            self.later(now + conditions.SUCCESSOR_WAIT, self.defined.missing(gone, now, origin))
        changes: list[Change] = []
        if any(network_id not in before for network_id in self.networks):
            for found in list(self.entries.values()):
                if not found.container.running:
                    changes += conditions.networks(self, found, found.container, now, origin)
        return changes

    def observe_volumes(
        self, volumes: Iterable[Volume], now: float, origin: Origin = "live"
    ) -> list[Change]:
        before, self.volumes = self.volumes, {each.name: each for each in volumes}
        for name, volume in before.items():
            if name not in self.volumes and not volume.anonymous and self.listed:
                self.later(
                    now + conditions.SUCCESSOR_WAIT,
                    conditions.missing_volume(self, volume, now, origin),
                )
        return []

    def engine_lost(self, now: float) -> list[Change]:
        """The stream ended. Ends that were not looked at stay unsettled until it is known what
        became of the engine."""
        return [conditions.of_engine("engine.lost", now)]

    def engine_renewed(self, lost_at: float, came_up_at: float, kept_containers: bool) -> None:
        """Another start of the engine answers: to be said before what it replays and lists.

        What it stopped while it went down, and its successor before its first answer, was nobody's
        will. `lost_at`: when it was last heard of; `came_up_at`: by its own clock;
        `kept_containers`: it stopped none (live-restore).
        """
        self.engine_kept_containers = kept_containers
        if kept_containers:
            return
        self.engine_away = began, _ = lost_at - GOING_DOWN, came_up_at
        for found in self.entries.values():
            ends = [end for end in found.ends if not end.looked and end.at >= began]
            for end in ends:
                end.run.by, end.due = "engine", came_up_at + runs.LEFT_DOWN_WAIT
                runs.await_cause(self, found, end)
            for run in [end.run for end in ends] + (
                [] if found.kept.run.over else [found.kept.run]
            ):
                run.stopped, run.kills = (
                    False,
                    [(at, number) for at, number in run.kills if at < began],
                )

    def engine_was_away_at(self, at: float) -> bool:
        return self.engine_away[0] <= at <= self.engine_away[1]

    def engine_back(self, now: float) -> list[Change]:
        return [conditions.of_engine("engine.back", now)]

    def restart_took(self, container_id: str, seconds: float) -> None:
        """dockmend's own restart was answered, so many seconds (at least) after its call had
        left."""
        found = self.entries.get(container_id)
        if found is not None:
            runs.called(self, found, seconds)

    def clock_set(self, by: float) -> None:
        """The wall clock was set by that many seconds: what is due, is due after as long as
        before."""
        self.put_off(by)
        self._asked = {container_id: at + by for container_id, at in self._asked.items()}
        for found in self.entries.values():
            found.clock_set(by)
            if found.kept.mended or found.kept.standing:
                self.changed.add(found.container.id)

    # --- entries ----------------------------------------------------------------------------------

    def _add(self, found: ContainerRecord) -> None:
        container = found.container
        self._buried.pop(container.id, None)
        self.index.drop(container.id)
        self.entries[container.id] = found
        self.index.file(found)
        self._identify(container)
        if (inherited := self._inherits.pop(container.id, None)) is not None:
            found.inherit(inherited)
        if self._coming:
            found.echo = self._coming.pop(container.id, None)
        self.changed.add(container.id)
        self.redefined.add(container.id)
        self.owned_by.add(container)
        self._owner_changed(container)

    def _owner_changed(self, container: Container) -> None:
        """Another container may be meant by what definitions name: who is cut off may hang on it
        now, and is looked at for that."""
        for dependent in self.owned_by.changed(container):
            found = self.entries.get(dependent)
            if found is not None and "orphaned" in found.kept.standing:
                self.wanted.add(dependent)

    def put(self, found: ContainerRecord, container: Container) -> None:
        before = found.kept.container
        if container.name != before.name:
            container = self.owned.judged(container)
        elif container.name_is_own != before.name_is_own:  # what proved it may be gone already
            container = replace(container, name_is_own=before.name_is_own)
        if container == before:
            return
        found.kept.container = container
        if self.entries.get(container.id) is not found:
            return  # it is gone
        # no engine changes them, but what answers may not be Docker's
        if _modes(container) != _modes(before):
            self.owned_by.drop(before)
            self.owned_by.add(container)
        if container.name is not before.name or container.labels is not before.labels:
            self.index.file(found)
            self._identify(container)
            self._owner_changed(before)
            self._owner_changed(container)
        elif container.made_as != before.made_as:
            self.identities.seen(container)
        elif (
            container.running is not before.running
            and len(self.index.of_target(target_of(container))) > 1
        ):
            self.owned_by.changed(container)
        self.changed.add(container.id)
        self.on_container(before, container)

    def succeeded(self, old: str, new: str) -> None:
        """`new` took the place of `old`: what is known of that one is its own now. Bears
        repetition."""
        self.identities.succeeded(old, new)
        self.trial_over(new)
        if (row := self.owned.aside(old)) is not None:  # its renaming may not have been heard
            self.identities.set_aside(old, row.name)
        before = self.entries.get(old) or self.leaving.pop(old, None) or self._buried.get(old)
        if before is None:
            return
        self.changed.add(old)
        heir = self.entries.get(new)
        if heir is None:
            self._inherits[new] = before.kept
            if len(self._inherits) > BURIED:
                del self._inherits[next(iter(self._inherits))]
        else:
            heir.inherit(before.kept)
            self.changed.add(new)

    def _named(self, container_id: str, name: str) -> None:
        plain_name = self.owned.plain_name(name, container_id)
        self.identities.named(container_id, plain_name)
        if plain_name != name:
            self.identities.set_aside(container_id, name)

    def _identify(self, container: Container) -> None:
        """What it is called now is remembered, beyond its end."""
        self.identities.seen(container)
        if container.plain_name != container.name:
            self.identities.set_aside(container.id, container.name)
        if self.identities.full():
            entries = (*self.entries.values(), *self.leaving.values(), *self._buried.values())
            self.identities.forget(
                self.entries.keys(), {name for each in entries for name in _named(each.container)}
            )

    def orphan_dependents(
        self, owner: Container, at: float, origin: Origin, why: str
    ) -> Iterable[Change]:
        for dependent in list(self.owned_by.naming(owner.id)):
            found = self.entries.get(dependent)
            if found is None or found.container.joined != owner.id:
                continue
            if found.container.state == "running" and found.joined_at <= at:
                note = f"the network of {owner.name} is not its own any more: {why}"
                yield from conditions.orphan(self, found, at, origin, note)


def _modes(container: Container) -> tuple[str, str, str]:
    return container.network_mode, container.pid_mode, container.ipc_mode


def _named(container: Container) -> Iterable[str]:
    """The containers that its definition names."""
    for mode in _modes(container):
        if mode.startswith("container:"):
            yield mode.removeprefix("container:")
    for source in container.volumes_from:
        yield source.partition(":")[0]


def plain(seen: Container) -> Container:
    """Without what belongs to its run: lists tell it also of what runs, looks do not."""
    return replace(seen, signalled=None) if seen.signalled is not None else seen
