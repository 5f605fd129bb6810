"""The rule that is there without any file: the setting `heal`, a drop-in for the healers people already label for.

It is a Rule like any other, listed and explained like any other, and loses against every rule a person wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal

from dockmend.model import Container, Network, Volume
from dockmend.rules.model import Rule, RuleSet, Selector, Step, Trigger
from dockmend.rules.parameters import LabelledRestart
from dockmend.rules.selectors import compile_selector

NAME: Final = "builtin-heal"
LOWEST: Final = -1_000_001
"""One below what a file may say."""

LABELS: Final = ("dockmend.heal", "autoheal", "deunhealth.restart.on.unhealthy")
"""Each of them with the value true asks to be restarted when unhealthy."""

_HEALER = re.compile(r"(^|/)(docker-)?(autoheal|deunhealth)([:@]|$)")


def with_builtin(
    rules: RuleSet, heal: Literal["labelled", "all", "off"], foreign: Sequence[str] = (), *, acts: bool = True
) -> RuleSet:
    """The files' rules and the built-in one, which only shadows unless it `acts`.

    `foreign`: other healers on this host, beside which it only shadows too.
    """
    rule = builtin_rule(heal, foreign)
    if rule is None:
        return rules
    return replace(rules, rules=(*rules.rules, rule if acts else replace(rule, dry_run=True)))


def builtin_rule(heal: Literal["labelled", "all", "off"], foreign: Sequence[str] = ()) -> Rule | None:
    """The rule of the setting `heal`; None where it is off."""
    if heal == "off":
        return None
    shadow = f" Only watched: {', '.join(foreign)} heals on this host too." if foreign else ""
    return Rule(
        name=NAME,
        triggers=(Trigger("transition", "container.unhealthy"),),
        match=_everything() if heal == "all" else _labelled(),
        then=(Step("restart", LabelledRestart()),),
        description=f"Restarts unhealthy containers; the setting `heal: {heal}`.{shadow}",
        priority=LOWEST,
        dry_run=bool(foreign),
        builtin=True,
        path="(built in)",
        order=1 << 30,
    )


def foreign_healers(containers: Iterable[Container]) -> list[str]:
    """The names of running containers that are other healers, by their image's name."""
    return sorted(each.name for each in containers if _heals(each))


def healers_changed(before: Container | None, after: Container | None) -> bool:
    """Whether a change of one container's record can be the coming or going of another healer."""
    if before is not None and after is not None and before.running == after.running and before.name == after.name:
        return False
    return any(each is not None and _heals(each) for each in (before, after))


def _heals(container: Container) -> bool:
    return container.running and _HEALER.search(container.image.lower()) is not None


def _everything() -> Selector:
    return compile_selector("all", matching=True)


def _labelled() -> Selector:
    def asks(subject: Container | Network | Volume) -> bool:
        return (
            isinstance(subject, Container)
            and not subject.one_off
            and any(subject.labels.get(label) == "true" for label in LABELS)
        )

    return Selector("container", asks, breadth=1000, text=" or ".join(f"label {label} = true" for label in LABELS))
