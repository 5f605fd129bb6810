"""As much of a JSON Schema validator as the rule files' schema needs, so that the tests need no
further package.

A keyword it does not know is a failure: nothing of the schema goes unchecked.
"""

from __future__ import annotations

import re
from typing import Any

ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples"}
TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}  # fmt: skip


def errors(schema: dict[str, Any], value: Any, root: dict[str, Any], path: str = "$") -> list[str]:
    """What is wrong with `value`, by path."""
    found: list[str] = []
    for keyword, wanted in schema.items():
        if keyword in ANNOTATIONS:
            continue
        check = CHECKS.get(keyword)
        if check is None:
            assert keyword in ("additionalProperties", "then"), f"unknown keyword {keyword}"
            continue
        found += check(wanted, value, schema, root, path)
    return found


def _type(wanted: Any, value: Any, schema: Any, root: Any, path: str) -> list[str]:
    names = wanted if isinstance(wanted, list) else [wanted]
    number = not isinstance(value, bool)
    fits = any(
        isinstance(value, TYPES[name]) and (number or name not in ("integer", "number"))
        for name in names
    )
    return [] if fits else [f"{path}: not {wanted}"]


def _properties(wanted, value, schema, root, path):
    if not isinstance(value, dict):
        return []
    known = [key for key in wanted if key in value]
    return [
        error for key in known for error in errors(wanted[key], value[key], root, f"{path}.{key}")
    ]


def _additional(schema: Any, value: Any, root: Any, path: str) -> list[str]:
    extra = schema.get("additionalProperties", True)
    keys = (
        [key for key in value if key not in schema.get("properties", {})]
        if isinstance(value, dict)
        else []
    )
    if extra is False:
        return [f"{path}: unknown key {key}" for key in keys]
    if extra is True:
        return []
    return [error for key in keys for error in errors(extra, value[key], root, f"{path}.{key}")]


def _object(wanted, value, schema, root, path):
    return _type(wanted, value, schema, root, path) + _additional(schema, value, root, path)


def _items(wanted, value, schema, root, path):
    if not isinstance(value, list):
        return []
    return [
        e
        for index, item in enumerate(value)
        for e in errors(wanted, item, root, f"{path}[{index}]")
    ]


def _any(wanted, value, schema, root, path):
    tried = [errors(one, value, root, path) for one in wanted]
    return (
        [] if any(not each for each in tried) else [f"{path}: fits no form ({min(tried, key=len)})"]
    )


def _ref(wanted, value, schema, root, path):
    return errors(root["$defs"][wanted.removeprefix("#/$defs/")], value, root, path)


def _if(wanted, value, schema, root, path):
    return [] if errors(wanted, value, root, path) else errors(schema["then"], value, root, path)


CHECKS: dict[str, Any] = {
    "type": _object,
    "properties": _properties,
    "items": _items,
    "anyOf": _any,
    "$ref": _ref,
    "if": _if,
    "not": lambda w, v, _s, r, p: [] if errors(w, v, r, p) else [f"{p}: what must not be"],
    "required": lambda w, v, _s, _r, p: [
        f"{p}: {k} is missing" for k in w if isinstance(v, dict) and k not in v
    ],
    "enum": lambda w, v, _s, _r, p: [] if v in w else [f"{p}: {v} not in enum"],
    "const": lambda w, v, _s, _r, p: [] if v == w and type(v) is type(w) else [f"{p}: not {w}"],
    "pattern": lambda w, v, _s, _r, p: (
        [] if not isinstance(v, str) or re.search(w, v) else [f"{p}: pattern"]
    ),
    "minLength": lambda w, v, _s, _r, p: (
        [f"{p}: too short"] if isinstance(v, str) and len(v) < w else []
    ),
    "maxLength": lambda w, v, _s, _r, p: (
        [f"{p}: too long"] if isinstance(v, str) and len(v) > w else []
    ),
    "minItems": lambda w, v, _s, _r, p: (
        [f"{p}: too few"] if isinstance(v, list) and len(v) < w else []
    ),
    "minimum": lambda w, v, _s, _r, p: (
        [f"{p}: too small"] if isinstance(v, int | float) and v < w else []
    ),
    "maximum": lambda w, v, _s, _r, p: (
        [f"{p}: too large"] if isinstance(v, int | float) and v > w else []
    ),
    "exclusiveMinimum": lambda w, v, _s, _r, p: (
        [f"{p}: too small"] if isinstance(v, int | float) and v <= w else []
    ),
}
