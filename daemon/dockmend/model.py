"""What flows through dockmend: the engine's objects, its events, and the changes the mirror derives
from them.

Everything here is frozen and free of behaviour beyond small derivations, so that matching and
deciding are pure. msgspec's structs are used for their speed: an event is decoded in about a
microsecond and a half.

Times: `*_at` are seconds since the epoch (float, wall clock); `time_ns` is the engine's own
nanosecond stamp. Durations are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct, field

from dockmend.bounds import bounded_name

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What the engine's own integers hold. A larger one could be read, but neither kept in the journal
nor counted with."""

Origin = Literal["live", "replayed", "relisted", "started", "timer"]
"""How a change was learnt: from the stream, from the engine's replay after a reconnection, from
comparing a list, at dockmend's own start, or by a timer of the mirror (something that should have
happened did not)."""

Cause = Literal[
    "stopped",
    "crashed",
    "oom_killed",
    "completed",
    "left_down",
    "engine",
    "dockmend",
    "unknown",
    "removed",
    "disconnected",
]
Kind = Literal["container", "network", "volume", "image", "service", "node", "engine"]

COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_NUMBER, COMPOSE_ONEOFF = (
    "com.docker.compose.project", "com.docker.compose.service",
    "com.docker.compose.container-number", "com.docker.compose.oneoff",
)  # fmt: skip
SWARM_TASK, SWARM_SERVICE = "com.docker.swarm.task.id", "com.docker.swarm.service.name"

REFERENCE_LABEL = "dockmend.image"
"""The image's reference as it was written, on a container that was made anew from the image's id
because the reference names another image by now: rules and guards go by it. One that the image
itself bears does not count."""

HELPER_LABEL = "dockmend.helper"
"""On every container dockmend makes for itself; its value is the incident (or command) it belongs
to."""


class ComposeService(NamedTuple):
    """Which container of which service of a Compose project; `number` as the label has it, mostly
    from "1" up."""

    project: str
    service: str
    number: str = "1"


class Endpoint(Struct, frozen=True, omit_defaults=True):
    """A container's place in a network: what is needed to put it back exactly."""

    network_id: str
    aliases: tuple[str, ...] = ()
    ipv4: str | None = None  # configured (static), not the one that was handed out
    ipv6: str | None = None
    link_local: tuple[str, ...] = ()
    # the MAC address that was configured; "" if none was, None if nothing tells
    mac: str | None = None
    links: tuple[str, ...] = ()
    driver_opts: dict[str, str] = field(default_factory=dict)
    gw_priority: int = 0  # which network the default route goes through (Engine 28, API 1.48)
    address: str = ""  # the IPv4 address in use, "" when not running
    address6: str = ""
    mac_in_use: str = ""  # configured or made up by the engine; "" when not running


LONGEST_VERDICT, LONGEST_FAILING = 86400.0, 3600.0
VERDICT_SLACK = 60.0
"""Seconds by which a busy engine may be late with the verdict of a health check."""


class HealthCheck(Struct, frozen=True):
    """A container's health check; seconds."""

    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3

    @property
    def verdict_within(self) -> float:
        """Seconds after a start by which the engine has said healthy or unhealthy (rules.md,
        `verify`), a day at the most: with an interval or as many retries as one likes it may never
        say anything."""
        return min(LONGEST_VERDICT, self.start_period + self._probe * (self.retries + 1))

    @property
    def overdue_after(self) -> float:
        """Seconds without a verdict after which that is shown. However often it may fail, an hour
        of failures beyond its start period is enough."""
        failing = max(self._probe, min(self._probe * (self.retries + 1), LONGEST_FAILING))
        return min(LONGEST_VERDICT, self.start_period + failing) + VERDICT_SLACK

    @property
    def _probe(self) -> float:
        return self.interval + self.timeout


class Mount(Struct, frozen=True):
    """A mount: `name` is the volume's, "" for a bind mount; `source` the path on the host."""

    kind: str
    name: str
    source: str
    destination: str


