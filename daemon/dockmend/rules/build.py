"""One rule: from plain data (the file's `defaults` merged in) to a checked Rule, or all that is
wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dockmend.rules.diagnostics import Scope
from dockmend.rules.expressions import compile_condition
from dockmend.rules.fields import contexts_for
from dockmend.rules.language_error import LanguageError
from dockmend.rules.rule import Condition, Rule, RuleLimits, Selector, Step, Verify
from dockmend.rules.rule_schema import LimitsModel, RuleModel, VerifyModel
from dockmend.rules.selector_syntax import excludes_all_of, read_exclude, read_match
from dockmend.rules.steps import Surroundings, read_steps
from dockmend.rules.time_windows import Windows, compile_windows, ever_hold
from dockmend.rules.when import When, read_when

RESERVED: Final = ("builtin-", "label:")
"""Names that begin so are those of built-in rules."""

_TRANSITIONS_ONLY: Final = (
    "`{}` goes with transitions only, not with raw events and schedules: expected it left out"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule comes from: its file, its line, its place among all rules, the host that reads
    it, and the channels for messages that the settings name there (None: not known)."""

    path: str
    line: int
    order: int
    host: str
    channels: frozenset[str] | None = None


def build_rule(scope: Scope, data: dict[str, Any], origin: Origin) -> Rule | None:
    """Builds a rule of its data; None where something is wrong with it (reported to `scope`)."""
    scope.shadow = data.get("dry_run") is True
    when = read_when(scope, data["when"]) if "when" in data else When()
    match, kind = (
        read_match(scope, data["match"], when, origin.host)
        if "match" in data
        else (None, "container")
    )
    contexts = contexts_for(kind or "", events=when.only_events, extra=frozenset(when.contexts))
    _emptied(scope, data)
    shape = scope.read(RuleModel, data, (), contexts)
    exclude = (
        read_exclude(scope, data["exclude"], kind, origin.host)
        if data.get("exclude") is not None
        else None
    )
    if (
        match is not None
        and exclude is not None
        and (key := excludes_all_of(data["match"], data["exclude"]))
    ):
        scope.error(
            ("exclude", key),
            f"`exclude` takes out all that `match` selects by {key}: the rule would never act",
        )
    triggers = frozenset(trigger.name for trigger in when.triggers)
    around = Surroundings(kind, contexts, triggers, origin.channels)
    then, finally_, escalate = (
        read_steps(scope, key, data[key], around)
        if data.get(key) is not None or (key == "then" and key in data)
        else ()
        for key in ("then", "finally", "escalate")
    )
    condition = _condition(scope, data.get("if"), contexts)
    # What can be said of a part is said whatever is wrong with the others: all errors at once.
    windows = _windows(scope, data)
    verify = _verify(scope, data.get("verify"), when)
    _name(scope, data.get("name"))
    hold = _hold(scope, shape.for_ if shape is not None else data.get("for"), when)
    if shape is None or match is None:
        return None
    limits = _limits(shape.limits)
    _escalation(scope, limits, then, escalate)
    if scope.errors:
        return None
    return Rule(
        name=shape.name, triggers=tuple(when.triggers), match=match, then=then,
        description=shape.description, enabled=shape.enabled, severity=shape.severity,
        annotations=shape.annotations, priority=shape.priority, hold=hold, exclude=exclude,
        condition=condition, condition_text=shape.if_ or "",
        during=windows.hold if windows else None, opens=windows.open_at if windows else None,
        during_text=windows.text if windows else "", finally_=finally_, verify=verify,
        limits=limits, mode=shape.mode, escalate=escalate, dry_run=shape.dry_run,
        cut_off=shape.cut_off, path=origin.path, line=origin.line, order=origin.order,
    )  # fmt: skip


def _emptied(scope: Scope, data: dict[str, Any]) -> None:
    """A key that narrows a rule, with nothing after it: the rule would do more than the person
    meant to write.

    In a rule it may lift what the file's `defaults` say.
    """
    for key in ("if", "during", "not_during", "exclude"):
        lifts = scope.defaults is not None and scope.defaults.child(key) is not None
        if key in data and data[key] is None and not lifts:
            scope.error(
                (key,),
                f"nothing stands after `{key}`: expected what it limits, or the key left out",
                key=True,
            )


