from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockmend.model import Actor, Change, Container, Endpoint, Event
from dockmend.rules.expressions import compile_condition
from dockmend.rules.fields import CONTEXTS, contexts_for, field_values
from dockmend.rules.language_error import LanguageError
from dockmend.rules.rule import ConditionError

WEB = Container(
    id="c" * 64,
    name="web-1",
    labels={"tier": "web", "max": "3", "empty": ""},
    state="exited",
    exit_code=137,
    restart_count=2,
    started_at=900.0,
    networks={"front": Endpoint("n1")},
)
CHANGE = Change(("container.crashed",), "container", WEB, "t", "t", 1.0, cause="crashed")
FIELDS = field_values(CHANGE, None, "", 1000.0, "prod-1")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("container.restart_count < 5 and container.exit_code != 137", False),
        ("container.restart_count < 5 or container.exit_code != 137", True),
        ("not container.oom_killed", True),
        ("1 < container.restart_count <= 2", True),
        ("3 < 2 < container.restart_count", False),
        ("container.exit_code in [1, 137]", True),
        ("container.exit_code not in (1, 137)", False),
        ("container.state == 'exited'", True),
        ('container.labels["tier"] == "web"', True),
        ("container.labels.tier == 'web'", True),
        ("container.labels['none'] == 'web'", False),
        ("container.labels['none'] == null", True),
        ("container.labels['none'] in ['a', 'b']", False),
        ("container.labels['empty'] == ''", True),
        ("'tier' in container.labels", True),
        ("'none' not in container.labels", True),
        ("'front' in container.networks", True),
        ("'eb' in container.name", True),
        ("number(container.labels['max']) > container.restart_count", True),
        ("container.health == null", True),
        ("container.health is None", True),
        ("container.health is not null", False),
        ("container.health == 'healthy'", False),
        ("lower(container.health) == 'x'", False),
        ("upper(container.name) == 'WEB-1'", True),
        ("startswith(container.name, 'web')", True),
        ("endswith(container.name, '-2')", False),
        ("matches(container.name, 'web-*')", True),
        ("matches(container.name, '/^w.*1$/')", True),
        ("len(container.name) == 5 and len(container.networks) == 1", True),
        ("now - container.started_at > duration('1m')", True),
        ("now - container.started_at > duration('2m')", False),
        ("-1 < +1 and 2 * 3 + 4 / 2 - 1 == 7", True),
        ("'a' + 'b' == 'ab'", True),
        ("true", True),
        ("False or container.restart_count == 2.0", True),
        ("cause == 'crashed' and host == 'prod-1'", True),
        ("  container.restart_count\n   == 2\n", True),
        ("container.name != 'a # b'", True),
        ("container.name == 'ü' or container.restart_count == 2", True),
        ("network.name == null", True),
    ],
)
def test_answers(text, answer):
    condition = compile_condition(text, contexts_for())
    assert condition(FIELDS) is answer
    assert condition(FIELDS) is answer  # the same again: nothing is kept between two runs


@pytest.mark.parametrize(
    ("text", "said", "offset"),
    [
        ("container.nmae == 'x'", 'did you mean "container.name"?', 0),
        ("1 == 1 and contaner.name == 'x'", "unknown field", 11),
        ("host == 'ü→' and contaner.name == 'x'", "unknown field", 17),
        ("container.name == 5", "cannot compare a text (container.name) with a number", 18),
        ("5 < container.name", "cannot compare", 4),
        ("container.exit_code == '137'", "leave out the quotes", 23),
        ("container.labels['n'] > 3", "use number(", 24),
        ("container.oom_killed == 'true'", "without quotes", 24),
        ("container.oom_killed > true", "orders numbers or texts", 23),
        ("container.exit_code > null", "null has no order", 22),
        ("container.state == 'runing'", 'did you mean "running"?', 19),
        ("container.health in ['helthy']", 'did you mean "healthy"?', 20),
        ("container.exit_code", "expected a comparison such as container.exit_code != 0", 0),
        ("container.name and true", "`and` joins conditions", 0),
        ("not container.name", "`not` joins conditions", 4),
        ("event.action == 'die'", "every trigger is a raw event", 0),
        ("event.attributes['exitCode'] == '1'", "use container.exit_code", 0),
        ("volume.name == 'x'", "another kind", 0),
        ("payload.x == 1", "MQTT", 0),
        ("container.labels == 1", "cannot compare a map", 20),
        ("container.name[0] == 'w'", "a key in brackets is a text", 15),
        ("container.name['x'] == 'w'", "has no keys", 0),
        ("container.labels[container.name] == 'w'", "a key in brackets is a text", 17),
        ("('a' 'b').x == 1", "only fields have parts", 1),
        ("2 ** 9 == 1", "only + - * /", 0),
        ("7 % 2 == 1", "only + - * /", 0),
        ("'a' * 99 == 'a'", "needs numbers", 0),
        ("1 + 'a' == 'a'", "needs numbers or texts", 0),
        ("-'a' == 'a'", "a sign goes with a number", 0),
        ("9999999999999999999999 == 1", "too large", 0),
        ("1e999 == 1", "too large", 0),
        ("1j == 1", "complex", 0),
        ("b'a' == 1", "bytes", 0),
        ("... == 1", "ellipsis", 0),
        ("[1, 'a'] == 1", "of one type", 0),
        ("1 in ['a']", "never in it", 5),
        ("1 in 'a'", "only a text can be in a text", 5),
        ("'a' in 1", "`in` needs a list", 7),
        ("container.name.lower() == 'x'", "as in lower(…)", 0),
        ("lwer(container.name) == 'x'", 'did you mean "lower"?', 0),
        ("lower(container.name, 1) == 'x'", "takes 1 argument", 0),
        ("lower(x=1) == 'x'", "plain arguments", 0),
        ("lower(5) == 'x'", "takes text", 0),
        ("matches(container.name, container.image)", "written out", 0),
        ("matches(container.name, '/(a+)+/')", "run away", 0),
        ("duration('5') > 1", 'did you mean "5s"?', 0),
        ("__import__('os').system('x')", "methods cannot be called", 0),
        ("[x for x in container.networks] == 1", "a loop", 0),
        ("(lambda: 1)() == 1", "methods cannot be called", 0),
        ("f'{now}' == 'x'", "formatted text", 0),
        ("1 if true else 2", "if … else", 0),
        ("{'a': 1} == 1", "a mapping", 0),
        ("container.name = 'x'", 'did you mean "=="?', 15),
        ("true && false", 'did you mean "and"?', 5),
        ("true || false", 'did you mean "or"?', 5),
        ("!container.oom_killed", 'did you mean "not"?', 0),
        ("container.name == 'x", "not a condition", 18),
        ("container.name ==", "not a condition", None),
        ("", "empty condition", 0),
        ("true # always", "comment", 5),
        ("true \\\n and false", "backslash", 5),
        ("a" * 2001, "at most 2000", 2000),
        ("1 in [" + "1," * 950 + "1]", "too large", 0),
        ("not " * 400 + "true", "too large", 0),
        ("-" * 900 + "1 == 1", "too large", 0),
    ],
)
def test_wrong_conditions_say_what_and_where(text, said, offset):
    with pytest.raises(LanguageError) as caught:
        compile_condition(text, contexts_for())
    assert said in caught.value.message
    if offset is not None:
        assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("container.finished_at > 5", "container.finished_at is absent (null)"),
        ("5 > container.compose.number", "container.compose.number is absent"),
        ("now - container.finished_at > 5", "container.finished_at is absent"),
        ("startswith(container.labels['none'], 'x')", 'container.labels["none"] is absent'),
        ("not matches(container.labels['none'], 'x')", "absent"),
        ("'x' in container.labels['none']", "absent"),
        ("len(container.health) > 1", "absent"),
        ("number(container.labels['tier']) > 1", "not a number"),
        ("number(container.labels['none']) > 1", "absent"),
        ("1 / (container.restart_count - 2) > 1", "division by zero"),
    ],
)
def test_what_needs_a_value_and_has_none_cannot_be_answered(text, said):
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)(FIELDS)
    assert said in str(caught.value)


