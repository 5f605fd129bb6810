"""What each event of a container means to the mirror. Events are hints: most of them also cause
an inspect.

Every handler can run twice for one event: a replay after a reconnection repeats events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dockmend.bounds import IMAGES, NOTED, divided, kept
from dockmend.mirror import change_factory, conditions, runs
from dockmend.mirror.exit_cause import HISTORY, ContainerRun, forged, signal_number
from dockmend.model import Change, Container, Event, Origin

if TYPE_CHECKING:
    from dockmend.mirror.container_record import ContainerRecord
    from dockmend.mirror.mirror import Mirror

Handler = Callable[["Mirror", "ContainerRecord", Event, float, Origin], Iterable[Change]]


def health(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    """`health_status: VALUE`; Podman leaves the value out, so that only a look tells."""
    at, said = event.time_ns / 1e9, event.action[15:]
    if not said:
        mirror.wanted.add(found.container.id)
        return ()
    kept = found.kept
    if (
        at <= kept.health_at
        or kept.run.over
        or at < kept.run.begun
        or said not in ("healthy", "unhealthy", "starting")
    ):
        return ()
    kept.health_at, found.health_heard = at, found.heard
    # what comes now is most likely known, and a look makes sure
    if found.ahead and now < found.ahead_until:
        found.ahead = found.ahead[1:] if said == found.ahead[0] else found.ahead
        mirror.wanted.add(kept.container.id)
        return ()
    if said == kept.container.health:
        return ()
    found.judged = said != "starting"
    mirror.put(found, replace(kept.container, health=said))
    return change_factory.of_health(found, at, origin)


def start(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    at = event.time_ns / 1e9
    run = found.run_at(at)
    if run is None and now >= found.late_until:
        return ()  # of a run before those that are known: a replay
    if run is not None and run.begun and not (run.over and at > run.died_at):
        if run.announced_at and (at <= run.announced_at or run is not found.kept.run):
            return ()
        if not run.announced_at:
            run.announced_at = at  # an inspect that was ahead of the stream told of it
            if run.told != HISTORY:
                return ()
            return (change_factory.of_container(found, "container.started", at, origin, run=run),)
    if run is not found.kept.run:  # a short run between two looks
        between = ContainerRun(announced_at=at)
        found.began_before(between)
        return (change_factory.of_container(found, "container.started", at, origin, run=between),)
    mirror.wanted.add(found.container.id)
    return runs.begin(mirror, found, now, origin, ContainerRun(announced_at=at))


def die(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    at, container = event.time_ns / 1e9, found.container
    run = found.run_at(at)
    if run is not None and run.told == HISTORY:  # a list was ahead of the stream: it had just ended
        run.told, run.died_at = "", 0.0
    if run is None or run.told:
        return ()
    mirror.wanted.add(container.id)
    code = event.actor.Attributes.get("exitCode", "")
    if (
        run.code is None
        and len(code) < 5
        and code.isdecimal()
        and not forged(container, "exitCode")
    ):
        run.code = int(code)
    if run.over:
        run.died_at = at
        runs.heard_of(mirror, found, run, now)
        return ()
    return runs.over(mirror, found, run, at, now, origin, blind=False)


def kill(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    at = event.time_ns / 1e9
    number = (
        0
        if forged(found.container, "signal")
        else signal_number(event.actor.Attributes.get("signal", ""))
    )
    mirror.echoed(found, "kill", now)
    run = found.run_at(at)
    # After a restart of dockmend the engine tells again what was kept already.
    if run is not None and not mirror.engine_was_away_at(at) and (at, number) not in run.kills:
        run.kills = [*run.kills[-9:], (at, number)]
        mirror.changed.add(found.container.id)
    if number == 9 and run is found.kept.run and not run.over:
        conditions.watch_stuck(mirror, found, now, "it was killed and does not end")
    return ()


def stop(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    at = event.time_ns / 1e9
    mirror.echoed(found, "stop", now)
    run = found.run_at(at)
    if run is None or mirror.engine_was_away_at(at):
        return ()
    before = found.previous
    if (
        run is found.kept.run
        and not run.over
        and not run.kills
        and before is not None
        and before.by == "dockmend"
    ):
        # of two stops at once the second may be told of after the next start: this one ended
        # nothing
        run = before
    if at not in run.stops:
        run.stops = [*run.stops[-3:], at]
    if run is before:
        runs.owe(mirror, found)
    if _is_of_own_call(found, run, now):
        run.by = "dockmend"
        return ()
    run.stopped = True
    if run is found.kept.run and run.over and found.echo is not None and not found.echo.ends_a_run:
        # stopped as the engine waited to restart it, and dockmend was about to start it
        run.forestalled = True
    mirror.changed.add(found.container.id)
    mirror.wanted.add(found.container.id)
    for end in found.ends:
        if end.run is run and end.held:  # stopped while the engine waited to restart it
            return runs.settle(mirror, found, end)
    return ()


def _is_of_own_call(found: ContainerRecord, run: ContainerRun, now: float) -> bool:
    """Whether a `stop` is that of dockmend's own call, which came as the engine waited to restart
    what had ended by itself: then nothing dies of it, and no signal is sent."""
    held = any(end.run is run and end.held for end in found.ends)
    asked = found.echo is not None and found.echo.covers(now) and found.echo.takes("die")
    return (
        held
        and asked
        and not run.stopped
        and not run.forestalled
        and len(run.stops) <= len(run.calls)
    )


def restart(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    """It comes after the start, and tells why the run before ended; the `stop` before it told the
    same."""
    mirror.echoed(found, "restart", now)
    at, before = event.time_ns / 1e9, found.previous
    if before is not None and at >= found.kept.run.begun:
        before.stopped = before.restarted = True
        if at not in before.restarts:
            before.restarts = [*before.restarts[-3:], at]
        if before.by == "dockmend":
            runs.owe(mirror, found)
    return ()


def oom(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    run = found.run_at(event.time_ns / 1e9)
    if run is not None:
        run.oom_at = event.time_ns / 1e9
        mirror.changed.add(found.container.id)
    return ()


def paused(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    mirror.echoed(found, event.action, now)
    mirror.wanted.add(found.container.id)
    if found.container.state in ("running", "paused"):
        mirror.put(
            found,
            replace(found.container, state="paused" if event.action == "pause" else "running"),
        )
    return ()


def rename(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    mirror.wanted.add(found.container.id)
    mirror.redefined.add(found.container.id)
    if event.name and not forged(found.container, "name"):
        mirror.put(found, replace(found.container, name=event.name.removeprefix("/")))
    return ()


def updated(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    mirror.redefined.add(found.container.id)
    mirror.wanted.add(found.container.id)
    return ()


def destroy(
    mirror: Mirror, found: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    return mirror.remove(found, event.time_ns / 1e9, now, origin)


def network(mirror: Mirror, event: Event, now: float) -> Iterable[Change]:
    """An event of a network: what it did to whom, a look at the container or the list tells."""
    if event.action in ("connect", "disconnect"):
        found = mirror.entries.get(event.actor.Attributes.get("container", ""))
        if found is not None:
            found.heard += 1
            mirror.echoed(found, event.action, now)
            mirror.wanted.add(found.container.id)
            mirror.redefined.add(found.container.id)
    elif event.action in ("create", "destroy", "remove", "prune"):
        mirror.stale_networks = True
    return ()


LONGEST_ATTRIBUTE = 1024
"""Characters that are kept of an attribute of the engine's own; names of containers are shorter."""
# which the engine adds last, so that no label overwrites them
_OF_EACH = frozenset({"image", "name"})
_ENGINES_OWN: Mapping[str, frozenset[str]] = MappingProxyType({
    "die": _OF_EACH | {"exitCode", "execDuration"}, "kill": _OF_EACH | {"signal"},
    "rename": _OF_EACH | {"oldName"}, "resize": _OF_EACH | {"height", "width"},
})  # fmt: skip
"""What the engine adds to an event beside the container's labels; of all other actions only
_OF_EACH."""


