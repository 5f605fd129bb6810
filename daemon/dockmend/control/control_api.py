"""What the running daemon can be asked and told: the protocol that the app implements and the
socket serves.

Every method returns plain JSON-able data. A DockmendError becomes the sentence the person reads,
with its exit code. Times are wall seconds, durations seconds. `actor` is who asks ("uid 1000
(ada)"): the kernel's word, not the client's.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypedDict

MOST_INCIDENTS: Final = 1000
"""Incidents that one answer holds at most."""


class EngineStatus(TypedDict):
    """`since`: of the present connection, or of its loss."""

    url: str
    up: bool
    name: str
    version: str
    since: float | None


class PauseRow(TypedDict):
    """As journal.records.Pause: both rule and target None is a pause of everything; until None:
    until resumed."""

    rule: str | None
    target: str | None
    until: float | None
    actor: str
    at: float


class BreakerRow(TypedDict):
    """As journal.records.Breaker."""

    rule: str
    target: str
    opened_at: float
    reason: str


class GivenUpRow(TypedDict):
    """A trouble that still stands and that a rule gave up on; `since`: when it did (wall
    seconds)."""

    rule: str
    target: str
    object_name: str
    since: float
    reason: str


class UnwellRow(TypedDict):
    """A container that is not well. `cause`: unhealthy, crashed, oom_killed, left_down, unknown,
    looping, starting (its health check gives no verdict), not_started (its start failed)."""

    target: str
    object_name: str
    cause: str
    since: float
    covered: bool  # a rule acts on it
    note: str


class Status(TypedDict):
    """`containers`: how many by "state" or "state/health"; `rules`: by state; `degraded`: part ->
    why."""

    version: str
    pid: int
    started_at: float
    state: str  # the folder
    engine: EngineStatus
    containers: dict[str, int]
    rules: dict[str, int]
    incidents_open: int
    given_up: list[GivenUpRow]  # what is broken and what nobody treats any more
    # every container that is not well, and is meant to run; what was given up on too
    unwell: list[UnwellRow]
    breakers: list[BreakerRow]
    pauses: list[PauseRow]
    degraded: dict[str, str]
    dry_run: bool
    not_acting: dict[str, str]  # reason -> why; empty if this dockmend acts by all its rules
    mqtt: str  # connected, disconnected, off
    healers: list[str]  # other healers on this host, by container


class RulesInForceAnswer(TypedDict):
    """The rules and settings that the daemon uses now. `rate`: the host's budget, (actions,
    seconds) or None; `reserve`: the setting `snapshots.reserve` in bytes, or None.

    `texts`: rule files by path, without comments and without the secrets of their steps.
    """

    config: str | None
    rules: str
    state: str
    engine: str
    # the settings' EngineFound: with the certificate files that it uses there
    engine_found: dict[str, Any] | None
    engine_root: str | None
    heal: str
    policy: dict[str, Any]
    rate: tuple[int, float] | None
    reserve: int | None
    texts: dict[str, str]
    channels: list[str]  # names
    host: str  # the host's name
    own: list[str]  # ids of the container that it runs in
    healers: list[str]
    observes: bool
    dry_run: bool


class RuleRow(TypedDict):
    """`state`: enabled, disabled, shadow (decides and records only)."""

    name: str
    state: str
    builtin: bool
    description: str
    when: list[str]
    match: str
    then: list[str]
    path: str
    line: int
    fired_at: float | None
    incidents_open: int
    breakers: list[BreakerRow]


class RulesAnswer(TypedDict):
    """`problems`: of the last load, as `path:line:column: …`."""

    rules: list[RuleRow]
    problems: list[str]
    loaded_at: float


class CommandDone(TypedDict):
    """What was done, in a sentence; `incident` where one was opened."""

    text: str
    incident: str | None


class Tried(TypedDict):
    """What came of one message at one URL. `said`: what the library logged, without the URL."""

    accepted: bool
    said: list[str]


class ControlApi(Protocol):
    """Implemented by the app, on the daemon's own loop. Nothing here waits for an engine's action
    to end."""

    async def status(self) -> Status: ...
    async def rules(self) -> RulesAnswer: ...
    async def in_force(self) -> RulesInForceAnswer:
        """For commands that answer by the rules and settings of the daemon; no secrets of the
        settings."""

    async def incidents(
        self, container: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """journal.records.Incident as dictionaries, the newest first; `container`: an object's name
        or a target."""

    async def incident(self, id: str) -> dict[str, Any]:
        """`{"incident": Incident, "actions": [ActionRecord, …]}`; UsageError where there is no such
        incident."""

    async def containers(self) -> list[dict[str, Any]]:
        """model.Container as the mirror holds them, by name, each with its `target`."""

    async def channels(self) -> list[dict[str, Any]]:
        """notify.listing.ChannelRow as dictionaries: where messages go; no URLs."""

    async def pause(
        self,
        actor: str,
        rule: str | None = None,
        container: str | None = None,
        for_: float | None = None,
    ) -> CommandDone:
        """Nothing is done (everything, a rule, a container) for `for_` seconds, None: until
        resumed."""

    async def resume(
        self, actor: str, rule: str | None = None, container: str | None = None
    ) -> CommandDone: ...
    async def reset(self, actor: str, rule: str, target: str) -> CommandDone:
        """Closes the breaker and forgets attempts; `target` may be a container's name, which means
        the groups that it belongs to or owns as well. Raises DockmendError where nothing is
        counted."""

    async def reload(self, actor: str) -> CommandDone:
        """Reads the rules again, all or nothing: InvalidFiles where one is wrong, and nothing
        changed."""

    async def trigger(
        self, actor: str, rule: str, name: str, even_if_stopped: bool = False
    ) -> CommandDone:
        """Has a rule act on an object now. `even_if_stopped`: also on one that somebody stopped or
        paused."""

    async def notify_test(self, actor: str, channel: str, url: int, kind: str) -> Tried:
        """Sends a sample of a kind of message to one URL of a channel, by its number from 0, and
        waits for it."""


CHANGING = frozenset({"pause", "resume", "reset", "reload", "trigger", "notify_test"})
"""The commands that are given the actor."""

ARGUMENTS: dict[str, dict[str, tuple[type | tuple[type, ...], bool]]] = {
    "status": {},
    "rules": {},
    "in_force": {},
    "incidents": {"container": (str, False), "since": ((int, float), False), "limit": (int, False)},
    "incident": {"id": (str, True)},
    "containers": {},
    "channels": {},
    "pause": {"rule": (str, False), "container": (str, False), "for_": ((int, float), False)},
    "resume": {"rule": (str, False), "container": (str, False)},
    "reset": {"rule": (str, True), "target": (str, True)},
    "reload": {},
    "trigger": {"rule": (str, True), "name": (str, True), "even_if_stopped": (bool, False)},
    "notify_test": {"channel": (str, True), "url": (int, True), "kind": (str, True)},
}
"""Each command's arguments: type, and whether it must be there. What is not listed is refused."""

ANSWERED_WITHIN: Final = 60.0
"""Seconds that a command may take."""
SLOW: Final = {"notify_test": 340.0}
"""The same of those that may take longer. A message: the library may have to be loaded first (300 s
on a host that is short of memory), and its receiver has 30 s."""

LONGEST_TEXT = 4096  # characters of one argument


def answered_within(command: str) -> float:
    """Seconds that a command may take."""
    return SLOW.get(command, ANSWERED_WITHIN)
