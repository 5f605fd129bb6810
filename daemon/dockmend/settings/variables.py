"""Settings from environment variables: which there are, what each says, and that over the file's
data."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from dockmend.rules import located_yaml
from dockmend.settings import notify_urls
from dockmend.settings.sections import FileSettings
from dockmend.timekeeping import BOOT_VARIABLE

OWN = ("config", "rules", "state", "socket", "dry_run", "log_format")  # no keys of the file
# the flags' and variables' short names
SHORT = {"listen": "http.listen", "metrics_listen": "http.metrics_listen"}
_OTHER_VARIABLES = {
    BOOT_VARIABLE,
    "DOCKMEND_DEBUG",
    "DOCKMEND_RUNTIME",
    notify_urls.URL,
    notify_urls.HEARTBEAT,
}


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of the file with those that hold it, as in `mqtt.tls.ca`; what holds others too, as
    in `mqtt`."""
    for name, each in model.model_fields.items():
        if f"{above}{name}" in _LATER:
            continue
        key = f"{above}{each.alias or name}"
        yield key
        if get_origin(each.annotation) is dict:
            continue  # what it holds has names of its own
        for kind in (each.annotation, *get_args(each.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, f"{key}.")


_LATER = {"stores", "mqtt.commands", "mqtt.homeassistant", "http.tls"}
"""Keys of the file that are not in this version."""
VARIABLES = tuple(_keys(FileSettings))
"""The keys of the file that a variable can set: DOCKMEND_ and the key in capitals, dots as
underscores."""


@dataclass(frozen=True, slots=True)
class Variables:
    """`values`: by dotted key, each with the variable's name; `warnings`: about variables that mean
    nothing; `wrong`: what is wrong with others."""

    values: dict[str, tuple[Any, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def from_environment(environ: Mapping[str, str]) -> Variables:
    """What the variables say; a value that is empty says nothing."""
    known = {f"DOCKMEND_{key.upper()}": SHORT.get(key, key) for key in (*OWN, *SHORT)}
    known |= {f"DOCKMEND_{key.upper().replace('.', '_')}": key for key in VARIABLES}
    known[notify_urls.URL_FILE] = f"notify.{notify_urls.DEFAULT}.url_file"
    found = Variables()
    for name in sorted(environ):
        if name in known and environ[name] != "":
            value, key = environ[name], known[name]
            said, other = found.values.setdefault(key, (value, name))
            if said != value:
                found.wrong.append(
                    f"{name}: says something else than {other}, which is the same: keep one of them"
                )
        elif name.startswith("DOCKMEND_") and name not in known and name not in _OTHER_VARIABLES:
            near = difflib.get_close_matches(name, [*known, *_OTHER_VARIABLES], 1, 0.8)
            hint = f": did you mean {near[0]}?" if near else ""
            found.warnings.append(f"the environment variable {name} means nothing{hint}")
    return found


def overlay(data: dict[str, Any], values: Mapping[str, tuple[Any, str]]) -> list[str]:
    """Lays flags and variables over the file's data, what holds others first."""
    wrong = []
    for key, (value, name) in sorted(values.items(), key=lambda each: each[0].count(".")):
        *parents, last = key.split(".")
        here = data
        for parent in parents:
            inner = here.get(parent)
            if inner is None:
                inner = here[parent] = {}
            if not isinstance(inner, dict):
                wrong.append(
                    f"{name}: {key} cannot be set, because the file's {parent} holds no keys"
                )
                break
            here = inner
        else:
            here[last] = read(value)
    return wrong


def read(value: Any) -> Any:
    """The value of a flag or a variable, read as the file's would be.

    What is no YAML, such as `*`, is the text itself, and so is what only looks like a mapping or a
    list: `a: b` and the address `[::1]:9468`. Nothing is left out of it as a comment: `me #1` is
    that text.
    """
    if not isinstance(value, str):
        return value
    found = located_yaml.parse("", value)
    begins = "{" if isinstance(found.data, dict) else "[" if isinstance(found.data, list) else ""
    if found.troubles or not value.lstrip().startswith(begins):
        return value
    plain = found.root is None or found.root.plain
    return (
        found.data
        if not plain or (found.root and found.root.text) == value.strip()
        else value.strip()
    )
