"""`dockmend coverage`: for every container the rules that would mend it, or why none would."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli.command_context import in_force
from dockmend.cli.dependents_view import DependentsView
from dockmend.cli.options import identities_of, options, owned_of, with_engine
from dockmend.cli.terminal_text import emit, show, state_text
from dockmend.decide import begins_a_task
from dockmend.mirror.change_factory import END_TRIGGERS
from dockmend.model import Container, target_of
from dockmend.rules.healer_images import foreign_healers
from dockmend.rules.label_names import Function, means_something, seems_ours
from dockmend.rules.label_rules import HEAL
from dockmend.rules.owner_labels import wishes

if TYPE_CHECKING:
    from dockmend.guards import Guards
    from dockmend.mirror.identities import Identities
    from dockmend.rules.rule import Rule, RuleSet

NEEDS_CHECK = frozenset({"container.unhealthy", "container.healthy"})


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """Rules that would act, `shadows` that would only say so, and `why` none acts ("" where one
    does). `along`: rules by which it comes back with another container, and with which. `labels`:
    which of its labels are wrong, or overruled by a rule of a file."""

    rules: tuple[str, ...]
    shadows: tuple[str, ...]
    why: str
    along: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@click.command()
@options("config", "rules", "engine", "state", "socket", "json")
def coverage(as_json: bool, **flags: Any) -> int:
    """Every container of the engine: by which rules it is covered, or why by none.

    Covered is a container that a rule would act on: one that is enabled, matches it, and listens to
    something that can happen to it. What lives in the namespaces of a covered container comes back
    with it. Asks the engine and the running daemon; if none runs, reads the rules' files.
    """
    from dockmend.guards import Guards, idle_protections

    asked = in_force(flags)
    listing = with_engine(asked.settings, lambda engine: engine.listing())
    rules = asked.ruleset(listing.containers)
    owned = owned_of(asked.settings.paths)
    guards = Guards(asked.settings.policy, asked.own, owned)
    rows = covers(
        [each for each in listing.containers if not owned.hides(each)],
        rules,
        guards,
        asked.channels,
        identities_of(asked.settings.paths),
    )
    for idle in idle_protections(asked.settings.policy.protect, (each for each, _ in rows)):
        click.echo(f"warning: policy.protect: {idle} fits no container here", err=True)
    if as_json:
        emit([_json(each, covered, guards) for each, covered in rows])
    else:
        show(
            ("CONTAINER", "STATE", "COVERED BY", "WHY NOT"),
            [_row(each, covered) for each, covered in rows],
            "no containers",
        )
    return 0


def covers(
    containers: Iterable[Container],
    rules: RuleSet,
    guards: Guards,
    channels: Collection[str] | None = None,
    identities: Identities | None = None,
) -> list[tuple[Container, CoverageRow]]:
    """Every container, by name, and what covers it: on its own, or with what it shares namespaces
    with.

    `channels`: the names that a label may give; None: they are not known. `identities`: what is
    known of containers that are gone.
    """
    known = sorted(containers, key=lambda each: each.name)
    ties = DependentsView(known, identities)
    healers = foreign_healers(known)
    found = {each.id: cover(each, rules, guards, ties, channels, healers) for each in known}
    acting = {container_id: covered.rules for container_id, covered in found.items()}
    rows: list[tuple[Container, CoverageRow]] = []
    for each in known:
        covered = found[each.id]
        if guards.forbids(each) is None:
            covered = replace(covered, along=tuple(ties.comes_with(each, acting, rules)))
        rows.append((each, covered))
    return rows


def cover(
    container: Container,
    rules: RuleSet,
    guards: Guards,
    ties: DependentsView,
    channels: Collection[str] | None = None,
    healers: Sequence[str] = (),
) -> CoverageRow:
    """Which rules of a set would act on a container, going by what they match and listen to.
    `channels`: as above. `healers`: others that run here, beside which `label:heal` only does dry
    runs."""
    errors = wishes(container.labels, channels).errors
    wrong = tuple(map(str, errors))
    forbidden = guards.forbids(container)
    if forbidden is not None:
        return CoverageRow((), (), forbidden.reason, labels=wrong)
    acting: list[Rule] = []
    shadows: list[str] = []
    reasons: list[str] = []
    for each in rules.rules:
        rule = (
            each.tailored(container)
            if each.match.kind == "container" and each.match.test(container)
            else None
        )
        if rule is None or not rule.wanted(container, ties.owner(container)):
            continue
        why_not = _why_not(rule, container, guards, ties)
        if why_not:
            reasons.append(why_not)
        elif why_not is None and rule.dry_run:
            shadows.append(rule.name)
        elif why_not is None:
            acting.append(rule)
    wrong = (*wrong, *_overruled(acting))
    if acting:
        return CoverageRow(tuple(rule.name for rule in acting), tuple(shadows), "", labels=wrong)
    if shadows:
        beside = (
            f", while {', '.join(healers)} runs here too" if healers and HEAL in shadows else ""
        )
        reasons.append(f"only dry runs: {', '.join(shadows)}{beside}")
    # that keeps nobody from healing it
    told = any(each.function is not Function.NOTIFY for each in errors)
    why = "; ".join(dict.fromkeys(reasons)) or ("" if told else _nothing(container, rules))
    return CoverageRow((), tuple(shadows), why, labels=wrong)


def _overruled(acting: Iterable[Rule]) -> list[str]:
    """What a rule of a file takes from a label: it answers the troubles that it listens to."""
    files = [rule for rule in acting if not rule.builtin]
    return [
        f"{rule.name} overruled by rule {other.name} for {', '.join(sorted(shared))}"
        for rule in acting if rule.builtin
        for other in files if (shared := {each for each in rule.named if _answers(other, each)})
    ]  # fmt: skip


def _answers(rule: Rule, trigger: str) -> bool:
    """Whether a rule listens to a trouble, also by another of the names that it has: each end is
    `container.exited`."""
    ends = [(cause, names) for cause, names in END_TRIGGERS.items() if names[0] == trigger]
    return any(
        each.name == trigger
        or any(each.name in names and (not each.causes or cause in each.causes)
            for cause, names in ends)
        for each in rule.triggers if each.kind == "transition"
    )  # fmt: skip


def _why_not(rule: Rule, container: Container, guards: Guards, ties: DependentsView) -> str | None:
    """None: the rule would act; "": it does nothing to a container; else what keeps it from
    acting."""
    if not rule.remedies:
        return ""
    if not rule.enabled:
        return f"{rule.name} is disabled"
    if rule.exclude is not None and rule.exclude.test(container):
        return f"excluded by {rule.name} ({rule.exclude.text})"
    if container.check is None and all(trigger.name in NEEDS_CHECK for trigger in rule.triggers):
        return f"no health check, which {rule.name} listens to"
    if forbidden := guards.forbidden_step(rule.then):
        return f"{rule.name}: {forbidden.reason}"
    if forbidden := begins_a_task(rule.then, container):
        return f"{rule.name}: {forbidden.reason}"
    if cut_off := guards.cuts_off(rule, rule.then, container, ties.guests(container, rule)):
        return f"{rule.name}: {cut_off}"
    return None


def _nothing(container: Container, rules: RuleSet) -> str:
    if container.one_off:
        return "a Compose one-off: only a rule with match: {oneoff: true} acts on it"
    if container.image_unknown:
        return "no rule matches; its image cannot be inspected, so none of its labels counts"
    if said := [key for key in container.image_labels if means_something(key)]:
        return f"no rule matches; {', '.join(said)} is set by its image, which does not count"
    if wishes(container.labels).rejoin and container.joined is None:
        return "no rule matches; its label dockmend.rejoin is for those that share its network"
    if rules.rules and (
        vain := [key for key in container.labels if seems_ours(key) and not means_something(key)]
    ):
        return (
            f"no rule matches, nor is one for its label {', '.join(sorted(vain))}: see "
            "`dockmend doctor`"
        )
    return "no rule matches" if rules.rules else "there are no rules"


def _row(container: Container, covered: CoverageRow) -> tuple[str, ...]:
    state = state_text(container.state, container.health)
    by = "; ".join(part for part in (", ".join(covered.rules), *covered.along) if part)
    why = f"on its own: {covered.why}" if covered.along and covered.why else covered.why
    why = "; ".join(part for part in (*covered.labels, why) if part)
    return container.name, state, by or "–", why


def _json(container: Container, covered: CoverageRow, guards: Guards) -> dict[str, Any]:
    return {
        "name": container.name, "id": container.id, "target": target_of(container),
        "state": container.state, "health": container.health or None,
        "covered": bool(covered.rules), "rules": covered.rules, "along": covered.along,
        "shadows": covered.shadows, "why": covered.why or None, "labels": covered.labels,
        "itself": guards.is_own(container),
    }  # fmt: skip