def test_what_was_decided_before_is_not_asked():
    assert compile_condition("container.finished_at == null or container.finished_at > 5")(FIELDS)
    assert not compile_condition("container.finished_at != null and container.finished_at > 5")(
        FIELDS
    )


def test_a_label_of_the_image_is_absent():
    container = Container(
        id="1", name="a", labels={"x": "1"}, image_labels={"autoheal": "true", "y": "2"}
    )
    fields = field_values(Change(("container.unhealthy",), "container", container, "t", "t", 0.0))
    assert compile_condition(
        "'autoheal' not in container.labels and 'y' not in container.labels and 'x' in "
        "container.labels"
    )(fields)


def test_raw_events_where_they_are_allowed():
    event = Event("container", "kill", Actor("c", {"name": "web", "image": "x"}), 1)
    fields = field_values(Change(("container.kill",), "container", WEB, "t", "t", 0.0, event=event))
    condition = compile_condition(
        "event.action == 'kill' and event.attributes['image'] == 'x'", contexts_for(events=True)
    )
    assert condition(fields)
    assert condition.fields == {"event.action", "event.attributes"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("payload.n > 2", True),
        ("payload.n == '3'", False),
        ("payload.on", True),
        ("payload.on and payload.list['x'] == null", True),
        ("2 in payload.list", True),
        ("payload.n", ConditionError),
        ("payload.text > 2", ConditionError),
        ("payload.none > 2", ConditionError),
        ("not payload.text", ConditionError),
        ("payload.text * 1000000 == 1", ConditionError),
        ("1 == true or payload['a']['b'] == 1", LanguageError),
        ("payload.n == true", False),
        ("payload.one == true", False),
        ("true in payload.list", False),
    ],
)
def test_payloads_are_checked_when_they_come(text, expected):
    extra = {"payload": {"n": 3, "on": True, "list": [1, 2], "text": "abc", "one": 1}}
    fields = field_values(CHANGE, extra=extra)
    if isinstance(expected, bool):
        assert compile_condition(text, CONTEXTS)(fields) is expected
    else:
        with pytest.raises(expected):
            compile_condition(text, CONTEXTS)(fields)


WORDS = st.sampled_from(
    ["container.name", "container.exit_code", "container.labels['a']", "'x'", "1", "null", "true",
        "now",
     "(", ")", "[", "]",
     ",", "and", "or", "not", "==", "<", ">=", "in", "+", "-", "*", "/", "len(",
     "lower(", "matches(", "container", ".", "name",
     "if", "\n"]
)  # fmt: skip


@settings(max_examples=400)
@given(st.text(max_size=50) | st.lists(WORDS, max_size=14).map(" ".join))
def test_no_text_is_met_with_anything_but_a_language_error(text):
    try:
        condition = compile_condition(text, CONTEXTS)
    except LanguageError as error:
        assert error.offset is not None  # noqa: PT017 # accepting it is as good
        assert 0 <= error.offset <= len(text)  # noqa: PT017 # the same
        return
    answers = []
    for _ in range(2):
        try:
            answers.append(str(condition(FIELDS)))
        except ConditionError as error:
            answers.append(str(error))  # the text itself is compared below
    assert answers[0] == answers[1]
    assert condition.fields <= set(FIELDS)
