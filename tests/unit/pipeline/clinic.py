"""A clinic: the real pipeline around a mirror, an engine from a script, a journal in memory, a
clock that is set."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from dockmend import actions
from dockmend.decide import History, Host
from dockmend.errors import JournalError
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord, Breaker, Incident
from dockmend.mirror import Mirror
from dockmend.model import Actor, Change, Container, Event, HealthCheck
from dockmend.observer import Observer
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.hub import Hub, PipelineParts
from dockmend.pipeline.incidents import Incidents
from dockmend.pipeline.keyed_workers import KeyedWorkers
from dockmend.pipeline.reconciler import Reconciler
from dockmend.pipeline.rules_in_force import RulesInForce
from dockmend.pipeline.step_runner import StepRunner
from dockmend.pipeline.wakeups import Wakeups
from dockmend.rules.label_rules import Setting, with_label_rules
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import RuleSet
from dockmend.settings import Policy
from dockmend.timekeeping import Clock
from tests.fakes.owning import owning
from tests.unit.actions.stage import ID, Script

actions.load()

TARGET = "container:web"
WEB = Container(
    id=ID,
    name="web",
    state="running",
    health="healthy",
    started_at=900.0,
    created_at=900.0,
    check=HealthCheck(1, 1, 0, 1),
)
HEAL = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
"""


class Records:
    """The journal in memory. `full`: takes no more puts; `broken`: its disk writes nothing."""

    def __init__(self) -> None:
        self.incidents: dict[str, Incident] = {}
        self.actions: dict[str, ActionRecord] = {}
        self.breakers: dict[str, Breaker | None] = {}
        self.known: dict[str, bytes | None] = {}
        self.resets: dict[tuple[str, str], float] = {}
        self.full = self.broken = False
        self.aside: Path | None = None
        self.on_commit: Callable[[], None] = lambda: None

    @property
    def healthy(self) -> bool:
        return not (self.full or self.broken)

    @property
    def failure(self) -> str:
        return "" if self.healthy else "the disk is full"

    @property
    def set_aside(self) -> Path | None:
        return self.aside

    def _room(self) -> None:
        if self.full:
            raise JournalError("20000 records wait for the disk")

    def put_incident(self, incident: Incident) -> None:
        self._room()
        self.incidents[incident.id] = incident

    def put_action(self, record: ActionRecord) -> None:
        self._room()
        self.actions[record.id] = record

    def put_breaker(self, breaker: Breaker | None, rule: str, target: str) -> None:
        self._room()
        self.breakers[f"{rule} {target}"] = breaker

    def put_reset(self, rule: str, target: str, at: float) -> None:
        self._room()
        self.resets[rule, target] = at

    def put_known(self, key: str, value: bytes | None) -> None:
        self._room()
        self.known[key] = value

    async def committed(self) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise JournalError("the disk is full")
        self.on_commit()


