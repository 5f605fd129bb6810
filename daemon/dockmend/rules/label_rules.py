"""The rules that are there without any file: what owners of containers ask for by labels
(docs/labels.md).

They are rules like any other, listed, limited and explained like any other, and lose against every
rule of a file. One rule serves every container that asks for the same function, so its name is a
metric label with few values; what one container asks for in particular (which troubles, which
action, how often) is its `tailored` rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from dockmend.model import Container, Network, Object, Volume
from dockmend.rules.action_parameters import (
    NoParams,
    ReconnectNetwork,
    Recreate,
    RestartDependents,
    RestartParams,
    Stop,
)
from dockmend.rules.owner_labels import TRANSITION, Cause, Heal, wishes
from dockmend.rules.rule import Rule, RuleLimits, RuleSet, Selector, Step, Trigger

PREFIX: Final = "label:"
HEAL: Final = "label:heal"
REJOIN: Final = "label:rejoin"
LOWEST: Final = -1_000_001
"""One below the lowest priority that a file may say."""
TAILORED_KEPT: Final = 1000
"""Combinations of what containers ask for, each with its rule, that are remembered."""

Setting = Literal["labelled", "all", "off"]
"""The setting `heal`."""


def with_label_rules(
    rules: RuleSet, heal: Setting, foreign: Sequence[str] = (), *, acts: bool = True
) -> RuleSet:
    """The files' rules and those of the labels, which only shadow unless dockmend `acts`.

    `foreign`: other healers on this host, beside which `label:heal` only shadows too.
    """
    own = label_rules(heal, foreign)
    return replace(
        rules,
        rules=(*rules.rules, *(own if acts else (replace(each, dry_run=True) for each in own))),
    )


def label_rules(heal: Setting, foreign: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules of the setting `heal`; none if it is off."""
    if heal == "off":
        return ()
    shadow = f" Only watched: {', '.join(foreign)} heals on this host too." if foreign else ""
    healing = _rule(
        HEAL, tuple(_trigger(cause) for cause in Cause), _healed(heal),
        Step("restart", RestartParams()),
        f"Heals what asks by label; the setting `heal: {heal}`.{shadow}",
    )  # fmt: skip
    rejoining = _rule(
        REJOIN, (Trigger("transition", "container.orphaned"),), _rejoined(),
        Step("restart_dependents", RestartDependents()),
        "Brings back what lives in another container's network and asks by label.",
    )  # fmt: skip
    return replace(healing, dry_run=bool(foreign), tailor=Tailor(heal)), replace(
        rejoining, asks=asks_to_rejoin
    )


def _rule(
    name: str, triggers: tuple[Trigger, ...], match: Selector, step: Step, description: str
) -> Rule:
    return Rule(
        name,
        triggers,
        match,
        (step,),
        description,
        priority=LOWEST,
        builtin=True,
        path="(labels)",
        order=1 << 30,
    )


def asked(container: Container, heal: Setting) -> Heal | None:
    """What is to be healed of a container, and how; None for nothing. `heal: all` restarts an
    unhealthy one that says nothing."""
    if container.one_off or heal == "off":
        return None
    said = wishes(container.labels)
    if said.heal is None and heal == "all":
        if container.image_unknown and wishes(container.holding_labels).heal is False:
            return None  # who opts out is left alone also if nobody knows whose labels they are
        return Heal(causes=frozenset({Cause.UNHEALTHY}), stop_timeout=said.stop_timeout)
    return said.heal or None


class Tailor:
    """Makes of `label:heal` what one container asks for. Containers that ask for the same share one
    rule."""

    def __init__(self, heal: Setting) -> None:
        self._setting: Setting = heal
        self._made: dict[tuple[Heal, bool, bool], Rule] = {}

    def __call__(self, rule: Rule, subject: Object, trigger: str | None) -> Rule | None:
        heal = asked(subject, self._setting) if isinstance(subject, Container) else None
        if heal is None:
            return None
        network = trigger == TRANSITION[Cause.NETWORK]
        key = (heal, network, rule.dry_run)
        if key not in self._made:
            if len(self._made) >= TAILORED_KEPT:
                self._made.clear()
            self._made[key] = _made_for(rule, heal, network)
        return self._made[key]


def _made_for(rule: Rule, heal: Heal, network: bool) -> Rule:
    """Of a `network` trouble the remedy is always to reconnect."""
    return replace(
        rule,
        triggers=tuple(_trigger(cause) for cause in Cause if cause in heal.causes),
        then=(Step("reconnect_network", ReconnectNetwork()) if network else _step(heal),),
        hold=heal.after,
        limits=RuleLimits() if heal.attempts is None else RuleLimits(attempts=heal.attempts),
        tailor=None,
    )


def _step(heal: Heal) -> Step:
    # Built without the checks of what a person writes: a rule's file has texts, and here are
    # seconds.
    match heal.action:
        case "start":
            return Step("start", NoParams())
        case "recreate":
            return Step("recreate", Recreate())
        case "stop":
            return Step("stop", Stop.model_construct(timeout=heal.stop_timeout))
        case _:  # it starts what has ended, too
            return Step("restart", RestartParams.model_construct(timeout=heal.stop_timeout))


def _trigger(cause: Cause) -> Trigger:
    return Trigger("transition", TRANSITION[cause])


def _healed(heal: Setting) -> Selector:
    def asks(subject: Container | Network | Volume) -> bool:
        return isinstance(subject, Container) and asked(subject, heal) is not None

    text = "label dockmend.heal = true (or of autoheal or deunhealth)"
    if heal == "all":
        text = "all but label dockmend.heal = false (or of autoheal or deunhealth)"
    return Selector("container", asks, breadth=1000, text=text)


def _rejoined() -> Selector:
    def may_ask(subject: Container | Network | Volume) -> bool:
        return isinstance(subject, Container) and not subject.one_off and subject.joined is not None

    text = "label dockmend.rejoin = true, its own or that of the container whose network it shares"
    return Selector("container", may_ask, breadth=1000, text=text)


def asks_to_rejoin(guest: Container, owner: Container | None) -> bool:
    """Whether a guest, or the owner of its network for all of its guests, asks that it be brought
    back. The guest's own word wins."""
    own = wishes(guest.labels).rejoin
    return (
        own is True
        if own is not None
        else owner is not None and wishes(owner.labels).rejoin is True
    )


def begins_to_ask(before: Container | None, after: Container | None) -> bool:
    """Whether a container began to run that asks for all of its guests: those that were left are
    offered again."""
    began = after is not None and after.running and (before is None or not before.running)
    return began and after is not None and wishes(after.labels).rejoin is True
