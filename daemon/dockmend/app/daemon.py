"""The daemon: its parts, how they are put together, and its life from the first look to the last
word."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from dockmend import __version__, actions
from dockmend.app import resume
from dockmend.app.daemon_commands import DaemonCommands
from dockmend.app.degraded_parts import DegradedParts
from dockmend.app.healer_conflicts import OtherHealers
from dockmend.app.host_name import host_name, is_of_a_container, keep
from dockmend.app.image_cleanup import ImageCleanup
from dockmend.app.last_definitions import LastDefinitions
from dockmend.app.leadership import Leadership
from dockmend.app.leftovers import Leftovers
from dockmend.app.memory_trimming import keep_small
from dockmend.app.message_delivery import MessageDelivery
from dockmend.app.messages import Messages, messenger_of, router_of, telling_of, where_of
from dockmend.app.pauses import Pauses
from dockmend.app.persistence import Persistence
from dockmend.app.recreation_leftovers import RecreationLeftovers
from dockmend.app.reloading import Reloading
from dockmend.app.rule_store import RuleStore
from dockmend.app.supervision import every, forever
from dockmend.app.unwell import Unwell, unwell
from dockmend.app.watchdog import feed
from dockmend.cancelling import end_all
from dockmend.control.socket_server import SocketServer
from dockmend.decide import History, Host, Suppress
from dockmend.engine.engine_api import PODMAN, Engine
from dockmend.engine.read_only_gate import ActingSwitch, gated
from dockmend.errors import JournalError
from dockmend.guards import Guards
from dockmend.journal.journal_api import Journal
from dockmend.mirror import Mirror
from dockmend.mirror.proven_names import ProvenNames
from dockmend.model import Change, Container
from dockmend.observer import Observers
from dockmend.own_container import in_container, own_containers
from dockmend.ownership import Ownership
from dockmend.pipeline.dependent_counts import DependentCounts
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.hub import Hub, PipelineParts
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import KeyedWorkers
from dockmend.pipeline.list_watch import ListWatch
from dockmend.pipeline.reconciler import Reconciler
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.pipeline.self_check import SelfCheck
from dockmend.pipeline.step_runner import StepRunner
from dockmend.pipeline.wakeups import Wakeups
from dockmend.rules.healer_images import healers_changed
from dockmend.rules.label_rules import begins_to_ask
from dockmend.rules.rule import Rule
from dockmend.settings import Policy, Settings
from dockmend.tell.incident_log import LogTeller
from dockmend.tell.label_errors import LabelErrors
from dockmend.tell.metrics import Metrics
from dockmend.tell.notify_systemd import Notifier
from dockmend.tell.null_publisher import NullPublisher
from dockmend.timekeeping import Clock
from dockmend.triggers.schedule import Schedules

if TYPE_CHECKING:
    from dockmend.tell.mqtt import MqttTeller

log = structlog.get_logger("dockmend")

CLOCK_EVERY = 5.0
"""Seconds between looks at whether the clock was set."""


class Daemon:
    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        journal: Journal,
        *,
        clock: Clock,
        dice: random.Random,
        policy: Callable[[], Policy] | None = None,
        turn: Leadership | None = None,
    ) -> None:
        """`policy` reads the settings' policy again; without it, it stays what it is. `turn`: whose
        turn it is to act; without it, it is this one's."""
        self.turn = turn or Leadership(None)
        self.settings = settings = settings.model_copy(
            update={"dry_run": settings.dry_run or self.turn.holder is not None}
        )
        why_not = self.turn.why_not or ("this is a dry run" if settings.dry_run else "")
        ungated = engine
        self.engine = engine = gated(engine, ActingSwitch(why_not, settings.only))
        self.journal = journal
        self.clock = clock
        self.dice = dice
        self.started_at = clock.wall()
        self.host = host_name(settings)
        self.metrics = Metrics(__version__)
        self.times: resume.Times
        self.notifier = Notifier(os.environ)
        self.standing = DegradedParts(self.notifier)
        self.degraded = self.standing.parts
        self.rules = RuleStore(settings, self.host, clock.wall)
        self.mqtt = self._mqtt()
        self.label_errors = LabelErrors(frozenset(settings.notify), self._name_labels)
        self.where = where_of(self)
        self.telling = telling_of(self)
        self.observer = Observers(
            self.metrics,
            LogTeller(self._is_covered),
            self.standing,
            self.label_errors,
            *(each for each in (self.mqtt, self.telling) if each is not None),
        )
        self.message_delivery = MessageDelivery(
            settings, journal, self.metrics, self.degraded, clock, dice
        )
        self.router = router_of(self)
        self.pauses = Pauses(clock, self.observer.paused)
        self.wakeups = Wakeups()
        self.own = Ownership(engine, journal, clock.wall)
        self.mirror = Mirror(settings.unknown_cause, self.observer.container, self.own.objects)
        ungated.names = ProvenNames(self.own.objects, self.mirror.identities)
        self.incidents = Incidents(journal, self.observer, clock, dice)
        self.guards = Guards(settings.policy, own_containers(), self.own.objects, settings.only)
        self.history = History()
        self.definitions = LastDefinitions(engine, journal, self.mirror, clock)
        self.hub: Hub
        self.dispatcher: Dispatcher
        self.reconciler: Reconciler
        self.watch: ListWatch
        self.persistence: Persistence
        self.schedules: Schedules
        self.self_check: SelfCheck
        self.leftovers = Leftovers(self.own, self.incidents, settings.paths.snapshots)
        self.image_cleanup = ImageCleanup(self.own, self.incidents, settings.dry_run)
        self.reloading = Reloading(self, policy or (lambda: settings.policy))
        self._listed = asyncio.Event()
        acts = not settings.dry_run and not settings.only
        known = acts and (self.guards.own or not in_container())
        self.healers = OtherHealers(
            self.mirror,
            self.rules,
            self.reloading.put_in_force,
            self.guards.is_own if known else None,
        )

    def _mqtt(self) -> MqttTeller | None:
        if self.settings.mqtt is None:
            return None
        from dockmend.tell.mqtt import MqttTeller  # noqa: PLC0415 - its client is loaded only where there is a broker

        return MqttTeller(
            self.settings.mqtt, self.settings.mqtt_password, self.host,
            on_state=self._mqtt_state, on_drop=lambda count: self.metrics.dropped("mqtt", count),
        )  # fmt: skip

    def _mqtt_state(self, up: bool, why: str) -> None:
        self.metrics.mqtt_connected(up)
        self.observer.degraded("mqtt", None if up else why)

    def _container_changed(self, before: Container | None, after: Container | None) -> None:
        self.observer.container(before, after)
        self.hub.container_changed(before, after)
        if not self._listed.is_set():
            return
        if before is None and after is not None:
            self.healers.appeared(after)
        if healers_changed(before, after):
            self.healers.changed.set()
        if begins_to_ask(before, after):
            self.hub.reoffering.ask()

    def _name_labels(self) -> Iterable[str]:
        """Texts in which a label may be named: what none of them names, nothing reads."""
        return *(
            text.decode(errors="replace") for text in self.rules.texts.values()
        ), *self.guards.policy.protect.labels

    # --- life -------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, shutdown: float) -> None:
        """Until `stop` is set or its turn is over; then running actions have `shutdown` seconds."""
        await self.journal.open()
        try:
            rules = await self.rules.start()
            if self.turn.holder is not None:
                self.observer.degraded("acting", self.turn.why_not)
            self.own.objects.load(await self.journal.instance(), await self.journal.owned())
            known = await resume.known_state(self.journal, self.mirror, self.clock)
            self.times = resume.Times(known.moved, self.clock())
            await self.message_delivery.take_up(known.moved)
            self.history = await resume.history_of(self.journal, self.times, self.rules.looks_back)
            await resume.tell_own_doing(self.journal, self.mirror, known)
            pauses = [self.times.pause(pause) for pause in await self.journal.pauses()]
            self.pauses = Pauses(self.clock, self.observer.paused, pauses)
            for (rule, target), mine in self.history.targets.items():
                if mine.breaker_at is not None:
                    self.observer.breaker_known(rule, target)
            async with KeyedWorkers(self._lane_failed) as lanes:
                self._assemble(lanes)
                self.watch.cursor = known.cursor
                self.schedules.take_up(known.fired, known.moved)
                self.reloading.put_in_force(rules)
                self.observer.reloaded(ok=self.rules.degraded is None, at=self.clock.wall())
                try:
                    await self._run_parts(lanes, stop, shutdown)
                finally:
                    self.persistence.persist()
        finally:
            await self.journal.close()

    async def _run_parts(self, lanes: KeyedWorkers, stop: asyncio.Event, shutdown: float) -> None:
        async with asyncio.TaskGroup() as group:
            parts = [
                group.create_task(forever(name, part, self.clock), name=name)
                for name, part in self._parts()
            ]
            # Ready is not "connected": dockmend outlives the engine and waits for it (that is
            # /readyz's word).
            self.notifier.ready("looking for the engine")
            ends = [group.create_task(stop.wait()), group.create_task(self.turn.over.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                self.notifier.stopping()
                log.info("stopping: running actions may end", id="stopping", seconds=shutdown)
            await self._stop(lanes, shutdown)
            await end_all([*parts, *ends])

    def _assemble(self, lanes: KeyedWorkers) -> None:
        settings, clock = self.settings, self.clock
        dependents = DependentCounts(self.mirror, clock)
        steps = StepRunner(
            engine=self.engine, own=self.own, mirror=self.mirror, journal=self.journal,
            incidents=self.incidents, observer=self.observer, guards=self.guards,
            teller=self.mqtt or NullPublisher(), state=settings.paths.state,
            bind_roots=settings.snapshots.bind_roots, host=self.host, clock=clock,
            definition=self.definitions.of, messenger=messenger_of(self),
            reserve=settings.snapshots.reserve,
        )  # fmt: skip
        self.hub = Hub(
            PipelineParts(
                steps=steps, incidents=self.incidents, mirror=self.mirror, workers=lanes,
                history=self.history, guards=self.guards, observer=self.observer,
                wakeups=self.wakeups, host=Host(settings.limits.rate, self.pauses.until),
                clock=clock, dice=self.dice, parallel=settings.limits.parallel,
                rules=RulesInForce(self.mirror), host_name=self.host, dry_run=settings.dry_run,
                dependents=lambda incident: dependents(incident.object_id),
                at_closing=(self.image_cleanup, self.leftovers),
            ),
            self._follow,
        )  # fmt: skip
        self.dispatcher, self.reconciler = self.hub.dispatcher, self.hub.reconciler
        # before, only the observers hear of changes
        self.mirror.on_container = self._container_changed
        self.mirror.on_gone = self.hub.gone
        self.mirror.on_settled = self.wakeups.settled
        self.persistence = Persistence(
            self.journal,
            self.incidents.backlog,
            self.mirror,
            self.observer,
            clock,
            lambda: self.watch.cursor,
        )
        self.incidents.began = self.persistence.began
        steps.keep, steps.put_identities = self.persistence.keep, self.persistence.put_identities
        self.self_check = SelfCheck(
            self.engine, self.mirror, self.dispatcher, self.reconciler, self.observer, clock.wall,
            self.dice, self.hub.offer, lambda: self.watch.up,
        )  # fmt: skip
        self.schedules = Schedules(
            self.mirror, self.dispatcher.fire, clock, self.persistence.schedule_fired
        )

    def _follow(self, hub: Hub) -> ListWatch:
        # The mirror is of the engine, and the engine's stamps follow the wall clock.
        self.watch = ListWatch(
            self.engine,
            self.mirror,
            hub.offer,
            self.observer,
            self.clock.wall,
            self.dice,
            self._first_listed,
            hub.again,
        )
        return self.watch

    def _parts(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("watch", self.watch.run),
            ("timers", self.reconciler.timers.run),
            ("breakers", partial(self._once_listed, self.reconciler.breakers.timers.run)),
            ("budget", self.reconciler.action_budget.timers.run),
            ("self-check", self.self_check.run),
            ("clock", partial(every, CLOCK_EVERY, self.look_at_the_clock)),
            ("schedules", partial(self._once_listed, self.schedules.run)),
            ("standing", partial(self._once_listed, self.hub.reoffering.run)),
            ("turn", self.turn.run),
            ("spare images", partial(self._once_listed, self.image_cleanup.run)),
            *(
                []
                if self.settings.dry_run
                else [("leftovers", partial(self._once_listed, self.leftovers.run))]
            ),
            ("state", self.persistence.run),
            ("definitions", self.definitions.run),
            ("reload", self.reloading.run),
            (
                "other healers",
                partial(self._once_listed, partial(self.healers.follow, self.hub.reoffering.ask)),
            ),
            ("rules folder", partial(self.rules.watch, self.reloading.ask)),
            (
                "housekeeping",
                partial(self.persistence.housekeeping, self.history, lambda: self.rules.looks_back),
            ),
            ("memory", keep_small),
            ("pauses", self.pauses.run),
            ("command socket", self._serve_commands),
            *self.message_delivery.parts(),
        ]
        if self.mqtt is not None:
            parts.append(("mqtt", self.mqtt.run))
        if self.telling is not None:
            # From the beginning: an engine that is away then is what a person has to hear of.
            parts.append(("messages", Messages(self, self.telling).run))
        if self.settings.http.listen is not None or self.settings.http.metrics_listen is not None:
            parts.append(("http", self._serve_http))
        if self.notifier.watchdog is not None:
            parts.append(
                ("watchdog", partial(feed, self.notifier, lambda: self.watch.progress, self.clock))
            )
        return parts

    async def _serve_http(self) -> None:
        from dockmend.app.http_answers import HttpAnswers  # noqa: PLC0415 - loaded only where there is a page to show
        from dockmend.web.http_server import WebServer  # noqa: PLC0415 - the same
        from dockmend.web.tokens import Tokens, tokens_of  # noqa: PLC0415 - the same

        http = self.settings.http
        tokens = (
            await asyncio.to_thread(tokens_of, self.settings)
            if http.listen is not None
            else Tokens()
        )
        for problem in tokens.problems:
            log.error(
                "a token of the HTTP server is missing", id="http_token_missing", error=problem
            )
        await WebServer(http, HttpAnswers(self), tokens).run()

    async def _serve_commands(self) -> None:
        async with SocketServer(self.settings.paths.socket, DaemonCommands(self)):
            await asyncio.Event().wait()

    async def _stop(self, lanes: KeyedWorkers, shutdown: float) -> None:
        self.dispatcher.open = False
        self.reconciler.stop()
        if not await lanes.drained(shutdown):
            log.warning(
                "actions still ran: they are settled at the next start", id="actions_cut_off"
            )

    # --- the stream of changes --------------------------------------------------------------------

    def _is_covered(self, change: Change) -> bool:
        """Whether a rule is about its object at all."""
        return self.dispatcher.matcher.is_covered(change)

    def unwell(self) -> list[Unwell]:
        """Every container that is not well, and is meant to run."""
        return unwell(self.mirror, self._acts_on, self.own.objects.hides, self.clock.wall())

    def _acts_on(self, change: Change) -> bool:
        """Whether a rule would do something about a trouble, as far as what forbids it goes by."""
        now = self.clock.wall()
        return any(
            rule.remedies and not rule.dry_run
            and not isinstance(self.guards.may(rule, change, now, self.host), Suppress)
            for rule in self.dispatcher.matcher.candidates(change)
        )  # fmt: skip

    async def _first_listed(self) -> None:
        """After each connection's first list, before anything is offered."""
        assert self.watch.info is not None
        if not self.turn.look(self.watch.info.identity):
            # nothing more is done by this daemon: it ends, and another one is built
            await asyncio.Event().wait()
        # topics and rules keep what they began with; messages need not
        if is_of_a_container(self.host):
            self.where.host = self.watch.info.name or self.host
        if self._listed.is_set():
            self.reconciler.engine_back()
            self.image_cleanup.due.set()
            self.leftovers.due.set()
            return
        await asyncio.to_thread(keep, self.settings.paths.state, self.watch.info.name)
        self.healers.heed()
        if self.watch.info.product == PODMAN:
            log.warning(
                "this is Podman: a person's stop can look like a crash to dockmend, see "
                "docs/engines.md",
                id="engine_is_podman",
            )
        shadow = self.settings.dry_run
        aside = RecreationLeftovers(
            self.engine, self.own, self.journal, self.mirror, self.incidents, self.guards
        )

        async def settled(incident_id: str) -> None:
            await aside.settled(incident_id)
            self.leftovers.due.set()
            self.image_cleanup.due.set()

        await resume.take_up(
            self.journal,
            self.incidents,
            self.reconciler,
            self.times,
            shadow=shadow,
            settled=settled,
        )
        if not self.settings.only:
            aside.tell()
        if not shadow:
            await aside.put_right()
            await self.leftovers.at_start()
        self.persistence.persist()
        with contextlib.suppress(JournalError):  # told by the writer; nothing is done without it
            # from now on nothing that ends is history that nobody knew
            await self.journal.committed()
        self.dispatcher.open = True
        self._listed.set()
        if self.telling is not None:
            self.telling.listed()
        self.standing.usual = (
            f"watching {len(self.mirror.entries)} containers by "
            f"{len(self.rules.current.rules)} rules"
        )
        self.standing.tell()

    @property
    def listed(self) -> bool:
        """Whether the engine was listed for the first time, and what it showed is on disk."""
        return self._listed.is_set()

    def _lane_failed(self, lane: str, error: Exception) -> None:
        log.error(
            "a fault of dockmend's own while treating",
            id="treatment_fault",
            target=lane,
            exc_info=error,
        )

    async def _once_listed(self, part: Callable[[], Awaitable[None]]) -> None:
        await self._listed.wait()
        await part()

    # --- watching over it -------------------------------------------------------------------------

    def look_at_the_clock(self) -> None:
        """Whether the clock on the wall was set: what goes by it is looked at anew."""
        by = self.clock.set_by()
        if by:
            log.warning(
                "the clock was set: limits and timers go by what elapses",
                id="clock_set",
                seconds=by,
            )
            self.mirror.clock_set(by)
            self.reconciler.look_again("window")

    def rule(self, name: str) -> Rule | None:
        return self.rules.current.by_name(name)


actions.load()
