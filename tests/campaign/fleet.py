"""The containers of a campaign: what each is, how it is made, and the rules that cover it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.lab import TOOLBOX, PrivateEngine

from . import strangers

COMPOSED = "built-web-1"
"""What Compose calls the container of its service."""
NETWORK, SUBNET = "camp", "172.29.77.0/24"
CHECKED = (
    "--health-cmd", "test -e /well", "--health-interval=1500ms", "--health-timeout=5s",
    "--health-retries=1", "--health-start-period=1s", "--health-start-interval=300ms",
)  # fmt: skip
HUNGRY = ("--memory", "16m", "--memory-swap", "16m")
ATTEMPTS, WINDOW = 12, 120.0
KEEP = 2
TIGHT_ATTEMPTS, TIGHT_WINDOW = 2, 60.0
BUDGET, BUDGET_WINDOW = 100, 60.0
SOON = "verify: {within: 5s}"
"""A fault ends what ran for seconds, again and again. That is no crash loop, and each heal is to be
judged soon."""

RULES = f"""
version: 1
defaults:
  limits: {{attempts: {ATTEMPTS} per {WINDOW:.0f}s, backoff: 200ms to 2s}}
rules:
  - name: heal
    when: container.unhealthy
    match: {{labels: {{tier: [patient, composed]}}}}
    then: {{restart: {{timeout: 2s}}}}
  - name: revive
    when: [container.crashed, container.oom_killed, container.left_down]
    match: {{labels: {{tier: "*"}}}}
    exclude: {{labels: {{tier: [tight, kept]}}}}
    then: start
    {SOON}
  - name: keep-and-revive
    when: [container.crashed, container.oom_killed, container.left_down]
    match: {{labels: {{tier: kept}}}}
    then:
      - commit_image: {{repository: kept, tag: "{{incident.id}}", keep: {KEEP}}}
      - start
    {SOON}
  - name: reconnect
    when: container.network_lost
    match: {{labels: {{tier: networked}}}}
    then: reconnect_network
  - name: archive
    when: container.unhealthy
    match: {{labels: {{tier: volume}}}}
    then:
      - snapshot_volume: {{consistency: pause, keep: {{last: 3}}}}
      - restart: {{timeout: 2s}}
  - name: rejoin
    when: container.orphaned
    match: {{labels: {{tier: guest}}}}
    then: restart_dependents
  - name: restart-owner
    when: container.unhealthy
    match: {{labels: {{tier: owner}}}}
    then: {{restart: {{timeout: 2s}}}}
  - name: remake
    when: container.unhealthy
    match: {{labels: {{tier: [remade, base, tied]}}}}
    then: {{recreate: {{image: same}}}}
  - name: reconnect-remade
    when: container.network_lost
    match: {{labels: {{tier: remade}}}}
    then: reconnect_network
  - name: tight
    when: [container.unhealthy, container.crashed, container.oom_killed, container.left_down]
    match: {{labels: {{tier: tight}}}}
    then: {{restart: {{timeout: 2s}}}}
    {SOON}
    limits: {{attempts: {TIGHT_ATTEMPTS} per {TIGHT_WINDOW:.0f}s, backoff: 200ms to 1s}}
