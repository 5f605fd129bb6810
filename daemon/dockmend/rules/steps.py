"""`then`, `finally` and `escalate`: from a name, a mapping or a list of them to checked steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from dockmend.rules.action_catalogue import ACTIONS, ActionSpec
from dockmend.rules.action_parameters import CreateNetwork, Notify, RunParams
from dockmend.rules.diagnostics import Scope
from dockmend.rules.durations import some
from dockmend.rules.language_error import LanguageError, did_you_mean
from dockmend.rules.located_yaml import Path
from dockmend.rules.rule import Step, TargetRef
from dockmend.rules.rule_schema import TargetModel
from dockmend.rules.value_types import Params

_OPTIONS: Final = ("timeout", "on_error", "target")
_EXPECTED: Final = (
    "an action such as restart, a mapping such as {restart: {timeout: 10s}}, or a list of them"
)
_BARE: Final[dict[str, Any]] = {}
"""The parameters of an action that was written as a mere name."""

_OF_ENVIRONMENT: Final = "default"
"""The channel that an environment variable makes."""

_PARAMETERLESS: dict[str, Params] = {}
"""Actions without parameters, checked once: most rules of a large set say no more than `then:
restart`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step needs to know of its rule. `kind` is what the rule is about, None where triggers
    have no object; `channels`: those that the settings name, None where that is not known."""

    kind: str | None
    contexts: frozenset[str]
    triggers: frozenset[str] = frozenset()
    channels: frozenset[str] | None = None


def read_steps(scope: Scope, key: str, value: Any, around: Surroundings) -> tuple[Step, ...]:
    """Reads the steps under `key`; everything wrong with them is reported to the scope."""
    path: Path = (key,)
    if not isinstance(value, list):
        step = _step(scope, path, value, around)
        return () if step is None else (step,)
    if not value and key == "then":
        scope.wrong(path, value, _EXPECTED)
    steps = (_step(scope, (*path, index), item, around) for index, item in enumerate(value))
    return tuple(step for step in steps if step is not None)


def _step(scope: Scope, path: Path, value: Any, around: Surroundings) -> Step | None:
    if isinstance(value, str) and value:
        return _action(scope, path, value, _BARE, {}, around)
    if not isinstance(value, dict) or not value:
        scope.wrong(path, value, _EXPECTED)
        return None
    names = [key for key in value if key not in _OPTIONS]
    if not names:
        scope.error(path, f"only {', '.join(value)} here: expected {_EXPECTED}")
        return None
    if len(names) > 1:
        known = [name for name in names if name in ACTIONS]
        if len(known) == 1:  # what is beside it is a misspelt option
            for name in names:
                if name not in known:
                    scope.unknown_key((*path, name), _OPTIONS)
            names = known
        else:
            second = names[1]
            message = (
                f"`{names[0]}` and `{second}` in one step: expected a list, one action in each step"
            )
            scope.error((*path, second), message, key=True)
            return None
    options = {key: value[key] for key in _OPTIONS if key in value}
    return _action(scope, (*path, names[0]), names[0], value[names[0]], options, around)


def _action(
    scope: Scope,
    path: Path,
    name: str,
    parameters: Any,
    options: dict[str, Any],
    around: Surroundings,
) -> Step | None:
    spec = ACTIONS.get(name)
    if spec is None:
        scope.error(path, _unknown(name), key=parameters is not _BARE)
        return None
    params = _parameters(scope, path, spec, parameters, around)
    base = path[:-1]
    target = _target(scope, (*base, "target"), options["target"]) if "target" in options else None
    if target is None and "target" not in options and spec.kinds and around.kind not in spec.kinds:
        scope.error(path, _misplaced(spec, around.kind), key=parameters is not _BARE)
    if (
        isinstance(params, RunParams)
        and params.image is None
        and around.triggers != {"container.missing"}
    ):
        scope.error(
            path,
            "`run` without an `image` makes again what is missing: expected `when: "
            "container.missing`",
        )
    if (
        isinstance(params, CreateNetwork)
        and params.name is None
        and around.triggers != {"network.missing"}
    ):
        message = (
            "`create_network` without a name makes the network again that is missing: "
            "expected a `name`"
        )
        scope.error(path, f"{message}, or `when: network.missing`", key=parameters is not _BARE)
    if isinstance(params, Notify) and around.channels is not None:
        _channels(scope, path, params, around.channels)
    timeout = (
        _timeout(scope, (*base, "timeout"), options["timeout"]) if "timeout" in options else None
    )
    on_error = options.get("on_error", "fail")
    if on_error not in ("fail", "continue"):
        scope.wrong((*base, "on_error"), on_error, "continue or fail")
        on_error = "fail"
    available = _available(scope, path, spec, params, at_key=parameters is not _BARE)
    if params is None:
        return None
    return Step(name, params, timeout, on_error, target, spec.telling(params), available)


def _unknown(name: str) -> str:
    if "." in name:
        return (
            f'unknown action "{name}": names with a dot are reserved for extensions: expected '
            "an action such as restart"
        )
    near = did_you_mean(name, ACTIONS)
    return (
        f'unknown action "{name}"{near}: expected an action such as restart, snapshot_volume '
        "or publish"
    )


def _misplaced(spec: ActionSpec, kind: str | None) -> str:
    about = (
        f"this rule is about a {kind}" if kind is not None else "this rule's trigger has no object"
    )
    wanted = " or ".join(sorted(spec.kinds))
    return f"`{spec.name}` is done to a {wanted}, {about}: expected `target: {{name: …}}` beside it"


def _parameters(
    scope: Scope, path: Path, spec: ActionSpec, value: Any, around: Surroundings
) -> Params | None:
    if value is None or value == {}:
        cached = _PARAMETERLESS.get(spec.name)
        if cached is None:
            cached = scope.read(spec.params, {}, path, around.contexts)
            if cached is not None:
                _PARAMETERLESS[spec.name] = cached
        return cached
    if not isinstance(value, dict):
        names = ", ".join(field.alias or name for name, field in spec.params.model_fields.items())
        scope.wrong(path, value, f"a mapping with {names}" if names else "nothing after it")
        return None
    return scope.read(spec.params, value, path, around.contexts)


def _available(
    scope: Scope, path: Path, spec: ActionSpec, params: BaseModel | None, *, at_key: bool
) -> bool:
    tolerated = path[0] == "escalate"
    if not spec.built:
        scope.later(path, spec.name, key=at_key, tolerated=tolerated)
        return False
    parts = params.later() if isinstance(params, Params) else []
    for key, name in parts:
        scope.later((*path, key), name, key=True, tolerated=tolerated)
    return not parts


def _channels(scope: Scope, path: Path, params: Notify, known: frozenset[str]) -> None:
    """A channel that nobody configured is a slip. Without any, a rule that names none stays right:
    what it heals is healed, and its step fails and says why. The same holds for the channel of the
    environment, which is not the same for a daemon and for a person who checks its rules."""
    if params.to is None and not known:
        scope.warn(
            path, "`notify` tells nobody: no channel is configured (settings: notify)", key=True
        )
    for index, name in enumerate(params.to or ()):
        if name in known:
            continue
        place = (
            (*path, "to", index) if scope.find((*path, "to", index)) is not None else (*path, "to")
        )
        if name == _OF_ENVIRONMENT:
            scope.warn(
                place, f'channel "{name}" is not configured here: DOCKMEND_NOTIFY_URL makes it'
            )
            continue
        wanted = (
            f"one of {', '.join(sorted(known))}"
            if known
            else "a channel of the settings (notify): there is none"
        )
        scope.error(
            place, f'unknown channel "{name}"{did_you_mean(name, known)}: expected {wanted}'
        )


def _timeout(scope: Scope, path: Path, value: Any) -> float | None:
    if not isinstance(value, str):
        scope.wrong(path, value, "a duration such as 30s or 5m")
        return None
    try:
        return some(value)
    except LanguageError as error:
        scope.language(path, error)
        return None


def _target(scope: Scope, path: Path, value: Any) -> TargetRef | None:
    expected = "either {name: …} or {label: {KEY: VALUE}}"
    if not isinstance(value, dict):
        scope.wrong(path, value, expected)
        return None
    model = scope.read(TargetModel, value, path)
    if model is None:
        return None
    if (model.name is None) == (model.label is None):
        scope.error(
            path,
            f"`target` names {'nothing' if model.name is None else 'two things'}: expected "
            f"{expected}",
        )
        return None
    if model.name is not None:
        return TargetRef(name=model.name)
    label = _label(model.label)
    if label is None:
        scope.wrong((*path, "label"), model.label, "one label, such as {tier: web} or tier=web")
        return None
    return TargetRef(label=label)


def _label(value: Any) -> tuple[str, str] | None:
    if isinstance(value, str):
        name, equals, content = value.partition("=")
        return (name, content) if name and equals else None
    if isinstance(value, dict) and len(value) == 1:
        (name, content), *_ = value.items()
        text = str(content).lower() if isinstance(content, bool) else content
        return (name, text) if isinstance(text, str) else None
    return None