class Container(Struct, frozen=True, omit_defaults=True, tag=True):
    """A container as inspect tells it, cut to what rules and actions need (about 2 KB of
    memory)."""

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    # its owner's only, see dockmend.label_owner
    labels: dict[str, str] = field(default_factory=dict)
    # its image's: to be shown, never to be matched
    image_labels: dict[str, str] = field(default_factory=dict)
    # bytes of labels, mounts and networks for which there was no room, see dockmend.bounds
    left_out: int = 0
    too_much: bool = False  # what was left out could have steered dockmend
    image_unknown: bool = False  # it cannot be inspected: nobody knows whose `image_labels` are
    # the same for what was made the same way, see dockmend.engine.definition_digest; "": not known
    made_as: str = ""
    # it looks like a set-aside name, and the journal tells of no recreation of this one
    name_is_own: bool = False
    state: str = "created"  # created, running, paused, restarting, removing, exited, dead
    health: str = ""  # "", starting, healthy, unhealthy
    exit_code: int | None = None  # of the last end; None while it runs or has never run
    oom_killed: bool = False
    error: str = ""  # State.Error: why the last start failed
    restart_count: int = 0
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    # by the engine's own file: a call stopped or signalled this run; None: not known
    signalled: bool | None = None
    restart_policy: str = "no"
    auto_remove: bool = False
    check: HealthCheck | None = None
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    network_mode: str = ""
    networks: dict[str, Endpoint] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    pid_mode: str = ""  # of these two, only what names another container: "container:ID or name"
    ipc_mode: str = ""
    # `--link` on the default bridge, as the engine writes it: "/db:/web/alias"
    links: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()  # "NAME or ID[:ro]"
    # whoever made it gave it an engine's address, in the variable DOCKER_HOST or DOCKER_SOCK
    engine_address: bool = False

    @property
    def running(self) -> bool:
        return self.state in ("running", "paused", "restarting")

    @property
    def plain_name(self) -> str:
        """Its name; while `recreate` has it in hand, the one that it had or will have."""
        return self.name if self.name_is_own else without_aside(self.name)

    @property
    def holding_labels(self) -> Mapping[str, str]:
        """The labels that may hold dockmend back from it: its owner's, and all if nobody knows
        whose they are."""
        return self.image_labels | self.labels if self.image_unknown else self.labels

    @property
    def one_off(self) -> bool:
        """Whether `docker compose run` made it: it bears its service's labels and is not one of its
        containers."""
        return self.holding_labels.get(COMPOSE_ONEOFF, "").lower() == "true"

    @property
    def compose_service(self) -> ComposeService | None:
        """Which container of a Compose service it is; None for a one-off and for what Compose did
        not make."""
        project, service = self.labels.get(COMPOSE_PROJECT), self.labels.get(COMPOSE_SERVICE)
        if not project or not service or self.one_off:
            return None
        return ComposeService(project, service, self.labels.get(COMPOSE_NUMBER, "1"))

    @property
    def swarm_service(self) -> str | None:
        """The Swarm service of which it is a task, "" if nothing names that; None if it is no
        task."""
        labels = self.holding_labels
        return labels.get(SWARM_SERVICE, "") if SWARM_TASK in labels else None

    @property
    def joined(self) -> str | None:
        """The id of the container whose network namespace this one joined, or None."""
        return (
            self.network_mode.removeprefix("container:")
            if self.network_mode.startswith("container:")
            else None
        )

    @property
    def owners(self) -> frozenset[str]:
        """The containers whose network, process or IPC namespace this one joined, as its definition
        names them."""
        modes = (self.network_mode, self.pid_mode, self.ipc_mode)
        return frozenset(
            mode.removeprefix("container:") for mode in modes if mode.startswith("container:")
        )

    @property
    def linked(self) -> frozenset[str]:
        """The names of the containers that this one links to on the default bridge."""
        return frozenset(each.partition(":")[0].removeprefix("/") for each in self.links)


class Subnet(Struct, frozen=True, omit_defaults=True):
    """A range of a network's addresses; texts as the engine writes them ("10.89.0.0/24")."""

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    aux: dict[str, str] = field(default_factory=dict)  # addresses that are not handed out, by name


class Network(Struct, frozen=True, omit_defaults=True, tag=True):
    """A network with all that it takes to make it again as it was."""

    id: str
    name: str
    driver: str = "bridge"
    scope: str = "local"
    labels: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0
    options: dict[str, str] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] = ()
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = field(default_factory=dict)
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False  # a swarm's own
    config_only: bool = False
    config_from: str = ""

    @property
    def engines_own(self) -> bool:
        """Made and removed by the engine itself, whenever it sees fit."""
        return self.ingress or self.name in ("bridge", "host", "none", "docker_gwbridge")


class Volume(Struct, frozen=True, omit_defaults=True, tag=True):
    name: str
    driver: str = "local"
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    mountpoint: str = ""
    created_at: float = 0.0

    @property
    def anonymous(self) -> bool:
        """Made by the engine for a VOLUME of an image: named by 64 hexadecimal digits."""
        return len(self.name) == 64 and set(self.name) <= set("0123456789abcdef")