"""

STARTS = """
if [ -s /die ]; then sed -i 1d /die; exit 7; fi
if [ -s /sick ]; then sed -i 1d /sick; rm -f /well; else touch /well; fi
exec sleep 86400
"""
"""What each container does at its start: as many lines as /die has, it ends at once; as /sick has,
it is not well."""
STARTS_HUNGRY = """
if [ -s /die ]; then sed -i 1d /die; exit 7; fi
[ -p /eat ] || mkfifo /eat
read x < /eat
exec tail /dev/zero
"""
"""A word into /eat, and it takes more memory than it may have."""


LIMITS = f"limits: {{rate: {BUDGET} per {BUDGET_WINDOW:.0f}s, parallel: 4}}\n"


def config(broker_port: int) -> str:
    return f"{LIMITS}mqtt: {{host: 127.0.0.1, port: {broker_port}}}\n"


Tie = Literal["", "link", "network", "pid", "ipc"]
_DEFINED = {"network": "NetworkMode", "pid": "PidMode", "ipc": "IpcMode"}
_SPACES = {"network": "net", "pid": "pid", "ipc": "ipc"}


@dataclass
class Slot:
    """One place in the fleet; its container's name and id change with renaming and recreation."""

    key: str
    tier: str
    policy: str = "no"
    checked: bool = False
    address: str = ""
    hungry: bool = False
    owner: Slot | None = None  # whose network namespace it joins
    base: Slot | None = None  # to whom it is tied
    tie: Tie = ""
    title: str = ""  # what it is called at first, where that is not its key
    image: str = TOOLBOX
    # its owner's own, beside those that every container of the fleet has
    labels: tuple[str, ...] = ()
    name: str = ""
    id: str = ""
    renamed: int = 0
    named: list[tuple[float, str]] = field(default_factory=list)  # since when it has been called so
    # every container it had: its id, and when it was made
    born: dict[str, float] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        return self.tier not in {"none", "stranger", "bystander"}

    @property
    def remade(self) -> bool:
        """Whether dockmend or Compose makes it anew: its id changes, and its name is what it is
        known by."""
        return self.owner is not None or self.tier in {"remade", "base", "tied", "composed"}

    @property
    def apart(self) -> bool:
        """Whether it has faults of its own, and no others are drawn for it."""
        return self.remade or self.tier == "owner"

    @property
    def networked(self) -> bool:
        return bool(self.address)

    def call(self, name: str) -> None:
        self.name = name
        self.named.append((time.time(), name))

    def called(self, at: float) -> str:
        """Its name at that time; "" close to a renaming, when both may count."""
        if any(abs(since - at) < 5.0 for since, _ in self.named[1:]):
            return ""
        return next((name for since, name in reversed(self.named) if since <= at), self.named[0][1])


def slots() -> list[Slot]:
    service = Slot("h1", "owner", labels=strangers.service("vpn"))  # as Compose made it
    plain = Slot("h2", "owner", checked=True)
    # No rule covers its guest: beside one that is covered it would be treated.
    alone = Slot("h3", "owner", checked=True)
    base = Slot("m1", "base", checked=True)
    return [
        service,
        plain,
        alone,
        Slot("g1", "guest", owner=service),
        Slot("g2", "guest", owner=service),
        Slot("g3", "guest", owner=plain),
        Slot("u1", "bystander", owner=alone),
        base,
        Slot("m2", "tied", checked=True, base=base, tie="link"),
        Slot("m3", "tied", checked=True, base=base, tie="pid"),
        Slot("m4", "tied", checked=True, base=base, tie="ipc"),
        Slot("m5", "tied", checked=True, base=base, tie="network"),
        Slot("p1", "patient", checked=True),
        Slot("p2", "patient", "unless-stopped", checked=True),
        Slot("p3", "patient", "always", checked=True),
        Slot("p4", "patient", checked=True),
        Slot("p5", "patient", checked=True),
        Slot("p6", "patient", checked=True, title="p6.dockmend-x", image=strangers.IMAGE),
        Slot("w1", "worker"),
        Slot("w2", "worker", "unless-stopped"),
        Slot("w3", "worker", "on-failure"),
        Slot("w4", "worker"),
        Slot("w5", "worker"),
        Slot("o1", "worker", hungry=True),
        Slot("o2", "worker", hungry=True),
        Slot("n1", "networked", address="172.29.77.21"),
        Slot("n2", "networked", address="172.29.77.22"),
        Slot("n3", "networked", address="172.29.77.23"),
        Slot("v1", "volume", checked=True),
        Slot("v2", "volume", checked=True),
        Slot("k1", "kept"),
        Slot("t1", "tight", checked=True),
        Slot("r1", "remade", checked=True, address="172.29.77.24"),
        Slot("c1", "composed", checked=True, title=COMPOSED),
        Slot("x1", "none", checked=True),
        Slot("x2", "none"),
        Slot("s1", "stranger", checked=True, image=strangers.IMAGE),
        Slot("s2", "stranger", title="h1.dockmend-old-i000000000000000", image=strangers.OWN_IMAGE),
    ]


