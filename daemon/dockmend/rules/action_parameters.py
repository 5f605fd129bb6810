"""What each action takes, as it is written in a rule; attributes are named like the keys. Durations
are seconds.

Texts marked Template are checked for their fields here and filled when the action runs
(ActionContext.render).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from dockmend.rules import command_fields
from dockmend.rules.fields import CONTEXTS
from dockmend.rules.language_error import LanguageError
from dockmend.rules.network_addresses import IPv4, IPv6, Subnets
from dockmend.rules.value_types import (
    Count,
    Duration,
    ExitCodes,
    Memory,
    OneOrMany,
    Params,
    Pattern,
    Signal,
    Size,
    SomeTime,
    Template,
    Text,
    many,
    said,
    wrong_type,
)  # fmt: skip

_REPOSITORY = re.compile(r"[a-z0-9]+([._/:-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

Arguments = Annotated[
    Any, Field(json_schema_extra={"type": "array", "items": {"type": "string"}, "minItems": 1})
]
Templates = many(Template)
Texts = many(Text)


class NoParams(Params):
    """For an action that takes nothing."""


# ---------------------------------------------------------------------------------------- container
class RestartParams(Params):
    # until the engine kills it; None: the container's own stop timeout
    timeout: Duration | None = None
    signal: Signal | None = None


class Stop(Params):
    timeout: Duration | None = None
    signal: Signal | None = None


class Kill(Params):
    signal: Signal | None = None  # None: SIGKILL


class Remove(Params):
    force: bool = False
    volumes: bool = False


class Recreate(Params):
    image: Template = "same"  # same, newest or a reference


class SetLimits(Params):
    cpu: Annotated[float, Field(gt=0, le=4096, strict=False)] | None = None
    memory: Memory | None = None  # bytes; text: a growth of the present limit
    ceiling: Size | None = None  # bytes beyond which memory does not grow
    pids: Count | None = None
    restart_policy: Literal["no", "always", "unless-stopped", "on-failure"] | None = None

    @model_validator(mode="after")
    def _something(self) -> SetLimits:
        if not self.model_fields_set - {"ceiling"}:
            raise said("expected at least one of cpu, memory, pids, restart_policy")
        if isinstance(self.memory, str) is not (self.ceiling is not None):
            raise said("a growth such as `memory: +50%` and a `ceiling` such as 2g go together")
        return self


def _arguments(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    """A list of arguments. A stranger's text in a program is refused (rules/command_fields.py)."""
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(one, str) for one in value)
    ):
        raise wrong_type('a list of arguments such as ["sh", "-c", "echo hello"]')
    arguments = []
    for text in value:
        try:
            arguments.append(command_fields.argument(text, info.context or CONTEXTS))
        except LanguageError as error:
            raise said(f"{text}: {error.message}") from None
    if (why := command_fields.trouble(arguments)) is not None:
        raise said(why)
    return tuple(value)


def _variable(value: Any) -> str:
    """The name of a variable: with `=` in it, another one would be set."""
    if not isinstance(value, str) or not value or "=" in value or "\0" in value:
        raise wrong_type("the name of a variable, without =")
    return value


Variables = dict[Annotated[str, BeforeValidator(_variable)], Template]


class Exec(Params):
    command: Arguments
    env: Variables = Field(default_factory=dict)
    user: Text | None = None
    workdir: Text | None = None
    exit_code: ExitCodes = (0,)  # what counts as done

    _command = field_validator("command", mode="after")(_arguments)


class Copy(Params):
    # CONTAINER:/PATH, or a path of the host below bind_roots
    from_: Annotated[Template, Field(alias="from")]
    to: Template  # the same: a folder that is there
    limit: Size = 64 << 20  # bytes