class Image(Struct, frozen=True, omit_defaults=True):
    id: str
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0


class Actor(Struct, frozen=True):
    ID: str = ""
    Attributes: dict[str, str] = field(default_factory=dict)


class Event(
    Struct,
    frozen=True,
    rename={"type": "Type", "action": "Action", "actor": "Actor", "time_ns": "timeNano"},
):
    """One line of the engine's event stream, decoded straight from its JSON.

    `actor.Attributes` holds the container's labels too, and labels overwrite the engine's own
    attributes (exitCode, signal): never take a fact from there that inspect can tell.
    """

    type: str
    action: str
    actor: Actor
    time_ns: Int64 = 0
    scope: str = "local"

    @property
    def key(self) -> tuple[int, str, str, str]:
        """What de-duplication compares: the stream can repeat itself after a reconnection."""
        return (self.time_ns, self.type, self.action, self.actor.ID)

    @property
    def name(self) -> str:
        return bounded_name(self.actor.Attributes.get("name", ""))


Object = Container | Network | Volume


class Change(Struct, frozen=True):
    """Something happened to one object: one or more transitions that are the same trouble, or one
    raw event.

    `triggers` are the names rules use ("container.unhealthy"); an end of a container carries its
    cause and `container.exited` together, so that rules for either compete for one trouble.
    `trouble` names the trouble itself (the same text for the same trouble however often it is
    learnt): the container's id, its run and what broke.
    """

    triggers: tuple[str, ...]
    kind: Kind
    subject: Object | None  # None for engine.lost and engine.back
    target: str  # outlives the id, see `target_of`
    trouble: str
    at: float
    origin: Origin = "live"
    cause: Cause | None = None
    note: str = ""  # for a person: what was seen
    network: str | None = None  # network_lost, address_changed: which one
    # it was over when it was learnt (the engine's own restart policy): recorded, not treated
    recovered: bool = False
    # a person's will (a disconnect that was repeated): recorded, not treated
    on_purpose: bool = False
    runs_again: bool = False  # an end: its next run had begun when it was told
    # seconds of the run that ended by itself; 0.0 where none did: it was stopped, or is unhealthy
    lasted: float = 0.0
    group: str = ""  # orphaned: the target of all dependents of one owner together, see `group_of`
    event: Event | None = None  # for raw-event triggers


def as_written(reference: str, labels: Mapping[str, str]) -> str:
    """A container's image as its owner wrote it; `labels`: its owner's."""
    return (
        labels.get(REFERENCE_LABEL) or reference if reference.startswith("sha256:") else reference
    )


def main_network(mode: str | None) -> str:
    """The network that a container's network mode names; the engine's bridge where it says
    nothing."""
    return "bridge" if not mode or mode == "default" else mode


_ASIDE = re.compile(
    r"(?P<name>.+)\.dockmend-(?P<what>old|new)-(?P<incident>i[0-9a-hjkmnp-tv-z]{15})",
    re.ASCII | re.DOTALL,
)


class Aside(NamedTuple):
    """What the name of a container says that `recreate` has in hand: the plain name, whether it is
    the `old` one that was set aside or the `new` one that is not in its place yet, and whose doing
    it is (an incident's id).

    A name proves nothing: a person can choose one like it.
    """

    name: str
    what: Literal["old", "new"]
    incident: str


def aside_name(name: str, what: Literal["old", "new"], incident: str) -> str:
    """The set-aside name that `read_aside` takes apart again."""
    return f"{name}.dockmend-{what}-{incident}"


def read_aside(name: str) -> Aside | None:
    """The parts of a set-aside name; None for any other name, such as a person's own
    `web.dockmend-test`."""
    if ".dockmend-" not in name:  # asked for every container, often
        return None
    match = _ASIDE.fullmatch(name)
    return (
        Aside(match["name"], "old" if match["what"] == "old" else "new", match["incident"])
        if match
        else None
    )


def without_aside(name: str) -> str:
    """The name a container that `recreate` has in hand had or will have; any other name as it
    is."""
    found = read_aside(name)
    return found.name if found is not None else name


