"""Names of fields in texts, resolved against the catalogue: `container.name`,
`container.labels[KEY]`, `payload.a.b`.

Templates and conditions name fields in the same way and get the same errors.
"""

from __future__ import annotations

import re

from dockmend.rules.fields import CATALOGUE, CONTEXTS, FORGEABLE, Field
from dockmend.rules.language_error import LanguageError, did_you_mean, quoted

_STEP = re.compile(r"\.([A-Za-z0-9_/-]+)|\[([^\[\]{}\n]*)\]")
_MAPS = tuple(path for path, field in CATALOGUE.items() if field.type == "map")


def resolve(path: str, contexts: frozenset[str]) -> tuple[Field, tuple[str, ...]]:
    """The field a text names, and the keys below it for maps and payloads. Raises LanguageError.

    A label's key may hold dots and need no brackets: `container.labels.com.example.tier`.
    """
    for name in _MAPS:
        if path.startswith((name + ".", name + "[")):
            rest = path[len(name) :]
            bracket = re.fullmatch(r"\[([^\[\]]+)\]", rest)
            key = bracket[1].strip("\"'") if bracket else rest[1:]
            if "[" in key:
                raise LanguageError(
                    f"{quoted(path)}: expected one key, as in {name}[KEY]", len(name)
                )
            return check_context(keyed(CATALOGUE[name], key), contexts), (key,)
    field = CATALOGUE.get(path)
    if field is not None:
        check_context(field, contexts)
        if field.type == "map":
            raise LanguageError(f"{path} needs a key: {path}[KEY]", len(path))
        return field, ()
    root = re.split(r"[.\[]", path, maxsplit=1)[0]
    opened = CATALOGUE.get(root)
    if opened is not None and opened.open:
        check_context(opened, contexts)
        return opened, tuple((a or b).strip("\"'") for a, b in _STEP.findall(path[len(root) :]))
    raise unknown(path, contexts)


def keyed(field: Field, key: str) -> Field:
    """The same field, if that key of it may be asked for. Raises LanguageError for what labels
    overwrite."""
    if field.path == "event.attributes" and key in FORGEABLE:
        raise LanguageError(
            f'event.attributes["{key}"] cannot be trusted, a label overwrites it: use '
            f"{FORGEABLE[key]}",
            0,
        )
    return field


def check_context(field: Field, contexts: frozenset[str]) -> Field:
    if field.context in contexts:
        return field
    if field.context == "event":
        raise LanguageError(
            f"{field.path} is known only if every trigger is a raw event ({{event: …}})", 0
        )
    if field.context in ("alert", "payload"):
        source = "an alert" if field.context == "alert" else "an MQTT message"
        raise LanguageError(f"{field.path} is known only if the trigger is {source}", 0)
    raise LanguageError(
        f"{field.path} does not exist here: the rule's match is about another kind of object", 0
    )


def unknown(path: str, contexts: frozenset[str]) -> LanguageError:
    """The error for a field that is not in the catalogue, with the nearest that is."""
    root, _, rest = path.partition(".")
    below = [name for name, field in CATALOGUE.items() if field.context == root and "." in name]
    if below and not rest:
        return LanguageError(
            f"{quoted(path)} is not a field by itself: expected {root}.… such as {below[0]}", 0
        )
    near = did_you_mean(path, below) or did_you_mean(
        path, [n for n in CATALOGUE if CATALOGUE[n].context in contexts]
    )
    near = near or did_you_mean(path, [name.rpartition(".")[2] for name in below])
    if not near and not rest:
        near = did_you_mean(path, CONTEXTS)
    expected = "" if near else ": expected one such as container.name, rule.name, now"
    return LanguageError(f"unknown field {quoted(path)}{near}{expected}", 0)
