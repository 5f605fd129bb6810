"""Raw events of the engine, for the rules that name them (`{event: container.attach}`).

They are what the engine said, and can be lost, unlike transitions. Where no rule names any, they
cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from dockmend.mirror import Mirror
from dockmend.model import Change, Event, Kind, Object, Origin, target_of
from dockmend.rules.matcher import event_names
from dockmend.rules.rule import RuleSet

WAITING_AT_MOST = 256
"""Events of objects that are not known yet: they are offered once the object was looked at."""
ECHOES = frozenset({
    "kill", "die", "stop", "start", "restart", "pause", "unpause", "commit", "connect",
    "disconnect", "rename",
})  # fmt: skip
"""What dockmend's own actions make the engine say of their target."""


class RawEvents:
    """`offer` gets a change for each event that a rule names. Times are wall seconds."""

    def __init__(self, mirror: Mirror, offer: Callable[[Change], None]) -> None:
        self._mirror = mirror
        self._offer = offer
        self._waiting: list[tuple[Event, Origin]] = []
        self.names: frozenset[str] = frozenset()

    def use(self, rules: RuleSet) -> None:
        self.names = frozenset(
            trigger.name
            for rule in rules.rules
            if rule.enabled
            for trigger in rule.triggers
            if trigger.kind == "event"
        )

    def wants(self, event: Event, now: float) -> bool:
        """Whether a rule names it and it is no doing of dockmend's own; asked before the mirror is
        told of it."""
        if not any(name in self.names for name in event_names(event)):
            return False
        attributes = event.actor.Attributes
        container = event.actor.ID if event.type == "container" else attributes.get("container", "")
        if self._mirror.owned.hides_event(
            container, attributes if event.type == "container" else {}
        ):
            return False
        return not (event.action in ECHOES and self._mirror.echoes(container, event.action, now))

    def subject(self, event: Event) -> Object | None:
        """What it happened to; None where that is not known (yet), or is no object rules are
        about."""
        if event.type == "container":
            return self._mirror.container(event.actor.ID)
        if event.type == "network":
            return self._mirror.networks.get(event.actor.ID)
        return self._mirror.volumes.get(event.actor.ID) if event.type == "volume" else None

    def heard(self, event: Event, before: Object | None, origin: Origin) -> None:
        """Offers it, the mirror having been told. `before`: its subject before that, for what is
        gone now."""
        if event.type not in ("container", "network", "volume"):
            self._offer(_change(event, None, "engine", "engine:", origin))
        elif (subject := self.subject(event) or before) is not None:
            self._offer(_change(event, subject, event.type, target_of(subject), origin))  # type: ignore[arg-type]
        elif len(self._waiting) < WAITING_AT_MOST:
            self._waiting.append((event, origin))

    def looked(self) -> None:
        """Objects were looked at: offers what waited for them, and forgets what they turned out not
        to be."""
        if self._waiting and not (
            self._mirror.wanted or self._mirror.stale_networks or self._mirror.stale_volumes
        ):
            waiting, self._waiting = self._waiting, []
            for event, origin in waiting:
                if (subject := self.subject(event)) is not None:
                    self._offer(_change(event, subject, event.type, target_of(subject), origin))  # type: ignore[arg-type]


def _change(
    event: Event, subject: Object | None, kind: Kind, target: str, origin: Origin
) -> Change:
    return Change(
        triggers=event_names(event),
        kind=kind,
        subject=subject,
        target=target,
        trouble=f"{event.type}/{event.actor.ID[:12]}/{event.action}/{event.time_ns}",
        at=event.time_ns / 1e9,
        origin=origin,
        note=f"the engine said {event.type} {event.action}",
        event=event,
    )
