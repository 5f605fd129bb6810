"""Labels that are wrong: told once, counted while their container is there."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from dockmend.model import Container
from dockmend.tell.label_errors import LabelErrors
from dockmend.tell.metrics import Metrics

WRONG = Container(id="a" * 64, name="web", labels={"dockmend.heal": "flase", "dockmend.notify": ""})


def test_each_wrong_label_is_told_once() -> None:
    errors = LabelErrors({"ops"})
    with structlog.testing.capture_logs() as told:
        errors.container(None, WRONG)
        errors.container(WRONG, replace(WRONG, state="running"))
        errors.container(WRONG, replace(WRONG, labels=dict(WRONG.labels)))
    assert [each["label"] for each in told] == ["dockmend.heal", "dockmend.notify"]
    assert told[0]["why"].startswith("label dockmend.heal=flase: expected true or false")
    assert (told[0]["container"], told[0]["off"]) == ("web", "heal")


def test_they_are_counted_until_their_container_is_gone_under_the_name_it_has() -> None:
    errors = LabelErrors({"ops"})
    errors.container(None, WRONG)
    assert list(errors.counts()) == [("web", 2)]
    renamed = replace(WRONG, name="shop")
    errors.container(WRONG, renamed)
    assert list(errors.counts()) == [("shop", 2)]
    page = Metrics("1").render(label_errors=errors.counts()).decode()
    assert 'dockmend_label_errors{container="shop"} 2.0' in page
    errors.container(renamed, None)
    assert list(errors.counts()) == []


def test_a_stranger_cannot_make_the_metric_grow_without_end() -> None:
    many = ((f"web{number}", 1) for number in range(1000))
    page = Metrics("1").render(label_errors=many).decode()
    assert page.count("dockmend_label_errors{") == 100


def test_what_has_no_wrong_label_is_not_held() -> None:
    errors = LabelErrors({"ops"})
    errors.container(None, Container(id="b" * 64, name="fine", labels={"dockmend.heal": "true"}))
    assert list(errors.counts()) == []


def test_a_channel_that_does_not_exist_is_told_and_counted() -> None:
    errors = LabelErrors({"ops", "home"})
    wrong = Container(id="c" * 64, name="web", labels={"dockmend.notify": "opps"})
    with structlog.testing.capture_logs() as told:
        errors.container(None, wrong)
        errors.container(wrong, replace(wrong, state="running"))
        errors.container(None, Container(id="d" * 64, name="db", labels={"dockmend.notify": "ops, home"}))
    [line] = told
    assert (line["container"], line["label"], line["off"]) == ("web", "dockmend.notify", "notify")
    assert 'there is no channel "opps" (did you mean "ops"?): expected home, ops, or none' in line["why"]
    assert list(errors.counts()) == [("web", 1)]
