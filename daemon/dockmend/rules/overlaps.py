"""Remedies that can answer the same trouble, found without running them: what `check` warns about.

One trouble gets one remedy, so of two such rules one never acts. That may be meant: only pairs of
the same priority are reported, as a priority is how a person says which one they want. Selections
by different keys count as overlapping; of the same key they do where that is plain to see.
Conditions, windows and exclusions are not weighed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from dockmend.rules.matcher import order_remedies
from dockmend.rules.patterns import Pattern, parse_pattern
from dockmend.rules.rule import Rule, RuleSet, Selector

MOST_REPORTED: Final = 100
MOST_COMPARED: Final = 30_000
"""Pairs that are looked at, over all triggers: about a third of a second."""

MOST_PATTERNS: Final = 20
"""Patterns of one key that are compared with another's."""

_ENDS: Final = (
    "container.stopped",
    "container.crashed",
    "container.oom_killed",
    "container.left_down",
)
"""Transitions that come together with container.exited, as one trouble."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """`winner` and `loser` both answer `trigger` on some object; the loser then does nothing."""

    winner: Rule
    loser: Rule
    trigger: str
    reason: str

    def __str__(self) -> str:
        return (
            f"overlaps with rule {self.winner.name}: both answer {self.trigger}, and "
            f"{self.winner.name} wins because "
            f"it {self.reason}; give one of them a priority, or exclude what the other matches"
        )


def overlaps(ruleset: RuleSet) -> tuple[Overlap, ...]:
    """Pairs of enabled remedies of one priority that can answer the same trouble; at most
    MOST_REPORTED.

    Bounded work: rules are sorted by the names they need, and only neighbours are compared.
    """
    found: dict[tuple[int, int], Overlap] = {}
    budget = MOST_COMPARED
    for trigger, rules in _by_trigger(ruleset).items():
        for first, second in _neighbours(rules):
            budget -= 1
            if budget < 0 or len(found) >= MOST_REPORTED:
                return tuple(found.values())
            key = (
                (id(first), id(second)) if first.order <= second.order else (id(second), id(first))
            )
            if key not in found and _compete(first, second, trigger):
                (winner,), (loser,) = order_remedies((first, second))
                reason = (
                    "has the narrower match"
                    if winner.match.breadth < loser.match.breadth
                    else "stands first"
                )
                found[key] = Overlap(winner, loser, trigger, reason)
    return tuple(found.values())


def _by_trigger(ruleset: RuleSet) -> dict[str, list[Rule]]:
    groups: dict[str, list[Rule]] = defaultdict(list)
    rules = [rule for rule in ruleset.rules if rule.enabled and rule.remedies and not rule.builtin]
    for rule in rules:
        names = {t.name for t in rule.triggers if t.kind == "transition"}
        names |= {f"event {t.name}" for t in rule.triggers if t.kind == "event"}
        if "container.exited" in names:
            names.update(_ENDS)
        for name in sorted(names):
            groups[name].append(rule)
    return groups


def _neighbours(rules: list[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Pairs whose names can meet: sorted by the beginning they need, a rule's partners follow it
    directly."""
    keyed: list[tuple[str, bool, Rule]] = []
    for rule in rules:
        names = rule.match.exact_names
        if names is not None:
            keyed += [(name, True, rule) for name in names]
        else:
            prefixes = next(
                (values for aspect, values in rule.match.needs if aspect == "prefix"),
                frozenset({""}),
            )
            keyed += [(prefix, False, rule) for prefix in prefixes]
    keyed.sort(key=lambda item: item[:2])
    for place, (text, exact, rule) in enumerate(keyed):
        for later in range(place + 1, len(keyed)):
            other_text, _, other = keyed[later]
            if not (other_text == text if exact else other_text.startswith(text)):
                break
            if other is not rule:
                yield rule, other


def _compete(first: Rule, second: Rule, trigger: str) -> bool:
    if (first.priority, first.dry_run, first.match.kind) != (
        second.priority,
        second.dry_run,
        second.match.kind,
    ):
        return False
    if first.match.one_off is not second.match.one_off:
        return False
    return _causes_meet(first, second, trigger) and _can_meet(first.match, second.match)


def _causes_meet(first: Rule, second: Rule, trigger: str) -> bool:
    one = [t.causes for t in first.triggers if t.name == trigger]
    other = [t.causes for t in second.triggers if t.name == trigger]
    return not one or not other or any(not a or not b or a & b for a in one for b in other)


def _can_meet(first: Selector, second: Selector) -> bool:
    """False where no object can be in both, or where two patterns of one key cannot be told to
    meet."""
    held = _patterns(first)
    return all(
        _share(held[aspect], texts) for aspect, texts in _patterns(second).items() if aspect in held
    ) and not any(selector.exact_names == frozenset() for selector in (first, second))


def _patterns(selector: Selector) -> dict[str, frozenset[str]]:
    """The patterns of each key a selection has, literal ones too."""
    derived = ("prefix", "suffix", "has")
    return {
        aspect.removeprefix("~"): texts for aspect, texts in selector.needs if aspect not in derived
    }


def _share(first: frozenset[str], second: frozenset[str]) -> bool:
    """True if a text that both sets of patterns match is easily seen."""
    if not first.isdisjoint(second):
        return True
    ones = [parse_pattern(text) for text in islice(sorted(first), MOST_PATTERNS)]
    others = [parse_pattern(text) for text in islice(sorted(second), MOST_PATTERNS)]
    return any(_meet(one, other) for one in ones for other in others)


def _meet(one: Pattern, other: Pattern) -> bool:
    if one.literal is not None:
        return other.test(one.literal)
    if other.literal is not None:
        return one.test(other.literal)
    if one.everything or other.everything:
        return True
    if not (one.is_ends and other.is_ends):
        return False
    shorter, longer = sorted((one.prefix, other.prefix), key=len)
    tail, longer_tail = sorted((one.suffix, other.suffix), key=len)
    return longer.startswith(shorter) and longer_tail.endswith(tail)
