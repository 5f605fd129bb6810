"""What each rule would do about one change, and why: the same questions the daemon asks, in the
same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dockmend import decide
from dockmend.cli.dependents_view import DependentsView, begins, makes_anew, takes
from dockmend.decide import History, Host, Suppress, WaitUntil
from dockmend.guards import Guards
from dockmend.model import Change, Container
from dockmend.rules.matcher import Matcher, event_names, order_remedies, why_lost
from dockmend.rules.rule import Rule, RuleSet, Trigger


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What a rule would do: `fires` now, `waits` first, `shadow` (it would, but only says so),
    `no`."""

    rule: str
    answer: Literal["fires", "waits", "shadow", "no"]
    why: str
    asked: bool = True  # False: it does not listen to this at all


@dataclass(slots=True)
class Explainer:
    """`history` and `host` are what the limits ask; `name` the host's. Nothing changes but the
    counts of `times`. `ties`: of the containers that are there; over a recording, of those that
    were there as the change was told."""

    rules: RuleSet
    guards: Guards
    name: str
    history: History = field(default_factory=History)
    host: Host = field(default_factory=Host)
    ties: DependentsView = field(default_factory=DependentsView)
    _seen: dict[tuple[str, int, str], deque[float]] = field(default_factory=dict)
    _matcher: Matcher = field(init=False)

    def __post_init__(self) -> None:
        self._matcher = Matcher(self.rules, self)

    def owner(self, container: Container) -> Container | None:
        """In whose network a container lives, for the matcher: `ties` may be replaced."""
        return self.ties.owner(container)

    def heard(self, trigger: str) -> bool:
        """Whether any rule that acts or shadows listens to this trigger."""
        return any(rule.enabled and trigger in rule.named for rule in self.rules.rules)

    def explain(self, change: Change, now: float) -> list[RuleVerdict]:
        """Every rule's answer to a change at `now` (wall seconds), in file order."""
        answers: dict[str, RuleVerdict] = {}
        willing: list[Rule] = []
        candidates = {rule.name: rule for rule in self._matcher.candidates(change)}
        for each in self.rules.rules:
            rule = candidates.get(each.name, each)
            if rule.name not in candidates:
                answers[rule.name] = self._with_others(rule, change) or self._not_asked(
                    rule, change
                )
            elif (no := self._no(rule, change, now)) is not None:
                answers[rule.name] = no
            else:
                willing.append(rule)
        open_now = [rule for rule in willing if decide.outside_hours(rule, now) is None]
        winners, losers = order_remedies(open_now)
        for rule in willing:
            winner = next((each for each in winners if each.dry_run is rule.dry_run), None)
            if rule in losers and winner is not None:
                answers[rule.name] = RuleVerdict(rule.name, "no", why_lost(winner, rule))
            elif winner is not None and rule.remedies and rule not in open_now:
                why = f"{winner.name} answers this trouble: the hours of this one have yet to begin"
                answers[rule.name] = RuleVerdict(rule.name, "no", why)
            else:
                answers[rule.name] = self._yes(rule, change, now)
        return [answers[rule.name] for rule in self.rules.rules]

    def _no(self, rule: Rule, change: Change, now: float) -> RuleVerdict | None:
        if change.recovered:
            return RuleVerdict(rule.name, "no", "it recovered on its own: the engine restarted it")
        if (short := self._too_seldom(rule, change, now)) is not None:
            return RuleVerdict(rule.name, "no", short)
        verdict = self.guards.may(rule, change, now, self.name)
        if isinstance(verdict, Suppress):
            return RuleVerdict(rule.name, "no", verdict.reason)
        subject = change.subject
        if isinstance(subject, Container):
            cut_off = self.guards.cuts_off(
                rule, rule.then, subject, self.ties.guests(subject, rule)
            )
            return RuleVerdict(rule.name, "no", cut_off) if cut_off else None
        return None

    def _with_others(self, rule: Rule, change: Change) -> RuleVerdict | None:
        """Of a rule that is not about this container, and brings it back with others that share its
        network."""
        if "container.orphaned" not in change.triggers or not isinstance(change.subject, Container):
            return None
        if (found := self.ties.in_group_of(change.subject, rule)) is None:
            return None
        owner, sibling = found
        why = f"it comes back with {owner.name}'s dependents, as the rule matches {sibling.name}"
        return RuleVerdict(rule.name, "shadow" if rule.dry_run else "fires", why)

    def _not_asked(self, rule: Rule, change: Change) -> RuleVerdict:
        """Why a rule is no candidate for a change."""
        subject = change.subject
        answer = _not_asked(rule, change)
        if not answer.asked or rule.asks is None or not isinstance(subject, Container):
            return answer
        if not rule.enabled or subject.joined is not None or subject.one_off:
            return answer
        # Its match names labels that a person may well have set here, for others.
        why = f"{subject.name} shares nobody's network"
        guests = [each.name for each in self.ties.sharing(subject)]
        if rule.asks(subject, None):
            why += "; its label dockmend.rejoin is for those that share its own: " + (
                ", ".join(guests) or "nobody does"
            )
        return RuleVerdict(rule.name, "no", why)

    def _yes(self, rule: Rule, change: Change, now: float) -> RuleVerdict:
        steps = ", ".join(step.action for step in rule.then)
        if isinstance(subject := change.subject, Container) and begins(rule):
            guests = [each.name for each in self.ties.guests(subject, rule) if takes(rule, each)]
            what = (
                "what lives in its namespaces or links to it"
                if makes_anew(rule)
                else "what lives in its namespaces"
            )
            steps += f"; and brings back {what}: {', '.join(guests)}" if guests else ""
        shut = decide.outside_hours(rule, now)
        verdict = shut or decide.limits(rule, change.target, self.history, self.host, now)
        if isinstance(verdict, Suppress):
            return RuleVerdict(rule.name, "no", verdict.reason)
        if isinstance(verdict, WaitUntil):
            return RuleVerdict(rule.name, "waits", f"{verdict.reason}; then {steps}")
        if rule.dry_run:
            return RuleVerdict(rule.name, "shadow", f"would {steps}, but only says so (dry run)")
        if rule.hold:
            return RuleVerdict(
                rule.name,
                "waits",
                f"if it still stands after {decide.span_text(rule.hold)}: {steps}",
            )
        return RuleVerdict(rule.name, "fires", steps)

    def _too_seldom(self, rule: Rule, change: Change, now: float) -> str | None:
        for index, trigger in enumerate(rule.triggers):
            if trigger.times is None or trigger.name not in change.triggers:
                continue
            count, within = trigger.times
            times = self._seen.setdefault((rule.name, index, change.target), deque(maxlen=count))
            times.append(now)
            recent = sum(1 for at in times if now - at <= within)
            if recent < count:
                return f"counted: {recent} of {count} times within {decide.span_text(within)}"
            times.clear()
        return None


