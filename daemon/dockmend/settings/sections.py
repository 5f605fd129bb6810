"""The settings as values: attributes are named as the file's keys, durations are seconds, nothing
can be changed."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from dockmend.rules import action_catalogue
from dockmend.rules.patterns import parse_name, parse_pattern
from dockmend.settings.channel_settings import Channels
from dockmend.settings.channels import Channel
from dockmend.settings.parsed_values import Address, address, rate, reserve
from dockmend.settings.secrets import Secret
from dockmend.settings.section_base import File, SectionBase, SettingLists

ACTIONS = frozenset(action_catalogue.ACTIONS)
"""Every action of the rule format, built or not: what `policy.allow` may name."""

NOT_BY_DEFAULT = frozenset({"exec", "run", "copy", "build_image", "remove", "prune"})
"""What a rule may do only where `policy.allow` names it; `restore_volume` in place counts as
`restore in place`."""

IN_PLACE = "restore in place"


def not_yet(name: str) -> Any:
    """A validator for a part that comes with later work: it may be there, but empty."""

    def check(value: Any) -> Any:
        if value:
            raise ValueError(f"not yet in this version: {name}")
        return value

    return BeforeValidator(check)


def _heal(value: Any) -> Any:
    if value is False:
        return "off"  # YAML 1.1 reads a bare `off` as false
    if value is True:
        raise ValueError(
            "expected labelled, all or off (YAML reads a bare `on`, `yes` or `true` as a boolean)"
        )
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _user(value: Any) -> Any:
    """A user's name or uid: a container knows the host's users by number only."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if not isinstance(value, str):
        raise ValueError("expected the name or the uid of a user")  # noqa: TRY004 - pydantic's word for it
    return value


def _action(value: str) -> str:
    if value not in ACTIONS and value != IN_PLACE:
        near = difflib.get_close_matches(value, [*ACTIONS, IN_PLACE], 1)
        raise ValueError(
            f"unknown action {value!r}{f': did you mean {near[0]!r}?' if near else ''}"
        )
    return value


def _host(value: str) -> str:
    """The value is not shown: it may be an address with a password in it."""
    if re.search(r"[\s/@#?]", value) or value.count(":") == 1:
        raise ValueError(
            "expected a name or an address alone: port, user and password have keys of their own"
        )
    return value


Rate = Annotated[
    tuple[int, float] | None,
    BeforeValidator(rate),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["30 per 1m", "none"],
            "pattern": r"^none$|^\s*[0-9]+ +per +\S+\s*$",
        }
    ),
]
Reserve = Annotated[
    int | None,
    BeforeValidator(reserve),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["512MiB"],
            "pattern": "^\\s*[0-9]+ ?[kmgtKMGT]([iI]?[bB])?\\s*$",
        }
    ),
]
Listen = Annotated[
    Address,
    BeforeValidator(address),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9468"], "pattern": ":[0-9]+$"}),
]


def _pattern(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 - pydantic's word for it
    parse_pattern(value)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 - pydantic's word for it
    parse_name(value)
    return value


_PATTERNS = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
Patterns = Annotated[
    tuple[Annotated[str, BeforeValidator(_pattern)], ...], BeforeValidator(_names), _PATTERNS
]
"""Of label values: the empty text is one like any other."""
Names = Annotated[
    tuple[Annotated[str, BeforeValidator(_name)], ...], BeforeValidator(_names), _PATTERNS
]
"""Of names and images."""
User = Annotated[
    str,
    BeforeValidator(_user),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]}
    ),
]
ActionName = Annotated[
    str, AfterValidator(_action), WithJsonSchema({"enum": sorted(ACTIONS | {IN_PLACE})})
]


HOST_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,252}"
"""What a host may be called: it becomes a part of topics, and may stand anywhere in a command."""


def _host_names(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError("expected a list of names")  # noqa: TRY004 - pydantic's word for it
    for each in names:
        if not isinstance(each, str) or not re.fullmatch(HOST_NAME, each):
            raise ValueError(
                f"{str(each)[:100]!r} is not the name of a host alone, such as "
                "dockmend.example.org: without a scheme and a port"
            )
    return tuple(names)


HostNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_host_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{HOST_NAME}$"},
                {"type": "array", "items": {"type": "string", "pattern": f"^{HOST_NAME}$"}},
            ]
        }
    ),
]
LogFormat = Literal["auto", "console", "json"]


class HostLimits(SectionBase):
    """The host's budget, over all rules and targets."""

    rate: Rate = (30, 60.0)
    parallel: int = Field(default=4, ge=1, le=64)


class Snapshots(SettingLists):
    """Only bind mounts below one of `bind_roots` can be snapshotted. `reserve`: see
    disk_reserve.py."""

    bind_roots: tuple[File, ...] = ()
    reserve: Reserve = None

    @model_validator(mode="after")
    def _absolute(self) -> Snapshots:
        if wrong := [str(root) for root in self.bind_roots if not root.is_absolute()]:
            raise ValueError(f"bind_roots: {', '.join(wrong)}: expected paths that begin with /")
        if wrong := [
            str(root) for root in self.bind_roots if ".." in root.parts or len(root.parts) < 2
        ]:
            raise ValueError(
                f"bind_roots: {', '.join(wrong)}: expected folders below /, which is the whole host"
            )
        return self


class MqttTls(SectionBase):
    """Files of certificates; an empty mapping uses the host's own authorities."""

    ca: File | None = None
    cert: File | None = None
    key: File | None = None

    @model_validator(mode="after")
    def _pair(self) -> MqttTls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: the other one is missing")
        return self


