"""The shape of a rule file: pydantic models of everything but the actions, and the JSON Schema of
the whole.

Places where a person may write a word, a mapping or a list (`when`, `match`, `then` …) are `Any`
here and read by rules/when.py, rules/steps.py and rules/build.py: a union's errors would name every
form but the one that was meant. The JSON Schema spells the forms out.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.json_schema import models_json_schema

from dockmend.model import LATER_TRANSITIONS, TRANSITIONS
from dockmend.rules.action_catalogue import ACTIONS
from dockmend.rules.value_types import (
    Count,
    Duration,
    DurationOrNone,
    OneOrMany,
    Params,
    Pattern,
    PatternOrMany,
    PerOrNone,
    SomeTime,
    SpanOrNone,
    Template,
    Text,
    Times,
    TimeToWork,
    many,
)  # fmt: skip

Kind = Literal["container", "volume", "network", "image", "service", "node"]


class Compose(Params):
    project: OneOrMany | None = None
    service: OneOrMany | None = None


class Match(Params):
    """`match` and `exclude`; every key must hold (of `exclude`: any)."""

    kind: Kind = "container"
    labels: dict[str, PatternOrMany] = Field(default_factory=dict)
    name: OneOrMany | None = None
    image: OneOrMany | None = None
    compose: Compose | None = None
    oneoff: bool | None = None
    driver: OneOrMany | None = None
    host: OneOrMany | None = None


class LimitsModel(Params):
    cooldown: DurationOrNone = None
    attempts: PerOrNone = None
    backoff: SpanOrNone = None
    rate: PerOrNone = None


class VerifyModel(Params):
    state: Literal["healthy", "running", "auto", "none"] = "auto"
    within: TimeToWork | None = None


class RuleModel(Params):
    """The keys of one rule."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    enabled: bool = True
    severity: Literal["info", "warning", "critical"] = "warning"
    annotations: dict[str, Template] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    when: Any
    for_: Annotated[Duration, Field(alias="for")] = 0.0
    match: Any
    exclude: Any = None
    if_: Annotated[Text | None, Field(alias="if")] = None
    during: OneOrMany | None = None
    not_during: OneOrMany | None = None
    then: Any
    finally_: Annotated[Any, Field(alias="finally")] = None
    verify: Any = None
    limits: LimitsModel = LimitsModel.model_construct(_fields_set=set())
    mode: Literal["single", "queued", "restart"] = "single"
    escalate: Any = None
    dry_run: bool = False
    cut_off: bool = False


class FileModel(Params):
    """The top level of a rule file."""

    version: Literal[1]
    rules: list[Any]
    defaults: dict[str, Any] = Field(default_factory=dict)


# ----------------------------------------------------------------------------------------- triggers
class TransitionTrigger(Params):
    transition: Text
    cause: OneOrMany = ()
    times: Times | None = None


class EventTrigger(Params):
    event: Text
    attributes: dict[str, Pattern] = Field(default_factory=dict)


class ScheduleTrigger(Params):
    schedule: Text
    timezone: Text | None = None
    catch_up: Literal["none", "once"] = "none"


class EveryTrigger(Params):
    every: SomeTime


class HttpProbe(Params):
    url: Template
    status: many(Annotated[int, Field(ge=100, le=599)]) = ()  # type: ignore[valid-type]
    method: Literal["GET", "HEAD"] = "GET"
    timeout: SomeTime | None = None


class Probe(Params):
    http: HttpProbe | Text | None = None
    tcp: Text | None = None
    exec: many(Text) = ()  # type: ignore[valid-type]
    every: SomeTime
    failures: Count = 1
    timeout: SomeTime | None = None


class ProbeTrigger(Params):
    probe: Probe
    times: Times | None = None


class Log(Params):
    match: Pattern


class LogTrigger(Params):
    log: Log
    times: Times | None = None


class Stats(Params):
    cpu: Text | None = None
    memory: Text | None = None
    pids: Text | None = None


