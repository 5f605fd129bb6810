"""What others than the owner of rule files may read of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockmend.rules.loader import load_texts
from dockmend.rules.redacted_rules import without_secrets

RULE = """\
# the old password was swordfish
version: 1
rules:
  - name: heal  # hunter1
    when: container.unhealthy
    match: {name: "/^web#1$/"}
    then:
      - exec:
          command: [sh, -c, "mysql --password=hunter2 -e 'select 1'"]
          env: {PGPASSWORD: hunter3, MODE: hunter4}
      - exec:
          command:
            - mysql
            - --password
            - hunter5
      - exec:
          command: [echo, hunter3]
          env:
            TOKEN: |
              hunter6
              hunter7
      - publish: {topic: ill, payload: "{container.name} is ill"}
"""


def test_no_secret_of_a_step_and_no_comment_is_left_and_the_rule_is_the_same():
    shown = without_secrets(RULE.encode()).decode()
    assert "hunter" not in shown
    assert "swordfish" not in shown
    assert "{container.name} is ill" in shown
    before, after = (
        load_texts({"a.yaml": each.encode()}, host="h").rules for each in (RULE, shown)
    )
    assert [(each.name, each.match.text, each.line) for each in before] == [
        (each.name, each.match.text, each.line) for each in after
    ]
    assert [[step.action for step in each.then] for each in before] == [
        [step.action for step in each.then] for each in after
    ]


def test_a_secret_behind_an_anchor_is_one():
    text = (
        "shared: &env {A: hunter1}\nrules:\n- then: [{exec: {env: *env}}, {exec: {env: {B: &b "
        "hunter2, C: *b}}}]\n"
    )
    shown = without_secrets(text.encode()).decode()
    assert "hunter" not in shown
    assert "*env" in shown


@pytest.mark.parametrize("path", sorted(Path("rules.d").glob("*.yaml")), ids=lambda path: path.name)
def test_rules_without_secrets_stay_the_same(path: Path):
    content = path.read_bytes()
    kept = load_texts({str(path): without_secrets(content)}, host="h").rules
    assert [each.then for each in kept] == [
        each.then for each in load_texts({str(path): content}, host="h").rules
    ]