class RunParams(Params):
    image: Template | None = None  # None: makes a container that is missing again
    command: Arguments = None
    env: Variables = Field(default_factory=dict)
    volumes: Texts = ()  # type: ignore[valid-type]  # VOLUME:PATH or VOLUME:PATH:ro
    network: Text | None = None
    user: Text | None = None
    exit_code: ExitCodes = (0,)

    @field_validator("command", mode="after")
    @classmethod
    def _command(cls, value: Any, info: ValidationInfo) -> tuple[str, ...] | None:
        return None if value is None else _arguments(value, info)

    @field_validator("volumes")
    @classmethod
    def _volumes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(r"[^:]+:/[^:]*(:ro|:rw)?", text):
                raise wrong_type("volumes as VOLUME:PATH or VOLUME:PATH:ro")
        return value

    @model_validator(mode="after")
    def _job(self) -> RunParams:
        if self.image is None and self.model_fields_set:
            raise said(f"`{min(self.model_fields_set)}` is for a job, which needs an `image`")
        return self


# ------------------------------------------------------------------------------------------ network
class ReconnectNetwork(Params):
    network: Pattern | None = (
        None  # name or pattern; None: the network that was lost, or every one of the last good set
    )
    create: bool = False  # make a network that is gone again, from its last known definition


class ConnectNetwork(Params):
    network: Template
    aliases: Templates = ()  # type: ignore[valid-type]
    ipv4: IPv4 | None = None
    ipv6: IPv6 | None = None


class DisconnectNetwork(Params):
    network: Template
    force: bool = False


class CreateNetwork(Params):
    name: Template | None = None  # None, under network.missing: the one that went, as it last was
    driver: Text = "bridge"
    subnet: Subnets = ()
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    labels: dict[str, Template] = Field(default_factory=dict)
    options: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named(self) -> CreateNetwork:
        if self.name is None and self.model_fields_set:
            raise said(
                "`name` is missing: without it the network is made again as it was, and nothing "
                "else is said"
            )
        return self


# ------------------------------------------------------------------------------------------- volume
class Keep(Params):
    """How many snapshots of a volume are kept; at least one key."""

    last: Count | None = None
    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None

    @model_validator(mode="after")
    def _something(self) -> Keep:
        if not self.model_fields_set:
            raise said("expected at least one of last, hourly, daily, weekly, monthly")
        return self


class SnapshotVolume(Params):
    consistency: Literal["live", "pause", "stop", "hooks"]
    volumes: Templates | None = None  # type: ignore[valid-type]  # None: the container's named and anonymous ones
    store: Texts = ()  # type: ignore[valid-type]  # empty: the state folder
    keep: Keep | None = None

    @field_validator("volumes")
    @classmethod
    def _volumes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise wrong_type(
                "at least one volume, or the key left out for all that the container has"
            )
        return value

    def later(self) -> list[tuple[str, str]]:
        keep = self.keep.model_fields_set if self.keep is not None else set()
        parts = [
            ("keep", f"keep: {{{name}: …}}")
            for name in ("hourly", "daily", "weekly", "monthly")
            if name in keep
        ]
        if self.consistency in ("stop", "hooks"):
            parts.append(("consistency", f"consistency: {self.consistency}"))
        if self.store:
            parts.append(("store", "store"))
        return parts


class RestoreVolume(Params):
    snapshot: Template  # an id, or `latest`
    volume: Template | None = None
    to: Template | None = None
    in_place: bool = False


class TestRestore(Params):
    __test__: ClassVar[bool] = False  # its name makes pytest think otherwise
    volume: Template | None = None
    snapshot: Template = "latest"
    command: Arguments = None
    image: Template | None = None

    @field_validator("command", mode="after")
    @classmethod
    def _command(cls, value: Any, info: ValidationInfo) -> tuple[str, ...] | None:
        return None if value is None else _arguments(value, info)


