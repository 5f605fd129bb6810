"""Deciding: may this rule treat this trouble now? Pure functions over (rule, target, history, now).

Every answer that is not "act" carries a code from a bounded set (for metrics) and a sentence a
person understands. Waiting differs from suppression: what waits is looked at again when the limit
that held it lifts, so a trouble that outlasts a limit is treated.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dockmend.action_traits import BEGINS_RUN, UNDOES_STOP
from dockmend.model import TROUBLES, Change, Container, Object
from dockmend.rules.rule import Rule, RuleLimits, Step

CODES = frozenset({
    "attempts", "backoff", "breaker", "budget", "condition", "condition_error", "cooldown",
    "cut_off", "dry_run", "engine", "for", "ignored", "itself", "journal", "on_purpose",
    "other_rule", "owner", "owner_stopped", "paused", "policy", "protected", "rate", "recovered",
    "running", "stopped", "swarm", "times", "unknown_owner", "window",
})  # fmt: skip
"""Every code a decision can carry, from here, from the guards and from the pipeline: metrics show
no others."""
HALF_OPEN_AFTER = 900.0
"""Seconds after which a breaker lets one try through, where the rule's attempts have no window to
say so."""
STABLE = 300.0
"""Seconds that count as a stable while where the rule has no backoff to say so: the default's
longest wait."""


@dataclass(frozen=True, slots=True)
class Act:
    """Go on: the attempt may begin now."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Not yet: look again at `until`, by the clock of the `now` that was asked with."""

    until: float
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    code: str
    reason: str


Verdict = Act | WaitUntil | Suppress
ACT = Act()


ATTEMPTS_KEPT = 4096
"""Attempts remembered of one rule and target."""
TARGETS_KEPT = 10_000
"""Rules and targets whose attempts are remembered for longer than the rules in force ask."""


@dataclass(slots=True)
class TargetHistory:
    """What one rule did to one target: the times of its attempts (by dockmend's clock, oldest
    first), and its breaker."""

    attempts: list[float] = field(default_factory=list)  # a deque of one takes half a kilobyte
    ended_at: float = 0.0  # when the last incident of it was closed after an attempt
    breaker_at: float | None = None
    breaker_reason: str = ""
    # when it began anew with a container that was made another way
    renewed: list[float] = field(default_factory=list)
    # with an open breaker: when it was healed all the same, and has to stay well
    healed_at: float | None = None

    def in_window(self, now: float, within: float) -> int:
        return sum(1 for at in self.attempts if at + within > now)

    def in_a_row(self, stable: float, now: float) -> int:
        """Attempts since the last stable while: those with less than `stable` seconds between them
        and to now."""
        count, later = 0, now
        for at in reversed(self.attempts):
            if later >= at + stable:
                break
            count, later = count + 1, at
        return count


@dataclass(slots=True)
class History:
    """Everything the limits ask about, kept in step with the journal and read back from it at a
    start."""

    targets: dict[tuple[str, str], TargetHistory] = field(default_factory=dict)
    by_rule: dict[str, deque[float]] = field(default_factory=dict)
    # by target: the id of the object that was treated last
    tried: dict[str, str] = field(default_factory=dict)
    host: deque[float] = field(default_factory=lambda: deque(maxlen=4096))

    def of(self, rule: str, target: str) -> TargetHistory:
        found = self.targets.get((rule, target))
        if found is None:
            found = self.targets[rule, target] = TargetHistory()
        return found

    def attempted(self, rule: str, target: str, at: float, actions: int = 1) -> None:
        """`actions`: of its steps, how many change something; what only tells costs the host's
        budget nothing."""
        mine = self.of(rule, target).attempts
        mine.append(at)
        del mine[:-ATTEMPTS_KEPT]
        self.by_rule.setdefault(rule, deque(maxlen=4096)).append(at)
        self.acted(at, actions)

    def acted(self, at: float, actions: int = 1) -> None:
        """Actions that the host's budget pays for without an attempt: an escalation's, or what was
        left of one."""
        self.host.extend([at] * actions)

    def take_back(self, rule: str, target: str, at: float, actions: int = 1) -> None:
        """An attempt that was counted and in which nothing at all was done: it was none."""
        for times, count in ((self.of(rule, target).attempts, 1),
            (self.by_rule.get(rule, deque()), 1),
                             (self.host, actions)):  # fmt: skip
            for _ in range(min(count, times.count(at))):
                times.remove(at)

    def forget(self, rule: str, target: str) -> None:
        """`dockmend reset`: as if the rule had never touched the target."""
        self.targets.pop((rule, target), None)

    def trim(self, now: float, keep: float = 86400.0, least: float = 86400.0) -> None:
        """Drops targets that no limit can ask about any more, so that memory does not grow with
        names.

        `keep`, `least`: seconds since the last attempt. Of more than TARGETS_KEPT targets only
        those of the last `least` seconds stay, which the rules in force ask about: names that never
        repeat come without end.
        """
        self._trim(now, keep)
        if len(self.targets) > TARGETS_KEPT:
            self._trim(now, least)

    def _trim(self, now: float, keep: float) -> None:
        for key in [
            key for key, each in self.targets.items()
            if each.breaker_at is None and (not each.attempts or now - each.attempts[-1] > keep)
        ]:  # fmt: skip
            del self.targets[key]
        left = {target for _, target in self.targets}
        self.tried = {
            target: object_id for target, object_id in self.tried.items() if target in left
        }


