"""Flags over environment over file over defaults, all errors of all of them at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dockmend import file_trust
from dockmend.errors import InvalidFiles, Problem, UsageError
from dockmend.file_trust import UnknownOwner, Untrusted
from dockmend.own_container import in_container
from dockmend.settings import notify_urls
from dockmend.settings import settings_document as documents
from dockmend.settings.parsed_values import Address
from dockmend.settings.secrets import Secret, read_secret
from dockmend.settings.sections import FileSettings, LogFormat, Mqtt, Paths, Policy, Settings
from dockmend.settings.settings_document import Location, SettingsDocument
from dockmend.settings.variables import OWN, SHORT, from_environment, overlay, read

DEFAULT_CONFIG = Path("/etc/dockmend/dockmend.yaml")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_SECRETS = {"mqtt.password": ("mqtt", "password_file"), "http.token": ("http", "token_file"),
            "http.read_token": ("http", "read_token_file")}  # fmt: skip
_CLEAR_TEXT = (
    "http.listen {}: there is no TLS, so tokens and answers cross the network in clear text: "
    "listen on 127.0.0.1 behind a proxy with TLS, and use http.metrics_listen for what is open"
)
_IN_CONTAINER = (
    "http.listen {} of this container speaks plain HTTP: publish its port on 127.0.0.1 only, as "
    "deploy/compose.yaml does; if it is to be reached from further away, put a proxy with TLS "
    "before it"
)


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
    secrets: bool = True,
    runs_as: int | None = None,
    *,
    as_daemon: bool = True,
    contained: bool | None = None,
) -> Settings:
    """The settings in force.

    `flags`: by name (`rules`, `state`, `socket`, `engine`, `listen`, `metrics_listen`, `dry_run`,
    `log_format`, or a key of the file with dots); None values do not count. `config`: the flag
    `--config`; a file that is named must exist. Paths in the file are relative to its folder.
    Without `secrets` the files of secrets are not read. `runs_as`: the uid of the daemon, whose
    files count beside root's; None: this process's. Without `as_daemon` what only the daemon may
    have is not missed: a systemd credential, and a file that this user may not read, which a
    warning names. `contained`: whether it runs in a container; None: looked up. Raises
    InvalidFiles, or UsageError where a flag or a variable is wrong too.
    """
    environ = os.environ if environ is None else environ
    said = from_environment(environ)
    values = said.values
    for key, value in (flags or {}).items():
        if value is not None:
            values[SHORT.get(key, key)] = (value, f"--{key.replace('_', '-')}")
    named = config or (Path(values["config"][0]) if "config" in values else None)
    owners, unknown = _owners(values, runs_as)
    source = _source(named, owners)
    own = {key: values.pop(key) for key in OWN if key in values}
    loose = [*said.wrong, *unknown, *overlay(source.data, values)]
    notify_urls.with_default(source.data, environ)
    valid, wrong = _validate(source, source.data, values)
    dry_run, log_format, more = _of_the_run(own)
    loose += [*wrong, *more]
    told, notes = (
        _secrets(valid, source, environ, owners, as_daemon)
        if valid is not None and secrets
        else ({}, [])
    )
    found = notify_urls.Found()
    if valid is not None and secrets:
        found = notify_urls.read(
            valid.notify, valid.heartbeat_url_file, source, environ, owners, as_daemon=as_daemon
        )
        loose += found.loose
        notes += found.warnings
        told |= {"heartbeat": found.heartbeat} if found.heartbeat is not None else {}
    _refuse(source.problems, loose)
    assert valid is not None  # else there was a problem
    in_clear, in_a_container = _reachable(valid.http.listen, contained)
    settings = Settings.model_construct(
        **{name: getattr(valid, name) for name in FileSettings.model_fields if name != "mqtt"},
        mqtt=_anchored(valid.mqtt, Path(source.path).parent),
        paths=_paths(
            {key: value for key, (value, _) in own.items()},
            Path(source.path) if source.path else None,
        ),
        dry_run=dry_run,
        log_format=log_format,
        warnings=(*said.warnings, *notes, *_in_clear(valid.mqtt), *in_clear),
        notes=tuple(in_a_container),
    )
    settings._secrets.update(told)  # noqa: SLF001 - private so that no dump or repr holds them
    settings._urls.update(found.urls)  # noqa: SLF001 - the same
    return settings


def policy_again(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Policy:
    """The policy as the file says now, for a reload. Raises InvalidFiles, whatever is wrong."""
    try:
        return load(flags, config=config, secrets=False).policy
    except InvalidFiles:
        raise
    except UsageError as error:
        path = str(config or DEFAULT_CONFIG)
        raise InvalidFiles(
            tuple(Problem.of_file(path, line) for line in str(error).splitlines())
        ) from None


def find_paths(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Paths:
    """Where things lie by flags and environment; the settings file, which never says, is not
    read."""
    environ = os.environ if environ is None else environ
    values = {
        key: environ[f"DOCKMEND_{key.upper()}"]
        for key in OWN
        if environ.get(f"DOCKMEND_{key.upper()}")
    }
    return _paths(
        values | {key: value for key, value in (flags or {}).items() if value is not None}, None
    )


def check_file(path: Path, owners: frozenset[int] | None = None) -> list[Problem]:
    """What is wrong with one settings file; the secrets it names are not read. `owners`: see
    documents.read; of the secrets that exist it is told as well if others may write them."""
    source = documents.read(path, owners)
    valid, _ = _validate(source, source.data, {})
    if valid is not None and owners is not None:
        for part, key in _SECRETS.values():
            if (file := getattr(getattr(valid, part), key, None)) is not None:
                _judge(path.parent / file, source, (part, key), owners)
        _certificates(valid, source, path.parent, owners)
        notify_urls.check(valid.notify, valid.heartbeat_url_file, source, owners)
    return sorted(set(source.problems))


def _owners(
    values: Mapping[str, tuple[Any, str]], runs_as: int | None
) -> tuple[frozenset[int], list[str]]:
    """Whose settings and secrets count. Only a flag or a variable can name an owner of the file
    that would name it."""
    policy, name = values.get("policy", (None, ""))
    held = read(policy)
    inner = held.get("rules_owner") if isinstance(held, dict) else None
    owner, name = values.get("policy.rules_owner", ("root" if inner is None else inner, name))
    owner = read(owner)
    try:
        return file_trust.trusted_uids(str(owner), runs_as), []
    except UnknownOwner as error:
        return file_trust.trusted_uids(runs_as=runs_as), [f"{name}: {error}"]


def _source(named: Path | None, owners: frozenset[int]) -> SettingsDocument:
    path = named or DEFAULT_CONFIG
    return (
        documents.read(path, owners) if named is not None or path.exists() else SettingsDocument("")
    )


def _of_the_run(own: Mapping[str, tuple[Any, str]]) -> tuple[bool, LogFormat, list[str]]:
    """`dry_run`, `log_format`, and what is wrong with them."""
    wrong = []
    dry_run, name = own.get("dry_run", (False, ""))
    if isinstance(dry_run, str):
        if dry_run.lower() not in (*_YES, *_NO):
            wrong.append(f"{name}: expected true or false, found {dry_run!r}")
        dry_run = dry_run.lower() in _YES
    log_format, name = own.get("log_format", ("auto", ""))
    if log_format not in ("auto", "console", "json"):
        wrong.append(f"{name}: expected auto, console or json, found {log_format!r}")
    return bool(dry_run), log_format, wrong


def _validate(
    source: SettingsDocument, data: Mapping[str, Any], values: Mapping[str, tuple[Any, str]]
) -> tuple[FileSettings | None, list[str]]:
    """The checked settings or None; the file's problems go into `source`, those of flags and
    variables are returned."""
    try:
        return FileSettings.model_validate(data), []
    except ValidationError as error:
        loose = []
        for item in error.errors(include_url=False, include_input=True):
            location = _located(item["loc"], data)
            message = _message(item, location)
            above = (
                ".".join(map(str, location[:length])) for length in range(len(location), 0, -1)
            )
            origin = next((values[key] for key in above if key in values), None)
            if origin is None and not source.path:  # it is what a variable or a flag did not say
                beside = f"{'.'.join(map(str, location[:-1]))}."
                origin = next(
                    (values[key] for key in sorted(values) if key.startswith(beside)), None
                )
            if origin is not None:
                loose.append(f"{origin[1]}: {message}{_as_text(item, origin)}")
            else:
                source.problem(location, message, key=item["type"] == "extra_forbidden")
        return None, loose


def _located(loc: tuple[int | str, ...], data: Any) -> Location:
    """The location without the names of union members: only steps the data can be walked by."""
    result: list[int | str] = []
    for step in loc:
        if isinstance(data, dict) and isinstance(step, str):
            result.append(step)
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            result.append(step)
            data = data[step] if step < len(data) else None
    return tuple(result)


def _message(item: Any, location: Location) -> str:
    """What is wrong and what was expected, as a sentence; values of unknown keys are not shown:
    they may be secrets."""
    kind, context, found = item["type"], item.get("ctx", {}), item.get("input")
    key = ".".join(str(step) for step in location)
    if kind == "extra_forbidden":
        return _unknown(
            str(location[-1]),
            _keys_of(FileSettings, location[:-1]),
            ".".join(map(str, location[:-1])),
        )
    if kind == "missing":
        return f"{'.'.join(map(str, location[:-1]))}: the key {location[-1]!r} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}"
    if kind == "literal_error":
        expected = context["expected"].replace("'", "")
        near = difflib.get_close_matches(str(found), re.split(r", | or ", expected), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{key}: expected {expected}, found {_shown(found)}{hint}"
    expected = {
        "string_type": "a text", "int_type": "a whole number", "bool_type": "true or false",
        "tuple_type": "a list", "model_type": "keys and values",
        "model_attributes_type": "keys and values", "dict_type": "keys and values",
        "greater_than_equal": f"{context.get('ge')} or more",
        "less_than_equal": f"{context.get('le')} or less",
        "string_too_short": "a text that is not empty",
        "string_pattern_mismatch": f"a text that matches {context.get('pattern')}",
    }.get(kind)  # fmt: skip
    if expected == "keys and values" and isinstance(found, str):
        # Whoever writes a whole section as one text may have written a password into it.
        return f"{key}: expected keys and values, as in {{key: value}}, found a text that is none"
    return (
        f"{key}: expected {expected}, found {_shown(found)}"
        if expected
        else f"{key}: {item['msg']}"
    )


def _as_text(item: Any, origin: tuple[Any, str]) -> str:
    """How what YAML reads as a number or a boolean is written in a variable so that it is a
    text."""
    value, name = origin
    if item["type"] not in ("string_type", "tuple_type") or not isinstance(
        item.get("input"), bool | int | float
    ):
        return ""
    alone = isinstance(value, str) and value.lstrip()[:1] not in ("{", "[") and len(value) <= 60
    return f" (as a text: {name}='\"{value}\"')" if alone else ""


def _unknown(key: str, known: list[str], inside: str) -> str:
    where = f" in {inside}" if inside else ""
    if f"{key}_file" in known:
        return (
            f"unknown key {key!r}{where}: secrets are not written here, name the file that "
            f"holds it with {key}_file"
        )
    near = difflib.get_close_matches(key, known, 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"unknown key {key!r}{where}: {hint}"


def _keys_of(model: type[BaseModel], location: Location) -> list[str]:
    steps = iter(location)
    for step in steps:
        field = model.model_fields.get(str(step))
        if field is not None and get_origin(field.annotation) is dict:
            next(steps, None)  # a name of its own, and below it what they all have
        options = (field.annotation, *get_args(field.annotation)) if field else ()
        part = next(
            (
                option
                for option in options
                if isinstance(option, type) and issubclass(option, BaseModel)
            ),
            None,
        )
        if part is None:
            return []
        model = part
    return list(model.model_fields)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _secrets(
    settings: FileSettings,
    source: SettingsDocument,
    environ: Mapping[str, str],
    owners: frozenset[int],
    as_daemon: bool,
) -> tuple[dict[str, Secret], list[str]]:
    """Reads each secret from its file, else from a systemd credential of its name
    (`mqtt.password`). `as_daemon`: see `load`."""
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    base = Path(source.path).parent if source.path else Path()
    secrets, warnings = {}, []
    for name, (part, key) in _SECRETS.items():
        inner = getattr(settings, part)
        path = getattr(inner, key) if inner is not None else None
        if path is not None:
            path = base / path
        elif credentials and inner is not None and (Path(credentials) / name).is_file():
            path = Path(credentials) / name
        if path is None:
            continue
        try:
            secrets[name], warning = read_secret(path, owners)
            warnings += [warning] if warning else []
        except OSError as error:
            if isinstance(error, PermissionError) and not as_daemon:
                warnings.append(notify_urls.not_looked_at(f"{part}.{key}", path))
                continue
            source.problem(
                (part, key), f"{part}.{key}: {path} cannot be read: {error.strerror or error}"
            )
        except Untrusted as error:
            source.problem((part, key), f"{part}.{key}: {error.place} {error.for_settings()}")
        except ValueError as error:
            source.problem((part, key), f"{part}.{key}: {path} {error}")
    _certificates(settings, source, base, owners)
    return secrets, warnings


def _certificates(
    settings: FileSettings, source: SettingsDocument, base: Path, owners: frozenset[int]
) -> None:
    """Whoever may write the authority's certificate decides which broker is believed. Missing ones,
    TLS itself tells"""
    for key, file in (
        settings.mqtt.tls if settings.mqtt is not None and settings.mqtt.tls is not None else ()
    ):
        if file is not None:
            _judge(base / file, source, ("mqtt", "tls", key), owners)


def _judge(
    path: Path, source: SettingsDocument, location: Location, owners: frozenset[int]
) -> None:
    """Notes that others may write a file which the settings name; one that is missing is another's
    to tell."""
    try:
        file_trust.check(path, owners)
    except Untrusted as error:
        source.problem(
            location, f"{'.'.join(map(str, location))}: {error.place} {error.for_settings()}"
        )
    except OSError:
        return


def _in_clear(mqtt: Mqtt | None) -> list[str]:
    """Whether the broker's password crosses a network so that others can read it on the way."""
    if (
        mqtt is None
        or mqtt.tls is not None
        or mqtt.password_file is None
        or Address(mqtt.host, 0).loopback
    ):
        return []
    return [
        (
            f"mqtt: the password goes to {mqtt.host} without TLS: set mqtt.tls, or "
            "whoever listens on the way has it"
        )
    ]


