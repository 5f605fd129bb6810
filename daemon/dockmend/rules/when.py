"""`when`: from a word, a mapping or a list of them to triggers, and what follows from them for the
rest of the rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from dockmend.model import LATER_TRANSITIONS, TRANSITIONS, Cause
from dockmend.rules import raw_event_names
from dockmend.rules.diagnostics import Scope
from dockmend.rules.durations import threshold
from dockmend.rules.fields import FORGEABLE
from dockmend.rules.language_error import LanguageError, did_you_mean
from dockmend.rules.located_yaml import Path
from dockmend.rules.patterns import compile_pattern
from dockmend.rules.rule import Trigger
from dockmend.rules.rule_schema import (
    TRIGGERS,
    EventTrigger,
    EveryTrigger,
    MqttTrigger,
    ScheduleTrigger,
    StatsTrigger,
    TransitionTrigger,
)  # fmt: skip
from dockmend.rules.schedules import check_cron, check_zone
from dockmend.rules.value_types import Params

_EXPECTED: Final = (
    "a trigger such as container.unhealthy, a mapping such as {every: 5m}, or a list of them"
)
_LOST: Final = frozenset({"removed", "disconnected"})
_ENDS: Final = frozenset(get_args(Cause)) - _LOST
_CAUSES: Final = {
    "container.network_lost": _LOST,
    "container.exited": _ENDS,
    "container.crashed": _ENDS,
    "container.stopped": _ENDS,
}
_SHORTEST: Final = 1.0
"""Seconds between two firings of `every`: less would be a busy loop."""


@dataclass(slots=True)
class When:
    """What `when` says. `kinds`: the kinds of object its triggers are about ("engine" for those
    without one)."""

    triggers: list[Trigger] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    # transition, event, schedule, every, startup, and the later ones
    forms: set[str] = field(default_factory=set)
    contexts: set[str] = field(default_factory=set)  # that later triggers bring: alert, payload

    @property
    def only_transitions(self) -> bool:
        return self.forms <= {"transition"}

    @property
    def only_events(self) -> bool:
        return self.forms == {"event"}

    @property
    def timed(self) -> bool:
        """It has a trigger that goes over what `match` selects."""
        return not self.forms.isdisjoint({"schedule", "every", "startup"})


def read_when(scope: Scope, value: Any) -> When:
    """Reads `when`; everything wrong with it is reported to the scope."""
    when = When()
    path: Path = ("when",)
    if isinstance(value, list):
        if not value:
            scope.wrong(path, value, _EXPECTED)
        for index, entry in enumerate(value):
            _entry(scope, when, (*path, index), entry)
    else:
        _entry(scope, when, path, value)
    if len(when.kinds) > 1:
        kinds = ", ".join(sorted(when.kinds))
        scope.error(
            path,
            f"the triggers are about different kinds of object ({kinds}): expected one kind "
            "in a rule",
        )
    return when


def _entry(scope: Scope, when: When, path: Path, value: Any) -> None:
    if isinstance(value, str) and value:
        _word(scope, when, path, value, Trigger("transition", value))
    elif isinstance(value, dict):
        _mapping(scope, when, path, value)
    else:
        scope.wrong(path, value, _EXPECTED)


def _word(scope: Scope, when: When, path: Path, name: str, trigger: Trigger) -> None:
    if name == "startup":
        when.triggers.append(Trigger("startup", "startup"))
        when.forms.add("startup")
        return
    when.forms.add("transition")
    if name in TRANSITIONS:
        when.kinds.add(name.partition(".")[0])
        when.triggers.append(trigger)
    elif name in LATER_TRANSITIONS:
        when.kinds.add(name.partition(".")[0])
        scope.later(path, name)
    else:
        scope.error(path, f'unknown trigger "{name}"{_unknown(name)}')


def _unknown(name: str) -> str:
    near = did_you_mean(name, [*TRANSITIONS, *LATER_TRANSITIONS, "startup"])
    kind, _, action = name.partition(".")
    if action.partition(":")[0] in raw_event_names.ACTIONS.get(kind, frozenset()):
        better = raw_event_names.BETTER.get(name)
        instead = f"expected {better}" if better else "expected a transition"
        return f": it is a raw event of the engine: {instead}, or {{event: {name}}}"
    if name in TRIGGERS:
        return f": `{name}` takes a value, expected a mapping such as {{{name}: …}}"
    return f"{near}: expected a transition such as container.unhealthy"


def _mapping(scope: Scope, when: When, path: Path, value: dict[str, Any]) -> None:
    forms = [key for key in value if key in TRIGGERS]
    if not forms:
        if list(value) == ["startup"]:
            _word(scope, when, path, "startup", Trigger("startup", "startup"))
        elif value:
            scope.unknown_key((*path, next(iter(value))), TRIGGERS)
        else:
            scope.wrong(path, value, _EXPECTED)
        return
    if len(forms) > 1:
        message = (
            f"`{forms[0]}` and `{forms[1]}` in one trigger: expected one of them, or a "
            "list of two triggers"
        )
        scope.error((*path, forms[1]), message, key=True)
        return
    form = forms[0]
    model = scope.read(TRIGGERS[form], value, path)
    if form == "transition":
        name = value["transition"]
        if isinstance(name, str) and name:
            _transition(scope, when, path, name, cast("TransitionTrigger | None", model))
        return
    when.forms.add(form)
    if model is not None:
        _other(scope, when, path, form, model)


def _other(scope: Scope, when: When, path: Path, form: str, model: Params) -> None:
    """A trigger that is no transition."""
    if isinstance(model, EventTrigger):
        _event(scope, when, path, model)
    elif isinstance(model, ScheduleTrigger):
        _schedule(scope, when, path, model)
    elif isinstance(model, EveryTrigger):
        if model.every < _SHORTEST:
            scope.error(
                (*path, "every"), f"`every` is shorter than {_SHORTEST:g}s: expected at least that"
            )
        when.triggers.append(Trigger("every", "every", interval=model.every))
    else:
        _later(scope, when, path, form, model)


def _transition(
    scope: Scope, when: When, path: Path, name: str, model: TransitionTrigger | None
) -> None:
    if name == "startup":
        scope.error(
            (*path, "transition"),
            "`startup` is no transition: expected the bare word, `when: startup`",
        )
        return
    causes: tuple[str, ...] = model.cause if model is not None else ()
    allowed = _CAUSES.get(name, frozenset())
    for cause in causes:
        if not allowed:
            scope.error(
                (*path, "cause"),
                f"{name} has no causes to choose from: expected no `cause`",
                key=True,
            )
            break
        if cause not in allowed:
            expected = (
                f"{did_you_mean(cause, allowed)}: expected one of {', '.join(sorted(allowed))}"
            )
            scope.error((*path, "cause"), f'unknown cause "{cause}"{expected}')
    times = model.times if model is not None else None
    _word(
        scope,
        when,
        (*path, "transition"),
        name,
        Trigger("transition", name, frozenset(causes), times=times),
    )


def _event(scope: Scope, when: When, path: Path, model: EventTrigger) -> None:
    kind, _, action = model.event.partition(".")
    at = (*path, "event")
    base, _, detail = action.partition(":")
    if kind not in raw_event_names.ACTIONS:
        near = did_you_mean(model.event, [f"{each}.{action}" for each in raw_event_names.ACTIONS])
        scope.error(
            at, f'unknown event "{model.event}"{near}: expected TYPE.ACTION such as container.die'
        )
        return
    if base.startswith("exec_"):
        scope.error(
            at,
            f"{model.event} is refused, health checks make a flood of exec_*: expected "
            "another event",
        )
        return
    known = base in raw_event_names.ACTIONS[kind]
    if not known or (
        detail and (base != "health_status" or detail.strip() not in raw_event_names.HEALTH)
    ):
        near = did_you_mean(
            model.event, [f"{kind}.{name}" for name in raw_event_names.ACTIONS[kind]]
        )
        scope.error(
            at, f'unknown event "{model.event}"{near}: expected an action of the Engine API'
        )
        return
    better = raw_event_names.BETTER.get(
        f"{kind}.{base}: {detail.strip()}" if detail else model.event
    )
    if detail:
        scope.error(
            at,
            "a raw event is named without what follows the colon: expected the transition "
            f"{better}",
        )
        return
    if better is not None:
        scope.warn(at, f"the raw event {model.event} can be lost: use the transition {better}")
    if kind not in raw_event_names.KINDS:
        when.kinds.add("engine")
        scope.later(at, f"event: {model.event}")
        return
    when.kinds.add(kind)
    tests = tuple(_attributes(scope, (*path, "attributes"), model.attributes))
    when.triggers.append(Trigger("event", model.event, attributes=tests))


def _attributes(scope: Scope, path: Path, attributes: dict[str, str]) -> list[Any]:
    tests = []
    for name, pattern in attributes.items():
        if name in FORGEABLE:
            message = (
                f"the attribute {name} is refused, a label overwrites it: use "
                f"{FORGEABLE[name]} in `if`"
            )
            scope.error((*path, name), message, key=True)
            continue
        try:
            tests.append((name, compile_pattern(pattern)))
        except LanguageError as error:
            scope.language((*path, name), error)
    return tests


def _schedule(scope: Scope, when: When, path: Path, model: ScheduleTrigger) -> None:
    try:
        check_cron(model.schedule)
    except LanguageError as error:
        scope.language((*path, "schedule"), error)
    if model.timezone is not None:
        try:
            check_zone(model.timezone)
        except LanguageError as error:
            scope.language((*path, "timezone"), error)
    when.triggers.append(
        Trigger(
            "schedule",
            "schedule",
            cron=model.schedule,
            timezone=model.timezone,
            catch_up=model.catch_up,
        )
    )


def _later(scope: Scope, when: When, path: Path, form: str, model: Any) -> None:
    """The shape is checked now, so that a rule written for later is right when it comes."""
    if isinstance(model, StatsTrigger):
        for name, text in model.stats.model_dump(exclude_none=True).items():
            try:
                threshold(text)
            except LanguageError as error:
                scope.language((*path, "stats", name), error)
    if form in ("mqtt", "alert"):
        when.contexts.add("payload" if isinstance(model, MqttTrigger) else "alert")
        if not any((model.container, model.volume, model.network, model.service, model.all)):
            scope.error(
                path,
                f"`{form}` does not say which object it is about: expected `container: …` or "
                "`all: true`",
            )
    elif not when.kinds:
        when.kinds.add("container")
    scope.later((*path, form), form, key=True)