@dataclass(frozen=True, slots=True)
class Host:
    """What holds for all: the host's budget, and the pauses that are in force."""

    budget: tuple[int, float] | None = (30, 60.0)
    paused: Callable[[str, str], float | bool | None] = lambda rule, target: False
    """(rule, target) -> False, or until when it is paused (None: until resumed)."""


def looks_back(limits_: RuleLimits) -> float:
    """Seconds of history that these limits ask about: what is younger is not to be forgotten."""
    spans = [limits_.cooldown or 0.0, rest_of(limits_), stable_while(limits_)]
    return max(*spans, limits_.rate[1] if limits_.rate else 0.0)


def clock_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def day_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span_text(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 5 min, 2 h; what is no time at all is left out by who
    asks, so that nobody reads "0 s"."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{max(seconds, 0.1):.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def standing(rule: Rule, change: Change, now: float) -> Verdict:
    """What can be said from the rule and the change alone, before any limit is asked."""
    if change.on_purpose:
        return Suppress("on_purpose", change.note or "a person did it")
    if change.cause == "stopped" and change.subject is not None and would_start(rule.then):
        return Suppress("stopped", "somebody stopped it: what a person stopped is not started")
    if rule.during is None:
        return ACT
    shut = outside_hours(rule, now)
    if shut is not None and TROUBLES.isdisjoint(change.triggers):
        return Suppress(
            "window", f"outside its hours ({rule.during_text}): what set it off is over by then"
        )
    return shut or ACT


def outside_hours(rule: Rule, now: float) -> WaitUntil | Suppress | None:
    """None within the rule's hours; else what stands is looked at when they begin, if ever they
    do."""
    if rule.during is None or rule.during(now):
        return None
    opens = rule.opens(now) if rule.opens is not None else None
    if opens is None:
        return Suppress("window", f"outside its hours ({rule.during_text})")
    return WaitUntil(
        opens, "window", f"outside its hours ({rule.during_text}), which begin {day_text(opens)}"
    )


def would_start(steps: Iterable[Step]) -> bool:
    return any(
        (step.action in UNDOES_STOP or makes_again(step)) and step.target is None for step in steps
    )


def makes_again(step: Step) -> bool:
    """Whether a step makes a container that is missing again: a `run` that names no image."""
    return step.action == "run" and getattr(step.params, "image", None) is None


def a_task_of(container: Container) -> str:
    """Why one that is a task of a Swarm service is not begun anew."""
    service = f" {container.swarm_service}" if container.swarm_service else ""
    return (
        f"it is a task of the Swarm service{service}, and Swarm makes another one in place of "
        "one that ended"
    )


def begins_a_task(steps: Iterable[Step], subject: Object | None) -> Suppress | None:
    """Why steps that begin a run are not taken on a task of a Swarm service: once it has ended,
    Swarm starts another one, beside which it would run. A step that names another `target` is
    judged when that is known."""
    if not isinstance(subject, Container) or subject.swarm_service is None:
        return None
    for step in steps:
        begins = step.action in BEGINS_RUN or makes_again(step)
        begins = begins or (step.action == "reconnect_network" and not subject.running)
        if begins and step.target is None:
            return Suppress("swarm", f"{a_task_of(subject)}: {step.action} is not for it")
    return None


def limits(
    rule: Rule, target: str, history: History, host: Host, now: float, failures: int = 0
) -> Verdict:
    """Whether the limits allow an attempt now. `failures`: attempts of this incident that failed in
    a row."""
    verdict = of_target(rule, target, history, host, now, failures)
    if verdict is not ACT:
        return verdict
    if (rate := rule.limits.rate) and (
        room_at := _full(history.by_rule.get(rule.name, ()), rate, now)
    ) is not None:
        return WaitUntil(
            room_at,
            "rate",
            f"the rule's rate of {rate[0]} attempts per {span_text(rate[1])} is used up",
        )
    return (budget(history, host, now, rule.costs) if rule.costs else None) or ACT


def of_target(
    rule: Rule, target: str, history: History, host: Host, now: float, failures: int = 0
) -> Verdict:
    """The limits that ask about nothing but the target: all but the rate and the host's budget."""
    if (held := held_by_person(rule, target, host, now)) is not None:
        return held
    mine = history.targets.get((rule.name, target))
    if mine is not None:
        verdict = _of_target(rule.limits, mine, now, failures)
        if verdict is not ACT:
            return verdict
    return ACT


def held_by_person(rule: Rule, target: str, host: Host, now: float) -> WaitUntil | None:
    paused = host.paused(rule.name, target)
    if paused is False:
        return None
    until = paused if isinstance(paused, float) else now + 3600.0
    text = f"until {clock_text(until)}" if isinstance(paused, float) else "until it is resumed"
    return WaitUntil(until, "paused", f"paused by a person {text}")


def budget(history: History, host: Host, now: float, actions: int = 1) -> WaitUntil | None:
    """The host's budget holds for whatever changes something, escalation too: there is room for all
    of an attempt.

    One of more actions than there are places at all has room where none is taken.
    """
    if host.budget is None:
        return None
    count, within = host.budget
    room_at = free_at(history.host, host.budget, now, min(actions, count) - 1)
    if room_at is None or room_at <= now:
        return None
    return WaitUntil(
        room_at,
        "budget",
        f"the host's budget of {count} actions per {span_text(within)} is used up",
    )


def _of_target(limits_: RuleLimits, mine: TargetHistory, now: float, failures: int) -> Verdict:
    if (held := breaker(limits_, mine, now)) is not None:
        return held
    if (
        limits_.cooldown
        and not failures
        and mine.ended_at
        and mine.ended_at + limits_.cooldown > now
    ):
        until = mine.ended_at + limits_.cooldown
        return WaitUntil(until, "cooldown", f"cooling down until {clock_text(until)}")
    if limits_.attempts and mine.in_window(now, limits_.attempts[1]) >= limits_.attempts[0]:
        count, within = limits_.attempts
        last = clock_text(mine.attempts[-1])
        return Suppress(
            "attempts", f"it was tried {count} times within {span_text(within)}, last at {last}"
        )
    return ACT


def rest_of(limits_: RuleLimits) -> float:
    """Seconds after which an open breaker is half-open."""
    return limits_.attempts[1] if limits_.attempts else HALF_OPEN_AFTER


def stable_while(limits_: RuleLimits) -> float:
    """Seconds for which a target must have stayed well to count as well: as long as the longest
    wait."""
    return limits_.backoff[1] if limits_.backoff else STABLE


def breaker(
    limits_: RuleLimits, mine: TargetHistory, now: float, reset: str = "dockmend reset"
) -> Verdict | None:
    """What an open breaker says: nothing is done, or (half-open) one try; None where it is closed.
    `reset`: the command that closes it."""
    if mine.breaker_at is None:
        return None
    if mine.healed_at is not None:
        stable = stable_while(limits_)
        if now >= mine.healed_at + stable:
            return None
        return Suppress("breaker", f"it was healed at {clock_text(mine.healed_at)} and did not "
        "stay well for "
                        f"{span_text(stable)}: its breaker stays open")  # fmt: skip
    half_open_at = mine.breaker_at + rest_of(limits_)
    if half_open_at > now:
        return Suppress(
            "breaker",
            f"its breaker is open since {clock_text(mine.breaker_at)}: it was tried too often; if "
            f"it is still broken at {clock_text(half_open_at)}, it is tried once; `{reset}` closes "
            "the breaker now",
        )
    return ACT  # half-open: one attempt tells


def places(times: Iterable[float], limit: tuple[int, float], now: float) -> int:
    """How many more are allowed now."""
    count, within = limit
    return count - sum(1 for at in times if at + within > now)


def free_at(
    times: Iterable[float], limit: tuple[int, float], now: float, kept: int
) -> float | None:
    """When there is a place beside `kept` ones that are spoken for; None where those have to be
    used first."""
    count, within = limit
    recent = sorted(at for at in times if at + within > now)
    needed = len(recent) + kept - count  # so many must leave the window, and one more
    if needed < 0:
        return now
    return recent[needed] + within if needed < len(recent) else None


def _full(times: Iterable[float], limit: tuple[int, float], now: float) -> float | None:
    """None while there is room; else when there will be."""
    count, within = limit
    recent = sorted(at for at in times if at + within > now)
    return recent[-count] + within if len(recent) >= count else None


def backoff(
    limits_: RuleLimits, mine: TargetHistory | None, now: float, dice: random.Random
) -> WaitUntil | None:
    """How long the next attempt waits after those before it: exponential with jitter, reset after a
    stable while.

    A while is stable when it is as long as the longest wait. Half of each wait is fixed and half is
    random, so that targets that broke together do not come back together.
    """
    if limits_.backoff is None or mine is None or not mine.attempts:
        return None
    low, high = limits_.backoff
    count = mine.in_a_row(high, now)
    if count == 0:
        return None
    wait = min(high, low * 2 ** min(count - 1, 30))
    until = mine.attempts[-1] + wait * (0.5 + 0.5 * dice.random())
    if until <= now:
        return None
    return WaitUntil(until, "backoff", f"waiting {span_text(until - now)} after attempt {count}")


def exhausted(limits_: RuleLimits, mine: TargetHistory, failures: int, now: float) -> bool:
    """True where the breaker opens: as many attempts in the window, or as many failures in a row,
    as are allowed."""
    if limits_.attempts is None:
        return False
    count, within = limits_.attempts
    return failures >= count or mine.in_window(now, within) >= count or mine.breaker_at is not None
