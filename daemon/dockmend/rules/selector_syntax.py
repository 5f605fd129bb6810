"""`match` and `exclude`: from what a person wrote to selectors, and the kind of object a rule is
about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from dockmend.model import Container, Network, Volume
from dockmend.rules.diagnostics import Scope
from dockmend.rules.language_error import LanguageError
from dockmend.rules.located_yaml import Path
from dockmend.rules.patterns import Pattern, any_of, parse_name, parse_pattern
from dockmend.rules.rule import Selector
from dockmend.rules.rule_schema import LATER_KINDS, Match
from dockmend.rules.selectors import KEYS, compile_selector
from dockmend.rules.when import When
from dockmend.rules.yaml_hints import quoted

_TIMED: Final = ("container", "volume")
"""What schedules go over."""


def read_match(
    scope: Scope, value: Any, when: When, host: str
) -> tuple[Selector | None, str | None]:
    """The selector, and the kind of object the rule is about (None: its triggers have no
    object)."""
    implied = next(iter(when.kinds)) if len(when.kinds) == 1 else None
    if value == "all":
        kind = implied or "container"
        return _all(scope, kind, host), None if kind == "engine" else kind
    if not isinstance(value, dict):
        scope.wrong(("match",), value, "`all`, or a mapping such as {labels: {tier: web}}")
        return None, implied or "container"
    if not value:
        scope.error(
            ("match",),
            "`match` is an empty mapping: expected `match: all` if every object is meant",
        )
        return None, implied or "container"
    wanted = value.get("kind", "container")
    kind = wanted if isinstance(wanted, str) and wanted in KEYS else "container"
    _check_kind(scope, value, kind, implied, when)
    selector = _compile(scope, ("match",), value, kind, host)
    return selector, None if implied == "engine" else kind


def read_exclude(scope: Scope, value: Any, kind: str | None, host: str) -> Selector | None:
    """The selector of what is excluded: any key that holds excludes."""
    kind = kind or "container"
    path: Path = ("exclude",)
    if not isinstance(value, dict) or not value:
        scope.wrong(path, value, 'a mapping such as {name: "*-db"}')
        return None
    if value.get("kind", kind) != kind:
        expected = f"expected {kind}, or `kind` left out"
        scope.error((*path, "kind"), f"`exclude` is about another kind than `match`: {expected}")
        return None
    keys = [key for key in value if key != "kind"]
    if not keys:
        scope.error(
            path, "`exclude` would exclude everything: expected a key such as name or labels"
        )
        return None
    if "oneoff" in value:
        expected = (
            "a `match` without it selects no Compose one-off, and with `oneoff: true` only those"
        )
        scope.error((*path, "oneoff"), f"`oneoff` is no key of `exclude`: {expected}", key=True)
        return None
    data = {**value, "kind": kind}
    whole = _compile(scope, path, data, kind, host)
    if whole is not None and (wide := _holds_for_all(data)):
        scope.error(
            (*path, wide), f"`exclude` would exclude everything: expected a narrower {wide}"
        )
        return None
    if whole is None or len(keys) == 1:
        return whole
    texts = _with_texts(scope, path, data)
    parts = [compile_selector({"kind": kind, key: texts[key]}, host) for key in keys]
    tests = tuple(part.test for part in parts)

    def test(subject: Container | Network | Volume) -> bool:
        return any(one(subject) for one in tests)

    text = " or ".join(part.text for part in parts)
    return Selector(whole.kind, test, max(part.breadth for part in parts), text=text)


_NAMES: Final = (
    "a",
    "Z",
    "0",
    "web",
    "DB-1",
    "x_y.z",
    "9front",
    "shop-database-replica-2",
    "q" * 40,
)
"""Names with little in common: a pattern that holds for all of them holds for any."""


def _holds_for_all(data: dict[str, Any]) -> str | None:
    """The key of a selection whose patterns hold whatever the object is."""
    for key in ("name", "image"):
        if texts := [pattern for _, pattern in _patterns({key: data.get(key)})]:
            test = any_of([parse_name(text) for text in texts])
            if all(test(name) for name in _NAMES):
                return key
    return None


def excludes_all_of(match: Any, exclude: Any) -> str | None:
    """The key of `exclude` that takes out everything that `match` selects, or None.

    Every key of `match` holds for what it selects, and one key of `exclude` is enough to take it
    out. Both were checked before.
    """
    if not isinstance(match, dict) or not isinstance(exclude, dict):
        return None
    for key in exclude.keys() & match.keys() - {"kind"}:
        if isinstance(match[key], dict):  # each of its keys must hold
            taken_out = exclude[key].items() <= match[key].items()
        else:
            selected, excluded = _texts(match[key]), _texts(exclude[key])
            test = any_of([parse_name(text) for text in excluded])
            taken_out = all(
                text in excluded or (_is_literal(text) and test(text)) for text in selected
            )
        if taken_out:
            return str(key)
    return None


def _texts(value: Any) -> list[str]:
    return [str(each) for each in (value if isinstance(value, list) else [value])]


def _is_literal(text: str) -> bool:
    return parse_name(text).literal is not None


def _all(scope: Scope, kind: str, host: str) -> Selector | None:
    if kind in LATER_KINDS:
        scope.later(("match",), f"kind: {kind}")
    return compile_selector(
        {"kind": "container" if kind == "engine" else kind}, host, matching=True
    )


def _check_kind(
    scope: Scope, value: dict[str, Any], kind: str, implied: str | None, when: When
) -> None:
    path: Path = ("match", "kind") if "kind" in value else ("match",)
    if implied == "engine":
        scope.error(
            ("match",), "the trigger is about the engine, which is no object: expected `match: all`"
        )
    elif implied is not None and implied != kind:
        what = when.triggers[0].name if when.triggers else f"the trigger on a {implied}"
        scope.error(
            path, f"{what} is about a {implied}, `match` about a {kind}: expected `kind: {implied}`"
        )
    elif kind in LATER_KINDS:
        scope.later(path, f"kind: {kind}")
    elif implied is None and when.timed and kind not in _TIMED:
        expected = "expected `kind: container` or `kind: volume`"
        scope.error(path, f"schedules go over containers or volumes, not over a {kind}: {expected}")


def _compile(
    scope: Scope, path: Path, value: dict[str, Any], kind: str, host: str
) -> Selector | None:
    data = _with_texts(scope, path, value)
    model = scope.read(Match, data, path)
    if model is None:
        return None
    before = scope.errors
    for key in ("labels", "compose"):
        if key in data and not data[key]:
            expected = "expected what it must hold, or the key left out"
            scope.error((*path, key), f"`{key}` is empty and would hold for everything: {expected}")
    for key in data:
        if key not in KEYS[kind]:
            known = ", ".join(sorted(KEYS[kind]))
            scope.error(
                (*path, key),
                f"a {kind} is not selected by `{key}`: expected one of {known}",
                key=True,
            )
    _cut_by_comments(scope, path, data)
    if scope.errors > before:
        return None
    try:
        return compile_selector({**data, "kind": kind}, host, matching=path == ("match",))
    except LanguageError as error:
        _blame(scope, path, data, kind, error)
        return None


def _with_texts(scope: Scope, path: Path, value: dict[str, Any]) -> dict[str, Any]:
    """`dockmend.heal: true` is understood: a label's true and false are texts, where they are
    written so."""
    labels = value.get("labels")
    if not isinstance(labels, dict) or not any(
        isinstance(content, bool) for content in labels.values()
    ):
        return value
    understood = {}
    for name, content in labels.items():
        node = scope.find((*path, "labels", name))
        written = node.text if node is not None else None
        understood[name] = (
            written if isinstance(content, bool) and written in ("true", "false") else content
        )
    return {**value, "labels": understood}


def _blame(scope: Scope, path: Path, data: dict[str, Any], kind: str, error: LanguageError) -> None:
    """Reports the patterns that are wrong, each at its place."""
    found = False
    for keys, pattern in _patterns(data):
        try:
            _parser(keys)(pattern)
        except LanguageError as wrong:
            found = True
            scope.language(
                (*path, *keys), wrong, str(keys[-1] if isinstance(keys[-1], str) else keys[-2])
            )
    if not found:
        scope.language(path, error)


def _parser(keys: Path) -> Callable[[str], Pattern]:
    """How the text at this place of a selection is read: any text may be a label's value."""
    return parse_pattern if keys[0] == "labels" else parse_name