def bounded(event: Event) -> Event:
    """The event to be kept: it carries all labels of its container, however many those are."""
    attributes = event.actor.Attributes
    few = kept(attributes, IMAGES, NOTED, LONGEST_ATTRIBUTE)
    if not few.left_out:
        return event
    return replace(event, actor=replace(event.actor, Attributes=few.labels))


def made(heard: Sequence[Event]) -> Container:
    """A container that was gone before inspect could be asked, as far as its events tell of it.

    An exit code in the event of its creation is a label, so that the one in the event of its end is
    forged.
    """
    first = heard[0]
    of_both = {
        key: value
        for event in reversed(heard)
        for key, value in event.actor.Attributes.items()
        if key not in _ENGINES_OWN.get(event.action.partition(":")[0], _OF_EACH)
    }
    labels = divided(of_both, None)  # an event does not name its image's id
    return Container(
        id=first.actor.ID, name=first.name, image=first.actor.Attributes.get("image", ""),
        labels=labels.owner, image_labels=labels.image, left_out=labels.left_out,
        too_much=labels.too_much, image_unknown=bool(of_both), auto_remove=True,
    )  # fmt: skip


HANDLERS: Mapping[str, Handler] = MappingProxyType({
    "start": start, "die": die, "kill": kill, "stop": stop, "restart": restart, "oom": oom,
    "pause": paused, "unpause": paused, "rename": rename, "update": updated, "destroy": destroy,
})  # fmt: skip


def of_one_gone(
    mirror: Mirror, gone: ContainerRecord, event: Event, now: float, origin: Origin
) -> Iterable[Change]:
    """Inspect has already said that it is gone: what comes may still tell that it ended, and
    why."""
    if not gone.ends and now >= gone.late_until:
        return ()
    if event.action not in ("start", "die", "kill", "stop", "oom"):
        return ()
    changes = HANDLERS[event.action](mirror, gone, event, now, origin)
    for end in gone.ends:
        end.looked = True  # there is nothing to look at any more
    return changes
