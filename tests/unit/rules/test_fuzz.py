"""Whatever a file holds: a RuleSet or InvalidFiles with places inside the file, and never anything
else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockmend.errors import InvalidFiles
from dockmend.rules.loader import load_texts
from dockmend.rules.located_yaml import parse
from dockmend.rules.rule import RuleSet
from dockmend.rules.rule_schema import RuleModel

HERE = Path(__file__).parent
GOOD = [
    path.read_text("utf-8-sig")
    for path in sorted([*HERE.glob("right/*.yaml"), *HERE.glob("later/*.yaml")])
]
WRONG = [
    path.read_bytes().decode("utf-8", "replace")
    for path in sorted((HERE / "corpus").glob("*.yaml"))
]
QUIET = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

KEYS = sorted({
    *(field.alias or name for name, field in RuleModel.model_fields.items()),
    "kind", "labels", "compose", "restart", "publish", "commit_image", "snapshot_volume", "exec",
    "command", "target", "timeout", "transition", "event", "every", "cause", "times", "attempts",
    "cooldown", "keep", "volumes", "consistency", "stats", "mqtt", "alert",
})  # fmt: skip
WORDS = st.one_of(
    st.sampled_from([
        *KEYS, "all", "none", "container.unhealthy", "container.die", "5 per 15m", "1s to 5m",
        "/(a+)+/", "[", "*", "{container.name}", "{", "live", "startup", "* * * * *", "volume",
        "-c", "true", "😀", "\ud7ff", "\x85",
    ]),
    st.text(max_size=12),
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.one_of(st.sampled_from(KEYS), WORDS)
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5))


TREES: st.SearchStrategy[Any] = st.recursive(SCALARS, grown, max_leaves=25)


def outcome(text: str | bytes) -> RuleSet | InvalidFiles:
    """What loading gives; anything but these two fails the test by being raised."""
    try:
        return load_texts({"fuzzed.yaml": text}, host="lab")
    except InvalidFiles as invalid:
        return invalid


def check(text: str | bytes) -> None:
    result = outcome(text)
    if isinstance(result, InvalidFiles):
        assert any(problem.level == "error" for problem in result.problems)
        problems = result.problems
    else:
        problems = result.warnings
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert str(problem).isprintable()


@QUIET
@given(st.one_of(st.text(), st.text(alphabet="[]{}&*!|>'\"%@`#:- \n\tab1,?")))
def test_any_text(text: str) -> None:
    check(text)


@QUIET
@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    check(content)


@QUIET
@given(st.data())
def test_a_file_with_a_piece_cut_out_put_in_or_moved(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(GOOD + WRONG))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        other = data.draw(st.sampled_from(GOOD))
        place = data.draw(st.integers(0, len(other)))
        piece = data.draw(st.one_of(st.just(""), WORDS, st.just(other[place : place + 40])))
        text = text[:start] + piece + text[end:]
    check(text)


def places(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value of a tree."""
    yield path
    for key, inner in (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    ):
        yield from places(inner, (*path, key))


def changed(tree: Any, path: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of the tree in which the value at `path` is another."""
    if not path:
        return change(tree)
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = changed(copy[path[0]], path[1:], change)
    return copy


DATA = [found.data for text in GOOD + WRONG if (found := parse("a.yaml", text)).root is not None]
PLACES = [(number, path) for number, tree in enumerate(DATA) for path in places(tree)]


@settings(QUIET, max_examples=600)
@given(st.sampled_from(PLACES), st.data())
def test_a_tree_with_one_value_replaced_renamed_or_wrapped(
    place: tuple[int, tuple[str | int, ...]], data: Any
) -> None:
    number, path = place
    change: Callable[[Any], Any] = data.draw(
        st.one_of(
            st.builds(lambda new: lambda _: new, TREES),
            st.builds(lambda new: lambda old: {new: old}, WORDS),
            st.builds(
                lambda new: lambda old: {**old, new: 1} if isinstance(old, dict) else [old], WORDS
            ),
            st.builds(lambda new: lambda old: old + new if isinstance(old, str) else new, WORDS),
        )
    )
    check(yaml.safe_dump(changed(DATA[number], path, change), sort_keys=False, allow_unicode=True))


@QUIET
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=8))
def test_any_tree_as_a_rule(tree: dict[str, Any]) -> None:
    check(yaml.safe_dump({"version": 1, "rules": [tree]}))


@QUIET
@given(st.sampled_from(KEYS), TREES)
def test_any_value_under_any_key_of_a_right_rule(key: str, value: Any) -> None:
    rule = {
        "name": "heal",
        "when": "container.unhealthy",
        "match": "all",
        "then": "restart",
        key: value,
    }
    check(yaml.safe_dump({"version": 1, "rules": [rule]}))
    check(
        yaml.safe_dump(
            {"version": 1, "defaults": {key: value}, "rules": [{"name": "heal", "match": "all"}]}
        )
    )


@QUIET
@given(TREES)
def test_any_tree_as_a_file(tree: Any) -> None:
    check(yaml.safe_dump(tree))


@QUIET
@given(st.sampled_from(["then", "finally", "escalate", "when", "match", "exclude"]), TREES)
def test_any_tree_where_a_word_a_mapping_or_a_list_may_stand(key: str, tree: Any) -> None:
    rule = {
        "name": "heal",
        "when": "container.unhealthy",
        "match": "all",
        "then": "restart",
        key: tree,
    }
    check(yaml.safe_dump({"version": 1, "rules": [rule]}))
