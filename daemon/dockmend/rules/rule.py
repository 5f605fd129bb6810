"""A rule after it was checked: everything resolved, nothing left to fail but the world.

The loader builds these; the matcher, the decider and the actions only ever see these. Durations are
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dockmend.model import Change, Container, Network, Object, Volume

Fields = Mapping[str, Any]
"""Field values by dotted name ("container.name"), absent ones None; see rules/fields.py for the
catalogue."""


class ConditionError(Exception):
    """An `if` that cannot be answered, e.g. ordering an absent value. The text says which part and
    why."""


Condition = Callable[[Fields], bool]
"""A compiled `if`; raises ConditionError."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One entry of `when`. `name` is the transition, "TYPE.ACTION" of a raw event, or schedule,
    every, startup."""

    kind: Literal["transition", "event", "schedule", "every", "startup"]
    name: str
    causes: frozenset[str] = frozenset()  # empty: any cause
    # raw events: attribute name, test
    attributes: tuple[tuple[str, Callable[[str], bool]], ...] = ()
    cron: str | None = None
    timezone: str | None = None  # None: the host's
    catch_up: Literal["none", "once"] = "none"
    interval: float | None = None
    times: tuple[int, float] | None = None  # (count, within seconds)


@dataclass(frozen=True, slots=True)
class Selector:
    """`match` or `exclude`. `test` holds every key of it; `breadth` is smaller the narrower the
    selection is."""

    kind: Literal["container", "network", "volume", "image", "service", "node"]
    test: Callable[[Container | Network | Volume], bool]
    breadth: int
    everything: bool = False
    one_off: bool = False  # of a `match`: it selects Compose one-offs, which no other selects
    text: str = "all"  # as a person would say it, for explain and coverage
    # all names it could match when every pattern is literal: an index key
    exact_names: frozenset[str] | None = None
    # what every match has, (aspect, any of these): see selectors.py
    needs: tuple[tuple[str, frozenset[str]], ...] = ()


@dataclass(frozen=True, slots=True)
class TargetRef:
    """`target:` of a step: another object than the one that triggered. Exactly one of the two."""

    name: str | None = None
    label: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One action of `then`, `finally` or `escalate`. `params` is the action's own checked parameter
    model."""

    action: str
    params: Any
    timeout: float | None = None
    on_error: Literal["fail", "continue"] = "fail"
    target: TargetRef | None = None
    # it tells or collects evidence: it heals nothing, and its failure fails nothing
    tells: bool = False
    available: bool = True  # False: not yet in this version (only in `escalate` or with dry_run)


def changing(steps: Iterable[Step]) -> int:
    """How many of them change something: each is an action that the host's budget pays for. Waiting
    is none."""
    return sum(not step.tells and step.action != "wait" for step in steps)


@dataclass(frozen=True, slots=True)
class Verify:
    # auto: healthy where there is a check, else running
    state: Literal["healthy", "running", "auto", "none"] = "auto"
    within: float | None = None  # None: from the health check


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """None switches one off (`none` in the file); the defaults are those of rules.md."""

    cooldown: float | None = None
    attempts: tuple[int, float] | None = (5, 900.0)
    backoff: tuple[float, float] | None = (1.0, 300.0)
    rate: tuple[int, float] | None = None


Tailoring = Callable[["Rule", Object, "str | None"], "Rule | None"]
"""A rule as it is for one object and trigger; None if the object asks for nothing of the kind."""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    triggers: tuple[Trigger, ...]
    match: Selector
    then: tuple[Step, ...]
    description: str = ""
    enabled: bool = True
    severity: Literal["info", "warning", "critical"] = "warning"
    annotations: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    hold: float = 0.0  # `for`: seconds the state must still hold
    exclude: Selector | None = None
    condition: Condition | None = None
    condition_text: str = ""
    # wall seconds -> inside the windows (not_during is folded in)
    during: Callable[[float], bool] | None = None
    # wall seconds outside them -> when they next begin
    opens: Callable[[float], float | None] | None = None
    during_text: str = ""
    finally_: tuple[Step, ...] = ()
    verify: Verify = Verify()
    limits: RuleLimits = RuleLimits()
    mode: Literal["single", "queued", "restart"] = "single"
    escalate: tuple[Step, ...] = ()
    dry_run: bool = False
    cut_off: bool = False  # it may cut off guests that must not be brought back
    builtin: bool = False
    # makes of it what one object asks for by labels; None: it is the same for all
    tailor: Tailoring | None = None
    asks: Callable[[Container, Container | None], bool] | None = None  # see `wanted`
    path: str = ""
    line: int = 0
    order: int = 0  # over all files, in the order they were read
    remedies: bool = field(init=False, default=False)
    """True if a step of `then` changes something: such rules compete for a trouble, others all
    run."""
    actions: frozenset[str] = field(init=False, default=frozenset())
    """The names of what `then` does."""
    costs: int = field(init=False, default=0)
    """What an attempt takes from the host's budget: the steps of `then` and `finally` that change
    something."""
    named: frozenset[str] = field(init=False, default=frozenset())
    """The names of its triggers."""
    counts: bool = field(init=False, default=False)
    """True if one of them has `times`."""
    grouped: bool = field(init=False, default=False)
    """True if orphans of one owner are one incident: it restarts them all together."""

    def __post_init__(self) -> None:
        # Derived once: it is asked for every change.
        object.__setattr__(self, "remedies", any(not step.tells for step in self.then))
        object.__setattr__(self, "actions", frozenset(step.action for step in self.then))
        object.__setattr__(self, "costs", changing((*self.then, *self.finally_)))
        object.__setattr__(self, "named", frozenset(trigger.name for trigger in self.triggers))
        object.__setattr__(
            self, "counts", any(trigger.times is not None for trigger in self.triggers)
        )
        together = any(step.action == "restart_dependents" for step in (*self.then, *self.escalate))
        object.__setattr__(self, "grouped", together and "container.orphaned" in self.named)

    def wanted(self, subject: Object | None, owner: Container | None) -> bool:
        """Whether a container whose labels, or those of the `owner` of its network, may ask for
        this rule does so."""
        return self.asks is None or (isinstance(subject, Container) and self.asks(subject, owner))

    def wanted_with(self, fellow: Container, owners: Iterable[Container]) -> bool:
        """The same of one that would be treated with others, as it lives in namespaces of `owners`
        too. What only links to them, or depends on them, is felt whatever it says."""
        if self.asks is None or not fellow.owners:
            return True
        return self.wanted(fellow, None) or any(self.wanted(fellow, each) for each in owners)

    def tailored(self, subject: Object | None, trigger: str | None = None) -> Rule | None:
        """The rule as it is for one object, and for a trouble of which `trigger` tells; None: the
        object asks for nothing of the kind."""
        return (
            self if self.tailor is None or subject is None else self.tailor(self, subject, trigger)
        )


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules that are in force, in file order, and the warnings their files gave."""

    rules: tuple[Rule, ...] = ()
    warnings: tuple[Any, ...] = ()  # errors.Problem
    digest: str = ""  # of the files' contents: tells a reload whether anything changed
    _by_name: Mapping[str, Rule] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {rule.name: rule for rule in reversed(self.rules)})

    def by_name(self, name: str) -> Rule | None:
        return self._by_name.get(name)


__all__ = [
    "Change",
    "Condition",
    "ConditionError",
    "Fields",
    "Rule",
    "RuleLimits",
    "RuleSet",
    "Selector",
    "Step",
    "TargetRef",
    "Trigger",
    "Verify",
]  # fmt: skip
