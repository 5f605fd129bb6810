"""What rules gave up on and what is still broken: it is not forgotten when its incident closes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dockmend.decide import History
from dockmend.mirror import Mirror
from dockmend.model import target_of
from dockmend.pipeline.rules_in_force import RulesInForce


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A trouble that still stands and of which a rule's breaker is open. `since`: when it opened
    (wall seconds)."""

    rule: str
    target: str
    object_name: str
    since: float
    reason: str


def given_up(history: History, mirror: Mirror, rules: RulesInForce) -> list[GivenUp]:
    """The oldest first. A target that is well, that a person stopped or that is gone is not among
    them, nor one that is there again and does not ask for the rule any more."""
    open_breakers = [
        (key, mine) for key, mine in history.targets.items() if mine.breaker_at is not None
    ]
    if not open_breakers:
        return []
    standing = dict(_standing(mirror))
    found = [
        GivenUp(rule, target, standing[target], mine.breaker_at or 0.0, mine.breaker_reason)
        for (rule, target), mine in open_breakers
        if target in standing
        and (rules.named(rule) is None or rules.about(rule, target) is not None)
    ]
    return sorted(found, key=lambda each: (each.since, each.rule, each.target))


def _standing(mirror: Mirror) -> Iterator[tuple[str, str]]:
    """(target, object's name) of every trouble that stands, and of its group if it has one."""
    for change in mirror.standing():
        if change.subject is None or change.cause == "stopped":
            continue
        yield target_of(change.subject), change.subject.name
        if change.group:
            yield change.group, change.subject.name