def target_of(subject: Object | None, host: str = "") -> str:
    """The name under which limits, breakers and incidents of an object are kept; it outlives ids
    (rules.md, Target)."""
    if isinstance(subject, Container):
        labels = subject.labels
        if service := labels.get(SWARM_SERVICE):
            task = labels.get("com.docker.swarm.task.name", "")
            slot = task.removeprefix(service + ".").partition(".")[0] or labels.get(
                "com.docker.swarm.node.id", ""
            )
            return f"service:{service}/{slot}"
        if (made := subject.compose_service) is not None:
            return f"compose:{made.project}/{made.service}/{made.number}"
        return f"container:{subject.plain_name}"
    if isinstance(subject, Network):
        return f"network:{subject.name}"
    if isinstance(subject, Volume):
        return f"volume:{subject.name}"
    return f"engine:{host}"


GROUP = "dependents:"


def group_of(owner: str) -> str:
    """The target of what is treated together: the dependents of a container, which is named by its
    own target."""
    return f"{GROUP}{owner}"


def owner_in(target: str) -> str | None:
    """The owner's target where a target is a group's."""
    return target.removeprefix(GROUP) if target.startswith(GROUP) else None


UNKNOWN = "unknown:"
"""In the place of an owner's target where nothing tells which container an id in a definition
meant: no container ever has such a target, and nothing waits for one."""


def unknown_owner(container_id: str) -> str:
    return f"{UNKNOWN}{container_id[:12]}"


def is_unknown(owner: str) -> bool:
    return owner.startswith(UNKNOWN)


TRANSITIONS: dict[str, str] = {
    "container.unhealthy": "its health check failed",
    "container.healthy": "its health check passes again",
    "container.started": "it was started",
    "container.exited": "it ended, whatever the cause",
    "container.stopped": "somebody stopped or restarted it",
    "container.crashed": "it ended by itself with an exit code that is not 0",
    "container.oom_killed": "the kernel killed its main process for want of memory",
    "container.left_down": "it ran before the engine was lost and does not run now that it is back",
    "container.missing": "it was removed and nothing took its place; not one that never ran, that "
    "was run with `--rm`, or that had ended by itself with exit code 0 and is not to run always",
    "container.restart_loop": "the engine restarts it again and again",
    "container.network_lost": "a network it had is gone from it",
    "container.address_changed": "its address in a network is another than before",
    "container.orphaned": "the container whose network it joined was stopped, restarted or "
    "replaced",
    "container.stuck": "a stop or removal that never ended",
    "network.missing": "a network was removed and not made again",
    "volume.missing": "a volume was removed and not made again",
    "engine.lost": "the connection to the engine broke",
    "engine.back": "the engine answers again",
}
"""Transitions of the mirror, built in this version."""

ASKED = "asked"
"""In the place of a trigger: a person asked for a rule (`dockmend trigger`), and nothing has to
have happened."""

TROUBLES = frozenset({
    "container.unhealthy", "container.crashed", "container.oom_killed", "container.left_down",
    "container.exited", "container.network_lost", "container.orphaned", "container.stuck",
})  # fmt: skip
"""Transitions that leave a trouble standing; the others are moments, and there is nothing to look
for again."""

LATER_TRANSITIONS = frozenset(
    {"service.degraded", "service.restored", "service.update_paused", "node.down", "node.back"}
)

EVENT_ACTIONS: Mapping[str, frozenset[str]] = {
    "container": frozenset({
        "attach", "commit", "copy", "create", "destroy", "detach", "die", "exec_create",
        "exec_detach", "exec_die", "exec_start", "export", "health_status", "kill", "oom", "pause",
        "prune", "rename", "resize", "restart", "start", "stop", "top", "unpause", "update",
        "archive-path", "extract-to-dir", "checkpoint",
    }),
    "image": frozenset({"create", "delete", "import", "load", "prune", "pull", "push", "save",
            "tag", "untag"}),
    "volume": frozenset({"create", "destroy", "mount", "prune", "unmount", "update"}),
    "network": frozenset({"connect", "create", "destroy", "disconnect", "prune", "remove",
            "update"}),
    "daemon": frozenset({"reload"}),
    "plugin": frozenset({"create", "disable", "enable", "install", "pull", "push", "remove",
            "upgrade"}),
    "service": frozenset({"create", "remove", "update"}),
    "node": frozenset({"create", "remove", "update"}),
    "secret": frozenset({"create", "remove", "update"}),
    "config": frozenset({"create", "remove", "update"}), "builder": frozenset({"prune"}),
}  # fmt: skip
"""Every event of the Engine API by type and action, from moby's `api/types/events/events.go`
(Engine 26 to 28) and the API's reference. What more an action carries after a colon
(`health_status: unhealthy`) is left out. An unknown type or action is nothing wrong: it passes as a
generic event."""
