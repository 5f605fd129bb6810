"""Messages to people: what the parts of the daemon that tell and deliver stand on. Only built if
there is a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dockmend.actions.action import Messenger, Nobody
from dockmend.app.given_up import given_up
from dockmend.app.message_facts import MessageFacts
from dockmend.app.message_writer import MessageWriter, Parts, local
from dockmend.app.needs_person import PersonNeeds
from dockmend.app.open_troubles import OpenTroubles
from dockmend.app.rule_messages import RuleMessages
from dockmend.decide import rest_of
from dockmend.model import Container
from dockmend.notify.message import Severity
from dockmend.notify.routing import Router, RoutingMoment
from dockmend.notify.wording import SEVERITIES, Where
from dockmend.rules.label_rules import asked

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon


def telling_of(daemon: Daemon) -> MessageWriter | None:
    """None if nobody is to be told: there is no channel, or another dockmend acts on this engine
    and tells."""
    if not daemon.settings.channels or daemon.settings.only or daemon.turn.holder is not None:
        return None
    return MessageWriter(daemon.where, daemon.clock.wall)


def where_of(daemon: Daemon) -> Where:
    """What messages say of the host until the engine answers: dockmend's own name for it."""
    return Where(daemon.host, local)


def router_of(daemon: Daemon) -> Router:
    """Who puts messages into the outbox: of the daemon's own, and of rules."""
    clock = daemon.clock
    channels = {each.name: each for each in daemon.message_delivery.channels}
    return Router(
        channels,
        daemon.message_delivery.outbox,
        lambda: RoutingMoment(clock(), local(clock.wall())),
    )


def messenger_of(daemon: Daemon) -> Messenger:
    """Who sends what rules tell."""
    if not daemon.router.channels:
        return Nobody()
    return RuleMessages(
        daemon.router, daemon.mirror, daemon.journal, daemon.where, daemon.clock.wall
    )


class Messages:
    """To be made once the daemon's parts are there."""

    def __init__(self, daemon: Daemon, telling: MessageWriter) -> None:
        self._daemon = daemon
        self._telling = telling

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._telling.run(self._parts())

    def _parts(self) -> Parts:
        daemon, clock = self._daemon, self._daemon.clock
        troubles = OpenTroubles(
            mirror=daemon.mirror, unwell=daemon.unwell,
            given_up=lambda: given_up(daemon.history, daemon.mirror, daemon.reconciler.rules),
            paused=lambda target: daemon.pauses.until("", target) is not False,
            asked_for=lambda container: asked(container, daemon.settings.heal) is not None,
            severity=self._severity, up=lambda: daemon.watch.up, listed=lambda: daemon.listed,
            clock=clock.wall, ill=self._telling.ill,
            needs=PersonNeeds(
                daemon.mirror, daemon.own.objects, daemon.incidents.open,
                lambda: daemon.reconciler.steps.unsettled, clock.wall_at, clock.wall,
            ),
        )  # fmt: skip
        facts = MessageFacts(
            daemon.engine, daemon.mirror, daemon.journal, self._why_not, self._next_try
        )
        return Parts(
            troubles=troubles, facts=facts, router=daemon.router, mirror=daemon.mirror,
            journal=daemon.journal, clock=clock,
        )  # fmt: skip

    def _severity(self, rule: str) -> Severity:
        found = self._daemon.rule(rule)
        return SEVERITIES[found.severity] if found is not None else Severity.WARNING

    def _why_not(self, container: Container) -> str:
        forbidden = self._daemon.guards.forbids(container)
        return forbidden.reason if forbidden is not None else "no rule acts on it"

    def _next_try(self, rule: str, target: str) -> float | None:
        found, mine = self._daemon.rule(rule), self._daemon.history.targets.get((rule, target))
        if found is None or mine is None or mine.breaker_at is None:
            return None
        return self._daemon.clock.wall_at(mine.breaker_at + rest_of(found.limits))
