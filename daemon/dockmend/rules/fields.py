"""The fields that conditions and templates may name: their types, what they mean, and when they are
absent.

One catalogue serves the checks at load time, the values at run time and the table in docs/rules.md,
so that the three cannot disagree. Values are computed when they are asked for: most conditions look
at one or two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from dockmend.model import Change, Container, Network, Object, Volume
from dockmend.rules.rule import Fields, Rule

FieldType = Literal["text", "number", "time", "flag", "list", "map", "any"]
"""text; number; time (seconds since the epoch: a number in conditions, formatted in templates);
flag (true or false); list of texts; map of texts by key (labels, attributes); any (what a payload
holds)."""

STATES: Final = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTHS: Final = ("starting", "healthy", "unhealthy")
CAUSES: Final = (
    "stopped", "crashed", "oom_killed", "completed", "left_down", "engine", "dockmend", "unknown",
    "removed", "disconnected",
)  # fmt: skip
ORIGINS: Final = ("live", "replayed", "relisted", "started", "timer")

FORGEABLE: Final = {
    "exitCode": "container.exit_code",
    "signal": "cause",
    "execDuration": "container.started_at",
}
"""Attributes of an event that a label overwrites, and the field to use in their place
(docs/rules.md, "Fields")."""


@dataclass(frozen=True, slots=True)
class Field:
    """One entry of the catalogue. `absent` says when the value is null, "" if it never is (in its
    own context).

    `open` fields take any further names: `payload.a.b`.
    """

    path: str
    type: FieldType
    doc: str
    absent: str = ""
    choices: tuple[str, ...] = ()
    open: bool = False

    @property
    def context(self) -> str:
        return self.path.partition(".")[0]


def _container() -> tuple[Field, ...]:
    compose = "not made by Compose"
    return (
        Field("container.name", "text", "its name, without the leading slash"),
        Field("container.id", "text", "its full id"),
        Field("container.image", "text", "the image as it was named when the container was made"),
        Field("container.image_id", "text", "the image's id"),
        Field(
            "container.labels",
            "map",
            "a label's value: container.labels[KEY]; only what its owner set, nothing of its image",
            "no such label",
        ),
        Field("container.state", "text", "what it does now", choices=STATES),
        Field(
            "container.health",
            "text",
            "the verdict of its health check",
            "it has no health check",
            HEALTHS,
        ),
        Field(
            "container.exit_code", "number", "of its last end, from inspect", "it runs or never ran"
        ),
        Field(
            "container.oom_killed",
            "flag",
            "the engine's OOMKilled: also true after a child's death",
        ),
        Field("container.error", "text", "why its last start failed", "it did not fail"),
        Field(
            "container.restart_count", "number", "how often the engine's own policy restarted it"
        ),
        Field("container.restart_policy", "text", "no, always, unless-stopped or on-failure"),
        Field("container.created_at", "time", "when it was made", "not known"),
        Field("container.started_at", "time", "when it was last started", "it never was"),
        Field("container.finished_at", "time", "when it last ended", "it never did"),
        Field("container.networks", "list", "the names of its networks"),
        Field("container.compose.project", "text", "its Compose project", compose),
        Field("container.compose.service", "text", "its Compose service", compose),
        Field("container.compose.number", "number", "its number in that service", compose),
        Field("container.host", "text", "the name of the host it runs on"),
    )


def _catalogue() -> tuple[Field, ...]:
    return (
        *_container(),
        Field("network.name", "text", "its name; of network_lost and address_changed: the network "
        "they are about",
              "the trouble is about no network"),
        Field("network.id", "text", "its id", "the rule is not about a network"),
        Field("network.driver", "text", "bridge, overlay, macvlan, …", "the rule is not about "
        "a network"),
        Field("network.scope", "text", "local or swarm", "the rule is not about a network"),
        Field("network.labels", "map", "a label's value: network.labels[KEY]", "no such label"),
        Field("network.host", "text", "the name of the host"),
        Field("volume.name", "text", "its name"),
        Field("volume.id", "text", "the same: the engine knows volumes by name"),
        Field("volume.driver", "text", "local or a plugin's name"),
        Field("volume.labels", "map", "a label's value: volume.labels[KEY]", "no such label"),
        Field("volume.anonymous", "flag", "made by the engine for a VOLUME of an image"),
        Field("volume.mountpoint", "text", "where it lies on the host", "not known"),
        Field("volume.host", "text", "the name of the host"),
        Field("event.type", "text", "container, network, volume, image, …"),
        Field("event.action", "text", "die, start, connect, …"),
        Field("event.id", "text", "the id of what it happened to"),
        Field("event.name", "text", "its name, from the event", "the event names none"),
        Field("event.attributes", "map", "an attribute: event.attributes[KEY]; labels, of the "
        "image too, overwrite",
              "no such attribute"),
        Field("event.time", "time", "the engine's own stamp"),
        Field("alert.labels", "map", "a label of the alert: alert.labels[KEY]", "no such label"),
        Field("alert.annotations", "map", "an annotation of the alert", "no such annotation"),
        Field("alert.status", "text", "firing or resolved", choices=("firing", "resolved")),
        Field("alert.fingerprint", "text", "Alertmanager's own"),
        Field("alert.starts_at", "time", "when it began", "not told"),
        Field("payload", "any", "the message's JSON: payload.KEY, payload.KEY.KEY", "no such key",
            open=True),
        Field("rule.name", "text", "the rule's name"),
        Field("rule.severity", "text", "info, warning or critical",
            choices=("info", "warning", "critical")),
        Field("rule.description", "text", "the rule's description", "it has none"),
        Field("incident.id", "text", "the incident's id", "none is open yet (in `if`)"),
        Field("incident.reason", "text", "why it ended as it did, or what broke",
            "nothing to say yet"),
        Field("trigger", "text", "the transition or event that set the rule off; `asked` if "
        "`dockmend trigger` did"),
        Field("target", "text", "what limits and incidents are kept by: container:NAME, "
        "compose:PROJECT/SERVICE/N, …"),
        Field("cause", "text", "why a container ended or lost a network",
            "the transition has no cause", CAUSES),
        Field("origin", "text", "how the change was learnt", choices=ORIGINS),
        Field("note", "text", "what was seen, in words", "nothing to add"),
        Field("host", "text", "the name of the host"),
        Field("now", "time", "the time of the decision; in templates {now:%Y%m%dT%H%M%S}, "
        "always UTC"),
    )  # fmt: skip


CATALOGUE: Final[Mapping[str, Field]] = {field.path: field for field in _catalogue()}
"""Every field by its dotted name."""

COMMON: Final = frozenset(
    {"rule", "incident", "trigger", "target", "cause", "origin", "note", "host", "now"}
)
"""Contexts that are there whatever the rule is about."""

CONTEXTS: Final = COMMON | {"container", "network", "volume", "event", "alert", "payload"}


def contexts_for(
    kind: str = "container", *, events: bool = False, extra: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The contexts a rule may name: those of its match's kind, `event` where every trigger is a raw
    event, and `extra` ("alert", "payload") where its triggers bring them."""
    own = {"container": {"container", "network"}, "network": {"network"}, "volume": {"volume"}}.get(
        kind, set()
    )
    return COMMON | own | ({"event"} if events else set()) | extra