def _name(scope: Scope, name: Any) -> None:
    if not isinstance(name, str):
        return  # reported with the rule's shape
    if name.startswith(RESERVED):
        reserved = " or ".join(RESERVED)
        scope.error(
            ("name",),
            f"names that begin with {reserved} are those of built-in rules: expected another name",
        )
    elif name != name.strip() or not name.isprintable():
        scope.error(
            ("name",),
            "the name holds line breaks, control characters or outer spaces: expected "
            "printable text",
        )


def _condition(scope: Scope, text: Any, contexts: frozenset[str]) -> Condition | None:
    if not isinstance(text, str) or not text:
        return None  # of the wrong type: reported with the rule's shape
    try:
        return compile_condition(text, contexts)
    except LanguageError as error:
        node = scope.find(("if",))
        if (
            text.count('"') % 2
            and node is not None
            and scope.reporter.document.comment_after(node) is not None
        ):
            message = (
                'YAML reads what follows " #" as a comment: put the whole condition into quotes'
            )
            scope.error(("if",), f"`if`: {message}", offset=len(text))
        else:
            scope.language(("if",), error)
        return None


def _windows(scope: Scope, data: dict[str, Any]) -> Windows | None:
    wrong = False
    written: dict[str, list[str]] = {}
    for key in ("during", "not_during"):
        value = data.get(key)
        for index, text in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(text, str):
                continue  # reported with the rule's shape
            written.setdefault(key, []).append(text)
            try:
                compile_windows(text)
            except LanguageError as error:
                wrong = True
                inside = scope.find((key, index)) is not None
                scope.language((key, index) if inside else (key,), error)
    if wrong or not written:
        return None
    windows = compile_windows(written.get("during"), written.get("not_during"))
    if windows.outside and not ever_hold(windows):
        scope.error(
            ("not_during",),
            f"the rule would never act ({windows.text}): expected hours that are left",
            key=True,
        )
    return windows


def _verify(scope: Scope, value: Any, when: When) -> Verify:
    if value is None:
        return Verify() if when.only_transitions else Verify(state="none")
    if not when.only_transitions:
        if scope.own(("verify",)):
            scope.error(("verify",), _TRANSITIONS_ONLY.format("verify"), key=True)
        return Verify(state="none")
    if value == "none":
        return Verify(state="none")
    if not isinstance(value, dict):
        scope.wrong(("verify",), value, "a mapping such as {state: healthy, within: 1m}, or none")
        return Verify()
    model = scope.read(VerifyModel, value, ("verify",))
    return Verify() if model is None else Verify(model.state, model.within)


def _hold(scope: Scope, hold: Any, when: When) -> float:
    """`hold`: seconds, or what was written where that is no duration (reported with the rule's
    shape)."""
    if not hold or when.only_transitions:
        return hold if isinstance(hold, float) else 0.0
    if scope.own(("for",)):
        scope.error(("for",), _TRANSITIONS_ONLY.format("for"), key=True)
    return 0.0


def _limits(model: LimitsModel) -> RuleLimits:
    """A limit that was left out keeps its default; `none` switches it off."""
    return RuleLimits(**{name: getattr(model, name) for name in model.model_fields_set})


def _escalation(
    scope: Scope, limits: RuleLimits, then: tuple[Step, ...], escalate: tuple[Step, ...]
) -> None:
    if not escalate:
        return
    if then and all(step.tells for step in then):
        scope.warn(
            ("escalate",), "`escalate` can never run: nothing in `then` can fail to heal", key=True
        )
    elif limits.attempts is None:
        scope.warn(
            ("escalate",),
            "`escalate` can never run: `attempts: none` never opens the breaker",
            key=True,
        )


__all__ = ["RESERVED", "Origin", "Selector", "build_rule"]
