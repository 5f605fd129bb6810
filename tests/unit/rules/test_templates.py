from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.model import Actor, Change, Container, Endpoint, Event
from dockmend.rules.fields import CATALOGUE, CONTEXTS, contexts_for, field_values
from dockmend.rules.language_error import LanguageError
from dockmend.rules.templates import compile_template, show

WEB = Container(
    id="c" * 64,
    name="web-1",
    image="nginx:1",
    labels={"tier": "web", "com.example.a-b": "x", "com.docker.compose.project": "shop"},
    state="exited",
    exit_code=137,
    started_at=1_700_000_000.0,
    networks={"front": Endpoint("n1"), "back": Endpoint("n2")},
)
CHANGE = Change(
    ("container.crashed", "container.exited"),
    "container",
    WEB,
    "compose:shop/web/1",
    "t",
    1.0,
    cause="crashed",
)
FIELDS = field_values(CHANGE, None, "inc-7", 1_764_000_000.5, "prod-1", reason="exit code 137")


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{container.name} failed: {incident.reason}", "web-1 failed: exit code 137"),
        ("{now:%Y%m%dT%H%M%S}", "20251124T160000"),
        ("{now}", "2025-11-24T16:00:00Z"),
        ("{now:at %H:%M %%}", "at 16:00 %"),
        ("{container.started_at:%Y}", "2023"),
        ("{container.finished_at:%Y}", ""),
        ("{container.labels[tier]}/{container.labels.tier}", "web/web"),
        ('{container.labels["tier"]}', "web"),
        ("{container.labels[com.example.a-b]} {container.labels.com.example.a-b}", "x x"),
        ("[{container.labels[none]}]", "[]"),
        ("[{container.health}]", "[]"),
        ("{container.exit_code} {container.oom_killed}", "137 false"),
        ("{container.networks}", "front, back"),
        (
            "{container.compose.project} {host} {target} {trigger} {cause}",
            "shop prod-1 compose:shop/web/1 container.crashed crashed",
        ),
        ("{{container.name}", "{container.name}"),
        ("${{HOME}", "${HOME}"),
        ('{"name": "{container.name}", "n": {"a": {}}}', '{"name": "web-1", "n": {"a": {}}}'),
        (
            '{"a":1} {a:1} { container.name } {} {0} {-x}',
            '{"a":1} {a:1} { container.name } {} {0} {-x}',
        ),
        ("}} {", "}} {"),
        ("", ""),
    ],
)
def test_fields_are_filled_in_and_other_braces_stay(text, rendered):
    assert compile_template(text).render(FIELDS) == rendered


@pytest.mark.parametrize(
    ("text", "said", "offset"),
    [
        ("a {nwo}", 'did you mean "now"?', 3),
        ("{container.nmae}", 'did you mean "container.name"?', 1),
        ("{nmae.x}", "unknown field", 1),
        ("{HOME}", "for a literal brace write {{", 1),
        ("{container}", "not a field by itself", 1),
        ("{container.labels}", "needs a key", 17),
        ("{container.labels[a][b]}", "one key", 17),
        ("{container.name:%Y}", "only a time takes a format", 16),
        ("{now:%Q}", "unknown format", 5),
        ("{now:%}", "unknown format", 5),
        ("{now:abc}", "formats nothing", 5),
        ("{nwo:%Y}", "unknown field", 1),
        ("{event.action}", "raw event", 1),
        ("{event.attributes[exitCode]}", "use container.exit_code", 1),
        ("{payload.x}", "MQTT", 1),
        ("{alert.labels.x}", "an alert", 1),
        ("{volume.name}", "another kind", 1),
        ("x" * 20_001, "at most 20000", 20_000),
    ],
)
def test_wrong_fields_are_errors_with_their_place(text, said, offset):
    with pytest.raises(LanguageError) as caught:
        compile_template(text)
    assert said in caught.value.message
    assert caught.value.offset == offset


def test_a_template_tells_its_fields_and_whether_it_has_any():
    template = compile_template("{container.name} {container.labels[a]} {now:%Y} {{")
    assert template.fields == {"container.name", "container.labels", "now"}
    assert template.literal is None
    assert compile_template("{{a} b").literal == "{a} b"


def test_events_payloads_and_alerts_are_known_where_they_are_told_to_be():
    event = Event("container", "die", Actor("c1", {"name": "web", "x": "{now}"}), 5_000_000_000)
    change = Change(("container.die",), "container", None, "t", "t", 5.0, event=event)
    extra = {
        "payload": {"a": {"b": [1, 2]}, "n": 3.0},
        "alert": {"labels": {"x": "y"}, "status": "firing"},
    }
    fields = field_values(change, extra=extra)
    text = "{event.action} {event.name} {event.attributes[x]} {event.time:%s}"
    with pytest.raises(LanguageError, match="unknown format"):
        compile_template(text, CONTEXTS)
    text = (
        "{event.action} {event.name} {event.attributes[x]} {payload.a.b} {payload.n} "
        "{payload.z.y} {alert.labels.x}"
    )
    assert compile_template(text, CONTEXTS).render(fields) == "die web {now} [1, 2] 3  y"
    assert compile_template("{event.id}", contexts_for(events=True)).render(fields) == "c1"


def test_a_trouble_of_a_network_names_the_network():
    change = Change(("container.network_lost",), "container", WEB, "t", "t", 1.0, network="front")
    assert (
        compile_template("{container.name} lost {network.name}", contexts_for()).render(
            field_values(change)
        )
        == "web-1 lost front"
    )


def test_what_a_field_holds_is_never_read_as_a_template():
    named = Container(id="1", name="{container.id}{0.__class__}{{")
    fields = field_values(Change(("x",), "container", named, "t", "t", 0.0))
    assert (
        compile_template("<{container.name}>").render(fields) == "<{container.id}{0.__class__}{{>"
    )


def test_every_field_of_the_catalogue_can_be_asked_for_of_every_kind_of_change():
    for path, field in CATALOGUE.items():
        value = FIELDS[path]
        assert value is None or isinstance(value, (str, int, float, tuple, dict)), path
        assert field.doc
        assert field.context in CONTEXTS
    assert set(FIELDS) == set(CATALOGUE)
    with pytest.raises(KeyError):
        FIELDS["nonsense.path"]


def test_times_beyond_the_calendar_are_shown_as_numbers():
    fields = {"now": 1e20}
    assert (
        compile_template("{now}").render(fields) == "100000000000000000000" or show(1e20) == "1e+20"
    )
    assert compile_template("{now:%Y}").render(fields) == ""


@given(st.text(max_size=60) | st.text(alphabet="{}[].:%\"' now-container.labels", max_size=60))
def test_no_text_is_met_with_anything_but_a_language_error(text):
    try:
        template = compile_template(text, CONTEXTS)
    except LanguageError as error:
        assert error.offset is not None  # noqa: PT017 # accepting it is as good
        assert 0 <= error.offset <= len(text)  # noqa: PT017 # the same
    else:
        assert isinstance(template.render(FIELDS), str)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet=string.ascii_letters + " .:", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet=string.ascii_letters, max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_json_stays_as_it_is(value):
    text = json.dumps(value)
    assert compile_template(text).render(FIELDS) == text