def _compose(subject: Container, key: str) -> str | None:
    return subject.labels.get("com.docker.compose." + key)


def _compose_number(subject: Container) -> int | None:
    text = _compose(subject, "container-number") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


_OF_CONTAINER: Final[Mapping[str, Callable[[Container], Any]]] = {
    "name": lambda s: s.name,
    "id": lambda s: s.id,
    "image": lambda s: s.image,
    "image_id": lambda s: s.image_id,
    "labels": lambda s: s.labels,
    "state": lambda s: s.state,
    "health": lambda s: s.health or None,
    "exit_code": lambda s: s.exit_code,
    "oom_killed": lambda s: s.oom_killed,
    "error": lambda s: s.error or None,
    "restart_count": lambda s: s.restart_count,
    "restart_policy": lambda s: s.restart_policy,
    "created_at": lambda s: s.created_at or None,
    "started_at": lambda s: s.started_at or None,
    "finished_at": lambda s: s.finished_at or None,
    "networks": lambda s: tuple(s.networks),
    "compose.project": lambda s: _compose(s, "project"),
    "compose.service": lambda s: _compose(s, "service"),
    "compose.number": _compose_number,
}
_OF_NETWORK: Final[Mapping[str, Callable[[Network], Any]]] = {
    "name": lambda s: s.name,
    "id": lambda s: s.id,
    "driver": lambda s: s.driver,
    "scope": lambda s: s.scope,
    "labels": lambda s: s.labels,
}
_OF_VOLUME: Final[Mapping[str, Callable[[Volume], Any]]] = {
    "name": lambda s: s.name,
    "id": lambda s: s.name,
    "driver": lambda s: s.driver,
    "labels": lambda s: s.labels,
    "anonymous": lambda s: s.anonymous,
    "mountpoint": lambda s: s.mountpoint or None,
}


