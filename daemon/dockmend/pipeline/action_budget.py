"""The budget of actions: who may act next if more is to do than may be done.

Two budgets limit what dockmend does: a rule's `rate`, and the host's budget over everything. An
incident that finds one of them spent waits in its queue. The order is: open for the longest time
first, then most dependents first. When a place is free, one incident comes back to its worker,
not all of them. It is logged once: a host on which everything fails at once is one trouble and
not two hundred (docs/decisions/0008-the-hosts-budget.md).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from dockmend.decide import History, Host, WaitUntil, free_at, places, span_text
from dockmend.journal.records import Incident
from dockmend.pipeline.timers import Timers
from dockmend.rules.rule import Rule

log = structlog.get_logger("dockmend.budget")

FOR_EACH_DEPENDENT = 60.0
"""Seconds of waiting that each container which depends on the object counts for."""
LATEST = 30.0
"""Seconds after which a queue is looked at anyway: places that are kept may come free without a
word."""
HOST = ""
"""The key of the host's purse; a rule's is its name, which is never empty."""


@dataclass(slots=True)
class WaitingQueue:
    """What waits for one purse. `times`: of what was spent from it."""

    limit: tuple[int, float]
    times: Callable[[], Iterable[float]]
    whose: str
    what: str  # that it pays for
    # incident -> rank, places it takes
    waiting: dict[str, tuple[float, int]] = field(default_factory=dict)
    heap: list[tuple[float, str]] = field(default_factory=list)
    # let in, and not there yet: so many places are kept
    admitted: dict[str, int] = field(default_factory=dict)
    waited: int = 0
    since: float = 0.0

    @property
    def kept(self) -> int:
        return sum(self.admitted.values())

    def free(self, now: float) -> int:
        return places(self.times(), self.limit, now) - self.kept

    def first(self) -> tuple[str, int] | None:
        """Who is next, and how many places it takes."""
        while self.heap:
            rank, incident_id = self.heap[0]
            known = self.waiting.get(incident_id)
            if known is not None and known[0] == rank:
                return incident_id, known[1]
            heapq.heappop(self.heap)
        return None

    def let_in(self, incident_id: str, takes: int) -> None:
        self.waiting.pop(incident_id, None)
        self.admitted[incident_id] = takes

    @property
    def text(self) -> str:
        return (
            f"{self.whose} of {self.limit[0]} {self.what} per {span_text(self.limit[1])} is used up"
        )


@dataclass(slots=True)
class ActionBudget:
    """`submit(incident_id)` brings an incident back to its lane; `dependents` counts what depends
    on its object."""

    history: History
    host: Host
    clock: Callable[[], float]
    submit: Callable[[str], None]
    dependents: Callable[[Incident], int]
    timers: Timers = field(init=False)
    _queues: dict[str, WaitingQueue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock, self._due)

    def __contains__(self, incident_id: str) -> bool:
        """Whether an incident waits here."""
        return any(incident_id in queue.waiting for queue in self._queues.values())

    def rank(self, incident: Incident) -> float:
        """The lower, the sooner."""
        return incident.opened_at - FOR_EACH_DEPENDENT * self.dependents(incident)

    def ask(
        self, incident: Incident, rule: Rule, *, spends: int, rated: bool = True
    ) -> WaitUntil | None:
        """None: go on, and what is spent is to be counted before anything is awaited. Else it waits
        here.

        `spends`: actions that the host's budget pays for, all at once: what was begun is not held
        up in the middle. `rated`: whether the rule's rate counts it, as one.
        """
        for key, takes in ((rule.name, int(rated)), (HOST, spends)):
            queue = self._queue(key, rule) if takes else None
            if queue is not None and (wait := self._ask(queue, key, incident, takes)) is not None:
                return wait
        for key, queue in self._queues.items():
            queue.admitted.pop(incident.id, None)
            if queue.waiting:
                # once it is counted, it is known when the next place is free
                self.timers.set(key, self.clock())
        return None

    def rejoin(self, incident: Incident, rule: Rule | None) -> bool:
        """One that waited here when dockmend ended; False where it did not, or has nothing to wait
        for any more."""
        if rule is None or incident.waiting_for not in ("budget", "rate"):
            return False
        key, takes = (HOST, rule.costs) if incident.waiting_for == "budget" else (rule.name, 1)
        if incident.rung is not None:
            takes = 1  # a step of its escalation
        queue = self._queue(key, rule)
        if queue is None or not takes:
            return False
        self._put(queue, key, incident, takes)
        return True

    def release(self, incident_id: str) -> None:
        """It does not act after all: another may."""
        for key, queue in self._queues.items():
            if incident_id in queue.admitted or incident_id in queue.waiting:
                queue.admitted.pop(incident_id, None)
                queue.waiting.pop(incident_id, None)
                self._due(key)

    def _queue(self, key: str, rule: Rule) -> WaitingQueue | None:
        limit = self.host.budget if key == HOST else rule.limits.rate
        if limit is None:
            return None
        queue = self._queues.get(key)
        if queue is None:
            history = self.history
            if key == HOST:
                queue = WaitingQueue(limit, lambda: history.host, "the host's budget", "actions")
            else:
                queue = WaitingQueue(
                    limit, lambda: history.by_rule.get(key, ()), "the rule's rate", "attempts"
                )
            self._queues[key] = queue
        queue.limit = limit
        return queue

    def _ask(
        self, queue: WaitingQueue, key: str, incident: Incident, takes: int
    ) -> WaitUntil | None:
        now = self.clock()
        takes = min(takes, queue.limit[0])  # one of more than there are at all takes all of them
        if incident.id in queue.admitted:
            if places(queue.times(), queue.limit, now) >= takes:
                return None
            del queue.admitted[incident.id]
        elif not queue.waiting and queue.free(now) >= takes:
            queue.admitted[incident.id] = takes  # until all purses were asked
            return None
        self._put(queue, key, incident, takes)
        until = free_at(queue.times(), queue.limit, now, takes - 1) or now
        return WaitUntil(until, "budget" if key == HOST else "rate", queue.text)

    def _put(self, queue: WaitingQueue, key: str, incident: Incident, takes: int) -> None:
        if not queue.waiting:
            queue.waited, queue.since = 0, self.clock()
            log.warning(
                "more is to be done than may be done now: the rest waits, the oldest first",
                id="budget_exhausted",
                why=queue.text,
                rule=key or None,
            )
        queue.waited += 1
        rank = self.rank(incident)
        queue.waiting[incident.id] = rank, min(takes, queue.limit[0])
        heapq.heappush(queue.heap, (rank, incident.id))
        self._due(key)

    def _due(self, key: str) -> None:
        """As many are let in as there are places for; who takes several is not passed by those that
        take fewer."""
        queue, now = self._queues[key], self.clock()
        while (first := queue.first()) is not None and queue.free(now) >= first[1]:
            queue.let_in(*first)
            self.submit(first[0])
        if first is not None:
            at = free_at(queue.times(), queue.limit, now, queue.kept + first[1] - 1)
            self.timers.set(key, at if at is not None else now + LATEST)
        elif queue.waited:
            seconds = round(now - queue.since, 1)
            log.info(
                "everything that waited for the budget was let in",
                id="budget_free_again",
                waited=queue.waited,
                seconds=seconds,
                whose=queue.whose,
                rule=key or None,
            )
            queue.waited = 0