def _patterns(data: Any, keys: Path = ()) -> list[tuple[Path, str]]:
    """Every text under `match` but its kind, with the way to it."""
    if isinstance(data, str):
        return [] if keys == ("kind",) else [(keys, data)]
    items = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    return [
        found for key, value in items for found in _patterns(value, (*keys, cast("str | int", key)))
    ]


def _cut_by_comments(scope: Scope, path: Path, data: dict[str, Any]) -> None:
    """Patterns that ` #` cut in two: YAML takes the rest of the line for a comment."""
    document = scope.reporter.document
    if not document.commented:
        return
    for keys, pattern in _patterns(data):
        node = scope.find((*path, *keys))
        comment = document.comment_after(node) if node is not None else None
        if comment is None:
            continue
        made = f'YAML reads what follows " #" as a comment and keeps {pattern}'
        if pattern.startswith("/") and not (len(pattern) > 1 and pattern.endswith("/")):
            scope.error((*path, *keys), f"{made}: write {quoted(_whole(pattern, comment))}")
        elif comment[1:2].strip("#"):  # a comment is mostly written with a space after its #
            scope.warn((*path, *keys), f"{made}: write it in quotes if the rest belongs to it")


def _whole(pattern: str, comment: str) -> str:
    closing = comment.rfind("/")
    return f"{pattern} {comment[: closing + 1] if closing > 0 else comment.rstrip()}"