def _reachable(listen: Address | None, contained: bool | None) -> tuple[list[str], list[str]]:
    """Of tokens that cross a network so that others can read them: a warning, or a note.

    A container has to listen on all addresses for its port to be published, and cannot know on
    which of the host's it is: whoever published it on 127.0.0.1 alone needs no warning.
    """
    if listen is None or listen.loopback:
        return [], []
    if listen.host in ("0.0.0.0", "::") and (in_container() if contained is None else contained):  # noqa: S104 - only compared
        return [], [_IN_CONTAINER.format(listen)]
    return [_CLEAR_TEXT.format(listen)], []


def _anchored(mqtt: Mqtt | None, folder: Path) -> Mqtt | None:
    """The broker's certificate files with full paths: relative ones are relative to the settings
    file's folder."""
    if mqtt is None or mqtt.tls is None:
        return mqtt
    files = {key: folder / value for key, value in mqtt.tls if value is not None}
    return mqtt.model_copy(update={"tls": mqtt.tls.model_copy(update=files)})


def _paths(own: Mapping[str, Any], config: Path | None) -> Paths:
    values = {key: Path(own[key]) for key in ("rules", "state", "socket") if key in own}
    if "state" in values:
        values.setdefault("socket", values["state"] / "dockmend.sock")
    return Paths(config=config, **values)


def _refuse(problems: list[Problem], loose: list[str]) -> None:
    problems = sorted(set(problems))
    if loose:
        raise UsageError("\n".join([*map(str, problems), *loose]))
    if problems:
        raise InvalidFiles(tuple(problems))
