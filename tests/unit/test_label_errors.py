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
        errors.container(
            None, Container(id="d" * 64, name="db", labels={"dockmend.notify": "ops, home"})
        )
    [line] = told
    assert (line["container"], line["label"], line["off"]) == ("web", "dockmend.notify", "notify")
    assert (
        'there is no channel "opps" (did you mean "ops"?): expected home, ops, or none'
        in line["why"]
    )
    assert list(errors.counts()) == [("web", 1)]


def test_a_label_that_nothing_reads_is_told_once_and_not_counted() -> None:
    rules = ["match: {labels: {dockmend.tier: gold}}"]
    errors = LabelErrors({"ops"}, lambda: rules)
    labels = {
        "dockmend.heel": "true", "dockmnd.heal": "true", "auto-heal": "true",
        "dockmend.snapshot": "true", "dockmend.tier": "gold", "dockmend.heal": "true",
        "com.docker.compose.project": "x", "traefik.enable": "true",
    }  # fmt: skip
    web = Container(
        id="e" * 64,
        name="web",
        labels=labels,
        image_labels={"dockmend.heel": "false", "dokmend.heal": ""},
    )
    with structlog.testing.capture_logs() as told:
        errors.container(None, web)
        errors.container(web, replace(web, state="running", labels=dict(labels)))
    assert {each["label"]: each["todo"].partition(" of ")[0] for each in told} == {
        "auto-heal": "did you mean autoheal?",
        "dockmend.heel": "did you mean dockmend.heal?",
        "dockmend.snapshot": "put 40-nightly-snapshots.yaml",
        "dockmnd.heal": "did you mean dockmend.heal?",
    }
    assert {each["event"] for each in told} == {"a label does nothing"}
    assert {each["container"] for each in told} == {"web"}
    assert list(errors.counts()) == []


def test_labels_of_an_image_are_nobodys_slip_and_thousands_of_labels_fill_no_log() -> None:
    errors = LabelErrors(())
    with structlog.testing.capture_logs() as told:
        errors.container(
            None, Container(id="f" * 64, name="web", image_labels={"dockmend.heel": "true"})
        )
        assert told == []
        many = {f"dockmend.x{number}y": "" for number in range(5000)}
        errors.container(None, Container(id="0" * 64, name="web", labels=many))
    assert len(told) == 20