def make(engine: PrivateEngine, slot: Slot, name: str = "") -> None:
    """Creates and starts the container of a slot, under its first name or another; sets its name
    and id."""
    options = ["--label", f"slot={slot.key}", "--restart", slot.policy]
    if slot.tier == "none":
        options += ["--label", "tier=patient", "--label", "dockmend.ignore=true"]
    elif slot.covered:
        options += ["--label", f"tier={slot.tier}"]
    options += [part for label in slot.labels for part in ("--label", label)]
    if slot.networked:
        options += [
            "--network",
            NETWORK,
            "--ip",
            slot.address,
            "--network-alias",
            f"{slot.key}-alias",
        ]
    if slot.owner is not None:
        options += ["--network", f"container:{slot.owner.id}"]
    if slot.tier == "base":
        options += ["--ipc", "shareable"]
    if slot.base is not None and slot.tie == "link":
        options += ["--link", f"{slot.base.name}:base"]
    elif slot.base is not None:
        options += [f"--{slot.tie}", f"container:{slot.base.id}"]
    if slot.tier == "volume":
        options += ["--volume", f"data-{slot.key}:/data"]
    if slot.checked:
        options += CHECKED
    if slot.hungry:
        options += HUNGRY
    begun = time.time()
    command = ("sh", "-c", STARTS_HUNGRY if slot.hungry else STARTS)
    name = name or slot.title or slot.key
    slot.id = engine.run(name, *options, image=slot.image, command=command, init=slot.tie != "pid")
    slot.call(name)
    slot.born[slot.id] = begun


def make_network(engine: PrivateEngine) -> None:
    engine.docker("network", "create", "--subnet", SUBNET, NETWORK)


def well(slot: Slot, seen: dict[str, Any]) -> bool:
    """Runs, healthy where it has a check (and not about to be found ill), and in its network as it
    was made."""
    state = seen["State"]
    if state["Status"] != "running":
        return False
    if slot.checked and (
        state["Health"]["Status"] != "healthy" or not Path(root(seen), "well").exists()
    ):
        return False
    return not slot.networked or placed(slot, seen)


def together(guest: dict[str, Any], owner: dict[str, Any]) -> bool:
    """Whether a guest is in the namespace that its owner has now."""
    try:
        return (
            len(
                {Path(f"/proc/{seen['State']['Pid']}/ns/net").readlink() for seen in (guest, owner)}
            )
            == 1
        )
    except OSError:
        return False


def tied(slot: Slot, seen: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether it is tied to its base as that is now: by its definition, and in the namespace
    itself."""
    if slot.tie == "link":
        return bool(seen["HostConfig"]["Links"] == [f"{base['Name']}:/{slot.name}/base"])
    defined = seen["HostConfig"][_DEFINED[slot.tie]]
    try:
        spaces = {
            Path(f"/proc/{each['State']['Pid']}/ns/{_SPACES[slot.tie]}").readlink()
            for each in (seen, base)
        }
    except OSError:
        return False
    return defined == f"container:{base['Id']}" and len(spaces) == 1


def root(seen: dict[str, Any]) -> str:
    """A container's files, seen from the host: the engine is not asked."""
    return f"/proc/{seen['State']['Pid']}/root"


def placed(slot: Slot, seen: dict[str, Any]) -> bool:
    """In its network, with its address and alias."""
    endpoint = seen["NetworkSettings"]["Networks"].get(NETWORK)
    if endpoint is None:
        return False
    configured = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
    return configured == slot.address and f"{slot.key}-alias" in (endpoint.get("Aliases") or [])