def _not_asked(rule: Rule, change: Change) -> RuleVerdict:
    """Why a rule is no candidate for a change."""
    heard = set(event_names(change.event)) if change.event is not None else set(change.triggers)
    listening = [trigger for trigger in rule.triggers if trigger.name in heard]
    if not listening:
        return RuleVerdict(
            rule.name, "no", f"listens to {', '.join(map(_shown, rule.triggers))}", asked=False
        )
    if not rule.enabled:
        return RuleVerdict(rule.name, "no", "is disabled")
    causes = [trigger.causes for trigger in listening]
    if all(each and change.cause not in each for each in causes):
        wanted = ", ".join(sorted(frozenset[str]().union(*causes)))
        return RuleVerdict(
            rule.name, "no", f"wants the cause {wanted}, this one is {change.cause or 'unknown'}"
        )
    subject = change.subject
    if (own := rule.tailored(subject)) is not None and not own.named & heard:
        return RuleVerdict(
            rule.name,
            "no",
            f"its labels ask for {', '.join(map(_shown, own.triggers))} only",
            asked=False,
        )
    if isinstance(subject, Container) and subject.one_off and not rule.match.one_off:
        return RuleVerdict(
            rule.name,
            "no",
            f"{subject.name} is a Compose one-off, and its match does not say oneoff: true",
        )
    if subject is not None and not rule.match.test(subject):
        return RuleVerdict(
            rule.name, "no", f"does not match {subject.name}: wants {rule.match.text}"
        )
    if subject is not None and rule.exclude is not None and rule.exclude.test(subject):
        return RuleVerdict(rule.name, "no", f"excludes {subject.name}: {rule.exclude.text}")
    if subject is not None and rule.asks is not None:
        return RuleVerdict(
            rule.name, "no", f"does not match {subject.name}: wants {rule.match.text}"
        )
    return RuleVerdict(rule.name, "no", "the event's attributes are not those it wants")


_TRIGGER: dict[str, Callable[[Trigger], str]] = {
    "schedule": lambda trigger: f"schedule {trigger.cron}",
    "every": lambda trigger: f"every {decide.span_text(trigger.interval or 0.0)}",
}


def _shown(trigger: Trigger) -> str:
    return _TRIGGER[trigger.kind](trigger) if trigger.kind in _TRIGGER else trigger.name
