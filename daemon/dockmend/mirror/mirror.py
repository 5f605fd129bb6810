"""The mirror itself: entries by container id, networks, volumes, and what is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from dockmend.mirror import entry as entries
from dockmend.mirror import looks, troubles
from dockmend.mirror.echo import GRACE, Echo
from dockmend.mirror.ends import STOP_WAIT, End, Run, cause_of, forged, signal_number
from dockmend.mirror.entry import Entry, Kept
from dockmend.model import Change, Container, Endpoint, Event, Network, Origin, Volume, target_of

UnknownCause = Literal["restart policy", "act", "leave"]

SUCCESSOR_WAIT = 10.0
"""Seconds after a removal within which something of the same name takes its place (`compose up`, a network made anew)."""
LEFT_DOWN_WAIT = 2.0
"""Seconds after the engine is back in which it may still start what it means to start."""
LOOP_COUNT, LOOP_WITHIN = 5, 600.0
"""`restart_loop`: that many restarts by the engine's own policy within that many seconds."""
STUCK_AFTER = 60.0
"""Seconds after a KILL, or in the states removing and dead, after which a container is stuck."""


class Mirror:
    """Feed it with `apply`, `observe`, `gone`, `relist`, `tick`; each returns the changes that follow.

    `wanted` holds ids of containers to inspect (the answer goes to `observe`, a 404 to `gone`), `stale_networks` and
    `stale_volumes` say that those lists are to be read again. `on_container(before, after)` is called for every change
    of a container's record. Times are wall seconds; `now` is passed in.
    """

    def __init__(
        self,
        unknown_cause: UnknownCause = "restart policy",
        on_container: Callable[[Container | None, Container | None], None] = lambda before, after: None,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.networks: dict[str, Network] = {}
        self.volumes: dict[str, Volume] = {}
        self.wanted: set[str] = set()
        self.stale_networks = False
        self.stale_volumes = False
        self.changed: set[str] = set()  # ids whose last known state is to be journalled
        self.unknown_cause = unknown_cause
        self.on_container = on_container
        self.listed = False
        self.engine_events_before = 0.0  # ends before this were an engine's that was going down or coming up
        self._dependents: dict[str, set[str]] = {}
        self._due: list[tuple[float, int, Callable[[float], Iterable[Change]]]] = []
        self._sequence = 0
        self._handlers: dict[str, Callable[[Entry, Event, float, Origin], Iterable[Change]]] = {
            "start": self._start, "die": self._die, "kill": self._kill, "stop": self._stop, "restart": self._restart,
            "oom": self._oom, "pause": self._paused, "unpause": self._paused, "rename": self._rename,
            "destroy": self._destroy, "update": self._look_again,
        }  # fmt: skip

    # --- what others may look at -------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container | None:
        found = self.entries.get(container_id)
        return found.container if found else None

    def container_named(self, name: str) -> Container | None:
        return next((each.container for each in self.entries.values() if each.container.name == name), None)

    def of_target(self, target: str) -> Container | None:
        """The container that is this target now; a running one where several bear the name."""
        found = [each.container for each in self.entries.values() if target_of(each.container) == target]
        return next((each for each in found if each.running), found[0] if found else None)

    def containers(self) -> Iterator[Container]:
        return (each.container for each in self.entries.values())

    def network_named(self, name: str) -> Network | None:
        return next((each for each in self.networks.values() if each.name == name), None)

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        found = self.entries.get(container_id)
        return found.kept.good if found else {}

    def left_network(self, container_id: str, network: str) -> bool:
        """True where a person took a container out of a network: it is not in it, and is not meant to be."""
        found = self.entries.get(container_id)
        return found is not None and network not in found.kept.good and network not in found.container.networks

    def standing(self) -> list[Change]:
        """Troubles that stand at present, to be offered again (at a start, after a reload, now and then)."""
        return [
            replace(change, subject=each.container, target=target_of(each.container))
            for each in self.entries.values()
            for change in each.kept.standing.values()
        ]

    def stands(self, container_id: str, trouble: str) -> bool:
        """Whether a trouble still stands, as far as the mirror has learnt."""
        found = self.entries.get(container_id)
        if found is None:
            return False
        if found.end is not None and trouble.endswith("/end"):
            return True
        return any(change.trouble == trouble for change in found.kept.standing.values())

    def standing_of(self, container_id: str, kinds: Iterable[str]) -> list[Change]:
        """What stands of a container, of kinds such as health, end, orphaned, stuck, network/NAME."""
        found = self.entries.get(container_id)
        return [found.kept.standing[kind] for kind in kinds if kind in found.kept.standing] if found else []

    def stopped(self, container_id: str) -> bool:
        """Whether somebody stopped a container that does not run."""
        found = self.entries.get(container_id)
        if found is None or not found.kept.run.over or found.kept.run.by:
            return False
        return cause_of(found.kept.run, found.container, blind=True) == "stopped"

    def settled(self, container_id: str) -> bool:
        """False while the cause of an end is not settled."""
        found = self.entries.get(container_id)
        return found is None or found.end is None

    # --- what is persisted -------------------------------------------------------------------------------------

    def restore(self, container_id: str, data: bytes) -> bool:
        """Takes up last known state from the journal; False where the bytes are of no use."""
        try:
            restored = entries.decode(data)
        except msgspec.MsgspecError:
            return False
        restored.ran_before_loss = restored.container.running
        self._add(restored)
        return True

    def known(self, container_id: str) -> bytes | None:
        found = self.entries.get(container_id)
        return entries.encode(found) if found else None

    # --- events ------------------------------------------------------------------------------------------------

    def apply(self, event: Event, now: float, origin: Origin = "live") -> Iterable[Change]:
        """One event of the stream."""
        kind = event.type
        if kind == "container":
            found = self.entries.get(event.actor.ID)
            action = event.action
            if found is None:
                if action not in ("destroy", "die", "exec_die"):
                    self.wanted.add(event.actor.ID)
                return ()
            if action.startswith("health_status"):
                return self._health(found, action[15:], event.time_ns / 1e9, origin)
            handler = self._handlers.get(action)
            return handler(found, event, now, origin) if handler else ()
        if kind == "network":
            return self._network_event(event, now)
        if kind == "volume" and event.action in ("create", "destroy"):
            self.stale_volumes = True
        return ()

    def _health(self, found: Entry, health: str, at: float, origin: Origin) -> Iterable[Change]:
        container = found.container
        if health == container.health or health not in ("healthy", "unhealthy", "starting"):
            return ()
        self._put(found, replace(container, health=health))
        return self._health_changes(found, at, origin)

    def _health_changes(self, found: Entry, at: float, origin: Origin) -> Iterable[Change]:
        health = found.container.health
        if health == "unhealthy":
            found.kept.unhealthy += 1
            change = troubles.of_container(
                found, "container.unhealthy", at, origin,
                what=f"unhealthy/{found.kept.unhealthy}", note="its health check failed",
            )  # fmt: skip
            found.kept.standing["health"] = change
            return (change,)
        found.kept.standing.pop("health", None)
        if health == "healthy":
            return (troubles.of_container(found, "container.healthy", at, origin, what=f"healthy/{found.kept.unhealthy}"),)
        return ()

    def _start(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        at = event.time_ns / 1e9
        self.wanted.add(found.container.id)
        run = found.kept.run
        if not run.over and (run.started_at == 0.0 or at >= run.started_at) and not run.announced and run is not found.previous:
            run.announced = True  # an inspect that was ahead of the stream told of it
            return ()
        return self._begin(found, at, now, origin, announced=True)

    def _begin(self, found: Entry, at: float, now: float, origin: Origin, announced: bool, started_at: float = 0.0) -> list[Change]:
        """A new run. Its start was announced by an event, or is inferred from inspect."""
        changes: list[Change] = []
        echoed = self._echoed(found, "start", now)
        found.previous = found.kept.run
        found.kept.run = Run(started_at=started_at, announced=announced)
        found.kept.unhealthy = 0
        for what in ("health", "end", "stuck", "orphaned"):
            found.kept.standing.pop(what, None)
        found.stuck_at = None
        self._put(found, replace(
            found.container, state="running", exit_code=None, health="starting" if found.container.check else "",
            started_at=started_at or at,
        ))  # fmt: skip
        if found.end is not None and found.end.held:
            changes += self._settle(found, found.end, recovered=True)
        if not echoed:
            changes.append(troubles.of_container(found, "container.started", at, origin))
        changes += self._orphan_dependents(found.container, at, origin, "it was started again")
        return changes

    def _die(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        at = event.time_ns / 1e9
        container = found.container
        self.wanted.add(container.id)
        run = found.run_at(at)
        code = event.actor.Attributes.get("exitCode", "")
        if run.code is None and code.isdecimal() and not forged(container, "exitCode"):
            run.code = int(code)
        if run.over:
            return ()
        return self._over(found, run, at, now, origin, blind=False)

    def _over(self, found: Entry, run: Run, at: float, now: float, origin: Origin, blind: bool) -> list[Change]:
        """A run is over; its cause is settled a little later, when a `stop` has had its time and inspect was asked."""
        run.died_at = at
        if at <= self.engine_events_before:
            run.by = "engine"
        if self._echoed(found, "die", now):
            run.by = "dockmend"
        if run is found.kept.run:
            self._put(found, replace(found.container, state="exited", exit_code=run.code, health=""))
            found.kept.standing.pop("health", None)
        found.end = End(run=run, at=at, due=now + STOP_WAIT, origin=origin, blind=blind)
        self._later(found.end.due, lambda when: self._settle_due(found, when))
        return list(self._orphan_dependents(found.container, at, origin, "it ended"))

    def _kill(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        at = event.time_ns / 1e9
        number = 0 if forged(found.container, "signal") else signal_number(event.actor.Attributes.get("signal", ""))
        self._echoed(found, "kill", now)
        if at > self.engine_events_before:
            run = found.run_at(at)
            run.kills = [*run.kills[-9:], (at, number)]
            self.changed.add(found.container.id)
        if number == 9 and found.stuck_at is None:
            found.stuck_at = now + STUCK_AFTER
            self._later(found.stuck_at, lambda when: self._stuck(found, when, "it was killed and does not end"))
        return ()

    def _stop(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        at = event.time_ns / 1e9
        self._echoed(found, "stop", now)
        if at > self.engine_events_before:
            found.run_at(at).stopped = True
            self.changed.add(found.container.id)
        if found.end is not None and found.end.held:  # stopped while the engine waited to restart it
            found.end.held = False
            return self._settle(found, found.end)
        self.wanted.add(found.container.id)
        return ()

    def _restart(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        self._echoed(found, "restart", now)
        if found.previous is not None:  # it comes after the start, and tells why the run before ended
            found.previous.stopped = True
        return ()

    def _oom(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        found.run_at(event.time_ns / 1e9).oom = True
        return ()

    def _paused(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        self._echoed(found, event.action, now)
        if found.container.running:
            self._put(found, replace(found.container, state="paused" if event.action == "pause" else "running"))
        return ()

    def _rename(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        if event.name:
            self._put(found, replace(found.container, name=event.name.removeprefix("/")))
        return ()

    def _look_again(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        self.wanted.add(found.container.id)
        return ()

    def _destroy(self, found: Entry, event: Event, now: float, origin: Origin) -> Iterable[Change]:
        return self._remove(found, event.time_ns / 1e9, now, origin)

    def _network_event(self, event: Event, now: float) -> Iterable[Change]:
        if event.action in ("connect", "disconnect"):
            container = event.actor.Attributes.get("container", "")
            if container in self.entries:
                self._echoed(self.entries[container], event.action, now)
                self.wanted.add(container)
        elif event.action in ("create", "destroy", "remove", "prune"):
            self.stale_networks = True
        return ()

    # --- inspect answers ---------------------------------------------------------------------------------------

    def observe(self, seen: Container, now: float, origin: Origin = "live", blind: bool = False) -> list[Change]:
        """An inspect answer. `blind`: events since the last look may have been lost."""
        found = self.entries.get(seen.id)
        if found is None:
            return self._discover(seen, now, origin)
        changes: list[Change] = []
        run = found.kept.run
        before = found.container
        if seen.started_at > run.started_at > 0.0:
            changes += self._missed_runs(found, seen, now, origin, blind)
            run = found.kept.run
        elif run.started_at == 0.0 and not run.over:
            run.started_at = seen.started_at
        if seen.state in ("exited", "dead") and not run.over and seen.started_at == run.started_at and run.started_at:
            changes += self._over(found, run, seen.finished_at or now, now, origin, blind)
        if run.over and seen.started_at == run.started_at and not seen.running:
            run.code = seen.exit_code
        health_before = found.container.health
        self._put(found, seen)
        if found.end is not None:
            found.end.looked = True
            found.end.held = seen.state == "restarting"
            if found.end.due <= now and not found.end.held:
                changes += self._settle(found, found.end)
        if seen.state == "running" and seen.health != health_before and seen.health:
            changes += self._health_changes(found, now, origin)
        changes += looks.networks(self, found, before, now, origin)
        self._watch_stuck(found, now)
        changes += looks.orphaned(self, found, now, origin)
        return changes

    def _discover(self, seen: Container, now: float, origin: Origin) -> list[Change]:
        found = Entry(Kept(container=seen, run=Run(started_at=seen.started_at, announced=origin != "live")))
        if not seen.running and seen.started_at:
            found.kept.run.died_at = seen.finished_at or now  # history: it ended before dockmend knew it
        self._add(found)
        self.on_container(None, seen)
        changes: list[Change] = []
        if seen.running and origin != "started":
            found.kept.run.announced = True
            changes.append(troubles.of_container(found, "container.started", now, origin))
        if seen.health == "unhealthy" and seen.state == "running":
            changes += self._health_changes(found, now, origin)
        changes += looks.networks(self, found, seen, now, origin)
        self._watch_stuck(found, now)
        changes += looks.orphaned(self, found, now, origin)
        return changes

    def _missed_runs(self, found: Entry, seen: Container, now: float, origin: Origin, blind: bool) -> list[Change]:
        """Inspect tells of a later start than the stream: the run in hand ended, and another began."""
        changes: list[Change] = []
        run = found.kept.run
        if not run.over:
            # The events are lost, or still on their way: then they find their run by its time.
            changes += self._over(found, run, max(run.started_at, min(now, seen.started_at)), now, origin, blind)
        return changes + self._begin(
            found, seen.started_at, now, origin, announced=origin != "live", started_at=seen.started_at
        )

    def gone(self, container_id: str, now: float, origin: Origin = "live") -> list[Change]:
        """Inspect answered 404."""
        found = self.entries.get(container_id)
        return list(self._remove(found, now, now, origin)) if found else []

    def _remove(self, found: Entry, at: float, now: float, origin: Origin) -> list[Change]:
        container = found.container
        del self.entries[container.id]
        self.changed.add(container.id)
        self.wanted.discard(container.id)
        if joined := container.joined:
            self._dependents.get(joined, set()).discard(container.id)
        changes: list[Change] = []
        if found.end is None and not found.kept.run.over and found.kept.run.started_at:
            changes += self._over(found, found.kept.run, at, now, origin, blind=True)
        _nothing_to_look_at(found)
        self.on_container(container, None)
        if not container.auto_remove and found.kept.run.by != "dockmend":
            self._later(now + SUCCESSOR_WAIT, lambda when: self._missing(found, at, origin))
        changes += self._orphan_dependents(container, at, origin, "it was removed")
        return changes

    # --- lists, the engine's absence ---------------------------------------------------------------------------

    def relist(
        self,
        containers: Iterable[Container],
        networks: Iterable[Network],
        volumes: Iterable[Volume],
        now: float,
        origin: Origin = "relisted",
        blind: bool = False,
    ) -> list[Change]:
        """A list of everything. Containers that events touched since it began are put into `wanted` by the caller."""
        changes = self.observe_networks(networks, now, origin)
        changes += self.observe_volumes(volumes, now, origin)
        self.listed = False  # owners may come after their dependents: look at those at the end
        seen = set()
        for container in containers:
            seen.add(container.id)
            changes += self.observe(container, now, origin, blind)
        for container_id in [each for each in self.entries if each not in seen]:
            if container_id not in self.wanted:
                changes += self.gone(container_id, now, origin)
        self.listed = True
        for found in self.entries.values():
            changes += looks.orphaned(self, found, now, origin)
        return changes

    def observe_networks(self, networks: Iterable[Network], now: float, origin: Origin = "live") -> list[Change]:
        self.stale_networks = False
        before, self.networks = self.networks, {each.id: each for each in networks}
        for network_id, network in before.items():
            if network_id not in self.networks and self.listed:
                self._later(now + SUCCESSOR_WAIT, looks.missing_network(self, network, now, origin))
        changes: list[Change] = []
        if any(network_id not in before for network_id in self.networks):
            for found in list(self.entries.values()):
                if not found.container.running:
                    changes += looks.networks(self, found, found.container, now, origin)
        return changes

    def observe_volumes(self, volumes: Iterable[Volume], now: float, origin: Origin = "live") -> list[Change]:
        self.stale_volumes = False
        before, self.volumes = self.volumes, {each.name: each for each in volumes}
        for name, volume in before.items():
            if name not in self.volumes and not volume.anonymous and self.listed:
                self._later(now + SUCCESSOR_WAIT, looks.missing_volume(self, volume, now, origin))
        return []

    def engine_lost(self, now: float) -> list[Change]:
        """The stream ended. What ends at the same time is the engine's doing, as far as anybody can tell."""
        for found in self.entries.values():
            end = found.end
            if end is not None and not end.looked and not found.kept.run.by:
                end.run.by, end.run.stopped, end.run.kills = "engine", False, []
                found.end = None
            if found.kept.run.by == "engine" or not found.kept.run.over:
                found.ran_before_loss = found.ran_before_loss or found.kept.run.started_at > 0.0
        return [looks.of_engine("engine.lost", now)]

    def engine_back(self, now: float, restarted: bool, announce: bool = True) -> list[Change]:
        """Everything was listed again. `restarted`: the engine itself began anew, so what it left down is its doing;
        `announce`: its loss was, so its return is told too."""
        for found in self.entries.values():
            if not found.ran_before_loss:
                continue
            found.ran_before_loss = False
            if restarted and not found.container.running and not found.kept.run.stopped:
                self.wanted.add(found.container.id)
                found.end = None
                self._later(now + LEFT_DOWN_WAIT, lambda when, found=found: self._left_down(found, when))  # type: ignore[misc]
        return [looks.of_engine("engine.back", now)] if announce else []

    def _left_down(self, found: Entry, now: float) -> list[Change]:
        run = found.kept.run
        if found.container.id not in self.entries or found.container.running or run.stopped:
            return []
        run.by = ""
        run.died_at = run.died_at or now
        run.code = found.container.exit_code
        end = End(run=run, at=now, due=now, origin="relisted", looked=True)
        change = troubles.of_end(found.container, end, "left_down", "exited", recovered=False)
        found.kept.standing["end"] = change
        self.changed.add(found.container.id)
        return [change]

    # --- dockmend's own doing ----------------------------------------------------------------------------------

    def expect(self, container_id: str, action: str) -> Echo | None:
        """Opens the echo of an action about to be taken; None where the container is not known."""
        found = self.entries.get(container_id)
        if found is None:
            return None
        found.echo = Echo(action)
        return found.echo

    def expected(self, container_id: str, now: float) -> None:
        """The outcome is known: what is still on its way may take `GRACE` seconds."""
        found = self.entries.get(container_id)
        if found is not None and found.echo is not None:
            found.echo.until = now + GRACE
            self.wanted.add(container_id)

    def look_again(self, container_id: str, at: float) -> None:
        """Has a container inspected at a later time (wall seconds)."""

        def look(now: float) -> list[Change]:
            if container_id in self.entries:
                self.wanted.add(container_id)
            return []

        self._later(at, look)

    def stopped_by_person(self, container_id: str) -> None:
        """dockmend carried out a person's stop that the engine had lost: the end is that person's."""
        found = self.entries.get(container_id)
        if found is not None:
            found.kept.run.stopped, found.kept.run.by = True, ""
            self.changed.add(container_id)

    def reconnected(self, container_id: str, network: str, now: float) -> None:
        """dockmend put a network back: a disconnect soon after is a person's will."""
        found = self.entries.get(container_id)
        if found is not None:
            found.kept.mended[network] = now
            self.changed.add(container_id)

    def _echoed(self, found: Entry, action: str, now: float) -> bool:
        echo = found.echo
        if echo is None:
            return False
        if not echo.covers(now):
            if echo.until is not None:
                found.echo = None
            if action == "stop":
                echo.stops += 1
            return False
        echo.note(action)
        return True

    # --- what is due -------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When `tick` has something to do: wall seconds."""
        return self._due[0][0] if self._due else None

    def tick(self, now: float) -> list[Change]:
        changes: list[Change] = []
        while self._due and self._due[0][0] <= now:
            changes += heapq.heappop(self._due)[2](now)
        return changes

    def _later(self, when: float, then: Callable[[float], Iterable[Change]]) -> None:
        self._sequence += 1
        heapq.heappush(self._due, (when, self._sequence, then))

    def _settle_due(self, found: Entry, now: float) -> list[Change]:
        end = found.end
        if end is None or end.due > now or end.held:
            return []
        # Not looked at yet: the engine does not answer. Either it will, and `observe` settles it, or it is going down.
        return self._settle(found, end) if end.looked else []

    def _settle(self, found: Entry, end: End, recovered: bool = False) -> list[Change]:
        found.end = None
        container, run = found.container, end.run
        self.changed.add(container.id)
        cause = cause_of(run, container, end.blind)
        if cause in ("dockmend", "engine"):
            return []
        over_again = recovered or run is not found.kept.run
        change = troubles.of_end(container, end, cause, self._unknown_as(container), over_again)
        if cause == "crashed" and over_again:
            return [change, *self._restarted_by_engine(found, end)]
        if not over_again and cause != "stopped":
            found.kept.standing["end"] = change
        return [change]

    def _unknown_as(self, container: Container) -> str:
        if self.unknown_cause == "act":
            return "crashed"
        if self.unknown_cause == "leave":
            return "unknown"
        return "stopped" if container.restart_policy in ("always", "unless-stopped") else "crashed"

    def _restarted_by_engine(self, found: Entry, end: End) -> list[Change]:
        kept = found.kept
        kept.restarts = [at for at in kept.restarts if end.at - at < LOOP_WITHIN] + [end.at]
        if len(kept.restarts) < LOOP_COUNT:
            kept.looping = False
            return []
        if kept.looping:
            return []
        kept.looping = True
        note = f"the engine restarted it {len(kept.restarts)} times within {LOOP_WITHIN / 60:.0f} minutes"
        return [troubles.of_container(found, "container.restart_loop", end.at, "live", note=note)]

    def _watch_stuck(self, found: Entry, now: float) -> None:
        state = found.container.state
        if state in ("removing", "dead") and found.stuck_at is None and "stuck" not in found.kept.standing:
            found.stuck_at = now + STUCK_AFTER
            self._later(found.stuck_at, lambda when: self._stuck(found, when, f"it is {state} and does not go away"))

    def _stuck(self, found: Entry, now: float, why: str) -> list[Change]:
        present = self.entries.get(found.container.id)
        if found.stuck_at is None or present is not found or found.kept.run.over and found.container.state == "exited":
            return []
        found.stuck_at = None
        change = troubles.of_container(found, "container.stuck", now, "timer", note=why)
        found.kept.standing["stuck"] = change
        return [change]

    def _missing(self, found: Entry, at: float, origin: Origin) -> list[Change]:
        target = target_of(found.container)
        if any(target_of(each.container) == target for each in self.entries.values()):
            return []
        return [troubles.of_container(found, "container.missing", at, origin, note="it was removed")]

    # --- entries -----------------------------------------------------------------------------------------------

    def _add(self, found: Entry) -> None:
        container = found.container
        self.entries[container.id] = found
        self.changed.add(container.id)
        if joined := container.joined:
            self._dependents.setdefault(joined, set()).add(container.id)

    def _put(self, found: Entry, container: Container) -> None:
        before = found.kept.container
        if container == before:
            return
        found.kept.container = container
        self.changed.add(container.id)
        self.on_container(before, container)

    def _orphan_dependents(self, owner: Container, at: float, origin: Origin, why: str) -> Iterable[Change]:
        for dependent in list(self._dependents.get(owner.id, ())):
            if found := self.entries.get(dependent):
                yield from looks.orphan(self, found, at, origin, f"the network of {owner.name} is not its own any more: {why}")


def _nothing_to_look_at(found: Entry) -> None:
    if found.end is not None:
        found.end.looked = True
