"""The self-check: does what the engine says, the mirror holds and the incidents tell agree?

Nothing should be missed: the stream is read, gaps are noticed, lists are read anew. This asks
whether that is so, now and then, of a list of its own: a container of which the mirror has another
idea, a trouble that stands although its last incident says that all is well, an open incident that
nothing will wake. Each may be a race, so it is looked at again a little later; what is found then
is mended the ordinary way, by offering it to the rules, and is counted in
`dockmend_event_gaps_total{cause="self_check"}`. What is left alone for a reason stays left alone:
an open incident, a limit, a breaker, a person's stop, a suppression all answer for their trouble.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineError, NotFound
from dockmend.mirror import Mirror
from dockmend.model import Change, Container
from dockmend.observer import Observer
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.reconciler import Reconciler
from dockmend.rules.matcher import order_remedies
from dockmend.rules.rule import Rule

log = structlog.get_logger("dockmend.self_check")

EVERY = 600.0
"""Seconds between two checks, give or take a quarter: hosts that were started together do not check
together."""
RACE = 5.0
"""Seconds after which what seemed wrong is looked at again: events, and inspects they ask for, are
on their way."""
SAYS_WELL = frozenset({"healed", "recovered", "interrupted"})
"""Outcomes after which a trouble must not stand. All others are reasons to leave it."""


@dataclass(slots=True)
class SelfCheck:
    """`wall`: the engine's kind of time. `offer` gets what the mirror learns by it; `up`: whether
    the stream is."""

    engine: Engine
    mirror: Mirror
    dispatcher: Dispatcher
    reconciler: Reconciler
    observer: Observer
    wall: Callable[[], float]
    dice: random.Random
    offer: Callable[[Iterable[Change]], None]
    up: Callable[[], bool]
    race: float = field(default=RACE)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY * (0.75 + 0.5 * self.dice.random()))
            if self.up() and self.dispatcher.open:
                try:
                    await self.once()
                except EngineError as error:
                    log.info(
                        "the self-check comes later: the engine does not answer",
                        id="self_check_postponed",
                        error=str(error),
                    )

    async def once(self) -> int:
        """One check; returns how many things had been missed. Raises EngineError."""
        unlike = await self._unlike()
        claimed = {(rule.name, change.trouble) for rule, change in self._unanswered()}
        forgotten = set(self.reconciler.forgotten())
        if not unlike and not claimed and not forgotten:
            return 0
        await asyncio.sleep(self.race)
        found = 0
        for container_id in unlike:
            found += await self._look(container_id)
        for rule, change in list(self._unanswered()):
            if (rule.name, change.trouble) in claimed:
                found += self._offer_again(rule, change)
        for incident_id in forgotten & set(self.reconciler.forgotten()):
            found += 1
            self._gap("an open incident that nothing would have woken", incident=incident_id)
            self.reconciler.submit(incident_id)
        return found

    # --- what the engine says ---------------------------------------------------------------------

    async def _unlike(self) -> list[str]:
        """Containers of which the mirror has another idea than a fresh list."""
        listing = await self.engine.listing()
        listed = {each.id: each for each in listing.containers}
        gone = self.mirror.entries.keys() - listed.keys() - set(listing.unread)
        return [
            *(
                each.id
                for each in listed.values()
                if _differs(self.mirror.container(each.id), each)
            ),
            *gone,
        ]

    async def _look(self, container_id: str) -> int:
        before = self.mirror.container(container_id)
        if before is not None and self.reconciler.at_work(container_id):
            return 0  # dockmend's own doing: what comes of it is verified
        try:
            seen = await self.engine.inspect(container_id)
        except NotFound:
            if self.mirror.container(container_id) is None:
                return 0
            self._gap(
                "a container that is gone was still taken to be there", container=_name(before)
            )
            self.offer(self.mirror.gone(container_id, self.wall(), "relisted"))
            return 1
        if before is not None and self.mirror.container(container_id) is None:
            return 0  # it was removed before the answer came
        if not _differs(self.mirror.container(container_id), seen):
            return 0
        self._gap(
            "a change of a container was missed", container=seen.name,
            is_now=f"{seen.state} {seen.health}".strip(),
            taken_for=f"{before.state} {before.health}".strip() if before is not None
                else "unknown",
        )  # fmt: skip
        self.offer(self.mirror.observe(seen, self.wall(), "relisted", blind=True))
        return 1

    # --- what the incidents tell ------------------------------------------------------------------

    def _unanswered(self) -> Iterable[tuple[Rule, Change]]:
        """Troubles that stand, which a rule covers, and for which nothing answers."""
        incidents = self.dispatcher.incidents
        for change in self.mirror.standing():
            remedies = [
                rule for rule in self.dispatcher.matcher.candidates(change) if rule.remedies
            ]
            if not remedies or any(incidents.about(rule.name, change) for rule in remedies):
                continue
            if self.reconciler.follows_from(change) is not None:
                continue
            rule = order_remedies(remedies)[0][0]
            last = incidents.last_of(rule.name, change.target)
            if last in SAYS_WELL or (
                last is None and not incidents.answered(rule.name, change.trouble)
            ):
                yield rule, change

    def _offer_again(self, rule: Rule, change: Change) -> int:
        """It is a find where the rule takes it on: else a condition, its hours or a person's will
        answer for it."""
        incidents = self.dispatcher.incidents
        incidents.forget_trouble(rule.name, change.trouble)
        self.dispatcher.again(change)
        if incidents.of(rule.name, change.target) is None:
            return 0
        self._gap(
            "a trouble stood that nothing answered",
            rule=rule.name,
            target=change.target,
            trouble=change.trouble,
        )
        return 1

    def _gap(self, what: str, **about: str) -> None:
        log.warning(
            "the self-check found what was missed", id="self_check_found", what=what, **about
        )
        self.observer.gap("self_check")


def _differs(known: Container | None, seen: Container) -> bool:
    """Whether what rules ask about is another."""
    if known is None:
        return True
    return (known.state, known.health, known.started_at, known.networks.keys()) != (
        seen.state, seen.health, seen.started_at, seen.networks.keys(),
    )  # fmt: skip


def _name(container: Container | None) -> str:
    return container.name if container is not None else ""