_OF_RULE: Final = {"name": "name", "severity": "severity", "description": "description"}


class Values(Mapping[str, Any]):
    """The fields of one decision, each computed when it is asked for. A field that does not apply
    is None.

    Fields of maps are asked for by the map's name ("container.labels"); the compiled text takes the
    key from it.
    """

    __slots__ = (
        "_change",
        "_extra",
        "_host",
        "_incident_id",
        "_now",
        "_reason",
        "_rule",
        "_subject",
    )

    def __init__(
        self, change: Change, rule: Rule | None, incident_id: str | None, now: float, host: str,
        reason: str | None, subject: Object | None, extra: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        self._change = change
        self._rule = rule
        self._incident_id = incident_id
        self._now = now
        self._host = host
        self._reason = reason
        self._subject = change.subject if subject is None else subject
        self._extra = extra or {}

    def __iter__(self) -> Iterator[str]:
        return iter(CATALOGUE)

    def __len__(self) -> int:
        return len(CATALOGUE)

    def __getitem__(self, path: str) -> Any:
        """Raises KeyError for a path that is not in the catalogue; compiled texts never ask for
        one."""
        context, _, rest = path.partition(".")
        reader = self._READERS.get(context)
        if reader is None:
            raise KeyError(path)
        return reader(self, rest)

    def _read_object(
        self, kind: type[Object], getters: Mapping[str, Callable[[Any], Any]], rest: str
    ) -> Any:
        if rest == "host":
            return self._host if isinstance(self._subject, kind) else None
        getter = getters[rest]
        return getter(self._subject) if isinstance(self._subject, kind) else None

    def _container(self, rest: str) -> Any:
        return self._read_object(Container, _OF_CONTAINER, rest)

    def _network(self, rest: str) -> Any:
        if rest == "name" and self._change.network is not None:
            return self._change.network
        return self._read_object(Network, _OF_NETWORK, rest)

    def _volume(self, rest: str) -> Any:
        return self._read_object(Volume, _OF_VOLUME, rest)

    def _event(self, rest: str) -> Any:
        event = self._change.event
        if event is None:
            return None
        values: dict[str, Any] = {
            "type": event.type,
            "action": event.action,
            "id": event.actor.ID,
            "name": event.name or None,
            "attributes": event.actor.Attributes,
            "time": event.time_ns / 1e9,
        }
        return values[rest]

    def _read_alert(self, rest: str) -> Any:
        alert = self._extra.get("alert")
        return None if alert is None else alert.get(rest)

    def _read_rule(self, rest: str) -> Any:
        if self._rule is None:
            return None
        return getattr(self._rule, _OF_RULE[rest]) or None

    def _incident(self, rest: str) -> Any:
        return {"id": self._incident_id or None, "reason": self._reason or None}[rest]

    _READERS: ClassVar[Mapping[str, Callable[[Values, str], Any]]] = {
        "container": _container,
        "network": _network,
        "volume": _volume,
        "event": _event,
        "alert": _read_alert,
        "payload": lambda self, _: self._extra.get("payload"),
        "rule": _read_rule,
        "incident": _incident,
        "trigger": lambda self, _: self._change.triggers[0] if self._change.triggers else None,
        "target": lambda self, _: self._change.target,
        "cause": lambda self, _: self._change.cause,
        "origin": lambda self, _: self._change.origin,
        "note": lambda self, _: self._change.note or None,
        "host": lambda self, _: self._host or None,
        "now": lambda self, _: self._now,
    }


def field_values(
    change: Change,
    rule: Rule | None = None,
    incident_id: str | None = None,
    now: float = 0.0,
    host: str = "",
    *,
    reason: str | None = None,
    subject: Object | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Fields:
    """The fields of a decision about `change`.

    `now` is wall-clock seconds. `subject` is a fresher state of the same object than
    `change.subject` (after an inspect). `extra` holds what a trigger brought: "alert" (labels,
    annotations, status, fingerprint, starts_at) or "payload" (decoded JSON).
    """
    return Values(change, rule, incident_id, now, host, reason, subject, extra)
