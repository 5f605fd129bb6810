"""The dispatcher: which rules answer a change, which of them may act, and what becomes of the
others.

This is the hot path. All that can be done when rules are loaded is done there, and nothing here
waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, Protocol

from msgspec.structs import replace

from dockmend.decide import ACT, Act, Suppress, WaitUntil, begins_a_task
from dockmend.guards import Guards
from dockmend.journal.records import Incident, Outcome
from dockmend.model import Change, Container, Object
from dockmend.observer import Observer
from dockmend.pipeline.incidents import Incidents
from dockmend.rules.matcher import Matcher, Owners, order_remedies
from dockmend.rules.rule import Rule, RuleSet

QUEUED_AT_MOST = 16
"""Triggers that `mode: queued` keeps for one rule and target."""
REFUSED_KEPT = 64
"""Troubles kept for each target that came up while an incident was open."""
COUNTED_KEPT = 20_000
"""Rules and targets for which occurrences are counted (`times`)."""
STARTED = "container.started"
"""By somebody else than dockmend."""
GONE = frozenset({"container.missing", "network.missing", "volume.missing"})
"""The last that is ever said of an object: what was remembered of it for the matching is
dropped."""


class Treats(Protocol):
    """What intake hands an incident to."""

    def keep(self, incident: Incident, subject: Object | None) -> None: ...
    def submit(self, incident_id: str) -> None: ...
    def hold(self, incident: Incident, wait: WaitUntil) -> None: ...
    def supersede(self, incident_id: str, reason: str) -> None: ...
    def renew(self, subject: Object | None) -> None: ...
    def refuses(self, rule: Rule, target: str) -> Suppress | None: ...
    def in_the_way(
        self, rule: Rule, subject: Object | None, *, even_if_stopped: bool
    ) -> Suppress | None: ...
    def follows_from(self, change: Change) -> str | None: ...
    def removed(self, target: str) -> None: ...
    def needed_no_more(self, container: Container) -> None: ...


class HeldChange(Enum):
    """The rule begins no incident: one of its own is open for the target and answers this
    trouble."""

    HELD = "held"


HELD: Final = HeldChange.HELD


class Dispatcher:
    def __init__(
        self,
        incidents: Incidents,
        treats: Treats,
        guards: Guards,
        observer: Observer,
        host: str,
        dry_run: bool = False,
        wall: Callable[[], float] | None = None,
        owners: Owners | None = None,
    ) -> None:
        self.incidents = incidents
        self.treats = treats
        self.guards = guards
        self.observer = observer
        self.host = host
        self.dry_run = dry_run
        self.wall = wall or incidents.clock  # windows and conditions go by the clock on the wall
        self.open = False  # until everything that was open at the last end has been taken up
        self.rules = RuleSet()
        self._owners = owners
        self.matcher = Matcher(self.rules, owners)
        self._seen: dict[tuple[str, int, str], deque[tuple[float, str]]] = {}
        self._queued: dict[tuple[str, str], deque[Change]] = {}
        # by target and trouble: what came up meanwhile
        self._refused: dict[str, dict[str, Change]] = {}

    def use(self, rules: RuleSet) -> None:
        self.rules = rules
        self.matcher = Matcher(rules, self._owners)

    def offer_all(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.offer(change)

    def offer(self, change: Change) -> None:
        """One change of the mirror."""
        self.observer.change(change)
        if change.triggers[0] == STARTED:
            self.treats.renew(change.subject)
        self.again(change)
        if change.cause == "stopped" and isinstance(change.subject, Container):
            self.treats.needed_no_more(change.subject)
        if change.triggers[0] in GONE:
            self.matcher.forget(
                getattr(change.subject, "id", "") or getattr(change.subject, "name", "")
            )
            self.treats.removed(change.target)

    def again(self, change: Change) -> None:
        """A trouble that stands, offered again: rules that have answered it stay silent."""
        candidates = self.matcher.candidates(change)
        if candidates:
            incidents = self.incidents
            now = incidents.clock()
            answering: list[Rule] = []
            shut: list[tuple[Rule, WaitUntil]] | None = None  # mostly none is
            held: list[Rule] = []
            for rule in candidates:
                if incidents.answered(rule.name, change.trouble):
                    continue
                self.observer.matched(rule.name)
                verdict = self._may(rule, change, now)
                if verdict is ACT:
                    answering.append(rule)
                elif isinstance(verdict, WaitUntil):
                    shut = [*(shut or ()), (rule, verdict)]
                elif verdict is HELD:
                    held.append(rule)
            if held:
                answering = [rule for rule in answering if not self._behind(held, rule, change)]
                shut = [each for each in shut or () if not self._behind(held, each[0], change)]
            if answering or shut:
                self.treats.renew(change.subject)
                winners = self._choose(answering, change)
                if shut:
                    self._put_off(shut, winners, change)

    def fire(self, rule: Rule, change: Change) -> None:
        """A schedule of one rule: the others are not asked."""
        self.observer.matched(rule.name)
        if self._may(rule, change, self.incidents.clock()) is ACT:
            self.treats.renew(change.subject)
            self._begin_unless_refused(rule, change)

    def _behind(self, held: Iterable[Rule], rule: Rule, change: Change) -> bool:
        """Whether the trouble is another rule's, which treats its target already: else a container
        that is unhealthy again after its restart would get the next lower rule as well, and twice
        the attempts."""
        if not rule.remedies:
            return False
        for other in held:
            if (
                other.remedies
                and other.dry_run is rule.dry_run
                and order_remedies((other, rule))[0][0] is other
            ):
                self._lose([rule], change)
                return True
        return False

    def _may(self, rule: Rule, change: Change, now: float) -> Act | WaitUntil | HeldChange | None:
        """None where it does not answer; Wait where its hours have yet to begin; HELD where its own
        incident does."""
        if change.group and rule.grouped:
            change = replace(change, target=change.group)
        running = self.incidents.about(rule.name, change)
        if running is not None and self._blocks(rule, running, change):
            self.observer.decision(rule.name, "suppress", "running")
            return HELD
        if change.recovered:
            self.incidents.record(
                rule,
                change,
                "recovered",
                "recovered",
                "recovered on its own: the engine restarted it",
            )
            self.observer.decision(rule.name, "suppress", "recovered")
            return None
        if rule.remedies and (origin := self.treats.follows_from(change)) is not None:
            self._refuse(origin, change)
            self.observer.decision(rule.name, "suppress", "running")
            return None
        if rule.counts and not self._often_enough(rule, change, now):
            self.observer.decision(rule.name, "suppress", "times")
            return None
        verdict = self.guards.may(rule, change, self.wall(), self.host)
        if isinstance(verdict, Suppress):
            outcome: Outcome = "on_purpose" if verdict.code == "on_purpose" else "suppressed"
            self.incidents.record(rule, change, outcome, verdict.code, verdict.reason)
            self.observer.decision(rule.name, "suppress", verdict.code)
            return None
        return verdict if running is None or self._makes_way(rule, running, change) else HELD

    def _often_enough(self, rule: Rule, change: Change, now: float) -> bool:
        for index, trigger in enumerate(rule.triggers):
            if trigger.times is None or trigger.name not in change.triggers:
                continue
            count, within = trigger.times
            key = (rule.name, index, change.target)
            times = self._seen.pop(key, None) or deque(maxlen=count)
            self._seen[key] = times  # the newest last
            if len(self._seen) > COUNTED_KEPT:
                del self._seen[next(iter(self._seen))]
            if any(trouble == change.trouble for _, trouble in times):
                return False  # it was counted: one that stands is offered again and again
            times.append((now, change.trouble))
            if len(times) < count or now - times[0][0] > within:
                return False
            times.clear()
        return True

    def _blocks(self, rule: Rule, running: Incident, change: Change) -> bool:
        """True where the incident that is open stays, and the change is not for `mode: queued` or
        `restart`."""
        if running.trouble == change.trouble:
            return True
        # its lane is another: it waits, whatever the mode
        renamed = running.target != change.target
        if (
            not renamed
            and not (change.group and rule.grouped)
            and (rule.mode != "single" or _is_void(running, change))
        ):
            return False
        self._refuse(running.target, change)
        return True

    def _refuse(self, target: str, change: Change) -> None:
        """It is offered again once the incident of a target is over."""
        refused = self._refused.setdefault(target, {})
        if len(refused) < REFUSED_KEPT:
            refused[change.trouble] = change

    def _makes_way(self, rule: Rule, running: Incident, change: Change) -> bool:
        """True where the incident that is open gives way to this change; else it is queued behind
        it."""
        if rule.mode == "queued":
            queue = self._queued.setdefault(
                (rule.name, change.target), deque(maxlen=QUEUED_AT_MOST)
            )
            if all(each.trouble != change.trouble for each in queue):
                queue.append(change)
            self.observer.decision(rule.name, "wait", "running")
            return False
        why = (
            "triggered again (mode: restart)"
            if rule.mode == "restart"
            else "another trouble took its place"
        )
        self.treats.supersede(running.id, why)
        return True

    def _choose(self, answering: list[Rule], change: Change) -> Sequence[Rule]:
        """Of the remedies one acts: returns it (and beside it the one that only shadows)."""
        if len(answering) == 1:
            self._begin_unless_refused(answering[0], change)
            return answering if answering[0].remedies else ()
        remedies: Sequence[Rule] = [rule for rule in answering if rule.remedies]
        losers: tuple[Rule, ...] = ()
        over: tuple[str, ...] = ()
        if len(remedies) > 1:
            remedies, losers = order_remedies(remedies)
            over = self._lose(losers, change)
        for rule in answering:
            if rule not in losers:
                self._begin_unless_refused(rule, change, over if rule.remedies else ())
        return remedies

    def _begin_unless_refused(self, rule: Rule, change: Change, over: tuple[str, ...] = ()) -> None:
        """Of a target that its breaker keeps, one record counts what comes."""
        refused = self.treats.refuses(rule, change.target)
        if refused is None:
            self._begin(rule, change, over=over)
            return
        self.incidents.record(rule, change, "suppressed", refused.code, refused.reason)
        self.observer.decision(rule.name, "suppress", refused.code)

    def _lose(self, losers: Iterable[Rule], change: Change) -> tuple[str, ...]:
        """Another rule acts: returns the names of those that do not."""
        names = tuple(loser.name for loser in losers)
        for name in names:
            self.incidents.remember_answered(name, change.trouble)
            self.observer.decision(name, "suppress", "other_rule")
        return names

    def _put_off(
        self, shut: list[tuple[Rule, WaitUntil]], winners: Sequence[Rule], change: Change
    ) -> None:
        """Rules whose hours have yet to begin: of the remedies the first to begin, where none acts
        now."""
        opening = {rule.name: wait for rule, wait in shut}
        waiting: list[tuple[Rule, tuple[str, ...]]] = [
            (rule, ()) for rule, _ in shut if not rule.remedies
        ]
        for shadow in (False, True):
            group = [rule for rule, _ in shut if rule.remedies and rule.dry_run is shadow]
            if group and not any(winner.dry_run is shadow for winner in winners):
                first = min(opening[rule.name].until for rule in group)
                (winner, *_), _ = order_remedies(
                    [rule for rule in group if opening[rule.name].until == first]
                )
                group.remove(winner)
                waiting.append((winner, self._lose(group, change)))
            else:
                self._lose(group, change)
        for rule, over in waiting:
            self._begin(rule, change, wait=opening[rule.name], over=over)

    def _begin(
        self, rule: Rule, change: Change, actor: str = "", wait: WaitUntil | None = None,
        over: tuple[str, ...] = (), *, even_if_stopped: bool = False,
    ) -> Incident:  # fmt: skip
        if change.group and rule.grouped:
            change = replace(change, target=change.group)
        incident = self.incidents.begin(
            rule,
            change,
            dry_run=rule.dry_run or self.dry_run,
            actor=actor,
            over=over,
            even_if_stopped=even_if_stopped,
        )
        self.treats.keep(incident, change.subject)
        if rule.hold and not actor and (wait is None or wait.until < change.at + rule.hold):
            wait = WaitUntil(change.at + rule.hold, "for", incident.reason)
        if wait is not None:
            self.treats.hold(incident, wait)
            self.observer.decision(rule.name, "wait", wait.code)
        else:
            self.treats.submit(incident.id)
        return incident

    def asked(
        self, rule: Rule, change: Change, actor: str, *, even_if_stopped: bool = False
    ) -> Incident | Suppress:
        """`dockmend trigger`: when, for, if and the standing of the trouble are replaced; the
        guards hold.

        `even_if_stopped`: also what somebody stopped or paused is to run.
        """
        whole = replace(change, target=change.group) if change.group and rule.grouped else change
        if self.incidents.about(rule.name, whole) is not None:
            return Suppress("running", "an incident of this rule is open for it")
        if forbidden := self.guards.forbids(change.subject) or self.guards.forbidden_step(
            rule.then
        ):
            return forbidden
        if forbidden := begins_a_task(rule.then, change.subject):
            return forbidden
        self.treats.renew(change.subject)
        if refused := self.treats.refuses(rule, change.target):
            return refused
        if held := self.treats.in_the_way(rule, change.subject, even_if_stopped=even_if_stopped):
            return held
        return self._begin(rule, change, actor, even_if_stopped=even_if_stopped)

    def closed(self, rule: str, target: str) -> Iterable[Change]:
        """An incident of a rule is over: what was queued behind it comes next. Returns what came up
        meanwhile and was refused, to be offered again where it still stands."""
        found = self.rules.by_name(rule)
        queue = self._queued.pop((rule, target), None)
        while queue and found is not None and found.enabled:
            change = queue.popleft()
            if not self.incidents.answered(rule, change.trouble):
                if queue:
                    self._queued[rule, target] = queue
                self._begin(found, change)
                break
        return self._refused.pop(target, {}).values()


def _is_void(running: Incident, change: Change) -> bool:
    """What an incident waits with is over where its rule is triggered by a new trouble: `for`
    begins anew. Networks are troubles side by side."""
    return (
        running.state == "waiting" and running.attempts == 0 and running.network == change.network
    )
