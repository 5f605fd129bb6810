"""Conditions that an inspect shows beyond the state: lost networks, a namespace without its
owner, a stuck container.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dockmend.mirror import change_factory
from dockmend.mirror.dependency_graph import COMPOSE_DEPENDS
from dockmend.mirror.exit_cause import HISTORY, cause_of
from dockmend.model import (
    COMPOSE_PROJECT,
    Change,
    Container,
    Endpoint,
    Network,
    Origin,
    Volume,
    group_of,
    is_unknown,
    owner_in,
    target_of,
)

if TYPE_CHECKING:
    from dockmend.mirror.container_record import ContainerRecord
    from dockmend.mirror.mirror import Mirror

ON_PURPOSE_WITHIN = 600.0
"""A second disconnect within that many seconds of dockmend's reconnect is a person's will
(docs/actions.md, reconnect_network)."""

SUCCESSOR_WAIT = 10.0
"""Seconds after a removal within which something of the same name takes its place (`compose up`
does)."""
MADE_OF_ADDRESS = "02:42:"
"""How a MAC address begins that an engine made from the IPv4 address: that one can be the same over
two starts."""
STUCK_AFTER = 60.0
"""Seconds after a KILL, or in the states removing and dead, after which a container is stuck."""


def networks(
    mirror: Mirror, found: ContainerRecord, before: Container, now: float, origin: Origin
) -> list[Change]:
    """`network_lost` and `address_changed`, and the upkeep of the last known good set."""
    container, kept = found.container, found.kept
    if container.joined or container.network_mode in ("host", "none"):
        return []
    changes: list[Change] = []
    for name, endpoint in container.networks.items():
        if why := _stale(mirror, container, name, endpoint):
            if name not in kept.lost:
                changes.append(_lost(found, name, now, origin, why, "removed"))
            continue
        if name in kept.lost:
            del kept.lost[name]
            kept.standing.pop(f"network/{name}", None)
        old = kept.good.get(name)
        if old is not None and old.address and endpoint.address and old.address != endpoint.address:
            note = f"its address in {name} is {endpoint.address}, before {old.address}"
            changes.append(change_factory.of_container(
                found, "container.address_changed", now, origin,
                what=f"address/{name}/{endpoint.address}", note=note, network=name,
            ))  # fmt: skip
        # What dockmend makes is connected plainly to its main network, also if it is to be taken
        # out of it again.
        if (endpoint.address or not container.running or old is None) and not _is_being_made(
            container
        ):
            good = _with_what_is_known(
                endpoint, old, another_start=container.started_at > before.started_at
            )
            if good != old:
                kept.good[name] = good
                mirror.changed.add(container.id)
    missing = [
        each for each in kept.good if each not in container.networks and each not in kept.lost
    ]
    if found.echo is not None and found.echo.covers(now):
        for name in found.echo.leaves.intersection(missing):  # an answer of before brought it back
            forget_network(found, name)
            mirror.changed.add(container.id)
        if missing and found.echo.until is not None:
            # it may be more than an echo: no event will tell
            mirror.look_again(container.id, found.echo.until)
        return changes
    return changes + [_disconnected(mirror, found, name, now, origin) for name in missing]


def _is_being_made(container: Container) -> bool:
    """Whether dockmend itself has it in hand and has not started it: only then does it have another
    name yet."""
    return not container.started_at and container.name != container.plain_name


def _with_what_is_known(
    endpoint: Endpoint, old: Endpoint | None, *, another_start: bool
) -> Endpoint:
    """The addresses in use are kept over a stop, so that others at the next start are seen as
    others."""
    if old is None:
        return endpoint
    mac = _configured_mac(endpoint, old, another_start=another_start)
    if endpoint.address:
        return replace(endpoint, mac=mac)
    return replace(
        endpoint, address=old.address, address6=old.address6, mac_in_use=old.mac_in_use, mac=mac
    )


def _configured_mac(endpoint: Endpoint, old: Endpoint, *, another_start: bool) -> str | None:
    """Once configured, it stays so: the engine forgets it when the container leaves the network,
    and no connect can configure it again (nor another one). Where the engine tells nothing, one
    that stayed the same over two starts was configured: what the engine makes up at random is
    another at each start."""
    if endpoint.mac or old.mac:
        return endpoint.mac or old.mac
    if endpoint.mac is not None or old.mac is not None:
        return ""
    stayed = another_start and endpoint.mac_in_use == old.mac_in_use
    if stayed and endpoint.mac_in_use and not endpoint.mac_in_use.startswith(MADE_OF_ADDRESS):
        return endpoint.mac_in_use
    return None


def forget_network(found: ContainerRecord, name: str) -> None:
    """It is not meant to be in a network any more."""
    kept = found.kept
    for each in (kept.good, kept.lost, kept.mended):
        each.pop(name, None)
    kept.standing.pop(f"network/{name}", None)


def _stale(mirror: Mirror, container: Container, name: str, endpoint: Endpoint) -> str:
    """Why a container that does not run will not start in a network: it refers to one that is gone;
    "" where it will.

    Gone for certain is one whose name another bears, and one for want of which the last start
    failed: a network that was made after the last list is not. The engine's own is made anew at
    every start of the engine, and found by name.
    """
    gone = endpoint.network_id
    if name == "bridge" or container.running or not gone or gone in mirror.networks:
        return ""
    if mirror.network_named(name) is not None:
        return f"network {name} was removed and made again"
    return (
        f"network {name} was removed, and it cannot start without it"
        if gone in container.error
        else ""
    )


def _lost(
    found: ContainerRecord, name: str, now: float, origin: Origin, note: str, cause: str
) -> Change:
    kept = found.kept
    kept.lost[name] = now
    kept.losses += 1
    change = change_factory.of_container(
        found, "container.network_lost", now, origin,
        what=f"network/{name}/{kept.losses}", note=note, cause=cause, network=name,  # type: ignore[arg-type]
    )  # fmt: skip
    kept.standing[f"network/{name}"] = change
    return change


def _disconnected(
    mirror: Mirror, found: ContainerRecord, name: str, now: float, origin: Origin
) -> Change:
    kept = found.kept
    mirror.changed.add(found.container.id)
    if now - kept.mended.get(name, float("-inf")) <= ON_PURPOSE_WITHIN:
        kept.losses += 1
        del kept.good[name]
        kept.mended.pop(name, None)
        note = f"disconnected from {name} on purpose: again, soon after it was put back"
        return change_factory.of_container(
            found, "container.network_lost", now, origin, what=f"network/{name}/{kept.losses}",
            cause="disconnected", network=name, on_purpose=True, note=note,
        )  # fmt: skip
    if mirror.network_named(name) is None:
        return _lost(found, name, now, origin, f"network {name} was removed", "removed")
    return _lost(
        found, name, now, origin, f"it was disconnected from network {name}", "disconnected"
    )


def orphaned(
    mirror: Mirror, found: ContainerRecord, now: float, origin: Origin
) -> Iterable[Change]:
    """Its namespace's owner is gone, down, or began a later run than this container; or it could
    not join it."""
    container, owner_id = found.container, found.container.joined
    if owner_id is None or not mirror.listed:
        return
    owner = mirror.named_owner(container)
    if container.state == "exited" and join_failed(container):
        yield from orphan(
            mirror, found, now, origin, "it could not join its owner's network when it was started"
        )
    if container.state != "running":
        return
    if owner is None:
        if owner_id in mirror.unknown:
            return  # it is about to be looked at
        yield from orphan(
            mirror, found, now, origin, "the container whose network it joined is gone"
        )
    elif not owner.running or owner.started_at > found.joined_at:
        why = f"{owner.name}, whose network it joined, was stopped or restarted"
        yield from orphan(mirror, found, now, origin, why)


_JOIN_FAILED = re.compile(
    r"(?:joining network namespace of container: )?"
    r"(?:cannot join network\b[^:]*non running container|No such container): ",
    re.IGNORECASE,
)
"""How State.Error begins of a container whose last start failed for its owner's sake (moby's texts,
Engine 26 and 28). Further on may stand what an image names, in any wording."""


def join_failed(container: Container) -> bool:
    """Whether the last start of a container failed because the one whose network it shares did not
    run or was gone.

    Whoever stopped it before has since wanted it to run: the engine clears the error with the next
    start only.
    """
    return container.joined is not None and _JOIN_FAILED.match(container.error) is not None


def _told_owner(container: Container) -> str:
    """The target of an owner that was never seen: Compose notes whose network a service shares
    among its dependencies, and where there is only one, that is it. "" where nothing tells."""
    services = container.labels.get(COMPOSE_DEPENDS, "").split(",")
    project, service = container.labels.get(COMPOSE_PROJECT), services[0].partition(":")[0]
    return f"compose:{project}/{service}/1" if project and service and len(services) == 1 else ""


def orphan(
    mirror: Mirror, found: ContainerRecord, now: float, origin: Origin, why: str
) -> Iterable[Change]:
    """One trouble for as long as it stands in one group. It is another one if its owner was unknown
    and is known now, or if another container is meant by its owner's id: a person renamed the
    owner, or removed one whose name another one has taken."""
    kept, container = found.kept, found.container
    joined, owner = container.joined or "", mirror.owner_key(container)
    if is_unknown(owner) and (told := _told_owner(container)):
        mirror.identities.told(joined, told)
        owner = mirror.owner_key(container)
    group = "" if container.one_off else group_of(owner)  # a one-off is treated with nobody
    standing, what = kept.standing.get("orphaned"), "orphaned/unknown" if is_unknown(owner) else ""
    if standing is not None:
        was_unknown = is_unknown(owner_in(standing.group) or "")
        if is_unknown(owner) or (standing.group == group and not was_unknown):
            return
        meant = mirror.owner(container)
        if not was_unknown:
            what = f"orphaned/{meant.id[:12] if meant is not None else owner}"
    change = change_factory.of_container(
        found, "container.orphaned", now, origin, what=what, note=why, group=group
    )
    kept.standing["orphaned"] = change
    mirror.changed.add(container.id)
    yield change


def stuck_state(mirror: Mirror, found: ContainerRecord, now: float) -> None:
    """The states that a container should leave soon."""
    state = found.container.state
    if state in ("removing", "dead"):
        watch_stuck(mirror, found, now, f"it is {state} and does not go away")
    elif found.kept.run.over:
        found.stuck_at = None
        found.kept.standing.pop("stuck", None)


def await_verdict(mirror: Mirror, found: ContainerRecord, now: float) -> None:
    """Has a container looked at again whose health check gave no verdict so far: no event tells of
    a check that fails on from its first probe after a pause, as the engine had called it unhealthy
    all along."""
    container, check = found.container, found.container.check
    found.judged = found.judged or container.health in ("healthy", "unhealthy")
    if (
        check is None
        or container.state != "running"
        or container.health != "starting"
        or found.verdict_due > now
    ):
        return
    first = 0.0 if found.judged else container.started_at + check.verdict_within
    found.verdict_due = max(now + max(check.interval, 1.0), first)

    def look(when: float) -> list[Change]:
        if mirror.entries.get(container.id) is found and found.container.health == "starting":
            mirror.wanted.add(container.id)
        return []

    mirror.later(found.verdict_due, look)


def watch_stuck(mirror: Mirror, found: ContainerRecord, now: float, why: str) -> None:
    if found.stuck_at is None and "stuck" not in found.kept.standing:
        found.stuck_at = due = now + STUCK_AFTER
        mirror.later(due, lambda when: _stuck(mirror, found, due, when, why))


def _stuck(
    mirror: Mirror, found: ContainerRecord, due: float, now: float, why: str
) -> list[Change]:
    if found.stuck_at != due or mirror.entries.get(found.container.id) is not found:
        return []
    found.stuck_at = None
    change = change_factory.of_container(found, "container.stuck", now, "timer", note=why)
    found.kept.standing["stuck"] = change
    mirror.changed.add(found.container.id)
    return [change]


def await_successor(mirror: Mirror, found: ContainerRecord, origin: Origin) -> None:
    """It was removed: whether nothing takes its place is known a little later, also by another
    start of dockmend."""
    mirror.leaving[found.container.id] = found
    mirror.changed.add(found.container.id)
    mirror.later(
        found.kept.removed_at + SUCCESSOR_WAIT,
        lambda when: _missing_container(mirror, found, origin),
    )


def _missing_container(mirror: Mirror, found: ContainerRecord, origin: Origin) -> list[Change]:
    mirror.leaving.pop(found.container.id, None)
    mirror.changed.add(found.container.id)
    if mirror.of_target(target_of(found.container)) is not None:
        return []
    if not is_missed(mirror, found):
        mirror.on_gone(target_of(found.container))
        return []
    stopped = found.kept.run.stopped
    change = change_factory.of_container(
        found, "container.missing", found.kept.removed_at, origin,
        cause="stopped" if stopped else None,
        note="somebody stopped and removed it" if stopped else "it was removed and nothing took "
        "its place",
    )  # fmt: skip
    return [change]


def is_missed(mirror: Mirror, found: ContainerRecord) -> bool:
    """False of what its creator made for a moment and took away: it never ran, or had done its work
    (`docker create`, `cp` and `rm`; the steps of a build; jobs that are pruned). The engine removes
    what runs with `--rm` itself."""
    run, container = found.kept.run, found.container
    if not run.begun:
        return False
    done = cause_of(run, container, mirror.engine_start, blind=False) == "completed"
    done = done or (run.told == HISTORY and container.exit_code == 0)
    return not (run.over and done) or container.restart_policy in ("always", "unless-stopped")


def missing_volume(
    mirror: Mirror, volume: Volume, at: float, origin: Origin
) -> Callable[[float], list[Change]]:
    def look(now: float) -> list[Change]:
        if volume.name in mirror.volumes:
            return []
        return [missing("volume", volume, f"{at:.3f}", at, origin)]

    return look


def missing(kind: str, subject: Network | Volume, which: str, at: float, origin: Origin) -> Change:
    """`which` tells one that was removed from an earlier one of the same name."""
    return Change(
        triggers=(f"{kind}.missing",), kind=kind, subject=subject, target=target_of(subject),  # type: ignore[arg-type]
        trouble=f"{kind}/{subject.name}/missing/{which}", at=at, origin=origin,
        note="it was removed and not made again",
    )  # fmt: skip


def of_engine(trigger: str, at: float) -> Change:
    trouble = f"{trigger}/{at:.3f}"
    return Change(
        triggers=(trigger,), kind="engine", subject=None, target="engine:", trouble=trouble, at=at
    )