class Told(Observer):
    """What the observers were told."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str, str, str]] = []
        self.breakers: list[bool] = []
        self.ill: dict[str, str | None] = {}

    def decision(self, rule: str, decision: str, reason: str) -> None:
        self.decisions.append((rule, decision, reason))

    def breaker(self, rule: str, target: str, opened: bool) -> None:
        self.breakers.append(opened)

    def degraded(self, part: str, why: str | None) -> None:
        self.ill[part] = why


class Beat(Wakeups):
    """A pulse whose waits move the clock instead of taking time, unless `real`."""

    def __init__(self, clinic: Clinic) -> None:
        super().__init__()
        self._clinic = clinic
        self.real = False

    async def wait(self, target: str, timeout: float, *more: str) -> None:
        if self.real:
            await super().wait(target, 30.0, *more)
            return
        self._clinic.now += timeout
        await asyncio.sleep(0)
        self._clinic.tick()


@dataclass
class Clinic:
    """`now` is the clock, which nobody can set; `set_by`: how far the wall clock was set since the
    start; `health_after`: what a restart does to the patient's health."""

    rules: RuleSet
    policy: Policy
    budget: tuple[int, float] | None = (30, 60.0)
    dry_run: bool = False
    parallel: int = 4
    now: float = 1000.0
    set_by: float = 0.0
    dependents: dict[str, int] = field(default_factory=dict)
    engine: Script = field(default_factory=Script)
    journal: Records = field(default_factory=Records)
    told: Told = field(default_factory=Told)
    mirror: Mirror = field(default_factory=Mirror)
    history: History = field(default_factory=History)
    paused: Any = False
    faults: list[Exception] = field(default_factory=list)
    published: list[tuple[str, str]] = field(default_factory=list)
    health_after: str = "healthy"
    clock: Clock = field(init=False)
    incidents: Incidents = field(init=False)
    reconciler: Reconciler = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    hub: Hub = field(init=False)
    wakeups: Beat = field(init=False)
    lanes: KeyedWorkers = field(init=False)

    def build(self, lanes: KeyedWorkers) -> None:
        dice = random.Random(1)
        self.clock = Clock(lambda: self.now + self.set_by, lambda: self.now, "boot")
        self.lanes, self.wakeups = lanes, Beat(self)
        self.mirror.on_settled = self.wakeups.settled
        guards = Guards(self.policy)
        self.incidents = Incidents(cast("Any", self.journal), self.told, self.clock, dice)
        steps = StepRunner(
            engine=cast("Any", self.engine), own=owning(self.engine), mirror=self.mirror,
            journal=cast("Any", self.journal),
            incidents=self.incidents, observer=self.told, guards=guards, teller=self,
            state=Path("/nonexistent"), bind_roots=(), host="host", clock=self.clock,
        )  # fmt: skip
        self.hub = Hub(
            PipelineParts(
                steps=steps, incidents=self.incidents, mirror=self.mirror, workers=lanes,
                history=self.history, guards=guards, observer=self.told, wakeups=self.wakeups,
                host=Host(self.budget, self._paused), clock=self.clock, dice=dice,
                parallel=self.parallel, rules=RulesInForce(self.mirror, self.rules),
                host_name="host", dry_run=self.dry_run,
                dependents=lambda incident: self.dependents.get(incident.object_name, 0),
            ),
            lambda hub: self,
        )  # fmt: skip
        self.mirror.on_container = self.hub.container_changed
        self.reconciler, self.dispatcher = self.hub.reconciler, self.hub.dispatcher
        self.dispatcher.use(self.rules)
        self.dispatcher.open = True
        self.engine.containers = {ID: WEB}
        self.engine.on = {"restart": self._restarted, "start": self._started, "stop": self._stopped}
        self.mirror.relist([WEB], [], [], self.now, "started")

    def _paused(self, rule: str, target: str) -> Any:
        return self.paused(rule, target) if callable(self.paused) else self.paused

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.published.append((topic, payload))

    # --- what happens -----------------------------------------------------------------------------

    def learn_from(self, container: Container, asked: int | None = None) -> None:
        self.offer(self.mirror.observe(container, self.clock.wall()))

    def offer(self, changes: Iterable[Change]) -> None:
        self.hub.offer(list(changes))

    def tick(self) -> None:
        self.offer(self.mirror.tick(self.clock.wall()))

    def emit(self, action: str, **attributes: str) -> None:
        self.now += 0.001  # no two events have one stamp
        event = Event("container", action, Actor(ID, attributes), int(self.clock.wall() * 1e9))
        self.offer(self.mirror.apply(event, self.clock.wall()))

    def look(self) -> None:
        """What events made doubtful is inspected, as the watch does."""
        while self.mirror.wanted:
            self.learn_from(self.engine.containers[self.mirror.wanted.pop()])

    def sicken(self) -> None:
        self.engine.set(health="unhealthy")
        self.emit("health_status: unhealthy")
        self.look()

    def cure(self) -> None:
        self.engine.set(health="healthy")
        self.emit("health_status: healthy")
        self.look()

    def _restarted(self) -> None:
        self.now += 0.5
        if self.engine.containers[ID].running:
            for action in ("kill", "die", "stop"):
                self.emit(action, signal="15", exitCode="0")
        self._began()
        self.emit("restart")

    def _started(self) -> None:
        self.now += 0.5
        self._began()

    def _began(self) -> None:
        self.engine.set(state="running", started_at=self.now, health=self.health_after)
        self.emit("start")  # a little later than inspect says

    def _stopped(self) -> None:
        for action in ("kill", "die", "stop"):
            self.emit(action, signal="15", exitCode="143")
        self.engine.set(state="exited", exit_code=143, finished_at=self.now, health="")

    def swallow_a_stop(self) -> None:
        """From now on a person stops the container in the middle of each of dockmend's restarts,
        which loses that."""
        restart = self.engine.on["restart"]

        def stopped_meanwhile() -> None:
            self.emit("stop")
            restart()

        self.engine.on["restart"] = stopped_meanwhile

    # --- waiting ----------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Until no lane has work."""
        assert await self.lanes.drained(10.0)

    async def later(self, times: int = 1) -> None:
        """The next timers become due, one after another."""
        for _ in range(times):
            timers = self.reconciler.timers
            assert timers._at, "nothing waits"
            key, at = min(timers._at.items(), key=lambda item: item[1])
            self.now = max(self.now, at)
            del timers._at[key]
            self.reconciler.submit(key)
            await self.quiet()

    async def places_come_free(self) -> None:
        """What waits for the host's budget, or for a rate, is let in as far as there is room."""
        action_budget = self.reconciler.action_budget
        key, at = min(action_budget.timers._at.items(), key=lambda item: item[1])
        self.now = max(self.now, at)
        action_budget.timers.drop(key)
        action_budget._due(key)
        await self.quiet()

    async def breaker_due(self) -> None:
        """The next thing a breaker waits for has come."""
        timers = self.reconciler.breakers.timers
        key, at = min(timers._at.items(), key=lambda item: item[1])
        self.now = max(self.now, at)
        del timers._at[key]
        timers._due(key)
        await self.quiet()

    def only(self) -> Incident:
        """The one incident there is, as the journal has it."""
        (incident,) = self.journal.incidents.values()
        return incident

    def last(self) -> Incident:
        return list(self.journal.incidents.values())[-1]

    @property
    def restarts(self) -> int:
        return self.engine.did().count("restart")