class StatsTrigger(Params):
    stats: Stats


class _Named(Params):
    """Triggers from outside must name their object."""

    container: Template | None = None
    volume: Template | None = None
    network: Template | None = None
    service: Template | None = None
    host: Template | None = None
    all: bool = False


class MqttTrigger(_Named):
    mqtt: Text


class AlertTrigger(_Named):
    alert: dict[str, Pattern]


TRIGGERS: Final[dict[str, type[Params]]] = {
    "transition": TransitionTrigger, "event": EventTrigger, "schedule": ScheduleTrigger,
    "every": EveryTrigger, "probe": ProbeTrigger, "log": LogTrigger, "stats": StatsTrigger,
    "mqtt": MqttTrigger, "alert": AlertTrigger,
}  # fmt: skip
"""The model of each kind of trigger by the key that tells it."""

LATER_KINDS: Final = frozenset({"image", "service", "node"})


class TargetModel(Params):
    """`target` of a step: exactly one of the two."""

    name: Text | None = None
    label: Any = None


# -------------------------------------------------------------------------------------- JSON Schema
def _step_schema(refs: dict[type[Params], dict[str, Any]]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "timeout": {"type": "string", "description": "a duration such as 30s"},
        "on_error": {"enum": ["fail", "continue"]},
        "target": refs[TargetModel],
    }
    forms = [
        {
            "type": "object",
            "properties": {name: {"anyOf": [refs[spec.params], {"type": "null"}]}, **options},
            "required": [name],
            "additionalProperties": False,
        }
        for name, spec in sorted(ACTIONS.items())
    ]
    return {"anyOf": [{"enum": sorted(ACTIONS)}, *forms]}


def _either_or_list(one: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _rule_properties(
    refs: dict[type[Params], dict[str, Any]], properties: dict[str, Any]
) -> dict[str, Any]:
    words = sorted([*TRANSITIONS, *LATER_TRANSITIONS, "startup"])
    trigger = {"anyOf": [{"enum": words}, *(refs[model] for model in TRIGGERS.values())]}
    steps = _either_or_list({"$ref": "#/$defs/Step"})
    return {
        **properties,
        "when": _either_or_list(trigger),
        "match": {"anyOf": [{"const": "all"}, refs[Match]]},
        "exclude": refs[Match],
        "verify": {"anyOf": [{"const": "none"}, refs[VerifyModel]]},
        "then": steps,
        "finally": steps,
        "escalate": steps,
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a rule file, for editors: `dockmend schema rules`."""
    models: list[type[Params]] = [
        FileModel,
        RuleModel,
        Match,
        VerifyModel,
        TargetModel,
        *TRIGGERS.values(),
    ]
    models += sorted({spec.params for spec in ACTIONS.values()}, key=lambda model: model.__name__)
    mapping, top = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = top["$defs"]
    refs = {model: mapping[model, "validation"] for model in models}
    rule = definitions[refs[RuleModel]["$ref"].rpartition("/")[2]]
    rule["properties"] = _rule_properties(refs, rule["properties"])
    required = rule.pop("required")
    definitions["Step"] = _step_schema(refs)
    labels = definitions[refs[Match]["$ref"].rpartition("/")[2]]["properties"]["labels"]
    labels["additionalProperties"] = {
        "anyOf": [labels["additionalProperties"], {"type": "boolean"}]
    }
    top_level = definitions.pop(refs[FileModel]["$ref"].rpartition("/")[2])
    reference = refs[RuleModel]
    top_level["properties"]["rules"] = {"type": "array", "items": reference}
    top_level["properties"]["defaults"] = {
        "type": "object",
        "properties": {key: value for key, value in rule["properties"].items() if key != "name"},
        "additionalProperties": False,
    }
    complete = {"properties": {"rules": {"items": {"required": required}}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top_level,
        "title": "dockmend rules",
        "if": {"not": {"required": ["defaults"]}},
        "then": complete,
        "$defs": definitions,
    }