# -------------------------------------------------------------------------------------------- image
class CommitImage(Params):
    repository: Template
    tag: Template = "{container.name}-{now:%Y%m%dT%H%M%S}"
    message: Template = ""
    author: Template = ""
    changes: Templates = ()  # type: ignore[valid-type]  # Dockerfile instructions
    pause: bool = True
    keep: Count | None = None  # how many images of this rule and container are kept; None: all

    @field_validator("changes")
    @classmethod
    def _changes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """An image's labels steer nothing; every other instruction says what its containers run,
        and how."""
        for text in value:
            if command_fields.argument(text).fields and text.split(None, 1)[0].upper() != "LABEL":
                raise said(f"{text}: a field that strangers fill may stand in a LABEL only")
        return value

    @field_validator("repository")
    @classmethod
    def _repository(cls, value: str) -> str:
        if "{" not in value and not (_REPOSITORY.fullmatch(value) and len(value) <= 255):
            raise wrong_type(
                "an image's repository in lower case such as kept or registry.example/kept"
            )
        return value

    @field_validator("tag")
    @classmethod
    def _tag(cls, value: str) -> str:
        if "{" not in value and not _TAG.fullmatch(value):
            raise wrong_type(
                "an image's tag: letters, digits, dots, dashes and underscores, at most 128"
            )
        return value


class TagImage(Params):
    repository: Template
    tag: Template
    image: Template | None = None


class PushImage(Params):
    image: Template


class PullImage(Params):
    image: Template | None = None


class BuildImage(Params):
    context: Text
    tag: Template
    dockerfile: Text | None = None
    args: dict[str, Template] = Field(default_factory=dict)


class RemoveImage(Params):
    image: Template
    force: bool = False


class RollbackImage(Params):
    to: Template | None = None  # None: the one before


# ---------------------------------------------------------------------------------- evidence, group
class CollectEvidence(Params):
    logs: Count | None = None  # lines of the log
    include: many(Literal["inspect", "logs", "health", "top", "diff", "stats"]) = ()  # type: ignore[valid-type]


class RestartDependents(Params):
    # until the engine kills one that is stopped; None: the container's own
    timeout: Duration | None = None
    within: SomeTime = 1800.0  # how long the owner of their network is waited for


class ComposeRestart(Params):
    services: OneOrMany | None = None  # None: the whole project
    # until the engine kills one that is stopped; None: the container's own
    timeout: Duration | None = None


class ComposeUp(Params):
    services: OneOrMany | None = None


class ServiceUpdate(Params):
    image: Template | None = None
    force: bool = False


class ServiceScale(Params):
    replicas: Annotated[int, Field(ge=0, le=100_000)]


# --------------------------------------------------------------------------------------------- tell
class Notify(Params):
    message: Template
    to: OneOrMany | None = None  # channels of the settings; None: as for every other message
    title: Template | None = None  # None: the message's first line

    @field_validator("message")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise wrong_type("a text to send")
        return value


class Publish(Params):
    topic: Template
    payload: Template = ""
    retain: bool = False

    @field_validator("topic")
    @classmethod
    def _topic(cls, value: str) -> str:
        if not value or "+" in value or "#" in value or "\x00" in value:
            raise wrong_type("an MQTT topic without the wildcards + and #")
        return value


class Webhook(Params):
    to: Text | None = None  # the name of an address in the settings
    url: Text | None = None
    method: Literal["POST", "PUT", "GET"] = "POST"
    body: Template | None = None
    headers: dict[str, Template] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _address(self) -> Webhook:
        if (self.to is None) == (self.url is None):
            raise said("expected either `to` or `url`")
        return self


class WaitParams(Params):
    time: SomeTime | None = None
    until: Literal["healthy", "running"] | None = None
    within: SomeTime | None = None

    @model_validator(mode="after")
    def _either(self) -> WaitParams:
        if (self.time is None) == (self.until is None) or (self.until is None) != (
            self.within is None
        ):
            raise said("expected either `time: 30s`, or `until: healthy` with `within: 2m`")
        return self


class Prune(Params):
    images: bool = False
    containers: bool = False
    volumes: bool = False
    older_than: Duration | None = None