async def until(holds: Callable[[], object]) -> None:
    """Lets other tasks run until something holds."""
    for _ in range(100_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to hold")


@asynccontextmanager
async def clinic(
    text: str = HEAL, policy: dict[str, Any] | None = None, *, heal: Setting = "off", **more: Any
) -> AsyncIterator[Clinic]:
    """A clinic whose web container runs and is well; `heal`: what labels are to do beside the rules
    of `text`. A fault of the pipeline's own fails the test."""
    rules = with_label_rules(load_texts({"rules.yaml": text}, host="host"), heal)
    one = Clinic(
        rules,
        Policy.model_validate(policy or {}),
        **more,
    )
    async with KeyedWorkers(lambda lane, error: one.faults.append(error)) as lanes:
        one.build(lanes)
        yield one
    assert one.faults == []
    # nothing of what is closed
    assert set(one.reconciler.attempt_ends.states.known()) <= set(one.incidents.open)


def rule_text(**more: Any) -> str:
    """HEAL with more keys, each as YAML's flow text."""
    return HEAL + "".join(f"    {key}: {value}\n" for key, value in more.items())


__all__ = [
    "HEAL",
    "ID",
    "TARGET",
    "WEB",
    "Clinic",
    "Records",
    "clinic",
    "replace",
    "rule_text",
    "until",
]
