"""Metrics: names and labels as promised, every label set bounded, every count right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from dockmend.decide import CODES
from dockmend.journal.records import ActionRecord, Incident, Outcome
from dockmend.model import Actor, Change, Container, Event
from dockmend.notify.outbox import DeliveryOutcome as Delivered
from dockmend.observer import NotActing
from dockmend.settings.channels import Kind
from dockmend.tell.metric_families import Family, Histogram
from dockmend.tell.metrics import GAPS, Metrics
from dockmend.tell.mqtt import container_state, event_of

ANONYMOUS = "0123456789abcdef" * 4
MONITORING = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")

NAMES = {
    "dockmend_events_total": {"type", "action"},
    "dockmend_event_lag_seconds": set(),
    "dockmend_engine_up": set(),
    "dockmend_engine_connects_total": set(),
    "dockmend_event_gaps_total": {"cause"},
    "dockmend_journal_set_aside_total": set(),
    "dockmend_containers": {"state", "health"},
    "dockmend_rules": {"state"},
    "dockmend_matches_total": {"rule"},
    "dockmend_decisions_total": {"rule", "decision", "reason"},
    "dockmend_actions_total": {"rule", "action", "outcome"},
    "dockmend_action_duration_seconds": {"action"},
    "dockmend_incidents_open": {"rule"},
    "dockmend_unhealed": {"container", "rule"},
    "dockmend_label_errors": {"container"},
    "dockmend_unwell": {"container", "cause", "covered"},
    "dockmend_heals_total": {"rule", "outcome"},
    "dockmend_time_to_heal_seconds": {"rule"},
    "dockmend_breakers_open": {"rule"},
    "dockmend_paused": set(),
    "dockmend_budget_suppressed_total": set(),
    "dockmend_snapshot_bytes_total": set(),
    "dockmend_snapshot_last_success_timestamp_seconds": {"volume"},
    "dockmend_degraded": {"part"},
    "dockmend_acting": set(),
    "dockmend_not_acting": {"reason"},
    "dockmend_mqtt_connected": set(),
    "dockmend_notifications_total": {"channel", "kind", "outcome"},
    "dockmend_tell_dropped_total": {"sink"},
    "dockmend_rules_reload_success": set(),
    "dockmend_rules_reload_success_timestamp_seconds": set(),
    "dockmend_tasks": set(),
    "dockmend_build_info": {"version"},
}


def page_of_all(metrics: Metrics) -> str:
    """With all that the daemon adds to a page."""
    return metrics.render(label_errors=[("web", 1)], unwell=[("web", "crashed", False)]).decode()


def page(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """{sample name: {label values by label name's order: value}}."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def an_event(type: str, action: str) -> Event:
    return Event(type, action, Actor("f" * 64, {"name": "web"}), 1)


def an_incident(number: int = 1, **changes: Any) -> Incident:
    plain = Incident(
        id=f"i{number:015}", rule="heal", trigger="container.unhealthy", target="container:web",
        kind="container", object_id="f" * 64, object_name="web", trouble="t",
        opened_at=100.0 + number,
    )  # fmt: skip
    return replace(plain, **changes)


def an_action(**changes: Any) -> ActionRecord:
    plain = ActionRecord(
        id="a1", incident="i1", rule="heal", target="container:web", attempt=1, action="restart",
        object_id="f" * 64, object_name="web", params={}, began_at=100.0,
    )  # fmt: skip
    return replace(plain, **changes)


def exercise(metrics: Metrics) -> None:
    """Everything once."""
    metrics.events_read([an_event("container", "health_status: unhealthy")], 0.002)
    metrics.connected(True)
    metrics.gap("marker")
    metrics.container(None, Container("1", "web", state="running", health="unhealthy"))
    metrics.matched("heal")
    metrics.decision("heal", "suppress", "budget")
    metrics.incident(an_incident(1))
    metrics.incident(an_incident(2, state="closed", outcome="healed", closed_at=104.0))
    metrics.action(an_action())
    metrics.action(an_action(ended_at=100.3, outcome="done"))
    metrics.breaker("heal", "container:web", True)
    metrics.degraded("journal", "the disk is full")
    metrics.paused(1)
    metrics.rules(2, 1, 1, 0)
    metrics.reloaded(True, 90.0)
    metrics.snapshot("data", 1000, 95.0)
    metrics.snapshot(ANONYMOUS, 24, 96.0)
    metrics.mqtt_connected(True)
    metrics.dropped("mqtt", 3)
    metrics.notification_channels(["ops"])
    metrics.notification("ops", Kind.DOWN, Delivered.SENT)


def test_one_that_only_watches_says_for_which_reasons():
    metrics = Metrics("0.1.0")
    assert page(metrics)["dockmend_acting"][()] == 1
    assert set(page(metrics)["dockmend_not_acting"].values()) == {0}
    told = metrics.render(not_acting=(NotActing.RULES, NotActing.DRY_RUN)).decode()
    assert "dockmend_acting 0.0" in told
    held = {
        each.value
        for each in NotActing
        if f'dockmend_not_acting{{reason="{each.value}"}} 1.0' in told
    }
    assert held == {"rules", "dry_run"}
    assert page(metrics)["dockmend_acting"][()] == 1  # once they hold no more


def test_every_promised_metric_is_there_with_exactly_its_labels():
    metrics = Metrics("0.1.0")
    exercise(metrics)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page_of_all(metrics)):
        assert family.documentation
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = set().union(*(set(sample.labels) - {"le"} for sample in family.samples))
    assert found == NAMES


def test_everything_is_counted():
    metrics = Metrics("0.1.0")
    exercise(metrics)
    seen = page(metrics)
    assert seen["dockmend_events_total"]["health_status", "container"] == 1
    assert seen["dockmend_event_lag_seconds_count"][()] == 1
    assert seen["dockmend_event_lag_seconds_bucket"]["0.001",] == 0
    assert seen["dockmend_event_lag_seconds_bucket"]["0.0025",] == 1
    assert seen["dockmend_event_lag_seconds_bucket"]["+Inf",] == 1
    assert seen["dockmend_engine_up"][()] == seen["dockmend_engine_connects_total"][()] == 1
    assert seen["dockmend_event_gaps_total"]["marker",] == 1
    assert seen["dockmend_containers"]["unhealthy", "running"] == 1
    assert seen["dockmend_rules"] == {
        ("enabled",): 2,
        ("disabled",): 1,
        ("shadow",): 1,
        ("error",): 0,
    }
    assert seen["dockmend_matches_total"]["heal",] == 1
    assert seen["dockmend_decisions_total"] == {("suppress", "budget", "heal"): 1}
    assert seen["dockmend_budget_suppressed_total"][()] == 1
    assert seen["dockmend_actions_total"] == {("restart", "done", "heal"): 1}
    assert seen["dockmend_action_duration_seconds_sum"]["restart",] == pytest.approx(0.3)
    assert seen["dockmend_incidents_open"]["heal",] == 1
    assert seen["dockmend_unhealed"] == {("web", "heal"): 1}
    assert seen["dockmend_heals_total"]["healed", "heal"] == 1
    assert seen["dockmend_time_to_heal_seconds_sum"]["heal",] == 2
    assert seen["dockmend_breakers_open"]["heal",] == 1
    assert seen["dockmend_paused"][()] == 1
    assert seen["dockmend_snapshot_bytes_total"][()] == 1024
    assert seen["dockmend_snapshot_last_success_timestamp_seconds"] == {
        ("data",): 95.0,
        ("anonymous",): 96.0,
    }
    assert seen["dockmend_mqtt_connected"][()] == 1
    assert seen["dockmend_notifications_total"]["ops", "down", "sent"] == 1
    assert seen["dockmend_notifications_total"]["ops", "healed", "given_up"] == 0
    assert seen["dockmend_tell_dropped_total"] == {("log",): 0, ("mqtt",): 3}
    assert seen["dockmend_rules_reload_success"][()] == 1
    assert seen["dockmend_rules_reload_success_timestamp_seconds"][()] == 90
    assert seen["dockmend_build_info"] == {("0.1.0",): 1}


def test_known_counters_are_zero_from_the_start():
    metrics = Metrics("0.1.0")
    metrics.rule_names(["heal", "crashed"])
    seen = page(metrics)
    assert seen["dockmend_events_total"]["die", "container"] == 0
    assert seen["dockmend_matches_total"] == {("heal",): 0, ("crashed",): 0}
    assert seen["dockmend_heals_total"]["healed", "crashed"] == 0
    assert seen["dockmend_engine_connects_total"][()] == 0
    assert seen["dockmend_containers"]["unhealthy", "running"] == 0
    assert not any("exec" in action for action, _ in seen["dockmend_events_total"])
    assert "dockmend_mqtt_connected" not in seen  # no broker configured: nothing to alert on


def test_unknown_events_are_other_and_stay_few():
    metrics = Metrics("0.1.0")
    before = len(page(metrics)["dockmend_events_total"])
    for number in range(5000):
        command, new = f"exec_start: /bin/sh -c {number}", f"new-{number}"
        read = [
            an_event("container", command),
            an_event("container", new),
            an_event(f"type-{number}", "start"),
        ]
        metrics.events_read(read, 0.0)
    events = page(metrics)["dockmend_events_total"]
    assert events["exec_start", "container"] == 5000
    assert events["other", "container"] == 5000
    assert events["other", "other"] == 5000
    assert len(events) == before + 3
    assert len(metrics._event_keys) <= 1000


def test_containers_follow_the_mirror():
    metrics = Metrics("0.1.0")
    web = Container("1", "web", state="running", health="healthy")
    metrics.container(None, web)
    metrics.container(None, web)  # told again by a listing
    ill = replace(web, health="unhealthy")
    metrics.container(web, ill)
    assert page(metrics)["dockmend_containers"]["unhealthy", "running"] == 1
    metrics.container(ill, None)
    metrics.container(ill, None)
    assert not any(page(metrics)["dockmend_containers"].values())
    metrics.container(None, replace(web, state="of the future", health="so so"))
    assert page(metrics)["dockmend_containers"]["other", "other"] == 1


def test_an_incident_told_again_counts_once():
    metrics = Metrics("0.1.0")
    for state in ("waiting", "acting", "verifying"):
        metrics.incident(an_incident(state=state))
    assert page(metrics)["dockmend_incidents_open"] == {("heal",): 1}
    for times in (1, 2, 3):  # folded: the same suppression came again
        metrics.incident(
            an_incident(state="closed", outcome="suppressed", closed_at=200.0, count=times)
        )
    seen = page(metrics)
    assert seen["dockmend_incidents_open"] == {("heal",): 0}
    assert seen["dockmend_heals_total"] == {("suppressed", "heal"): 1}
    assert "dockmend_unhealed" not in seen
    assert "dockmend_time_to_heal_seconds_sum" not in seen


def test_unhealed_shows_the_hundred_that_have_waited_longest():
    metrics = Metrics("0.1.0")
    for number in reversed(range(300)):
        metrics.incident(an_incident(number, object_name=f"web-{number}"))
    metrics.incident(an_incident(999, object_name="web-0"))
    unhealed = page(metrics)["dockmend_unhealed"]
    assert {name for name, _ in unhealed} == {f"web-{number}" for number in range(100)}
    assert unhealed["web-0", "heal"] == 2


def test_strangers_text_cannot_break_the_page():
    metrics = Metrics("0.1.0")
    name = 'x"} 1\n# TYPE evil \\ \udcff'
    metrics.incident(an_incident(object_name=name))
    metrics.incident(an_incident(2, kind="volume", object_name=ANONYMOUS))
    metrics.incident(an_incident(3, object_name="y" * 10_000))
    names = {name for name, _ in page(metrics)["dockmend_unhealed"]}
    assert names == {name.replace("\udcff", "?"), "anonymous", "y" * 128}


def test_label_sets_are_bounded():
    family = Family("x_total", "x", ("rule",), most=3)
    histogram = Histogram("y_seconds", "y", (1.0,), ("rule",), most=3)
    for number in range(10):
        family.add(f"r{number}")
        histogram.cell(f"r{number}").observe(1.0)
    assert family.values == {("r0",): 1, ("r1",): 1, ("r2",): 1, ("other",): 7}
    counts = {
        s.labels["rule"]: s.value for s in histogram.metric().samples if s.name.endswith("_count")
    }
    assert counts == {"r0": 1, "r1": 1, "r2": 1, "other": 7}


def test_breakers_are_counted_by_rule():
    metrics = Metrics("0.1.0")
    for target in ("a", "b", "b"):
        metrics.breaker("heal", target, True)
    metrics.breaker("other", "a", True)
    metrics.breaker("other", "a", False)
    assert page(metrics)["dockmend_breakers_open"] == {("heal",): 2, ("other",): 0}


def test_clocks_that_disagree_do_not_make_a_sum_sink():
    metrics = Metrics("0.1.0")
    metrics.events_read([an_event("container", "start")], -5.0)
    assert page(metrics)["dockmend_event_lag_seconds_sum"][()] == 0


def test_a_failed_reload_keeps_the_time_of_the_last_good_one():
    metrics = Metrics("0.1.0")
    metrics.reloaded(True, 5.0)
    metrics.reloaded(False, 9.0)
    seen = page(metrics)
    assert seen["dockmend_rules_reload_success"][()] == 0
    assert seen["dockmend_rules_reload_success_timestamp_seconds"][()] == 5


def test_the_page_on_monitoring_has_every_metric_with_its_labels():
    rows = re.findall(r"^\| `(dockmend_\w+)` \| ([^|]*)\|", MONITORING, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == NAMES


@pytest.mark.parametrize(
    "words",
    [
        CODES, get_args(Outcome), list(NotActing), GAPS,
        container_state(Container("f" * 64, "web", "web:1")),
        event_of(Change((), "container", None, "container:web", "t", 0.0)),
    ],
    ids=["reasons", "outcomes", "not acting", "gaps", "a container by MQTT", "an event by MQTT"],
)  # fmt: skip
def test_the_page_on_monitoring_names_every(words):
    assert [word for word in words if f"`{word}`" not in MONITORING] == []
