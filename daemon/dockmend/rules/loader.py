"""Rule files to a RuleSet, or to all the errors of all of them at once.

A rule file is an order to act on a host, so who may write it matters as much as what it says: files
that others than their owner may write are refused (settings: `policy.rules_owner`).
"""

from __future__ import annotations

import gc
import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dockmend.errors import InvalidFiles, Problem
from dockmend.rules.build import Origin, build_rule
from dockmend.rules.diagnostics import MOST_PROBLEMS, Reporter, Scope
from dockmend.rules.located_yaml import Collection, Node, YamlDocument, decode, parse
from dockmend.rules.overlaps import overlaps
from dockmend.rules.rule import Rule, RuleSet
from dockmend.rules.rule_files import read_files
from dockmend.rules.rule_schema import FileModel, RuleModel

_MERGED = frozenset({"match", "exclude", "limits", "verify", "annotations"})
"""Keys whose mappings are merged key by key; of every other key the rule's own value replaces the
default."""

_NAMED = re.compile(
    r"\s*-\s+\{?\s*name:\s+(?P<quote>['\"]?)(?P<name>[\w.-]+)(?P=quote)\s*([,#}].*)?$"
)

_KEYS = frozenset(field.alias or name for name, field in RuleModel.model_fields.items())


def load_rules(
    paths: Path | str | Iterable[Path | str],
    *,
    host: str,
    owner: str | None = None,
    runs_as: int | None = None,
    channels: Iterable[str] | None = None,
) -> RuleSet:
    """Loads files, and of folders every *.yaml and *.yml, in the order of their names.

    `host` is this host's name. `owner` (a user's name or uid) is whom the files and every folder
    above them must belong to; root and the user that dockmend runs as may own them always. None:
    whoever. `runs_as`: the uid of that user; None: this process's. `channels`: see `load_texts`.
    Raises InvalidFiles with everything that is wrong.
    """
    contents, problems = read_files(paths, owner, runs_as)
    return load_texts(contents, host=host, problems=problems, channels=channels)


def load_texts(
    texts: Mapping[str, str | bytes],
    *,
    host: str,
    problems: Sequence[Problem] = (),
    channels: Iterable[str] | None = None,
) -> RuleSet:
    """Loads texts by path. `problems`: those of files that could not be read; `channels`: those
    that the settings name, for messages: a rule that names another is wrong. None: they are not
    known. Raises InvalidFiles."""
    known = frozenset(channels) if channels is not None else None
    with _collector_paused():
        return _load(texts, host, problems, known)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A large set makes hundreds of thousands of objects that all live to its end: looking for
    garbage among them is a third of the time it takes to load. Once they are there they are left
    out of that look for good (`freeze`), which would hold up everything else for 100 ms at 8,000
    rules; reference counts free them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def digest(texts: Mapping[str, str | bytes]) -> str:
    """Tells whether two sets of files are the same: sha256 over names and contents."""
    whole = hashlib.sha256()
    for path in sorted(texts):
        text = texts[path]
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        whole.update(f"{len(path)} {len(content)} {path}\n".encode("utf-8", "surrogateescape"))
        whole.update(content)
    return whole.hexdigest()


def _load(
    texts: Mapping[str, str | bytes],
    host: str,
    problems: Sequence[Problem],
    channels: frozenset[str] | None,
) -> RuleSet:
    found: list[Problem] = list(problems)
    rules: list[Rule] = []
    names: dict[str, tuple[str, int]] = {}
    columns: dict[str, int] = {}
    order = 0
    for path in sorted(texts):
        text = texts[path]
        document = parse(path, text) if isinstance(text, str) else decode(path, text)
        reader = _File(document, host, names, order, channels)
        rules += reader.rules()
        order = reader.order
        columns.update(reader.columns)
        found += reader.reporter.problems
    errors = [problem for problem in found if problem.level == "error"]
    if errors:
        raise InvalidFiles(tuple(_sorted(found)))
    found += _overlaps(rules, columns)
    return RuleSet(tuple(rules), tuple(_sorted(found)), digest(texts))


def _overlaps(rules: Sequence[Rule], columns: Mapping[str, int]) -> list[Problem]:
    return [
        Problem(
            found.loser.path,
            found.loser.line,
            columns[found.loser.name],
            str(found),
            found.loser.name,
            "warning",
        )
        for found in overlaps(RuleSet(tuple(rules)))
    ]


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(set(problems), key=lambda p: (p.path, p.line, p.column, p.rule or "", p.message))


