"""Which rules a change concerns: an index over the triggers and selections, with the answers
remembered per object.

Ten thousand rules cost about what ten do. The first time an object is seen under a trigger, rules
are looked up by what their selection needs (an exact name, a label, the beginning or end of a name)
and only those found are tested. After that the answer is a dictionary's: it holds as long as what
selections look at (name, labels, image, driver) is equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from dockmend.model import Change, Container, Event, Network, Object, Volume
from dockmend.rules.rule import Rule, RuleSet, Trigger
from dockmend.rules.rule_index import SelectionIndex

MOST_OBJECTS: Final = 20_000
"""Objects whose answers are remembered; beyond that the oldest is dropped."""

MOST_ANSWERS: Final = 256
"""Answers per object: triggers in each combination with a cause are few."""

_Answers = dict[tuple[tuple[str, ...], str | None], tuple[Rule, ...]]


class _Known:
    """What is remembered of one object: the state the answers were given for, and the answers."""

    __slots__ = ("answers", "events", "subject")

    def __init__(self, subject: Object) -> None:
        self.subject = subject
        self.answers: _Answers = {}
        self.events: dict[str, tuple[tuple[Rule, Trigger], ...]] = {}


class Owners(Protocol):
    """Who knows in whose network a container lives."""

    def owner(self, container: Container, /) -> Container | None: ...


class Matcher:
    """The candidates of a change, in file order; only enabled rules. Not thread-safe: one event
    loop owns it.

    Selections are remembered by the object's id; `forget` drops one that is gone. Nothing grows
    without bound.
    """

    def __init__(self, ruleset: RuleSet, owners: Owners | None = None) -> None:
        self.ruleset = ruleset
        self._owners = owners
        self._any_asks = any(rule.asks is not None for rule in ruleset.rules)
        self._order = {id(rule): place for place, rule in enumerate(ruleset.rules)}
        self._transitions: dict[str, SelectionIndex] = {}
        self._events: dict[str, SelectionIndex] = {}
        self._hostless: dict[str, list[tuple[Rule, Trigger]]] = {}
        self._objects: dict[str, _Known] = {}
        self._volumes: dict[str, _Known] = {}
        for rule in ruleset.rules:
            if rule.enabled:
                self._add(rule)

    def _add(self, rule: Rule) -> None:
        for trigger in rule.triggers:
            if trigger.kind == "transition":
                self._transitions.setdefault(trigger.name, SelectionIndex()).add(rule, trigger)
                if rule.match.everything:
                    self._hostless.setdefault(trigger.name, []).append((rule, trigger))
            elif trigger.kind == "event":
                self._events.setdefault(trigger.name, SelectionIndex()).add(rule, trigger)
                if rule.match.everything:
                    self._hostless.setdefault(trigger.name, []).append((rule, trigger))

    def candidates(self, change: Change) -> tuple[Rule, ...]:
        """The rules of which a trigger fits the change and which select its subject, in file
        order."""
        subject = change.subject
        if subject is None:
            return self._without_object(change)
        known = (
            self._volumes.get(subject.name)
            if isinstance(subject, Volume)
            else self._objects.get(subject.id)
        )
        if known is None or (known.subject is not subject and not _same(known, subject)):
            known = self._enter(subject)
        if change.event is not None:
            return self._of_event(known, change.event)
        try:
            found = known.answers[change.triggers, change.cause]
        except KeyError:
            found = self._answer(known, change)
        return self._wanted(found, subject) if self._any_asks else found

    def _wanted(self, rules: tuple[Rule, ...], subject: Object) -> tuple[Rule, ...]:
        """Not remembered: another owner may take the place of one."""
        if all(rule.asks is None for rule in rules):
            return rules
        owner = self._owner(subject)
        return tuple(rule for rule in rules if rule.wanted(subject, owner))

    def _owner(self, subject: Object) -> Container | None:
        if self._owners is None or not isinstance(subject, Container):
            return None
        return self._owners.owner(subject)

    def select(self, rule: Rule, subject: Object) -> bool:
        """True if the rule's match and exclude select the object, whatever set it off: for
        schedules and `coverage`."""
        return rule.match.test(subject) and not (
            rule.exclude is not None and rule.exclude.test(subject)
        )

    def is_covered(self, change: Change) -> bool:
        """Whether a rule that a transition or an event sets off selects the subject, whichever of
        those it waits for. Looks at all such rules: for what is seldom asked."""
        subject, indexes = change.subject, (*self._transitions.values(), *self._events.values())
        return subject is not None and any(
            rule.match.kind == change.kind and rule.wanted(subject, self._owner(subject))
            for index in indexes
            for rule, _ in index.find(subject)
        )

    def forget(self, object_id: str) -> None:
        """An object is gone (a container's or network's id, a volume's name): drop what is
        remembered of it."""
        self._objects.pop(object_id, None)
        self._volumes.pop(object_id, None)

    def _enter(self, subject: Object) -> _Known:
        held = self._volumes if isinstance(subject, Volume) else self._objects
        key = subject.name if isinstance(subject, Volume) else subject.id
        held.pop(key, None)
        if len(held) >= MOST_OBJECTS:
            del held[next(iter(held))]
        known = held[key] = _Known(subject)
        return known

    def _answer(self, known: _Known, change: Change) -> tuple[Rule, ...]:
        found = [
            (rule, trigger)
            for name in change.triggers
            if (index := self._transitions.get(name)) is not None
            for rule, trigger in index.find(known.subject)
            if not trigger.causes or change.cause in trigger.causes
        ]
        rules = _tailored(self._in_order(rule for rule, _ in found), known.subject, change.triggers)
        if len(known.answers) >= MOST_ANSWERS:
            known.answers.clear()
        known.answers[change.triggers, change.cause] = rules
        return rules

    def _of_event(self, known: _Known, event: Event) -> tuple[Rule, ...]:
        """Rules for a raw event. Attributes differ from event to event, so only the selection is
        remembered."""
        attributes = event.actor.Attributes
        return self._in_order(
            rule
            for name in event_names(event)
            for rule, trigger in self._selected(known, name)
            if all(
                (value := attributes.get(key)) is not None and test(value)
                for key, test in trigger.attributes
            )
        )

    def _selected(self, known: _Known, name: str) -> tuple[tuple[Rule, Trigger], ...]:
        found = known.events.get(name)
        if found is None:
            index = self._events.get(name)
            if index is None:
                return ()  # not remembered: actions can hold a stranger's text
            found = known.events[name] = tuple(index.find(known.subject))
        return found

    def _without_object(self, change: Change) -> tuple[Rule, ...]:
        """Of the engine's own transitions and events: rules that match everything; nothing else can
        hold of nothing."""
        if change.kind != "engine":
            return ()
        attributes = change.event.actor.Attributes if change.event is not None else {}
        return self._in_order(
            rule
            for name in change.triggers
            for rule, trigger in self._hostless.get(name, ())
            if not trigger.causes or change.cause in trigger.causes
            if all(
                (value := attributes.get(key)) is not None and test(value)
                for key, test in trigger.attributes
            )
        )

    def _in_order(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        unique = {id(rule): rule for rule in rules}
        if len(unique) < 2:
            return tuple(unique.values())
        return tuple(unique[key] for key in sorted(unique, key=self._order.__getitem__))


def _tailored(
    rules: tuple[Rule, ...], subject: Object, triggers: tuple[str, ...]
) -> tuple[Rule, ...]:
    """The rules as they are for this object, without those of whose triggers it asks for none."""
    if all(rule.tailor is None for rule in rules):
        return rules
    found: list[Rule] = []
    for rule in rules:
        trigger = next((name for name in triggers if name in rule.named), None)
        own = rule.tailored(subject, trigger)
        if own is not None and trigger in own.named:
            found.append(own)
    return tuple(found)


def event_names(event: Event) -> tuple[str, ...]:
    """The names rules can write a raw event by: "container.health_status", and with what follows a
    colon."""
    short, colon, _ = event.action.partition(":")
    name = f"{event.type}.{short}"
    return (name, f"{event.type}.{event.action}") if colon else (name,)


def _same(known: _Known, subject: Object) -> bool:
    """True if a newer state of the object is the same to every selection; then it is the one to
    compare with next."""
    old = known.subject
    if type(old) is not type(subject) or old.name != subject.name:
        return False
    # dictionaries are compared key by key
    if old.labels is not subject.labels and old.labels != subject.labels:
        return False
    if isinstance(subject, Container):
        if (
            not isinstance(old, Container)
            or old.image != subject.image
            or old.image_unknown != subject.image_unknown
        ):
            return False
    elif not isinstance(old, (Network, Volume)) or old.driver != subject.driver:
        return False
    known.subject = subject
    return True


def order_remedies(candidates: Sequence[Rule]) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """(winners, losers) among the candidates of one trouble that change something; rules that only
    tell are in neither.

    The highest priority wins, then the narrower match, then file order. Rules in dry run compete
    among themselves: a shadow never keeps a live rule from acting, so there are up to two winners,
    the live one first. Pass only rules whose condition holds.
    """
    remedies = sorted((rule for rule in candidates if rule.remedies), key=_rank)
    winners: list[Rule] = []
    losers: list[Rule] = []
    for shadow in (False, True):
        group = [rule for rule in remedies if rule.dry_run is shadow]
        winners += group[:1]
        losers += group[1:]
    return tuple(winners), tuple(losers)


def why_lost(winner: Rule, loser: Rule) -> str:
    """Why `loser` does not act on a trouble that `winner` answers, for `explain`."""
    if winner.priority != loser.priority:
        reason = f"has priority {winner.priority}, this one {loser.priority}"
    elif winner.match.breadth != loser.match.breadth:
        reason = "has the narrower match"
    else:
        reason = "stands first"
    return f"{winner.name} answers this trouble: it {reason}"


def _rank(rule: Rule) -> tuple[int, int, int]:
    return (-rule.priority, rule.match.breadth, rule.order)