class Mqtt(SettingLists):
    """The broker. `port` None: 8883 with TLS, else 1883; see `effective_port`. `prefix` None:
    `dockmend/HOST`."""

    host: Annotated[str, AfterValidator(_host)] = Field(min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65535, strict=True)
    tls: MqttTls | None = None
    username: str | None = None
    password_file: File | None = None
    prefix: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^+#\x00]+$")
    commands: Annotated[tuple[str, ...], not_yet("mqtt.commands")] = ()
    homeassistant: Annotated[bool, not_yet("mqtt.homeassistant")] = False

    @property
    def effective_port(self) -> int:
        return self.port or (8883 if self.tls is not None else 1883)


class Protect(SettingLists):
    """Containers nothing is ever done to: one key that holds is enough; values are patterns as in
    rules, or lists."""

    labels: dict[str, Patterns] = Field(default_factory=dict)
    name: Names = ()
    image: Names = ()

    @model_validator(mode="after")
    def _something(self) -> Protect:
        empty = [key for key in self.model_fields_set if not getattr(self, key)]
        empty += [f"labels.{key}" for key, patterns in self.labels.items() if not patterns]
        if empty:
            raise ValueError(
                f"{', '.join(sorted(empty))} is empty and protects nothing: leave it out"
            )
        return self


class Policy(SettingLists):
    """The ceiling no rule can lift. `allow` None: everything but NOT_BY_DEFAULT and restoring in
    place."""

    allow: tuple[ActionName, ...] | None = None
    protect: Protect = Protect()
    rules_owner: User = "root"
    trusted_images: Names = ()

    def allows(self, action: str) -> bool:
        """True where a rule may use `action` (a name of rules.md, or `restore in place`)."""
        if self.allow is None:
            return action not in NOT_BY_DEFAULT and action != IN_PLACE
        return action in self.allow


class HttpSettings(SectionBase):
    """The HTTP server; `listen` null switches it off. `names`: what it may be called on a loopback
    address, beside `localhost` and addresses."""

    listen: Listen | None = Address("127.0.0.1", 9468)
    metrics_listen: Listen | None = None
    token_file: File | None = None
    read_token_file: File | None = None
    names: HostNames = ()
    tls: Annotated[dict[str, Any] | None, not_yet("http.tls")] = None


class Paths(SectionBase):
    """Where things lie on this host: flags and environment only, never the file."""

    config: Path | None = None  # None: no settings file was found
    rules: Path = Path("/etc/dockmend/rules.d")
    state: Path = Path("/var/lib/dockmend")
    socket: Path = Path("/run/dockmend/dockmend.sock")

    @property
    def journal(self) -> Path:
        return self.state / "journal.sqlite3"

    @property
    def snapshots(self) -> Path:
        return self.state / "snapshots"


class EngineFound(SectionBase):
    """The engine that a daemon found, and the certificate files it uses there: for commands, which
    ask the same one."""

    url: str
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class FileSettings(SectionBase):
    """Exactly what `dockmend.yaml` may hold."""

    # None: app/host_name.py finds it
    host: str | None = Field(default=None, pattern=f"^{HOST_NAME}$")
    heal: Annotated[Literal["labelled", "all", "off"], BeforeValidator(_heal)] = "labelled"
    # None: DOCKER_HOST, the docker context, the default socket
    engine: str | None = Field(default=None, min_length=1)
    engine_root: File | None = None  # None: a local engine tells its own data folder
    limits: HostLimits = HostLimits()
    unknown_cause: Literal["restart policy", "act", "leave"] = "restart policy"
    snapshots: Snapshots = Snapshots()
    notify: Channels = Field(default_factory=dict)
    heartbeat_url_file: File | None = None
    mqtt: Mqtt | None = None
    stores: Annotated[dict[str, Any], not_yet("stores")] = Field(default_factory=dict)
    policy: Policy = Policy()
    http: HttpSettings = HttpSettings()


class Settings(FileSettings):
    """Everything a run needs to know, from flags, environment and file. `warnings` and `notes`,
    which warn of nothing, are sentences for the log."""

    paths: Paths = Paths()
    dry_run: bool = False
    # a daemon's: then neither `engine` nor the environment is asked
    engine_found: EngineFound | None = None
    only: str = ""  # the id of the one container that may be acted on (`dockmend demo`); "": all
    log_format: LogFormat = "auto"
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _secrets: dict[str, Secret] = PrivateAttr(default_factory=dict)
    _urls: dict[str, tuple[Secret, ...]] = PrivateAttr(default_factory=dict)  # by channel

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Where messages go; without their URLs if secrets were not read."""
        return tuple(
            each.channel(name, self._urls.get(name, ())) for name, each in self.notify.items()
        )

    @property
    def heartbeat_url(self) -> Secret | None:
        """What is asked for each minute while dockmend is healthy."""
        return self._secrets.get("heartbeat")

    @property
    def mqtt_password(self) -> Secret | None:
        return self._secrets.get("mqtt.password")

    @property
    def http_token(self) -> Secret | None:
        """The token that may change things, if the settings or a credential name it; None:
        web/tokens.py makes one."""
        return self._secrets.get("http.token")

    @property
    def http_read_token(self) -> Secret | None:
        """The token that may only look; as above."""
        return self._secrets.get("http.read_token")


def schema() -> dict[str, Any]:
    """The JSON Schema of `dockmend.yaml`."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **FileSettings.model_json_schema(), "title": "dockmend.yaml"}