class _File:
    """Reads the rules of one file. `names` holds the names of all files so far, and where they
    stand."""

    def __init__(
        self,
        document: YamlDocument,
        host: str,
        names: dict[str, tuple[str, int]],
        order: int,
        channels: frozenset[str] | None,
    ) -> None:
        self.document = document
        self.host = host
        self.channels = channels
        self.names = names
        self.order = order
        self.reporter = Reporter(document)
        self.columns: dict[str, int] = {}  # where each rule begins on its line
        # first and last line of each rule, in their order
        self._spans: list[tuple[int, int, str]] = []
        # lines such as `- name: web`, of a file that is no YAML
        self._named: list[tuple[int, str]] | None = None

    def rules(self) -> list[Rule]:
        root = self.document.root
        rules: list[Rule] = []
        if root is not None:
            rules = self._rules(root)
        elif not self.document.troubles:
            self.reporter.add(1, 1, "the file is empty: expected `version: 1` and `rules`")
        for trouble in self.document.troubles[: MOST_PROBLEMS + 1]:
            self.reporter.add(
                trouble.line, trouble.column, trouble.message, self._rule_at(trouble.line)
            )
        return rules

    def _rules(self, root: Node) -> list[Rule]:
        top = Scope(self.reporter, root)
        data = root.value
        if not isinstance(data, dict):
            top.wrong((), data, "a mapping with `version: 1` and `rules`")
            return []
        top.read(FileModel, data, ())
        items = root.child("rules")
        if not isinstance(items, Collection) or items.keys is not None:
            return []
        defaults = root.child("defaults")
        if defaults is not None and not isinstance(defaults.value, dict):
            defaults = None
        if defaults is not None:
            self._check_defaults(top, defaults)
        rules = []
        for node in items.children:
            if self.reporter.full:
                break
            if (rule := self._rule(node, defaults)) is not None:
                rules.append(rule)
        return rules

    def _check_defaults(self, top: Scope, defaults: Node) -> None:
        """Unknown keys; values are checked with each rule they go into."""
        for key in defaults.value:
            if key == "name":
                top.error(
                    ("defaults", key),
                    "a name in `defaults` would be every rule's: expected none",
                    key=True,
                )
            elif key not in _KEYS:
                top.unknown_key(("defaults", key), _KEYS - {"name"})

    def _rule(self, node: Node, defaults: Node | None) -> Rule | None:
        self.order += 1
        data = node.value
        if not isinstance(node, Collection) or node.keys is None:
            Scope(self.reporter, node).wrong(
                (), data, "a rule: a mapping with name, when, match and then"
            )
            return None
        name = data.get("name")
        name = (
            name
            if isinstance(name, str) and name and name.isprintable() and len(name) <= 100
            else None
        )
        if name is not None:
            self._spans.append((node.line, node.end, name))
            self.columns[name] = node.column
        scope = Scope(self.reporter, node, name, defaults)
        if defaults is not None:
            known = {
                key: value
                for key, value in defaults.value.items()
                if key in _KEYS and key != "name"
            }
            data = _merge(known, data)
        rule = build_rule(
            scope, data, Origin(self.document.path, node.line, self.order, self.host, self.channels)
        )
        if name is not None:
            self._unique(scope, node, name)
        return rule

    def _unique(self, scope: Scope, node: Node, name: str) -> None:
        if name in self.names:
            path, line = self.names[name]
            taken = f"the name {name} is taken by the rule at {path}:{line}"
            scope.error(("name",), f"{taken}: expected one that is unique over all files")
        else:
            self.names[name] = (self.document.path, node.line)

    def _rule_at(self, line: int) -> str | None:
        """The name of the rule that a line belongs to; where the file is no YAML, by the nearest `-
        name:` above."""
        if self.document.root is not None:
            place = bisect_right(self._spans, line, key=lambda span: span[0]) - 1
            return self._spans[place][2] if place >= 0 and line <= self._spans[place][1] else None
        if self._named is None:
            lines = enumerate(self.document.lines, 1)
            self._named = [
                (number, found["name"]) for number, text in lines if (found := _NAMED.match(text))
            ]
        place = bisect_right(self._named, line, key=lambda named: named[0]) - 1
        return self._named[place][1] if place >= 0 else None


def _merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **own}
    for key in _MERGED:
        inherited, written = defaults.get(key), own.get(key)
        if isinstance(inherited, dict) and isinstance(written, dict):
            merged[key] = _merge_deep(inherited, written)
    return merged


def _merge_deep(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **own}
    for key, value in merged.items():
        if (
            isinstance(value, dict)
            and isinstance(inherited := defaults.get(key), dict)
            and value is not inherited
        ):
            merged[key] = _merge_deep(inherited, value)
    return merged
