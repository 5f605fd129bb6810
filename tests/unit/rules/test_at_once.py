"""Everything that is wrong is told at once: no error hides another, in a rule, in a file or in
several."""

from __future__ import annotations

from itertools import combinations

import pytest

from dockmend.errors import InvalidFiles
from dockmend.rules.loader import load_texts

RIGHT = {"name": "heal", "when": "container.unhealthy", "match": "all", "then": "restart"}
FAULTS = {
    "a reserved name": {"name": "builtin-x"},
    "a name with outer spaces": {"name": "' x '"},
    "unknown triggers": {"when": "[container.unhealty, container.krashed]"},
    "an unknown cause": {"when": "{transition: container.network_lost, cause: [remowed]}"},
    "for with a raw event": {"when": "{event: container.attach}", "for": "30s"},
    "a schedule too short": {"when": "{schedule: '* * *'}"},
    "a wrong pattern": {"match": "{labels: {a: '/(/'}}"},
    "an unknown kind": {"match": "{kind: volum}"},
    "an unknown key of exclude": {"exclude": "{nam: x}"},
    "an unknown field": {"if": "container.exit_kode > 1"},
    "text compared with a number": {"if": "'container.name < 3'"},
    "a number for a duration": {"for": "30"},
    "an unknown day": {"during": "'Mon-Fry 08:00-18:00'"},
    "two wrong windows": {"during": "['Mon-Fry', '8-9', 7]"},
    "wrong hours": {"not_during": "'8-18'"},
    "an unknown action": {"then": "restrat"},
    "a wrong parameter": {"then": "{restart: {timeout: 10}}"},
    "two wrong steps": {"then": "[{restart: {timeot: 10s}}, {publish: {topik: x}}]"},
    "wrong options": {"then": "{restart: {}, timeout: 5, on_error: never, target: {nam: x}}"},
    "an unknown field in finally": {"finally": "[{publish: {topic: '{container.nam}'}}]"},
    "a wrong verification": {"verify": "{state: well, within: 5}"},
    "four wrong limits": {"limits": "{cooldown: off, attempts: 5, backoff: 1s, rate: 10}"},
    "an unknown limit": {"limits": "{cooldwn: 1m}"},
    "an unknown mode": {"mode": "sngle"},
    "a wrong ladder": {"escalate": "[recreat, {notify: {message: '{incident.resn}'}}]"},
    "a text for a boolean": {"dry_run": "maybe"},
    "an unknown key": {"prioritie": "3"},
    "a text for a number": {"priority": "high"},
    "a wrong severity": {"severity": "bad"},
    "a wrong annotation": {"annotations": "{a: '{container.nam}'}"},
    "no match": {"match": ""},
    "no then": {"then": ""},
}
MOOT = frozenset({"a wrong verification", "for with a raw event", "a schedule too short"})
"""Where `verify` may not stand at all, what is wrong inside it is not said."""


def rule(*faults: str) -> str:
    data = dict(RIGHT)
    for fault in faults:
        data.update(FAULTS[fault])
    return "  -\n" + "".join(f"    {key}: {value}\n" for key, value in data.items() if value)


def file(*rules: str) -> str:
    return "version: 1\nrules:\n" + "".join(rules)


def errors(texts: dict[str, str]) -> set[str]:
    with pytest.raises(InvalidFiles) as caught:
        load_texts(texts, host="host")
    return {problem.message for problem in caught.value.problems if problem.level == "error"}


@pytest.fixture(scope="module")
def alone() -> dict[str, set[str]]:
    return {fault: errors({"a.yaml": file(rule(fault))}) for fault in FAULTS}


def test_no_error_of_a_rule_hides_another_of_it(alone: dict[str, set[str]]):
    hidden = [
        (one, other, missing)
        for one, other in combinations(FAULTS, 2)
        if not set(FAULTS[one]) & set(FAULTS[other]) and not {one, other} <= MOOT
        if (missing := (alone[one] | alone[other]) - errors({"a.yaml": file(rule(one, other))}))
    ]
    assert hidden == []


def test_no_rule_hides_the_errors_of_another_nor_a_file_those_of_another(
    alone: dict[str, set[str]],
):
    everything = set[str]().union(*alone.values())
    one_file = {"a.yaml": file(*map(rule, FAULTS))}
    assert everything <= errors(one_file)
    assert everything <= errors(
        {f"{number}.yaml": file(rule(fault)) for number, fault in enumerate(FAULTS)}
    )
    broken = {
        "0.yaml": "version: 1\nrules: [",
        "1.yaml": "",
        "2.yaml": "version: 3\n",
        "3.yaml": "- x\n",
    }
    assert everything < errors({**broken, **one_file})


def test_each_is_told_at_its_own_place():
    text = file(rule("an unknown day", "wrong hours", "an unknown mode"), rule("an unknown action"))
    with pytest.raises(InvalidFiles) as caught:
        load_texts({"a.yaml": text}, host="host")
    lines = text.splitlines()
    places = [lines[problem.line - 1][problem.column - 1 :] for problem in caught.value.problems]
    # the name is taken by the first rule
    assert places == ["Mon-Fry 08:00-18:00'", "8-18'", "sngle", "heal", "restrat"]
